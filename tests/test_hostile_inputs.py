"""Hostile parameters, profiles and options: each is refused with a sentence before anything is computed."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from gleak_lib import cli
from gleak_lib.chapters import parameters, profiles, ranges, sources
from gleak_lib.errors import ParameterError
from gleak_lib.experiments import paths
from gleak_lib.experiments.runner import estimate, executors

HUGE = "1" + "0" * 12
DEEP = "[" * 5000 + "]" * 5000
IGNORE = "03_ignore_attack"

# chapter, parameters, what is said
REFUSED = [
    (IGNORE, {"victims": HUGE}, "victims must be 1 to 1,000,000, got 1000000000000"),
    (IGNORE, {"victims": "9" * 5000}, r"victims must be int, got '9+… \(str\)"),
    (IGNORE, {"victims": "0x" + "f" * 5000}, "victims must be 1 to 1,000,000, got a value with thousands"),
    (IGNORE, {"positions": DEEP}, r"positions must be list\[int\], got '\[\[+… \(str\)"),
    (
        IGNORE,
        {"positions": "[1"},
        r"positions must be .*, got '\[1' \(str\): a list is written \[1, 2\]",
    ),
    (IGNORE, {"positions": "[]", "sizes": "[]"}, "positions must not be empty. sizes must not be empty."),
    (IGNORE, {"rounds": "[]"}, "rounds must not be empty"),
    (IGNORE, {"rounds": "[1, 0]"}, r"rounds must ascend, got \[1, 0\]"),
    (IGNORE, {"partial": "[-1]"}, "partial must be 1 to 1,000, got -1"),
    (IGNORE, {"sizes": "[1000000, 8, 8]"}, "sizes must be 1 to 4,096, got 1000000"),
    (IGNORE, {"tv": "1e308"}, "tv must be 0 to 1,000,000, got 1e"),
    (IGNORE, {"tv": "1e999"}, "tv must be 0 to 1,000,000, got inf"),
    (IGNORE, {"beta": "-1"}, "beta must be 0 to 1,000,000, got -1"),
    (IGNORE, {"beta": "1e30"}, "beta must be 0 to 1,000,000, got 1e"),
    (IGNORE, {"seeds": "0"}, "seeds must be 1 to 1,000, got 0"),
    (IGNORE, {"seed": "18446744073709551616"}, "seed must be -.* to .*, got 18446744073709551616"),
    (IGNORE, {"victim_seed": "1099511627776"}, "victim_seed must be 0 to .*, got 1099511627776"),
    (IGNORE, {"scaling": "foo"}, "scaling must be one of minmax, none, got 'foo'"),
    (IGNORE, {"examples": "0"}, "examples must be 1 to 16, got 0"),
    (IGNORE, {"examples": "-1"}, "examples must be 1 to 16, got -1"),
    (IGNORE, {"dataset": "digits@100000"}, "dataset: 'digits@100000': images have a size of at most 4096"),
    (IGNORE, {"dataset": "x" * 300}, "dataset: Unknown dataset 'xxx"),
    (IGNORE, {"dataset": "../../etc/passwd"}, "dataset: Unknown dataset '../../etc/passwd'"),
    (IGNORE, {"profile": "paper"}, "-p profile paper would only change what the chapter says of itself"),
    (IGNORE, {"bottleneck": "foo"}, "bottleneck must be one of precode, cvb, got 'foo'"),
    ("05_attacks_and_defenses", {"seeds": "0"}, "seeds must be 1 to 1,000"),
    ("05_attacks_and_defenses", {"precode_sizes": "[0]"}, "precode_sizes must be 1 to 4,096, got 0"),
    ("05_attacks_and_defenses", {"precode_sizes": "[-1]"}, "precode_sizes must be 1 to 4,096, got -1"),
    ("05_attacks_and_defenses", {"attacks": "[]"}, "attacks must not be empty"),
    ("02_gradient_analysis", {"images": "0"}, "images must be 1 to 1,000,000, got 0"),
    ("02_gradient_analysis", {"images": "-1"}, "images must be 1 to 1,000,000, got -1"),
    ("02_gradient_analysis", {"rounds": "[]"}, "rounds must not be empty"),
    ("06_other_architectures", {"datasets": "[]"}, "datasets must not be empty"),
    ("09_what_stands", {"seeds": "0"}, "seeds must be 1 to 1,000"),
    ("09_what_stands", {"seeds": "-1"}, "seeds must be 1 to 1,000"),
    ("10_closed_form_inversion", {"positions": "[]"}, "positions must not be empty"),
    ("10_closed_form_inversion", {"size": HUGE}, "size must be 1 to 4,096"),
    ("16_precode_supplement", {"betas": "[1e-3]"}, "betas must have at least 2 entries"),
    *[
        (name, {"seeds": HUGE}, "seeds must be 1 to 1,000, got 1000000000000")
        for name in sources.sources()
        if "seeds" in profiles.load(name, "quick")
    ],
]


@pytest.fixture(autouse=True)
def no_published_results(monkeypatch):
    monkeypatch.setattr(estimate, "folders", lambda store: [store.folder])  # to read them all takes time


@pytest.mark.parametrize(("chapter", "given", "match"), REFUSED, ids=lambda v: str(v)[:40])
def test_parameters_are_refused_before_anything_is_computed(tmp_path, capsys, chapter, given, match):
    words = [word for pair in given.items() for word in ("-p", *pair)]
    for command in ("status", "run"):
        arguments = [command, chapter, "--profile", "quick", *words, "--output", str(tmp_path / "out")]
        assert cli.main(arguments) == 2
        with pytest.raises(ParameterError, match=match):
            raise ParameterError(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("positions", "sizes"), [("3,1", "32,8"), ("(3, 1)", "(32, 8)"), ("[3, 1]", "[32, 8]"), ("1", "8")]
)
def test_lists_may_be_written_without_brackets(positions, sizes):
    found = parameters.of_chapter(IGNORE)
    given = parameters.overrides(found, [("positions", positions), ("sizes", sizes)], IGNORE)
    assert all(type(value) is list and all(type(part) is int for part in value) for value in given.values())
    with pytest.raises(ParameterError, match=r"papermill, pass -y \"positions: \[3, 1\]\"|is written"):
        parameters.validate(found, {"positions": positions}, IGNORE)  # papermill's -p gives texts


def test_what_takes_no_effect_is_said():
    found = parameters.of_chapter(IGNORE)
    with pytest.warns(UserWarning, match=r"partial: \[9\] stand nowhere in positions \[3, 2, 1\]"):
        parameters.validate(found, {"partial": [3, 9]}, IGNORE)


def test_every_parameter_of_every_chapter_has_a_range_and_every_profile_keeps_to_it():
    used = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for chapter, source in sources.sources().items():
            found = parameters.of_chapter(chapter, source)
            used |= {name for name in ranges.ranges() if name.removeprefix(f"{chapter}.") in found}
            assert found.keys() <= ranges.ranges().keys(), chapter
            parameters.validate(found, {}, chapter)
            for profile in profiles.profiles_of(chapter):
                parameters.validate(found, profiles.load(chapter, profile), chapter)
    assert used == set(ranges.ranges())


BAD_YAML = {
    "a key twice": ("profile: quick\nvictims: 3\nvictims: 4\n", "'victims' stands there twice"),
    "a nested key twice": ("profile: quick\na: {b: 1, b: 2}\n", "'b' stands there twice"),
    "nested": ("profile: quick\nx: " + DEEP, "is no valid YAML"),
    "a huge number": ("profile: quick\nx: " + "9" * 5000, "is no valid YAML: Exceeds the limit"),
    "a key that is a list": ("profile: quick\n? [1]\n: 2\n", "is no valid YAML"),
    "a python tag": ("profile: quick\nx: !!python/object/apply:os.getcwd []\n", "is no valid YAML"),
}


@pytest.mark.parametrize("what", BAD_YAML)
def test_hostile_profiles(tmp_path, what):
    text, match = BAD_YAML[what]
    (tmp_path / "03").mkdir()
    (tmp_path / "03" / "quick.yaml").write_text(text)
    with pytest.raises(ParameterError, match=match):
        profiles.load("03", "quick", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--output", ""], "must name a folder, got an empty text"),
        (["run", "--output", "  "], "must name a folder"),
        (["status", "--output", ""], "must name a folder"),
        (["data", ""], "must name a folder"),
        (["run", "--time-limit", "inf"], "must be at most 527040, a year, got inf"),
        (["run", "--time-limit", "1e300"], "must be at most 527040"),
        (["run", "--time-limit", "nan"], "must be positive, got nan"),
        (["run", "--workers", "100000"], "must be at most 1024"),
        (["run", "--workers", "9" * 5000], "invalid _count value"),
    ],
)
def test_hostile_options(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_hostile_places(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    root = str(paths.root())
    quick = ["run", IGNORE, "--profile", "quick"]
    for arguments, message in (
        ([*quick, "--output", root], "is the checkout, whose results are published"),
        ([*quick, "--output", f"{root}/book/.."], "is the checkout, whose results are published"),
        ([*quick, "--output", str(tmp_path / "file")], "file/chapters cannot be written (Not a directory)"),
        ([*quick, "--output", str(tmp_path / "file" / "x")], "cannot be written (Not a directory)"),
        ([*quick, "--output", "/proc/x"], "/proc/x/chapters cannot be written"),
        (["run", f"../../{IGNORE}.py"], "Unknown chapter '../../03_ignore_attack.py'"),
        (["status", f"/tmp/{IGNORE}.ipynb"], "Unknown chapter '/tmp/03_ignore_attack.ipynb'"),
        (["data", str(tmp_path / "none")], "There is no folder"),
        (["data", str(tmp_path / "file")], "file is no folder"),
    ):
        assert cli.main(arguments) == 2
        assert message in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert sources.source_of(f"book/src/{IGNORE}.py") == sources.source_of(IGNORE)
    assert sources.source_of(f"{root}/book/chapters/{IGNORE}.ipynb") == sources.source_of(IGNORE)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "tcp://",
        "127.0.0.1",
        "tcp://127.0.0.1:99999",
        "http://127.0.0.1:80",
        "tcp://:8786",
        "tcp://head:x",
        "tcp://head:8786/path",
        "tcp://a b:8786",
        "tcp://me@head:8786",
        "tcp://head:0",
        "tcp://[::1:8786",
    ],
)
def test_a_malformed_address_is_refused_at_once(capsys, tmp_path, address):
    began = time.monotonic()
    with pytest.raises(ParameterError, match="is no address of a dask scheduler"):
        executors.check_address(address)
    arguments = [
        "run",
        IGNORE,
        "--profile",
        "quick",
        "--output",
        str(tmp_path),
        "--dry-run",
        "--scheduler",
        address,
    ]
    assert cli.main(arguments) == 2 and "is no address of a dask scheduler" in capsys.readouterr().err
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "address", ["tcp://head:8786", "head:8786", "tls://10.0.0.1:1", "tcp://[::1]:8786", "wss://head:65535"]
)
def test_addresses_that_dask_takes(address):
    executors.check_address(address)


def test_encryption_without_certificates_is_said(monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(ParameterError, match="needs certificates, and dask's configuration names none"):
        executors._client("tls://127.0.0.1:8786")


SLEEPY = """# %% tags=["parameters"]
profile: str = "quick"  # scale

