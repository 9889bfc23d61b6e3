"""What a command line of `lmeff.run` asks for. Needs no torch."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import add_options, set_verbosity
from lmeff.models.families import solved
from lmeff.plan import plan_anchors
from lmeff.plan.parts import plan_parts
from lmeff.recipe import Resolved, read_recipe
from lmeff.recipe.schema import Recipe


@dataclass(frozen=True)
class RunCommand:
    """A recipe that is to be trained, or a part of one."""

    resolved: Resolved
    part: int | None
    """One part of a recipe in parts; None for all."""
    accept_changes: bool

    @property
    def recipe(self) -> Recipe:
        return self.resolved.recipe

    @property
    def run(self) -> RunFolder:
        """The run, whichever part of it is asked for."""
        return RunFolder.of(self.recipe)

    @property
    def folder(self) -> RunFolder:
        """The run, or the part that is asked for: its state says how far the command has come."""
        part = None if self.part is None else plan_parts(self.recipe, plan_anchors(self.recipe))[self.part].name
        return self.run.part(part)


def read_arguments(argv: Sequence[str] | None, description: str | None = None) -> RunCommand:
    """What to run. Raises InputError."""
    options = _parser(description).parse_intermixed_args(argv)
    set_verbosity(options.verbosity)
    files = [word for word in options.words if "=" not in word]
    settings = [word for word in options.words if "=" in word] + ["publish.require=true"] * options.require
    if not files:
        raise InputError("no recipe given; for example quickstart, which comes with lmeff")
    if options.index is None and len(files) > 1:
        raise InputError(f"{len(files)} recipes given; say with --index N which one to run, 0 to {len(files) - 1}")
    index = options.index or 0
    if len(files) > 1:
        _check_index(index, files, "recipes")
        return RunCommand(_read(files[index], settings, options.require), None, options.accept_changes)
    resolved = _read(files[0], settings, options.require)
    if resolved.recipe.anchors.mode == "snapshot" or options.index is None:
        _check_index(index, files, "recipe")
        return RunCommand(resolved, None, options.accept_changes)
    parts = plan_parts(resolved.recipe, plan_anchors(resolved.recipe))
    _check_index(index, [str(part.name) for part in parts], "parts")
    return RunCommand(resolved, index, options.accept_changes)


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmeff.run", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="RECIPE.yaml | section.key=value")
    text = "go on although the recipe or its text changed; a complete run trains on to a new last anchor"
    parser.add_argument("--accept-changes", action="store_true", help=text)
    text = "which of several recipes, or part of a recipe in parts, from 0 (the task of a Slurm array)"
    parser.add_argument("--index", type=int, help=text)
    text = "an error (exit code 1) when a revision could not be delivered to the Hub; the same as publish.require=true"
    parser.add_argument("--require", action="store_true", help=text)
    add_options(parser)
    return parser


def _read(file: str, settings: Sequence[str], require: bool) -> Resolved:
    resolved = read_recipe(file, settings)
    if resolved.recipe.model.budget is not None:
        begun = RunFolder.of(resolved.recipe).recipe_yaml
        kept = yaml.safe_load(begun.read_text(encoding="utf-8")) if begun.exists() else {}
        resolved = solved(resolved, kept.get("model"))
    if require and resolved.recipe.publish.to == "local":
        raise InputError(
            "--require: publish.to is local, and nothing is delivered that it could require; publish.to=hub"
        )
    return resolved


def _check_index(index: int, choices: Sequence[str], what: str) -> None:
    """Raises InputError, naming the choices, for an `--index` that is none of theirs."""
    if 0 <= index < len(choices):
        return
    if len(choices) == 1:
        raise InputError(f"--index {index}: there is one {what}, 0")
    raise InputError(f"--index {index}: there is " + "; ".join(f"{at} {choice}" for at, choice in enumerate(choices)))
