"""How much disk a run takes: its revisions and checkpoints, and its text as far as that is known before it is there."""

import math
from collections.abc import Iterable, Sequence

from lmeff.errors import InputError
from lmeff.formats.plan import PlanPart
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.corpus import Corpus

_TEXT_BYTES = {
    "tinystories": 2_250_000_000,
    "wikitext-103": 548_000_000,
    "wikitext-2": 12_200_000,
}
"""Text of the corpora that come in one size, held-out text included."""
_WITH_TRACKS = ("babylm", "babylm3", "leaner", "leaner_original")
"""Corpora whose tracks are named after their words."""
_TRACK_WORDS = {"10M": 10_000_000, "100M": 100_000_000}
_BYTES_PER_WORD = 5.9
"""English web text and books; the space or line break after a word is counted."""
_BYTES_PER_TOKEN = 4.5
_SYNTHETIC_DOCUMENT_BYTES, _SYNTHETIC_DEV_DOCUMENTS = 465, 500
_JSON_SHARE = 0.07
"""What the format of JSON lines adds to the bytes of the text."""


def text_bytes(corpus: Corpus) -> int | None:
    """Bytes of the text, training and held out, estimated for corpora known by name; None for the user's own text."""
    if corpus.name == "synthetic":
        return _SYNTHETIC_DOCUMENT_BYTES * (corpus.synthetic.num_documents + _SYNTHETIC_DEV_DOCUMENTS)
    if corpus.paths or corpus.hub or corpus.sources or corpus.file:
        return None
    budget = corpus.budget_parts or ((3_200_000_000, "words") if corpus.name == "hybrid_3.7B" else None)
    if budget:
        return round(budget[0] * (_BYTES_PER_WORD if budget[1] == "words" else _BYTES_PER_TOKEN))
    if corpus.name in _WITH_TRACKS and corpus.track in _TRACK_WORDS:
        return round(_TRACK_WORDS[corpus.track] * _BYTES_PER_WORD)
    return _TEXT_BYTES.get(corpus.name)


def prepared_bytes(corpus: Corpus, vocab_size: int) -> int | None:
    """Bytes of the prepared text and its tokens in a run's data folder, estimated; None where the text is not known."""
    size = text_bytes(corpus)
    return None if size is None else prepared_text_bytes(size) + prepared_token_bytes(size, vocab_size)


def prepared_text_bytes(size: int) -> int:
    """Bytes of `size` bytes of text as it is prepared, which every tokenizer shares."""
    return round(size * (1 + _JSON_SHARE))


def prepared_token_bytes(size: int, vocab_size: int) -> int:
    """Bytes of the tokens of `size` bytes of text, estimated."""
    token_bytes = 2 if vocab_size <= 1 << 16 else 4
    return round(size / _bytes_per_token(vocab_size) * token_bytes)


def _bytes_per_token(vocab_size: int) -> float:
    """Of byte-level BPE of English: 2.3 at 1,000 entries, 4.1 at 16,000, 4.8 at 50,257."""
    return max(1.2, 0.45 * math.log2(vocab_size) - 2.2)


def text_tokens(corpus: Corpus, vocab_size: int) -> int | None:
    """Tokens of one pass over the text: its budget where that is in tokens, else estimated from its bytes; None where these
    are not known without reading it."""
    if (budget := corpus.budget_parts) and budget[1] == "tokens":
        return budget[0]
    size = text_bytes(corpus)
    if size is None and corpus.paths and not (corpus.hub or corpus.sources or corpus.file):
        size = _plain_bytes(corpus.paths)
    return None if size is None else round(size / _bytes_per_token(vocab_size))


def _plain_bytes(paths: Sequence[str]) -> int | None:
    """Bytes of files of plain text; None where some are packed, and where they are on another machine."""
    from lmeff.corpora.reading.sources import find_files

    try:
        files = find_files(paths, "corpus.paths")
    except InputError:
        return None
    is_plain = all(file.suffix in (".txt", ".jsonl") for file in files)
    return sum(file.stat().st_size for file in files) if is_plain else None


def revision_bytes(recipe: Recipe, num_parameters: int) -> int:
    """Bytes of one revision, in float32. The optimizer's state, if it is kept, is twice as large as the weights."""
    return 4 * num_parameters * (3 if recipe.publish.optimizer else 1)


def checkpoint_bytes(recipe: Recipe, num_parameters: int, parts: Iterable[PlanPart]) -> int:
    """Bytes of all checkpoints at the most; each holds weights and two AdamW states in float32."""
    # A new checkpoint is written before the oldest goes.
    is_rotated = recipe.checkpoints.every_steps or recipe.checkpoints.every_minutes
    num_rotated = recipe.checkpoints.keep + 1 if is_rotated else 0
    return 12 * num_parameters * sum(num_rotated + len(part.branch_steps) for part in parts)
