"""What surrounds the averaging: stopping, randomness, history, and what is refused."""

import json
import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gleak_lib import models
from gleak_lib.bottlenecks import CVB, insert
from gleak_lib.datasets.base import Pixels, Split
from gleak_lib.errors import DataError, GradientError, MissingDependencyError, ParameterError, ShapeError
from gleak_lib.federated import Protocol, evaluate, train
from gleak_lib.federated.server import Federation


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def big(images):
    return F.interpolate(images[0].float() / 255, 32), images[1]


@pytest.fixture
def cvb():
    return models.build("cnn", input_shape=(1, 32, 32), num_classes=3, bottlenecks=CVB(1), seed=1)


def test_it_learns_and_tells_what_happened(images, linear):
    history = train(linear, images, Protocol(rounds=12, clients=3, batch_size=8, lr=0.02),
                    generator=gen(), test=images, keep=(0, 5, 99))  # fmt: skip
    assert history.rounds == 12 and not history.stopped_early
    assert history.accuracy > 0.95 > 0.7 > history.test_accuracy[0]
    assert math.isnan(history.train_loss[0]) and history.train_loss[12] < history.train_loss[1]
    assert set(history.snapshots) == {0, 5}
    assert torch.equal(history.snapshots[0]["1.weight"], linear[1].weight)
    assert history.val_loss[history.best_round] == min(history.val_loss)
    record = json.loads(json.dumps(history.to_dict(), allow_nan=False))
    assert record["accuracy"] == history.accuracy and record["train_loss"][0] is None
    assert all(
        len(record[name]) == 13 for name in ("val_loss", "train_accuracy", "test_accuracy", "train_seconds")
    )
    for name, value in history.model.state_dict().items():
        assert torch.equal(value, history.best_state[name])
    loss, accuracy = evaluate(history.model, images, mean=history.mean, std=history.std, generator=gen())
    assert accuracy == pytest.approx(history.accuracy) and loss < 1


def test_a_history_prints_in_a_line(images, linear, small):
    plain = train(linear, images, small, generator=gen())
    best = f"best round {plain.best_round}"
    assert repr(plain) == f"<History of a Sequential: 2 rounds, 3 clients, no test accuracy, {best}>"
    tested = train(linear, images, small, generator=gen(), test=images)
    tested.stopped_early = True
    said = f"test accuracy {tested.accuracy:.3g} after round {tested.best_round}, stopped early>"
    assert repr(tested).endswith(said) and len(repr(tested)) < 200


def test_no_round_measures_the_fresh_weights(images, linear):
    history = train(linear, images, Protocol(rounds=0, clients=3), generator=gen(), test=images)
    assert history.rounds == 0 and len(history.test_accuracy) == 1
    assert torch.equal(history.model[1].weight, linear[1].weight)


@pytest.fixture
def scripted(monkeypatch):
    """Make the validation losses of the rounds what a list says."""

    def script(losses):
        monkeypatch.setattr(Federation, "validate", lambda self, number: (losses[number], 0.5))

    return script


def test_patience_stops_exactly_and_the_best_round_wins(images, linear, scripted):
    scripted([9, 5, 6, 4, 4, 5, 5, 1, 1])
    history = train(linear, images, Protocol(rounds=8, clients=2, patience=3), generator=gen(), keep=(3,))
    assert (history.best_round, history.rounds, history.stopped_early) == (3, 6, True)
    assert torch.equal(history.best_state["1.weight"], history.snapshots[3]["1.weight"])
    assert not torch.equal(history.last_state["1.weight"], history.best_state["1.weight"])
    history = train(linear, images, Protocol(rounds=8, clients=2, patience=4), generator=gen())
    assert (history.best_round, history.rounds, history.stopped_early) == (7, 8, False)
    history = train(linear, images, Protocol(rounds=6, clients=2, patience=None), generator=gen())
    assert history.rounds == 6


def test_learning_rate_halves_after_each_spell_without_progress(images, linear, scripted):
    scripted([9, 5, 5, 5, 5, 5, 4, 4, 4])
    protocol = Protocol(rounds=8, clients=2, lr=0.8, halve_lr_after=2)
    history = train(linear, images, protocol, generator=gen())
    assert history.lr == [0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.2]
    assert set(train(linear, images, Protocol(rounds=8, clients=2, lr=0.8), generator=gen()).lr) == {0.8}


def test_same_seed_same_result_and_the_global_generator_is_left_alone(big, cvb, small):
    class WithDropout(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(1024, 3))

        def forward(self, x):
            return self.net(x)

    for model in (cvb, WithDropout()):
        runs = []
        for seed in (7, 7, 8):
            torch.manual_seed(seed + len(runs))  # must not matter
            before = torch.get_rng_state()
            runs.append(train(model, big, small, generator=gen(seed), test=big))
            assert torch.equal(before, torch.get_rng_state())
        first, second, third = runs
        assert first.val_loss == second.val_loss and first.test_accuracy == second.test_accuracy
        assert first.train_loss[1:] == second.train_loss[1:]
        for name, value in first.last_state.items():
            assert torch.equal(value, second.last_state[name])
        assert first.val_loss != third.val_loss


def test_a_test_split_changes_nothing_else(big, cvb, small):
    with_test = train(cvb, big, small, generator=gen(), test=big)
    assert train(cvb, big, small, generator=gen()).val_loss == with_test.val_loss


def test_models_with_and_without_bottlenecks_get_the_same_clients(big, cvb, small):
    plain = models.build("cnn", input_shape=(1, 32, 32), num_classes=3, seed=1)
    a, b = (train(m, big, small, generator=gen()) for m in (cvb, plain))
    assert all(torch.equal(c.train, d.train) for c, d in zip(a.clients, b.clients, strict=True))


