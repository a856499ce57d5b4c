"""What one client does, and how any model is measured: the loss, local training, evaluation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gleak_lib.attacks.observe import sample_noise
from gleak_lib.defenses import Batch
from gleak_lib.defenses import Defense as Transformation
from gleak_lib.errors import GradientError
from gleak_lib.federated.batches import batches, least_batch
from gleak_lib.federated.data import Images
from gleak_lib.federated.protocol import Protocol
from gleak_lib.types import Grads, VariationalModel

Defense = Callable[[Grads], Grads] | Transformation
"""A defence of `gleak_lib.defenses`, or a plain function, on the gradients of a local step (the batch's mean
gradient by parameter name), before the client's optimiser sees them. It returns the same names and shapes;
what it does not return keeps its gradient."""

Objective = Callable[..., tuple[Tensor, Tensor]]
"""(x, labels, generator, drawn=None) -> N losses and N x K logits; `drawn` is noise that replaces a draw."""

EVALUATION_BATCH = 500  # large enough to amortise the overhead, small enough for the CPU's cache


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
) -> float:
    """Train `model` in place on `images[index]` with a fresh optimiser; return the mean loss of its steps.

    Each image counts once an epoch in that mean. It is NaN or infinite if any step's loss was. What a client
    draws from its streams is in `gleak_lib.federated.batches`.
    """
    model.train()
    least = least_batch(model, len(index))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    replaced = isinstance(defense, Transformation) and defense.replaces
    optimizer = _optimizer(list(parameters.values()), protocol, lr)
    total, seen = torch.zeros((), device=images.labels.device, dtype=torch.float64), 0
    for batch in batches(index, protocol, shuffle):
        if len(batch) < least:
            continue
        x, labels = images[batch.to(images.labels.device)]
        drawn = sample_noise(model, len(x), x, noise)
        with torch.set_grad_enabled(not replaced):
            loss = loss_of(x, labels, noise, drawn)[0].mean()
        optimizer.zero_grad()
        if replaced:  # the defence takes the gradients itself, and wants to know of which parameters
            for p in parameters.values():
                p.grad = torch.zeros_like(p)
        else:
            loss.backward()
        if defense is not None:
            _defend(parameters, defense, Batch(model, x, labels, 1, drawn), noise)
        optimizer.step()
        total += loss.detach() * len(batch)
        seen += len(batch)
    return float(total) / seen


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
    grads = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    if isinstance(defense, Transformation):  # of the registry: transforms a stack of updates, here of one
        stacked = {name: g.unsqueeze(0) for name, g in grads.items()}
        shared = {n: g.squeeze(0) for n, g in defense.bind(batch)(stacked, generator=noise).items()}
    else:
        shared = defense(grads)
    for name, grad in shared.items():
        if name not in parameters or grad.shape != parameters[name].shape:
            raise GradientError(
                f"The defence returned {name!r} of shape {tuple(grad.shape)}: it must return the names and "
                "shapes that it was given."
            )
        parameters[name].grad = grad
