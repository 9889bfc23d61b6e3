"""Floating-point operations of training."""

from collections import Counter
from collections.abc import Callable, Iterable

from lmeff.models.families import family_of
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.batch import Batch

_TRAINED_PER_LOOK = 100
"""By default, looking at the held-out loss takes at most one hundredth of the training computation."""


def flops_counting_causal(recipe: Recipe) -> float:
    """Model FLOPs of a trained token with half of the attention where that is causal: in a hybrid, in its causal rows."""
    family, length = family_of(recipe), recipe.batch.sequence_length
    whole, half = family.flops_per_token(length), family.flops_per_token(length, causal=True)
    if recipe.objective_name != "hybrid":
        return half
    masked = float(recipe.objective.settings("hybrid")["masked_rows"])
    return masked * whole + (1 - masked) * half


def flops_of(recipe: Recipe, stretches: Iterable[tuple[int, int]]) -> float:
    """Model FLOPs of training from one step to another, for each of `stretches`, every step with the length that it has."""
    return flops_of_steps(recipe.batch, stretches, family_of(recipe).flops_per_token)


def flops_of_steps(batch: Batch, stretches: Iterable[tuple[int, int]], per_token: Callable[[int], float]) -> float:
    """FLOPs of something that is computed of every token of these steps; `per_token` gives those of a token in a sequence of
    some length."""
    stages, tokens = batch.length_stages(), Counter[int]()
    for first, last in stretches:
        ends = [*(begin for begin, _ in stages[1:]), last]
        for (begin, length), end in zip(stages, ends, strict=True):
            tokens[length] += batch.clock.tokens_at(max(0, min(end, last) - max(begin, first)))
    return sum(per_token(length) * num_tokens for length, num_tokens in tokens.items())


def steps_between_looks(recipe: Recipe, look_every_tokens: int | None) -> int:
    """Of a run that looks at its held-out loss. A token that is only read costs a third of one that is trained on."""
    tokens = look_every_tokens or -(-recipe.evaluation.dev_tokens * _TRAINED_PER_LOOK // 3)
    return max(1, recipe.batch.clock.step_of(tokens))
