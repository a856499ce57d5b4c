"""The command `gleak`: what it does, in `commands`, and what can be said to it, in `parser`."""

from gleak_lib.cli.commands import main

__all__ = ["main"]
