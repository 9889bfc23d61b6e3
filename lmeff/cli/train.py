"""`lmeff train`: the main job, through accelerate."""

import argparse

from lmeff.cli.argument_types import path, positive_int
from lmeff.cli.recipe_options import add_recipe

SUMMARY = "run a recipe: text, tokens, training, scores at every anchor, report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_recipe(parser, nargs="+")
    text = "cpu, cpu_ddp, one_gpu, ddp, zero1, zero2, zero3 ... or an accelerate configuration (a GPU if there is one)"
    parser.add_argument("--launcher", type=path, metavar="NAME|FILE", help=text)
    text = "processes, one for each device, in place of the launcher's number"
    parser.add_argument("--num-processes", type=positive_int, metavar="N", help=text)
    text = "which of several recipes, of a sweep's cases, or of a recipe's parts, from 0"
    parser.add_argument("--index", type=int, metavar="N", help=text)
    parser.add_argument("--part", type=int, metavar="N", help="part of the recipe that --index names, from 0")
    parser.add_argument("--accept-changes", action="store_true", help="go on although the recipe or its text changed")
    text = "stop, to go on later, where ranking.kill of the sweep needs the other cases' results first"
    parser.add_argument("--pause-at-rungs", action="store_true", help=text)
    parser.add_argument("--require", action="store_true", help="exit code 1 when a revision could not be delivered")


def run(options: argparse.Namespace) -> int:
    from lmeff.cli.accelerate_launch import train

    arguments = [*options.recipe, *options.overrides]
    arguments += ["--index", str(options.index)] if options.index is not None else []
    arguments += ["--part", str(options.part)] if options.part is not None else []
    arguments += ["--pause-at-rungs"] * options.pause_at_rungs
    arguments += ["--accept-changes"] * options.accept_changes + ["--require"] * options.require
    return train(arguments, options.launcher, options.num_processes)
