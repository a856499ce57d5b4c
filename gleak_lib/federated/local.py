"""What one client does, and how any model is measured: the loss, local training, evaluation."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.attacks.observe import sample_noise
from gleak_lib.defenses import Batch, chain
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.federated.batches import batches, least_batch
from gleak_lib.federated.data import Images
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.weights import checked
from gleak_lib.types import Grads, VariationalModel

Defense = Callable[[Grads], Grads] | Transformation
"""A defense of `gleak_lib.defenses`, or a plain function on the gradients of a local step (the batch's mean
gradient by parameter name), before the client's optimizer sees them. What acts on the update (`Defense.on`)
gets a client's theta_before - theta_after, divided by nothing, after its local training. It returns the same
names and shapes; what it does not return stays as it was."""

Objective = Callable[..., tuple[Tensor, Tensor]]
"""(x, labels, generator, drawn=None) -> N losses and N x K logits; `drawn` is noise that replaces a draw."""

Means = tuple[float, float]
"""Loss and accuracy in [0, 1], means over a client's local steps, or over the clients."""

EVALUATION_BATCH = 500  # large enough to amortise the overhead, small enough for the CPU's cache


def acting(defense: Defense | None, on: Literal["step", "update"]) -> Defense | None:
    """Return what of a defense acts on local steps or on shared updates, None where nothing does."""
    if not isinstance(defense, Transformation):
        return defense if on == "step" else None
    parts = [part for part in defense.parts if part.on == on]
    return chain(*parts) if parts else None


def objective(model: nn.Module) -> Objective:
    """Return (x, labels, generator, drawn) -> (loss, logits): N values of cross-entropy + KL, N x K logits.

    The KL term, already weighted by beta, is there for models with bottlenecks only (001 Eq. 3); their
    noise is `drawn` (N x map each), or comes from the generator.
    """
    if isinstance(model, VariationalModel):
        run = model.run

        def variational(
            x: Tensor,
            labels: Tensor,
            generator: torch.Generator,
            drawn: tuple[Tensor, ...] | None = None,
        ) -> tuple[Tensor, Tensor]:
            out = run(x, drawn, generator)
            return F.cross_entropy(out.logits, labels, reduction="none") + out.kl, out.logits

        return variational

    def plain(x: Tensor, labels: Tensor, generator: torch.Generator, drawn: object = None):
        logits = model(x)
        return F.cross_entropy(logits, labels, reduction="none"), logits

    return plain


def train_locally(
    model: nn.Module,
    loss_of: Objective,
    images: Images,
    index: Tensor,
    protocol: Protocol,
    *,
    lr: float,
    shuffle: torch.Generator,
    noise: torch.Generator,
    defense: Defense | None = None,
) -> Means:
    """Train `model` in place on `images[index]` with a fresh optimizer; return mean loss and accuracy.

    Both are measured on the batches as the client trains on them, before each step, in training mode; each
    image counts once an epoch. The loss is NaN or infinite if any step's was. What a client draws from its
    streams is in `gleak_lib.federated.batches`.
    """
    model.train()
    least = least_batch(model, len(index))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    replaced = isinstance(defense, Transformation) and defense.replaces
    optimizer = _optimizer(list(parameters.values()), protocol, lr)
    total, seen = torch.zeros(2, device=images.labels.device, dtype=torch.float64), 0
    for batch in batches(index, protocol, shuffle):
        if len(batch) < least:
            continue
        x, labels = images[batch.to(images.labels.device)]
        drawn = sample_noise(model, len(x), x, noise)
        with torch.set_grad_enabled(not replaced):
            losses, logits = loss_of(x, labels, noise, drawn)
            loss = losses.mean()
        optimizer.zero_grad()
        if replaced:  # the defence takes the gradients itself, and wants to know of which parameters
            for p in parameters.values():
                p.grad = torch.zeros_like(p)
        else:
            loss.backward()
        if defense is not None:
            _defend(parameters, defense, Batch(model, x, labels, 1, drawn), noise)
        optimizer.step()
        total += torch.stack([loss.detach() * len(batch), (logits.argmax(1) == labels).sum()])
        seen += len(batch)
    loss, hits = total.tolist()
    return loss / seen, hits / seen


@torch.no_grad()
def measure(
    model: nn.Module, loss_of: Objective, images: Images, index: Tensor | None, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return N losses and N hits (1.0 where the largest logit is the label's) of `images[index]`."""
    index = torch.arange(len(images)) if index is None else index
    losses, logits = _forward(model, loss_of, images, index, noise)
    return losses, (logits.argmax(1) == images.labels[index.to(logits.device)]).double()


@torch.no_grad()
def predict(model: nn.Module, loss_of: Objective, images: Images, noise: torch.Generator) -> Tensor:
    """Return N x K logits of all images, in evaluation mode."""
    return _forward(model, loss_of, images, torch.arange(len(images)), noise)[1]


def _forward(
    model: nn.Module, loss_of: Objective, images: Images, index: Tensor, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    model.eval()
    parts = [
        loss_of(*images[batch], noise) for batch in index.to(images.labels.device).split(EVALUATION_BATCH)
    ]
    losses, logits = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(logits)


def _optimizer(parameters: list[nn.Parameter], protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=lr, fused=True)
    return torch.optim.Adam(parameters, lr=lr, betas=protocol.betas, fused=True)


def _defend(
    parameters: dict[str, nn.Parameter], defense: Defense, batch: Batch, noise: torch.Generator
) -> None:
    grads = {name: p.grad[None] for name, p in parameters.items() if p.grad is not None}
    if isinstance(defense, Transformation):  # it transforms a stack of updates, here of one
        shared = defense.bind(batch)(grads, generator=noise)
    else:
        shared = {name: g[None] for name, g in defense({name: g[0] for name, g in grads.items()}).items()}
    for name, grad in checked(shared, grads).items():
        parameters[name].grad = grad[0]
