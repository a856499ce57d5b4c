"""The description of an attack: frozen, comparable, storable; `replace` makes a variant."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from gleak_lib.attacks.distances import DISTANCES
from gleak_lib.errors import ParameterError, nearest, unknown
from gleak_lib.typed import typed


@typed
@dataclass(frozen=True)
class Attack:
    """Everything that tells one gradient-inversion attack from another (001 Eq. 1).

    The defaults are those of Inverting Gradients as 001 §V-B runs it.

    Attributes:
        name: what tables call it.
        distance: a key of `DISTANCES`.
        tv: weight of the total variation prior, lambda in 001 Eq. 1, on normalised images.
        optimizer: `adam`, `lbfgs`, or `closed-form`: no steps at all, see `attacks.closed_form`.
        lr: initial learning rate, in normalised pixel units.
        sign: step along the sign of the whole gradient, prior included (Adam only).
        box: clip the dummy to the valid pixel range after each step.
        init: dummies from N(0, 1) in normalised units (`normal`) or uniform over the pixel range.
        plateau: steps without progress after which the learning rate falls; 0 keeps it constant.
        lr_decay: factor by which it falls.
        threshold: relative decrease of the loss that counts as progress for `plateau`.
        milestones: shares of `max_steps` at which the learning rate falls, too.
        max_steps: most steps; one of L-BFGS has up to `inner_steps` iterations.
        patience: steps without a lower loss after which a victim stops; 0 never stops.
        tolerance: loss below which a victim stops.
        inner_steps, history: iterations in one step of L-BFGS and the pairs that it remembers, torch's
            `max_iter` and `history_size`.
        line_search: L-BFGS's steps of fixed length `lr` (`none`) or `strong-wolfe`.
        layers: parameter groups whose gradients are matched: `all`, `before-decoder` (001 Eq. 4), or
            group names as `parameter_groups(model)` gives them.
        exclude: group names taken out of `layers`; `last` is the layer that the observation's defence
            targets, as far as it targets one, else the model's last group, its classifier.
        estimate: what of the defence is estimated from the observed gradients and applied to the dummies',
            too (003): nothing (`none`), a mask of the observed zeros (`sparsity`: compression, Soteria), or
            a clipping bound for each parameter tensor, the norm observed (`clipping`).
        labels: those that the server knows, else read off the gradients (`known`); read off in any case
            (`infer`); or soft labels optimised with the images (`optimize`, Zhu et al. 2019).
        label_term: what `label_weight` multiplies: the squared distance between the dummies' logits and
            their one-hot labels (`one-hot`, 000 Eq. 1), or, as the CVB paper's code has it, the distance
            itself, not squared, between the logits and the class *index*, broadcast over them
            (`paper-code`, a bug). Either is computed image by image and averaged over a victim's batch; that
            code attacks single images only.
        label_weight: alpha in 000 Eq. 1; 0 leaves the term out. It belongs to one form: what a weight does
            changes with what it multiplies.
        noise: what the dummy's bottlenecks use: `resample` each step (all evaluations in a step of L-BFGS
            share the draw) or at each evaluation of the loss, as the CVB paper's code does for iDLG and CPL
            (`resample-evaluation`; the same with Adam, which makes one evaluation a step), one
            `fixed` draw, the true noise where the observation grants it (`given`), or a further unknown
            that is optimised with the image (`optimize`; of several `draws`, each is an unknown).
        noise_lr: initial learning rate of that unknown; it falls as `lr` does. L-BFGS has one for all.
        noise_prior: what `noise_weight` multiplies: | |eps|^2 / d - 1 | for a map of d entries (`norm`), or
            the negative log density |eps|^2 / 2d (`map`).
        noise_weight: gamma, the weight of the noise's prior.
        noise_form: the unknown itself: the noise `eps`, or the sample `z` = mu + sigma eps.
        draws: noise draws over which each step's dummy gradient is averaged; with `optimize`, as many as
            the client averaged over (`defenses.average_noise`).
        weighting: how much each parameter tensor counts in the distance: all entries alike (`none`), or
            divided by the variance that the noise gives them (`variance`, see `attacks.weighting`).
        statistics: what normalises the dummies where the clients' BatchNorm was in training mode: the
            dummies' `own` batch, as it was for the clients, or the model's `running` averages, as if it
            had been in evaluation mode.
        statistics_weight: weight of the distance between the dummies' batch statistics and the clients'
            (Yin et al. 2021, Eq. 5), where the observation grants them.
        rows: the closed form's rows of the weight gradient: `all` by least squares, the one with the
            `largest` bias gradient (001 Eq. 5), or, for batches, the quotients that are `repeated`.
        route: what the closed form divides by: the gradient of the layer's `bias` (001 Eq. 5), or that of
            the `shift` of a BatchNorm behind it; `direction` does without either. `position` reads patches
            off a patch embedding with the gradient of the position embedding that is added to it.
        trials: restarts from other dummies; the lowest loss wins.
        keep: the returned iterate: the one whose loss was lowest (`evaluated`), or, as in the CVB paper's
            code, the one a step further (`next`).
    """

    name: str = "ig"
    distance: str = "cosine"
    tv: float = 0.01
    optimizer: Literal["adam", "lbfgs", "closed-form"] = "adam"
    lr: float = 1.0
    sign: bool = True
    box: bool = True
    init: Literal["normal", "uniform"] = "normal"
    plateau: int = 400
    lr_decay: float = 0.1
    threshold: float = 1e-4
    milestones: tuple[float, ...] = ()
    max_steps: int = 20_000
    patience: int = 4_000
    tolerance: float = 1e-5
    inner_steps: int = 20
    history: int = 100
    line_search: Literal["none", "strong-wolfe"] = "none"
    layers: str | tuple[str, ...] = "all"
    exclude: tuple[str, ...] = ()
    estimate: Literal["none", "sparsity", "clipping"] = "none"
    labels: Literal["known", "infer", "optimize"] = "known"
    label_term: Literal["one-hot", "paper-code"] = "one-hot"
    label_weight: float = 0.0
    noise: Literal["resample", "resample-evaluation", "fixed", "given", "optimize"] = "resample"
    noise_lr: float = 0.05
    noise_prior: Literal["norm", "map"] = "norm"
    noise_weight: float = 1e-4
    noise_form: Literal["eps", "z"] = "eps"
    draws: int = 1
    weighting: Literal["none", "variance"] = "none"
    statistics: Literal["own", "running"] = "own"
    statistics_weight: float = 0.0
    rows: Literal["all", "largest", "repeated"] = "all"
    route: Literal["bias", "shift", "direction", "position"] = "bias"
    trials: int = 1
    keep: Literal["evaluated", "next"] = "evaluated"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise unknown("distance", self.distance, DISTANCES)
        for field, options in _CHOICES.items():
            if getattr(self, field) not in options:
                raise unknown(f"value of {field}", getattr(self, field), options)
        for field in ("max_steps", "inner_steps", "history", "draws", "trials"):
            if getattr(self, field) < 1:
                raise ParameterError(f"{field} must be at least 1, got {getattr(self, field)}.")
        for field in _NOT_NEGATIVE:
            if not getattr(self, field) >= 0:
                raise ParameterError(f"{field} must not be negative, got {getattr(self, field)}.")
        for field in ("lr", "noise_lr"):
            if not getattr(self, field) > 0:
                raise ParameterError(f"{field} must be positive, got {getattr(self, field)}.")
        for field in (*_NOT_NEGATIVE, "lr", "noise_lr"):
            if getattr(self, field) == math.inf:
                raise ParameterError(f"{field} must be finite, got inf.")
        if not 0 < self.lr_decay <= 1:
            raise ParameterError(f"lr_decay must be in (0, 1], got {self.lr_decay}.")
        if isinstance(self.layers, str) and self.layers not in ("all", "before-decoder"):
            raise unknown("value of layers", self.layers, ("all", "before-decoder"))
        if self.sign and self.optimizer == "lbfgs":
            raise ParameterError("L-BFGS needs the gradient itself: set sign=False.")
        if self.noise == "resample-evaluation" and self.line_search != "none":
            raise ParameterError(
                "A line search compares losses that noise='resample-evaluation' draws anew: set "
                "line_search='none' or noise='resample'."
            )
        if not all(0 < share < 1 for share in self.milestones):
            raise ParameterError(f"milestones are shares of max_steps in (0, 1), got {self.milestones}.")
        for field in ("layers", "exclude", "milestones"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))

    @property
    def noise_draws(self) -> int:
        """Draws of the bottlenecks' noise in one step, each over `draws` copies of the batch."""
        each = self.noise == "resample-evaluation" and self.optimizer == "lbfgs"
        return self.inner_steps if each else 1

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


_NOT_NEGATIVE = (
    "tv",
    "plateau",
    "patience",
    "tolerance",
    "threshold",
    "label_weight",
    "noise_weight",
    "statistics_weight",
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adam", "lbfgs", "closed-form"),
    "init": ("normal", "uniform"),
    "line_search": ("none", "strong-wolfe"),
    "estimate": ("none", "sparsity", "clipping"),
    "labels": ("known", "infer", "optimize"),
    "label_term": ("one-hot", "paper-code"),
    "noise": ("resample", "resample-evaluation", "fixed", "given", "optimize"),
    "noise_prior": ("norm", "map"),
    "noise_form": ("eps", "z"),
    "weighting": ("none", "variance"),
    "statistics": ("own", "running"),
    "rows": ("all", "largest", "repeated"),
    "route": ("bias", "shift", "direction", "position"),
    "keep": ("evaluated", "next"),
}
