"""`lmeff generate`: texts after prompts, one model after another, what can be measured on them, and the files they leave."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from lmeff.errors import InputError
from lmeff.evaluation.results import copy_result, model_files_sha256, weights_sha256
from lmeff.evaluation.scorer.context_start import warn_of_bos
from lmeff.files import sha256_file, write_text
from lmeff.measures.generation.prompts import DEFAULT_PROMPTS, Prompt, read_prompts
from lmeff.measures.generation.samples import shown_texts
from lmeff.measures.result_keys import find_measure, write_measure
from lmeff.measures.reuse import check_name, keep_other
from lmeff.measures.selection import Subject, find_subjects, score_each

_PARTS = ("completion", "consistency")
"""What besides the texts themselves has scores, as a task of its own."""
HIGHER_IS_BETTER = {
    **{f"distinct_{n}": True for n in (1, 2, 3)},
    **{f"rep_{n}": False for n in (3, 4)},
    "self_bleu": False,
    "completion_accuracy": True,
    "consistency": True,
}
_VERSION = 2
"""Raised whenever the same model and settings would write other texts or give other numbers."""
_COLUMNS = {
    "distinct-1": "distinct_1",
    "distinct-2": "distinct_2",
    "distinct-3": "distinct_3",
    "rep-4": "rep_4",
    "self-BLEU": "self_bleu",
    "tokens": "num_tokens",
    "ended": "eos_share",
}
_RIGHT, _CONSISTENT = "right", "consistent (across)"
_LEGEND = {
    _RIGHT: "right: greedy completions that begin with an expected answer",
    _CONSISTENT: "consistent: overlap of words within a group (across groups in brackets)",
}


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    prompts: str | None = None
    """A file. Default: the prompts that come with lmeff."""
    max_new_tokens: int = 50
    samples: int = 3
    """Texts after each prompt. 0: one, by the most probable token each time."""
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0
    batch_size: int = 32
    name: str | None = None
    """Of the results: `generation_NAME`. Default: `generation`."""

    def check(self) -> None:
        """Raises InputError for a name that results cannot have."""
        check_name(self.name)
        if self.name and self.name.endswith(_PARTS):
            raise InputError(f"--name: {self.name} would be a part of other results; take another name")

    @property
    def task(self) -> str:
        """The name of the results."""
        return f"generation_{self.name}" if self.name else "generation"

    @property
    def texts(self) -> str:
        """The file beside them, with one object a text."""
        return f"generations_{self.name}.jsonl" if self.name else "generations.jsonl"

    def settings(self) -> dict[str, Any]:
        """What besides weights, tokenizer and prompts decides the texts."""
        found = {
            "version": _VERSION,
            "context_start": "bos",  # a prompt begins with one, whatever the tokenizer adds
            "dtype": "float32",
            "max_new_tokens": self.max_new_tokens,
            "samples": self.samples,
        }
        if self.samples:
            found |= {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return found


def measure_generation(
    what: str,
    wanted: Wanted,
    revisions: Sequence[str] | None,
    every: bool,
    output: Path | None,
    results: dict[str, dict],
) -> None:
    """Texts and measures of every model: the latter into `results`, by revision, and a printed line for each as it is done.

    Prompts with `expected` or `group` are also completed greedily; accuracy and consistency are of those completions. Raises
    InputError for prompts that cannot be read, and RunFailed at the end when a model could not write.
    """
    wanted.check()
    prompts = read_prompts(Path(wanted.prompts) if wanted.prompts else DEFAULT_PROMPTS)
    subjects = find_subjects(what, revisions, every, output)
    for subject in (subject for subject in subjects if subject.model_folder is not None):
        _keep_other_prompts(subject, subject.model_folder, prompts, wanted.task)
    width = max(len(subject.name) for subject in subjects)
    header = [*_COLUMNS, *([_RIGHT] if any(prompt.expected for prompt in prompts) else [])]
    header += [_CONSISTENT] if any(prompt.group is not None for prompt in prompts) else []
    if legend := [words for name, words in _LEGEND.items() if name in header]:
        print("; ".join(legend), flush=True)
    print("  ".join(["revision".ljust(width), *header]), flush=True)

    def score(subject: Subject, model_folder: Path) -> None:
        warn_of_bos(subject.name, model_folder)
        if subject.remote:
            _keep_other_prompts(subject, model_folder, prompts, wanted.task)
        result = _measure(model_folder, subject.output, prompts, wanted)
        results[subject.name] = result
        cells = (
            cell.rjust(len(name)) for cell, name in zip(_cells(result["results"], wanted.task), header, strict=True)
        )
        print("  ".join([subject.name.ljust(width), *cells]), flush=True)

    try:
        score_each(subjects, score)
    finally:
        if written := [subject for subject in subjects if subject.name in results]:
            print("\n".join(shown_texts(written[-1].name, written[-1].output / wanted.texts)), flush=True)
        if len(written) > 1:
            print(f"those of the others: {wanted.texts} in the folders beside it", flush=True)


def _keep_other_prompts(subject: Subject, model_folder: Path, prompts: Sequence[Prompt], task: str) -> None:
    """Raises InputError where the texts of other prompts would be replaced."""
    way_out = "name this one with --name NAME, or give it a folder with --output DIR"
    keep_other(subject.output / f"{task}.json", model_folder, lambda: _sha256(prompts), "prompts", way_out)


def _sha256(prompts: Sequence[Prompt]) -> str:
    return hashlib.sha256(json.dumps([asdict(prompt) for prompt in prompts]).encode()).hexdigest()


def _cells(results: dict[str, dict], task: str) -> list[str]:
    """A row of the table."""
    values = {name: value for scores in results.values() for name, value in scores.items()}
    cells = [_cell(values.get(f"{metric},none")) for metric in _COLUMNS.values()]
    if f"{task}_completion" in results:
        cells.append(_cell(values["completion_accuracy,none"]))
    if f"{task}_consistency" in results:
        cells.append(f"{_cell(values['consistency,none'])} ({_cell(values.get('consistency_across,none'))})")
    return cells


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _measure(model_folder: Path, output: Path, prompts: Sequence[Prompt], wanted: Wanted) -> dict:
    """The result of one model, computed unless it is there for the same weights, prompts and settings, texts included."""
    decided_by = {
        "weights_sha256": weights_sha256(model_folder),
        "data_sha256": _sha256(prompts),
        "settings": wanted.settings() | {"model_files_sha256": model_files_sha256(model_folder)},
    }
    path, name = output / f"{wanted.task}.json", wanted.texts
    found = find_measure(
        path, decided_by, [name], lambda folder, result: result.get("texts_sha256") == sha256_file(folder / name)
    )
    if found is not None:
        folder, result = found
        copy_result(path, folder, [name])
        return result
    records, device = _write(model_folder, prompts, wanted)
    texts = output / name
    write_text(texts, "".join(json.dumps(_public(record), ensure_ascii=False) + "\n" for record in records))
    metrics, counts = _summary(records, wanted.task)
    beside = {"texts": name, "texts_sha256": sha256_file(texts)}
    return write_measure(path, metrics, counts, HIGHER_IS_BETTER, decided_by, device, **beside)


def _write(model_folder: Path, prompts: Sequence[Prompt], wanted: Wanted) -> tuple[list[dict[str, Any]], str]:
    """A record for each text, in the order of the prompts, the greedy one after the samples; and the device's name."""
    from lmeff.evaluation.process_state import isolate_scoring
    from lmeff.evaluation.scorer.language_model import load_model
    from lmeff.measures.generation.generate import Request, Sampling, generate
    from lmeff.measures.generation.statistics import is_expected
    from lmeff.models.device import device_name

    asked: list[tuple[Prompt, Request]] = []
    for prompt in prompts:
        asked += [(prompt, Request(prompt.text, sample)) for sample in range(wanted.samples)]
        if not wanted.samples or prompt.expected or prompt.group is not None:
            asked.append((prompt, Request(prompt.text, None)))
    sampling = Sampling(wanted.max_new_tokens, wanted.temperature, wanted.top_p, wanted.seed)
    with isolate_scoring():
        loaded = load_model(model_folder, None, batch_size=1, progress=False)
        written = generate(
            loaded.model, loaded.tokenizer, [request for _, request in asked], sampling, wanted.batch_size
        )
    records = []
    for (prompt, request), answer in zip(asked, written, strict=True):
        record = {"prompt": prompt.text, "sample": request.sample, "greedy": request.sample is None}
        record |= {"seed": wanted.seed if request.sample is not None else None}
        record |= {"text": answer.text, "num_tokens": answer.num_tokens, "finished": answer.finished}
        record |= {"group": prompt.group} if prompt.group is not None else {}
        if prompt.expected and request.sample is None:
            record |= {"expected": list(prompt.expected)}
            record |= {"is_expected": is_expected(prompt.text, answer.text, prompt.expected)}
        records.append(record | {"_steps": answer})
    return records, device_name(loaded.device)


