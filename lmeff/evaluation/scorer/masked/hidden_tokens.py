"""Token requests scored with a model from which the tokens that it predicts must be hidden, or shall be."""

from collections.abc import Hashable, Sequence
from functools import cached_property

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmeff.errors import InputError
from lmeff.evaluation.scorer.batch_size import BatchSize
from lmeff.evaluation.scorer.kept import keep
from lmeff.evaluation.scorer.masked.masked_rows import check_words, mask_tokens
from lmeff.evaluation.scorer.masked.masked_scorer import MaskedScorer
from lmeff.evaluation.scorer.masked.permutation_scorer import PermutationScorer
from lmeff.evaluation.scorer.token_requests import TokenRequest
from lmeff.evaluation.scorer.trees.tree_scorer import Answer
from lmeff.evaluation.scorer.ways import Way, frame

_ONLY_WORDS = ["the cat sat on the mat and the dog ran away"]
"""In the texts of a task punctuation may hide that a tokenizer divides at nothing else."""


class HiddenTokensScorer:
    """Scores as `way` says, with the weights that a model has now.

    Args:
        longest: tokens of a context and what is scored after it, together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        way: Way,
        longest: int,
        batch_size: BatchSize,
    ) -> None:
        self._model, self._tokenizer, self._way = model, tokenizer, way
        self._longest, self._batch_size = longest, batch_size

    def score(
        self, requests: Sequence[TokenRequest], key: tuple[Hashable, ...] = (), at_most: int | None = None
    ) -> list[Answer]:
        """The log-probability of each continuation, and whether all of its tokens are the most probable ones.

        Args:
            key: of the requests, so that the words of equal ones are looked up once; () for none.
            at_most: texts in one forward pass.
        """
        if not requests:
            return []
        if not self._way.is_pseudo:
            return self._permuted.score(requests, self._longest, at_most)
        words = None
        if self._way.variant == "within_word_l2r":
            words = keep((*key, "words"), lambda: self._words(requests)) if key else self._words(requests)
        mask, (_, end) = self._tokenizer.mask_token_id, frame(self._tokenizer)
        return self._masked.score(mask_tokens(requests, words, mask, end, self._longest), at_most)

    @cached_property
    def _masked(self) -> MaskedScorer:
        return MaskedScorer(self._model, self._batch_size, self._way.is_decoder)

    @cached_property
    def _permuted(self) -> PermutationScorer:
        return PermutationScorer(self._model, self._batch_size)

    def _words(self, requests: Sequence[TokenRequest]) -> list[list[int]]:
        """For each request the number of the word that each scored token belongs to. Raises InputError for a tokenizer that
        does not tell."""
        if not self._tokenizer.is_fast:
            raise InputError(
                f"a {type(self._tokenizer).__name__} does not tell which tokens belong to a word; use scoring"
                " pseudo_log_likelihood_original"
            )
        texts = [texts for texts, _, _ in requests if texts is not None]
        wholes = [context + answer for context, answer in texts]
        options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        encoded = self._tokenizer(wholes, **options)
        check_words(wholes, encoded)
        check_words(_ONLY_WORDS, self._tokenizer(_ONLY_WORDS, **options))
        words = []
        for number, (_, _, scored) in enumerate(requests):
            own = encoded.word_ids(number)[-len(scored) :]
            # A special token, which a text may spell, is no part of a word.
            words.append([-1 - place if word is None else word for place, word in enumerate(own)])
        return words
