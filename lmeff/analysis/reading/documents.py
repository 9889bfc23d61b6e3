"""What runs leave of single documents and sentences: how long those are that they read, and their losses on minimal pairs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from lmeff.analysis.reading.runs import Run
from lmeff.errors import InputError
from lmeff.recipe.sections.paths import Paths

_GOOD, _BAD = "good", "bad"
_SPECIAL_TOKENS = 2
"""`<s>` and `</s>` of a document."""


class Documents(NamedTuple):
    """The documents that a run reads, in the order of its text."""

    fingerprint: str
    """Of their tokens."""
    num_tokens: npt.NDArray[np.int64]
    """(documents,), with `<s>` and `</s>`."""
    bytes_per_token: npt.NDArray[np.float64]
    """(documents,): bytes of the text for each of its tokens; NaN of an empty text."""


def tokens_fingerprint(run: Run) -> str | None:
    """Of the tokens that a run is trained on, as its revisions say; None where they do not."""
    tokens = run.provenance.get("tokens") if not run.source else None
    return str(tokens["fingerprint"]) if isinstance(tokens, dict) and "fingerprint" in tokens else None


def documents_of(run: Run) -> Documents | None:
    """None where the tokens of a run are not, or no longer, in its `paths.data`."""
    from lmeff.tokens import find_tokens

    fingerprint = tokens_fingerprint(run)
    if fingerprint is None:
        return None
    section = run.recipe.get("paths")
    data = section.get("data") if isinstance(section, dict) else None
    found = find_tokens(data or Paths().data, fingerprint, run.folder)
    if found is None:
        return None
    try:
        table = np.asarray(found.train_documents)
    except (InputError, OSError):  # a report does not stop at a table that it could do without
        return None
    of_text = table[:, 0] - _SPECIAL_TOKENS
    bytes_per_token = np.divide(table[:, 1], of_text, out=np.full(len(table), np.nan), where=of_text > 0)
    return Documents(found.fingerprint, table[:, 0], bytes_per_token)


class SentenceLosses(NamedTuple):
    """What a model loses on the sentences of minimal pairs at its last anchor that has them, in nats a sentence."""

    tokens_name: str
    """Of the anchor."""
    good: npt.NDArray[np.float64]
    """(pairs,): of the acceptable one."""
    bad: npt.NDArray[np.float64]


def sentence_losses(run: Run) -> SentenceLosses | None:
    """None where no anchor has log-probabilities of pairs. Raises InputError for a file that cannot be read."""
    anchor = next((anchor for anchor in reversed(run.anchors) if anchor.pair_paths), None)
    if anchor is None:
        return None
    parts = []
    for path in anchor.pair_paths:
        try:
            if {_GOOD, _BAD} <= set(pyarrow.parquet.read_schema(path).names):
                table = pyarrow.parquet.read_table(path, columns=[_GOOD, _BAD])
                parts.append(np.array([table[name].to_numpy() for name in (_GOOD, _BAD)], np.float64))
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: not readable as scores of pairs ({' '.join(str(error).split())})") from None
    if not parts:
        return None
    good, bad = -np.concatenate(parts, axis=1)
    return SentenceLosses(anchor.tokens_name, good, bad)
