"""A complete run that is given a new last anchor: whether it can train on to it, and how that begins. No torch.

The result is that of a run with the new anchor from the start. So every step that the run has trained must have had the
learning rate, mask rate and stage that the longer run gives it, and there must be a checkpoint of where it ended.
"""

from collections.abc import Iterator, Sequence

from lmeff.errors import InputError
from lmeff.files import has_manifest, locked, write_text
from lmeff.formats.plan import PlanAnchor, PlanPart
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.state import StateDocument
from lmeff.plan import plan_anchors
from lmeff.plan.parts import TRUNK, plan_parts
from lmeff.recipe import Resolved, read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision
from lmeff.runs.completed import complete_state, done_state, is_done
from lmeff.runs.process import launched_rank
from lmeff.runs.state import RunState, record_changes

_MAY_CHANGE = ("anchors.", "corpus.epochs ", "evaluation.dev_tokens ")
"""Settings of a complete run that may change when it trains on. Those that decide neither weights nor losses (tasks, delivery,
checkpoints, trackers, places) may change anyway and are not among `changes`. `corpus.epochs` only says how far the text may be
read, and `evaluation.dev_tokens` over how much of it held-out losses are taken."""
_RATES = ("schedule.name ", "schedule.warmup ")


def finished_state(run: RunFolder, recipe: Recipe, only_part: int | None) -> StateDocument | None:
    """The state of a run, or of one of its parts, when nothing is left to train of the recipe; else None."""
    parts = _parts(recipe)
    if only_part is not None:
        return done_state(run, parts[only_part])
    state = complete_state(run)
    if state is None or (recipe.anchors.until is None and _missing_parts(run, recipe, parts, state)):
        return None
    return state


def check_extension(run: RunFolder, recipe: Recipe, changes: Sequence[str]) -> None:
    """Raises InputError, with the reason, when the run is complete and cannot train on with these changes to its
    recipe, or has nothing left to train with them."""
    if not changes or (state := complete_state(run)) is None:
        return
    before = read_recipe(run.recipe_yaml).recipe
    if reason := next(_reasons(run, before, recipe, state, changes), None):
        raise InputError(
            f"{run}: complete at {state.tokens:,} tokens, and cannot go on: {reason} (asked for: {'; '.join(changes)});"
            " give the run that you want another name (name=...)"
        )


def replace_recipe(run: RunFolder, resolved: Resolved, state: RunState, changes: list[str]) -> None:
    """Makes a recipe that is to be trained the run's own, and records what changed; a complete run that it extends becomes an
    interrupted one. Every process calls this and the first one does it. Killed at any point, it may be done again."""
    was_withheld, state.is_withheld = state.is_withheld, False
    if launched_rank() > 0:
        return
    recipe = resolved.recipe
    with locked(run.recipe_lock):
        complete = complete_state(run)
        record_changes(run, complete.step if complete else state.step, changes)
        write_text(run.recipe_yaml, resolved.to_yaml())
        if complete and not finished_state(run, recipe, None):
            RunState(run, recipe.batch.clock, complete, plan_anchors(recipe)).write("interrupted")
    if was_withheld:
        state.write("running")


def _parts(recipe: Recipe) -> list[PlanPart]:
    return plan_parts(recipe, plan_anchors(recipe))


def _missing_parts(run: RunFolder, recipe: Recipe, parts: list[PlanPart], state: StateDocument) -> list[PlanPart]:
    """The parts of a recipe that a complete run has not trained, but for the trunk. A part whose folder was removed since then
    counts as trained when all its anchors are there."""
    if parts[0].name is None:
        return [part for part in parts if part.last_step > state.step]
    return [
        part
        for part in parts
        if part.name != TRUNK and not is_done(run, part) and not _has_all_anchors(run, recipe, part)
    ]


def _has_all_anchors(run: RunFolder, recipe: Recipe, part: PlanPart) -> bool:
    """Whether all anchors of a part are kept."""
    return all(_is_kept(run, recipe, anchor) for anchor in part.anchors)


def _is_kept(run: RunFolder, recipe: Recipe, anchor: PlanAnchor) -> bool:
    return has_manifest(run.revision(Revision(recipe.seed, anchor.nominal_tokens).name))


