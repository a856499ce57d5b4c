"""How the CVB paper's public code prepares its images, where its text leaves that open or says otherwise.

Three facts: pixels are normalized with the statistics of the images on disk, before resizing;
MedMNIST's sets are trained on all of their training split and validated on their own validation split;
victims are one client's training images. A row of the paper's tables is computed so. A result of another form
may stand in its place, with a remark. That code also shows gray images to the network three times over:
results on one channel stand beside a row, never in its place.
"""

from gleak_lib.datasets import GRAY, Statistics
from gleak_lib.experiments import AttackExperiment, TrainingExperiment

VICTIMS = "_victims"  # a set whose name ends so has images to attack, and none to train on
MEDICAL = ("pneumoniamnist", "dermamnist", "retinamnist", "bloodmnist")
RESIZED = ("mnist", *MEDICAL)  # 28 x 28 on disk
GRAYS = ("mnist", "pneumoniamnist")  # of one channel
RELEASED = ("cifar10", "mnist", "dermamnist", "bloodmnist")  # the paper's victims are had as NAME_victims
UNRELEASED = ("pneumoniamnist", "retinamnist")
CLIENT = 0  # whose images are attacked instead; which client's the paper's are is not known

AFTER, HELD_OUT = "pixel statistics after resizing", "10 % of each client held out"
OTHER_VICTIMS, ANYBODYS = "other victims than the paper's", "victims from all training images"


def whole(dataset: str) -> str:
    """Return the image set that an archive of its victims stands for; `@gray` stays."""
    gray = GRAY if dataset.endswith(GRAY) else ""
    return dataset.removesuffix(GRAY).removesuffix(VICTIMS) + gray


def statistics(dataset: str) -> Statistics:
    """Return which pixel statistics the paper's code uses; on a set of one's own the usual ones."""
    return "original" if dataset.removesuffix(GRAY) in RESIZED else "resized"


def validation(dataset: str) -> str:
    """Return `Protocol.validation` as the paper's code has it on this set."""
    return "split" if dataset in MEDICAL else "clients"


def client(dataset: str) -> int | None:
    """Return whose training images are attacked; None where the paper's own victims can be had."""
    return CLIENT if dataset in UNRELEASED else None


def training_remarks(experiment: TrainingExperiment) -> tuple[str, ...]:
    """Return in what a training differs from the form of the paper's code; nothing where it does not."""
    differs = {
        AFTER: experiment.statistics != statistics(experiment.dataset),
        HELD_OUT: experiment.protocol.validation != validation(experiment.dataset),
    }
    return tuple(remark for remark, holds in differs.items() if holds)


def attack_remarks(experiment: AttackExperiment) -> tuple[str, ...]:
    """Return in what an attack's images differ from those of the paper; an archive of victims has them."""
    dataset = experiment.training.dataset.removesuffix(GRAY)
    differs = {
        AFTER: experiment.training.statistics != statistics(dataset),
        OTHER_VICTIMS: dataset in RELEASED,
        ANYBODYS: experiment.client != client(dataset),
    }
    return tuple(remark for remark, holds in differs.items() if holds)
