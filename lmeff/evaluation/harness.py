"""Evaluating a model folder with lm-eval: shared among processes, written once and whole, never computed twice."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.evaluation.data import Documents, data_origins, documents, documents_sha256, using_paths
from lmeff.evaluation.results import (
    digest_files,
    library_versions,
    pair_table,
    plain,
    requests_sha256,
    weights_sha256,
    write_table,
)
from lmeff.evaluation.scoring import process_results
from lmeff.evaluation.tasks import own_leaves, own_task_names, tasks_folder
from lmeff.files import read_json, write_json, write_text
from lmeff.recipe.documents import FORMAT

MODEL_FILES = ("config.json", "*token*.json", "vocab.*", "merges.txt", "tokenizer.model")
TASK_SUFFIXES = {".yaml", ".yml", ".py"}
BOOTSTRAP_ITERATIONS = 1000
"""For metrics without a formula for their standard error. The mean has one, but zero here would drop that too."""


def evaluate_model(
    model_folder: Path,
    tasks: Sequence[str],
    output: Path,
    *,
    paths: Mapping[str, str] | None = None,
    include_path: str | None = None,
    limit: int | None = None,
    batch_size: int = 128,
    device: str | None = None,
) -> dict[str, dict]:
    """Scores a model in this process alone and returns `{task: result}`. `Evaluation` explains the arguments."""
    evaluation = Evaluation(model_folder, tuple(tasks), output, paths or {}, include_path, limit, batch_size, device)
    evaluation.score()
    return evaluation.finish()


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
    batch_size: int = 128
    """Sentences scored at once."""
    device: str | None = None
    """Default: the current GPU, else the CPU."""
    before_batch: Callable[[], None] | None = None
    """Called before every forward pass; what it raises ends the scoring."""

    @cached_property
    def weights_sha256(self) -> str:
        return weights_sha256(self.model_folder)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What besides weights and data decides the numbers."""
        model_files = sorted({path for name in MODEL_FILES for path in self.model_folder.glob(name)})
        task_files = sorted(tasks_folder().glob("*.yaml"))  # what all our tasks include, with the version of the rules
        if self.include_path:
            task_files += sorted(path for path in Path(self.include_path).rglob("*") if path.suffix in TASK_SUFFIXES)
        return {
            "dtype": "float32",
            "batch_size": self.batch_size,
            "limit": self.limit,
            "model_files_sha256": digest_files(model_files),
            "task_files_sha256": digest_files(task_files),
        }

    def cached(self) -> dict[str, dict]:
        """The results in `output` that need not be computed again, by task."""
        results = {}
        for task in dict.fromkeys(self.tasks):
            result = _read(self.output / f"{task}.json")
            about = result.get("lmeff", {})
            if self._is_ours(about) and self._has_same_data(task, about):
                results[task] = result
        return results

    def score(self, rank: int = 0, world_size: int = 1) -> None:
        """Scores this rank's share of the tasks and writes it under `output/.parts`. Needs no communication.

        Raises ValueError naming task and pair when the model gives a log-probability that is not finite.
        """
        pending = self._pending(self.cached())
        if not pending:
            return
        import lm_eval

        from lmeff.evaluation.language_model import load_model, undisturbed

        with undisturbed():
            leaves = {name: task for loaded in self._load(pending).values() for name, task in loaded["tasks"].items()}
            share = {name: leaves[name] for name in list(leaves)[rank::world_size]}
            if share:
                model = load_model(self.model_folder, self.device, batch_size=self.batch_size, progress=rank == 0)
                if self.before_batch:
                    model.model.register_forward_pre_hook(lambda *_: self.before_batch())
                lm_eval.evaluate(model, {"tasks": share}, limit=self.limit, bootstrap_iters=0, log_samples=False)
        about = {"weights_sha256": self.weights_sha256, "settings": self.settings}
        answers = {name: _answers(task) for name, task in share.items()}
        write_text(self._part(rank, world_size), json.dumps({**about, "answers": answers}))

    def is_scored(self, world_size: int = 1) -> bool:
        """Whether every rank's share is there, so that `finish` can join them."""
        if not self._pending(self.cached()):
            return True
        return all(self._is_ours(_read(self._part(rank, world_size))) for rank in range(world_size))

    def finish(self, world_size: int = 1) -> dict[str, dict]:
        """Joins what the ranks scored, writes the results and returns them by task. The same for any `world_size`."""
        results = self.cached()
        if pending := self._pending(results):
            import lm_eval

            from lmeff.evaluation.language_model import ReplayLM, undisturbed

            answers = self._collect(world_size)
            with undisturbed():
                for task, loaded in self._load(pending).items():
                    replay = ReplayLM({name: answers[name] for name in loaded["tasks"]})
                    # Inner groups first: else lm-eval leaves n-shot and higher_is_better of the outer ones out.
                    loaded["groups"] = dict(reversed(loaded["groups"].items()))
                    result = lm_eval.evaluate(
                        replay, loaded, limit=self.limit, bootstrap_iters=BOOTSTRAP_ITERATIONS, log_samples=False
                    )
                    results[task] = self._write(task, result, loaded["tasks"])
            shutil.rmtree(self.output / ".parts")
        return {task: results[task] for task in dict.fromkeys(self.tasks)}

    def _part(self, rank: int, world_size: int) -> Path:
        return self.output / ".parts" / f"rank-{rank}-of-{world_size}.json"

    def _is_ours(self, about: dict) -> bool:
        return about.get("weights_sha256") == self.weights_sha256 and about.get("settings") == self.settings

    def _pending(self, done: Mapping[str, dict]) -> list[str]:
        return [task for task in dict.fromkeys(self.tasks) if task not in done]

    def _has_same_data(self, task: str, about: dict) -> bool:
        return about["data"] == self._origins(task) and self._data_sha256(task) in (None, about["data_sha256"])

    def _origins(self, task: str) -> dict[str, str]:
        """Where the task's data come from, by name: `local` or `hub`."""
        return data_origins({leaf.source for leaf in own_leaves([task], self.paths)}, self.paths)

    def _data_sha256(self, task: str) -> str | None:
        """What `data_sha256` must be, or None when only lm-eval or the Hub could tell."""
        leaves = own_leaves([task], self.paths)
        if not leaves or "hub" in self._origins(task).values():
            return None
        return documents_sha256(
            {leaf.name: documents(leaf.source, leaf.uid, self.paths)[: self.limit] for leaf in leaves}
        )

    def _load(self, names: Sequence[str]) -> dict[str, dict]:
        """lm-eval's `{"tasks": ..., "groups": ...}` for each name."""
        from lm_eval.tasks import TaskManager

        folders = [*filter(None, [self.include_path]), str(tasks_folder())]  # lm-eval lets the later one win
        told = {"data_paths": dict(self.paths), "tokenizer": str(self.model_folder)}
        options = {"include_path": folders, "metadata": told}
        manager = TaskManager(**options, include_defaults=False)
        if not {*own_task_names(), *manager.all_subtasks}.issuperset(names):  # a user's group may hold tasks of lm-eval
            manager = TaskManager(**options)  # indexes all of lm-eval's own task files, which takes 10 seconds
        with using_paths(self.paths):
            loaded = {name: manager.load([name]) for name in names}
        for task in (task for found in loaded.values() for task in found["tasks"].values()):
            # As lm-eval's simple_evaluate does. That itself would reseed this process, start other programs to describe
            # the machine, and return nothing on a rank whose LOCAL_RANK is not 0.
            if task.get_config("num_fewshot") is None:
                task.set_config("num_fewshot", 0)
            task.set_fewshot_seed(seed=1234)
        return loaded

    def _collect(self, world_size: int) -> dict[str, dict]:
        answers = {}
        for rank in range(world_size):
            part = read_json(self._part(rank, world_size))
            if not self._is_ours(part):
                raise RuntimeError(f"{self._part(rank, world_size)}: scored with another model or other settings")
            answers |= part["answers"]
        return answers

    def _write(self, task: str, result: dict, leaves: Mapping[str, Any]) -> dict:
        about = {
            "format": FORMAT,
            "weights_sha256": self.weights_sha256,
            "data": self._origins(task),
            "data_sha256": _data_sha256(leaves, self.limit),
            "settings": self.settings,
            "versions": library_versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if all(_is_pair_task(leaf) for leaf in leaves.values()):
            pairs = pair_table(
                {name: [request.resps[0][0] for request in leaf.instances] for name, leaf in leaves.items()}
            )
            about |= {"num_pairs": pairs.num_rows, "num_ties": pairs["score"].to_pylist().count(0.5)}
            about["target_delimiter"] = next(iter(leaves.values())).get_config("target_delimiter")
            write_table(self.output / "pairs" / f"{task}.parquet", pairs)
        configs = {name: _config(leaf) for name, leaf in leaves.items()}
        result = plain({**result, "configs": configs, "lmeff": about})
        write_json(self.output / f"{task}.json", result)
        return result


def _read(path: Path) -> dict:
    """The content of a JSON file of ours, empty when it is missing or damaged: then it is computed again."""
    try:
        content = read_json(path)
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def _data_sha256(leaves: Mapping[str, Any], limit: int | None) -> str:
    if all(isinstance(leaf.eval_docs, Documents) for leaf in leaves.values()):
        return documents_sha256({name: leaf.eval_docs[:limit] for name, leaf in leaves.items()})
    requests = {
        name: ([text for text in request.args if isinstance(text, str)] for request in leaf.instances)
        for name, leaf in leaves.items()
    }
    return requests_sha256(requests)


def _is_pair_task(task: Any) -> bool:
    """Whether every example is a choice between two, the first of which is right."""
    return (
        task.get_config("process_results") is process_results
        and len(task.instances) == 2 * task.instances[-1].doc_id + 2
    )


def _answers(task: Any) -> dict[str, list]:
    """What the model answered, by request type, in the order of asking."""
    answers: dict[str, list] = {}
    for request in task.instances:
        answers.setdefault(request.request_type, []).extend(request.resps)
    return answers


def _config(task: Any) -> dict:
    """The task's configuration without what names this machine."""
    config = task.config.to_dict(keep_callable=True)
    metadata, hidden = config.get("metadata") or {}, ("config_source", "data_paths", "tokenizer")
    config["metadata"] = {key: value for key, value in metadata.items() if key not in hidden}
    return config
