"""The engine: one loop that runs any iterative attack for all victims at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gleak_lib.attacks import closed_form, schedules, unknowns
from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.check import check, finished
from gleak_lib.attacks.classifier import classifier
from gleak_lib.attacks.labels import infer
from gleak_lib.attacks.masks import matched
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.observe import sample_noise
from gleak_lib.attacks.precision import Precision, arithmetic
from gleak_lib.attacks.precision import check as check_precision
from gleak_lib.attacks.step import State, Step
from gleak_lib.errors import ParameterError
from gleak_lib.extras import require
from gleak_lib.pixels import denormalize
from gleak_lib.typed import typed
from gleak_lib.types import Observation, Reconstruction

Watch = Callable[[int, Tensor, unknowns.Unknowns, tuple[Tensor, ...]], None]
"""(step, victims, unknowns, noise): what an attack is about to use; see `invert`."""

CHECK_EVERY = 25  # steps of Adam between looks at which victims are left: the only place where the host waits
ROOM = 100_000  # steps that the trace has room for at first: who allows more may stop long before


@typed
def invert(
    observation: Observation,
    attack: Attack,
    *,
    generator: torch.Generator | None = None,
    progress: bool = False,
    compile: bool = False,
    precision: Precision = "float32",
    watch: Watch | None = None,
) -> Reconstruction:
    """Reconstruct the images behind observed gradients, for all victims at once (001 Eq. 1).

    Args:
        observation: what the server holds, from `observe` or filled in from real updates.
        attack: a preset of `ATTACKS` or a variant of one.
        generator: source of the dummies and of resampled noise; the same state gives the same result on
            one machine with as many threads. None uses torch's global generator.
        progress: show a bar with the victims left, the median loss and steps a second.
        compile: fuse the step with `torch.compile`; worthwhile from some thousand steps on.
        precision: of the dummy gradients: `float32` (or what the gradients have), or on a GPU `tf32`, or
            `bf16`, matrix products in bfloat16. Everything else stays in the gradients' own precision.
        watch: is called before each step with the step's number (from 1), the indices of the victims that
            are still in the batch (some of them may have stopped already), their unknowns before the step
            (`attacks.unknowns`), and the noise that the step uses, N x map for each bottleneck (of several
            draws the first, with which the step's loss is computed). It is given copies, which it may keep,
            and nothing that the attack does not have; the result does not depend on it. Each trial begins
            again at step 1. A closed form has no steps.

    Returns:
        The best iterate by the attack's own loss, never by the truth; see `Reconstruction`.

    Raises:
        GradientError, ShapeError: parts of the observation that do not fit each other, see `check`.
        AttackError: the loss was never finite for any victim. Where so it is for some of them, a warning
            names them, and their images and losses are NaN.
        UnknownNameError, ParameterError: a layer mask that keeps nothing, labels or noise that the attack
            needs and the observation lacks.
    """
    check_precision(precision)
    check(observation)
    names = matched(observation, attack)
    if attack.optimizer == "closed-form":
        known = _labels(observation, attack, required=attack.route == "direction")
        return finished(closed_form.solve(observation, attack, known, generator), attack.name)
    labels = _labels(observation, attack)
    best: Reconstruction | None = None
    for _ in range(attack.trials):
        with arithmetic(precision):
            step = Step(observation, attack, names, compile=compile, precision=precision)
            found = _one_trial(observation, attack, step, labels, generator, progress, watch)
        best = found if best is None else _lower(best, found)
    assert best is not None
    return finished(best, attack.name)


def _labels(observation: Observation, attack: Attack, *, required: bool = True) -> Tensor:
    """Labels to match with, V x B; -1 where the attack needs none."""
    if attack.labels == "known" and observation.labels is not None:
        return observation.labels
    if attack.labels != "optimize":
        try:
            return infer(observation)
        except ParameterError:
            if required:
                raise
    device = next(iter(observation.gradients.values())).device
    return torch.full((observation.victims, observation.batch_size), -1, device=device)


def _one_trial(
    observation: Observation,
    attack: Attack,
    step: Step,
    labels: Tensor,
    generator: torch.Generator | None,
    show: bool,
    watch: Watch | None,
) -> Reconstruction:
    victims, device = observation.victims, next(iter(observation.gradients.values())).device
    stream = _on_device(generator, device)
    classes = classifier(observation)[1] if attack.labels == "optimize" else None
    dummies = unknowns.start(observation, attack.init, classes, stream)
    problem = _problem(observation, attack, step.objective.names, labels.to(device, torch.long))
    rows = victims * attack.noise_draws * attack.draws * observation.batch_size
    noise = _noise_source(observation, attack, rows, dummies["image"], stream)
    if attack.noise == "optimize":
        dummies, noise = step.objective.with_noise(dummies, noise()), tuple
    state = step.start(dummies)

    index = torch.arange(victims, device=device)  # the victims still in the batch
    final = state
    bar = _bar(attack.max_steps, attack.name) if show else None
    x = dummies["image"]
    # one tensor from the start: small ones that stay, among large ones that go, make the heap grow
    trace = torch.empty(min(attack.max_steps, ROOM), victims, dtype=x.dtype, device=device)
    every = 1 if step.waits else CHECK_EVERY
    done = 0
    while done < attack.max_steps and len(index):
        losses = []
        for t in range(done + 1, min(done + every, attack.max_steps) + 1):
            draw = noise()
            draw = draw if len(index) == victims else unknowns.take_noise(draw, index, victims)
            if watch is not None:
                first = unknowns.draw_of(draw, 0, attack.noise_draws, len(index))
                used = step.objective.noise(state.unknowns, first)
                watch(t, index.clone(), *_copies(state.unknowns, used))
            state, loss = step(state, problem, draw, t)
            losses.append(loss)
        done += len(losses)
        if done > len(trace):
            trace = torch.cat([trace, torch.empty_like(trace)])
        block = trace[done - len(losses) : done]
        block.fill_(torch.nan)
        block[:, index] = torch.stack(losses)
        active = state.progress.active
        left = int(active.sum())  # the host waits here
        if bar is not None:
            bar.set_postfix(victims=left, loss=f"{float(state.progress.best.median()):.3g}")
            bar.update(len(losses))
        if not left or left < step.capacity(len(index)) or done == attack.max_steps:
            final = _scatter(final, state, index)
            index = index[active]
            state, problem = unknowns.take(state, active), unknowns.take(problem, active)
    if bar is not None:
        bar.close()
    with torch.no_grad():
        noise_found = step.objective.noise(final.best, ()) or None
    return _result(observation, final, labels, trace[:done], noise_found)


def _problem(observation: Observation, attack: Attack, names: Sequence[str], labels: Tensor) -> Problem:
    if attack.statistics_weight and (observation.statistics is None or attack.statistics == "running"):
        raise ParameterError(
            "statistics_weight needs an observation that grants the clients' batch statistics "
            "(share_statistics=True) and statistics='own'."
        )
    return Problem.of(observation, labels, names, attack)


def _copies(x: unknowns.Unknowns, noise: tuple[Tensor, ...]) -> tuple[unknowns.Unknowns, tuple[Tensor, ...]]:
    return {name: u.detach().clone() for name, u in x.items()}, tuple(n.detach().clone() for n in noise)


def _on_device(generator: torch.Generator | None, device: torch.device) -> torch.Generator:
    """A generator on `device`, seeded from `generator`, so that drawing noise never waits for the host."""
    source = None if generator is None else generator.device
    seed = torch.randint(2**62, (1,), generator=generator, device=source)
    return torch.Generator(device).manual_seed(int(seed))


def _noise_source(
    observation: Observation, attack: Attack, rows: int, like: Tensor, generator: torch.Generator
):
    """Return a function that gives the noise of the next step for all victims."""
    updates = (observation, *observation.later)

    def draw() -> tuple[Tensor, ...]:
        return tuple(n for one in updates for n in sample_noise(one.model, rows, like, generator))

    if attack.noise == "given":
        known = [one.noise for one in updates if one.noise is not None]
        if len(known) < len(updates):
            raise ParameterError(
                "noise='given' needs an observation that grants the noise (share_noise=True)."
            )
        given = tuple(_repeat(n, observation, attack.draws) for noise in known for n in noise)
        return lambda: given
    if attack.noise == "fixed":
        fixed = draw()
        return lambda: fixed
    return draw


def _repeat(noise: Tensor, observation: Observation, draws: int) -> Tensor:
    by_victim = noise.reshape(observation.victims, observation.batch_size, *noise.shape[1:])
    return by_victim.repeat(1, draws, *[1] * (noise.dim() - 1)).flatten(0, 1)


def _scatter(final: State, state: State, index: Tensor) -> State:
    """Write the victims of `state` back into the full state."""

    def put(whole: Tensor, part: Tensor) -> Tensor:
        return whole.index_copy(0, index, part)

    progress = schedules.Progress(*map(put, final.progress, state.progress))
    best = {name: put(final.best[name], part) for name, part in state.best.items()}
    return final._replace(progress=progress, best=best)


def _result(
    observation: Observation, state: State, labels: Tensor, trace: Tensor, noise: tuple[Tensor, ...] | None
) -> Reconstruction:
    images = denormalize(state.best["image"], observation.mean, observation.std).clamp(0, 1)
    labels = state.best["label"].argmax(-1) if "label" in state.best else labels
    trace_steps = torch.arange(1, len(trace) + 1, device=trace.device)
    ran = trace_steps[:, None] <= state.progress.steps[None, :]
    return Reconstruction(
        images=images if observation.batched else images.squeeze(1),
        labels=labels if observation.batched else labels.squeeze(1),
        loss=state.progress.best,
        steps=state.progress.steps.long(),
        trace=torch.where(ran, trace, torch.nan),
        trace_steps=trace_steps,
        noise=noise,
    )


def _lower(a: Reconstruction, b: Reconstruction) -> Reconstruction:
    """Of two trials, keep for each victim the one with the lower loss."""
    better = b.loss < a.loss

    def pick(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(better.view(-1, *[1] * (x.dim() - 1)), y, x)

    def pick_rows(x: Tensor, y: Tensor) -> Tensor:
        by_victim = (t.reshape(len(better), -1, *t.shape[1:]) for t in (x, y))
        return pick(*by_victim).flatten(0, 1)

    steps = max(len(a.trace), len(b.trace))

    def pad(trace: Tensor) -> Tensor:
        return torch.nn.functional.pad(trace, (0, 0, 0, steps - len(trace)), value=torch.nan)

    return Reconstruction(
        images=pick(a.images, b.images),
        labels=pick(a.labels, b.labels),
        loss=pick(a.loss, b.loss),
        steps=pick(a.steps, b.steps),
        trace=torch.where(better, pad(b.trace), pad(a.trace)),
        trace_steps=max(a.trace_steps, b.trace_steps, key=len),
        noise=None if a.noise is None or b.noise is None else tuple(map(pick_rows, a.noise, b.noise)),
    )


def _bar(total: int, name: str):
    return require("tqdm.auto", "book").tqdm(total=total, desc=name, unit="step")
