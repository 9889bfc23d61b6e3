"""The verbs of `lmeff` with which a run begins. Nothing heavy is imported before a verb needs it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmeff.cli.argument_types import overrides_anywhere, path, positive_int


def _train(options: argparse.Namespace) -> int:
    from lmeff.cli.train_launch import train

    arguments = [*options.recipe, *options.overrides]
    arguments += ["--index", str(options.index)] if options.index is not None else []
    arguments += ["--accept-changes"] * options.accept_changes + ["--require"] * options.require
    return train(arguments, options.launcher, options.num_processes)


def _init(options: argparse.Namespace) -> None:
    from lmeff.cli.starter import write_slurm, write_starter

    lines = write_slurm(Path(options.slurm)) if options.slurm else []
    if options.file or not options.slurm:
        lines += write_starter(Path(options.file or "recipe.yaml"))
    print("\n".join(lines))


def _schema(options: argparse.Namespace) -> None:
    from lmeff.cli.starter import schema_text

    print(schema_text(), end="")


def add_recipe(sub: argparse.ArgumentParser, **options: Any) -> None:
    """Which recipe, and what is different from it."""
    text = "a recipe, or the name of one that comes with lmeff, such as quickstart"
    sub.add_argument("recipe", type=path, metavar="RECIPE", help=text, **options)
    # With a default, argparse does not name them among the arguments that are required.
    sub.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="keys of the recipe")
    overrides_anywhere(sub)


def add_training_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds them; `verb(name, action, summary)` makes the parser of one."""
    sub = verb("train", _train, "run a recipe: text, tokens, training, scores at every anchor, report")
    add_recipe(sub, nargs="+")
    text = "cpu, cpu_ddp, one_gpu, ddp, zero1, zero2, zero3 ... or an accelerate configuration (a GPU if there is one)"
    sub.add_argument("--launcher", type=path, metavar="NAME|FILE", help=text)
    text = "processes, one for each device, in place of the launcher's number"
    sub.add_argument("--num-processes", type=positive_int, metavar="N", help=text)
    sub.add_argument("--index", type=int, metavar="N", help="which of several recipes, or of a recipe's parts, from 0")
    sub.add_argument("--accept-changes", action="store_true", help="go on although the recipe or its text changed")
    sub.add_argument("--require", action="store_true", help="exit code 1 when a revision could not be delivered")
    sub = verb("init", _init, "write a recipe to start from, with the schema that editors check it by")
    sub.add_argument("file", type=path, nargs="?", metavar="FILE.yaml", help="its name (recipe.yaml)")
    sub.add_argument("--slurm", type=path, metavar="DIR", help="write the templates for Slurm into this folder")
    verb("schema", _schema, "print the JSON schema of recipes")
