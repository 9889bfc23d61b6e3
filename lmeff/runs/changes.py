"""Whether a folder holds the run that is asked for: what has changed in its recipe since it began. No torch."""

import yaml

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import note
from lmeff.recipe import Resolved
from lmeff.recipe.changes import Change, changes_since
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.fields import OnResume
from lmeff.runs.completed import is_complete
from lmeff.runs.extension import check_extension, finished_state
from lmeff.runs.process import launched_rank


def _is_its_text(run: RunFolder, recipe: Recipe) -> bool:
    """Whether text in another place is what the run was trained on. Where that cannot be known yet, a run that is
    not complete finds it out when it has its tokens."""
    from lmeff.tokens.of_run import is_same_text

    is_same = is_same_text(recipe, run.path)
    return not is_complete(run) if is_same is None else is_same


def recipe_changes(run: RunFolder, resolved: Resolved, reads_text: bool = True) -> list[Change]:
    """How the run was told to train otherwise; empty for the same run and for one that has nothing to lose yet. Without
    `reads_text`, files of the same names in another place are taken for the same text."""
    if not run.recipe_yaml.exists() or not run.has_work():
        return []
    changes = changes_since(yaml.safe_load(run.recipe_yaml.read_text(encoding="utf-8")), resolved)
    others = [change for change in changes if not change.is_moved_text]
    is_other_corpus = any(change.path[0] == "corpus" for change in others)
    has_moved = len(others) < len(changes)
    return (
        others if has_moved and (is_other_corpus or not reads_text or _is_its_text(run, resolved.recipe)) else changes
    )


def check_same_recipe(run: RunFolder, resolved: Resolved, accept: bool, only_part: int | None = None) -> list[str]:
    """What has changed since the folder's run began, one line a setting, when that is accepted. What changes nothing any more,
    since the run or `only_part` of it is trained and has its losses, is said and is no change.

    Raises InputError, a line for each difference, when it is not, or when the run could not go on with it.
    """
    changes = recipe_changes(run, resolved)
    if changes and all(change.is_of_losses for change in changes) and finished_state(run, resolved.recipe, only_part):
        if launched_rank() == 0:
            note("".join(f"{run}: {change}; its held-out losses stay as they were taken" for change in changes))
        return []
    if fixed := [change for change in changes if change.on_resume is OnResume.FIXED]:
        advice = "a run cannot go on with another one; give this run another name (name=...)"
        raise InputError(
            *(f"{run}: {change}; {advice if change in fixed else 'this changed, too'}" for change in changes)
        )
    said = [str(change) for change in changes]
    if said and not accept:
        check_extension(run, resolved.recipe, said)  # no advice that would be refused
        advice = "give this run another name (name=...), or go on with --accept-changes"
        raise InputError(*(f"{run}: {change}; {advice}" for change in said))
    return said
