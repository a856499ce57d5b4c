"""The engine: one loop that runs any iterative attack for all victims at once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gleak_lib import gradients as per_victim
from gleak_lib.attacks import adam, schedules
from gleak_lib.attacks.attack import Attack, select
from gleak_lib.attacks.labels import infer_single
from gleak_lib.attacks.observe import sample_noise
from gleak_lib.attacks.step import Problem, State, Step
from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.models.base import parameter_groups
from gleak_lib.pixels import denormalize, normalize
from gleak_lib.types import Observation, Reconstruction

CHECK_EVERY = 25  # steps between looks at which victims are left: the only place where the host waits


def invert(
    observation: Observation,
    attack: Attack,
    *,
    generator: torch.Generator | None = None,
    progress: bool = False,
    compile: bool = False,
) -> Reconstruction:
    """Reconstruct the images behind observed gradients, for all victims at once (001 Eq. 1).

    Args:
        observation: what the server holds, from `observe` or filled in from real updates.
        attack: a preset of `ATTACKS` or a variant of one.
        generator: source of the dummies and of resampled noise; the same state gives the same result on
            one machine. None uses torch's global generator.
        progress: show a bar with the victims left, the median loss and steps a second.
        compile: fuse the step with `torch.compile`; worthwhile from some thousand steps on.

    Returns:
        The best iterate by the attack's own loss, never by the truth; see `Reconstruction`.

    Raises:
        GradientError: gradients that do not fit the model or are not finite.
        UnknownNameError, ParameterError: a layer mask that keeps nothing, labels or noise that the attack
            needs and the observation lacks.
    """
    per_victim.check(observation.gradients, observation.model)
    names = select(attack.layers, attack.exclude, parameter_groups(observation.model))
    labels = infer_single(observation) if observation.labels is None else observation.labels
    best: Reconstruction | None = None
    for _ in range(attack.trials):
        found = _one_trial(observation, attack, names, labels, generator, progress, compile)
        best = found if best is None else _lower(best, found)
    assert best is not None
    return best


def _one_trial(
    observation: Observation,
    attack: Attack,
    names: Sequence[str],
    labels: Tensor,
    generator: torch.Generator | None,
    show: bool,
    compile: bool,
) -> Reconstruction:
    reference = next(iter(observation.gradients.values()))
    victims, batch = observation.victims, observation.batch_size
    shape = (victims, batch, *observation.input_shape)
    stream = _on_device(generator, reference.device)
    x = _dummies(attack, shape, observation, reference, stream)
    state = State(x, adam.init(x), schedules.start(victims, attack, x), x)
    problem = Problem({n: observation.gradients[n] for n in names}, labels.to(x.device, torch.long))
    step = Step(observation, attack, names, compile=compile)

    index = torch.arange(victims, device=x.device)  # the victims still in the batch
    final = state
    trace: list[Tensor] = []
    bar = _bar(attack.max_steps, attack.name) if show else None
    noise = _noise_source(observation, attack, victims * batch * attack.draws, x, stream)
    done = 0
    while done < attack.max_steps and len(index):
        losses = []
        for t in range(done + 1, min(done + CHECK_EVERY, attack.max_steps) + 1):
            state, loss = step(state, problem, _rows(noise(), index, victims), t)
            losses.append(loss)
        done += len(losses)
        block = torch.full((len(losses), victims), torch.nan, dtype=x.dtype, device=x.device)
        block[:, index] = torch.stack(losses)
        trace.append(block)
        active = state.progress.active
        left = int(active.sum())  # the host waits here
        if bar is not None:
            bar.set_postfix(victims=left, loss=f"{float(state.progress.best.median()):.3g}")
            bar.update(len(losses))
        if left < step.capacity(len(index)) or done == attack.max_steps:
            final = _scatter(final, state, index)
            index = index[active]
            state, problem = _take(state, active), _take(problem, active)
    if bar is not None:
        bar.close()
    return _result(observation, final, labels, torch.cat(trace))


def _on_device(generator: torch.Generator | None, device: torch.device) -> torch.Generator:
    """A generator on `device`, seeded from `generator`, so that drawing noise never waits for the host."""
    source = None if generator is None else generator.device
    seed = torch.randint(2**62, (1,), generator=generator, device=source)
    return torch.Generator(device).manual_seed(int(seed))


def _dummies(
    attack: Attack, shape, observation: Observation, like: Tensor, generator: torch.Generator
) -> Tensor:
    kind = {"dtype": like.dtype, "device": like.device, "generator": generator}
    if attack.init == "uniform":
        return normalize(torch.rand(shape, **kind), observation.mean, observation.std)
    return torch.randn(shape, **kind)


def _noise_source(
    observation: Observation, attack: Attack, rows: int, like: Tensor, generator: torch.Generator
):
    """Return a function that gives the noise of the next step for all victims."""
    if attack.noise == "given":
        if observation.noise is None:
            raise ParameterError(
                "noise='given' needs an observation that grants the noise (share_noise=True)."
            )
        given = tuple(_repeat(n, observation, attack.draws) for n in observation.noise)
        return lambda: given
    if attack.noise == "fixed":
        fixed = sample_noise(observation.model, rows, like, generator)
        return lambda: fixed
    return lambda: sample_noise(observation.model, rows, like, generator)


def _repeat(noise: Tensor, observation: Observation, draws: int) -> Tensor:
    by_victim = noise.reshape(observation.victims, observation.batch_size, *noise.shape[1:])
    return by_victim.repeat(1, draws, *[1] * (noise.dim() - 1)).flatten(0, 1)


def _rows(noise: tuple[Tensor, ...], index: Tensor, victims: int) -> tuple[Tensor, ...]:
    if len(index) == victims:
        return noise
    return tuple(n.reshape(victims, -1, *n.shape[1:])[index].flatten(0, 1) for n in noise)


def _take(tree: Any, rows: Tensor) -> Any:
    """Keep some victims of every tensor in a nested tuple or dict."""
    if isinstance(tree, Tensor):
        return tree[rows]
    if isinstance(tree, dict):
        return {key: _take(value, rows) for key, value in tree.items()}
    parts = (_take(value, rows) for value in tree)
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def _scatter(final: State, state: State, index: Tensor) -> State:
    """Write the victims of `state` back into the full state."""

    def put(whole: Tensor, part: Tensor) -> Tensor:
        return whole.index_copy(0, index, part)

    progress = schedules.Progress(*map(put, final.progress, state.progress))
    return final._replace(progress=progress, best_x=put(final.best_x, state.best_x))


def _result(observation: Observation, state: State, labels: Tensor, trace: Tensor) -> Reconstruction:
    images = denormalize(state.best_x, observation.mean, observation.std).clamp(0, 1)
    trace_steps = torch.arange(1, len(trace) + 1, device=trace.device)
    ran = trace_steps[:, None] <= state.progress.steps[None, :]
    return Reconstruction(
        images=images if observation.batched else images.squeeze(1),
        labels=labels if observation.batched else labels.squeeze(1),
        loss=state.progress.best,
        steps=state.progress.steps.long(),
        trace=torch.where(ran, trace, torch.nan),
        trace_steps=trace_steps,
    )


def _lower(a: Reconstruction, b: Reconstruction) -> Reconstruction:
    """Of two trials, keep for each victim the one with the lower loss."""
    better = b.loss < a.loss

    def pick(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(better.view(-1, *[1] * (x.dim() - 1)), y, x)

    steps = max(len(a.trace), len(b.trace))

    def pad(trace: Tensor) -> Tensor:
        return torch.nn.functional.pad(trace, (0, 0, 0, steps - len(trace)), value=torch.nan)

    return Reconstruction(
        images=pick(a.images, b.images),
        labels=a.labels,
        loss=pick(a.loss, b.loss),
        steps=pick(a.steps, b.steps),
        trace=torch.where(better, pad(b.trace), pad(a.trace)),
        trace_steps=max(a.trace_steps, b.trace_steps, key=len),
    )


def _bar(total: int, name: str):
    return require("tqdm.auto", "book").tqdm(total=total, desc=name, unit="step")
