"""Exact shapes and parameter counts, each counted by hand, and ResNet-18 against torchvision's."""

import math

import pytest
import torch
import torchvision
from torch import nn

from gleak_lib import models
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import ParameterError, ShapeError, UnknownNameError


def conv(before: int, after: int, kernel: int, bias: bool = True) -> int:
    return before * after * kernel**2 + bias * after


def linear(before: int, after: int, bias: bool = True) -> int:
    return before * after + bias * after


LENET3 = conv(3, 12, 5) + 2 * conv(12, 12, 5) + linear(12 * 8 * 8, 10)
CONVNET = (
    conv(3, 32, 3)
    + conv(32, 64, 3)
    + conv(64, 64, 3)
    + conv(64, 128, 3)
    + 4 * conv(128, 128, 3)
    + linear(128 * 3 * 3, 10)
)
CONVNET_NORMS = 2 * (32 + 2 * 64 + 5 * 128)
MLP = linear(3072, 1024, False) + 3 * linear(1024, 1024, False) + linear(1024, 10, False)
MLP_BIASES, MLP_NORMS = 4 * 1024 + 10, 4 * 2 * 1024
VIT_BLOCK = 256 * 3 * 256 + 256 * 256 + 2 * 256 * 256 + 2 * 2 * 256
VIT = 48 * 256 + 256 + 65 * 256 + 4 * VIT_BLOCK + 2 * 256 + 256 * 10

COUNTS = [
    ("cnn", {}, 65_962),  # 001 Table I
    ("lenet", {}, LENET3),
    ("lenet", {"convs": 4}, LENET3 + conv(12, 12, 5)),
    ("lenet4", {}, LENET3 + conv(12, 12, 5)),
    ("convnet8", {}, CONVNET + CONVNET_NORMS),
    ("convnet8", {"norm": "group"}, CONVNET + CONVNET_NORMS),
    ("convnet8", {"norm": "none"}, CONVNET),
    ("mcmahan_cnn", {"input_shape": (1, 28, 28)}, 1_663_370),  # McMahan et al. 2016, §3
    ("mcmahan_cnn", {}, conv(3, 32, 5) + conv(32, 64, 5) + linear(64 * 8 * 8, 512) + linear(512, 10)),
    ("mlp", {}, MLP + MLP_BIASES + MLP_NORMS),
    ("mlp", {"bias": False}, MLP + MLP_NORMS),
    ("mlp", {"depth": 1, "bias": False, "norm": False}, 3072 * 1024 + 1024 * 10),
    ("dmlp", {}, MLP + MLP_BIASES),
    ("dmlp", {"bias": False}, MLP),
    ("vit", {}, VIT),
    ("vit", {"position_embedding": False}, VIT - 65 * 256),
    ("vit", {"bias": True}, VIT + 256 + 4 * (3 * 256 + 3 * 256) + 10),
]


@pytest.mark.parametrize(("name", "options", "count"), COUNTS)
def test_parameter_counts(name, options, count):
    assert models.count_parameters(models.build(name, **options)) == count


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_resnet_has_as_many_parameters_as_torchvisions(norm):
    theirs = torchvision.models.resnet18(num_classes=10)
    ours = models.build("resnet18", norm=norm)
    assert models.count_parameters(ours) == models.count_parameters(theirs) == 11_181_642
    kinds = {type(m) for m in ours.modules() if "Norm" in type(m).__name__}
    assert kinds == {{"group": nn.GroupNorm, "batch": nn.BatchNorm2d}[norm]}


SHAPES = {  # features behind each stage for 3 x 32 x 32 images
    "cnn": [(16, 14, 14), (32, 5, 5), (64, 1, 1)],
    "lenet": [(12, 16, 16), (12, 8, 8), (12, 8, 8)],
    "lenet4": [(12, 16, 16), (12, 8, 8), (12, 8, 8), (12, 8, 8)],
    "convnet8": [
        (32, 32, 32),
        (64, 32, 32),
        (64, 32, 32),
        (128, 32, 32),
        (128, 32, 32),
        (128, 10, 10),
        (128, 10, 10),
        (128, 3, 3),
    ],
    "mcmahan_cnn": [(32, 16, 16), (64, 8, 8), (512,)],
    "mlp": [(1024,)] * 4,
    "dmlp": [(1024,)] * 4,
    "resnet18": [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)],
    "vit": [(65, 256)] * 4,
}


