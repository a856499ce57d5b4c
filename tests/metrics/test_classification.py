"""Balanced accuracy and AUC against values counted by hand."""

import math

import pytest
import torch

from gleak_lib.errors import ShapeError
from gleak_lib.metrics import auc, balanced_accuracy


def test_two_classes_by_hand():
    # three images of class 0, one of class 1; the score of class 1 is the second logit
    scores = torch.tensor([[0.0, -2.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.5]])
    labels = torch.tensor([0, 0, 0, 1])
    assert balanced_accuracy(scores, labels) == pytest.approx((2 / 3 + 1) / 2)  # accuracy: 3/4
    assert auc(scores, labels) == pytest.approx(2 / 3)  # image 3 ranks above two of three


def test_the_answer_is_always_the_large_class():
    labels = torch.tensor([0] * 9 + [1])
    scores = torch.tensor([[1.0, 0.0]] * 10)
    assert balanced_accuracy(scores, labels) == 0.5  # accuracy: 0.9
    assert auc(scores, labels) == 0.5  # ties count half


def test_several_classes_are_each_held_against_the_rest():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.6, 0.1, 0.3], [0.15, 0.05, 0.8]])
    labels = torch.tensor([0, 1, 1, 2])
    # class 0: 0.7 above 0.5, 0.6, 0.1: 1; class 1: 0.4 above both, 0.1 above one of two; class 2: 1
    expected = (1 + 3 / 4 + 1) / 3
    assert auc(probabilities.log(), labels) == pytest.approx(expected)
    assert balanced_accuracy(probabilities, labels) == pytest.approx((1 + 0 + 1) / 3)


def test_logits_of_different_images_are_compared_as_probabilities():
    scores = torch.tensor([[1.0, 0.0, 0.0], [10.0, 11.0, 0.0], [0.0, 0.0, 5.0]])
    labels = torch.tensor([0, 1, 2])
    assert auc(scores, labels) == 1.0  # the raw logit of class 0 is largest for image 2


def test_classes_without_an_image_do_not_count():
    scores = torch.tensor([[2.0, 0.0, 9.0], [0.0, 2.0, 1.0]])
    labels = torch.tensor([0, 1])
    assert balanced_accuracy(scores, labels) == 0.5
    assert auc(scores, labels) == pytest.approx(0.5)  # class 0 is ranked wrongly, class 1 rightly
    assert math.isnan(auc(scores[:1, :2], labels[:1]))


def test_scores_that_are_not_finite_have_no_area():
    scores = torch.tensor([[float("inf"), 0.0], [0.0, 1.0]])
    assert math.isnan(auc(scores, torch.tensor([0, 1])))
    assert balanced_accuracy(scores, torch.tensor([0, 1])) == 1.0


@pytest.mark.parametrize("measure", [auc, balanced_accuracy])
@pytest.mark.parametrize(("shape", "count"), [((4,), 4), ((4, 1), 4), ((4, 3), 5), ((0, 3), 0)])
def test_what_does_not_fit_is_refused(measure, shape, count):
    with pytest.raises(ShapeError, match="Expected scores N x K with K at least 2 and N labels"):
        measure(torch.zeros(shape), torch.zeros(count, dtype=torch.long))
