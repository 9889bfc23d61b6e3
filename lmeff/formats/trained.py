"""How far a run has come, of all its parts together."""

from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument


def trained_tokens(run: RunFolder, plan: PlanDocument | None, state: StateDocument | None) -> int:
    """Tokens of all parts together, where there are several. `state`: of the run, or of the part that was written last."""
    if state is None:
        return 0
    if plan is None or plan.mode == "snapshot":
        return state.tokens
    if state.state == "complete" and StateDocument.read(run) is not None:
        return plan.trained_tokens
    num_steps = 0
    for part in plan.parts:
        of_part = StateDocument.read(run.part(part.name))
        if of_part is not None:
            num_steps += max(0, min(of_part.step, part.last_step) - part.first_step)
    return plan.clock.tokens_at(num_steps)


def planned_tokens(plan: PlanDocument | None) -> int | None:
    """Those that are to be trained, over all parts."""
    return (plan.trained_tokens or plan.num_tokens) if plan else None
