"""What the verbs that measure models have in common on the command line: which models, and where results go."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.cli.argument_types import path

if TYPE_CHECKING:
    from lmeff.measures.selection import Selection

say = partial(print, flush=True)


def read_selection(options: argparse.Namespace) -> "Selection":
    """The models that a command line asks for."""
    from lmeff.measures.selection import Selection

    every = options.revisions == "all"
    revisions = tuple(options.revisions.split(",")) if options.revisions and not every else None
    whats = options.what if isinstance(options.what, list) else [options.what]
    return Selection(tuple(whats), revisions, every, Path(options.output) if options.output else None)


def add_what(sub: argparse.ArgumentParser) -> None:
    """Which models, and where their results go."""
    sub.add_argument(
        "what", type=path, metavar="WHAT", help="a run folder, a model folder, or NAMESPACE/REPO[@REVISION] on the Hub"
    )
    sub.add_argument(
        "--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all; for the Hub: say which)"
    )
    sub.add_argument(
        "--output", type=path, metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)"
    )
