"""What a curriculum computes beside training, before anything runs; when it looks at the held-out loss. Needs no torch."""

from lmeff.errors import RunFailed
from lmeff.methods.distillation.sources import TeacherSource
from lmeff.models.families import family_of
from lmeff.plan import plan_anchors
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.plan.disk import text_tokens
from lmeff.plan.parts import plan_parts
from lmeff.quantities import format_short
from lmeff.recipe.schema import Recipe

_TRAINED_PER_LOOK = 100
"""By default, looking at the held-out loss takes one hundredth of the training computation."""


def steps_between_looks(recipe: Recipe) -> int:
    """A token that is only read costs a third of one that is trained on."""
    tokens = recipe.curriculum.look_every or -(-recipe.evaluation.dev_tokens * _TRAINED_PER_LOOK // 3)
    return max(1, recipe.batch.clock.step_of(tokens))


def steps_of_run(recipe: Recipe, steps_of_part: int) -> int:
    """Steps that shares of the run are counted of: those of a part where each is a run of its own."""
    is_restart = recipe.anchors.mode == "restart"
    return steps_of_part if is_restart else recipe.batch.clock.step_of(recipe.anchors.last_tokens)


def reference_of(recipe: Recipe) -> TeacherSource | None:
    """The other model that documents are scored by."""
    reference = recipe.curriculum.reference if recipe.curriculum.order == "reference_loss" else None
    return TeacherSource(reference, "curriculum.reference") if reference else None


def curriculum_costs(recipe: Recipe, num_tokens: int | None = None) -> MethodCosts:
    """Of the whole run, at most: with all its stages, and looks to its end. `num_tokens` are those of the training text,
    estimated where they are not given; what short windows are filled up with is not known. Raises InputError for a reference
    that is there and does not fit."""
    section, length = recipe.curriculum, recipe.batch.sequence_length
    if not (section.scores_with_model or section.looks):
        return NOTHING_BESIDE
    parts = plan_parts(recipe, plan_anchors(recipe))
    forward = family_of(recipe).forward_flops_per_token(length)
    looks = 0
    if section.looks:
        every = steps_between_looks(recipe)
        looks = sum(part.last_step // every - part.first_step // every for part in parts)
    flops, per_token, notes = looks * recipe.evaluation.dev_tokens * forward, 0.0, list[str]()
    if section.order == "own_loss":
        # Stages begin at looks; what comes before a branch is decided in the trunk.
        most = min(section.last_stage, looks) if section.looks else section.last_stage
        per_token = most * forward * max(1, sum(not part.first_step for part in parts))
        notes.append(f"documents are scored {most} times at most, when stages begin")
    elif (source := reference_of(recipe)) is not None:
        if source.is_missing:
            text = f"what the reference computes is not known before {source.name} is there"
            return MethodCosts(flops_scoring=flops, notes=(text,))
        try:
            source.check_fits(recipe)
        except RunFailed as error:  # the Hub cannot be asked
            return MethodCosts(flops_scoring=flops, notes=(f"what the reference computes is not known: {error}",))
        per_token = source.family.forward_flops_per_token(length)
        notes.append("the reference scores the documents once for all runs on this text")
    if num_tokens is None:
        num_tokens = text_tokens(recipe.corpus, recipe.tokenizer.vocab_size)
    if per_token and num_tokens is None:
        notes.append(
            f"scoring takes {format_short(per_token)} FLOPs for each token of the text, which is not known yet"
        )
    if looks:
        notes.append(f"the held-out loss is looked at {looks} times at most")
    return MethodCosts(flops_scoring=flops + per_token * (num_tokens or 0), notes=tuple(notes))
