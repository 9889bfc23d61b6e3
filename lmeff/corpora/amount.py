"""How much text there is, counted as far as it decides which documents are too much of it to be held out whole."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lmeff.corpora.documents import num_words
from lmeff.corpora.gather import Stage
from lmeff.corpora.reading import WHOLE_FILE_CHARACTERS, read_batches, texts_of
from lmeff.corpora.split import LARGEST_FILE, longest_whole
from lmeff.progress import shown

ENOUGH_CHARACTERS = int(WHOLE_FILE_CHARACTERS / LARGEST_FILE)
"""Of so much text no file that is read as one document is too large a share, so that not all of a large corpus is read twice.
A row is too much there when it is longer than half of this."""


def with_longest_whole(stages: Sequence[Stage]) -> list[Stage]:
    """The stages with the lengths up to which documents stay whole.

    Raises InputError for text that cannot be read, RunFailed when it cannot be downloaded.
    """
    dev_share = next((stage.rules.dev_share for stage in stages if stage.rules.dev_share), None)
    if dev_share is None:
        whole = (0, 0)  # the side is known, and nothing is cut
    else:
        with shown("size of the text"):
            total = num_characters(stages)
        whole = (longest_whole(total, dev_share, is_file=False), longest_whole(total, dev_share, is_file=True))
    return [replace(stage, rules=replace(stage.rules, whole_characters=whole)) for stage in stages]


def num_characters(stages: Sequence[Stage], enough: int = ENOUGH_CHARACTERS) -> int:
    """Characters of the documents as they are read, unpacked and without what else stands in their files; `enough` at most.

    Of a source with a budget it is the text up to it, for no more is read.
    """
    total = 0
    for stage in stages:
        for amount in _amounts(stage):
            total += amount
            if total >= enough:
                return enough
    return total


def _amounts(stage: Stage) -> Iterator[int]:
    """Characters of a source, batch by batch."""
    form, words_left = stage.rules.form, stage.max_words
    for file in stage.files:
        for batch in read_batches(file.fetch(), form):
            texts = list(texts_of(batch, form))
            if words_left is not None:
                words = num_words("\n".join(texts))
                if words > words_left:
                    fitting = itertools.takewhile(words_left.__ge__, itertools.accumulate(map(num_words, texts)))
                    yield sum(map(len, texts[: sum(1 for _ in fitting)]))
                    return
                words_left -= words
            yield sum(map(len, texts))