def test_images_in_any_dress_are_the_same_images(images, small):
    """uint8, floats, and a data set's split whose gray images are shown in three channels."""
    pixels, labels = images
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 3)).double()
    dressed = (
        Split(Pixels(pixels, channels=3), labels),
        (pixels.expand(-1, 3, -1, -1), labels[:, None].to(torch.uint8)),
        (pixels.expand(-1, 3, -1, -1).double() / 255, labels),
    )
    runs = [train(model, split, small, generator=gen()) for split in dressed]
    for run in runs:
        assert run.val_loss == pytest.approx(runs[0].val_loss, abs=1e-5)
        assert run.mean == pytest.approx([pixels.double().mean().item() / 255] * 3, abs=1e-5)
        assert run.std == pytest.approx([pixels.double().std(correction=0).item() / 255] * 3, abs=1e-5)


def test_a_users_own_model_with_an_inserted_bottleneck(images, small):
    own = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model = insert(own, "1", CVB(), input_shape=(1, 6, 6), seed=0)
    first, second = (train(model, images, small, generator=gen()) for _ in range(2))
    assert first.val_loss == second.val_loss
    assert set(first.best_state) == set(model.state_dict())


def test_evaluate_leaves_the_mode_as_it_was(big, cvb):
    cvb.train()
    cvb.stage1.eval()
    first, again = (evaluate(cvb, big, mean=0.5, std=0.2, generator=gen(1)) for _ in range(2))
    assert first == again
    assert cvb.training and not cvb.stage1.training and cvb.stage2.training


def test_nan_names_client_and_round(images, linear, small):
    def spoil(grads):
        return {name: g * torch.nan for name, g in grads.items()}

    with pytest.raises(GradientError, match=r"loss of client 0 is nan in round 1: lower lr \(now 0.001\)"):
        train(linear, images, small, generator=gen(), defense=spoil)
    with torch.no_grad():
        linear[1].weight[0, 0] = torch.nan
    with pytest.raises(GradientError, match="validation loss is nan after round 0"):
        train(linear, images, small, generator=gen())


def test_progress_bar_and_its_missing_package(images, linear, small, monkeypatch, capsys):
    train(linear, images, small, generator=gen(), test=images, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown and "val loss" in shown and "test acc" in shown
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .gleak\[book\]"):
        train(linear, images, small, generator=gen(), progress=True)


def refused(error, match, change, **options):
    return pytest.param(error, match, change, options, id=match[:30])


@pytest.mark.parametrize(
    ("error", "match", "change", "options"),
    [
        refused(ShapeError, r"in \[0, 1\] or uint8, got .*: divide them by 255", lambda x, y: (x.float(), y)),
        refused(ShapeError, "undo the normalization .train applies", lambda x, y: (x / 100 - 1, y)),
        refused(ShapeError, r"got \[nan, nan\]", lambda x, y: (x.float() * torch.nan, y)),
        refused(ShapeError, "must be uint8 or floats .* torch.int64", lambda x, y: (x.long(), y)),
        refused(ShapeError, "must be N x C x H x W, got shape", lambda x, y: (x[:, 0], y)),
        refused(ShapeError, "must be 120 integers", lambda x, y: (x, y[:7])),
        refused(ShapeError, "must be 120 integers.*float32", lambda x, y: (x, y.float())),
        refused(ShapeError, "Labels must be 0 to 2.* got 1 to 3: .*num_classes=4", lambda x, y: (x, y + 1)),
        refused(ShapeError, "Labels must be 0 to 2.* got -1 to 1", lambda x, y: (x, y - 1)),
        refused(ShapeError, "does not accept images .* = .*1, 6, 5", lambda x, y: (x[..., :5], y)),
        refused(DataError, "training split has no images", lambda x, y: (x[:0], y[:0])),
        refused(ParameterError, "3 clients cannot share 2 samples", lambda x, y: (x[:2], y[:2])),
        refused(ParameterError, "std must be positive .* pass std", lambda x, y: (x * 0, y)),
        refused(ParameterError, "mean must have 1 values, .* got 2", lambda x, y: (x, y), mean=(0.5, 0.5)),
        refused(GradientError, "defense returned '1.bias' of shape", lambda x, y: (x, y),
                defense=lambda g: g | {"1.bias": torch.zeros(5)}),
        refused(GradientError, "defense returned 'other'", lambda x, y: (x, y),
                defense=lambda g: {"other": torch.zeros(5)}),
    ],
)  # fmt: skip
def test_refuses_what_does_not_fit(images, linear, small, error, match, change, options):
    with pytest.raises(error, match=match):
        train(linear, change(*images), small, generator=gen(), **options)


def test_other_refusals(images, linear, small):
    with pytest.raises(ParameterError, match=r"generator must be Generator, got 0 \(int\)"):
        train(linear, images, small, generator=0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"Images of the test split must be in \[0, 1\]"):
        train(linear, images, small, generator=gen(), test=(images[0].float(), images[1]))
    empty = Split(Pixels(images[0][:0], why_empty="It holds victims only."), images[1][:0])
    with pytest.raises(DataError, match=r"training split has no images\. It holds victims only"):
        train(linear, empty, small, generator=gen())
    with pytest.raises(ParameterError, match=r"split must be Split \| tuple\[Tensor, Tensor\], got ndarray"):
        train(linear, images[0].numpy(), small, generator=gen())  # type: ignore[arg-type]
    history = train(linear, images, small, generator=gen())
    with pytest.raises(ParameterError, match=r"pass test="):
        _ = history.accuracy
    linear.requires_grad_(False)
    with pytest.raises(ParameterError, match="no parameter to train"):
        train(linear, images, small, generator=gen())
