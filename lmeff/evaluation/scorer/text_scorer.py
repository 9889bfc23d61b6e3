"""Token requests scored as trees of prefixes: in float32, or minimal pairs in bfloat16 as far as that may decide them."""

import copy
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from transformers import PreTrainedModel

from lmeff.evaluation.scorer.batch_size import BatchSize
from lmeff.evaluation.scorer.kept import keep
from lmeff.evaluation.scorer.token_requests import TokenRequest, scored_texts
from lmeff.evaluation.scorer.trees.adaptive import Adapted, adapt
from lmeff.evaluation.scorer.trees.compiled import CompiledScorer, compiled_scorer, is_worth_compiling
from lmeff.evaluation.scorer.trees.prefix_tree import Layout, lay_out
from lmeff.evaluation.scorer.trees.tree_scorer import Answer, TreeScorer, Undecided, finish, takes_trees

Ready = Callable[[], list[Answer]]
"""Gives answers that may still be on their way from the device."""


class TextScorer:
    """Scores with the weights that a causal model has now. Of a model whose weights change, a scorer must be made anew.

    Args:
        max_length: tokens that the model takes.
    """

    def __init__(self, model: PreTrainedModel, max_length: int, batch_size: BatchSize) -> None:
        self._model, self._max_length, self._batch_size = model, max_length, batch_size

    @cached_property
    def takes_trees(self) -> bool:
        """Whether the model can be scored in this way; see `tree_scorer.takes_trees`."""
        try:
            return takes_trees(self._model, self._max_length)
        except Undecided:
            return False

    @cached_property
    def float32(self) -> TreeScorer:
        return TreeScorer(self._model)

    @cached_property
    def _uncompiled(self) -> TreeScorer:
        return TreeScorer(copy.deepcopy(self._model).to(torch.bfloat16))

    @cached_property
    def _compiled(self) -> TreeScorer:
        return compiled_scorer(self._model) or self._uncompiled

    def bfloat16(self, num_texts: int) -> TreeScorer:
        """Compiled where so many texts are worth it."""
        return self._compiled if is_worth_compiling(self._model, num_texts) else self._uncompiled

    def score(self, requests: Sequence[TokenRequest]) -> list[Answer]:
        texts = scored_texts(requests, self._max_length)
        return self._batch_size.with_room(lambda size: self.float32.score(lay_out(texts, size)))

    def start(self, requests: Sequence[TokenRequest], key: tuple[Hashable, ...]) -> Ready:
        """As `score`, without waiting for a GPU. Requests with the same `key` are laid out once."""
        pending = self._batch_size.with_room(lambda size: self.float32.start(self._layout(requests, key, size)))
        return lambda: next(finish([pending]))

    def adapt(self, requests: Sequence[TokenRequest], key: tuple[Hashable, ...], num_texts: int) -> Adapted:
        """Answers to minimal pairs, whose order is float32's.

        Args:
            num_texts: how many texts will be scored in all.
        """

        def exactly(numbers: list[int]) -> list[Answer]:
            return self.score([requests[number] for number in numbers])

        scorer = self.bfloat16(num_texts)
        # Matrix products in bfloat16 want more rows at once.
        rough = self._batch_size.with_room(lambda size: scorer.score(self._layout(requests, key, 2 * size)))
        return replace(adapt(rough, exactly), compiled=isinstance(scorer, CompiledScorer))

    def _layout(self, requests: Sequence[TokenRequest], key: tuple[Hashable, ...], size: int) -> Layout:
        return keep((*key, size), lambda: lay_out(scored_texts(requests, self._max_length), size))
