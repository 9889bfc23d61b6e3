"""What a minimal pair is: of two texts the first should be the more probable one, and nothing else counts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lmeff.evaluation.scoring import process_results

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

_KEYS_OF_OURS = {"task", "pair"}
"""Of documents that `lmeff.evaluation.tasks.data.dataset` made."""


def is_pair_task(task: Any) -> bool:
    """Whether every example of an lm-eval task, whose requests were built, is a minimal pair: a choice between two, of which
    the first is right. Its result has a table of pairs."""
    is_ours = task.get_config("process_results") is process_results
    return is_ours and len(task.instances) == 2 * task.instances[-1].doc_id + 2


def is_sentence_pair(document: Mapping[str, Any] | None) -> bool:
    """Whether a document is a minimal pair of whole sentences, as BLiMP's are."""
    return "sentence_good" in (document or {})


def are_sentence_pairs(instances: Sequence["Instance"]) -> bool:
    """Whether requests are those of minimal pairs of whole sentences of our tasks, two after two. A model sees no more of its
    task than this; of other tasks it cannot know whether only the order of both log-probabilities counts: they may be used
    as they are, or divided by lengths."""
    twos = zip(instances[::2], instances[1::2], strict=len(instances) % 2 == 0)
    return len(instances) % 2 == 0 and all(
        is_sentence_pair(one.doc)
        and one.doc.keys() >= _KEYS_OF_OURS
        and one.doc_id == other.doc_id
        and one.args[0] == other.args[0]
        for one, other in twos
    )
