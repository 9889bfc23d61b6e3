"""How a run is divided into parts, each a stretch of training with a schedule of its own."""

import math
from collections.abc import Iterator

from lmeff.errors import InputError
from lmeff.formats.plan import PlanAnchor, PlanPart
from lmeff.recipe.schema import Recipe

TRUNK = "trunk"
"""Name of the part in anneal mode that trains at a constant rate, and from which a branch leaves for every anchor."""


def _warmup_steps(recipe: Recipe, last_step: int) -> int:
    amount, unit = recipe.schedule.warmup_parts()
    if unit == "tokens":
        return recipe.batch.clock.step_of(int(amount))
    return int(amount) if unit == "steps" else math.ceil(amount * last_step)


def _part(recipe: Recipe, name: str | None, anchors: list[PlanAnchor], last_step: int, first_step: int = 0) -> PlanPart:
    schedule, decay_steps = recipe.schedule_name, 0
    if schedule == "wsd":
        # A branch, which begins after step 0, decays from its start to its end.
        decay_steps = last_step - first_step if first_step else math.ceil(recipe.schedule.decay * last_step)
    # A warm-up that is a share of the run is, for all parts in anneal mode, the share of the whole run, as the trunk warms up.
    warmup = _warmup_steps(recipe, _last_step(recipe) if recipe.anchors.mode == "anneal" else last_step)
    if warmup >= (limit := first_step or last_step - decay_steps):
        whose = f" of part {name}" if name else ""
        raise InputError(
            f"schedule.warmup: {warmup} steps of warm-up are not less than the {limit} steps{whose} before its rate falls"
            if decay_steps
            else f"schedule.warmup: {warmup} steps of warm-up are not less than the {limit} steps{whose or ' of the run'}"
        )
    return PlanPart(
        name=name,
        first_step=first_step,
        last_step=last_step,
        anchors=anchors,
        schedule=schedule,
        warmup_steps=warmup,
        decay_steps=decay_steps,
        branch_steps=[],
    )


def _last_step(recipe: Recipe) -> int:
    return recipe.batch.clock.step_of(recipe.anchors.last_tokens)


def _branches(recipe: Recipe, anchors: list[PlanAnchor]) -> Iterator[PlanPart]:
    for anchor in anchors:
        branch_step = recipe.batch.clock.step_of(math.ceil((1 - recipe.schedule.decay) * anchor.nominal_tokens))
        if not 0 < branch_step < anchor.step:
            raise InputError(
                f"anchors.tokens: {anchor.name} is step {anchor.step}, too early for a decay over {recipe.schedule.decay:g} of"
                " it; leave it out or lower batch.tokens"
            )
        yield _part(recipe, anchor.name, [anchor], anchor.step, branch_step)


def plan_parts(recipe: Recipe, anchors: list[PlanAnchor]) -> list[PlanPart]:
    """The parts of the run in the order in which they are trained.

    Raises InputError when a part is shorter than its warm-up, or an anchor too early for its decay.
    """
    start, later = [anchor for anchor in anchors if not anchor.step], [anchor for anchor in anchors if anchor.step]
    match recipe.anchors.mode:
        case "restart":
            # The first run of all keeps the model at step 0, too.
            groups = [[*(start if anchor is later[0] else []), anchor] for anchor in later]
            return [_part(recipe, group[-1].name, group, group[-1].step) for group in groups]
        case "anneal":
            branches = list(_branches(recipe, later))
            branch_steps = [branch.first_step for branch in branches]
            trunk = PlanPart(
                name=TRUNK,
                first_step=0,
                last_step=max(branch_steps),
                anchors=start,
                schedule="constant",
                warmup_steps=branches[0].warmup_steps,
                decay_steps=0,
                branch_steps=branch_steps,
            )
            return [trunk, *branches]
        case _:
            return [_part(recipe, None, anchors, _last_step(recipe))]
