"""Strong-Wolfe line searches of all victims at once, each in its own phase.

Victim by victim the search of `torch.optim.LBFGS(line_search_fn="strong_wolfe")`: bracket, then zoom with
cubic interpolation (Nocedal & Wright, Alg. 3.5 and 3.6).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

C1, C2, MIN_WIDTH = 1e-4, 0.9, 1e-9  # torch's

Value = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Point(NamedTuple):
    """A point on each victim's line: step length V, loss V, gradient V x D, slope V."""

    t: Tensor
    loss: Tensor
    gradient: Tensor
    slope: Tensor


def search(
    value: Value, x: Tensor, direction: Tensor, start: Point, live: Tensor, most: Tensor
) -> tuple[Point, Tensor]:
    """Return each live victim's accepted point and the evaluations that it took (V).

    Args:
        value: (points V x D, live) -> loss V and gradient V x D.
        x: V x D, where the lines begin.
        direction: V x D.
        start: loss, gradient and slope at x; its `t` is the first trial length.
        live: V bools; the others keep what they have.
        most: V, evaluations that may follow the first.
    """

    def at(t: Tensor, rows: Tensor) -> Point:
        loss, gradient = value(torch.addcmul(x, t[:, None], direction), rows)
        return Point(t, loss, gradient, (gradient * direction).sum(1))

    origin = start._replace(t=torch.zeros_like(start.t))
    reach = direction.abs().amax(1)
    new, before = at(start.t, live), origin
    used = live.long()
    count = torch.zeros_like(used)
    searching, zooming, accepted = live & (count < most), live & False, live & False
    low, high = origin, new  # those who run out of evaluations while bracketing keep these two

    while searching.any():  # bracket: lengthen the step until a minimum lies behind it
        high_up = (new.loss > start.loss + C1 * new.t * start.slope) | (
            (count > 1) & (new.loss >= before.loss)
        )
        flat = ~high_up & (new.slope.abs() <= -C2 * start.slope)
        uphill = ~high_up & ~flat & (new.slope >= 0)
        accepted = accepted | (searching & flat)
        found = searching & (high_up | uphill)
        zooming = zooming | found
        low, high = _where(found, before, low), _where(found | (searching & flat), new, high)
        low = _where(searching & flat, new, low)
        searching = searching & ~(high_up | flat | uphill)
        if not searching.any():
            break
        bounds = new.t + 0.01 * (new.t - before.t), new.t * 10
        t = _cubic(before, new, bounds)
        before = _where(searching, new, before)
        new = _where(searching, at(torch.where(searching, t, new.t), searching), new)
        used, count = used + searching, count + searching
        ended = searching & (count >= most)
        low, high = _where(ended, origin, low), _where(ended, new, high)
        searching = searching & ~ended

    swap = ~accepted & (low.loss > high.loss)
    low, high = _where(swap, high, low), _where(swap, low, high)
    stalled = torch.zeros_like(zooming)
    zooming = zooming & (count < most)
    while True:  # zoom: low has the lower loss of the two ends
        zooming = zooming & ~((high.t - low.t).abs() * reach < MIN_WIDTH)
        if not zooming.any():
            break
        left, right = torch.minimum(low.t, high.t), torch.maximum(low.t, high.t)
        t = _cubic(low, high, (left, right))
        margin = 0.1 * (right - left)
        near = torch.minimum(right - t, t - left) < margin
        push = near & (stalled | (t >= right) | (t <= left))
        t = torch.where(
            push, torch.where((t - right).abs() < (t - left).abs(), right - margin, left + margin), t
        )
        stalled = near & ~push
        new = _where(zooming, at(torch.where(zooming, t, low.t), zooming), low)
        used, count = used + zooming, count + zooming
        worse = (new.loss > start.loss + C1 * new.t * start.slope) | (new.loss >= low.loss)
        flat = ~worse & (new.slope.abs() <= -C2 * start.slope)
        beyond = ~worse & ~flat & (new.slope * (high.t - low.t) >= 0)
        high = _where(zooming & beyond, low, high)
        high, low = _where(zooming & worse, new, high), _where(zooming & ~worse, new, low)
        swap = zooming & worse & (low.loss > high.loss)
        low, high = _where(swap, high, low), _where(swap, low, high)
        zooming = zooming & ~flat & (count < most)
    return _where(live, low, start), used


def _where(mask: Tensor, a: Point, b: Point) -> Point:
    wide = mask[:, None]
    return Point(*(torch.where(wide if x.dim() > 1 else mask, x, y) for x, y in zip(a, b, strict=True)))


def _cubic(a: Point, b: Point, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Minimum of the cubic through two points and slopes, within bounds; their middle if there is none."""
    low, high = bounds
    flip = a.t > b.t
    x1, f1, g1 = (torch.where(flip, q, p) for p, q in ((a.t, b.t), (a.loss, b.loss), (a.slope, b.slope)))
    x2, f2, g2 = (torch.where(flip, p, q) for p, q in ((a.t, b.t), (a.loss, b.loss), (a.slope, b.slope)))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1.square() - g1 * g2
    d2 = square.clamp_min(0).sqrt()
    t = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    return torch.where(square >= 0, torch.minimum(torch.maximum(t, low), high), (low + high) / 2)
