"""What runs leave of single documents and sentences: how long those are that they read, and their losses on minimal pairs."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from lmeff.analysis.reading.runs import Run
from lmeff.errors import InputError
from lmeff.recipe.sections.paths import Paths

_TASK, _GOOD, _BAD = "task", "good", "bad"
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
    tasks: npt.NDArray[np.str_]
    """The paradigms, each once."""
    task: npt.NDArray[np.int64]
    """(pairs,): which of them."""
    good: npt.NDArray[np.float64]
    """(pairs,): of the acceptable one."""
    bad: npt.NDArray[np.float64]

    @property
    def margins(self) -> npt.NDArray[np.float64]:
        """(pairs,): how much likelier the acceptable one is; NaN where neither is possible."""
        with np.errstate(invalid="ignore"):
            return self.bad - self.good

    def only(self, tasks: Collection[str]) -> "SentenceLosses":
        """Of the pairs of these paradigms."""
        is_one = np.isin(self.tasks, list(tasks))[self.task]
        return self._replace(task=self.task[is_one], good=self.good[is_one], bad=self.bad[is_one])


def sentence_losses(run: Run) -> SentenceLosses | None:
    """None where no anchor has log-probabilities of pairs. Raises InputError for a file that cannot be read."""
    anchor = next((anchor for anchor in reversed(run.anchors) if anchor.pair_paths), None)
    if anchor is None:
        return None
    parts = []
    for path in anchor.pair_paths:
        try:
            if {_GOOD, _BAD} <= set(pyarrow.parquet.read_schema(path).names):
                table = pyarrow.parquet.read_table(path, columns=[_TASK, _GOOD, _BAD], read_dictionary=[_TASK])
                parts.append(_losses(anchor.tokens_name, table))
        except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: not readable as scores of pairs ({' '.join(str(error).split())})") from None
    if len(parts) < 2:
        return parts[0] if parts else None
    tasks = np.unique(np.concatenate([part.tasks for part in parts]))
    task = np.concatenate([np.searchsorted(tasks, part.tasks)[part.task] for part in parts])
    good, bad = (np.concatenate([getattr(part, name) for part in parts]) for name in (_GOOD, _BAD))
    return SentenceLosses(anchor.tokens_name, tasks, task, good, bad)


def _losses(tokens_name: str, table: pyarrow.Table) -> SentenceLosses:
    names = table[_TASK].unify_dictionaries().combine_chunks()
    tasks, place = np.unique(np.array(names.dictionary.to_pylist(), dtype=np.str_), return_inverse=True)
    good, bad = (-table[name].to_numpy().astype(np.float64) for name in (_GOOD, _BAD))
    return SentenceLosses(tokens_name, tasks, place[names.indices.to_numpy()], good, bad)
