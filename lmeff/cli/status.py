"""`lmeff status`: what runs are doing."""

import argparse

from lmeff.cli.argument_types import path

SUMMARY = "what runs are doing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some"
    )


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_run_folders

    check_run_folders(options.paths)
    from lmeff.analysis import read_runs

    for run in read_runs(options.paths):
        state = run.state
        if run.source:
            print(f"{run.source}: {len(run.anchors)} revisions scored")
            continue
        print(
            f"{run.folder}: "
            + ("not begun" if state is None else f"{state.state}, step {state.step:,}, {state.tokens:,} tokens")
        )
        if state is not None and state.error:
            print(f"  {state.error}")
