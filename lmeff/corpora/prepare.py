"""A corpus section becomes text shards, train and dev, in a folder named after everything that decides their content."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import xxhash

from lmeff.corpora import synthetic
from lmeff.corpora.amount import NO_LIMITS
from lmeff.corpora.catalogue import complete, has_place, nowhere
from lmeff.corpora.cleaning.rules import check_cleaners
from lmeff.corpora.documents import DocumentMaker, Rules
from lmeff.corpora.gather import JOURNAL, SIDES, Gathering, Stage, settled_rules
from lmeff.corpora.mixture import Mixture, mixture_of
from lmeff.corpora.reading.origins import LocalHashes
from lmeff.corpora.reading.record_text import check_templates
from lmeff.corpora.reading.sources import Document
from lmeff.corpora.split import segments, smallest_share
from lmeff.corpora.stages import describe, find_stages, with_download
from lmeff.corpora.text_shards import TextShard, read_words, summary
from lmeff.errors import InputError
from lmeff.files import MANIFEST, describe_files, locked, read_json, unfinished_folder, usable_folder, write_json
from lmeff.progress import shown
from lmeff.recipe.sections.corpus import Corpus

TEXT_FORMAT = 1
"""Raised whenever the same sources would give other text."""
_LAYOUT = 2
"""Raised whenever the same text stands otherwise in its folder; it is then prepared again."""
HELD_OUT = {"held_out": "documents"}
"""The rule by which text is held out: whole documents. Text without it was prepared by an older one."""
_SYNTHETIC_DEV_DOCUMENTS = 500


@dataclass(frozen=True)
class TextCorpus:
    """Prepared text on disk: `folder/text/train-00000.jsonl` and so on, one document a line."""

    folder: Path
    manifest: dict[str, Any]
    mixture: Mixture = field(default_factory=Mixture)
    """How much of each source training reads."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything the text depends on (xxh3, 128 bits)."""
        return self.manifest["fingerprint"]

    def shards(self, side: str) -> list[TextShard]:
        """The files of `train` or `dev`, in order."""
        return [TextShard(**shard) for shard in self.manifest["splits"][side]["shards"]]

    def path(self, shard: TextShard) -> Path:
        return self.folder / "text" / shard.name

    def words(self, shard: TextShard) -> Any:
        """Words of each document of a shard, uint32 (documents,)."""
        return read_words(self.folder / "text", shard.name)

    def records(self, side: str) -> Iterator[Document]:
        """The documents of `train` or `dev`, in order, with their domains."""
        for shard in self.shards(side):
            with open(self.path(shard), "rb") as file:
                for line in file:
                    record = orjson.loads(line)
                    yield Document(record["text"], record["domain"])

    def documents(self, side: str) -> Iterator[str]:
        """The texts of `train` or `dev`, in order."""
        return (document.text for document in self.records(side))


def _gather(folder: Path, corpus: Corpus, stages: list[Stage]) -> Gathering:
    with Gathering(folder, stages) as gathering:
        if not has_place(corpus):
            _write_synthetic(corpus, gathering)
        gathering.run()
    return gathering


def _write_synthetic(corpus: Corpus, gathering: Gathering) -> None:
    seed, num_documents = corpus.synthetic.seed, corpus.synthetic.num_documents
    texts = {
        "train": synthetic.generate_documents(num_documents, seed),
        "dev": synthetic.generate_dev_documents(_SYNTHETIC_DEV_DOCUMENTS, seed),
    }
    for side in SIDES:
        maker = DocumentMaker(Rules(form=None, side=side))  # type: ignore[arg-type]
        for text in texts[side]:
            for piece in maker.keep(text, "stories").pieces:
                gathering.writers[side].write(piece, "", "stories")


def _write_whole(folder: Path, corpus: Corpus, stages: list[Stage]) -> dict[str, Any]:
    """Writes both sides: again when documents turn out to be too much of the text to stay whole. Text so short that one side
    gets nothing gives up the document, or segment, that comes first."""
    dev_share = stages[0].rules.dev_share if stages else None
    if dev_share and (settled := settled_rules(folder)):
        stages = _with_rules(stages, **settled)
    gathering = _gather(folder, corpus, stages)
    if limits := gathering.limits(dev_share):
        _clear(folder)
        stages = _with_rules(stages, whole_characters=limits)
        gathering = _gather(folder, corpus, stages)
    gathering.check_words()
    counts = {side: summary(gathering.writers[side].shards) for side in SIDES}
    empty = [side for side in SIDES if not counts[side]["num_documents"]]
    if len(empty) == 1 and dev_share:
        shards = [shard for side in SIDES for shard in gathering.writers[side].shards]
        is_older = stages[0].rules.whole_characters is None
        if (share := smallest_share(_candidates(folder, shards, is_older))) is None:
            raise InputError(
                "corpus.dev_paths: the text is one short piece, too little to hold any out; give corpus.dev_paths"
            )
        _clear(folder)
        stages = _with_rules(stages, dev_share=share)
        gathering = _gather(folder, corpus, stages)
        counts = {side: summary(gathering.writers[side].shards) for side in SIDES}
    _check_enough(corpus, gathering, counts, {stage.source for stage in stages if stage.rules.side == "train"})
    gathering.forget()
    return {
        "splits": counts,
        "cut": gathering.cut,
        "short": gathering.short,
        "cleaning": gathering.cleaning,
        "left_out": gathering.left_out,
        "decontaminated": {"num_sentences": gathering.num_taken_out, "examples": gathering.examples},
    }


