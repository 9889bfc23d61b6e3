"""What options of `lmeff eval` do not go together, before anything is loaded. Needs no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.reuse import refuse_part_of_run
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.evaluation import Evaluation


def section_of(what: str) -> Evaluation:
    """What a run's recipe says about evaluation; of anything else the defaults."""
    recipe = RunFolder(Path(what)).recipe_yaml
    return read_recipe(recipe).recipe.evaluation if recipe.is_file() else Evaluation()


def check_eval(what: str, changes: Mapping[str, Any], output: Path | None, exact: bool, follow: bool) -> None:
    """Raises InputError. `changes` is what the command line says instead of the run's recipe."""
    section, run = section_of(what), RunFolder(Path(what))
    if follow and not run.recipe_yaml.is_file():
        raise InputError(f"--follow: {what} is no run folder")
    if changes.get("limit") not in (None, section.limit):
        refuse_part_of_run("--limit", follow or run.has_revisions, output)
    if exact and (changes.get("precision") or section.precision) == "adaptive":
        raise InputError("--exact: is lm-eval's own scoring in float32; it goes without precision: adaptive")
