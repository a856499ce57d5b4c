"""The small vision transformer of 001 §VI-D, in plain layers, so that every gradient has a fast rule."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks import Bottleneck
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.models.base import StagedModel
from gleak_lib.models.layers import ACTIVATIONS, Init, require_positive
from gleak_lib.types import Grads


class Patches(nn.Module):
    """Cut images into squares: N x C x H x W to N x P x (C * size^2), rows of patches first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Cut the images."""
        n, c, h, w = x.shape
        s = self.size
        x = x.reshape(n, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(n, (h // s) * (w // s), c * s * s)


class Tokens(nn.Module):
    """Put a class token first and add a position embedding; both are drawn from N(0, 1).

    Args:
        patches: P, patches an image.
        features: F.
        position: whether there is a position embedding, (P + 1) x F; the class token has one too.
    """

    def __init__(self, patches: int, features: int, position: bool = True) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(features))
        self.position = nn.Parameter(torch.randn(patches + 1, features)) if position else None

    def forward(self, x: Tensor) -> Tensor:
        """Map N x P x F to N x (P + 1) x F."""
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], dim=1)
        return x if self.position is None else x + self.position

    def victim_gradients(self, x: Tensor, grad_output: Tensor, victims: int) -> Grads:
        """Fast rule (`gradients.layer_rules`): both parameters are only added, whatever the input."""
        total = grad_output.reshape(victims, -1, *grad_output.shape[1:]).sum(1)
        grads = {"class_token": total[:, 0]}
        return grads if self.position is None else grads | {"position": total}


class Attention(nn.Module):
    """Multi-head self-attention in elementary operations, which have second derivatives."""

    def __init__(self, features: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features, bias=bias)
        self.out = nn.Linear(features, features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x P x F to N x P x F."""
        n, p, f = x.shape
        query, key, value = self.qkv(x).reshape(n, p, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (f // self.heads) ** -0.5
        mixed = scores.softmax(dim=-1) @ value  # N x heads x P x F/heads
        return self.out(mixed.transpose(1, 2).reshape(n, p, f))


class Block(nn.Module):
    """Transformer block with LayerNorm before attention and before the two-layer perceptron.

    Args:
        features: F.
        heads: attention heads.
        mlp: hidden features of the perceptron.
        bias: biases of the linear layers.
        act: makes an activation: behind the perceptron's first layer and, with `act_twice`, its second.
        act_twice: whether the perceptron's output is activated, too.
        eps: of the norms.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        mlp: int,
        bias: bool,
        act: Callable[[], nn.Module],
        act_twice: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(features, eps)
        self.attention = Attention(features, heads, bias)
        self.norm2 = nn.LayerNorm(features, eps)
        layers = [nn.Linear(features, mlp, bias=bias), act(), nn.Linear(mlp, features, bias=bias)]
        self.mlp = nn.Sequential(*layers, *([act()] if act_twice else []))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x P x F to N x P x F."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FirstToken(nn.Module):
    """The class token's features, N x F."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the first token of N x P x F."""
        return x[:, 0]


def vit(
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    num_classes: int = 10,
    bottlenecks: Sequence[Bottleneck] = (),
    patch: int = 4,
    depth: int = 4,
    hidden: int = 256,
    heads: int = 16,
    mlp: int = 256,
    bias: bool = False,
    position_embedding: bool = True,
    activation: str = "gelu",
    activate_output: bool = True,
    norm_eps: float = 1e-6,
    init: Init = "default",
) -> StagedModel:
    """Patches of 4x4, a class token, four blocks of 256 features and 16 heads, LayerNorm, linear output.

    1,609,216 parameters for 3 x 32 x 32 images and ten classes. Position P is behind block P; the embedding
    belongs to the first stage. All 65 tokens of 256 features come to a bottleneck, which a CVB sees as 65
    channels of 16 x 16 (001 §VI-D; K_E = 32 at scale 1/2).

    001 is silent about where the norms stand; they stand where the CVB paper's code has them: before
    attention and perceptron, and once before the output. `activate_output` and `norm_eps` are that code's,
    too: in the usual vision transformer (Dosovitskiy et al. 2021) no activation follows the second layer.

    Args:
        input_shape: C, H, W of one image; H and W multiples of `patch`.
        num_classes: number of logits.
        bottlenecks: specifications; positions 1 to `depth`.
        patch: side of a patch.
        depth: blocks.
        hidden: features of a token; a square number where a CVB is to fit.
        heads: attention heads; they divide `hidden`.
        mlp: hidden features of a block's perceptron.
        bias: biases of the linear layers; none in the CVB paper's code. LayerNorm has its shift always.
        position_embedding: whether positions are learned; without it the tokens are a set.
        activation: of the perceptron.
        activate_output: whether it follows both linear layers of a block's perceptron, or the first alone.
        norm_eps: what the norms add to the variance; 1e-5 is torch's own default.
        init: see `gleak_lib.models.layers.initialize`; class token and positions are N(0, 1) in any case.

    Raises:
        ParameterError: If a size or `norm_eps` is not positive, or `heads` do not divide `hidden`.
        ShapeError: If `patch` does not divide both sides of the images.
    """
    require_positive(patch=patch, depth=depth, hidden=hidden, heads=heads, mlp=mlp)
    if hidden % heads:
        raise ParameterError(f"hidden must be a multiple of heads, got {hidden} and {heads}.")
    if not norm_eps > 0:
        raise ParameterError(f"norm_eps must be positive, got {norm_eps}.")
    channels, height, width = input_shape
    if height % patch or width % patch:
        raise ShapeError(
            f"Images of {height} x {width} pixels cannot be cut into patches of {patch} x {patch}: "
            "choose a `patch` that divides both sides."
        )
    act = ACTIVATIONS[activation]
    embedding = nn.Sequential(
        Patches(patch),
        nn.Linear(channels * patch**2, hidden, bias=bias),
        Tokens((height // patch) * (width // patch), hidden, position_embedding),
    )
    blocks = [Block(hidden, heads, mlp, bias, act, activate_output, norm_eps) for _ in range(depth)]
    first = nn.Sequential(OrderedDict(embedding=embedding, block=blocks[0]))
    head = nn.Sequential(
        FirstToken(), nn.LayerNorm(hidden, norm_eps), nn.Linear(hidden, num_classes, bias=bias)
    )
    stages = [first, *blocks[1:]]
    return StagedModel(stages, head, input_shape=input_shape, bottlenecks=bottlenecks, init=init)
