"""A corpus section becomes two text files, train and dev, in a folder named after everything that decides their content."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash
from tqdm import tqdm

from lmeff.corpora import sources, split, synthetic
from lmeff.corpora.catalogue import complete
from lmeff.corpora.cleaning import CLEANING_VERSION, Cleaning, check_cleaners
from lmeff.corpora.decontamination import Decontamination
from lmeff.corpora.filters import Filter
from lmeff.corpora.sources import Document
from lmeff.errors import InputError
from lmeff.files import describe_files, locked, new_folder, read_json, usable_folder, write_json
from lmeff.recipe.schema import Corpus

TEXT_FORMAT = 1
"""Raised whenever the same sources would give other text."""
_SYNTHETIC_DEV_DOCUMENTS = 500
_DEV_SHARE = 0.01


@dataclass(frozen=True)
class TextCorpus:
    """Prepared text on disk: `folder/text/train.jsonl` and `dev.jsonl`, one document a line."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of everything the text depends on (xxh3, 128 bits)."""
        return self.manifest["fingerprint"]

    def documents(self, side: str) -> Iterator[str]:
        """The texts of `train` or `dev`, in order."""
        with open(self.folder / "text" / f"{side}.jsonl", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]


def _hash_file(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def _describe(corpus: Corpus, hashes: dict[str, list[list[str]]]) -> dict[str, Any]:
    """What the text depends on. File names count only by their stems, which name the domains."""
    if not corpus.paths:
        return {"synthetic": corpus.synthetic.model_dump(), "generator": synthetic.GENERATOR_VERSION}
    rules: dict[str, Any] = {"text": corpus.text, "separator": corpus.separator}
    if corpus.clean:
        rules |= {"clean": corpus.clean, "cleaning": CLEANING_VERSION}
    filters = corpus.model_dump(include={"min_words", "max_words", "deduplicate"}, exclude_none=True)
    rules |= {"filters": filters} if filters else {}
    if corpus.decontaminate:
        files = sources.find_files(corpus.decontaminate, "corpus.decontaminate")
        rules["decontaminate"] = sorted(_hash_file(path) for path in files)
    return hashes | rules | ({} if hashes["dev"] else {"dev_share": corpus.dev_share or _DEV_SHARE})


def _hashes(train_files: list[Path], dev_files: list[Path]) -> dict[str, list[list[str]]]:
    """[stem, hash] of every file. Raises InputError when a dev file is a train file by its content."""
    hashes = {
        side: [[sources.domain(path), _hash_file(path)] for path in paths]
        for side, paths in (("train", train_files), ("dev", dev_files))
    }
    train = {digest: path for (_, digest), path in zip(hashes["train"], train_files, strict=True)}
    for (_, digest), path in zip(hashes["dev"], dev_files, strict=True):
        if digest in train:
            raise InputError(
                f"corpus.dev_paths: {path} is {train[digest]} of corpus.paths; held-out text must not be trained on"
            )
    return hashes


@dataclass
class Selection:
    """What became of the documents that were read."""

    cleaning: Cleaning
    left_out: dict[str, dict[str, dict[str, int]]]
    """Side -> domain -> reason -> documents."""
    taken_out: Decontamination


def _read_clean(files: list[Path], corpus: Corpus, cleaning: Cleaning) -> Iterator[Document]:
    for document in sources.read_documents(files, corpus.text or ["{text}"], corpus.separator):
        if text := cleaning(document.text, document.domain):
            yield replace(document, text=text)


def _start(corpus: Corpus) -> Selection:
    files = sources.find_files(corpus.decontaminate, "corpus.decontaminate")
    return Selection(Cleaning(corpus.clean), {}, Decontamination(files))


def _documents(
    corpus: Corpus, files: list[Path], held_out: list[Path], side: str, done: Selection
) -> Iterator[Document]:
    """The documents of files, cleaned, without those that the corpus wants left out."""
    keep = Filter(corpus, _read_clean(held_out, corpus, Cleaning(corpus.clean)) if corpus.deduplicate else ())
    done.left_out[side] = keep.counts
    for document in _read_clean(files, corpus, done.cleaning):
        text = done.taken_out(document.text) if side == "train" else document.text
        if text and keep(document := replace(document, text=text)):
            yield document


def _sides(
    corpus: Corpus, train_files: list[Path], dev_files: list[Path], done: Selection
) -> Iterator[tuple[str, Document]]:
    if not corpus.paths:
        seed, num_documents = corpus.synthetic.seed, corpus.synthetic.num_documents
        yield from (("train", Document(text, "stories")) for text in synthetic.generate_documents(num_documents, seed))
        dev_texts = synthetic.generate_dev_documents(_SYNTHETIC_DEV_DOCUMENTS, seed)
        yield from (("dev", Document(text, "stories")) for text in dev_texts)
        return
    train = _documents(corpus, train_files, dev_files, "train", done)
    if dev_files:
        yield from (("train", document) for document in train)
        yield from (("dev", document) for document in _documents(corpus, dev_files, [], "dev", done))
    else:
        yield from split.split(train, corpus.dev_share or _DEV_SHARE)


def _in_pieces(sides: Iterator[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
    """Long held-out documents in segments, so that a sample of them is not one book."""
    for side, document in sides:
        for text in split.segments(document.text) if side == "dev" else [document.text]:
            if text := text.strip():
                yield side, replace(document, text=text)


def _write(folder: Path, sides: Iterator[tuple[str, Document]]) -> dict[str, Any]:
    counts = {
        side: {"num_documents": 0, "num_bytes": 0, "num_words": 0, "domains": Counter()} for side in ("train", "dev")
    }
    with ExitStack() as stack:
        outputs = {side: stack.enter_context(open(folder / f"{side}.jsonl", "w", encoding="utf-8")) for side in counts}
        bar = stack.enter_context(tqdm(desc="text", unit="B", unit_scale=True, delay=2))
        for side, document in _in_pieces(sides):
            outputs[side].write(
                json.dumps({"text": document.text, "domain": document.domain}, ensure_ascii=False) + "\n"
            )
            num_bytes = len(document.text.encode())
            count = counts[side]
            count["num_documents"] += 1
            count["num_bytes"] += num_bytes
            count["num_words"] += len(document.text.split())
            count["domains"][document.domain] += num_bytes
            bar.update(num_bytes)
    return counts


def _write_whole(folder: Path, corpus: Corpus, train_files: list[Path], dev_files: list[Path]) -> dict[str, Any]:
    """Writes both sides. Text so short that nothing falls into the held-out share gives up its smallest segment."""
    done = _start(corpus)
    counts = _write(folder, _sides(corpus, train_files, dev_files, done))
    if counts["train"]["num_documents"] and not counts["dev"]["num_documents"] and not dev_files:
        documents = _documents(corpus, train_files, [], "train", _start(corpus))
        if (share := split.smallest_share(documents)) is None:
            raise InputError(
                "corpus.dev_paths: the text is one short piece, too little to hold any out; give corpus.dev_paths"
            )
        done = _start(corpus)
        counts = _write(folder, _sides(corpus.model_copy(update={"dev_share": share}), train_files, dev_files, done))
    for side, key, paths in (("train", "corpus.paths", corpus.paths), ("dev", "corpus.dev_paths", corpus.dev_paths)):
        if not counts[side]["num_documents"]:
            raise InputError(f"{key}: there is no text in {', '.join(paths or corpus.paths or ['the corpus'])}")
    taken = {"num_sentences": done.taken_out.num_sentences, "examples": done.taken_out.examples}
    return {"splits": counts, "cleaning": done.cleaning.counts, "left_out": done.left_out, "decontaminated": taken}


def prepare_text(corpus: Corpus, data: str | Path) -> TextCorpus:
    """Writes the corpus under `data/NAME-HASH8/text` unless it is there already, and returns it.

    Any number of processes may call this at once; one does the work and the others wait for it. Raises InputError for
    text that is missing, unreadable or empty.
    """
    corpus = complete(corpus)
    sources.check_templates(corpus.text or [])
    check_cleaners(corpus.clean)
    train_files = sources.find_files(corpus.paths or [], "corpus.paths")
    dev_files = sources.find_files(corpus.dev_paths or [], "corpus.dev_paths")
    rules = _describe(corpus, _hashes(train_files, dev_files))
    description = {"format": TEXT_FORMAT, "corpus": corpus.name} | rules
    fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(description, sort_keys=True).encode())
    folder = usable_folder(data, "paths.data") / f"{corpus.name}-{fingerprint[:8]}"
    manifest_path = folder / "text" / "manifest.json"
    with locked(Path(data) / ".locks" / f"{folder.name}.text"):
        if not manifest_path.exists():
            with new_folder(folder / "text") as aside:
                manifest = {"format": TEXT_FORMAT, "name": corpus.name, "fingerprint": fingerprint}
                manifest |= _write_whole(aside, corpus, train_files, dev_files)
                manifest |= {"rules": rules, "sources": [path.as_posix() for path in [*train_files, *dev_files]]}
                write_json(aside / "manifest.json", manifest | {"files": describe_files(aside)})
    return TextCorpus(folder, read_json(manifest_path))
