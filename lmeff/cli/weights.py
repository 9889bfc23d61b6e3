"""`lmeff weights`: what weights say by themselves."""

import argparse
from dataclasses import replace

from lmeff.cli.argument_types import path
from lmeff.cli.help import options_anywhere
from lmeff.cli.model_options import as_rows, print_results, read_selection, say

SUMMARY = "norms and effective ranks of the weights of models, and how they move along a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "what", type=path, nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]"
    )
    parser.add_argument("--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all)")
    parser.add_argument(
        "--output", type=path, metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)"
    )
    parser.add_argument("--json", action="store_true")
    options_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_models

    selection = read_selection(options)
    check_models(replace(selection, output=None))
    from lmeff.measures.measure import measured
    from lmeff.measures.weights.measure import WeightStatistics, weights_table

    weights = WeightStatistics(selection.every)
    print_results(options, measured(weights, selection.models(), say), as_rows, weights_table)
