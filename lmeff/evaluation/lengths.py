"""How long the texts are that a model of lm-eval is given, and which of them share a batch."""

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedModel

from lmeff.evaluation.context_length import longest_of_fixed_positions, window_length
from lmeff.evaluation.encoding import TokenRequest


class KnowsLengths:
    """For lm-eval's `HFLM`: the context length by our rule, and texts alone where others of their batch would change them."""

    model: PreTrainedModel
    _max_length: int | None

    @property
    def max_length(self) -> int:
        """Tokens that the model takes; where it takes any number, how many it is given at once."""
        return self._max_length or window_length(self.model.config)

    @cached_property
    def _longest_together(self) -> int | None:
        return longest_of_fixed_positions(self.model.config)

    def must_be_alone(self, requests: Sequence[TokenRequest]) -> bool:
        """Whether a text of them is so long that it would change what is computed for the others."""
        longest = max((len(context) + len(rest) - 1 for _, context, rest in requests), default=0)
        return self._longest_together is not None and longest > self._longest_together
