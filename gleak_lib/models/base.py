"""Staged models: feature stages, a head, and bottlenecks between stages at any positions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks.base import Bottleneck, VariationalBottleneck, made
from gleak_lib.errors import ParameterError, ShapeError
from gleak_lib.models.layers import Init, initialize
from gleak_lib.types import ForwardPass


class StagedModel(nn.Module):
    """A sequence of feature stages and a head; position P means "after stage P".

    Submodules are named and registered in data order (stage1, bottleneck1, stage2, ..., head), so that
    the order of `named_parameters()` and of `groups` is the order of the forward pass.

    Args:
        stages: feature extractors in order.
        head: maps the last features to logits.
        input_shape: C, H, W of one image.
        bottlenecks: specifications; each stands behind the stage of its `position`. They keep torch's
            default weights, drawn after the model's own.
        init: scheme of the stages' and the head's weights, see `gleak_lib.models.layers.initialize`.

    Raises:
        UnknownNameError: an init scheme that there is not.
        ParameterError: a position that the model lacks, or two bottlenecks at one.
        ShapeError: the stages do not accept `input_shape`.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        head: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        bottlenecks: Sequence[Bottleneck] = (),
        init: Init = "default",
    ) -> None:
        super().__init__()
        initialize(nn.ModuleList([*stages, head]), init)
        specs = _by_position(bottlenecks, len(stages))
        shapes = _shapes_after(stages, input_shape)
        self.input_shape = tuple(input_shape)
        self.depth = len(stages)
        for position, (stage, shape) in enumerate(zip(stages, shapes, strict=True), start=1):
            self.add_module(f"stage{position}", stage)
            if position in specs:
                self.add_module(f"bottleneck{position}", made(specs[position], shape))
        self.head = head
        self.positions = tuple(sorted(specs))

    @property
    def bottlenecks(self) -> dict[str, VariationalBottleneck]:
        """Bottlenecks by name, in data order."""
        return {f"bottleneck{p}": self.get_submodule(f"bottleneck{p}") for p in self.positions}  # type: ignore[misc]

    @property
    def noise_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each bottleneck's noise without the leading axis."""
        return tuple(b.noise_shape for b in self.bottlenecks.values())

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Parameter names by group in data order; a bottleneck makes two, its encoder and its decoder."""
        groups: dict[str, list[str]] = {}
        for name, _ in self.named_parameters():
            parts = name.split(".")
            depth = 2 if parts[0].startswith("bottleneck") else 1
            groups.setdefault(".".join(parts[:depth]), []).append(name)
        return {group: tuple(names) for group, names in groups.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, N x K, of normalized images N x C x H x W."""
        return self.run(x).logits

    def run(
        self, x: Tensor, noise: Sequence[Tensor] | None = None, generator: torch.Generator | None = None
    ) -> ForwardPass:
        """Forward pass that also gives the KL term and the noise.

        Args:
            x: N x C x H x W, normalized.
            noise: one tensor a bottleneck, N x its `noise_shapes` entry; None draws anew.
            generator: source of the draw.

        Returns:
            Logits N x K, the sum of beta_i KL_i a row (zeros without bottlenecks), the noise used.

        Raises:
            ShapeError: images of another shape, or noise that does not fit the bottlenecks.
        """
        if noise is not None and len(noise) != len(self.positions):
            raise ShapeError(
                f"This model has {len(self.positions)} bottlenecks, got {len(noise)} noise tensors."
            )
        if tuple(x.shape[1:]) != self.input_shape:
            raise ShapeError(
                f"This model was built for images of shape {self.input_shape} (C x H x W), got a batch of "
                f"shape {tuple(x.shape)}: build it with input_shape={tuple(x.shape[1:])}."
            )
        kl, used = x.new_zeros(x.shape[0]), []
        for position in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{position}")(x)
            if position in self.positions:
                bottleneck = self.get_submodule(f"bottleneck{position}")
                out = bottleneck(x, None if noise is None else noise[len(used)], generator)
                x, kl = out.features, kl + bottleneck.beta * out.kl
                used.append(out.noise)
        return ForwardPass(self.head(x), kl, tuple(used))


def before_decoder(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups before the first decoder, [G(1), ..., G(E)] of 001 Eq. 4; all if there is none."""
    names = list(groups)
    first = next((i for i, name in enumerate(names) if name.endswith(".decoder")), len(names))
    return tuple(names[:first])


def parameter_groups(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Group the parameters of any module: its own `groups` if it has bottlenecks, else one a submodule.

    A plain module's groups stand in the order of registration, which is usually that of the forward pass.
    """
    from gleak_lib.types import GroupedModel

    if isinstance(model, GroupedModel):
        return dict(model.groups)
    groups: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        groups.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return {group: tuple(names) for group, names in groups.items()}


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def feature_size(stages: Sequence[nn.Module], input_shape: tuple[int, int, int]) -> int:
    """Return the number of features that the last stage gives for one image."""
    return math.prod(_shapes_after(stages, input_shape)[-1])


def _by_position(specs: Sequence[Bottleneck], depth: int) -> dict[int, Bottleneck]:
    found: dict[int, Bottleneck] = {}
    for spec in specs:
        if not 1 <= spec.position <= depth:
            raise ParameterError(
                f"{spec} asks for position {spec.position}, but this model has positions 1 to {depth} "
                "(position P is after feature stage P)."
            )
        if spec.position in found:
            raise ParameterError(f"Two bottlenecks at position {spec.position}: give each its own.")
        found[spec.position] = spec
    return found


def _shapes_after(stages: Sequence[nn.Module], input_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    shapes, x = [], torch.zeros(1, *input_shape)
    for stage in stages:
        training = stage.training
        try:
            with torch.no_grad():
                x = stage.eval()(x)
        except RuntimeError as error:
            raise ShapeError(
                f"The model does not accept images of shape {tuple(input_shape)} (C x H x W): {error}"
            ) from error
        finally:
            stage.train(training)
        shapes.append(tuple(x.shape[1:]))
    return shapes