@pytest.mark.parametrize("name", models.MODELS)
def test_shape_behind_every_stage(name):
    model = models.build(name).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for stage, shape in zip(range(1, model.depth + 1), SHAPES[name], strict=True):
            x = model.get_submodule(f"stage{stage}")(x)
            assert tuple(x.shape) == (2, *shape)
        assert model.head(x).shape == (2, 10)


KEPT = [  # entries before the decoder, all entries (SPEC §13); the ResNet's K_E = 32, the ViT's too
    ("cnn", CVB(1, 5), (8, 14, 14), 7_616, 72_490),
    ("resnet18", CVB(1, 5, beta=5e-5), (32, 8, 8), 259_904, 11_181_642 + 104_448),
    ("vit", CVB(1, 3), (32, 16, 16), 460_864, VIT + 2 * 9 * 65 * 32 + 32 * 65),
]


@pytest.mark.parametrize(("name", "cvb", "noise", "kept", "total"), KEPT)
def test_ignore_keeps_as_many_entries_as_in_the_papers_code(name, cvb, noise, kept, total):
    model = models.build(name, bottlenecks=cvb)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    before = models.before_decoder(tuple(model.groups))
    assert model.noise_shapes == (noise,)
    assert sum(sizes[n] for group in before for n in model.groups[group]) == kept
    assert sum(sizes.values()) == total
    if name != "cnn":
        assert round(total / 1e6, 2) == {"resnet18": 11.29, "vit": 1.65}[name]


def ours_from_torchvision(name: str) -> str:
    """Our name of a torchvision ResNet's parameter or buffer."""
    part, _, rest = name.partition(".")
    if part in ("conv1", "bn1"):
        return f"stage1.stem.{0 if part == 'conv1' else 1}.{rest}"
    if part == "fc":
        return f"head.2.{rest}"
    block, _, rest = rest.partition(".")
    rest = rest.replace("downsample.", "shortcut.").replace("bn", "norm")
    return f"stage{part.removeprefix('layer')}.block{int(block) + 1}.{rest}"


@pytest.mark.parametrize("train", [False, True])
def test_resnet_with_batchnorm_computes_what_torchvisions_does(train):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=7).train(train)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    ours = models.build("resnet18", input_shape=(3, 64, 64), num_classes=7, norm="batch").train(train)
    ours.load_state_dict({ours_from_torchvision(n): t for n, t in theirs.state_dict().items()}, strict=True)
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_resnet_with_groupnorm_computes_what_torchvisions_does():
    theirs = torchvision.models.resnet18(num_classes=7, norm_layer=lambda channels: nn.GroupNorm(2, channels))
    ours = models.build("resnet18", num_classes=7)
    ours.load_state_dict({ours_from_torchvision(n): t for n, t in theirs.state_dict().items()}, strict=True)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


USUAL_VIT = {"activate_output": False, "norm_eps": 1e-5}


def test_vit_attention_computes_what_torchs_does():
    torch.manual_seed(0)
    ours = models.build("vit", bias=True).stage2.attention
    theirs = nn.MultiheadAttention(256, 16, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = torch.randn(2, 65, 256)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("options", "twice", "eps"), [({}, True, 1e-6), (USUAL_VIT, False, 1e-5)])
