"""How far a run is: a bar for people, or, for `gleak run`, lines in a file that the command shows.

Bars never go into a published notebook: `gleak run` names a file by `GLEAK_PROGRESS`, and prints what is
written there.
"""

import os
import time
from types import TracebackType
from typing import Any

PROGRESS = "GLEAK_PROGRESS"


class Report:
    """A context manager that is told of each cell that ended.

    Args:
        total: cells asked for.
        done: cells that were stored already.
        show: whether to show anything.
        outlook: how long it will take.

    Attributes:
        inner: whether trainings and attacks may show bars of their own.
    """

    def __init__(self, total: int, done: int, show: bool, outlook: str) -> None:
        self.outlook = outlook
        self.total, self.done, self.began = total, done, time.monotonic()
        self.file = os.environ.get(PROGRESS) if show else None
        self.bar: Any = _bar(total, done) if show and not self.file else None
        self.inner = self.bar is not None

    def __enter__(self) -> "Report":
        missing = self.total - self.done
        self._write(f"{self.done} of {self.total} cells are stored, {missing} to compute, {self.outlook}")
        return self

    def ended(self, about: str, outcome: object, *, counts: bool) -> None:
        """Tell that a cell ended, well or with an exception; weights only needed on the way do not count."""
        failed = isinstance(outcome, BaseException)
        self.done += counts and not failed
        state = f"failed ({type(outcome).__name__}): " if failed else ""
        self._write(f"{self.done}/{self.total}  {time.monotonic() - self.began:7.1f} s  {state}{about}")
        if self.bar is not None:
            self.bar.set_postfix_str(about[:60], refresh=False)
            self.bar.update(int(counts))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def _write(self, line: str) -> None:
        if self.file:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(line + "\n")


def _bar(total: int, done: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:  # a run is worth more than its bar
        return None
    return tqdm(total=total, initial=done, desc="cells", unit="cell")
