"""The programs of the documentation run, are as short as they may be, and do what they say."""

import copy

import pytest
import torch
from programs import FIRST, blocks, execute, lines

from gleak_lib import attacks
from gleak_lib.attacks.match import Match

PAGE = "programs.md"
LINES = {
    FIRST: 8,
    "Attack gradients that you received": 8,
    "A distance of your own": 6,
    "A prior of your own": 6,
    "A defense of your own": 6,
    "A bottleneck of your own": 15,
    "An attack that optimizes a latent code": 9,
    "A sweep of your own, as a pandas frame": 10,
    "A model trained with Opacus": 12,
    "A batch of images": 5,
}


@pytest.mark.parametrize("title", LINES)
def test_a_program_is_short(title):
    code, *_ = blocks(PAGE, title)
    assert lines(code) <= LINES[title]
    assert max(map(len, code.splitlines())) <= 79


@pytest.fixture(scope="module")
def own():
    """The names that the first program leaves to the others."""
    torch.manual_seed(0)
    return execute(blocks(PAGE, FIRST)[0])


@pytest.fixture
def program(own, monkeypatch, tmp_path):
    """Run a program after the first one; returns its names."""
    monkeypatch.chdir(tmp_path)

    def run(title, block=0, **more):
        torch.manual_seed(0)
        names = {**own, "model": copy.deepcopy(own["model"])} | more
        return execute(blocks(PAGE, title)[block], **names)

    return run


def test_own_model(own):
    found, scores = own["found"], own["scores"]
    assert (found.loss < found.trace[0]).all()
    assert len(scores) == 4 and (scores["loss_at_truth"] < scores["loss"]).all()
    assert {"ssim", "psnr", "mse", "success", "gradient_distance"} <= set(scores)


def test_received_gradients(program, own):
    seen = program("Attack gradients that you received")
    for name, g in own["observation"].gradients.items():
        torch.testing.assert_close(seen["observation"].gradients[name], g[:1], rtol=1e-4, atol=1e-6)
    assert seen["found"].images.shape == (1, 3, 32, 32)
    from_weights = program("Attack gradients that you received", 1, Observation=seen["Observation"])["seen"]
    pair = attacks.observe(own["model"], own["images"][None, :2], own["labels"][None, :2])
    for name, g in pair.gradients.items():
        close = torch.cosine_similarity(from_weights.gradients[name].flatten(), g.flatten(), dim=0)
        assert close > 0.9


def test_own_distance(program, own):
    done = program("A distance of your own")
    target = own["observation"].gradients
    twice = {name: 2 * g for name, g in target.items()}
    expected = sum(g.abs().flatten(1).sum(1) for g in target.values())
    torch.testing.assert_close(Match(done["taxicab"]).measure(twice, target), expected)
    assert (done["found"].loss < done["found"].trace[0]).all()


def test_own_prior(program):
    done = program("A prior of your own")
    assert [type(p).__name__ for p in done["pale"].priors] == ["TotalVariation", "function"]
    assert (done["found"].loss < done["found"].trace[0]).all()


def test_own_defense(program):
    gradients = program("A defense of your own")["observation"].gradients
    levels = torch.cat([g.abs().flatten() for g in gradients.values()]).unique()
    torch.testing.assert_close(levels[levels > 0], torch.tensor([0.01]))


def test_own_bottleneck(program):
    done = program("A bottleneck of your own")
    assert done["protected"].noise_shapes == ((4,),)
    assert any(name.startswith("bottleneck") for name in done["observation"].gradients)


def test_latent(program):
    done = program("An attack that optimizes a latent code")
    images = done["found"].images
    assert images.shape == (4, 3, 32, 32) and 0 <= images.min() <= images.max() <= 1
    assert (done["found"].loss < done["found"].trace[0]).all()


def test_sweep(program):
    done = program("A sweep of your own, as a pandas frame")
    frame, table = done["frame"], done["table"]
    assert len(frame) == 16 and table.shape == (2, 2)
    rows = frame[(frame["preset"] == "dlg") & (frame["p"] == 0.9)]
    assert table.loc["dlg", 0.9] == pytest.approx(rows["ssim"].mean()) and len(rows) == 4


@pytest.mark.filterwarnings("ignore::UserWarning")  # Opacus' own: of its random numbers and of its hooks
def test_opacus(program, own):
    pytest.importorskip("opacus")
    done = program("A model trained with Opacus")
    assert not torch.equal(done["trained"][3].weight, own["model"][3].weight)
    clean = attacks.observe(done["trained"], done["images"], done["labels"])
    for name, g in done["observation"].gradients.items():
        assert not torch.allclose(g, clean.gradients[name], atol=1e-3)


def test_batch(program):
    done = program("A batch of images")
    assert done["found"].images.shape == (2, 2, 3, 32, 32)
    assert done["scores"]["image"].tolist() == [0, 1, 0, 1]
