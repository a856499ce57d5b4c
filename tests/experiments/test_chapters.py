"""The registry of chapters."""

import pytest
from toy_cells import Toy

from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import CHAPTERS, Chapter, chapter


def test_a_plan_gets_the_parameters():
    def plan(values, **others):
        return [Toy(value) for value in values]

    assert Chapter("toys", plan).cells(values=[1.0, 2.0], profile="quick") == [Toy(1.0), Toy(2.0)]
    with pytest.raises(
        ParameterError, match="The plan of 'toys' does not take these parameters: missing.*'values'"
    ):
        Chapter("toys", plan).cells(profile="quick")


def test_unknown_chapter_lists_what_there_is():
    with pytest.raises(
        UnknownNameError, match=r"Unknown chapter '03_ignor'. Did you mean '03_ignore_attack'"
    ):
        chapter("03_ignor")
    assert chapter("03_ignore_attack") is CHAPTERS["03_ignore_attack"]
