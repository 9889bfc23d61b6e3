"""`lmeff status`: what runs are doing."""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from lmeff.cli.argument_types import path

SUMMARY = "what runs are doing"
_EVERY_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some"
    )
    parser.add_argument("--json", action="store_true", help="a list with an object for each run")
    parser.add_argument("--watch", action="store_true", help="again every five seconds, until all runs have ended")


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_run_folders

    check_run_folders(options.paths)
    while _show(options.paths, options.json) and options.watch:
        time.sleep(_EVERY_SECONDS)
        if sys.stdout.isatty() and not options.json:
            print("\033[H\033[2J", end="")


def _show(paths: Sequence[str], as_json: bool) -> bool:
    """Prints the runs at or under the paths; returns whether one of them is still going on."""
    from lmeff.analysis.reading.paths import find_folders
    from lmeff.runs.status import format_statuses, read_status
    from lmeff.runs.status.reading import WRITING

    folders, collected = find_folders(paths)
    statuses = [read_status(folder) for folder in dict.fromkeys(folders)]
    if as_json:
        print(json.dumps([status.to_json() for status in statuses], indent=2, ensure_ascii=False), flush=True)
    elif statuses:
        print(format_statuses(statuses), flush=True)
    if collected and not as_json:
        from lmeff.analysis.reading.other_models import read_collections

        for run in read_collections(collected):
            print(f"{run.source}: {len(run.anchors)} revisions scored")
    return any(status.shown in ("running", WRITING) for status in statuses)
