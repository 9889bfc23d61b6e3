"""How long the texts may be that a model of lm-eval is given, and which of them may share a batch."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.scorer.token_requests import TokenRequest
from lmeff.models.context_length import longest_with_original_frequencies, window_length
from lmeff.models.decoding import find_decoding_mode

_SHORT_PROMPT, _LONG_PROMPT = [7, 5, 6], [7, *range(8, 15)]
_NUM_TRIED = 8


class TextLengths:
    """The limits of one model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.window = window_length(model.config)
        """Tokens that the model takes; where it takes any number, how many it is given at once."""
        self._longest_together = longest_with_original_frequencies(model.config)

    def must_be_alone(self, requests: Sequence[TokenRequest]) -> bool:
        """Whether a text of them is so long that it would change what is computed for the others of its batch."""
        longest = max((len(context) + len(rest) - 1 for _, context, rest in requests), default=0)
        return self._longest_together is not None and longest > self._longest_together

    def most_written_at_once(self) -> int | None:
        """Texts that lm-eval's own generation may write in one batch: 1 where padding would change them, None for any number.

        Raises InputError for a model to which transformers' `generate` gives other positions than a plain pass has.
        """
        mode = find_decoding_mode(self._model, [_SHORT_PROMPT, _LONG_PROMPT], _NUM_TRIED)
        if not mode.caches:
            raise InputError(
                f"transformers' `generate` gives a {type(self._model).__name__} other positions than a plain pass has, so what"
                " it writes for a task is not what it would say; `lmeff generate` writes with plain passes"
            )
        return None if mode.pads and self._longest_together is None else 1
