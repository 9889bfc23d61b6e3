"""Which runs and parts are complete, and what there is to say of such a run. No torch, so that it is said at once."""

from collections.abc import Sequence

from lmeff.formats.plan import PlanPart
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.recipe.schema import Recipe


def is_complete(run: RunFolder) -> bool:
    """Whether the state of a run, or of a part, says so."""
    state = StateDocument.read(run)
    return state is not None and state.state == "complete"


def is_done(run: RunFolder, part: PlanPart) -> bool:
    """Whether a part was trained to its end. The only part of a run without parts counts as not done: the run's own state says
    more."""
    state = StateDocument.read(run.part(part.name)) if part.name else None
    return state is not None and state.state == "complete" and state.step >= part.last_step


def complete_text(run: RunFolder, recipe: Recipe, part: RunFolder, undelivered: Sequence[str]) -> str:
    """What to print of a complete run, or of a complete `part` of it: that nothing is left to do, which tasks of the recipe it
    was not scored on, what is not on the Hub, and where its report is."""
    text = f"{part} is complete at {StateDocument.read(part).tokens:,} tokens; nothing to do"
    missing = [task for task in recipe.evaluation.tasks if not run.find_in_results(f"{task}.json")]
    if missing:
        text += f"\nnot scored on {', '.join(missing)}: lmeff eval {run} --tasks {','.join(missing)}"
    if undelivered:
        text += f"\nnot on the Hub yet, {', '.join(undelivered)}: lmeff publish {run}"
    return text + f"\nreport: {run.report_html}"
