"""`corpus:` the text, where it comes from and how it is cleaned."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lmeff.quantities import parse_count
from lmeff.recipe.sections.fields import Count, Name, Number, PositiveCount, Section, TextPath

DESCRIPTION = frozenset({"title", "source", "license", "licence", "needs", "contains", "download"})
"""What a description of a corpus says beside settings of this section."""


class Synthetic(Section):
    num_documents: PositiveCount = 20_000
    """Stories in the training text of the generated corpus."""
    seed: Count = 0
    """Seed of the generated text; the minimal pairs do not depend on it."""


class TextSource(Section):
    """Where text comes from and how it is read."""

    paths: Annotated[list[str] | None, TextPath()] = None
    """Training text: files, folders or globs of .txt, .jsonl or .parquet; text and JSON lines plain, .gz or .zst. Looked for
    beside the file that names it, then in the working directory. Hidden files of a folder are not read."""
    hub: str | None = None
    """Data set of the Hugging Face Hub, such as `roneneldan/TinyStories`; read file by file, at one commit."""
    revision: str | None = None
    """Branch, tag or commit of `hub`. Default: `main`; the commit it stood for is kept beside the prepared corpora."""
    files: list[str] | None = None
    """Globs of the training files in `hub`. Default: those of the split `train`, as `datasets` finds them."""
    config: str | None = None
    """Configuration of `hub`, where it has several and `files` names none."""
    text: list[str] | None = None
    """Templates over the fields of a JSON line or the columns of a table, such as `{problem}` with line breaks; the first whose
    fields all hold something is used, else the first whose fields all exist. Default: `{text}`."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """Text between documents inside a plain text file. Default: a file is one document; one above 16 million characters is read
    as documents of about a million, cut at an empty line or at a line. Documents are held out whole, so of little text
    without it far more than `dev_share` may be."""
    begins: str | None = None
    """Regular expression of the first line of a document, where lines or rows are lines of longer documents."""
    join: PositiveCount | None = None
    """Put so many neighboring rows together, with a space, into one document; for data sets of single sentences."""
    clean: str | dict[str, str] | None = None
    """How text is cleaned: a cleaner such as `web` for all of it, or one for each domain (the stem of a file's name), such as
    `{childes: childes, simple_wiki: simple_wiki}`; domains that are not named stay as they are. Default: the corpus's own."""
    domains: list[str] | None = None
    """Read only these domains (stems of file names), such as `[childes, gutenberg]`, or `[wiki*]` for `wiki0000` and
    its like."""
    min_words: PositiveCount | None = None
    """Leave out documents with fewer words."""
    max_words: PositiveCount | None = None
    """Leave out documents with more words."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    """Leave out documents of which less than `language_share` is in this language (ISO 639-1, such as `en`)."""
    language_share: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Share of a document's words that must be in `language` (default 0.65)."""
    repetition: bool | None = None
    """Leave out documents that repeat themselves, by Gopher's rules (Rae et al. 2021)."""

    @model_validator(mode="after")
    def _sensible(self) -> "TextSource":
        if self.paths and self.hub:
            raise ValueError("hub: stands beside paths; name one of them")
        if (self.min_words or 0) > (self.max_words or float("inf")):
            raise ValueError("min_words is above max_words")
        if (self.begins or self.join) and self.separator:
            raise ValueError("separator: has no meaning beside begins and join")
        return self


class MixedSource(TextSource):
    weight: Annotated[Number, Field(ge=0)] | None = None
    """Share of the mixture, relative to the other weights, in words or in the unit of `budget`. Default: all of its text."""
    epochs: Annotated[Number, Field(gt=0)] = 1
    """How often its text may be read where its weight wants more than there is; without a weight, how often it is read."""


def _budget_parts(value: object) -> tuple[int, Literal["words", "tokens"]]:
    match str(value).split():
        case [text, "words" | "tokens" as unit]:
            if (amount := parse_count(text)) <= 0:
                raise ValueError("must be above 0")
            return amount, "words" if unit == "words" else "tokens"
    raise ValueError("must be a number of words or tokens, such as '3.2B words'")


def _check_budget(value: object) -> object:
    if value is not None:
        _budget_parts(value)
    return value


class Corpus(TextSource):
    name: Name
    """A named corpus (`lmeff corpora` lists them), or the name you give to your own `paths`, `hub` or `sources`."""
    file: Annotated[str | None, TextPath()] = None
    """YAML description of a corpus of your own, with the fields of this section."""
    track: str | None = None
    """Which size of a named corpus that has several, such as `10M`."""
    dev_paths: Annotated[list[str] | None, TextPath()] = None
    """Held-out text in the same forms. Without it `dev_share` of the training text is held out."""
    dev_files: list[str] | None = None
    """Globs of held-out files in `hub`."""
    sources: dict[Name, MixedSource] | None = None
    """Several sources, read one after the other, by name; each is a domain, and takes the keys of this section from `paths` to
    `repetition`, `weight` and `epochs`. What it leaves open is as this section says."""
    budget: Annotated[str | None, BeforeValidator(_check_budget)] = None
    """Size of the text over all sources: `3.2B words`, held-out text included, or `100M tokens` of training text. A source
    without enough text for its weight is an error."""
    deduplicate: Literal["exact", "near"] | None = None
    """Of documents that repeat each other, over all sources, the first stays, and none that is held out. `exact`: those that
    differ in white space alone. `near`: also those with much the same sequences of five words (MinHash)."""
    decontaminate: Annotated[list[str], TextPath()] = []
    """Evaluation data, files or folders such as BLiMP's: their sentences are taken out of the training text."""
    decontaminate_words: Annotated[PositiveCount, Field(ge=4)] | None = None
    """Take out every sentence that shares so many words in a row with evaluation data (8 is usual). Default: only whole
    sentences that are the same."""
    dev_share: Annotated[Number, Field(gt=0, lt=0.5)] | None = None
    """Share of the text held out when there are no `dev_paths` (default 0.01): whole documents; which ones is decided by their
    content alone, so that of few documents it is about this share. Only what is too much to be held out whole is cut, with
    pieces on both sides: a row that is more than half of the text, a file without `separator` that is more than a tenth."""
    epochs: Annotated[Number, Field(gt=0)] = 1
    """How often the training text may be read. An anchor beyond `epochs` is an error."""
    synthetic: Synthetic = Synthetic()
    """Settings of the generated corpus; used with `name: synthetic` only."""

    @property
    def budget_parts(self) -> tuple[int, Literal["words", "tokens"]] | None:
        """(amount, unit) of the budget."""
        return _budget_parts(self.budget) if self.budget else None

    @model_validator(mode="after")
    def _one_way_in(self) -> "Corpus":
        if self.sources and (self.paths or self.hub):
            raise ValueError("sources: name paths and hub inside each source, not beside them")
        return self

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.name == "synthetic":
            for key in ("file", "paths", "dev_paths", "text"):
                if getattr(self, key):
                    yield (
                        key,
                        "has no meaning with 'name: synthetic', which generates its text; give your corpus another name",
                    )
        elif self.synthetic != Synthetic():
            yield "synthetic", f"is for 'name: synthetic' only, not for '{self.name}'"
