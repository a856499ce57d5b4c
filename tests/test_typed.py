"""What `typed` lets through and what it refuses, and in which words."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gleak_lib.attacks import Attack
from gleak_lib.errors import ParameterError
from gleak_lib.typed import fits, shown, typed
from gleak_lib.types import VariationalModel

if TYPE_CHECKING:
    from nowhere import Nothing


@typed
def door(
    count: int,
    share: float = 0.5,
    *others: str,
    name: Literal["a", "b"] = "a",
    stranger: "Nothing | None" = None,
    **options: bool,
) -> tuple[Any, ...]:
    """A door."""
    return count, share, others, name, stranger, options


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (np.int64(1), int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (np.float32(1), float, True),
        (float("nan"), float, True),
        (True, float, False),
        ("1", float, False),
        (torch.tensor(1.0), float, False),
        (np.bool_(True), bool, True),
        (1, bool, False),
        (None, int | None, True),
        ("x", "never a type", True),
        ("x", Any, True),
        ("x", object, True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], True),  # the door names the nearest
        (1, Literal["a", "b"], False),
        (True, Literal[1, 2], False),
        ([1, 2], tuple[int, ...], True),
        ((1, 2), list[int], True),
        ((1, "2"), tuple[int, ...], False),
        ((1, "2"), tuple[int, str], True),
        ((1, 2), tuple[int, str], False),
        ("ab", Sequence[str], False),
        ({1: 2}, Sequence[int], False),
        (range(3), Sequence[int], True),
        ({1, 2}, Sequence[int], False),
        (np.array([0.1, 0.2]), Sequence[float] | float, True),
        (torch.tensor([0.1, 0.2]), Sequence[float] | float, True),
        (torch.zeros(()), Sequence[float] | float, False),
        (torch.zeros(2, 2), Sequence[float], False),
        (torch.zeros(2), Sequence[Tensor], False),
        ([torch.zeros(2)], Sequence[Tensor], True),
        ({"a": torch.zeros(2)}, dict[str, Tensor], True),
        ({"a": np.zeros(2)}, dict[str, Tensor], False),
        ({1: torch.zeros(2)}, Mapping[str, Tensor], False),
        ([torch.zeros(2)], dict[str, Tensor], False),
        (len, Callable[[str], int], True),
        (Tensor, Callable, True),
        (3, Callable[..., Any], False),
        (nn.Linear(1, 1), nn.Module, True),
        (nn.Linear, nn.Module, False),
        (nn.Linear(1, 1), VariationalModel, False),
        (Path("x"), str | Path, True),
        (1, str | Path, False),
    ],
)
def test_what_fits(value, hint, expected):
    assert fits(value, hint) is expected


def test_a_door_is_what_it_was_for_those_who_fit():
    assert door(1, 2, "x", name="b", stranger=object, further=True)[:4] == (1, 2, ("x",), "b")
    assert door.__doc__ == "A door." and "count" in inspect.signature(door).parameters
    attack = Attack().replace(tv=1, milestones=[0.5])  # an int for a float, a list for a tuple
    assert attack == copy.deepcopy(attack)
    assert dataclasses.replace(attack, name="a") == attack.replace(name="a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: door("1"), r"door: count must be int, got '1' \(str\)\."),
        (lambda: door(None), r"count must be int, got None\."),
        (lambda: door(1, [2]), r"share must be float, got list of int\."),
        (lambda: door(1, "x" * 100), r"got 'x{56}\.\.\. \(str\)\."),
        (lambda: door(1, 2, "x", 3), r"others must be str, got 3 \(int\)\."),
        (lambda: door(1, name=2), r"name must be 'a' \| 'b', got 2 \(int\)\."),
        (lambda: door(1, further=1), r"options must be bool, got 1 \(int\)\."),
        (lambda: door(1, len), r"share must be float, got len itself: call it first\."),
        (lambda: door(1, torch.zeros(2)), r"share must be float, got Tensor\."),
        (lambda: door(), r"door: missing a required argument: 'count'\. It takes: count, share"),
        (lambda: Attack(temperature=1), r"an unexpected keyword argument 'temperature'\. It takes"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_annotations_as_people_write_them():
    hint = Sequence[float] | tuple[Tensor, ...] | Literal["a"] | Callable[[int], str] | None
    assert shown(hint) == "Sequence[float] | tuple[Tensor, ...] | 'a' | a function | None"
