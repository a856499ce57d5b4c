"""Threads that use torch's global generator do not see one another."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from gleak_lib import models
from gleak_lib.global_generator import isolated
from gleak_lib.gradients import trial


def test_fresh_weights_in_threads_are_those_alone():
    alone = [models.build("cnn", seed=seed).state_dict() for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(8):
            built = threads.map(lambda seed: models.build("cnn", seed=seed).state_dict(), range(4))
            for mine, expected in zip(built, alone, strict=True):
                torch.testing.assert_close(mine, expected, rtol=0, atol=0)


def test_a_trial_beside_threads_that_draw_calls_no_model_random():
    model, like = models.build("cnn", seed=0), torch.zeros(1, 3, 32, 32)
    names = tuple(name for name, _ in model.named_parameters())
    with ThreadPoolExecutor(2) as threads:
        builds = [threads.submit(models.build, "cnn", seed=seed) for seed in range(40)]
        assert all(trial.tried(model, like, names) == trial.Trial("fast") for _ in range(10))
        assert all(isinstance(build.result(), nn.Module) for build in builds)


@pytest.mark.parametrize("seed", [None, 0, -3, 2**64 - 1])
def test_the_generator_is_left_as_it_was(seed):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with isolated(seed=seed):
        drawn = torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
    expected = torch.Generator().manual_seed(5 if seed is None else seed)
    assert torch.equal(drawn, torch.rand(3, generator=expected))
