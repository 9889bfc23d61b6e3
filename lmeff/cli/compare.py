"""`lmeff compare`: two models, or two groups of seeds, side by side."""

import argparse
import json
import sys

from lmeff.cli.argument_types import path
from lmeff.cli.help import options_anywhere

SUMMARY = "how far two models or groups of seeds are apart, and how sure that is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    text = "a run, RUN@REVISION, a folder with results of another model, a folder of seeds, or several between commas"
    parser.add_argument("a", type=path, metavar="A", help=text)
    parser.add_argument("b", type=path, metavar="B", help="the same; differences are B minus A")
    parser.add_argument("--tasks", metavar="T,...", help="suites, phenomena or paradigms (default: what both have)")
    parser.add_argument(
        "--at", metavar="TOKENS|final", help="which anchor of runs (default: the last that all of them have)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything")
    form.add_argument("--markdown", action="store_true", help="tables with captions")
    form.add_argument("--latex", action="store_true", help="the same for a paper, in the style of booktabs")
    options_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.analysis.comparison.compare import compare
    from lmeff.progress import shown

    tasks = [task for task in options.tasks.split(",") if task] if options.tasks else None
    with shown("comparing"):
        comparison = compare(options.a, options.b, tasks, options.at)
    if options.json:
        from lmeff.analysis.comparison.output.export import comparison_json

        print(json.dumps(comparison_json(comparison), indent=2, allow_nan=False))
    elif options.markdown or options.latex:
        from lmeff.analysis.comparison.output.paper import comparison_latex, comparison_markdown

        sys.stdout.write(comparison_markdown(comparison) if options.markdown else comparison_latex(comparison))
    else:
        from lmeff.analysis.comparison.output.text import print_comparison

        sys.stdout.write(print_comparison(comparison))
