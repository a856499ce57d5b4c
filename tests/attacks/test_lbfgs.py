"""The batched L-BFGS against torch's own, run one victim at a time."""

import pytest
import torch
from torch import nn

from gleak_lib.attacks import ATTACKS, LBFGS, Attack, Known, Optimized, Resample, invert, observe, step
from gleak_lib.attacks.objective import Objective, Problem
from gleak_lib.attacks.unknowns import flatten, take, unflatten
from gleak_lib.bottlenecks import PRECODE, insert


def settings(**changes):
    return ATTACKS["dlg"].replace(**changes)


def rosenbrock(scale):
    """Per-victim Rosenbrock functions of different steepness: scale V."""

    def of(x):
        rise = (x[:, 1:] - x[:, :-1].square()).square().sum(1)
        return scale * rise + (1 - x[:, :-1]).square().sum(1)

    return of


def batched(of, start, attack, steps, rates):
    """Trajectory T x V x D and losses T x V of the batched optimizer."""
    x = {"image": start.clone()}

    def evaluate(unknowns, live):
        point = unknowns["image"].detach().requires_grad_()
        loss = of(point)
        (grad,) = torch.autograd.grad(loss.sum(), point)
        # rows that are not live must not matter
        wrong = torch.full_like(loss, torch.nan)
        return torch.where(live, loss.detach(), wrong), {"image": torch.where(live[:, None], grad, torch.nan)}

    memory, path, losses = attack.optimizer.init(x, attack.schedule.max_steps), [], []
    for t in range(steps):
        x, memory, loss = attack.optimizer.step(
            x, evaluate, memory, {"image": rates[t]}, torch.tensor(t + 1.0)
        )
        path.append(x["image"])
        losses.append(loss)
    return torch.stack(path), torch.stack(losses)


def looped(of, start, attack, steps, rates):
    """The same with torch.optim.LBFGS, one victim at a time; `of` is given one row and its index."""
    path, losses = [], []
    for v in range(len(start)):
        x = start[v].clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [x],
            lr=1.0,
            max_iter=attack.optimizer.inner_steps,
            history_size=attack.optimizer.memory,
        )

        def closure(x=x, v=v):
            x.grad = None
            loss = of(x, v)
            loss.backward()
            return loss

        points, values = [], []
        for t in range(steps):
            optimizer.param_groups[0]["lr"] = rates[t][v].item()
            values.append(optimizer.step(closure).detach())
            points.append(x.detach().clone())
        path.append(torch.stack(points))
        losses.append(torch.stack(values))
    return torch.stack(path, 1), torch.stack(losses, 1)


@pytest.mark.parametrize(
    ("history", "inner", "lr", "steps"),
    [(100, 20, 0.3, 8), (3, 20, 0.1, 5), (7, 5, 1e-2, 30), (4, 1, 1.0, 20)],
)
def test_rosenbrock_functions_as_torch_minimises_them(history, inner, lr, steps):
    scale = torch.tensor([1.0, 5.0, 20.0, 0.01], dtype=torch.double)
    start = torch.randn(4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    start[3] = 1.0  # the minimum: this victim never moves
    attack = settings(memory=history, inner_steps=inner)
    rates = [torch.full((4,), lr if t < steps / 2 else lr / 2, dtype=torch.double) for t in range(steps)]
    of = rosenbrock(scale)

    def one(x, v):
        return rosenbrock(scale[v : v + 1])(x[None])[0]

    path, losses = batched(of, start, attack, steps, rates)
    expected_path, expected_losses = looped(one, start, attack, steps, rates)
    torch.testing.assert_close(path, expected_path, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(losses, expected_losses, atol=1e-8, rtol=1e-8)
    assert torch.equal(path[-1, 3], start[3])


def test_victims_end_their_iterations_on_their_own():
    """Quadratics of one variable end at once, the others go on; so do histories and curvature tests."""
    weights = torch.tensor([[1.0, 1.0], [1.0, 900.0], [-1.0, 2.0]], dtype=torch.double)
    start = torch.tensor([[2.0, 2.0], [1.0, 1.0], [0.1, 1.0]], dtype=torch.double)
    attack = settings(inner_steps=20)
    rates = [torch.ones(3, dtype=torch.double)] * 3
    path, _ = batched(lambda x: (weights * x.square()).sum(1), start, attack, 3, rates)
    expected, _ = looped(lambda x, v: (weights[v] * x.square()).sum(), start, attack, 3, rates)
    torch.testing.assert_close(path, expected, atol=1e-8, rtol=1e-8)


def observation(victims=3, dtype=torch.double, **options):
    g = torch.Generator().manual_seed(0)
    # smooth: on an objective with kinks (ReLU) the trajectories are chaotic, and torch against torch started
    # 1e-15 away differs by 1e-6 after 20 iterations
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 5, stride=3), nn.Sigmoid(), nn.Conv2d(6, 8, 3), nn.Sigmoid())
    model = nn.Sequential(*model, nn.Flatten(), nn.Linear(8 * 49, 5)).to(dtype)
    images = torch.rand(victims, 1, 29, 29, generator=g).to(dtype)
    return observe(model, images, torch.arange(victims) % 5, generator=g, mean=0.5, std=0.25, **options)


