"""The engine: one loop that runs any iterative attack for all victims at once."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from gleak_lib.attacks import noise as noises
from gleak_lib.attacks import unknowns
from gleak_lib.attacks.inversion import Callback
from gleak_lib.attacks.objective import Problem
from gleak_lib.attacks.parts import Parts
from gleak_lib.attacks.precision import Precision, arithmetic
from gleak_lib.attacks.priors import Term
from gleak_lib.attacks.schedule import Progress
from gleak_lib.attacks.step import State, Step
from gleak_lib.extras import require
from gleak_lib.pixels import denormalize
from gleak_lib.types import Observation, Reconstruction

CHECK_EVERY = 25  # steps of Adam between looks at which victims are left: the only place where the host waits
ROOM = 100_000  # steps that the trace has room for at first: who allows more may stop long before


def run(
    observations: Sequence[Observation],
    attack: Parts,
    *,
    generators: Sequence[torch.Generator | None],
    progress: bool = False,
    compile: bool = False,
    precision: Precision = "float32",
    callback: Callback | None = None,
) -> Reconstruction:
    """Run an attack with all of its restarts; see `invert`.

    Several observations, of models that differ in their weights, are attacked side by side; their victims
    stand one behind the other in what is found.
    """
    names = attack.match.names(observations[0])
    labels = [attack.labels.before(one) for one in observations]
    for term in attack.priors:
        if isinstance(term, Term):
            for one in observations:
                term.check(one, attack.match)
    whole, models = merge(observations), [one.model for one in observations]
    best: Reconstruction | None = None
    for _ in range(attack.restarts):
        with arithmetic(precision):
            step = Step(whole, attack, names, compile=compile, precision=precision, models=models)
            streams = [on_device(generator, whole.like.device) for generator in generators]
            parts = list(zip(observations, labels, streams, strict=True))
            found = _once(whole, parts, attack, step, progress, callback)
        best = found if best is None else _lower(best, found)
    assert best is not None
    return best


def merge(observations: Sequence[Observation]) -> Observation:
    """Return one observation with the victims of several; all else in it is the first's."""
    first, *others = observations
    if not others:
        return first
    gradients = {name: torch.cat([one.gradients[name] for one in observations]) for name in first.gradients}
    return dataclasses.replace(first, gradients=gradients)


def _once(
    observation: Observation,
    parts: Sequence[tuple[Observation, Tensor, torch.Generator]],
    attack: Parts,
    step: Step,
    show: bool,
    callback: Callback | None,
) -> Reconstruction:
    victims, device = observation.victims, observation.like.device
    max_steps = attack.schedule.max_steps
    start = unknowns.join(
        [attack.variables.start(o, stream) | attack.labels.start(o, stream) for o, _, stream in parts]
    )
    problem = unknowns.join(
        [Problem.of(o, of.to(device, torch.long), step.objective.names, attack.match) for o, of, _ in parts]
    ).prepared(attack.match)
    labels = torch.cat([of for _, of, _ in parts]).to(device, torch.long)
    draw_noise = noises.drawing(observation, attack.noise.samples * step.draws, parts[0][-1])
    state = step.start(step.objective.with_noise(start, labels, draw_noise))
    noise = attack.noise.source(observation, draw_noise)

    index = torch.arange(victims, device=device)  # the victims still in the batch
    final = state
    bar = None
    if show:
        bar = require("tqdm.auto", "book").tqdm(total=max_steps, desc=attack.name, unit="step")
    # one tensor from the start: small ones that stay, among large ones that go, make the heap grow
    trace = torch.empty(min(max_steps, ROOM), victims, dtype=state.progress.lr.dtype, device=device)
    every = 1 if step.waits else CHECK_EVERY
    done = 0
    while done < max_steps and len(index):
        losses = []
        for t in range(done + 1, min(done + every, max_steps) + 1):
            draw = noise()
            draw = draw if len(index) == victims else unknowns.take_noise(draw, index, victims)
            if callback is not None:
                first = unknowns.draw_of(draw, 0, step.draws, len(index))
                used = step.objective.noise(state.unknowns, problem.labels, first)
                own = {name: u.detach().clone() for name, u in state.unknowns.items()}
                callback(t, index.clone(), own, tuple(n.detach().clone() for n in used))
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
        if not left or left < step.capacity(len(index)) or done == max_steps:
            final = _scatter(final, state, index)
            index = index[active]
            state, problem = unknowns.take(state, active), unknowns.take(problem, active)
    if bar is not None:
        bar.close()
    return _result(observation, attack, step, final, labels, trace[:done])


def on_device(generator: torch.Generator | None, device: torch.device) -> torch.Generator:
    """A generator on `device`, seeded from `generator`, so that drawing noise never waits for the host."""
    source = None if generator is None else generator.device
    seed = torch.randint(2**62, (1,), generator=generator, device=source)
    return torch.Generator(device).manual_seed(int(seed))


def _scatter(final: State, state: State, index: Tensor) -> State:
    """Write the victims of `state` back into the full state."""
    both = zip(final.progress, state.progress, strict=True)
    progress = Progress(*(whole.index_copy(0, index, part) for whole, part in both))
    best = {name: final.best[name].index_copy(0, index, part) for name, part in state.best.items()}
    return final._replace(progress=progress, best=best)


def _result(
    observation: Observation, attack: Parts, step: Step, state: State, labels: Tensor, trace: Tensor
) -> Reconstruction:
    with torch.no_grad():
        labels = attack.labels.found(state.best, labels)
        x = step.objective.images(state.best, labels)
        noise = step.objective.noise(state.best, labels, ()) or None
    images = denormalize(x, observation.mean, observation.std).clamp(0, 1)
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
    """Of two restarts, keep for each victim the one with the lower loss."""
    better = b.loss < a.loss

    def pick(x: Tensor, y: Tensor) -> Tensor:  # V * k rows
        both = (t.reshape(len(better), -1) for t in (x, y))
        return torch.where(better[:, None], *reversed(tuple(both))).reshape(x.shape)

    def padded(trace: Tensor) -> Tensor:
        missing = max(len(a.trace), len(b.trace)) - len(trace)
        return torch.nn.functional.pad(trace, (0, 0, 0, missing), value=torch.nan)

    fields = ("images", "labels", "loss", "steps")
    return Reconstruction(
        **{name: pick(getattr(a, name), getattr(b, name)) for name in fields},
        trace=torch.where(better, padded(b.trace), padded(a.trace)),
        trace_steps=max(a.trace_steps, b.trace_steps, key=len),
        noise=None if a.noise is None or b.noise is None else tuple(map(pick, a.noise, b.noise)),
    )
