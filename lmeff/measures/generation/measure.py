"""`lmeff generate`: texts after prompts, what can be measured on them, and the files they leave."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from lmeff.evaluation.bos_warning import warn_of_bos
from lmeff.evaluation.results import model_files_sha256, weights_sha256
from lmeff.files import sha256_file, write_text
from lmeff.formats.result import Kind
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.generation.options import GenerationOptions
from lmeff.measures.generation.prompts import DEFAULT_PROMPTS, Prompt, read_prompts
from lmeff.measures.generation.samples import shown_texts
from lmeff.measures.measure import Measure, Say
from lmeff.measures.result_keys import write_measurement
from lmeff.measures.reuse import refuse_other_data, reuse_equal
from lmeff.measures.selection import SelectedModel
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.text_tables import table_line

_HIGHER_IS_BETTER = {
    **{f"distinct_{n}": True for n in (1, 2, 3)},
    **{f"rep_{n}": False for n in (3, 4)},
    "self_bleu": False,
    "completion_accuracy": True,
    "consistency": True,
}
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


class Generation(Measure):
    """Texts after prompts, and how diverse, repetitive and right they are.

    Prompts with `expected` or `group` are also completed greedily; accuracy and consistency are of those completions.
    """

    kind: ClassVar[Kind] = "generation"
    not_measured = "no texts were generated"

    def __init__(self, options: GenerationOptions, before_batch: Callable[[], None] | None = None) -> None:
        """`before_batch` is called before every forward pass; what it raises ends the writing."""
        self._options, self._before_batch = options, before_batch
        self._prompts: list[Prompt] = []
        self._widths: list[int] = []

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "Generation":
        return cls(GenerationOptions(), check)

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        self._prompts = read_prompts(Path(self._options.prompts) if self._options.prompts else DEFAULT_PROMPTS)

    def check_replaced(self, model: SelectedModel, folder: Path) -> None:
        way_out = "name this one with --name NAME, or give it a folder with --output DIR"
        path = model.output / f"{self._options.task}.json"
        refuse_other_data(path, folder, self._prompts_sha256, "prompts", way_out)

    def heading(self, models: Sequence[SelectedModel]) -> list[str]:
        columns = [*_COLUMNS, *([_RIGHT] if any(prompt.expected for prompt in self._prompts) else [])]
        columns += [_CONSISTENT] if any(prompt.group is not None for prompt in self._prompts) else []
        self._widths = [max(len(model.name) for model in models), *map(len, columns)]
        legend = [words for name, words in _LEGEND.items() if name in columns]
        return [*(["; ".join(legend)] if legend else []), table_line(["revision", *columns], self._widths)]

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict:
        warn_of_bos(model.name, folder)
        decided_by = {
            "weights_sha256": weights_sha256(folder),
            "data_sha256": self._prompts_sha256(),
            "settings": self._options.settings() | {"model_files_sha256": model_files_sha256(folder)},
        }
        task, name = self._options.task, self._options.texts
        path = model.output / f"{task}.json"

        def is_whole(folder: Path, result: dict) -> bool:
            return result.get("texts_sha256") == sha256_file(folder / name)

        if (known := reuse_equal(path, decided_by, [name], is_whole)) is not None:
            return known
        from lmeff.measures.generation.texts import summarize_texts, write_texts

        written, device = write_texts(folder, self._prompts, self._options, self._before_batch)
        write_text(
            path.parent / name, "".join(json.dumps(text.record(), ensure_ascii=False) + "\n" for text in written)
        )
        metrics, counts = summarize_texts(written, task)
        beside = {"texts": name, "texts_sha256": sha256_file(path.parent / name)}
        return write_measurement(path, self.kind, metrics, counts, _HIGHER_IS_BETTER, decided_by, device, **beside)

    def lines(self, model: SelectedModel, result: dict) -> list[str]:
        return [table_line([model.name, *_cells(result["results"], self._options.task)], self._widths)]

    def closing_lines(self, models: Sequence[SelectedModel]) -> list[str]:
        name = self._options.texts
        lines = shown_texts(models[-1].name, models[-1].output / name)
        return [*lines, *([f"those of the others: {name} in the folders beside it"] if len(models) > 1 else [])]

    def _prompts_sha256(self) -> str:
        return hashlib.sha256(json.dumps([asdict(prompt) for prompt in self._prompts]).encode()).hexdigest()


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
