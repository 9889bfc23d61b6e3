"""`lmeff perplexity`: which text, which windows, one model after another, and the results they leave."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.evaluation.results import copy_result, tokenizer_files_sha256, weights_sha256
from lmeff.evaluation.scorer.context_start import warn_of_bos
from lmeff.files import sha256_file
from lmeff.measures.options import PerplexityOptions
from lmeff.measures.perplexity.text import HeldText, check_files, corpus_fingerprint, file_text, split_text
from lmeff.measures.perplexity.windows import packed_windows, strided_windows
from lmeff.measures.result_keys import find_measure, write_measure
from lmeff.measures.reuse import keep_other
from lmeff.measures.selection import Subject, find_subjects, score_each, where_results_are
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.tokens.tokenizer.published import prepared_sha256

_VERSION = 1
"""Raised whenever the same text and settings would give other numbers."""


class _Texts:
    """The text for each model: of a run's corpus one for all its revisions, also when the run went on with another one."""

    def __init__(self, wanted: PerplexityOptions, subjects: Sequence[Subject]) -> None:
        self._wanted = wanted
        self._known: dict[str, HeldText] = {}
        self._split = None
        if wanted.paths:
            check_files(wanted.paths)
        else:
            self._split = split_text(subjects[-1].model_folder, wanted.split or "dev", wanted.limit)
            self._corpus = corpus_fingerprint(subjects[-1].model_folder)

    @property
    def note(self) -> str | None:
        """What to say of the text before any number of it."""
        if self._split is None or not self._split.is_by_older_rule:
            return None
        return (
            "this text was prepared by an older version, which cut documents above 16,000 characters: their pieces count as"
            " documents, and standard errors as if they were independent"
        )

    def is_of_other_corpus(self, model_folder: Path) -> bool:
        """Whether the model was trained on another corpus than the split is of, and so perhaps on what it holds out."""
        return self._split is not None and corpus_fingerprint(model_folder) != self._corpus

    def of(self, model_folder: Path) -> HeldText:
        if self._split is not None:
            if prepared_sha256(model_folder) != self._split.tokenizer_sha256:
                raise InputError("its tokenizer is not the one that the run's tokens were made with; use --text PATH")
            return self._split
        key = tokenizer_files_sha256(model_folder)
        if key not in self._known:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(model_folder, trust_remote_code=False, local_files_only=True)
            self._known[key] = file_text(self._wanted.paths, tokenizer, self._wanted.limit)
        return self._known[key]


def measure_perplexity(
    what: str,
    wanted: PerplexityOptions,
    revisions: Sequence[str] | None,
    every: bool,
    output: Path | None,
    results: dict[str, dict],
) -> None:
    """Loss, perplexity and bits per byte of every model into `results`, by revision; prints a few lines for each as it is done.

    Raises InputError for text or settings that cannot be, and RunFailed at the end when a model could not be scored.
    """
    wanted.check(what, output)
    subjects = find_subjects(what, revisions, every, output)
    if subjects[0].model_folder is not None:
        _check_windows(subjects[0].model_folder, wanted)
    texts = _Texts(wanted, subjects)
    if texts.note:
        print(texts.note, flush=True)
    for subject in (subject for subject in subjects if subject.model_folder is not None):
        _keep_other_text(subject, subject.model_folder, texts, wanted)
    width = max(len(subject.name) for subject in subjects)
    print(_row("revision".ljust(width), "text", "tokens", "loss", "perplexity", "bits/byte", "per word"), flush=True)

    def score(subject: Subject, model_folder: Path) -> None:
        warn_of_bos(subject.name, model_folder)
        if subject.remote:
            _keep_other_text(subject, model_folder, texts, wanted)
        if texts.is_of_other_corpus(model_folder):
            print(f"{subject.name}: was trained on another corpus and may have seen this text", flush=True)
        result = _measure(model_folder, subject.output / f"{wanted.task}.json", texts.of(model_folder), wanted)
        results[subject.name] = result
        for task, counts in result["counts"].items():
            values = {name.partition(",")[0]: value for name, value in result["results"][task].items()}
            forms = {"loss": ".4f", "perplexity": ".4g", "bits_per_byte": ".4f", "word_perplexity": ".4g"}
            numbers = [f"{values[metric]:{form}}" for metric, form in forms.items()]
            name = "all" if task == wanted.task else task.removeprefix(f"{wanted.task}_")
            print(_row(subject.name.ljust(width), name, f"{counts['num_tokens']:,}", *numbers), flush=True)

    try:
        score_each(subjects, score)
    finally:
        if scored := [subject.output for subject in subjects if subject.name in results]:
            print(where_results_are(scored), flush=True)


