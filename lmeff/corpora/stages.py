"""What of a corpus is read, in which order and by which rules; and a description of all that the text depends on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmeff.corpora import synthetic
from lmeff.corpora.catalogue import describe as described_corpus
from lmeff.corpora.catalogue import has_place, shared_settings, sources_of, without_tracks
from lmeff.corpora.cleaning.quality import check_language
from lmeff.corpora.cleaning.rules import CLEANING_VERSION, check_cleaners
from lmeff.corpora.documents import Rules
from lmeff.corpora.gather import Stage
from lmeff.corpora.reading import sources
from lmeff.corpora.reading.archives import check_download, fetch_track
from lmeff.corpora.reading.origins import LocalHashes, SourceFile, hub_files, local_files, training_patterns
from lmeff.corpora.reading.record_text import check_templates
from lmeff.corpora.reading.records import Form, check_pattern
from lmeff.corpora.reading.sources import kind
from lmeff.errors import InputError
from lmeff.packages import check_package
from lmeff.recipe.sections.corpus import Corpus, MixedSource

DEV_SHARE = 0.01
_READING = ("begins", "join")
_FILTERS = ("min_words", "max_words", "language", "language_share", "deduplicate")


def with_download(corpus: Corpus, data: Path) -> Corpus:
    """The corpus with the paths of its downloaded track, when it is one that is downloaded whole and has no other text."""
    download = described_corpus(corpus).get("download")
    if not download or has_place(corpus):
        if corpus.track and not download:
            raise without_tracks(corpus)
        return corpus
    check_download(download)
    if "hub" in download:
        if corpus.track not in download["tracks"]:
            raise InputError(f"corpus.track: must be one of {', '.join(download['tracks'])}; or give corpus.paths")
        return corpus.model_copy(update={"hub": download["hub"]} | download["tracks"][corpus.track])
    return corpus.model_copy(update=fetch_track(corpus, download, data))


def _rules(corpus: Corpus, source: MixedSource, evaluation_files: tuple[Path, ...]) -> Rules:
    return Rules(
        form=Form(tuple(source.text or ["{text}"]), source.separator, source.begins, source.join),
        clean=source.clean,
        min_words=source.min_words,
        max_words=source.max_words,
        language=source.language,
        language_share=source.language_share,
        repetition=bool(source.repetition),
        deduplicate=corpus.deduplicate,
        dev_share=corpus.dev_share or DEV_SHARE,
        evaluation_files=evaluation_files,
        evaluation_words=corpus.decontaminate_words,
    )


def _training_files(
    name: str, source: MixedSource, data: Path, hashes: LocalHashes, with_hidden: bool
) -> tuple[list[SourceFile], list[SourceFile]]:
    """Training files of a source, and held-out ones where its data set has a split for them."""
    key = f"corpus.sources.{name}.paths" if name else "corpus.paths"
    if source.paths:
        return local_files(source.paths, key, hashes, name, source.domains, with_hidden), []
    if not source.hub:
        raise InputError(f"{key}: source {name!r} says neither paths nor hub")
    train, held_out = (source.files, None) if source.files else training_patterns(source, data)
    dev = hub_files(source, held_out, name, data, with_hidden) if held_out and not name else []
    return hub_files(source, train, name, data, with_hidden), dev


def find_stages(corpus: Corpus, data: Path, hashes: LocalHashes, with_hidden: bool = False) -> list[Stage]:
    """Held-out files first, so that training text can be compared with them, then the sources in their order.

    `with_hidden`: with the hidden files of folders and data sets, which older versions read.

    Raises InputError when a file is missing or held out and trained on at once, RunFailed when the Hub cannot be asked.
    """
    if not has_place(corpus):
        return []
    evaluation = tuple(sources.find_files(corpus.decontaminate, "corpus.decontaminate", with_hidden))
    stages, dev_files = [], []
    if corpus.deduplicate == "near":
        check_package("datasketch", "corpus.deduplicate: 'near'")
    mixture = sources_of(corpus)
    shares = _shares(corpus, mixture)
    for name, source in mixture.items():
        _check_settings(source)
        files, held_out = _training_files(name, source, data, hashes, with_hidden)
        dev_files += held_out
        _check_cleaned(name, source, files)
        amount, unit = corpus.budget_parts or (0, None)
        if amount and not name and source.paths and len({file.domain for file in files}) > 1:
            raise InputError(
                "corpus.budget: of several files it would take the first ones alone; name them as corpus.sources with weights"
            )
        limit = round(amount * shares[name]) if unit == "words" else None
        if limit != 0:
            stages.append(Stage(name, files, _rules(corpus, source, evaluation), limit, float(source.epochs)))
    if corpus.dev_paths:
        dev_files = local_files(corpus.dev_paths, "corpus.dev_paths", hashes, "", corpus.domains, with_hidden)
    elif corpus.dev_files and corpus.hub:
        dev_files = hub_files(corpus, corpus.dev_files, "", data, with_hidden)
    return _with_held_out(corpus, stages, dev_files) if dev_files else stages


def _shares(corpus: Corpus, mixture: Mapping[str, MixedSource]) -> dict[str, float]:
    """The share of the budget that each source gets. Raises InputError when some have no weight and need one."""
    total = sum(source.weight or 0 for source in mixture.values())
    unweighted = [name for name, source in mixture.items() if source.weight is None]
    if len(mixture) > 1 and unweighted and (corpus.budget or total):
        raise InputError(
            f"corpus.sources.{unweighted[0]}.weight: missing; with a budget or a weight each source needs one"
        )
    return {name: (source.weight or 0) / total if total else 1 / len(mixture) for name, source in mixture.items()}


def _check_settings(source: MixedSource) -> None:
    """Raises InputError for settings that would fail only when the text is read."""
    check_templates(source.text or [])
    check_cleaners(source.clean)
    if source.language:
        check_package("py3langid", "corpus.language")
        check_language(source.language)
    if source.begins:
        check_pattern(source.begins)


def _with_held_out(corpus: Corpus, stages: list[Stage], dev_files: list[SourceFile]) -> list[Stage]:
    """The stages after one for the held-out files, so that nothing more is held out of the training text."""
    _check_apart(stages, dev_files)
    train = [replace(stage, rules=replace(stage.rules, dev_share=None)) for stage in stages]
    # Held-out files belong to no source; the settings of the corpus itself hold for them.
    rules = _rules(corpus, shared_settings(corpus), ())
    return [Stage("", dev_files, replace(rules, dev_share=None, side="dev")), *train]


def _check_cleaned(name: str, source: MixedSource, files: list[SourceFile]) -> None:
    """Raises InputError when `clean` names files, and none of those that are read."""
    if (
        isinstance(source.clean, dict)
        and source.clean
        and not source.domains
        and not {file.stem for file in files} & set(source.clean)
    ):
        key = f"corpus.sources.{name}.clean" if name else "corpus.clean"
        raise InputError(f"{key}: none of {', '.join(source.clean)} is the stem of a file that is read")


def _check_apart(stages: list[Stage], dev_files: list[SourceFile]) -> None:
    train = {file.identity: file for stage in stages for file in stage.files}
    for file in dev_files:
        if file.identity in train:
            raise InputError(
                f"corpus.dev_paths: {file} is {train[file.identity]} of corpus.paths; held-out text must not be trained on"
            )


# ---------------------------------------------------------------------- what the text depends on


def describe(corpus: Corpus, stages: list[Stage], hashes: LocalHashes, with_hidden: bool = False) -> dict[str, Any]:
    """What the text depends on. File names count only by their stems, which name the domains."""
    if not has_place(corpus):
        return {"synthetic": corpus.synthetic.model_dump(), "generator": synthetic.GENERATOR_VERSION}
    rules: dict[str, Any] = {"text": corpus.text, "separator": corpus.separator}
    rules |= {key: value for key in _READING if (value := getattr(corpus, key)) is not None}
    if corpus.clean:
        rules["clean"] = corpus.clean
    filters = {key: value for key in _FILTERS if (value := getattr(corpus, key)) is not None}
    if corpus.repetition:
        filters["repetition"] = True
    rules |= {"filters": filters} if filters else {}
    if corpus.decontaminate:
        files = sources.find_files(corpus.decontaminate, "corpus.decontaminate", with_hidden)
        rules["decontaminate"] = sorted(f"{kind(path)} {hashes.of(path)}" for path in files)
        rules |= {"decontaminate_words": corpus.decontaminate_words} if corpus.decontaminate_words else {}
    if corpus.budget and corpus.budget_parts[1] == "words":
        rules["budget"] = corpus.budget
    rules |= _described_files(corpus, stages)
    if corpus.clean or any(stage.rules.clean for stage in stages):
        rules["cleaning"] = CLEANING_VERSION
    return rules


def _described_files(corpus: Corpus, stages: list[Stage]) -> dict[str, Any]:
    dev = [stage for stage in stages if stage.rules.side == "dev"]
    train = [stage for stage in stages if stage.rules.side == "train"]
    out: dict[str, Any] = {"train": [], "dev": [_described(file) for stage in dev for file in stage.files]}
    out |= {} if dev else {"dev_share": corpus.dev_share or DEV_SHARE}
    if not corpus.sources:
        return out | {"train": [_described(file) for stage in train for file in stage.files]}
    ruling = set(MixedSource.model_fields) - {"paths", "hub", "revision", "files", "config", "epochs", "weight"}
    # A list, since of equal documents that of the first source stays.
    out["sources"] = [
        {
            "name": stage.source,
            "train": [_described(file) for file in stage.files],
            "words": stage.max_words,
            "rules": sources_of(corpus)[stage.source].model_dump(include=ruling, exclude_none=True),
        }
        for stage in train
    ]
    return out


def _described(file: SourceFile) -> list[str]:
    return [file.stem, file.identity] + ([file.kind] if file.kind != "jsonl" else [])
