"""Bytes of a shared update, counted by hand."""

import torch

from gleak_lib.defenses import Compression, Gaussian, Quantize, bytes_shared, chain

GRADS = {"w": torch.arange(1.0, 101.0).repeat(2, 1), "b": torch.tensor([[1.0, 2.0, 3.0]]).repeat(2, 1)}


def shared(defense):
    return bytes_shared(defense(GRADS, generator=torch.Generator().manual_seed(0)), defense).tolist()


def test_by_hand():
    assert bytes_shared(GRADS).tolist() == [103 * 4] * 2
    # 90 of 100 and 2 of 3 are zero: ten values and one, of 4 bytes, each with an index of 4
    assert shared(Compression(0.9)) == [10 * 8 + 1 * 8] * 2
    # a third of zeros saves nothing: indices would cost more
    assert shared(Compression(0.34)) == [103 * 4] * 2
    # a byte a value, and a step of 4 bytes a tensor
    assert shared(Quantize(8)) == [103 + 8] * 2
    # 100 values of 4 bits are 50 bytes, 3 are 12 bits: with the step of 32 bits 44, in whole bytes 6
    assert shared(Quantize(4)) == [54 + 6] * 2
    # ten values of 8 + 32 bits and the step: 54; one or, dense, three of 8 bits: 24 bits and the step
    assert shared(chain(Compression(0.9), Quantize(8))) == [54 + 7] * 2
    assert shared(chain(Quantize(8), Compression(0.9))) == [54 + 7] * 2
    assert shared(chain(Compression(0.9), Gaussian(0.1))) == [103 * 4] * 2


def test_updates_are_counted_one_by_one():
    grads = {"w": torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])}
    assert bytes_shared(grads).tolist() == [8, 16]
