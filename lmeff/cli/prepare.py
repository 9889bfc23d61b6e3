"""`lmeff prepare`: text, tokenizer and tokens alone."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.cli.recipe_options import add_recipe
from lmeff.errors import InputError, RunFailed

if TYPE_CHECKING:
    from lmeff.recipe.schema import Recipe

SUMMARY = "write the text, tokenizer and tokens of a recipe, or of all cases of a sweep, as a run would"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_recipe(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_text_of
    from lmeff.recipe import read_recipe
    from lmeff.sweeps.cases import read_sweep
    from lmeff.sweeps.plan import recipes_by_tokens
    from lmeff.sweeps.reading import is_sweep

    if not is_sweep(options.recipe, options.overrides):
        resolved = read_recipe(options.recipe, options.overrides)
        check_text_of(resolved)
        _prepare(resolved.recipe, options.recipe)
        return
    mistakes: list[str] = []
    failures: list[str] = []
    for recipe in recipes_by_tokens(read_sweep(options.recipe, options.overrides)):
        try:
            _prepare(recipe, options.recipe)
        except InputError as error:  # the other cases do not need it
            mistakes += error.mistakes
        except RunFailed as error:  # such as a download
            failures.append(str(error))
    if failures:
        raise RunFailed("\n".join(dict.fromkeys([*mistakes, *failures])))
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))


def _prepare(recipe: "Recipe", file: str) -> None:
    from lmeff.tokens import prepare_packing, prepare_run
    from lmeff.tokens.summary import describe_prepared

    corpus, tokens = prepare_run(recipe, Path(file).parent)
    best_fit = recipe.batch.packing == "best_fit"
    packing = prepare_packing(tokens, recipe.batch.sequence_length) if best_fit else None
    for line in describe_prepared(corpus, tokens, packing):
        print(line)
