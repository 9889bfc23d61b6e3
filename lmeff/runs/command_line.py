"""What a command line of `lmeff.run` asks for. Needs no torch."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import add_options, set_verbosity
from lmeff.models.families import solved
from lmeff.plan import plan_anchors
from lmeff.plan.parts import plan_parts
from lmeff.recipe import Resolved, read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.runs.signals import StopRequests

FindCases = Callable[[str, Sequence[str]], Sequence[Resolved] | None]
"""From a file and `section.key=value` words to the recipes of a sweep, by their numbers; None when that is no sweep."""


class Rungs(Protocol):
    """What the rules of a sweep say of the case that is to be trained."""

    def check(self) -> None:
        """Raises Killed or Interrupted where there is nothing to do."""

    def killed(self) -> object | None:
        """Why the case has ended early; None for one that goes on."""

    def watched(self, measures: Any, stop: StopRequests) -> Any:
        """What measures the run's anchors, and then asks the run to stop where it has to."""


@dataclass(frozen=True)
class RunCommand:
    """A recipe that is to be trained, or a part of one."""

    resolved: Resolved
    part: int | None
    """One part of a recipe in parts; None for all."""
    accept_changes: bool
    pauses_at_rungs: bool = False
    """Whether a case stops where the rules of its sweep need other cases first."""
    rungs: Rungs | None = None
    """Of a case of a sweep with such rules."""

    def at_rungs(self, measures: Any, stop: StopRequests) -> Any:
        """What measures the run's anchors, with what the rules of a sweep say there."""
        return self.rungs.watched(measures, stop) if self.rungs else measures

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


def read_arguments(
    argv: Sequence[str] | None, description: str | None = None, find_cases: FindCases = lambda file, words: None
) -> RunCommand:
    """What to run. Raises InputError."""
    options = _parser(description).parse_intermixed_args(argv)
    set_verbosity(options.verbosity)
    files = [word for word in options.words if "=" not in word]
    settings = [word for word in options.words if "=" in word] + ["publish.require=true"] * options.require
    if not files:
        raise InputError("no recipe given; for example quickstart, which comes with lmeff")
    resolved, part = _chosen(files, settings, options.index, find_cases)
    resolved = with_solved_budget(resolved)
    part = options.part if part is None else part
    if options.require and resolved.recipe.publish.to == "local":
        raise InputError(
            "--require: publish.to is local, and nothing is delivered that it could require; publish.to=hub"
        )
    if part is not None:
        recipe = resolved.recipe
        parts = [str(one.name) for one in plan_parts(recipe, plan_anchors(recipe))]
        if recipe.anchors.mode == "snapshot":
            raise InputError(f"--part {part}: a run with anchors.mode 'snapshot' has no parts; leave it out")
        _check_index("--index" if options.part is None else "--part", part, parts, "parts")
    return RunCommand(resolved, part, options.accept_changes, options.pause_at_rungs)


def _chosen(
    files: Sequence[str], settings: Sequence[str], index: int | None, find_cases: FindCases
) -> tuple[Resolved, int | None]:
    """The recipe that `--index` names, of several files or of a sweep; of a recipe in parts, its part. Raises InputError."""
    if index is None and len(files) > 1:
        raise InputError(f"{len(files)} recipes given; say with --index N which one to run, 0 to {len(files) - 1}")
    if len(files) > 1:
        _check_index("--index", index or 0, files, "recipes")
        return read_recipe(files[index or 0], settings), None
    if (cases := find_cases(files[0], settings)) is not None:
        last = len(cases) - 1
        if index is None and last:
            raise InputError(
                f"{files[0]}: {len(cases)} cases; say with --index N which one to run, 0 to {last}, or run all of them with"
                f" lmeff sweep run {' '.join([*files, *settings])}"
            )
        _check_index("--index", index or 0, [case.recipe.name for case in cases], "cases")
        return cases[index or 0], None
    resolved = read_recipe(files[0], settings)
    if resolved.recipe.anchors.mode == "snapshot" or index is None:
        _check_index("--index", index or 0, files, "recipe")
        return resolved, None
    return resolved, index


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmeff.run", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="RECIPE.yaml | section.key=value")
    text = "go on although the recipe or its text changed; a complete run trains on to a new last anchor"
    parser.add_argument("--accept-changes", action="store_true", help=text)
    text = "which of several recipes, case of a sweep, or part of a recipe in parts, from 0 (the task of a Slurm array)"
    parser.add_argument("--index", type=int, help=text)
    parser.add_argument(
        "--part", type=int, help="part of the recipe that --index names, from 0; without it all of them"
    )
    text = "stop, to go on later, where ranking.kill of the sweep needs the other cases' results first"
    parser.add_argument("--pause-at-rungs", action="store_true", help=text)
    text = "an error (exit code 1) when a revision could not be delivered to the Hub; the same as publish.require=true"
    parser.add_argument("--require", action="store_true", help=text)
    add_options(parser)
    return parser


def with_solved_budget(resolved: Resolved) -> Resolved:
    """The recipe with the shape that its budget leads to, or led to when its run began. Raises InputError."""
    if resolved.recipe.model.budget is None:
        return resolved
    begun = RunFolder.of(resolved.recipe).recipe_yaml
    kept = yaml.safe_load(begun.read_text(encoding="utf-8")) if begun.exists() else {}
    return solved(resolved, kept.get("model"))


def _check_index(option: str, index: int, choices: Sequence[str], what: str) -> None:
    """Raises InputError, naming the choices, for a number that is none of theirs."""
    if 0 <= index < len(choices):
        return
    if len(choices) == 1:
        raise InputError(f"{option} {index}: there is one {what.removesuffix('s')}, 0")
    if len(choices) > 12:
        raise InputError(f"{option} {index}: there are {len(choices)} {what}, 0 to {len(choices) - 1}")
    raise InputError(f"{option} {index}: there is " + "; ".join(f"{at} {choice}" for at, choice in enumerate(choices)))
