"""What can be said on the command line, and the help that it prints."""

import argparse
from collections.abc import Callable

from gleak_lib import __version__

DEFAULT_PROFILE = "cpu"
YEAR, PROCESSES = 366 * 24 * 60, 1024

Command = Callable[[argparse.Namespace], int]


def parser(
    run: Command, status: Command, show: Command, data: Command, list_: Command
) -> argparse.ArgumentParser:
    """Return the parser; what it returns has the chosen function as `command`."""
    gleak = argparse.ArgumentParser(prog="gleak", description="Run and inspect the book of gradient leakage.")
    gleak.add_argument("--version", action="version", version=f"gleak {__version__}")
    commands = gleak.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="execute chapters through papermill")
    one.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help="for instance 03_ignore_attack; none means all"
    )
    one.add_argument("--profile", default=DEFAULT_PROFILE, help="quick, cpu or paper (default: %(default)s)")
    _add_parameters(one)
    one.add_argument(
        "--output",
        type=_folder,
        metavar="DIR",
        help="write chapters and results there, not into the checkout",
    )
    one.add_argument(
        "--time-limit",
        type=_minutes,
        metavar="MIN",
        help="minutes that all of it may take; run again to go on",
    )
    one.add_argument(
        "--dry-run", action="store_true", help="say what would be computed, and how long it takes"
    )
    many = one.add_mutually_exclusive_group()
    many.add_argument("--workers", type=_count, metavar="N", help="compute in N processes on this machine")
    many.add_argument(
        "--scheduler", metavar="ADDRESS", help="compute on a dask cluster, for instance tcp://head:8786"
    )
    one.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="fuse attack steps with torch.compile: a minute at the start, then about twice as fast",
    )
    one.set_defaults(command=run)

    one = commands.add_parser("status", help="which experiments are done, missing, failed, damaged")
    one.add_argument("chapters", nargs="*", metavar="CHAPTER", help="none means all")
    one.add_argument("--profile", help="quick, cpu or paper (default: each that the chapter has)")
    _add_parameters(one)
    one.add_argument("--output", type=_folder, metavar="DIR", help="look there, as for run")
    one.add_argument("-v", "--verbose", action="store_true", help="list every cell")
    one.set_defaults(command=status)

    one = commands.add_parser("show", help="print a stored result, and how it was made")
    one.add_argument("key", metavar="KEY", help="as `gleak status -v` lists it; its first digits will do")
    one.add_argument("--output", type=_folder, metavar="DIR", help="look there, as for run")
    one.set_defaults(command=show)

    one = commands.add_parser("data", help="check or fetch image sets")
    one.add_argument(
        "folder",
        nargs="?",
        type=_folder,
        metavar="DIR",
        help="default: GLEAK_DATA, else your cache folder",
    )
    one.add_argument(
        "--download",
        nargs="*",
        metavar="NAME",
        help="fetch these sets, or, without a name, all that are missing",
    )
    one.set_defaults(command=data)

    one = commands.add_parser(
        "list", help="models, bottlenecks, attacks, defenses, image sets, chapters, profiles"
    )
    one.set_defaults(command=list_)
    return gleak


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="another value for one of the chapter's parameters; may be given several times",
    )


def _minutes(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    if value > YEAR:
        raise argparse.ArgumentTypeError(f"must be at most {YEAR}, a year, got {text[:80]}")
    return value


def _folder(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a folder, got an empty text")
    return text


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    if value > PROCESSES:
        raise argparse.ArgumentTypeError(f"must be at most {PROCESSES}, got {text[:80]}")
    return value
