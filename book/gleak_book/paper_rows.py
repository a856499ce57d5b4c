"""Rows of 001 Tables VIII to XII, and what each stands for: bottlenecks, defense, attack."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from gleak_lib.attacks import ATTACKS, Attack, Resample
from gleak_lib.bottlenecks import CVB, PRECODE, Bottleneck
from gleak_lib.client_setup import ClientSetup
from gleak_lib.defenses import DP, NO_DEFENSE, Compression, Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.extras import require

from gleak_book import paper

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ("VIII", "IX", "X", "XI", "XII")
NAMES = {"none": "none", "dp": "DP", "gc": "GC", "precode": "PRECODE", "cvb": "CVB"}
SETTINGS = {
    "none": (),
    "dp": ("C", "sigma"),
    "gc": ("p",),
    "precode": ("P", "K"),
    "cvb": ("P", "k", "s", "beta"),
}
SYMBOLS = {"sigma": "σ", "beta": "β"}
MODELS = {"cnn": "CNN", "resnet18": "ResNet-18", "vit": "ViT"}
FIGURES = ("ssim", "asr", "psnr", "mse", "lpips", "accuracy")
PRECODE_BETA = 0.01  # 001 §VI-C
CODED_CPL = {"label_form": "paper-code", "label_weight": 0.1}  # the CVB paper's code, behind Table IX
PRIORS = {"vit": 1e-4}  # the CVB paper's code; its text has 0.01 for all models


@dataclass(frozen=True)
class Row:
    """One line of a table: a setting, and the figures that the paper gives for it.

    Lines that say the same (Table VIII repeats the setting that all its parts share) are equal.

    Attributes:
        table: `VIII` to `XII`.
        dataset, model: as `datasets.load` and `models.build` know them.
        attack: `ig`, `idlg` or `cpl`, with `+ignore` where stochastic gradients are left out. 001 §V-B: IG on
            models without bottleneck, Ignore *instead* on those with one; the tables report that one attack,
            not the stronger of two.
        defense: a key of `SETTINGS`.
        params: its settings as in `cvb_tables_viii_to_xii.csv`, for instance `P=1+2;k=1;s=1/2;beta=1e-1`.
        paper: the paper's figures by name (`FIGURES`, some with `<name>_std`); empty where a row was moved to
            other images or another model.

    Raises:
        UnknownNameError: a defense that the tables do not have.
        ParameterError: settings that do not belong to the defense, or a value that is no number.
    """

    table: str
    dataset: str
    model: str
    attack: str
    defense: str
    params: str = ""
    paper: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paper", MappingProxyType(dict(self.paper)))
        if self.defense not in SETTINGS:
            raise unknown("defense", self.defense, SETTINGS)
        expected = SETTINGS[self.defense]
        if tuple(self.settings) != expected:
            raise ParameterError(
                f"{self.defense} is set by {', '.join(expected) or 'nothing'} in this order, got "
                f"{self.params!r}."
            )
        _ = self.bottlenecks(), self.transformation()  # numbers are refused here, not when an experiment runs

    @property
    def settings(self) -> dict[str, str]:
        """Settings by name, as they are written."""
        pairs = (part.partition("=") for part in self.params.split(";") if part)
        return {name: value for name, _, value in pairs}

    @property
    def setting(self) -> str:
        """The settings for people, for instance `P=1, k=5, s=1/2, β=1e-1`."""
        return ", ".join(f"{SYMBOLS.get(name, name)}={value}" for name, value in self.settings.items())

    def bottlenecks(self) -> tuple[Bottleneck, ...]:
        """Return the bottlenecks, one a position, each with its default form of the KL term.

        That is the public code's for the CVB, and the exact one for PRECODE, which that code lacks;
        PRECODE's own release divides it by ln 2.
        """
        if self.defense not in ("precode", "cvb"):
            return ()
        positions = [int(self._number(part)) for part in self.settings["P"].split("+")]
        if self.defense == "precode":
            size = int(self._number(self.settings["K"]))
            return tuple(PRECODE(p, k=size, beta=PRECODE_BETA) for p in positions)
        size, scale, beta = (self._number(self.settings[name]) for name in ("k", "s", "beta"))
        return tuple(CVB(p, kernel_size=int(size), scale=scale, beta=beta) for p in positions)

    def setup(self) -> ClientSetup:
        """Return what a client of this row protects itself with."""
        return ClientSetup(self.bottlenecks(), self.transformation())

    def transformation(self) -> Defense:
        """Return what clients do to their gradients."""
        if self.defense == "dp":
            bound, noise = (self._number(self.settings[name]) for name in ("C", "sigma"))
            return DP(bound, noise)
        if self.defense == "gc":
            return Compression(self._number(self.settings["p"]))
        return NO_DEFENSE

    def attacker(self, tv: float | None = None) -> Attack:
        """Return the attack with the weight of the prior; None takes 0.01, for a ViT 1e-4 (`PRIORS`).

        Attacks with L-BFGS in Table IX are those of the paper's code, which made the table, see `coded`.
        """
        attack = named_attack(self.attack)
        if attack.kind == "lbfgs":
            return coded(attack) if self.table == "IX" else attack
        return attack.replace(tv=PRIORS.get(self.model, attack.settings["tv"]) if tv is None else tv)

    def on(self, dataset: str, model: str | None = None) -> "Row":
        """Return the same setting on other images or another model; the paper has no figures for that."""
        model = model or self.model
        if (dataset, model) == (self.dataset, self.model):
            return self
        return dataclasses.replace(self, dataset=dataset, model=model, paper={})

    def _number(self, text: str) -> float:
        try:
            return float(Fraction(text))
        except (ValueError, ZeroDivisionError) as error:
            raise ParameterError(
                f"{text!r} in {self.params!r} is no number such as 5, 1/2 or 1e-1."
            ) from error


def named_attack(name: str) -> Attack:
    """Return an attack by the tables' name, for instance `idlg` or `idlg+ignore`.

    Raises:
        UnknownNameError: no such attack.
    """
    base, _, ignoring = name.partition("+")
    if ignoring not in ("", "ignore"):
        raise unknown("addition to an attack", ignoring, ("ignore",))
    if not ignoring:
        return ATTACKS[base]
    return ATTACKS["ignore"] if base == "ig" else ATTACKS[base].replace(layers="before-decoder")


def coded(attack: Attack) -> Attack:
    """Return iDLG or CPL as the CVB paper's code has it; other attacks as they are.

    That code draws a bottleneck's noise anew at each evaluation inside a step of L-BFGS, and CPL's label term
    is `CODED_CPL`. Ours are the intended forms.
    """
    if attack.kind != "lbfgs":
        return attack
    found = attack.replace(**CODED_CPL) if attack.name == "cpl" else attack
    return found if found.match.layers == "all" else found.replace(noise=Resample(each_evaluation=True))


def read(*names: str, dataset: str | None = None, model: str | None = None) -> list[Row]:
    """Return the lines of some tables (of all where none is named), in the paper's order.

    Args:
        names: of `TABLES`.
        dataset, model: only lines on these.

    Raises:
        UnknownNameError: no such table.
    """
    if wrong := [name for name in names if name not in TABLES]:
        raise unknown("table", wrong[0], TABLES)
    found = []
    for line in paper.table("cvb_tables_viii_to_xii").to_dict("records"):
        if line["table"] not in (names or TABLES):
            continue
        if dataset not in (None, line["dataset"]) or model not in (None, line["model"]):
            continue
        figures = {
            column: float(line[column])
            for name in FIGURES
            for column in (name, f"{name}_std")
            if column in line and line[column] == line[column]  # NaN is a gap
        }
        params = line["params"] if isinstance(line["params"], str) else ""
        texts = (str(line[name]) for name in ("table", "dataset", "model", "attack", "defense"))
        found.append(Row(*texts, params=params, paper=figures))
    return found


def theirs(*names: str, dataset: str | None = None, model: str | None = None) -> "DataFrame":
    """Return the lines of some tables for `paper.beside`, each once.

    Args:
        names, dataset, model: as for `read`.

    Returns:
        Columns dataset, model, label (of the setting, as `ClientSetup.label` has it), and the paper's figures
        with their deviations, NaN where it has none.
    """
    lines = [
        {"dataset": row.dataset, "model": row.model, "label": row.setup().label, **row.paper}
        for row in dict.fromkeys(read(*names, dataset=dataset, model=model))
    ]
    figures = [column for name in FIGURES for column in (name, f"{name}_std")]
    found = require("pandas", "metrics").DataFrame(lines, columns=["dataset", "model", "label", *figures])
    return found.astype(dict.fromkeys(figures, float))