def _public(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "_steps"}


def _summary(records: Sequence[dict[str, Any]], task: str) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """(`{task: {metric: value}}`, examples by task). Texts are measured as they were sampled, or greedy where none was."""
    from lmeff.measures.generation.statistics import accuracy, consistency, distinct, repetition, self_bleu

    measured = [record for record in records if not record["greedy"]] or records
    texts = [record["text"] for record in measured]
    steps = [record["_steps"] for record in measured]
    found = {
        **{f"distinct_{n}": distinct(texts, n) for n in (1, 2, 3)},
        **{f"rep_{n}": repetition(texts, n) for n in (3, 4)},
        "self_bleu": self_bleu(texts),
        "num_tokens": mean(record["num_tokens"] for record in measured),
        "num_words": mean(len(text.split()) for text in texts),
        "eos_share": mean(float(record["finished"] == "eos") for record in measured),
        "top_probability": mean(value for answer in steps for value in answer.top_probabilities),
        "entropy": mean(value for answer in steps for value in answer.entropies),
    }
    metrics = {task: {name: value for name, value in found.items() if value is not None}}
    counts = {task: len(measured)}
    if right := [record["is_expected"] for record in records if "is_expected" in record]:
        share, stderr = accuracy(right)
        metrics[f"{task}_completion"] = {"completion_accuracy": share}
        metrics[f"{task}_completion"] |= {} if stderr is None else {"completion_accuracy_stderr": stderr}
        counts[f"{task}_completion"] = len(right)
    groups: dict[str, list[str]] = {}
    for record in records:
        if record["greedy"] and record.get("group") is not None:
            groups.setdefault(record["group"], []).append(record["text"])
    if groups:
        within, across = consistency(groups)
        metrics[f"{task}_consistency"] = {"consistency": within}
        metrics[f"{task}_consistency"] |= {} if across is None else {"consistency_across": across}
        counts[f"{task}_consistency"] = len(groups)
    return metrics, counts
