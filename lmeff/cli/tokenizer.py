"""`lmeff tokenizer`: tokenizers compared on held-out text."""

import argparse
import json

from lmeff.cli.argument_types import path, positive_ints
from lmeff.cli.recipe_options import add_recipe

SUMMARY = "what a recipe's tokenizer and others beside it make of the held-out text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_recipe(parser)
    text = "folders with a tokenizer.json, such files, or NAMESPACE/REPO[@REVISION] on the Hub"
    parser.add_argument("--beside", type=path, nargs="+", action="extend", default=[], metavar="WHAT", help=text)
    text = "our own tokenizers of these sizes, such as 8k,16k, in place of the recipe's"
    parser.add_argument("--vocab-sizes", type=positive_ints, default=[], metavar="N,...", help=text)
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
    from lmeff.hub.remote import fetch_tokenizer
    from lmeff.recipe import read_recipe
    from lmeff.tokens.report.measures import report_tokenizers
    from lmeff.tokens.report.text import format_report

    recipe = read_recipe(options.recipe, options.overrides).recipe
    report = report_tokenizers(recipe, options.beside, options.vocab_sizes, fetch_tokenizer)
    print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) if options.json else format_report(report))
