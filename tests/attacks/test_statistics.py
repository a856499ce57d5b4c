"""BatchNorm in training and in evaluation mode, and whose statistics the attacker knows."""

import pytest
import torch
from torch import nn

from gleak_lib.attacks import ATTACKS, Attack, invert, observe
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.statistics import batch_statistics, statistics_distance
from gleak_lib.errors import ParameterError
from gleak_lib.gradients import prepare


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 12)
    )
    model = nn.Sequential(*model, nn.BatchNorm1d(12), nn.Sigmoid(), nn.Linear(12, 5)).double()
    for _ in range(20):  # running averages of their own
        model(torch.randn(16, 3, 8, 8, dtype=torch.double) * 2 + 1)
    return model


def observed(model, batch=4, victims=3, **options):
    images = torch.rand(victims, batch, 3, 8, 8, generator=rng(0)).double()
    labels = torch.randint(0, 5, (victims, batch), generator=rng(0))
    return observe(model, images, labels, generator=rng(), **options), images


def at_truth(seen, images, attack):
    objective = Objective(seen, attack, tuple(seen.gradients))
    return objective.loss({"image": images}, Problem.of(seen, seen.labels), ())


def test_the_truth_matches_only_under_the_clients_statistics():
    attack = Attack().replace(tv=0.0)
    for mode, right in [(True, "own"), (False, "running"), (False, "own")]:
        seen, images = observed(network().train(mode))
        assert at_truth(seen, images, attack.replace(statistics=right)).max() < 1e-12, (mode, right)
    seen, images = observed(network().train())
    assert at_truth(seen, images, attack.replace(statistics="running")).min() > 1e-3


def test_granted_statistics_are_those_of_each_victims_batch():
    model = network().train()
    seen, images = observed(model, share_statistics=True)
    assert seen.statistics is not None
    assert {n: s.shape for n, s in seen.statistics.items()} == {"1": (3, 2, 6), "5": (3, 2, 12)}
    for v in range(3):
        z = model[0](images[v])
        torch.testing.assert_close(seen.statistics["1"][v, 0], z.mean((0, 2, 3)))
        torch.testing.assert_close(seen.statistics["1"][v, 1], z.var((0, 2, 3), correction=0))
    own = batch_statistics(prepare(model, 4), images.flatten(0, 1))
    assert statistics_distance(own, seen.statistics).max() < 1e-9
    assert observed(model)[0].statistics is None


def test_the_statistics_prior_vanishes_at_the_truth_and_draws_dummies_there():
    seen, images = observed(network().train(), share_statistics=True)
    attack = ATTACKS["ig"].replace(tv=0.0, statistics_weight=0.1)
    objective = Objective(seen, attack, tuple(seen.gradients))
    problem = Problem.of(seen, seen.labels)
    assert objective.loss({"image": images}, problem, ()).max() < 1e-9
    x = torch.rand_like(images).requires_grad_()
    without = Objective(seen, attack.replace(statistics_weight=0.0), tuple(seen.gradients))
    own = batch_statistics(objective.model, x.flatten(0, 1))
    expected = without.loss({"image": x}, problem, ()) + 0.1 * statistics_distance(own, problem.statistics)
    torch.testing.assert_close(objective.loss({"image": x}, problem, ()), expected)
    found = invert(seen, attack.replace(max_steps=30, lr=0.1, stop_after=3), generator=rng())
    assert (found.loss < found.trace[0]).all()


def test_what_the_statistics_need():
    with pytest.raises(ParameterError, match="BatchNorm in training mode: call train"):
        observed(network().eval(), share_statistics=True)
    seen, _ = observed(network().train())
    with pytest.raises(ParameterError, match="share_statistics=True"):
        invert(seen, ATTACKS["ig"].replace(statistics_weight=0.1, max_steps=1))


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_attacks_leave_running_averages_alone(mode):
    model = network().train(mode)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    seen, _ = observed(model)
    invert(seen, ATTACKS["idlg"].replace(max_steps=1), generator=rng())
    invert(seen, ATTACKS["ig"].replace(max_steps=2, statistics="running"), generator=rng())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training == mode