def test_vit_computes_what_is_written_down(options, twice, eps, small):
    """By default GELU follows both layers of the perceptron and LayerNorm has eps 1e-6 (SPEC §13)."""
    model = small("vit", **options).double()
    w = {n: 0.02 * torch.randn_like(p) for n, p in model.named_parameters()}  # small: eps counts
    model.load_state_dict(w)
    x = torch.rand(2, 2, 8, 8, dtype=torch.double)

    def norm(t, name):
        centered = t - t.mean(-1, keepdim=True)
        return (
            centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt() * w[f"{name}.weight"]
            + w[f"{name}.bias"]
        )

    def gelu(t):
        return t * (1 + torch.erf(t / math.sqrt(2))) / 2

    patches = [x[:, :, i : i + 4, j : j + 4].flatten(1) for i in (0, 4) for j in (0, 4)]
    t = torch.stack(patches, 1) @ w["stage1.embedding.1.weight"].T
    t = torch.cat([w["stage1.embedding.2.class_token"].expand(2, 1, -1), t], 1)
    t = t + w["stage1.embedding.2.position"]
    for block in ("stage1.block", "stage2"):
        parts = (norm(t, f"{block}.norm1") @ w[f"{block}.attention.qkv.weight"].T).split(16, -1)
        heads = [p.reshape(2, 5, 4, 4).transpose(1, 2) for p in parts]
        mixed = nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, 5, 16)
        t = t + mixed @ w[f"{block}.attention.out.weight"].T
        hidden = gelu(norm(t, f"{block}.norm2") @ w[f"{block}.mlp.0.weight"].T)
        out = hidden @ w[f"{block}.mlp.2.weight"].T
        t = t + (gelu(out) if twice else out)
    expected = norm(t[:, 0], "head.1") @ w["head.2.weight"].T
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)
        other = small("vit", activate_output=not twice, norm_eps=eps).double()
        other.load_state_dict(w)
        assert (other(x) - expected).abs().max() > 1e-8, "the activation makes a difference here"


def test_vit_patches_stand_row_by_row_and_the_embedding_is_a_strided_convolution():
    model = models.build("vit", input_shape=(3, 8, 12), position_embedding=False)
    patches, embed, _ = model.stage1.embedding
    x = torch.randn(2, 3, 8, 12)
    expected = nn.functional.conv2d(x, embed.weight.reshape(256, 3, 4, 4), stride=4)  # N x 256 x 2 x 3
    torch.testing.assert_close(embed(patches(x)), expected.flatten(2).transpose(1, 2))


def test_vit_without_position_embedding_cannot_tell_the_order_of_patches():
    x = torch.randn(1, 3, 8, 8)
    swapped = x.flip(2).reshape(1, 3, 2, 4, 8).flip(3).reshape(1, 3, 8, 8)  # two rows of patches exchanged
    assert not torch.equal(x, swapped)
    for embedded in (False, True):
        model = models.build("vit", input_shape=(3, 8, 8), position_embedding=embedded, seed=0)
        with torch.no_grad():
            assert torch.allclose(model(x), model(swapped), atol=1e-5) is not embedded


def test_vit_draws_class_token_and_positions_from_a_standard_normal():
    tokens = models.build("vit", seed=0).stage1.embedding[2]
    values = torch.cat([tokens.class_token, tokens.position.flatten()])
    assert values.numel() == 66 * 256
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.02


NAMES = {
    "lenet": ["stage1.0", "stage2.0", "stage3.0", "head.1"],
    "mcmahan_cnn": ["stage1.0", "stage2.0", "stage3.1", "head"],
    "dmlp": ["stage1.1", "stage2.0", "stage3.0", "stage4.0", "head"],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_parameters_are_stable(name, small):
    expected = [f"{module}.{kind}" for module in NAMES[name] for kind in ("weight", "bias")]
    assert list(small(name).state_dict()) == expected


def test_names_of_the_vits_parameters_are_stable(small):
    block = ["norm1.weight", "norm1.bias", "attention.qkv.weight", "attention.out.weight"]
    block += ["norm2.weight", "norm2.bias", "mlp.0.weight", "mlp.2.weight"]
    embedding = [f"stage1.embedding.{n}" for n in ("1.weight", "2.class_token", "2.position")]
    blocks = [f"stage1.block.{n}" for n in block] + [f"stage2.{n}" for n in block]
    head = ["head.1.weight", "head.1.bias", "head.2.weight"]
    assert list(small("vit").state_dict()) == embedding + blocks + head


def test_batchnorms_shift_stands_in_for_the_bias_that_was_removed():
    """001 Eq. 5 with the shift's gradient: in evaluation mode the input comes out without any bias."""
    torch.manual_seed(0)
    model = models.build("mlp", bias=False).eval()
    linear, norm = model.stage1[1], model.stage1[2]
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 2)
    x = torch.rand(1, 3, 32, 32)
    nn.functional.cross_entropy(model(x), torch.tensor([3])).backward()
    neuron = norm.bias.grad.abs().argmax()
    slope = (norm.weight / (norm.running_var + norm.eps).sqrt())[neuron]
    torch.testing.assert_close(linear.weight.grad[neuron] / (norm.bias.grad[neuron] * slope), x.flatten())


