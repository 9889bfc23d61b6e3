"""`lmeff corpora show NAME --sample`: what cleaning and filters do to the first documents, before anything is prepared."""

import difflib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lmeff.corpora.catalogue import complete, has_place, nowhere
from lmeff.corpora.cleaning.rules import Cleaning
from lmeff.corpora.documents import DocumentMaker
from lmeff.corpora.gather import Stage
from lmeff.corpora.reading.origins import LocalHashes, SourceFile
from lmeff.corpora.reading.records import Form, read_batches, texts_of
from lmeff.corpora.stages import find_stages, with_download
from lmeff.recipe.sections.corpus import Corpus

_EXAMPLES, _SHOWN_CHARACTERS = 3, 160


def show_sample(corpus: Corpus, num_documents: int, data: Path = Path("data")) -> Iterator[str]:
    """Lines to print: for each file what each rule changed, how many documents were left out and why, and examples.

    Raises InputError for text that is missing or cannot be read.
    """
    if corpus.name == "synthetic":
        yield "synthetic: generated as it stands; nothing of it is cleaned or left out"
        return
    corpus = with_download(complete(corpus), data)
    if not has_place(corpus):
        raise nowhere(corpus)
    for stage in find_stages(corpus, data, LocalHashes(data)):
        if stage.rules.side == "train":
            # The first file of a source with many stands for all of them.
            for file in stage.files if not stage.source else stage.files[:1]:
                yield from _show_file(stage, file, num_documents)


def _show_file(stage: Stage, file: SourceFile, num_documents: int) -> Iterator[str]:
    rules, path = stage.rules, file.fetch()
    maker, cleaning = DocumentMaker(replace(rules, clean=None)), Cleaning(rules.clean)
    left_out: Counter[str] = Counter()
    seen: set[int] = set()
    taken_out: list[str] = []
    examples: list[tuple[str, str]] = []
    num_read = num_kept = 0
    for text in itertools.islice(_texts(path, rules.form), num_documents):
        num_read += 1
        after = cleaning(text, file.stem)
        if len(examples) < _EXAMPLES and (change := _first_change(text, after)):
            examples.append(change)
        outcome = maker.of_texts([after] if after else [], file.domain, file.stem, len(text))
        taken_out += outcome.taken_out
        left_out += outcome.left_out
        for kept in outcome.kept:
            keys = {key for key in (kept.key, *kept.near_keys) if key is not None}
            if keys & seen:
                left_out["duplicate" if kept.key in seen else "near duplicate"] += 1
            else:
                num_kept += 1
                seen |= keys
    yield f"{file}: {num_kept:,} of {num_read:,} documents stay"
    for rule, count in cleaning.counts.get(file.stem, {}).items():
        yield f"  {rule}: {count['documents']:,} documents, {count['characters']:,} characters less"
    for reason, number in left_out.items():
        yield f"  left out, {reason}: {number:,}"
    for sentence in taken_out[:_EXAMPLES]:
        yield f"  taken out: {sentence[:_SHOWN_CHARACTERS]}"
    for before, after in examples:
        yield f"  - {before}"
        yield f"  + {after}"


def _texts(path: Path, form: Form) -> Iterator[str]:
    return (text for batch in read_batches(path, form) for text in texts_of(batch, form))


def _first_change(before: str, after: str) -> tuple[str, str] | None:
    """The first line that cleaning changed, as it was and as it is."""
    old, new = before.splitlines(), after.splitlines()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old[:200], new[:200], autojunk=False).get_opcodes():
        if tag != "equal":
            return " ".join(old[a:b])[:_SHOWN_CHARACTERS], " ".join(new[c:d])[:_SHOWN_CHARACTERS]
    return None
