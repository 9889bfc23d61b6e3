"""`lmeff corpora show NAME --sample`: what cleaning and filters do to the first documents, before anything is prepared."""

import difflib
import itertools
from collections.abc import Iterator

from lmeff.corpora import sources
from lmeff.corpora.catalogue import complete
from lmeff.corpora.cleaning import Cleaning, check_cleaners
from lmeff.corpora.filters import Filter
from lmeff.recipe.schema import Corpus

_EXAMPLES, _SHOWN_CHARACTERS = 3, 160


def show_sample(corpus: Corpus, num_documents: int) -> Iterator[str]:
    """Lines to print: for each domain what each rule changed, how many documents were left out and why, and examples.

    Raises InputError for text that is missing or cannot be read.
    """
    corpus = complete(corpus)
    check_cleaners(corpus.clean)
    for path in sources.find_files(corpus.paths or [], "corpus.paths"):
        cleaning, keep = Cleaning(corpus.clean), Filter(corpus)
        documents = sources.read_documents([path], corpus.text or ["{text}"], corpus.separator)
        examples: list[tuple[str, str]] = []
        num_read = num_kept = 0
        for document in itertools.islice(documents, num_documents):
            num_read += 1
            text = cleaning(document.text, document.domain)
            num_kept += bool(text) and keep(sources.Document(text, document.domain))
            if len(examples) < _EXAMPLES and (change := _first_change(document.text, text)):
                examples.append(change)
        yield f"{path}: {num_kept:,} of {num_read:,} documents stay"
        for rule, count in cleaning.counts.get(sources.domain(path), {}).items():
            yield f"  {rule}: {count['documents']:,} documents, {count['characters']:,} characters less"
        for reason, count in keep.counts.get(sources.domain(path), {}).items():
            yield f"  left out, {reason}: {count:,}"
        for before, after in examples:
            yield f"  - {before}"
            yield f"  + {after}"


def _first_change(before: str, after: str) -> tuple[str, str] | None:
    """The first line that cleaning changed, as it was and as it is."""
    old, new = before.splitlines(), after.splitlines()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old[:200], new[:200], autojunk=False).get_opcodes():
        if tag != "equal":
            return " ".join(old[a:b])[:_SHOWN_CHARACTERS], " ".join(new[c:d])[:_SHOWN_CHARACTERS]
    return None
