"""Every row of every table of 001, and the best stored result for it: the chapter "Ours beside theirs".

The chapter computes nothing. It looks through all stored results for those that differ from a row of a table
in their scale only (victims, steps, rounds, seeds), or in how the images were prepared: `source_form` says
how the paper's code does it. The larger scale comes first; at the same extent of the paper's protocol the
source's form does, and another one gets a remark. Forms are never pooled. What the experiments of Tables I,
II and VII are is decided by the profile `paper` of the chapters that reproduce them.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gleak_lib.chapters import experiments, profiles
from gleak_lib.datasets import GRAY
from gleak_lib.errors import unknown
from gleak_lib.experiments import AttackExperiment, Experiment, Result, Store, TrainingExperiment
from gleak_lib.federated import Protocol

from gleak_book import paper, paper_experiments, paper_rows, source_form, table_i
from gleak_book.paper_experiments import Scale

TABLES = ("I", "II", "V", "VII", *paper_rows.TABLES)
FULL = Scale()
FIGURES = ("ssim", "asr", "accuracy")
_Kind = TypeVar("_Kind", bound=Experiment)


@dataclass(frozen=True)
class PaperRow:
    """One row of one table.

    Attributes:
        table: its number.
        dataset, model: as `datasets.load` and `models.build` know them.
        attack: the attack's name in the tables.
        defense: none, dp, gc, precode, cvb.
        setting: what else the row says, for people.
        paper: the paper's figures by name (`ssim`, `asr` and `accuracy` in percent).
        attacked: the attack at full scale; None where the row reports none.
        trained: the training at full scale with seed 0; None where the row reports no accuracy.
    """

    table: str
    dataset: str
    model: str
    attack: str
    defense: str
    setting: str
    paper: Mapping[str, float] = field(compare=False)
    attacked: AttackExperiment | None = None
    trained: TrainingExperiment | None = None


@dataclass(frozen=True)
class BestResults:
    """Stored results by what they are at full scale: the best attack, and the best training's seeds."""

    attacks: Mapping[AttackExperiment, Result]
    trainings: Mapping[TrainingExperiment, Sequence[Result]]


def printed_rows(names: Sequence[str] = TABLES) -> list[PaperRow]:
    """Return the rows of some tables; one that is printed several times in a table comes once.

    Of Table V, which repeats Table XI in short, only the rows that disagree with it come.

    Raises:
        UnknownNameError: no such table.
    """
    if wrong := [name for name in names if name not in TABLES]:
        raise unknown("table", wrong[0], TABLES)
    special = {"I": _table_i, "II": _table_ii, "V": _table_v, "VII": _table_vii}
    found: list[PaperRow] = []
    for name in names:
        found += special[name]() if name in special else map(_of_row, paper_rows.read(name))
    return list(dict.fromkeys(found))


def best_results(store: Store) -> BestResults:
    """Return the best that a store has.

    Of attacks: those at the greater extent of the paper's protocol, then those nearest to the source's form,
    then most victims, most steps. Of trainings: the full protocol, then most rounds, then the source's form,
    then most seeds; all seeds have the same rounds and form.
    """
    attacks: dict[AttackExperiment, Result] = {}
    for result in store.results(AttackExperiment.kind):
        assert isinstance(result.experiment, AttackExperiment)
        key = whole_attack(result.experiment)
        if key not in attacks or _rank(result.experiment) > _rank(attacks[key].experiment):
            attacks[key] = result
    groups: dict[TrainingExperiment, dict[TrainingExperiment, list[Result]]] = {}
    for result in store.results(TrainingExperiment.kind):
        assert isinstance(result.experiment, TrainingExperiment)
        same = groups.setdefault(whole_training(result.experiment), {})
        same.setdefault(dataclasses.replace(result.experiment, seed=0, keep=()), []).append(result)
    best = {
        key: max(same, key=lambda one: _training_rank(one, len(same[one]))) for key, same in groups.items()
    }
    return BestResults(attacks, {key: groups[key][chosen] for key, chosen in best.items()})


def whole_attack(experiment: AttackExperiment) -> AttackExperiment:
    """Return the same attack at full scale, on the images of the whole set, however they were prepared."""
    training = experiment.training
    name = source_form.whole(training.dataset)
    return dataclasses.replace(
        experiment,
        training=dataclasses.replace(training, dataset=name, seed=0, statistics="resized"),
        client=None,
        attack=paper_experiments.full_budget(experiment.attack),
        victims=FULL.victims,
        victim_seed=0,
        seed=0,
    )


def one_channel(row: PaperRow) -> PaperRow | None:
    """Return a row of a gray set whose attack sees one channel instead of three; None of all other rows."""
    if row.attacked is None or row.dataset not in source_form.GRAYS:
        return None
    training = dataclasses.replace(row.attacked.training, dataset=row.dataset + GRAY)
    return dataclasses.replace(row, attacked=dataclasses.replace(row.attacked, training=training))


