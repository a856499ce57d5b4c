"""What one client does, and how any model is measured: its batches, the loss, local training, evaluation.

What a client consumes in a round is known before it trains: engines that train several at once find here the
very batches and noise that the plain loop would have drawn, in its order.
"""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.bottlenecks import sample_noise
from gleak_lib.defenses import Batch, chain
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.federated.data import Images
from gleak_lib.federated.protocol import Protocol
from gleak_lib.federated.weights import checked, trained
from gleak_lib.types import Grads, VariationalModel


def epochs(index: Tensor, protocol: Protocol, shuffle: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of a client's images, shuffled anew in each local epoch."""
    for _ in range(protocol.local_epochs):
        yield index[torch.randperm(len(index), generator=shuffle)]


def batches(index: Tensor, protocol: Protocol, shuffle: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of a client's batches in a round; an epoch's last one may be smaller."""
    for order in epochs(index, protocol, shuffle):
        yield from order.split(protocol.batch_size)


def least_batch(model: nn.Module, images: int) -> int:
    """Return the smallest batch that a client with so many images trains on: two where there is BatchNorm."""
    return min(2 if has_batchnorm(model) else 1, images)


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a layer takes statistics over the batch."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def skip(
    model: nn.Module, index: Tensor, protocol: Protocol, shuffle: torch.Generator, noise: torch.Generator
) -> tuple[torch.Generator, torch.Generator]:
    """Return copies of the streams where they stand, and advance them by what one client consumes."""
    copies = shuffle.clone_state(), noise.clone_state()
    like = next(model.parameters())
    for batch in batches(index, protocol, shuffle):
        if len(batch) >= least_batch(model, len(index)):
            sample_noise(model, len(batch), like, noise)
    return copies


Defense = Callable[[Grads], Grads] | Transformation
"""A defense of `gleak_lib.defenses`, or a plain function on the gradients of a local step (the batch's mean
gradient by parameter name), before the client's optimizer sees them. What acts on the update (`Defense.on`)
gets a client's theta_before - theta_after, divided by nothing, after its local training. It returns the same
names and shapes; what it does not return stays as it was."""

Means = tuple[float, float]
"""Loss and accuracy in [0, 1], means over a client's local steps, or over the clients."""

EVALUATION_BATCH = 500  # large enough to amortize the overhead, small enough for the CPU's cache


def by_place(defense: Defense | None) -> tuple[Defense | None, Transformation | None]:
    """Return what of a defense acts on local steps, and what on the shared update."""
    if not isinstance(defense, Transformation):
        return defense, None
    places = ([part for part in defense.parts if part.on == on] for on in ("step", "update"))
    step, update = (chain(*parts) if parts else None for parts in places)
    return step, update


def loss_and_logits(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    drawn: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return N values of cross-entropy + KL, and N x K logits.

    The KL term, already weighted by beta, is there for models with bottlenecks only (001 Eq. 3); their
    noise is `drawn` (N x map each), or comes from the generator.
    """
    if not isinstance(model, VariationalModel):
        logits = model(x)
        return F.cross_entropy(logits, labels, reduction="none"), logits
    run = model.run(x, drawn, generator)
    return F.cross_entropy(run.logits, labels, reduction="none") + run.kl, run.logits


def train_locally(
    model: nn.Module,
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
    image counts once an epoch. The loss is NaN or infinite if any step's was.
    """
    model.train()
    least = least_batch(model, len(index))
    parameters = trained(model)
    replaced = isinstance(defense, Transformation) and defense.replaces
    adam = functools.partial(torch.optim.Adam, betas=protocol.betas)
    make = adam if protocol.optimizer == "adam" else torch.optim.SGD
    optimizer = make(list(parameters.values()), lr=lr, fused=True)
    total, seen = torch.zeros(2, device=images.labels.device, dtype=torch.float64), 0
    for batch in batches(index, protocol, shuffle):
        if len(batch) < least:
            continue
        x, labels = images[batch.to(images.labels.device)]
        drawn = sample_noise(model, len(x), x, noise)
        with torch.set_grad_enabled(not replaced):
            losses, logits = loss_and_logits(model, x, labels, noise, drawn)
            loss = losses.mean()
        optimizer.zero_grad()
        if replaced:  # the defense takes the gradients itself, and wants to know of which parameters
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


def measure(
    model: nn.Module, images: Images, index: Tensor | None, noise: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return N losses, N hits (1.0 where the largest logit is the label's) and N x K logits, of all or some.

    The model is put into evaluation mode.
    """
    model.eval()
    index = (torch.arange(len(images)) if index is None else index).to(images.labels.device)
    with torch.no_grad():
        parts = [loss_and_logits(model, *images[batch], noise) for batch in index.split(EVALUATION_BATCH)]
    losses, logits = map(torch.cat, zip(*parts, strict=True))
    return losses, (logits.argmax(1) == images.labels[index]).double(), logits


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
