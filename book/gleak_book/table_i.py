"""001 Table I: which gradients an attack matches, in the paper's names, and the success rate it prints."""

import math

from gleak_lib import models
from gleak_lib.experiments import AttackExperiment

from gleak_book import paper

STAGES = {"stage1": "G1", "stage2": "G2", "stage3": "G3", "head": "G4"}
PARTS = {"encoder": "GE", "decoder": "GD"}  # of a bottleneck
PARTIAL = "single or partial sets beyond GE"  # the paper's one line for three masks at P=2


def symbol(group: str) -> str:
    """Return the paper's name of a group of gradients, `GE` for `bottleneck1.encoder`."""
    return PARTS.get(group.rpartition(".")[2]) or STAGES.get(group, group)


def network(experiment: AttackExperiment) -> str:
    """Return `P=3` for a model with a bottleneck at position 3, `no bottleneck` for one without."""
    specs = experiment.training.bottlenecks
    return "P=" + "+".join(str(spec.position) for spec in specs) if specs else "no bottleneck"


def matched(experiment: AttackExperiment) -> str:
    """Return the groups whose gradients an attack matches, for instance `G1+G2+G3+GE`."""
    training = experiment.training
    options = dict(training.options)
    groups = tuple(models.build(training.model, bottlenecks=training.bottlenecks, seed=0, **options).groups)
    has = experiment.attack.settings
    kept = groups if has["layers"] == "all" else models.before_decoder(groups)
    return "+".join(symbol(group) for group in kept if group not in has["exclude"])


def asr(experiment: AttackExperiment) -> float:
    """Return the ASR in percent that the paper prints for an attack, NaN where it prints none."""
    position, names = network(experiment).removeprefix("P="), {matched(experiment)}
    if excluded := experiment.attack.settings["exclude"]:
        names |= {f"all but {symbol(excluded[0])}", PARTIAL if position == "2" else ""}
    for line in paper.table("cvb_table_i").to_dict("records"):
        here = str(line["precode_position"]) == position.replace("no bottleneck", "none")
        if here and line["matched_gradients"] in names:
            return float(line["asr"])
    return math.nan