def in_bits(row: PaperRow) -> PaperRow | None:
    """Return a row behind PRECODE with its KL term over ln 2, as PRECODE's release has it; else None."""
    if row.attacked is None or row.defense != "precode":
        return None
    training = row.attacked.training
    bottlenecks = tuple(dataclasses.replace(one, kl="bits") for one in training.bottlenecks)
    training = dataclasses.replace(training, bottlenecks=bottlenecks)
    return dataclasses.replace(row, attacked=dataclasses.replace(row.attacked, training=training))


def whole_training(experiment: TrainingExperiment) -> TrainingExperiment:
    """Return the same training at full scale, of the first seed, however the images were prepared."""
    protocol = experiment.protocol.replace(rounds=FULL.training_rounds, validation="clients")
    return dataclasses.replace(experiment, protocol=protocol, seed=0, keep=(), statistics="resized")


EXTENTS = ("less", "reduced", "full")


def _rank(experiment: Any) -> tuple[float, ...]:
    extent = EXTENTS.index(paper_experiments.attack_extent(experiment))
    remarks, steps = source_form.attack_remarks(experiment), paper_experiments.steps(experiment.attack)
    return extent, -len(remarks), experiment.victims, steps, -experiment.seed


def _training_rank(experiment: TrainingExperiment, seeds: int) -> tuple[int, ...]:
    rounds, remarks = experiment.protocol.rounds, source_form.training_remarks(experiment)
    return EXTENTS.index(paper_experiments.training_extent(rounds, seeds)), rounds, -len(remarks), seeds


def _of_row(row: paper_rows.Row) -> PaperRow:
    trained = whole_training(paper_experiments.training(row, FULL, 0)) if "accuracy" in row.paper else None
    names = (row.table, row.dataset, row.model, row.attack, row.defense)
    return PaperRow(
        *names, row.setting, row.paper, whole_attack(paper_experiments.attack(row, FULL)), trained
    )


def _at_paper(chapter: str, kind: type[_Kind]) -> list[_Kind]:
    """The experiments of a kind that a chapter declares for the paper's protocol."""
    found = experiments(chapter, profiles.load(chapter, "paper"))
    return [experiment for experiment in found if isinstance(experiment, kind)]


def _attacks_on_precode() -> list[AttackExperiment]:
    """The attacks of Table I on fresh weights."""
    return [
        experiment for experiment in _at_paper("03_ignore_attack", AttackExperiment) if not experiment.rounds
    ]


def _table_i() -> Iterator[PaperRow]:
    for experiment in _attacks_on_precode():
        asr = table_i.asr(experiment)
        if asr == asr:
            has = experiment.attack.settings
            attack = "ig" if has["layers"] == "all" and not has["exclude"] else "ignore"
            defense = "precode" if experiment.training.bottlenecks else "none"
            row = f"{table_i.network(experiment)}: {table_i.matched(experiment)}"
            yield PaperRow(
                "I", "cifar10", "cnn", attack, defense, row, {"asr": asr}, whole_attack(experiment)
            )


def _table_ii() -> Iterator[PaperRow]:
    strongest = [
        experiment
        for experiment in _attacks_on_precode()
        if experiment.attack.name == ("ignore" if experiment.training.bottlenecks else "ig")
    ]
    attacked = {table_i.network(experiment).removeprefix("P="): experiment for experiment in strongest}
    for line in paper.table("cvb_table_ii").to_dict("records"):
        bare = line["position"] == "none"
        attack, defense = ("ig", "none") if bare else ("ig+ignore", "precode")
        setting = "" if bare else f"P={line['position']}, K={int(line['bottleneck_k'])}"
        figures = {name: float(line[name]) for name in FIGURES}
        experiment = attacked["no bottleneck" if bare else str(line["position"])]
        trained = whole_training(dataclasses.replace(experiment.training, protocol=Protocol()))
        yield PaperRow(
            "II", "cifar10", "cnn", attack, defense, setting, figures, whole_attack(experiment), trained
        )


def _table_v() -> Iterator[PaperRow]:
    more = {(row.dataset, row.model, row.defense): row for row in paper_rows.read("XI")}
    for line in paper.table("cvb_table_v").to_dict("records"):
        row = more[line["dataset"], line["model"], line["defense"]]
        figures = {name: float(line[name]) for name in FIGURES}
        if any(abs(figures[name] - row.paper[name]) > 1e-9 for name in FIGURES):
            yield dataclasses.replace(_of_row(row), table="V", paper=figures)


def _table_vii() -> Iterator[PaperRow]:
    trained = {
        (bool(experiment.bottlenecks), dict(experiment.options)["bias"]): experiment
        for experiment in _at_paper("10_closed_form_inversion", TrainingExperiment)
    }
    for line in paper.table("cvb_table_vii").to_dict("records"):
        precode = line["model"].endswith("precode")
        for bias, column in ((True, "bias"), (False, "no_bias")):
            defense, setting = "precode" if precode else "none", "bias" if bias else "no bias"
            figures, experiment = {"accuracy": float(line[column])}, whole_training(trained[precode, bias])
            yield PaperRow("VII", "cifar10", "mlp", "–", defense, setting, figures, None, experiment)
