"""Parameters of a chapter: declared, checked, and misspelled through the real papermill."""

import ast
import re
import shlex
from pathlib import Path

import nbformat
import papermill
import pytest

from gleak_lib.chapters import parameters, profiles
from gleak_lib.errors import ParameterError, UnknownNameError

CELL = '''profile: str = "quick"  # which scale
seed: int = 0  # of everything
beta: float = 0.1  # weight of the KL term
positions: list[int] = [3, 2, 1]  # where bottlenecks stand
limit: int | None = None
fresh: bool = True
scaling: str = "minmax"'''
FOUND = parameters.declared(CELL)


def test_declared_reads_name_type_default_and_help():
    assert list(FOUND) == ["profile", "seed", "beta", "positions", "limit", "fresh", "scaling"]
    assert FOUND["positions"] == parameters.Parameter(
        "positions", "list[int]", [3, 2, 1], "where bottlenecks stand"
    )
    assert FOUND["limit"].help == "" and FOUND["limit"].default is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("seed = 0", "lines 'name: type = value  # help' only, got: seed = 0"),
        ("import os", "got: import os"),
        ("seed: int = f(3)", "seed needs a plain value"),
        ("seed: int", "seed needs a plain value"),
        ("seed: int = 0.5", "seed must be int, got 0.5"),
        ("seed: Tensor = 0", "the type Tensor is not understood"),
        ("seed: int = = 0", "no valid Python"),
    ],
)
def test_bad_parameters_cells(source, message):
    with pytest.raises(ParameterError, match=message):
        parameters.declared(source)


def test_validate_fills_in_defaults():
    values = parameters.validate(FOUND, {"beta": 1, "limit": 3, "positions": (1,)})
    assert values == {name: p.default for name, p in FOUND.items()} | {
        "beta": 1,
        "limit": 3,
        "positions": (1,),
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"betta": 0.1}, r"03 has no parameter 'betta'. Did you mean 'beta'\? There is: profile, seed"),
        ({"xyzzy": 0}, r"no parameter 'xyzzy'. There is:"),
        ({"beta": "1e-3"}, r"beta must be float, got '1e-3' \(str\): .*write 1.0e-3 without quotes"),
        ({"beta": "2e3"}, r"write 2.0e\+3"),
        ({"beta": True}, r"beta must be float, got True \(bool\)"),
        ({"seed": True}, r"seed must be int, got True \(bool\)"),
        ({"seed": 1.0}, r"seed must be int, got 1.0 \(float\)"),
        ({"seed": "1"}, r"seed must be int, got '1' \(str\)"),
        ({"fresh": 1}, r"fresh must be bool, got 1 \(int\)"),
        ({"profile": False}, r"got False \(bool\): YAML takes on, off.*in quotes"),
        ({"positions": 3}, r"positions must be list\[int\], got 3 \(int\): write \[3\]"),
        ({"positions": "[3, 1]"}, r'with papermill, pass -y "positions: \[3, 1\]"'),
        ({"positions": [1, 0.5]}, r"positions must be list\[int\], got \[1, 0.5\]"),
        ({"limit": "no"}, r"limit must be int \| None, got 'no'"),
    ],
)
def test_validate_says_what_is_meant(values, message):
    with pytest.raises(ParameterError, match=message):
        parameters.validate(FOUND, values, "03")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "3", 3),
        ("seed", "-3", -3),
        ("beta", "1e-3", 1e-3),
        ("beta", "2", 2),
        ("positions", "[3, 1]", [3, 1]),
        ("positions", "2", [2]),
        ("limit", "none", None),
        ("limit", "5", 5),
        ("fresh", "false", False),
        ("profile", "off", "off"),
        ("profile", "1", "1"),
        ("scaling", "none", "none"),
    ],
)
def test_words_of_the_command_line(name, text, value):
    found = parameters.parse(FOUND[name], text)
    assert found == value and type(found) is type(value)


TEXTS = parameters.Parameter("sets", "list[str]", [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("digits", ["digits"]),
        ("[my_set]", ["my_set"]),
        ("[ mnist@gray,my-set@64 ]", ["mnist@gray", "my-set@64"]),
        ("['dp(20, 1e-2)', 'clip(1)']", ["dp(20, 1e-2)", "clip(1)"]),
        ("dp(20, 1e-2)", ["dp(20, 1e-2)"]),
        ("[]", []),
    ],
)
def test_lists_of_texts_of_the_command_line(text, value):
    assert parameters.parse(TEXTS, text) == value


