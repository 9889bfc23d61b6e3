"""What the verbs that take a recipe have in common on the command line."""

import argparse
from typing import Any

from lmeff.cli.argument_types import overrides_anywhere, path


def add_recipe(sub: argparse.ArgumentParser, **options: Any) -> None:
    """Which recipe, and what is different from it."""
    text = "a recipe, or the name of one that comes with lmeff, such as quickstart"
    sub.add_argument("recipe", type=path, metavar="RECIPE", help=text, **options)
    # With a default, argparse does not name them among the arguments that are required.
    sub.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="keys of the recipe")
    overrides_anywhere(sub)
