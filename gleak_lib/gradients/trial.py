"""The trial of a model: the ways to its gradients beside plain autograd, on two victims of random images.

Weights that are all equal are moved at random for it, since behind a head of zeros every gradient is zero.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gleak_lib.errors import GleakError, ParameterError, ShapeError
from gleak_lib.global_generator import isolated, states
from gleak_lib.gradients import paths
from gleak_lib.gradients.factored import dense
from gleak_lib.gradients.norm_layers import VictimBatchNorm
from gleak_lib.types import Grads, VariationalModel

Path = Literal["fast", "vmap", "loop"]
SEED = 0
TELLS = ("data-dependent control flow", ".item()", "dynamic shape", "data pointer")
"""What `vmap` says of models that look at their images' values, as in `if x.mean() > 0`."""

IN_PLACE = (
    "The model changes its input in place, which others hold as well: let it work on a copy (x.clone())."
)
RANDOM = (
    "The model gives other outputs each time or draws random numbers (dropout, RReLU, noise of its own), "
    "which no attack can repeat: call model.eval(), or leave that out. Bottlenecks of this package must be "
    "given their noise: use models.build or bottlenecks.insert."
)
MIXED = (
    "The model mixes the images of a batch: what it returns for one depends on the others, so that no "
    "victim's gradient can be told from another's. Only BatchNorm may do that: normalize each image by "
    "itself."
)

CHANGING = (
    "The model changes its buffers in a forward pass, and returns something else afterwards or mixes the "
    "images of a batch (spectral normalization in training mode does, and running statistics of one's own "
    "may), which no attack can repeat: call model.eval()."
)


class Trial(NamedTuple):
    """What a trial found.

    Attributes:
        path: the way to take.
        why: it is not the first choice, else empty.
        error: instead of a way.
        judged: whether there were finite numbers to compare.
    """

    path: Path = "fast"
    why: str = ""
    error: GleakError | None = None
    judged: bool = True


def tried(model: nn.Module, like: Tensor, names: tuple[str, ...]) -> Trial:
    """Try a copy on two victims; where that fails, once more in float64, as rounding may be to blame.

    Args:
        model: made by `gradients.prepare`.
        like: N x C x H x W, of which shape, dtype and device count.
        names: parameters.
    """
    stream = torch.Generator().manual_seed(SEED)
    rows = 2 * next((m.batch_size for m in model.modules() if isinstance(m, VictimBatchNorm)), 1)
    shapes = model.noise_shapes if isinstance(model, VariationalModel) else ()
    x, *noise = (torch.randn(rows, *shape, generator=stream) for shape in (like.shape[1:], *shapes))

    def judged(exact: bool) -> Trial:
        twin = _moved(copy.deepcopy(model))
        to = like.new_empty(0, dtype=torch.float64) if exact else like
        return _judge(twin.double() if exact else twin, x.to(to), [n.to(to) for n in noise], names)

    with isolated(like.device), torch.autocast(like.device.type, enabled=False), torch.enable_grad():
        found = judged(exact=False)
        doubtful = bool(found.why) or isinstance(found.error, ParameterError)
        if not doubtful or like.dtype == torch.float64:
            return found
        exact = judged(exact=True)
    return found if isinstance(exact.error, ShapeError) else exact  # a dtype may be written into the code


def _moved(model: nn.Module) -> nn.Module:
    """Add noise to weights that are all equal, in place."""
    stream = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for p in filter(torch.is_floating_point, model.parameters()):
            flat = p.flatten()
            if flat.numel() and flat[0] == flat[-1] and bool((flat == flat[0]).all()):
                scale = 0.1 if p.dim() < 2 else p[0].numel() ** -0.5
                p.add_(scale * torch.randn(p.shape, generator=stream).to(p))
    return model


