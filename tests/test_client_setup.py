"""What clients protect themselves with: texts that print and read back, labels, and what is refused."""

import dataclasses
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleak_lib.bottlenecks import BOTTLENECKS, CVB, PRECODE, Bottleneck
from gleak_lib.client_setup import ClientSetup, differences, parse, short
from gleak_lib.datasets import RootSet
from gleak_lib.defenses import (
    DEFENSES,
    DP,
    AverageNoise,
    Clip,
    Compression,
    Defense,
    Gaussian,
    Laplace,
    PruneSmall,
    Quantize,
    Soteria,
    chain,
)
from gleak_lib.errors import GleakError, ParameterError, UnknownNameError

EXACT = CVB(1, kl="exact", sigma_floor=2.0)


@pytest.mark.parametrize(
    ("text", "bottlenecks", "defense", "label"),
    [
        ("none", (), chain(), "none"),
        ("precode(3, k=32)", (PRECODE(3, k=32),), chain(), "PRECODE P=3, K=32"),
        ("precode(1, beta=0.001)", (PRECODE(1, beta=1e-3),), chain(), "PRECODE P=1, K=8, β=1e-3"),
        (
            'precode(1, bias=True, kl="bits")',
            (PRECODE(1, kl="bits", bias=True),),
            chain(),
            "PRECODE P=1, K=8, bias=True, bits KL",
        ),
        ("cvb(1)", (CVB(1),), chain(), "CVB P=1, k=5, s=1/2, β=1e-1"),
        (
            "cvb(2, kernel_size=1, scale=32, beta=5e-5)",
            (CVB(2, 1, 32, beta=5e-5),),
            chain(),
            "CVB P=2, k=1, s=32, β=5e-5",
        ),
        (
            'cvb(1, kl="exact", sigma_floor=2) + cvb(3, kl="exact", sigma_floor=2)',
            (EXACT, dataclasses.replace(EXACT, position=3)),
            chain(),
            "CVB P=1+3, k=5, s=1/2, β=1e-1, exact KL, σ ≥ 2",
        ),
        ("cvb(1, scale=0.0625)", (CVB(1, scale=1 / 16),), chain(), "CVB P=1, k=5, s=1/16, β=1e-1"),
        ("dp(noise_multiplier=0.001)", (), DP(noise_multiplier=1e-3), "DP σ=1e-3"),
        ("dp(max_grad_norm=1, noise_multiplier=1)", (), DP(1.0, 1.0), "DP σ=1, C=1"),
        ("compression()", (), Compression(0.9), "compression p=0.9"),
        ("gaussian(std=0.01)", (), Gaussian(0.01), "gaussian std=1e-2"),
        ("laplace(scale=0.0707)", (), Laplace(0.0707), "laplace scale=0.0707"),
        ("prune_small(p=0.1)", (), PruneSmall(0.1), "prune-small p=0.1"),
        (
            'soteria(layer="fc", probes=4)',
            (),
            Soteria(layer="fc", probes=4),
            "soteria p=0.8, layer=fc, probes=4",
        ),
        (
            "clip(bound=1) + quantize(bits=4)",
            (),
            chain(Clip(1), Quantize(4)),
            "clip bound=1 + quantize bits=4",
        ),
        ('gaussian(on="update")', (), Gaussian(on="update"), "gaussian std=1e-1, on=update"),
        (
            "cvb(1) + average_noise(draws=2)",
            (CVB(1),),
            AverageNoise(2),
            "CVB P=1, k=5, s=1/2, β=1e-1 + average-noise draws=2",
        ),
    ],
)
def test_texts_and_labels(text, bottlenecks, defense, label):
    made = ClientSetup(bottlenecks, defense)
    assert (str(made), parse(text), made.label) == (text, made, label)


def test_several_ways_to_write_one_setting():
    made = ClientSetup((CVB(1), CVB(3)), chain(DP(noise_multiplier=1e-3)), 4)
    assert str(made) == "cvb(1) + cvb(3) + dp(noise_multiplier=0.001) + batch(4)"
    assert made.label == "CVB P=1+3, k=5, s=1/2, β=1e-1 + DP σ=1e-3 + batch of 4"
    for text in (
        "batch(4)+dp(noise_multiplier=1e-3)+cvb(3)+cvb(position=1, scale=+1/2)",
        "  none + batch(size=4) + cvb(3, 5) + cvb + dp(20, --1/1000)\n",
    ):
        assert parse(text) == made
    assert hash(parse("dp")) == hash(parse("dp()")) and parse("dp") == ClientSetup(defense=DP())


VALUES = {
    int: st.integers(2, 16),
    float: st.floats(1e-9, 0.99),
    bool: st.booleans(),
    "kernel_size": st.integers(0, 20).map(lambda n: 2 * n + 1),
    "layer": st.none() | st.text(max_size=20),
    "probes": st.none() | st.integers(1, 99),
    "kl": st.sampled_from(["exact", "bits", "paper-code"]),
    "sigma": st.sampled_from(["clipped-softplus", "softplus"]),
    "on": st.just("step"),
    "root": st.none()
    | st.builds(RootSet, st.just("mnist"), st.integers(1, 9), bias=st.none() | st.floats(0, 1)),
    "block": st.none() | st.integers(1, 99),
    "clip": st.none() | st.floats(1e-9, 9),
    "norm": st.floats(1, 9),
}


def made_of(cls):
    kinds = {f.name: VALUES[f.name] if f.name in VALUES else VALUES[f.type] for f in dataclasses.fields(cls)}
    if issubclass(cls, Defense) and not cls().needs_batch:
        kinds["on"] = st.sampled_from(["step", "update"])
    return st.fixed_dictionaries({}, optional=kinds).map(lambda options: cls(**options))