def test_the_activation_is_an_option(small):
    for name, option in (("lenet", nn.Tanh), ("mlp", nn.LeakyReLU), ("resnet18", nn.GELU)):
        chosen = next(k for k, make in models.ACTIVATIONS.items() if make is option)
        layers = list(small(name, activation=chosen).modules())
        assert any(isinstance(m, option) for m in layers)
        assert not any(isinstance(m, (nn.ReLU, nn.Sigmoid)) for m in layers)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "resnet"}, UnknownNameError, r"Unknown model 'resnet'. Did you mean 'resnet18'\?"),
        ({"activation": "sigmoied"}, UnknownNameError, r"activation 'sigmoied'. Did you mean 'sigmoid'\?"),
        ({"init": "xavier"}, UnknownNameError, r"init scheme 'xavier'. Did you mean 'xavier_\w+'\?"),
        ({"convs": 5}, ParameterError, "convs must be 1 to 4, got 5"),
        ({"input_shape": (32, 32)}, ShapeError, "input_shape must be C, H, W.*got \\(32, 32\\)"),
        ({"input_shape": (3, 0, 32)}, ShapeError, "three integers of at least 1"),
        ({"bottlenecks": CVB(4)}, ParameterError, "position 4, but this model has positions 1 to 3"),
        (
            {"name": "resnet18", "norm": "grup"},
            UnknownNameError,
            r"normalization 'grup'. Did you mean 'group'",
        ),
        ({"name": "resnet18", "width": 7}, ParameterError, "width must be even for GroupNorm"),
        ({"name": "resnet18", "width": 0}, ParameterError, "width must be an integer of at least 1, got 0"),
        ({"name": "resnet18", "bottlenecks": PRECODE(5)}, ParameterError, "positions 1 to 4"),
        ({"name": "convnet8", "input_shape": (3, 8, 8)}, ShapeError, r"shape \(3, 8, 8\) \(C x H x W\)"),
        (
            {"name": "mcmahan_cnn", "input_shape": (3, 3, 3)},
            ShapeError,
            r"accept images of shape \(3, 3, 3\)",
        ),
        ({"name": "mlp", "bais": False}, ParameterError, "no option 'bais'. Did you mean 'bias'"),
        ({"name": "mlp", "depth": True}, ParameterError, "depth must be an integer of at least 1, got True"),
        (
            {"name": "vit", "input_shape": (3, 30, 32)},
            ShapeError,
            "30 x 32 pixels cannot be cut into .* 4 x 4",
        ),
        ({"name": "vit", "norm_eps": 0}, ParameterError, "norm_eps must be positive, got 0"),
        ({"name": "vit", "heads": 7}, ParameterError, "multiple of heads, got 256 and 7"),
        (
            {"name": "vit", "hidden": 48, "bottlenecks": CVB(1)},
            ShapeError,
            "square number of features, got 48",
        ),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        models.build(**({"name": "lenet"} | arguments))


@pytest.mark.parametrize("name", models.MODELS)
def test_images_of_another_shape_are_refused(name, small):
    model = small(name).eval()
    channels, height, width = model.input_shape
    with pytest.raises(ShapeError, match=r"built for images of shape \(2, .*input_shape=\(3, "):
        model(torch.zeros(1, channels + 1, height, width))
    with pytest.raises(ShapeError, match="got a batch of shape"):
        model(torch.zeros(channels, height, width))