def _reasons(
    run: RunFolder, before: Recipe, recipe: Recipe, state: StateDocument, changes: Sequence[str]
) -> Iterator[str]:
    """Why a complete run cannot go on as another recipe."""
    former, parts = _parts(before), _parts(recipe)
    if before.anchors.until or recipe.anchors.until:
        yield "with anchors.until its final model is no anchor, and would be lost"
    elif not (missing := _missing_parts(run, recipe, parts, state)):
        yield f"nothing is left to train; add an anchor above {state.tokens:,}"
    elif recipe.anchors.mode == "snapshot":
        yield from _rate_reasons(former[0], parts[0])
        yield from _mask_rate_reasons(before, recipe)
        yield from _stage_reasons(before, recipe)
        yield from _checkpoint_reasons(run, state.step)
        for anchor in parts[0].anchors:
            if anchor.step <= state.step and not _is_kept(run, recipe, anchor):
                yield f"{anchor.name} is step {anchor.step}, and it is at step {state.step} already"
    else:
        for part in parts:
            if part not in missing and part.name != TRUNK and not is_done(run, part):
                yield f"{run.part(part.name)} is not there any more, so that part would be trained anew"
        if recipe.anchors.mode == "anneal":
            yield from _mask_rate_reasons(before, recipe)
            yield from _stage_reasons(before, recipe)
            yield from _trunk_reasons(run, former[0], parts[0], missing)
    yield from _setting_reasons(run, recipe, changes)


def _trunk_reasons(run: RunFolder, former: PlanPart, trunk: PlanPart, missing: list[PlanPart]) -> Iterator[str]:
    """Why branches cannot leave a trunk that was trained as `former`."""
    trunk_folder = run.part(former.name)
    state = StateDocument.read(trunk_folder)
    if state is None:
        yield f"{trunk_folder} is not there any more, so it would be trained anew"
        return
    yield from _rate_reasons(former, trunk)
    if trunk.last_step > state.step:
        yield from _checkpoint_reasons(trunk_folder, state.step)
    for branch in missing:
        if branch.first_step <= state.step:
            yield from _checkpoint_reasons(trunk_folder, branch.first_step)


def _setting_reasons(run: RunFolder, recipe: Recipe, changes: Sequence[str]) -> Iterator[str]:
    """Settings, beside the anchors, with which the steps that are done would have been trained otherwise."""
    # In a run without parts and in a trunk, `_rate_reasons` compares the learning rates; restarts that are done have no such
    # check, so their schedule may not change at all.
    may_change = _MAY_CHANGE + (() if recipe.anchors.mode == "restart" else _RATES)
    for change in changes:
        if not change.startswith(may_change):
            yield f"{change.partition(' ')[0]}: its steps were trained with another value"
    from lmeff.tokens.of_run import is_same_text

    if is_same_text(recipe, run.path) is False:
        yield "corpus: its steps were trained on other text than is there now"


def _rate_reasons(former: PlanPart, part: PlanPart) -> Iterator[str]:
    """Why the steps of `former` would have had other learning rates in `part`."""
    if former.schedule != part.schedule:
        yield f"schedule.name: its steps had the learning rates of {former.schedule!r}, not of {part.schedule!r}"
    if former.schedule in ("cosine", "linear"):
        yield (
            f"schedule.name: {former.schedule!r} ends with the run, at step {former.last_step}, so in a longer one every step"
            " after the warm-up has another learning rate"
        )
    if former.schedule == "wsd":
        yield f"schedule.name: its last {former.decay_steps} steps were the decay of 'wsd', which a longer run has later"
    if former.warmup_steps != part.warmup_steps:
        yield f"schedule.warmup: it was {former.warmup_steps} steps, and would be {part.warmup_steps}"


def _mask_rate_reasons(before: Recipe, recipe: Recipe) -> Iterator[str]:
    """Why the steps of a run would have had other mask rates with the anchors of another recipe; restarts have rates of their
    own."""
    rates = recipe.objective.settings(recipe.objective_name)
    first, last = (rates.get(key, 0.0) for key in ("mask_rate", "final_mask_rate"))
    ends = [one.batch.clock.step_of(one.anchors.last_tokens) for one in (before, recipe)]
    if first != last and ends[0] != ends[1]:
        yield (
            f"objective.final_mask_rate: the mask rate goes from {first:g} to {last:g} over the run, to step {ends[0]}, so in a"
            " longer one every step after the first has another rate"
        )


def _stage_reasons(before: Recipe, recipe: Recipe) -> Iterator[str]:
    """Why the stages of a run's curriculum would have begun elsewhere with the anchors of another recipe."""
    ends = [one.batch.clock.step_of(one.anchors.last_tokens) for one in (before, recipe)]
    if recipe.curriculum.is_iterative and recipe.curriculum.pacing == "share" and ends[0] != ends[1]:
        yield (
            f"curriculum.pacing: its stages began at shares of the run to step {ends[0]}, so in a longer one each begins later"
        )


def _checkpoint_reasons(run: RunFolder, step: int) -> Iterator[str]:
    """Why training cannot go on from a step."""
    checkpoint = run.checkpoint(step)
    if not has_manifest(checkpoint):
        yield f"{checkpoint} is not there, so there is nothing to go on from"