PARTS = {name: made_of(cls) for name, cls in {**BOTTLENECKS, **DEFENSES}.items()}
FIRST = [name for name, cls in DEFENSES.items() if cls().replaces]
SETUPS = st.builds(
    lambda bottlenecks, first, others, batch: ClientSetup(tuple(bottlenecks), chain(first, *others), batch),
    st.lists(st.one_of(*(PARTS[name] for name in BOTTLENECKS)), max_size=3),
    st.none() | st.one_of(*(PARTS[name] for name in FIRST)),
    st.lists(st.one_of(*(PARTS[name] for name in DEFENSES if name not in FIRST)), max_size=3),
    st.integers(1, 100),
)


@given(SETUPS)
def test_what_is_printed_reads_back(setup):
    assert parse(str(setup)) == setup
    assert setup.label and str(parse(str(setup))) == str(setup)


@given(st.text(max_size=30) | st.text("cvbdp()+-*/[]{}.,=019e 'none", max_size=30))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        assert parse(str(parse(text))) == parse(text)
    except GleakError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ParameterError, "'' is no setting. Write, for instance, cvb"),
        ("cvb 1 5 1/2", ParameterError, "'cvb 1 5 1/2' is no setting. Write"),
        ("precod(1)", UnknownNameError, "Unknown protection 'precod'. Did you mean 'precode'"),
        ("average-noise", ParameterError, "'average - noise' is no setting"),
        ("batch()", ParameterError, "missing a required argument: 'size'"),
        ("batch(0)", ParameterError, r"holds at least one image, got batch\(0\)"),
        ("batch(2.5)", ParameterError, "batch: size must be int, got 2.5"),
        ("batch(2) + batch(2)", ParameterError, "says twice how large"),
        ("cvb(one)", ParameterError, "'one' is no setting"),
        ("cvb(1, scale=1/0)", ParameterError, "is no setting"),
        ("cvb(1, scale=2**-1)", ParameterError, "2 .. .-1.' is no setting"),
        ("cvb(3/2)", ParameterError, "position must be int, got 1.5"),
        ("cvb(1, 4)", ParameterError, "kernel_size must be odd"),
        ("cvb(1, 5, 1/2, 0.1)", ParameterError, "CVB: too many positional arguments"),
        ('cvb(1, kl="exat")', UnknownNameError, "form of the KL term 'exat'. Did you mean 'exact'"),
        ("precode(1, sigma_floor=-1)", ParameterError, "sigma_floor must be finite and not negative, got -1"),
        ("compression(p=2)", ParameterError, r"must be in \[0, 1\), got 2"),
        ("compression(q=0.9)", ParameterError, "unexpected keyword argument 'q'. It takes: p, on"),
        ("compression(**{})", ParameterError, "is no setting"),
        ("compression(p=p)", ParameterError, "'p' is no setting"),
        ("dp(noise_multiplier=1e999)", ParameterError, "'1e309' is no setting"),
        ("dp() - dp()", ParameterError, r"'dp\(\) - dp\(\)' is no setting"),
        ("compression() + dp()", ParameterError, "put it first in the chain"),
        ("__import__('os').system('ls')", ParameterError, "is no setting"),
        ("dp(open('x'))", UnknownNameError, "Unknown value 'open'. There is: root_set"),
        ("(" * 1000 + ")" * 1000, ParameterError, "is no setting"),
        ("9" * 1999, ParameterError, "is no setting"),
        ("dp() + " * 400 + "dp()", ParameterError, "is no setting"),
        ("\0", ParameterError, "is no setting"),
    ],
)
def test_what_is_no_setting(text, error, message):
    with pytest.raises(error, match=message):
        parse(text)


def test_settings_are_told_apart_by_what_differs():
    assert differences(["P=1, k=5, s=2", "P=1, k=3, s=2"]) == ["k=5", "k=3"]
    assert differences(["P=1, k=5", "P=1, k=5, exact KL"]) == ["", "exact KL"]
    assert differences(["CVB + DP", "CVB + batch"], " + ") == ["DP", "batch"]
    assert differences(["alone"]) == [""]
    assert differences([]) == []


def test_short_names_keep_what_tells_settings_apart():
    labels = ["none", "PRECODE P=1, K=8", "CVB P=1, k=5", "CVB P=1, k=5, exact KL", "CVB P=1, k=5"]
    assert short(labels) == ["none", "PRECODE", "CVB", "CVB exact KL", "CVB"]
    assert short(["CVB P=1, k=5", "CVB P=1, k=3"]) == ["CVB k=5", "CVB k=3"]


@dataclass(frozen=True)
class Doubled(Defense):
    scale: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wide(Bottleneck):
    beta: float = field(default=0.5, kw_only=True)
    k: int = 3


def test_classes_from_outside_are_read_and_printed():
    text = 'wide(2, k=4, beta=0.25) + doubled(scale=2, names=("a", "b"))'
    made = ClientSetup((Wide(2, beta=0.25, k=4),), Doubled(2.0, ("a", "b")))
    assert (str(made), parse(text)) == (text, made)
    assert made.label == 'wide P=2, k=4, beta=0.25 + doubled scale=2, names=("a", "b")'
    with pytest.raises(ParameterError, match="doubled cannot be made of these settings: .*scale"):
        parse("doubled()")


def test_the_names_in_texts_are_the_classes_own():
    assert all(cls.text_name() == name for name, cls in {**BOTTLENECKS, **DEFENSES}.items())
