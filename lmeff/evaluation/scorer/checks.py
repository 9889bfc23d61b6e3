"""What is refused: options that contradict each other, requests that a model cannot answer, and answers that are no numbers."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from lm_eval.api.instance import Instance
from transformers import PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.minimal_pairs import is_sentence_pair
from lmeff.evaluation.scorer.answer_tokens import check_context_start
from lmeff.evaluation.scorer.token_requests import TokenRequest
from lmeff.evaluation.scorer.trees.tree_scorer import Answer
from lmeff.models.loading import check_token

AnyAnswer = TypeVar("AnyAnswer", Answer, float)


def check_options(
    exact: bool, precision: str, context_start: str, add_bos_token: bool | None, trust_remote_code: bool | None
) -> None:
    """Raises InputError for what `LmeffLM` does not take, or not together."""
    if trust_remote_code:
        raise InputError("lmeff runs no code that comes with a model; use --model hf for this one")
    if precision not in ("float32", "adaptive"):
        raise InputError(f"precision={precision}: float32 or adaptive")
    if exact and precision == "adaptive":
        raise InputError("exact=true is lm-eval's own scoring in float32; it goes without precision=adaptive")
    check_context_start(context_start)
    if context_start == "bos" and add_bos_token is False:
        raise InputError("add_bos_token=false contradicts context_start=bos; it goes with context_start=tokenizer")
    if context_start == "tokenizer" and add_bos_token:
        raise InputError("add_bos_token=true contradicts context_start=tokenizer; it is what context_start=bos does")


def check_lengths(requests: Sequence[TokenRequest], max_length: int) -> None:
    """Raises InputError for a continuation that a model cannot take whole, and for one or a context without tokens."""
    for texts, context, continuation in requests:
        if not (context and continuation):
            raise InputError(f"a text to score, or what is before it, has no tokens: {texts}")
        if len(continuation) > max_length:
            raise InputError(f"a text to score has {len(continuation)} tokens; the model takes at most {max_length}")


def check_ids(requests: Sequence[TokenRequest], model: "PreTrainedModel") -> None:
    """Raises InputError for a token that the model has no embedding for: its tokenizer is another model's."""
    largest = max((max(*context, *rest) for _, context, rest in requests), default=0)
    check_token(largest, model.get_input_embeddings().num_embeddings)


def check_finite(answers: list[AnyAnswer], instances: Sequence[Instance]) -> list[AnyAnswer]:
    """The answers themselves. Raises ValueError naming task and document when one is not finite: numpy's `argmax`, by which
    lm-eval's own tasks choose, takes NaN for the largest number, so a model that computes NaN would be right every time."""
    for answer, instance in zip(answers, instances, strict=True):
        value = answer[0] if isinstance(answer, tuple) else answer
        if not np.isfinite(value):
            kind = "pair" if is_sentence_pair(instance.doc) else "document"
            raise ValueError(
                f"{instance.task_name}, {kind} {instance.doc_id}: a log-probability is {value}, not finite"
            )
    return answers