def test_a_list_whose_texts_need_quotes_says_so():
    with pytest.raises(
        ParameterError, match=r"got '\[dp\(20, 1e-2\)\]' \(str\): a list is written .*'b\(1\)'"
    ):
        parameters.parse(TEXTS, "[dp(20, 1e-2)]")


def _documented():
    """The commands `gleak run CHAPTER ... -p NAME VALUE` that README and book tell readers to type."""
    for file in [
        Path("README.md"),
        *sorted(Path("book").glob("*.md")),
        *sorted(Path("book/src").glob("*.py")),
    ]:
        for line in re.findall(r"gleak run (\d\d_.* -p .*)", file.read_text()):
            yield pytest.param(line, id=f"{file.stem}: {line[:40]}")


@pytest.mark.parametrize("line", _documented())
def test_what_readers_are_told_to_type_is_understood(line):
    chapter, *words = shlex.split(line, comments=True)
    pairs = [(words[i + 1], words[i + 2]) for i, word in enumerate(words) if word == "-p"]
    found = parameters.overrides(parameters.of_chapter(chapter), pairs, chapter)
    assert not [text for text in str(found).split("'") if text.startswith("[")]


def test_bad_words_of_the_command_line():
    with pytest.raises(ParameterError, match="seed must be int, got 'three'"):
        parameters.overrides(FOUND, [("seed", "three")], "03")
    with pytest.raises(ParameterError, match="Did you mean 'seed'"):
        parameters.overrides(FOUND, [("sead", "3")], "03")


def test_of_chapter_reads_the_tagged_cell(tmp_path):
    source = tmp_path / "x.py"
    cells = ["# %% [markdown]\n# text", f'# %% tags=["parameters"]\n{CELL}', "# %%\nbeta = 3"]
    source.write_text("\n\n".join(cells) + "\n")
    assert parameters.of_chapter("x", source) == FOUND
    source.write_text("# %%\nbeta: float = 3\n")
    with pytest.raises(ParameterError, match='no cell tagged "parameters"'):
        parameters.of_chapter("x", source)
    with pytest.raises(ParameterError, match="There is no chapter 'y'"):
        parameters.of_chapter("y", tmp_path / "y.py")


CHECK = 'settings = parameters.check("03", globals())'


def _after(*cells, **values):
    """The namespace of a notebook that has executed these cells and is in the check's."""
    namespace = {"In": ["", *cells, CHECK]}
    for cell in cells:
        for line in ast.parse(cell).body:
            if isinstance(line, (ast.Assign, ast.AnnAssign)) and not isinstance(line.value, ast.Call):
                target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
                namespace[target.id] = ast.literal_eval(line.value)
    return namespace | values


def test_check_returns_the_values_that_run():
    assert parameters.check("03", _after(CELL)) == {name: p.default for name, p in FOUND.items()}
    assert parameters.check("03", _after(CELL, "# Parameters\nbeta = 0.5\n"))["beta"] == 0.5


def test_check_again_in_a_notebook_that_has_run():
    # A reader changes values in Jupyter and executes from the top: other variables are no parameters.
    namespace = _after(CELL, "# Parameters\nbeta = 0.5\n", CHECK, "rows = [1, 2]", CELL.replace("0.1", "0.2"))
    assert parameters.check("03", namespace)["beta"] == 0.2
    namespace = _after(CELL, "rows = [1, 2]", "# Parameters\nbeta = 0.7\n")
    namespace["In"].insert(1, "%matplotlib inline")
    namespace["In"].insert(3, "!ls")
    assert parameters.check("03", namespace)["beta"] == 0.7


def test_check_refuses_what_papermill_only_warns_of():
    with pytest.raises(ParameterError, match=r"03 has no parameter 'betta'. Did you mean 'beta'"):
        parameters.check("03", _after(CELL, "# Parameters\nseed = 1\nbetta = 0.5\n"))
    with pytest.raises(ParameterError, match="write 1.0e-3"):
        parameters.check("03", _after(CELL, '# Parameters\nbeta = "1e-3"\n'))


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    first = nbformat.v4.new_code_cell("seed: int = 0\nbeta: float = 0.1", metadata={"tags": ["parameters"]})
    load = "from gleak_lib.chapters import parameters\n"
    check = nbformat.v4.new_code_cell(load + 'settings = parameters.check("tiny", globals())\nsettings')
    path = tmp_path_factory.mktemp("notebook") / "tiny.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[first, check], metadata=kernel), path)
    return path


