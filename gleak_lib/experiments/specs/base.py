"""What every kind of experiment shares."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gleak_lib.datasets import ImageDataset, Statistics
from gleak_lib.errors import StoreError
from gleak_lib.experiments import encoding
from gleak_lib.experiments.context import Context


class Output(NamedTuple):
    """What an experiment gives: figures as plain numbers, maybe a few example images, parts of its time."""

    figures: dict[str, Any]  #: by name
    examples: dict[str, np.ndarray] | None = None  #: uint8, N x C x H x W each
    seconds: dict[str, float] | None = None  #: for the provenance, since no two runs take the same


class Work(NamedTuple):
    """How much an experiment computes: what an estimate of its duration is made of (`runner.cost`)."""

    groups: tuple[tuple[Any, ...], ...]  #: names of what costs alike by unit, the narrowest first
    size: float | None  #: units; None where it is not known

    def under(self, kind: str) -> "Work":
        """Return the same for a kind that costs about as much: its own results tell first."""
        return Work((*((kind, *group) for group in self.groups), *self.groups), self.size)


class Experiment(ABC):
    """One point of a study.

    Attributes:
        kind: folder of its results.
        unbounded: names of figures, and of dicts of figures, that may be NaN or infinite; in all others
            that is a failure (`finite.require_finite`).
        gallery: whether more than 32 color images may be kept with loss, as WebP.
        dataset_name: the image set that its figures depend on, or None.
        pixel_statistics: which mean and std normalize its pixels, see `datasets.load`.
    """

    kind: ClassVar[str]
    unbounded: ClassVar[tuple[str, ...]] = ()
    gallery: ClassVar[bool] = False

    @property
    def key(self) -> str:
        """Short hexadecimal name that depends on the values alone."""
        return encoding.key(self)

    @property
    def subject(self) -> "Experiment | None":
        """The experiment whose images and weights this one looks at; None where there is none."""
        return None

    @property
    def dataset_name(self) -> str | None:
        """Name of the image set: that of the subject, or the experiment's own field `dataset`."""
        return self.subject.dataset_name if self.subject else getattr(self, "dataset", None)

    @property
    def pixel_statistics(self) -> Statistics:
        """Which mean and std normalize the pixels: the subject's, or the experiment's own `statistics`."""
        return self.subject.pixel_statistics if self.subject else getattr(self, "statistics", "resized")

    @property
    def needs(self) -> "Experiment | None":
        """The training whose last weights it loads, so that the runner trains them first and once."""
        return self.subject.needs if self.subject else None

    def work(self, images: Mapping[str, int]) -> Work:
        """Return how much it computes; where a kind does not say, each of its experiments counts as one unit.

        Args:
            images: training images of the sets that are known, by their names without a size.
        """
        return Work(((self.kind, self.dataset_name),), 1.0)

    def check(self, dataset: ImageDataset) -> None:
        """Refuse what the experiment asks of its images and cannot have, before anything is computed.

        Args:
            dataset: the image set named `dataset_name`.

        Raises:
            GleakError: what `run` would raise after others have been computed.
        """
        if self.subject:
            self.subject.check(dataset)

    def rows(self, figures: Mapping[str, Any], scaling: str) -> dict[str, Any]:
        """Return the columns of a tidy table: lists of one length, and values that all rows share.

        A single row with the plain figures, where a kind does not say otherwise.

        Args:
            figures: what the store holds for the experiment.
            scaling: of scores, see `metrics.score`.
        """
        return {name: value for name, value in figures.items() if not isinstance(value, (list, dict))}

    @abstractmethod
    def describe(self) -> str:
        """Return one line for people: messages, progress bars, `gleak status`."""

    @abstractmethod
    def run(self, context: Context) -> Output:
        """Compute the figures; the same ones on one machine with as many threads."""


def leaves(nested: Any) -> Iterator[Any]:
    """Yield what stands in a list, a dict, or any nesting of them, in order."""
    if isinstance(nested, Mapping):
        nested = nested.values()
    elif isinstance(nested, (str, bytes)) or not isinstance(nested, Iterable):
        yield nested
        return
    for part in nested:
        yield from leaves(part)


def from_json(data: Any) -> Experiment:
    """Return the experiment that `encoding.encode` wrote down.

    Raises:
        StoreError: `data` is no experiment that this version can make.
    """
    try:
        experiment = encoding.decode(data)
    except RecursionError:
        raise StoreError("This is no experiment: it is nested too deep.") from None
    if not isinstance(experiment, Experiment):
        raise StoreError(f"This is no experiment but {type(experiment).__name__}.")
    return experiment