@pytest.mark.parametrize("name", ["dlg", "idlg", "cpl"])
def test_attack_objectives_as_torch_minimises_them(name):
    seen = observation()
    attack = ATTACKS[name].replace(memory=15)
    names = tuple(seen.gradients)
    objective, problem = Objective(seen, attack, names), Problem.of(seen, seen.labels)
    g = torch.Generator().manual_seed(1)
    x = {"image": torch.randn(3, 1, 1, 29, 29, dtype=torch.double, generator=g)}
    if attack.labels == Optimized():
        x["label"] = torch.randn(3, 1, 5, dtype=torch.double, generator=g)

    def of(flat, rows=slice(None)):
        return objective.loss(unflatten(flat, take(x, rows)), take(problem, rows), ())

    steps, rates = 2, [torch.full((3,), 0.2, dtype=torch.double)] * 2
    start = flatten(x)
    path, losses = batched(of, start, attack, steps, rates)
    expected, expected_losses = looped(
        lambda flat, v: of(flat[None], torch.tensor([v]))[0], start, attack, steps, rates
    )
    assert (path[-1] - start).abs().amax(1).min() > 1e-3, "nothing moved: the case is empty"
    torch.testing.assert_close(path, expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(losses, expected_losses, atol=1e-8, rtol=1e-8)


def plain_idlg(seen, attack, dummy, v):
    """What the CVB paper's code does: torch's L-BFGS, plateau scheduler, clip, keep the best."""
    x = dummy.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], lr=attack.optimizer.lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=attack.schedule.lr_decay,
        patience=attack.schedule.drop_after,
        threshold=attack.schedule.drop_threshold,
        eps=0,
    )
    best, kept, losses = float("inf"), None, []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(seen.model(x), seen.labels[v])
        grads = torch.autograd.grad(loss, list(seen.model.parameters()), create_graph=True)
        distance = sum(
            (g - seen.gradients[n][v]).square().sum()
            for (n, _), g in zip(seen.model.named_parameters(), grads, strict=True)
        )
        (x.grad,) = torch.autograd.grad(distance, x)
        return distance

    for _ in range(attack.schedule.max_steps):
        before = x.detach().clone()
        losses.append(optimizer.step(closure).item())
        if losses[-1] < best:
            best, kept = losses[-1], before
        with torch.no_grad():
            x.clamp_(-2, 2)
        scheduler.step(losses[-1])
    return kept, losses