def test_papermill_itself_with_a_misspelled_parameter(notebook, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(notebook, tmp_path / "out.ipynb", {"betta": 0.1}, progress_bar=False)
    assert caught.value.ename == "ParameterError"
    assert "tiny has no parameter 'betta'. Did you mean 'beta'?" in caught.value.evalue


def test_papermill_itself_with_right_parameters(notebook, tmp_path):
    done = papermill.execute_notebook(notebook, tmp_path / "out.ipynb", {"beta": 0.5}, progress_bar=False)
    assert done.cells[-1].outputs[0].data["text/plain"] == "{'seed': 0, 'beta': 0.5}"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose chapter "tiny" was published at the profile `cpu`."""
    path = tmp_path / "book" / "chapters" / "tiny.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text('{"metadata": {"papermill": {"parameters": {"profile": "cpu"}}}}')
    monkeypatch.setattr(profiles.paths, "root", lambda: tmp_path)
    return path


def test_the_published_profile(checkout):
    assert profiles.published("tiny") == "cpu"
    assert profiles.published("none") is None
    for damaged in ("{", "[]", '{"metadata": {}}'):
        checkout.write_text(damaged)
        assert profiles.published("tiny") is None


def test_a_notice_where_profiles_differ(checkout):
    text = profiles.notice("tiny", {"profile": "quick", "dataset": "digits"})
    assert text is not None
    assert "uses the profile `quick` (digits), the published chapter was run with `cpu`" in text
    assert "`-f params/tiny/cpu.yaml`" in text
    assert profiles.notice("tiny", {"profile": "cpu"}) is None
    assert profiles.notice("tiny", {"seed": 0}) is None
    assert profiles.notice("none", {"profile": "quick"}) is None


def test_a_notice_where_a_profile_is_named_and_not_passed(checkout):
    folder = checkout.parents[2] / "params" / "tiny"
    folder.mkdir(parents=True)
    (folder / "cpu.yaml").write_text("profile: cpu\nseed: 3\nbeta: 0.5\nsteps: 2\nvictims: 4\n")
    text = profiles.notice("tiny", {"profile": "cpu"}, ["profile", "seed"])
    assert text is not None and "called `cpu`, but 3 parameters" in text
    assert "(beta, steps, victims)" in text and "`-f params/tiny/cpu.yaml`" in text
    assert "(seed, beta, steps, …)" in str(profiles.notice("tiny", {"profile": "cpu"}, ["profile"]))
    assert (
        profiles.notice("tiny", {"profile": "cpu"}, ["profile", "seed", "beta", "steps", "victims"]) is None
    )
    assert profiles.notice("tiny", {"profile": "paper"}, ["profile"]) is None  # there is no such file


@pytest.mark.parametrize(("injected", "said"), [("seed = 1", 1), ('profile = "quick"', 0), ("", 1)])
def test_a_profile_that_somebody_chose_needs_no_notice(checkout, monkeypatch, injected, said):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    parameters.check("tiny", _after(CELL, *([f"# Parameters\n{injected}\n"] if injected else [])))
    assert len(shown) == said


def test_papermill_reads_the_same_parameters(notebook):
    source = nbformat.read(notebook, as_version=4).cells[0].source
    assert set(papermill.inspect_notebook(notebook)) == set(parameters.declared(source))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "03").mkdir()
    (tmp_path / "03" / "quick.yaml").write_text("profile: quick\nbeta: 1.0e-3\n")
    return tmp_path


def test_profiles_are_read(folder):
    assert profiles.load("03", "quick", folder) == {"profile": "quick", "beta": 0.001}
    assert profiles.profiles_of("03", folder) == ["quick"]


def test_bad_profiles(folder):
    with pytest.raises(UnknownNameError, match=r"Unknown profile 'fast'.*cpu, paper, quick"):
        profiles.load("03", "fast", folder)
    with pytest.raises(ParameterError, match=r"03 has no profile 'paper' .*It has: quick"):
        profiles.load("03", "paper", folder)
    for text, message in (
        ("profile: [", "no valid YAML"),
        ("- 1", "lines of the form"),
        ("", "lines of the form"),
        ("beta: 1", "must say 'profile: quick'"),
        ("profile: cpu", "it says 'cpu'"),
    ):
        (folder / "03" / "quick.yaml").write_text(text)
        with pytest.raises(ParameterError, match=message):
            profiles.load("03", "quick", folder)