def _judge(model: nn.Module, x: Tensor, noise: list[Tensor], names: tuple[str, ...]) -> Trial:
    """Choose a path; the model may be changed by being run."""
    halves = (slice(0, len(x) // 2), slice(len(x) // 2, len(x)))
    mixed = random = changing = False
    try:
        with torch.no_grad():
            given, before = x.clone(), states(x.device)
            buffers = [b.clone() for b in model.buffers()]
            whole = paths.forward(model, given, noise)[:2]
            changing = not all(map(torch.equal, buffers, model.buffers()))
            again = paths.forward(model, x.clone(), noise)[:2]
            random = not all(map(torch.equal, before, states(x.device))) or not _close(whole, again)
            if not random:
                alone = [paths.forward(model, x[h].clone(), [n[h] for n in noise])[:2] for h in halves]
                mixed = not _close(whole, [torch.cat(parts) for parts in zip(*alone, strict=True)])
    except GleakError as error:
        return Trial(error=error)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        shape = tuple(x.shape[1:])
        message = f"The model does not run on {x.dtype} images of shape {shape}: {_line(error)}"
        return Trial(error=ShapeError(message))
    if not torch.equal(given, x):
        return Trial(error=ParameterError(IN_PLACE))
    if random or mixed:
        return Trial(error=ParameterError(CHANGING if changing else RANDOM if random else MIXED))
    by_rule = paths.has_rules(model, names)
    if not bool(torch.isfinite(whole[0]).all()):
        return Trial("fast" if by_rule else "vmap", judged=False)  # such weights give no gradients to compare
    weights = torch.randn(whole[0].shape, generator=torch.Generator().manual_seed(SEED)).to(x)

    def take(way: Callable[..., Any], create_graph: bool = False) -> Grads:
        images = x.clone().requires_grad_(create_graph)
        found = way(model, images, weights, 2, noise, names, create_graph, _projection)
        found = found[0] if isinstance(found, tuple) else found
        return {name: dense(g) for name, g in found.items()} | ({"x": images} if create_graph else {})

    try:
        expected = take(paths.loop)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return Trial(error=ParameterError(f"Plain autograd cannot differentiate this model: {_line(error)}"))
    if looks := _looks_at_values(model, x, noise):
        return Trial("loop", f"its forward decides by values of the images ({looks})")
    why = ""
    for name, way in (("fast", paths.fast), ("vmap", paths.vmap)):
        if name == "fast" and not by_rule:
            continue
        try:
            wrong = _difference(take(way), expected)
            if not wrong and name == "vmap":
                wrong = _second_order(lambda way=way: take(way, True), lambda: take(paths.loop, True))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            wrong = f"fails: {_line(error)}"
        if not wrong:
            return Trial(name, why)  # type: ignore[arg-type]
        why = why or f"the {name} path {wrong}"
    return Trial("loop", why)


def _projection(logits: Tensor, weights: Tensor) -> Tensor:
    """A loss of each image that no certainty saturates."""
    return (logits * weights).flatten(1).sum(1)


def _difference(found: Grads, expected: Grads) -> str:
    """Say by how much gradients are off, nothing where they are not."""
    eps = torch.finfo(next(iter(expected.values())).dtype).eps
    floor = 100 * eps * max(float(e.abs().max()) for e in expected.values() if e.numel())
    for name, e in expected.items():
        if not e.numel():
            continue
        size, off = float(e.abs().max()), float((found[name] - e).abs().max())
        if not off <= eps ** (1 / 3) * size + floor:
            share = off / size if size else off
            return f"is off by {share:.2g} of the largest entry in the gradient of {name}"
    return ""


def _second_order(found: Callable[[], Grads], expected: Callable[[], Grads]) -> str:
    """The same of the derivative that attacks descend along; nothing where plain autograd has none."""

    def derivative(grads: Grads) -> Grads:
        x = grads.pop("x")
        squares = torch.stack([g.square().sum() for g in grads.values()]).sum()
        return {"an image, to the second order": torch.autograd.grad(squares, x)[0]}

    try:
        right = derivative(expected())
    except Exception:
        return ""
    return _difference(derivative(found()), right)


def _looks_at_values(model: nn.Module, x: Tensor, noise: list[Tensor]) -> str:
    """Return what `vmap` says where a forward pass turns images into numbers of Python, else nothing."""

    def run(images: Tensor, draws: tuple[Tensor, ...]) -> Tensor:
        return paths.forward(model, images, draws or None).logits

    by_victim = [t.reshape(2, -1, *t.shape[1:]) for t in (x, *noise)]
    try:
        with torch.no_grad():
            torch.func.vmap(run, in_dims=(0, 0), randomness="different")(by_victim[0], tuple(by_victim[1:]))
    except Exception as error:
        said = _line(error)
        return said if any(part in str(error) for part in TELLS) else ""
    return ""


def _close(some: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    def near(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
            return False
        a, b = a[a.isfinite()], b[b.isfinite()]
        eps = torch.finfo(a.dtype).eps
        return not b.numel() or bool((a - b).abs().max() <= eps ** (1 / 3) * b.abs().max() + 100 * eps)

    return all(map(near, some, other))


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
