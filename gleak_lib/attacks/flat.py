"""The flat form in which attacks are stored, one field for each setting under the name that it first had.

A result's key is a hash of this form, so that neither a name nor a default in it ever changes. Attacks with a
part that it has no place for are stored part by part instead.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.closed_form import LinearInversion
from gleak_lib.attacks.inversion import Inversion
from gleak_lib.attacks.labels import Inferred, Known, Optimized
from gleak_lib.attacks.lbfgs import LBFGS
from gleak_lib.attacks.noise import Fixed, Given, Optimize, Resample
from gleak_lib.attacks.optimizer import Adam
from gleak_lib.attacks.part import among
from gleak_lib.attacks.patch_embedding import PatchEmbedding
from gleak_lib.attacks.priors import LabelDistance
from gleak_lib.attacks.rank_one import RankOne

STORED = {
    "noise_samples": "draws",
    "label_form": "label_term",
    "clip": "box",
    "signed": "sign",
    "memory": "history",
    "drop_after": "plateau",
    "drop_threshold": "threshold",
    "stop_after": "patience",
    "stop_below": "tolerance",
    "restarts": "trials",
}
"""Settings whose stored names are others."""
PARTS: dict[str, dict[str, Any]] = {
    "labels": {"known": Known(), "infer": Inferred(), "optimize": Optimized()},
    "optimizer": {"adam": Adam, "lbfgs": LBFGS},
    "line_search": {"none": None},
    "noise": {
        "resample": Resample,
        "resample-evaluation": Resample,
        "fixed": Fixed,
        "given": Given,
        "optimize": Optimize,
    },
}
CLOSED_FORMS: dict[str, Any] = {
    **dict.fromkeys(("bias", "shift"), LinearInversion),
    "direction": RankOne,
    "position": PatchEmbedding,
}


@dataclass(frozen=True)
class FlatAttack:
    """An attack as it is stored; settings that it does not use have their defaults."""

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
    line_search: Literal["none"] = "none"
    layers: str | tuple[str, ...] = "all"
    exclude: tuple[str, ...] = ()
    estimate: Literal["none", "sparsity", "clipping", "clipping-whole"] = "none"
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

    def made(self) -> Inversion:
        """Return the attack.

        Raises:
            GleakError: If it has a value that this version refuses.
        """
        if self.optimizer == "closed-form":
            made = CLOSED_FORMS[self.route]()
            return made.replace(**{n: getattr(self, STORED.get(str(n), str(n))) for n in made.settings})
        for part, kinds in PARTS.items():
            among(kinds, **{part: getattr(self, part)})
        made = Attack(
            priors=(LabelDistance(1.0),),  # to give its settings a place
            labels=PARTS["labels"][self.labels],
            optimizer=PARTS["optimizer"][self.optimizer](),
            noise=PARTS["noise"][self.noise](),
        )
        given = {name: getattr(self, STORED.get(name, name), None) for name in made.settings}
        if self.noise.startswith("resample"):
            given["noise_each_evaluation"] = self.noise == "resample-evaluation"
        return made.replace(**given)


def flat(attack: Inversion) -> FlatAttack | None:
    """Return an attack's flat form; None where it has a part that this has no place for."""
    known = {field.name for field in dataclasses.fields(FlatAttack)}
    found: dict[str, Any] = {"tv": 0.0}
    if isinstance(attack, Attack):
        settings = {"sign": False, **attack.settings}
        found["labels"] = next((k for k, v in PARTS["labels"].items() if v == attack.labels), "")
        found |= {"optimizer": attack.kind, "noise": type(attack.noise).__name__.lower()}
        if settings.get("noise_each_evaluation"):
            found["noise"] = "resample-evaluation"
    else:
        settings = attack.settings
        route = next((k for k, cls in CLOSED_FORMS.items() if cls is type(attack)), "")
        found |= {"optimizer": "closed-form", "route": route}
    found |= {STORED.get(n, n): value for n, value in settings.items() if STORED.get(n, n) in known}
    try:
        made = FlatAttack(**found)
        return made if made.made() == attack else None
    except Exception:  # a value where the flat form has a text
        return None
