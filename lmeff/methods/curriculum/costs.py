"""What a curriculum computes beside training, and how often it does. Needs no torch."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from lmeff.errors import RunFailed
from lmeff.formats.plan import PlanPart
from lmeff.methods.curriculum.reference import check_reference, reference_of
from lmeff.models.families import family_of
from lmeff.plan import plan_anchors
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.plan.compute import steps_between_looks
from lmeff.plan.disk import text_tokens
from lmeff.plan.parts import TRUNK, plan_parts
from lmeff.quantities import format_short
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.curriculum import Curriculum

PerToken = Callable[[int], float]
"""FLOPs of reading a token in a window of some length."""


@dataclass(frozen=True)
class KnownText:
    """What nobody knows before there are tokens."""

    scoring_flops: Callable[[PerToken], float]
    """Of scoring all documents once, what short windows are filled up with included."""
    held_out_positions: Callable[[], int]
    """That a look at the held-out loss reads."""


def steps_of_run(recipe: Recipe, steps_of_part: int) -> int:
    """Steps that shares of the run are counted of: those of a part where each is a run of its own."""
    is_restart = recipe.anchors.mode == "restart"
    return steps_of_part if is_restart else recipe.batch.clock.step_of(recipe.anchors.last_tokens)


def may_begin_with_the_end(recipe: Recipe, part: str | None) -> bool:
    """Whether the last step of a part may begin a stage: a branch goes on from there, and a run by looks may be given later
    anchors. Elsewhere documents would be scored for nothing."""
    return part == TRUNK or (part is None and recipe.curriculum.looks)


def looks_of(recipe: Recipe, first_step: int, last_step: int) -> int:
    """Looks at the held-out loss after the first of these steps, up to the last; 0 where stages end without them."""
    if not recipe.curriculum.looks:
        return 0
    every = steps_between_looks(recipe, recipe.curriculum.look_every)
    return last_step // every - first_step // every


def stages_begun(recipe: Recipe, part: PlanPart) -> int:
    """How many stages begin in a part after its first step; by looks, at most."""
    section, first = recipe.curriculum, part.first_step
    last = part.last_step if may_begin_with_the_end(recipe, part.name) else part.last_step - 1
    if not section.looks:
        num_steps = steps_of_run(recipe, part.last_step)
        begins = {
            bisect_left(range(num_steps), stage, key=lambda step: section.stage_at(step, num_steps))
            for stage in range(1, section.last_stage + 1)
        }
        return sum(first < step <= last for step in begins)
    return _most_ended(section, looks_of(recipe, first, last), bool(first))


def _most_ended(section: Curriculum, looks: int, goes_on: bool = False) -> int:
    """Stages that so many looks can end. `goes_on`: after others, which count for the first of them."""
    patience = section.patience or 1
    # The first look of a stage is the best of its own; of all stages it need not be.
    if "best_of_all_stages" in section.faults:
        most = -(-looks // patience) if goes_on else max(0, looks - 1) // patience
    else:
        most = -(-looks // (patience + 1)) if goes_on else looks // (patience + 1)
    return min(section.last_stage, most)


def warning_of(recipe: Recipe) -> str | None:
    """Says that even the longest way through a run has too few looks to end all stages before its last step."""
    section = recipe.curriculum
    if not section.looks:
        return None
    looks = looks_of(recipe, 0, max(part.last_step for part in plan_parts(recipe, plan_anchors(recipe))) - 1)
    most = _most_ended(section, looks)
    if most == section.last_stage:
        return None
    return (
        f"{looks} look{'' if looks == 1 else 's'} at the held-out loss can end at most {most} of {section.last_stage} stages,"
        f" so that no more than {100 * section.share_of(most):.3g}% of the text is read; lower curriculum.look_every, or raise"
        " curriculum.start or curriculum.step"
    )


def curriculum_costs(recipe: Recipe, text: KnownText | None = None) -> MethodCosts:
    """Of the whole run: with pacing 'share' exactly, with looks at most, with all its stages and looks to its end. Without
    `text` about, as far as the corpus is known. Raises InputError for a reference that is there and does not fit."""
    section = recipe.curriculum
    if not (section.scores_with_model or section.looks):
        return NOTHING_BESIDE
    parts = plan_parts(recipe, plan_anchors(recipe))
    forward, times, notes = family_of(recipe).forward_flops_per_token, 0, list[str]()
    looks = sum(looks_of(recipe, part.first_step, part.last_step) for part in parts)
    flops = looks * _positions_of_look(recipe, text) * forward(recipe.batch.sequence_length) if looks else 0.0
    if section.order == "own_loss":
        times = sum(stages_begun(recipe, part) for part in parts)
        at_most = " at most" if section.looks else ""
        notes.append(f"documents are scored {times} times{at_most}, when stages begin")
    elif (source := reference_of(recipe)) is not None:
        if source.is_missing:
            missing = f"what the reference computes is not known before {source.name} is there"
            return MethodCosts(flops_scoring=flops, notes=(missing,))
        try:
            check_reference(source, recipe)
        except RunFailed as error:  # the Hub cannot be asked
            return MethodCosts(flops_scoring=flops, notes=(f"what the reference computes is not known: {error}",))
        forward, times = source.family.forward_flops_per_token, 1
        notes.append("the reference scores the documents once for all runs on this text")
    if times:
        once, about = _flops_of_scoring(recipe, text, forward)
        flops += times * once
        notes += [about] if about else []
    if looks:
        notes.append(f"the held-out loss is looked at {looks} times at most")
    notes += [warning] if (warning := warning_of(recipe)) else []
    return MethodCosts(flops_scoring=flops, notes=tuple(notes))


def _positions_of_look(recipe: Recipe, text: KnownText | None) -> int:
    return text.held_out_positions() if text else recipe.evaluation.dev_tokens


def _flops_of_scoring(recipe: Recipe, text: KnownText | None, per_token: PerToken) -> tuple[float, str]:
    """Of scoring all documents once, and what there is to say of the number."""
    if text:
        return text.scoring_flops(per_token), ""
    of_a_token = per_token(recipe.batch.sequence_length)
    num_tokens = text_tokens(recipe.corpus, recipe.tokenizer.vocab_size)
    if num_tokens is None:
        return 0.0, f"scoring takes {format_short(of_a_token)} FLOPs for each token of the text, which is not known yet"
    return (
        num_tokens * of_a_token,
        "short documents are filled up for that, which a run counts and this estimate does not",
    )
