"""Attacks and trainings of 001's tables at the full protocol, images prepared as the paper's code does it.

    python -m gleak_book.full_protocol --list
    python -m gleak_book.full_protocol --only "X: cifar10" --time-limit 60

What is stored is left alone, so that the same command goes on where the last one stopped. The chapter "Ours
beside theirs" shows what there is.
"""

import argparse
import dataclasses
from collections.abc import Sequence

from gleak_lib.chapters import open_store
from gleak_lib.datasets import GRAY
from gleak_lib.experiments import AttackExperiment, Experiment, TrainingExperiment, run

from gleak_book import beside, source_form
from gleak_book.beside import FULL, PaperRow

KINDS = ("attacks", "trainings")
FORMS = {"gray": beside.one_channel, "bits": beside.in_bits}  # beside the rows, never in their place
SMALL = ("retinamnist",)  # a client trains on 97 of its images, fewer than are attacked


def attack(row: PaperRow) -> AttackExperiment | None:
    """Return a row's attack, on the paper's own victims where these can be had; None where it has none.

    Where they cannot, victims are images of one client, as in the paper's code, if it has enough.
    """
    if row.attacked is None:
        return None
    training = row.attacked.training
    gray = GRAY if training.dataset.endswith(GRAY) else ""
    name = training.dataset.removesuffix(GRAY)
    images = name + source_form.VICTIMS if name in source_form.RELEASED else name
    training = dataclasses.replace(training, dataset=images + gray, statistics=source_form.statistics(images))
    client = None if name in SMALL else source_form.client(name)
    return dataclasses.replace(row.attacked, training=training, client=client)


def trainings(row: PaperRow) -> list[TrainingExperiment]:
    """Return the trainings behind a row's accuracy, one a seed; none where it has no accuracy."""
    if row.trained is None:
        return []
    name = row.trained.dataset
    protocol = row.trained.protocol.replace(validation=source_form.validation(name))
    form = dataclasses.replace(row.trained, protocol=protocol, statistics=source_form.statistics(name))
    return [dataclasses.replace(form, seed=seed) for seed in range(FULL.seeds)]


def experiments(
    only: str = "", kinds: Sequence[str] = KINDS, *, form: str = "", victims: int = FULL.victims
) -> dict[Experiment, str]:
    """Return what the full protocol asks for, each once, with the name of the first row that it belongs to.

    Args:
        only: a part of the row's name, which is table, images, network, defense, setting, attack.
        kinds: `attacks`, `trainings` or both.
        form: `gray` for attacks on gray sets on one channel (the paper's code has three equal ones), `bits`
            for those behind PRECODE with the KL term over ln 2 (as PRECODE's release has it); else all rows.
        victims: of each attack. With fewer than the paper's 128 an attack keeps its steps and its stop rule,
            and its figures are marked as of a reduced scale: for networks that are too slow for all.
    """
    found: dict[Experiment, str] = {}
    for printed in beside.printed_rows():
        row = FORMS[form](printed) if form else printed
        name = f"{printed.table}: " + ", ".join(
            filter(None, (printed.dataset, printed.model, printed.defense, printed.setting, printed.attack))
        )
        if row is None or only not in name:
            continue
        one = attack(row) if "attacks" in kinds else None
        wanted: list[Experiment] = [dataclasses.replace(one, victims=victims)] if one else []
        wanted += trainings(row) if "trainings" in kinds and not form else []
        for experiment in wanted:
            found.setdefault(experiment, name)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """List what there is, or compute what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="a part of the row's name, as --list shows it")
    parser.add_argument("--kind", choices=KINDS, help="attacks or trainings; both without it")
    other = (
        "attacks of another form: on gray images of one channel, behind PRECODE with the KL term over ln 2"
    )
    parser.add_argument("--form", choices=FORMS, default="", help=other)
    parser.add_argument("--victims", type=int, default=FULL.victims, metavar="N", help="of each attack")
    parser.add_argument("--list", action="store_true", help="what is stored and what is missing")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES", help="begin nothing after that")
    parser.add_argument("--compile", action="store_true", help="compile the steps of attacks")
    options = parser.parse_args(arguments)
    store = open_store("cpu")
    kinds = (options.kind,) if options.kind else KINDS
    found = experiments(options.only, kinds, form=options.form, victims=options.victims)
    if options.list:
        for experiment, name in found.items():
            mark = "stored " if store.get(experiment) else "missing"
            print(f"{mark} {experiment.kind:8} {experiment.key}  {name}")
        return
    limit = None if options.time_limit is None else 60 * options.time_limit
    run(list(found), store, time_limit=limit, compile=options.compile)


if __name__ == "__main__":
    main()
