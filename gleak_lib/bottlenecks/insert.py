"""Put a bottleneck into any `nn.Module`, without touching its code or its parameters."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from gleak_lib.bottlenecks.base import Bottleneck, VariationalBottleneck, made
from gleak_lib.errors import ParameterError, ShapeError, unknown
from gleak_lib.fresh import fresh
from gleak_lib.typed import typed
from gleak_lib.types import ForwardPass, VariationalModel


class Bottlenecked(nn.Module):
    """A user's model with bottlenecks behind some of its submodules; made by `insert`.

    `self.base` is the user's module itself (its parameters are shared, not copied). `groups` lists the
    parameters in the order in which the forward pass uses them, bottlenecks included; before them those of
    modules that it never calls. Bottlenecks that the module had already keep their noise and their KL term:
    their noise comes first.
    """

    def __init__(self, base: nn.Module, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.base = base
        self.input_shape = input_shape
        self.after: dict[str, str] = {}  # bottleneck's name -> the submodule that it follows
        self.groups: dict[str, tuple[str, ...]] = {}

    @property
    def bottlenecks(self) -> dict[str, VariationalBottleneck]:
        """Inserted bottlenecks by name, in the order in which they were inserted."""
        return {name: self.get_submodule(name) for name in self.after}  # type: ignore[misc]

    @property
    def noise_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each bottleneck's noise without the leading axis, the module's own, then the inserted."""
        return (*self._own_shapes, *(b.noise_shape for b in self.bottlenecks.values()))

    @property
    def _own_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.base.noise_shapes if isinstance(self.base, VariationalModel) else ()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, N x K."""
        return self.run(x).logits

    def run(
        self, x: Tensor, noise: Sequence[Tensor] | None = None, generator: torch.Generator | None = None
    ) -> ForwardPass:
        """Forward pass with the KL term and the noise, see `gleak_lib.types.ForwardPass`.

        Raises:
            ShapeError: another number of noise tensors than of bottlenecks.
            ParameterError: a bottleneck that the pass never came to.
        """
        count, shapes = len(self._own_shapes), self.noise_shapes
        if noise is not None and len(noise) != len(shapes):
            raise ShapeError(f"This model has {len(shapes)} bottlenecks, got {len(noise)} noise tensors.")
        kl: dict[str, Tensor] = {}
        used: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for index, (name, bottleneck) in enumerate(self.bottlenecks.items()):
                given = None if noise is None else noise[count + index]

                def sample(_module, _inputs, output, name=name, bottleneck=bottleneck, given=given):
                    out = bottleneck(output, given, generator)
                    kl[name], used[name] = bottleneck.beta * out.kl, out.noise
                    return out.features

                handle = self.base.get_submodule(self.after[name]).register_forward_hook(sample)
                hooks.callback(handle.remove)
            if isinstance(self.base, VariationalModel):
                inner = self.base.run(x, None if noise is None else noise[:count], generator)
            else:
                inner = ForwardPass(self.base(x), x.new_zeros(x.shape[0]), ())
        missing = [self.after[name] for name in self.after if name not in kl]
        if missing:
            raise ParameterError(f"The forward pass never ran {missing}: no bottleneck can stand there.")
        total = torch.stack(list(kl.values())).sum(0)
        if count:
            total = total + inner.kl
        return ForwardPass(inner.logits, total, (*inner.noise, *(used[name] for name in self.after)))


@typed
def insert(
    model: nn.Module,
    after: str,
    spec: Bottleneck,
    *,
    input_shape: tuple[int, int, int],
    seed: int | None = None,
) -> Bottlenecked:
    """Return `model` with a bottleneck behind its submodule `after`; call it again to add another.

    Args:
        model: any module that maps N x C x H x W to N x K logits, with bottlenecks (`models.build`) or
            without, or the result of an earlier `insert`.
        after: the submodule's name as `model.named_modules()` gives it, for example `layer1`. It must run
            once a forward pass and return one tensor.
        spec: what to insert; its `position` is not used here.
        input_shape: C, H, W of one image, to find the features' shape.
        seed: seed of the bottleneck's initial weights; None draws from torch's global generator.

    Raises:
        UnknownNameError: the model has no submodule of that name.
        ShapeError: the model does not accept `input_shape`, or the features do not fit the bottleneck.
        ParameterError: bottlenecks inside the model of which it does not tell (it has no `run`), so that
            their noise and KL term would be lost; a spec that builds something else than one.
    """
    _refuse_hidden(model)
    wrapped = model if isinstance(model, Bottlenecked) else Bottlenecked(model, tuple(input_shape))
    names = [name for name, _ in wrapped.base.named_modules() if name]
    if after not in names:
        raise unknown("submodule", after, names)
    shape = _output_shape(wrapped.base, after, input_shape)
    reference = _reference(wrapped.base)
    built = fresh(lambda: made(spec, shape), seed=seed, what=f"{spec} behind {after}").to(reference)
    name = f"bottleneck{len(wrapped.after) + 1}"
    wrapped.add_module(name, built)
    wrapped.after[name] = after
    wrapped.groups = _execution_order(wrapped)
    return wrapped


def _refuse_hidden(model: nn.Module) -> None:
    if isinstance(model, VariationalModel):
        return
    for name, module in model.named_modules():
        if isinstance(module, (VariationalBottleneck, VariationalModel)):
            raise ParameterError(
                f"{name} has bottlenecks, and {type(model).__name__} around it hides their noise and their "
                f"KL term: insert into {name} itself, and let the module around it have a `run`."
            )


def _reference(model: nn.Module) -> Tensor:
    return next(model.parameters(), torch.empty(0))


def _dummy_run(model: nn.Module, probe: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    reference = _reference(probe)
    modes = {module: module.training for module in probe.modules()}
    try:
        probe.eval()
        with torch.no_grad():
            return model(torch.zeros(1, *input_shape, dtype=reference.dtype, device=reference.device))
    except RuntimeError as error:
        raise ShapeError(
            f"The model does not accept an input of shape {tuple(input_shape)}: {error}"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training


def _output_shape(base: nn.Module, after: str, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    found: list[object] = []
    handle = base.get_submodule(after).register_forward_hook(lambda _m, _i, out: found.append(out))
    try:
        _dummy_run(base, base, input_shape)
    finally:
        handle.remove()
    if len(found) != 1 or not isinstance(found[0], Tensor):
        kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in found)) or "nothing"
        raise ParameterError(
            f"{after!r} must run once a forward pass and return one tensor, and runs {len(found)} times and "
            f"returns {kinds}."
        )
    return tuple(found[0].shape[1:])


def _execution_order(wrapped: Bottlenecked) -> dict[str, tuple[str, ...]]:
    """Group parameters by the module that owns them, in the order in which the forward pass runs them."""
    groups: dict[str, tuple[str, ...]] = {}
    left = dict.fromkeys(name for name, _ in wrapped.named_parameters())  # a tied one stands here once

    def note(name: str, module: nn.Module):
        own = tuple(f"{name}.{p}" for p, _ in module.named_parameters(recurse=False))

        def hook(_module, _inputs) -> None:
            if name not in groups and (found := tuple(p for p in own if p in left)):
                groups[name] = found

        return hook

    with ExitStack() as hooks:
        for name, module in wrapped.named_modules():
            hooks.callback(module.register_forward_pre_hook(note(name, module)).remove)
        _dummy_run(wrapped, wrapped, wrapped.input_shape)
    called = {p for names in groups.values() for p in names}
    others: dict[str, tuple[str, ...]] = {}
    for name in left:
        if name not in called:
            owner = name.rpartition(".")[0]
            others[owner] = (*others.get(owner, ()), name)
    return others | groups
