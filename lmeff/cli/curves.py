"""`lmeff curves`: learning curves as a table."""

import argparse
import json
import sys

from lmeff.cli.argument_types import path
from lmeff.cli.help import options_anywhere

SUMMARY = "the learning curves of runs as a table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", action="store_true", help="the tidy table")
    options_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_run_folders
    from lmeff.progress import shown

    check_run_folders(options.paths)
    from lmeff.analysis import all_notes, curves_csv, curves_json, print_curves, read_runs

    with shown("reading the runs"):
        runs = read_runs(options.paths)
    for note in all_notes(runs) if options.json or options.csv else ():
        print(note, file=sys.stderr)
    if options.json:
        print(json.dumps(curves_json(runs), indent=2, allow_nan=False))
    else:
        print(curves_csv(runs) if options.csv else print_curves(runs))
