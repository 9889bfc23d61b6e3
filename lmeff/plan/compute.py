"""Floating-point operations of training, as in PaLM (Chowdhery et al. 2022, appendix B): a token takes 6 x matmul parameters
+ 12 x layers x width x length; the input embedding is a lookup and costs nothing."""

import math
from collections import Counter
from collections.abc import Iterable

from lmeff.models.sizes import Shape, count_parameters, resolve_shape
from lmeff.recipe.schema import Recipe


def flops_per_token(shape: Shape, sequence_length: int, causal: bool = False) -> float:
    """Model FLOPs of one trained token, forward and backward."""
    attention = 12 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * sequence_length
    return 6 * count_parameters(shape).matmul + (attention / 2 if causal else attention)


def flops_of(recipe: Recipe, stretches: Iterable[tuple[int, int]]) -> float:
    """Model FLOPs of training from one step to another, for each of `stretches`, every step with the length that it has."""
    shape, stages, tokens = resolve_shape(recipe), recipe.batch.length_stages(), Counter[int]()
    ends = [*(first for first, _ in stages[1:]), math.inf]
    for first, last in stretches:
        for (begin, length), end in zip(stages, ends, strict=True):
            tokens[length] += recipe.batch.clock.tokens_at(max(0, min(end, last) - max(begin, first)))
    return sum(flops_per_token(shape, length) * num_tokens for length, num_tokens in tokens.items())
