"""Generators: what an attack may expect of one, the DCGAN and its training, and files of weights."""

import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gleak_lib import generators
from gleak_lib.datasets import Pixels
from gleak_lib.errors import DataError, ParameterError, ShapeError
from gleak_lib.generators import DCGAN, ConditionalGenerator, Generator, check_generator

LIKE = torch.zeros(1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Flat(nn.Module):
    """A user's own, of one layer."""

    def __init__(self, size=4, shape=(1, 8, 8)):
        super().__init__()
        self.latent_size, self.shape = size, shape
        self.layer = nn.Linear(size, shape[0] * shape[1] * shape[2])

    def sample(self, z):
        return self.layer(z).sigmoid().reshape(-1, *self.shape)


@pytest.fixture
def shades():
    """Two classes of images, dark and light, gray and kept once."""
    pixels = torch.randint(0, 20, (64, 1, 32, 32), generator=rng(), dtype=torch.uint8)
    labels = torch.arange(64) % 2
    pixels[labels == 1] += 200
    return Pixels(pixels, 3), labels


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_dcgan_makes_images_of_its_classes(gray, classes):
    made = DCGAN(5, 3, classes, width=4, gray=gray).eval()
    z, labels = torch.randn(6, 5, generator=rng()), torch.arange(6) % 3
    images = generators.sample(made, z, labels)
    assert images.shape == (6, 3, 32, 32) and 0 <= images.min() <= images.max() <= 1
    assert torch.equal(images[:, 0], images[:, 2]) == gray
    others = generators.sample(made, z, labels.flip(0))
    assert torch.equal(images, others) == (not classes)
    assert isinstance(made, Generator) and isinstance(made, ConditionalGenerator)
    assert repr(made) == f"DCGAN(latent_size=5, channels=3, classes={classes}, width=4, gray={gray})"


def test_what_a_dcgan_refuses():
    with pytest.raises(ParameterError, match="at least 1 and classes not negative, got 0, 3, 32 and 0"):
        DCGAN(0)
    made = DCGAN(5, classes=2, width=2).eval()
    with pytest.raises(ShapeError, match=r"Latents must be N x 5, got \(2, 6\)"):
        made.sample(torch.zeros(2, 6), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ParameterError, match="is told one of 2 classes: pass labels"):
        made.sample(torch.zeros(2, 5))


def test_training_learns_the_classes_and_repeats_itself(shades):
    options = {"classes": 2, "latent_size": 4, "width": 4, "steps": 120, "batch_size": 32, "lr": 2e-3}
    made, losses = generators.train(*shades, **options)
    assert not made.training and not any(p.requires_grad for p in made.parameters())
    assert made.gray and [len(values) for values in losses.values()] == [120, 120]
    z = torch.randn(16, 4, generator=rng())
    dark, light = (made.sample(z, torch.full((16,), label)).mean() for label in (0, 1))
    assert dark < 0.25 and light > 0.6
    again, same = generators.train(*shades, **options)
    assert same == losses and torch.equal(
        again.sample(z, z[:, 0].long() * 0), made.sample(z, z[:, 0].long() * 0)
    )
    other, _ = generators.train(*shades, **{**options, "seed": 1, "steps": 2})
    assert not torch.equal(other.layers[0].weight, made.layers[0].weight)


def test_the_running_mean_is_that_of_the_weights_after_each_step(shades):
    options = {"classes": 2, "latent_size": 4, "width": 2, "batch_size": 8, "lr": 2e-3}
    first, second, third = (generators.train(*shades, **options, steps=n)[0].state_dict() for n in (1, 2, 3))
    mean = generators.train(*shades, **options, steps=3, ema=0.6)[0]
    assert not mean.training and not any(p.requires_grad for p in mean.parameters())
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            by_hand = 0.6 * (0.6 * first[name] + 0.4 * second[name]) + 0.4 * third[name]
            torch.testing.assert_close(value, by_hand)


def test_training_shows_a_bar(shades, capsys):
    generators.train(*shades, steps=2, width=2, latent_size=2, progress=True)
    assert "DCGAN" in capsys.readouterr().err


def test_what_training_refuses(shades):
    images, labels = shades
    with pytest.raises(ShapeError, match=r"learns N x C x 32 x 32 and N labels, got \(2, 1, 8, 8\) and 2"):
        generators.train(torch.zeros(2, 1, 8, 8), labels[:2])
    with pytest.raises(ShapeError, match=r"labels must be in \[0, 0\], got up to 1"):
        generators.train(images, labels, classes=1)
    with pytest.raises(ParameterError, match="batch_size must be in 2 ... 64 .*got 65, 1 and 0.0002"):
        generators.train(images, labels, batch_size=65, steps=1)
    with pytest.raises(ParameterError, match=r"ema must be in \[0, 1\), got 1.0"):
        generators.train(images, labels, ema=1.0)


def test_a_file_gives_the_same_generator(tmp_path):
    made = DCGAN(5, classes=2, width=2, gray=True).eval()
    generators.save(made, tmp_path / "made.safetensors")
    read = generators.load(tmp_path / "made.safetensors")
    z, labels = torch.randn(3, 5, generator=rng()), torch.tensor([0, 1, 1])
    assert read.options == made.options and torch.equal(read.sample(z, labels), made.sample(z, labels))


def test_files_that_are_no_generator(tmp_path):
    path = tmp_path / "made.safetensors"
    generators.save(DCGAN(5, width=2), path)
    whole = path.read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "pickle": pickle.dumps(print), "empty": b""}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is no generator that generators.save wrote"):
            generators.load(tmp_path / name)
    from safetensors.torch import save

    path.write_bytes(save({"weight": torch.zeros(2)}))
    with pytest.raises(DataError, match="KeyError: 'dcgan'"):
        generators.load(path)
    with pytest.raises(DataError, match="is no generator"):
        generators.load(tmp_path / "nowhere")


def test_a_generator_of_ones_own_will_do():
    check_generator(Flat(), (1, 8, 8), LIKE)
    plain = SimpleNamespace(latent_size=2, sample=lambda z: z.sigmoid().mean(1).reshape(-1, 1, 1, 1))
    check_generator(plain, (1, 1, 1), LIKE)


def test_generators_that_no_attack_can_use():
    with pytest.raises(ParameterError, match=r"has latent_size and sample\(z\).*got 'a generator'"):
        check_generator("a generator", (1, 8, 8), LIKE)
    with pytest.raises(
        ShapeError, match=r"makes images \(1, 8, 8\), and those to be found are \(3, 32, 32\)"
    ):
        check_generator(Flat(), (3, 32, 32), LIKE)
    wide = Flat()
    wide.latent_size = 5
    with pytest.raises(ShapeError, match="does not take latents N x 5, its latent_size"):
        check_generator(wide, (1, 8, 8), LIKE)
    bright = SimpleNamespace(latent_size=1, sample=lambda z: (255 * z.sigmoid()).reshape(-1, 1, 1, 1))
    with pytest.raises(ShapeError, match=r"must be in \[0, 1\], got"):
        check_generator(bright, (1, 1, 1), LIKE)
    with pytest.raises(ShapeError, match=r"must be in \[0, 1\], got \[nan"):
        check_generator(
            SimpleNamespace(latent_size=1, sample=lambda z: z.reshape(-1, 1, 1, 1) * torch.nan),
            (1, 1, 1),
            LIKE,
        )
    with pytest.raises(ParameterError, match=r"depends on chance or on those made beside it: call eval\(\)"):
        check_generator(DCGAN(5, width=2).train(), (3, 32, 32), LIKE)
