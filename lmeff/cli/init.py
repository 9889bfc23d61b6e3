"""`lmeff init`: a recipe to start from, and the Slurm templates."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import path

SUMMARY = "write a recipe to start from, with the schema that editors check it by"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("file", type=path, nargs="?", metavar="FILE.yaml", help="its name (recipe.yaml)")
    parser.add_argument("--slurm", type=path, metavar="DIR", help="write the templates for Slurm into this folder")


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.starter_files import write_slurm, write_starter

    lines = write_slurm(Path(options.slurm)) if options.slurm else []
    if options.file or not options.slurm:
        lines += write_starter(Path(options.file or "recipe.yaml"))
    print("\n".join(lines))
