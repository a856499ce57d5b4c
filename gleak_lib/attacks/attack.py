"""The description of an attack: frozen, comparable, storable; `replace` makes a variant."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.errors import ParameterError, nearest, unknown


@dataclass(frozen=True)
class Attack:
    """Everything that tells one gradient-inversion attack from another (001 Eq. 1).

    The defaults are those of Inverting Gradients as 001 §V-B runs it.

    Attributes:
        name: what tables call it.
        distance: a key of `DISTANCES`.
        tv: weight of the total variation prior, lambda in 001 Eq. 1, on normalised images.
        optimizer: `adam`.
        lr: initial learning rate, in normalised pixel units.
        sign: step along the sign of the whole gradient, prior included.
        box: clip the dummy to the valid pixel range after each step.
        init: dummies from N(0, 1) in normalised units (`normal`) or uniform over the pixel range.
        plateau: steps without progress after which the learning rate falls; 0 keeps it constant.
        lr_decay: factor by which it falls.
        threshold: relative decrease of the loss that counts as progress for `plateau`.
        max_steps: most steps.
        patience: steps without a lower loss after which a victim stops; 0 never stops.
        tolerance: loss below which a victim stops.
        layers: parameter groups whose gradients are matched: `all`, `before-decoder` (001 Eq. 4), or
            group names as `parameter_groups(model)` gives them.
        exclude: group names taken out of `layers`.
        noise: what the dummy's bottlenecks use: `resample` each step, one `fixed` draw, or the true noise
            where the observation grants it (`given`).
        draws: noise draws over which each step's dummy gradient is averaged.
        trials: restarts from other dummies; the lowest loss wins.
        keep: the returned iterate: the one whose loss was lowest (`evaluated`), or, as in the CVB paper's
            code, the one a step further (`next`).
    """

    name: str = "ig"
    distance: str = "cosine"
    tv: float = 0.01
    optimizer: Literal["adam"] = "adam"
    lr: float = 1.0
    sign: bool = True
    box: bool = True
    init: Literal["normal", "uniform"] = "normal"
    plateau: int = 400
    lr_decay: float = 0.1
    threshold: float = 1e-4
    max_steps: int = 20_000
    patience: int = 4_000
    tolerance: float = 1e-5
    layers: str | tuple[str, ...] = "all"
    exclude: tuple[str, ...] = ()
    noise: Literal["resample", "fixed", "given"] = "resample"
    draws: int = 1
    trials: int = 1
    keep: Literal["evaluated", "next"] = "evaluated"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise unknown("distance", self.distance, DISTANCES)
        for field, options in _CHOICES.items():
            if getattr(self, field) not in options:
                raise unknown(f"value of {field}", getattr(self, field), options)
        for field in ("max_steps", "draws", "trials"):
            if getattr(self, field) < 1:
                raise ParameterError(f"{field} must be at least 1, got {getattr(self, field)}.")
        for field in ("tv", "plateau", "patience", "tolerance", "threshold"):
            if not getattr(self, field) >= 0:
                raise ParameterError(f"{field} must not be negative, got {getattr(self, field)}.")
        if not self.lr > 0:
            raise ParameterError(f"lr must be positive, got {self.lr}.")
        if not 0 < self.lr_decay <= 1:
            raise ParameterError(f"lr_decay must be in (0, 1], got {self.lr_decay}.")
        if isinstance(self.layers, str) and self.layers not in ("all", "before-decoder"):
            raise unknown("value of layers", self.layers, ("all", "before-decoder"))
        for field in ("layers", "exclude"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))

    def replace(self, **changes: Any) -> "Attack":
        """Return a copy with other values, for example `ATTACKS["ig"].replace(tv=0.1, max_steps=500)`.

        Raises:
            ParameterError: a setting that attacks do not have (the message names the nearest).
        """
        fields = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in fields:
                hint = nearest(name, fields)
                raise ParameterError(
                    f"An attack has no setting {name!r}."
                    + (f" Did you mean {hint!r}?" if hint else "")
                    + f" It has: {', '.join(fields)}."
                )
        return dataclasses.replace(self, **changes)


_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adam",),
    "init": ("normal", "uniform"),
    "noise": ("resample", "fixed", "given"),
    "keep": ("evaluated", "next"),
}


def select(
    layers: str | tuple[str, ...], exclude: tuple[str, ...], groups: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the parameter names that a layer mask keeps, in the model's order.

    Args:
        layers, exclude: as in `Attack`.
        groups: parameter names by group, from `parameter_groups`.

    Raises:
        UnknownNameError: a group that the model lacks.
        ParameterError: nothing is left.
    """
    from gleak_lib.models.base import before_decoder

    if layers == "all":
        chosen = tuple(groups)
    elif layers == "before-decoder":
        chosen = before_decoder(tuple(groups))
    else:
        chosen = tuple(layers)
    for group in (*chosen, *exclude):
        if group not in groups:
            raise unknown("parameter group", group, groups)
    names = tuple(n for g, members in groups.items() if g in chosen and g not in exclude for n in members)
    if not names:
        raise ParameterError(f"The layer mask keeps no gradients: choose among {', '.join(groups)}.")
    return names