# %%
import pathlib, time
pathlib.Path("{flag}").touch()
time.sleep(120)
"""
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it otherwise
import sys
from pathlib import Path
from gleak_lib import cli
from gleak_lib.experiments import paths
paths.package_root = lambda: Path(sys.argv[1])
sys.exit(cli.main(["run", "01_tiny", "--profile", "quick", "--output", sys.argv[2]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_chapter_says_one_line_and_leaves_nothing_behind(tmp_path, how):
    root, flag = tmp_path / "checkout", tmp_path / "flag"
    for folder in ("book/src", "params/01_tiny"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "gleak"\n')
    (root / "book/src/01_tiny.py").write_text(SLEEPY.format(flag=flag))
    (root / "params/01_tiny/quick.yaml").write_text("profile: quick\n")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", PROGRAM, str(root), str(tmp_path / "out")]
    environment = os.environ | {
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": str(Path(cli.__file__).parents[2]),
    }
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    until = time.monotonic() + 200
    while not flag.exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(how)
    _, error = process.communicate(timeout=100)
    assert error == "gleak: interrupted; finished experiments are stored.\n"
    assert process.returncode == 128 + how
    assert not list((tmp_path / "tmp").iterdir())


def test_a_profile_is_json_for_papermill(tmp_path):
    """What reaches papermill are plain lists and numbers: a tuple would arrive as a text."""
    found = parameters.of_chapter(IGNORE)
    given = parameters.overrides(found, [("rounds", "(0, 1)")], IGNORE)
    assert json.loads(json.dumps(given)) == given == {"rounds": [0, 1]}
