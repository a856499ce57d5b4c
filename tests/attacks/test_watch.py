"""What `invert(callback=...)` is shown, and that being watched changes nothing."""

import dataclasses

import pytest
import torch

from gleak_lib import gradients, models
from gleak_lib.attacks import ATTACKS, Resample, invert, observe
from gleak_lib.bottlenecks import CVB, PRECODE


def small(bottlenecks=(), victims=3, batch=1):
    g = torch.Generator().manual_seed(0)
    model = models.build("cnn", num_classes=5, bottlenecks=bottlenecks, seed=0).double()
    shape = (victims,) if batch == 1 else (victims, batch)
    images, labels = torch.rand(*shape, 3, 32, 32, generator=g).double(), torch.arange(3).repeat(batch)
    return observe(model, images, labels[: victims * batch].reshape(shape), generator=g)


def rng():
    return torch.Generator().manual_seed(1)


CASES = {
    "ignore": ((PRECODE(3, 4),), ATTACKS["ignore"].replace(max_steps=30)),
    "leaving": ((CVB(1, 3),), ATTACKS["ig"].replace(max_steps=60, stop_after=10, lr=3.0)),
    "dlg": ((), ATTACKS["dlg"].replace(max_steps=2)),
    "restarts": ((PRECODE(1, 4), PRECODE(2, 4)), ATTACKS["ig"].replace(max_steps=4, restarts=2)),
    "noise_samples": ((PRECODE(3, 4),), ATTACKS["ig"].replace(max_steps=4, noise_samples=3)),
    "evaluations": (
        (PRECODE(3, 4),),
        ATTACKS["idlg"].replace(
            max_steps=5, inner_steps=4, noise=Resample(each_evaluation=True), lr=1.0, stop_after=1
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_watch_changes_nothing_whatever_it_does(name):
    bottlenecks, attack = CASES[name]
    observation = small(bottlenecks)

    def vandal(step, victims, unknowns, noise):
        torch.rand(7)  # torch's global generator is not the attack's
        for tensor in (victims, *unknowns.values(), *noise):
            tensor.zero_()

    alone = invert(observation, attack, generator=rng())
    watched = invert(observation, attack, generator=rng(), callback=vandal)
    for field in dataclasses.fields(alone):
        a, b = getattr(alone, field.name), getattr(watched, field.name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=field.name)


@pytest.mark.parametrize("name", ["ignore", "leaving", "evaluations"])
def test_a_watch_sees_what_the_step_used(name):
    bottlenecks, attack = CASES[name]
    observation, attack = small(bottlenecks), attack.replace(tv=0.0, layers="all")
    model, seen = gradients.prepare(observation.model, 1), []

    def watch(step, victims, unknowns, noise):
        assert set(unknowns) == {"image"}
        labels = observation.labels[victims].flatten()
        dummy, _ = gradients.per_victim_gradients(
            model, unknowns["image"].flatten(0, 1), labels, victims=len(victims), noise=noise
        )
        target = {n: g[victims] for n, g in observation.gradients.items()}
        value = attack.match.measure(dummy, target)
        seen.append((step, victims, value))

    found = invert(observation, attack, generator=rng(), callback=watch)
    assert [step for step, *_ in seen] == found.trace_steps.tolist()
    for step, victims, loss in seen:
        ran = found.steps[victims] >= step
        torch.testing.assert_close(loss[ran], found.trace[step - 1, victims][ran])
    sizes = [len(victims) for _, victims, _ in seen]
    assert (min(sizes) < 3) == (name != "ignore")


def test_every_trial_begins_again_and_batches_keep_their_shape():
    steps, shapes = [], set()

    def watch(step, victims, unknowns, noise):
        steps.append(step)
        shapes.add((tuple(unknowns["image"].shape), *(tuple(n.shape) for n in noise)))

    observation, attack = (
        small((PRECODE(3, 4),), victims=2, batch=3),
        CASES["restarts"][1].replace(noise_samples=2),
    )
    invert(observation, attack, generator=rng(), callback=watch)
    assert steps == [1, 2, 3, 4] * 2
    assert shapes == {((2, 3, 3, 32, 32), (2 * 2 * 3, 4))}


def test_soft_labels_are_shown_and_a_closed_form_has_no_steps():
    calls = []
    invert(small(), CASES["dlg"][1], generator=rng(), callback=lambda *seen: calls.append(seen))
    assert [set(unknowns) for _, _, unknowns, _ in calls] == [{"image", "label"}] * 2
    calls.clear()
    model = models.build("mlp", num_classes=5, seed=0)
    images = torch.rand(2, 3, 32, 32, generator=rng())
    observation = observe(model.eval(), images, torch.tensor([1, 2]))
    invert(observation, ATTACKS["analytic"], callback=lambda *seen: calls.append(seen))
    assert calls == []
