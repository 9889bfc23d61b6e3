"""Which runs and parts are complete, and what there is to say of such a run. No torch, so that it is said at once."""

from collections.abc import Sequence

from lmeff.formats.plan import PlanPart
from lmeff.formats.result import kinds_in
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.recipe.schema import Recipe

_VERBS = {"generation": "generate", "finetuning": "finetune --tasks ..."}
"""Of measures that are not called like their verb."""


def complete_state(run: RunFolder) -> StateDocument | None:
    """The state of a run, or of a part, that says `complete`; else None."""
    state = StateDocument.read(run)
    return state if state is not None and state.state == "complete" else None


def is_complete(run: RunFolder) -> bool:
    return complete_state(run) is not None


def done_state(run: RunFolder, part: PlanPart) -> StateDocument | None:
    """The state of a part that was trained to its end; else None. Also None for the only part of a run without parts: there
    the run's own state says it."""
    state = complete_state(run.part(part.name)) if part.name else None
    return state if state is not None and state.step >= part.last_step else None


def is_done(run: RunFolder, part: PlanPart) -> bool:
    return done_state(run, part) is not None


def complete_text(
    run: RunFolder, recipe: Recipe, part: RunFolder, state: StateDocument, undelivered: Sequence[str]
) -> str:
    """What to print of a complete run, or of a complete `part` of it: that nothing is left to do, which tasks of the recipe it
    was not scored on, which measures were not taken, what is not on the Hub, and where its report is."""
    text = f"{part} is complete at {state.tokens:,} tokens; nothing to do"
    missing = [task for task in recipe.evaluation.tasks if not run.find_in_results(f"{task}.json")]
    if missing:
        text += f"\nnot scored on {', '.join(missing)}: lmeff eval {run} --tasks {','.join(missing)}"
    there = kinds_in(run.results) if recipe.evaluation.measures else set()
    for kind in recipe.evaluation.measures:
        if kind not in there:
            text += f"\n{kind} was not measured: lmeff {_VERBS.get(kind, kind)} {run}"
    if undelivered:
        text += f"\nnot on the Hub yet, {', '.join(undelivered)}: lmeff publish {run}"
    return text + f"\nreport: {run.report_html}"
