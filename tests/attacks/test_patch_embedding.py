"""The closed form of patch embeddings: exact on transformers of any make, clear where it does not apply."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn

from gleak_lib import models
from gleak_lib.attacks import ATTACKS, invert, observe, patch_embedding
from gleak_lib.bottlenecks import CVB
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import ParameterError
from gleak_lib.metrics import psnr

PATCHES = ATTACKS["patches"]
PIXELS = {"mean": (0.4, 0.5), "std": (0.25, 0.3)}


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def vit(dtype=torch.float32, **options):
    settings = {"hidden": 36, "heads": 4, "mlp": 8, "depth": 2, "patch": 4} | options
    return models.build(
        "vit", input_shape=(2, 12, 16), num_classes=3, bottlenecks=CVB(1, 3), seed=0, **settings
    ).to(dtype)


def observed(model, shape=(2, 12, 16), victims=4, batch=1, **options):
    dtype = next(model.parameters()).dtype
    size = (victims, *shape) if batch == 1 else (victims, batch, *shape)
    images = torch.rand(size, generator=rng(0), dtype=dtype)
    labels = torch.arange(victims * batch).reshape(size[:-3]) % 3
    return observe(model, images, labels, generator=rng(2), **{**PIXELS, **options}), images


class Mapped(nn.Module):
    """A convolution cuts the patches; the position embedding is a map, channels first, no class token."""

    def __init__(self, bias):
        super().__init__()
        self.cut = nn.Conv2d(2, 24, (4, 2), stride=(4, 2), bias=bias)
        self.where = nn.Parameter(torch.randn(1, 24, 3, 8))
        self.mix = nn.Conv2d(24, 6, 3, padding=1)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.mix(self.cut(x) + self.where)).mean((2, 3)))


def torchvisions():
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=16, num_classes=3
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_is_exact_behind_a_bottleneck_and_needs_no_label(dtype):
    seen, images = observed(vit(dtype), share_labels=False)
    assert seen.labels is None and seen.noise is None
    found = invert(seen, PATCHES)
    assert psnr(found.images, images).min() > (250 if dtype == torch.float64 else 90)
    assert found.loss.max() < 1e-9
    assert found.steps.tolist() == [0] * 4


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_and_a_position_map(bias):
    torch.manual_seed(0)
    seen, images = observed(Mapped(bias).double())
    assert patch_embedding.find(seen)[:4] == ("cut.weight", "where", 0, 24)
    assert psnr(invert(seen, PATCHES).images, images).min() > 200


def test_torchvisions_transformer():
    model = torchvisions()
    nn.init.normal_(model.heads.head.weight, std=0.1)  # fresh ones are zeros, and then so are all gradients
    seen, images = observed(model.double(), (3, 16, 16), mean=0.5, std=0.2)
    assert patch_embedding.find(seen)[:4] == ("conv_proj.weight", "encoder.pos_embedding", 1, 32)
    assert psnr(invert(seen, PATCHES).images, images).min() > 150


def test_zero_gradients_are_reported():
    seen, _ = observed(torchvisions(), (3, 16, 16), mean=0.5, std=0.2)
    found = invert(seen, PATCHES)
    assert found.loss.tolist() == [1] * 4
    assert found.images.isfinite().all()


def test_victims_together_are_victims_one_by_one():
    seen, _ = observed(vit())
    found = invert(seen, PATCHES)
    for v in range(4):
        gradients = {n: g[v : v + 1] for n, g in seen.gradients.items()}
        alone = invert(dataclasses.replace(seen, gradients=gradients, labels=None), PATCHES)
        torch.testing.assert_close(alone.images, found.images[v : v + 1])


def test_batches_of_one_keep_their_shape():
    seen, _ = observed(vit())
    images = torch.rand(2, 1, 2, 12, 16, generator=rng(0))
    batched = observe(seen.model, images, torch.zeros(2, 1).long(), **PIXELS)
    torch.testing.assert_close(invert(batched, PATCHES).images, images, atol=1e-4, rtol=0)


def test_finding_it_changes_nothing():
    seen, _ = observed(vit())
    before = {n: p.clone() for n, p in seen.model.state_dict().items()}
    state = torch.get_rng_state()
    patch_embedding.find(seen)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], p) for n, p in seen.model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in seen.model.parameters())


def test_more_noise_is_a_worse_image():
    """On the ViT of 001: 40 dB at a deviation of 1e-4 and 20 dB at 1e-3, about."""
    model = models.build("vit", bottlenecks=CVB(1, 3), seed=0)
    images = torch.rand(2, 3, 32, 32, generator=rng(0)).mul(0.5).add(0.25)
    quality = []
    for deviation in (0.0, 1e-4, 1e-3):
        defense = DEFENSES["gaussian"](std=deviation) if deviation else None
        seen = observe(
            model, images, torch.tensor([0, 1]), defense=defense, generator=rng(), std=0.25, mean=0.5
        )
        found = invert(seen, PATCHES)
        quality.append(psnr(found.images, images).min().item())
        assert (found.loss.max() < 1e-9) == (deviation == 0), "noise is told by what stays unexplained"
    assert quality[0] > 130
    assert 30 < quality[1] < 60
    assert 12 < quality[2] < quality[1] - 12


def test_clipping_the_whole_gradient_changes_nothing():
    """Both gradients shrink by one factor, which cancels; layer by layer it leaves a factor of the pixels."""
    seen, images = observed(vit(), defense=DEFENSES["clip"](bound=0.01))
    assert psnr(invert(seen, PATCHES).images, images).min() > 90
    torch.manual_seed(0)
    layered, images = observed(vit(), defense=DEFENSES["clip"](bound=0.3, per_layer=True))
    x, _ = patch_embedding.solve(layered)
    mean, std = (torch.tensor(PIXELS[name]).view(2, 1, 1) for name in ("mean", "std"))
    true = ((images - mean) / std).flatten(1)
    factor = (x * true).sum(1) / true.square().sum(1)
    assert (factor - 1).abs().min() > 0.1
    torch.testing.assert_close(x / factor[:, None], true, atol=1e-3, rtol=0)


def test_compression_spoils_it_and_says_so():
    previous = torch.inf
    for share in (0.0, 0.5, 0.9):
        seen, images = observed(vit(), defense=DEFENSES["compression"](p=share) if share else None)
        found = invert(seen, PATCHES)
        quality = psnr(found.images, images).mean()
        assert quality < previous - 5
        assert (found.loss.min() > 0.01) == (share > 0)
        previous = quality


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: vit(position_embedding=False),
            "stage1.embedding.1 embeds patches, but no position embedding",
        ),
        (lambda: models.build("cnn", num_classes=3, seed=0), "No layer of this model embeds patches"),
        (lambda: models.build("resnet18", num_classes=3, width=2, seed=0).eval(), "No layer of this model"),
        (lambda: models.build("mlp", num_classes=3, width=8, seed=0).eval(), "No layer of this model"),
        (lambda: vit(hidden=4, heads=2), "12 patches cannot be told apart by 4 features a patch"),
    ],
)
def test_where_it_does_not_apply(model, message):
    model = model()
    shape = getattr(model, "input_shape", (3, 32, 32))
    seen, _ = observed(model, shape, mean=0.5, std=0.25)
    with pytest.raises(ParameterError, match=message):
        invert(seen, PATCHES)


def test_batches_are_refused():
    seen, _ = observed(vit(), batch=2)
    with pytest.raises(ParameterError, match="are a sum over 2: use an iterative attack"):
        invert(seen, PATCHES)