def test_the_engine_runs_idlg_as_a_plain_loop_does():
    seen = observation(victims=2)
    attack = ATTACKS["idlg"].replace(max_steps=6, drop_after=2, lr=0.2)
    found = invert(seen, attack, generator=torch.Generator().manual_seed(1))
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(1)))
    dummies = torch.randn(
        (2, 1, 1, 29, 29), dtype=torch.double, generator=torch.Generator().manual_seed(seed)
    )
    for v in range(2):
        kept, losses = plain_idlg(seen, attack, dummies[v], v)
        torch.testing.assert_close(
            found.trace[:, v], torch.tensor(losses, dtype=torch.double), atol=1e-8, rtol=1e-8
        )
        expected = (kept * 0.25 + 0.5).clamp(0, 1)
        torch.testing.assert_close(found.images[v : v + 1], expected, atol=1e-7, rtol=0)


def observation_behind_a_bottleneck(victims=2):
    seen = observation(victims)
    model = insert(seen.model.float(), "3", PRECODE(k=4), input_shape=(1, 29, 29), seed=0).double()
    g = torch.Generator().manual_seed(0)
    images = torch.rand(victims, 1, 29, 29, generator=g).double()
    return observe(model, images, torch.arange(victims), generator=g, mean=0.5, std=0.25)


@pytest.mark.parametrize("chunk", [1, 256])
def test_new_noise_at_each_evaluation_as_in_torchs_closure(chunk, monkeypatch):
    """The CVB paper's code: the closure runs the model, and its bottleneck draws anew each time."""
    monkeypatch.setattr(step, "CHUNK", chunk)
    seen = observation_behind_a_bottleneck()
    weights = dict(seen.model.named_parameters())
    attack = ATTACKS["idlg"].replace(
        noise=Resample(each_evaluation=True), max_steps=6, inner_steps=7, drop_after=0, lr=0.2, clip=False
    )
    found = invert(seen, attack, generator=torch.Generator().manual_seed(1))
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(1)))
    stream = torch.Generator().manual_seed(seed)
    dummies = torch.randn((2, 1, 1, 29, 29), dtype=torch.double, generator=stream)
    draws = [
        torch.randn(2, 7, 1, 4, dtype=torch.double, generator=stream) for _ in range(6)
    ]  # V x evaluations
    for v in range(2):
        x = dummies[v].clone().requires_grad_()
        optimizer = torch.optim.LBFGS([x], lr=attack.optimizer.lr, max_iter=7)
        losses = []
        for t in range(6):
            left = list(draws[t][v])

            def closure(x=x, v=v, left=left, optimizer=optimizer):
                optimizer.zero_grad()
                run = seen.model.run(x, [left.pop(0)])
                loss = nn.functional.cross_entropy(run.logits, seen.labels[v]) + run.kl.mean()
                grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
                pairs = zip(weights, grads, strict=True)
                distance = sum((g - seen.gradients[n][v]).square().sum() for n, g in pairs)
                (x.grad,) = torch.autograd.grad(distance, x)
                return distance

            losses.append(optimizer.step(closure).item())
        torch.testing.assert_close(
            found.trace[:, v], torch.tensor(losses, dtype=torch.double), atol=1e-8, rtol=1e-8
        )


def test_a_victim_that_diverges_does_not_disturb_the_others():
    seen = observation()
    attack = settings(max_steps=4, labels=Known())
    alone = invert(seen, attack, generator=torch.Generator().manual_seed(1))
    gradients = {n: g.clone() for n, g in seen.gradients.items()}
    for g in gradients.values():
        g[1] *= 1e200  # its squared distance overflows
    spoiled = type(seen)(**{**vars(seen), "gradients": gradients})
    with pytest.warns(UserWarning, match="never finite for victim 1 of 3"):
        found = invert(spoiled, attack, generator=torch.Generator().manual_seed(1))
    assert found.failed.tolist() == [False, True, False]
    assert found.steps[1] == 0
    assert found.images[1].isnan().all()
    for v in (0, 2):
        torch.testing.assert_close(found.images[v], alone.images[v], atol=1e-8, rtol=0)


def test_lbfgs_knows_no_sign():
    from gleak_lib.errors import ParameterError

    with pytest.raises(ParameterError, match="no setting 'signed'"):
        Attack(optimizer=LBFGS()).replace(signed=True)
