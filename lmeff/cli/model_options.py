"""What the verbs that measure models have in common on the command line: which models, and where results go."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmeff.cli.argument_types import path

if TYPE_CHECKING:
    from lmeff.measures.measure import Measured
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


def print_results(
    options: argparse.Namespace,
    coming: "Iterator[Measured]",
    as_json: "Callable[[list[Measured]], Any]",
    table: Callable[[list[dict]], str] | None = None,
) -> None:
    """Measures, and prints the results that there are then, also when some models fail: as `table` makes them or, with
    `--json`, as JSON, and all that is said on the way to standard error."""
    done: list[Measured] = []
    try:
        with redirect_stdout(sys.stderr if options.json else sys.stdout):
            for one in coming:
                done += [one]
    finally:
        if done and options.json:
            print(json.dumps(as_json(done), indent=2, ensure_ascii=False, allow_nan=False))
        elif done and table is not None:
            print(table([one.result for one in done]))


def by_name(done: "list[Measured]") -> dict[str, dict]:
    return {one.model.name: one.result for one in done}


def as_rows(done: "list[Measured]") -> list[dict]:
    return [one.result for one in done]
