"""`lmeff prepare`: text, tokenizer and tokens alone."""

import argparse
from pathlib import Path

from lmeff.cli.recipe_options import add_recipe

SUMMARY = "write a recipe's text, tokenizer and tokens, as a run would"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_recipe(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.recipe import read_recipe
    from lmeff.tokens import prepare_packing, prepare_run
    from lmeff.tokens.summary import describe_prepared

    recipe = read_recipe(options.recipe, options.overrides).recipe
    corpus, tokens = prepare_run(recipe, Path(options.recipe).parent)
    best_fit = recipe.batch.packing == "best_fit"
    packing = prepare_packing(tokens, recipe.batch.sequence_length) if best_fit else None
    for line in describe_prepared(corpus, tokens, packing):
        print(line)
