"""All scores of an attack at once: each column is that of the function that is known for it."""

import dataclasses

import pytest
import torch

from gleak_lib import attacks, metrics, models
from gleak_lib.attacks.evaluate import blind
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.errors import AttackError, ShapeError

SHAPE = (1, 32, 32)
JOINT = attacks.ATTACKS["joint"].replace(max_steps=2)
IG = attacks.ATTACKS["ig"].replace(max_steps=2)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def case(batch=1, attack=IG, bottlenecks=(), **options):
    model = models.build("cnn", input_shape=SHAPE, num_classes=4, bottlenecks=bottlenecks, seed=0)
    images = torch.rand((2, *SHAPE) if batch == 1 else (2, batch, *SHAPE), generator=rng())
    labels = torch.arange(2 * batch).reshape(images.shape[:-3]) % 4
    seen = attacks.observe(model, images, labels, generator=rng(), **options)
    return seen, attacks.invert(blind(seen), attack, generator=rng(1)), images, labels


@pytest.mark.parametrize("batch", [1, 2])
def test_every_column_is_that_of_its_function(batch):
    seen, found, images, labels = case(batch, JOINT, PRECODE(2, 4), share_noise=True)
    frame = attacks.evaluate(found, images, seen, attack=JOINT)
    scores = metrics.score(found, images)
    for name in ("victim", "image", "mse", "psnr", "ssim", "success"):
        assert frame[name].tolist() == scores[name].tolist()
    assert frame["true_label"].tolist() == labels.flatten().tolist()
    of_victims = {
        "loss": found.loss,
        "steps": found.steps,
        "loss_at_truth": attacks.loss_at_truth(seen, JOINT, images, labels, seen.noise),
        "gradient_distance": attacks.gradient_distance(seen, JOINT, found),
    }
    for name, values in of_victims.items():
        assert frame[name].tolist() == pytest.approx(values.repeat_interleave(batch).tolist()), name
    assert frame["noise_correlation"].between(-1, 1).all() and "label_accuracy" not in frame
    told = attacks.evaluate(found, images, blind(seen), attack=JOINT, noise=seen.noise, labels=labels)
    assert told.equals(frame)


def test_without_attack_labels_or_noise_there_are_fewer_columns():
    seen, found, images, labels = case(bottlenecks=PRECODE(2, 4), share_labels=False)
    frame = attacks.evaluate(found, images, seen)
    known = {"victim", "image", "mse", "psnr", "ssim", "lpips", "success", "loss", "steps"}
    assert set(frame) == known
    more = attacks.evaluate(found, images, seen, attack=IG, labels=labels)
    assert set(more) - known == {"true_label", "label_accuracy", "gradient_distance"}
    expected = attacks.label_accuracy(found.labels, labels)
    assert more["label_accuracy"].tolist() == expected.tolist() == [1.0, 1.0]
    with pytest.raises(ShapeError, match="labels must be 2 x 1 class indices, got .3,."):
        attacks.evaluate(found, images, seen, labels=torch.zeros(3))
    with pytest.raises(ShapeError, match="torch.float32: pass labels.long"):
        attacks.evaluate(found, images, seen, labels=labels.float())
    with pytest.raises(ShapeError, match="labels must be in .0, .*got .50, 5"):
        attacks.evaluate(found, images, case(share_labels=False)[0], attack=IG, labels=labels + 50)


def test_the_observation_is_the_one_that_was_attacked():
    seen, found, images, _ = case()
    one = attacks.observe(seen.model, images[:1], seen.labels[:1])
    with pytest.raises(ShapeError, match="is of 1 x 1 images .V x B., and the reconstruction of 2 victims"):
        attacks.evaluate(found, images, one)


def test_both_scalings():
    seen, found, images, _ = case(2)
    frame = attacks.evaluate(found, images, seen, attack=IG, scaling="both")
    for scaling in ("minmax", "none"):
        part = frame[frame["scaling"] == scaling].drop(columns="scaling").reset_index(drop=True)
        assert part.equals(attacks.evaluate(found, images, seen, attack=IG, scaling=scaling))
    assert len(frame) == 8 and "loss_at_truth" in frame


def test_lpips_is_what_one_passes():
    class Constant(metrics.Perceptual):
        def __call__(self, pred, target):
            return torch.full((len(pred),), 0.25)

    seen, found, images, _ = case()
    frame = attacks.evaluate(found, images, seen, perceptual=Constant(None, unit=True))
    assert frame["lpips"].tolist() == [0.25, 0.25]


def test_a_failed_attack_is_no_score():
    seen, found, images, _ = case()
    failed = dataclasses.replace(found, loss=torch.tensor([0.1, torch.nan]))
    with pytest.raises(AttackError, match="'ig' failed for 1 of 2 victims"):
        attacks.evaluate(failed, images, seen, attack=IG.replace(name="ig"))