def _keep_other_text(subject: Subject, model_folder: Path, texts: _Texts, wanted: PerplexityOptions) -> None:
    """Raises InputError where a result of other text would be replaced. All of a run's own text may replace any of it."""
    if not (wanted.paths or wanted.is_part):
        return
    path, named = subject.output / f"{wanted.task}.json", "name this one with --name NAME, or " if wanted.paths else ""
    way_out = f"{named}give it a folder with --output DIR"
    keep_other(path, model_folder, lambda: texts.of(model_folder).sha256, "text, or of another part of it", way_out)


def _row(revision: str, text: str, *numbers: str) -> str:
    return f"{revision}  {text:20}" + "".join(f"{number:>12}" for number in numbers)


def _measure(model_folder: Path, path: Path, text: HeldText, wanted: PerplexityOptions) -> dict:
    """The result of one model, computed unless it is there for the same weights, text and settings."""
    settings = _settings(model_folder, wanted) | {"eos_is_scored": text.has_end and wanted.score_end}
    decided_by = {"weights_sha256": weights_sha256(model_folder), "data_sha256": text.sha256, "settings": settings}
    decided_by["text_sha256"] = text.text_sha256
    if (found := find_measure(path, decided_by)) is not None:
        folder, result = found
        copy_result(path, folder)
        return result

    from lmeff.evaluation.process_state import isolate_scoring
    from lmeff.evaluation.scorer.language_model import load_model
    from lmeff.measures.perplexity.losses import HIGHER_IS_BETTER, summarise, token_losses
    from lmeff.models.device import device_name

    if wanted.way == "strided":
        windows = strided_windows(text, settings["length"], settings["stride"], wanted.score_end)
    else:
        windows = packed_windows(text, settings["length"], settings["document_mask"], wanted.score_end)
    with isolate_scoring():
        model = load_model(model_folder, None, batch_size=1, progress=False).model
        losses = token_losses(model, windows, wanted.batch_size)
    found = summarise(losses, windows, text)
    if len(found) == 2:  # one domain is all there is
        found = {None: found[None]}
    named = {wanted.task if name is None else f"{wanted.task}_{name}": values for name, values in found.items()}
    groups = {wanted.task: [task for task in named if task != wanted.task]} if len(named) > 1 else {}
    return write_measure(
        path,
        {task: values["metrics"] for task, values in named.items()},
        {task: values["counts"]["num_documents"] for task, values in named.items()},
        HIGHER_IS_BETTER,
        decided_by,
        device_name(model.device),
        counts={task: values["counts"] for task, values in named.items()},
        group_subtasks=groups,
    )


class _Unsuitable(InputError):
    """The command line asks for what the model cannot take."""


def _check_windows(model_folder: Path, wanted: PerplexityOptions) -> None:
    """Raises InputError for windows that the model cannot take; what is wrong with its files is told when its turn comes."""
    if not (wanted.length or wanted.stride):
        return
    try:
        _settings(model_folder, wanted)
    except _Unsuitable:
        raise
    except Exception:
        return


def _settings(model_folder: Path, wanted: PerplexityOptions) -> dict[str, Any]:
    """What besides weights and text decides the numbers, and what part of the text it is. Raises InputError."""
    found = {"version": _VERSION, "dtype": "float32", "way": wanted.way, "length": _length(model_folder, wanted)}
    found["context_start"] = "bos"  # a document begins with one, whatever the tokenizer adds
    if wanted.way == "strided":
        found["stride"] = wanted.stride or max(1, found["length"] // 2)
        try:
            wanted.check_stride(found["stride"], found["length"])
        except InputError as error:
            raise _Unsuitable(*error.mistakes) from None
    else:
        recipe = _recipe(model_folder)
        found["document_mask"] = recipe is not None and recipe.batch.document_mask
    if wanted.limit is not None:
        found["limit_tokens"] = wanted.limit
    return found | {"config_sha256": sha256_file(model_folder / "config.json")}


def _length(model_folder: Path, wanted: PerplexityOptions) -> int:
    """Tokens of a window. Raises InputError, `_Unsuitable` when the model cannot take so many."""
    from lmeff.models.context_length import LENGTH_WHERE_ANY, context_length
    from lmeff.models.loading import load_config

    most = context_length(load_config(model_folder))
    if wanted.length:
        if wanted.length < 2 or (most and wanted.length > most):
            raise _Unsuitable(
                f"--length: {wanted.length} tokens; {model_folder.name} takes 2 to {most or 'any number'}"
            )
        return wanted.length
    if (recipe := _recipe(model_folder)) is not None:
        return recipe.batch.sequence_length
    return min(most or LENGTH_WHERE_ANY, LENGTH_WHERE_ANY)  # no recipe says it


def _recipe(model_folder: Path) -> Recipe | None:
    path = model_folder / "recipe.yaml"
    return read_recipe(path).recipe if path.is_file() else None
