"""What a sweep computes whose cases may end early: the least and the most, since nobody knows yet which of them stay."""

from collections.abc import Sequence
from typing import Any

from lmeff.formats.plan import PlanDocument
from lmeff.plan.budget import plan_budget
from lmeff.plan.compute import flops_of
from lmeff.quantities import format_short, format_tokens
from lmeff.recipe.schema import Recipe
from lmeff.sweeps.cases import Sweep
from lmeff.sweeps.ranking.section import Kill
from lmeff.sweeps.rungs.checks import rung_tokens
from lmeff.sweeps.rungs.rules import num_kept_by_halving


def plan_rungs(sweep: Sweep, plans: Sequence[PlanDocument]) -> dict[str, Any]:
    """What `lmeff plan SWEEP.yaml --json` says of them beside the sums: nothing where no case ends early, nor for some of the
    cases, of which nobody knows how many stay."""
    kill = sweep.ranking.kill
    if kill is None or sweep.is_part or sweep.not_compared:
        return {}
    tokens = rung_tokens(kill, sweep.cases[0].recipe)
    stretches: dict[str, list[float]] = {}
    for case, plan in zip(sweep.cases, plans, strict=True):
        of_seed = _flops_between(case.recipe, plan, tokens)
        known = stretches.setdefault(case.name, [0.0] * len(of_seed))
        stretches[case.name] = [one + other for one, other in zip(known, of_seed, strict=True)]
    numbers = [
        (len(stretches), len(stretches)),
        *num_left(kill, tokens, len(stretches), len(sweep.ranking.never_killed)),
    ]
    least = most = 0.0
    for place, (fewest, at_most) in enumerate(numbers):
        flops = sorted(of_case[place] for of_case in stretches.values())
        least, most = least + sum(flops[:fewest]), most + sum(flops[-at_most:])
    rungs = [
        {"tokens": one, "fewest_cases": fewest, "most_cases": at_most}
        for one, (fewest, at_most) in zip(tokens, numbers[1:], strict=True)
    ]
    return {"rungs": rungs, "least_flops": least, "most_flops": most}


def num_left(kill: Kill, rungs: Sequence[int], num_cases: int, num_never: int) -> list[tuple[int, int]]:
    """How many cases go on from each rung, at the least and at the most; `num_never` of them do not end."""
    fewest = most = num_cases
    found = []
    for tokens in rungs:
        if tokens >= kill.after_tokens:
            if kill.halving:
                fewest = num_kept_by_halving(fewest, kill.halving)
                most = min(most, num_kept_by_halving(most, kill.halving) + num_never)
            if kill.margin or kill.median is not None:
                fewest = 1
            fewest = max(fewest, num_never)
        found.append((fewest, most))
    return found


def format_rungs(plan: dict[str, Any]) -> list[str]:
    """The line of a sweep's plan; none without rungs."""
    if "rungs" not in plan:
        return []
    left = ", ".join(
        f"{_number(rung['fewest_cases'], rung['most_cases'])} from {format_tokens(rung['tokens'])}"
        for rung in plan["rungs"]
    )
    least, most = format_short(plan["least_flops"]), format_short(plan["most_flops"])
    flops = least if least == most else f"{least} to {most}"
    return [f"rungs      {flops} FLOPs where cases end early; so many go on: {left} tokens"]


def _number(fewest: int, most: int) -> str:
    return str(most) if fewest == most else f"{fewest} to {most}"


def _flops_between(recipe: Recipe, plan: PlanDocument, rungs: Sequence[int]) -> list[float]:
    """Of a run, from its beginning to the first rung, from each to the next, and from the last to its end."""
    _, recipe = plan_budget(recipe)
    ends = {anchor.nominal_tokens: anchor.step for anchor in plan.anchors}
    up_to = []
    for tokens in rungs:
        done = [part for part in plan.parts if plan.mode == "snapshot" or part.last_step <= ends[tokens]]
        up_to.append(flops_of(recipe, [(part.first_step, min(part.last_step, ends[tokens])) for part in done]))
    return [after - before for before, after in zip([0.0, *up_to], [*up_to, plan.total_flops], strict=True)]
