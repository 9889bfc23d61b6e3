"""Evaluating a model folder with lm-eval: shared among processes, written once and whole, never computed twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmeff.errors import InputError
from lmeff.evaluation.minimal_pairs import is_pair_task
from lmeff.evaluation.pair_table import has_pairs, pair_table
from lmeff.evaluation.parts import Part, PartStore
from lmeff.evaluation.results import (
    copy_result,
    digest_files,
    model_files_sha256,
    weights_sha256,
)
from lmeff.evaluation.score_file import write_scores
from lmeff.evaluation.scorer.answer_tokens import ContextStart
from lmeff.evaluation.task_data import TaskData
from lmeff.evaluation.tasks.items import items_of
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.formats.result import about_of, find_result
from lmeff.recipe.sections.evaluation import Scoring

if TYPE_CHECKING:
    from lmeff.evaluation.scorer.language_model import LmeffLM
    from lmeff.evaluation.scorer.ways import Way
    from lmeff.evaluation.tasks.loaded import LoadedTask

TASK_SUFFIXES = {".yaml", ".yml", ".py"}


@dataclass(frozen=True)
class Evaluation:
    """A model and the tasks to score it on. Every rank calls `score`; after a barrier, one rank calls `finish`.

    Writes `TASK.json` (lm-eval's own result keys, and `lmeff` with what the numbers depend on) and, for minimal pairs,
    `pairs/TASK.parquet` with the log-probabilities of every pair. A result that is there already, for the same weights,
    data and settings, is not computed again; then no model is loaded.
    """

    model_folder: Path
    """Folder with a config, safetensors weights and a tokenizer."""
    tasks: tuple[str, ...]
    """Names of lm-eval tasks or groups."""
    output: Path
    """Folder for the results."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Local data by name, such as `blimp`."""
    include_path: str | None = None
    """Folder with lm-eval task files of the user."""
    limit: int | None = None
    """Score only the first N examples of every task."""
    batch_size: int | str = "auto"
    """Texts scored at once."""
    precision: str = "float32"
    """`float32`, or `adaptive`: bfloat16 decides the minimal pairs that its error cannot change."""
    exact: bool = False
    """Score with lm-eval's own code in place of ours."""
    device: str | None = None
    """Default: the current GPU, else the CPU."""
    before_batch: Callable[[], None] | None = None
    """Called before every forward pass; what it raises ends the scoring."""
    context_start: ContextStart = "bos"
    """What a context begins with: one BOS, or what the tokenizer puts there by itself."""
    scoring: Scoring = "auto"
    """How texts are scored: see `Way`."""

    @cached_property
    def way(self) -> "Way":
        """How the texts of this model are scored. Raises InputError where it cannot be scored as asked."""
        from lmeff.evaluation.scorer.ways import way_of_folder

        return way_of_folder(self.model_folder, self.scoring)

    @cached_property
    def weights_sha256(self) -> str:
        return weights_sha256(self.model_folder)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What besides weights and data decides the numbers."""
        task_files = sorted(tasks_folder().glob("*.yaml"))  # what all our tasks include, with the version of the rules
        if self.include_path:
            task_files += sorted(path for path in Path(self.include_path).rglob("*") if path.suffix in TASK_SUFFIXES)
        return {
            "dtype": "float32",
            "batch_size": self.batch_size,
            "precision": self.precision,
            "exact": self.exact,
            "context_start": self.context_start,
            **self.way.settings,
            "limit": self.limit,
            "model_files_sha256": model_files_sha256(self.model_folder),
            "task_files_sha256": digest_files(task_files),
        }

    def cached(self) -> dict[str, dict]:
        """The results that need not be computed again, by task: in `output`, or beside it for a model with the same weights."""
        return {task: known[1] for task in dict.fromkeys(self.tasks) if (known := self._find(task))}

    def score(self, rank: int = 0, world_size: int = 1) -> None:
        """Scores this rank's share of the tasks and writes each under `output/.parts` when it is done, so that a run that was
        killed goes on with the next. Needs no communication.

        Raises ValueError naming task and pair when the model gives a log-probability that is not finite.
        """
        loaded = self._load(self._pending(self.cached()))
        leaves = {name: group for group in loaded.values() for name in group.tasks}
        share = [name for name in list(leaves)[rank::world_size] if self._part(name, leaves[name]) is None]
        if not share:
            return

        from lmeff.evaluation.process_state import isolate_scoring
        from lmeff.evaluation.scorer.load import answer_tasks, load_model

        with isolate_scoring():
            model = load_model(
                self.model_folder,
                self.device,
                batch_size=self.batch_size,
                progress=rank == 0,
                exact=self.exact,
                precision=self.precision,
                context_start=self.context_start,
                scoring=self.scoring,
            )
            if model.way != self.way:
                raise InputError(f"{self.model_folder}: its weights see other tokens than its configuration says")
            if self.before_batch:
                model.model.base_model.register_forward_pre_hook(lambda *_: self.before_batch())
            num_texts = {
                name: max(group.num_texts for group in loaded.values() if name in group.tasks) for name in share
            }
            requests = {name: leaves[name].fresh_requests(name) for name in share}
            for name, answers in answer_tasks(model, requests, num_texts):
                part = self._part_of(leaves[name].tasks[name], answers, model)
                self._parts.write(name, leaves[name].asked_sha256(name), part)

    def _part_of(self, task: Any, answers: dict[str, list], model: "LmeffLM") -> Part:
        from lmeff.models.device import device_name

        name, num_answers, pairs = task.task_name, sum(map(len, answers.values())), None
        adapted = model.adapted.get(name)
        in_float32 = adapted.in_float32.tolist() if adapted else [True] * num_answers
        if is_pair_task(task):
            (given,) = answers.values()
            flags = in_float32 if self.precision == "adaptive" else None
            pairs = pair_table(name, [log_probability for log_probability, _ in given], items_of(task), flags)
        return Part(
            answers=answers,
            pairs=pairs,
            device=device_name(model.device),
            num_cut=model.num_cut.get(name, 0),
            num_in_float32=sum(in_float32),
            error_bound=adapted.error_bound if adapted else 0.0,
            compiled=bool(adapted and adapted.compiled),
        )

    def run(self) -> dict[str, dict]:
        """Scores everything in this process alone and returns the results by task."""
        self.score()
        return self.finish()

    def is_scored(self) -> bool:
        """Whether every task was scored, by whichever rank, so that `finish` can join them."""
        loaded = self._load(self._pending(self.cached()))
        return all(self._part(name, group) is not None for group in loaded.values() for name in group.tasks)

    def finish(self) -> dict[str, dict]:
        """Joins what the ranks scored, writes the results and returns them by task. The same for any number of ranks."""
        results = {}
        for task in dict.fromkeys(self.tasks):
            if known := self._find(task):
                folder, results[task] = known
                pairs = Path("pairs") / f"{task}.parquet"
                copy_result(self.output / f"{task}.json", folder, [str(pairs)] if (folder / pairs).exists() else [])
        if pending := self._pending(results):
            from lmeff.evaluation.aggregation import aggregate
            from lmeff.evaluation.process_state import isolate_scoring

            with isolate_scoring():
                for task, loaded in self._load(pending).items():
                    parts = {name: self._part(name, loaded) for name in loaded.tasks}
                    if missing := [name for name, part in parts.items() if part is None]:
                        raise RuntimeError(
                            f"{self.output}: {missing[0]} was not scored with this model and these settings"
                        )
                    result = aggregate(loaded, {name: part.answers for name, part in parts.items()}, self.limit)
                    data = {
                        "data": self._data.origins(task),
                        "data_sha256": self._data.loaded_sha256(loaded.tasks),
                    }
                    path = self.output / f"{task}.json"
                    results[task] = write_scores(path, result, loaded.tasks, parts, self._about | data)
            self._parts.remove({name for loaded in self._load(pending).values() for name in loaded.tasks})
        return {task: results[task] for task in dict.fromkeys(self.tasks)}

    @property
    def _about(self) -> dict[str, Any]:
        return {"weights_sha256": self.weights_sha256, "settings": self.settings}

    def _find(self, task: str) -> tuple[Path, dict] | None:
        """A finished result of the same weights, data and settings, and its folder."""
        for path in (self.output / f"{task}.json", *sorted(self.output.parent.glob(f"[!.]*/{task}.json"))):
            about = about_of(path)
            if self._is_ours(about) and has_pairs(path, about) and self._has_same_data(task, about):
                return path.parent, find_result(path)
        return None

    @cached_property
    def _data(self) -> TaskData:
        return TaskData(self.paths, self.limit)

    @cached_property
    def _parts(self) -> PartStore:
        return PartStore(self.output / ".parts", self._about)

    def _part(self, name: str, loaded: "LoadedTask") -> Part | None:
        """What was answered to the requests of one task; None where that must be asked (again)."""
        return self._parts.read(name, loaded.asked_sha256(name), is_pair_task(loaded.tasks[name]))

    def _is_ours(self, about: dict) -> bool:
        return about.get("weights_sha256") == self.weights_sha256 and about.get("settings") == self.settings

    def _pending(self, done: Mapping[str, dict]) -> list[str]:
        return [task for task in dict.fromkeys(self.tasks) if task not in done]

    def _has_same_data(self, task: str, about: dict) -> bool:
        if about.get("data") != self._data.origins(task):
            return False
        known = self._data.sha256(task)
        if known is None:
            if not self._data.is_ours(task) and about.get("versions", {}).get("lm_eval") != version("lm_eval"):
                return False  # whose own tasks change from version to version
            try:
                loaded = self._load([task])[task]
            except Exception:  # the Hub's data cannot be had now; what was scored on them stands
                return True
            known = self._data.loaded_sha256(loaded.tasks)
        return known == about["data_sha256"]

    def _load(self, names: Sequence[str]) -> dict[str, "LoadedTask"]:
        """lm-eval's tasks and groups for each name."""
        if not names:
            return {}
        from lmeff.evaluation.process_state import isolate_scoring
        from lmeff.evaluation.tasks.loaded import load_tasks

        settings = self.settings
        data = (self._data.sha256(name) for name in names)
        content = (settings["task_files_sha256"], settings["model_files_sha256"], *data)
        with isolate_scoring():
            return load_tasks(names, self.include_path, self.paths, self.limit, content, str(self.model_folder))