def _with_rules(stages: list[Stage], **rules: Any) -> list[Stage]:
    return [replace(stage, rules=replace(stage.rules, **rules)) for stage in stages]


def _clear(folder: Path) -> None:
    for path in sorted(folder.iterdir(), key=lambda path: path.name != JOURNAL):
        path.unlink()


def _candidates(folder: Path, shards: list[TextShard], by_older_rule: bool) -> Iterator[str]:
    """What could be held out of text that is all on one side."""
    for shard in shards:
        for line in (folder / shard.name).read_bytes().splitlines():
            record = orjson.loads(line)
            yield from segments(record["text"]) if by_older_rule or "document" in record else [record["text"]]


def _check_enough(corpus: Corpus, gathering: Gathering, counts: dict[str, Any], wanted: set[str]) -> None:
    """Raises InputError for a side, or a source, without text."""
    for side, key, paths in (("train", "corpus.paths", corpus.paths), ("dev", "corpus.dev_paths", corpus.dev_paths)):
        if not counts[side]["num_documents"]:
            raise InputError(f"{key}: there is no text in {', '.join(paths or corpus.paths or ['the corpus'])}")
    written = {shard.source for shard in gathering.writers["train"].shards}
    if empty := sorted(wanted - written - {""}):
        raise InputError(f"corpus.sources.{empty[0]}: there is no text in it, after what is left out")


def prepare_text(corpus: Corpus, data: str | Path, by_older_rule: bool = False) -> TextCorpus:
    """Writes the corpus under `data/NAME-HASH8/text` unless it is there already, and returns it.

    Any number of processes may call this at once; one does the work and the others wait for it. What a killed one had done is
    gone on with. Text that an older version prepared stays as it is, with its cuts of long documents; `by_older_rule` prepares
    it so anew. Raises InputError for text that is missing, unreadable or empty, RunFailed when it cannot be downloaded.
    """
    data = usable_folder(data, "paths.data")
    corpus, plans = _planned(corpus, data)
    older = plans[-1]
    plan = older if by_older_rule or older.is_prepared else plans[0]
    with locked(data / ".locks" / f"{plan.folder.name}.text"):
        if not plan.is_prepared:
            manifest = {"format": TEXT_FORMAT, "layout": _LAYOUT, "name": corpus.name, "fingerprint": plan.fingerprint}
            read = [str(file) for stage in plan.stages for file in stage.files]
            with unfinished_folder(plan.folder / "text") as aside:
                stages = plan.stages if plan is older else _with_rules(plan.stages, whole_characters=NO_LIMITS)
                manifest |= _write_whole(aside, corpus, stages)
                with shown("sha256 of the text"):
                    manifest |= {"rules": plan.rules, "sources": read, "files": describe_files(aside)}
                write_json(aside / MANIFEST, manifest)
    return TextCorpus(plan.folder, read_json(plan.manifest), mixture_of(corpus))


def text_fingerprints(corpus: Corpus, data: str | Path) -> set[str]:
    """What the fingerprint of the corpus's text is, or would be, by the rule of this version and by that of older ones. Its
    files are hashed and nothing is prepared. Raises as `prepare_text`."""
    return {plan.fingerprint for plan in _planned(corpus, Path(data))[1]}


@dataclass(frozen=True)
class _Plan:
    """What is read by which rules, and where the text of it is."""

    folder: Path
    fingerprint: str
    stages: list[Stage]
    rules: dict[str, Any]

    @property
    def manifest(self) -> Path:
        return self.folder / "text" / MANIFEST

    @property
    def is_prepared(self) -> bool:
        return self.manifest.exists() and read_json(self.manifest).get("layout") == _LAYOUT


def _planned(corpus: Corpus, data: Path) -> tuple[Corpus, list[_Plan]]:
    """The corpus with what its description and its download say, and its plans."""
    corpus = with_download(complete(corpus), data)
    if corpus.name != "synthetic" and not has_place(corpus):
        raise nowhere(corpus)
    check_templates(corpus.text or [])
    check_cleaners(corpus.clean)
    hashes = LocalHashes(data)
    plans = _plans(corpus, data, hashes)
    if data.is_dir():
        hashes.save()
    return corpus, plans


def _plans(corpus: Corpus, data: Path, hashes: LocalHashes) -> list[_Plan]:
    """The plan of this version and, last, that of older versions; generated text has one for all."""
    stages = find_stages(corpus, data, hashes)
    rules = describe(corpus, stages, hashes)
    if not stages:
        return [_plan(corpus, data, stages, rules)]
    older = find_stages(corpus, data, hashes, with_hidden=True)
    older_rules = describe(corpus, older, hashes, with_hidden=True)
    return [_plan(corpus, data, stages, rules | HELD_OUT), _plan(corpus, data, older, older_rules)]


def _plan(corpus: Corpus, data: Path, stages: list[Stage], rules: dict[str, Any]) -> _Plan:
    description = {"format": TEXT_FORMAT, "corpus": corpus.name} | rules
    fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(description, sort_keys=True).encode())
    return _Plan(data / f"{corpus.name}-{fingerprint[:8]}", fingerprint, stages, rules)
