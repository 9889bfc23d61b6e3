"""When anchors fire, and whether the text is long enough to reach them."""

import math

from lmeff.errors import InputError
from lmeff.formats.plan import PlanAnchor
from lmeff.quantities import format_count
from lmeff.recipe.schema import Recipe


def plan_anchors(recipe: Recipe) -> list[PlanAnchor]:
    """Every anchor with the step at which it fires. Raises InputError when two fall on one step."""
    clock, anchors = recipe.batch.clock, list[PlanAnchor]()
    for nominal in recipe.anchors.tokens:
        step = clock.step_of(nominal)
        exact = clock.tokens_at(step)
        if anchors and anchors[-1].step == step:
            raise InputError(
                f"anchors.tokens: {anchors[-1].name} and {format_count(nominal)} both fall on step {step}"
                f" (batch.tokens is {clock.batch_tokens})"
            )
        anchors.append(
            PlanAnchor(
                name=format_count(nominal),
                nominal_tokens=nominal,
                step=step,
                exact_tokens=exact,
                deviation=exact - nominal,
            )
        )
    return anchors


def check_data(recipe: Recipe, train_tokens: int) -> None:
    """Raises InputError when the text cannot fill one sequence, or its epochs do not reach the last anchor. `train_tokens` are
    the positions of one pass, padding included."""
    length, epochs = recipe.batch.sequence_length, recipe.corpus.epochs
    if train_tokens < length:
        raise InputError(
            f"corpus: the training text has {train_tokens:,} tokens, fewer than one sequence of {length}"
            " (batch.sequence_length); give it more text or a shorter sequence"
        )
    last, clock = recipe.anchors.last_tokens, recipe.batch.clock
    passes = clock.epochs_at(clock.step_of(last), train_tokens)
    if passes > epochs:
        what = "packed positions" if recipe.batch.packing == "best_fit" else "tokens"
        raise InputError(
            f"anchors.tokens: {format_count(last)} needs {passes:.2f} passes over the {train_tokens:,} {what} of training text,"
            f" and corpus.epochs allows {epochs:g}; set corpus.epochs={math.ceil(passes)} or give more text"
        )
