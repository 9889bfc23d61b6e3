"""Evaluating a model folder with lm-eval: shared among processes, written once and whole, never computed twice."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmeff.evaluation.minimal_pairs import is_pair_task
from lmeff.evaluation.results import (
    digest_files,
    has_pairs,
    model_files_sha256,
    pair_table,
    plain,
    requests_sha256,
    take_over,
    task_config,
    weights_sha256,
    write_table,
)
from lmeff.evaluation.scorer.answer_tokens import ContextStart
from lmeff.evaluation.tasks.checks import own_leaves
from lmeff.evaluation.tasks.data import Documents, data_origins, documents, documents_sha256
from lmeff.evaluation.tasks.items import correct_stderrs, items_of
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.files import write_text
from lmeff.formats.base import FORMAT
from lmeff.formats.result import about_of, find_result, pairs_path, write_result
from lmeff.models.versions import library_versions

if TYPE_CHECKING:
    from lmeff.evaluation.tasks.loaded import LoadedTask

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
    batch_size: int | str = "auto",
    device: str | None = None,
    precision: str = "float32",
    exact: bool = False,
    context_start: ContextStart = "bos",
) -> dict[str, dict]:
    """Scores a model in this process alone and returns `{task: result}`. `Evaluation` explains the arguments."""
    evaluation = Evaluation(
        model_folder,
        tuple(tasks),
        output,
        paths or {},
        include_path,
        limit,
        batch_size,
        precision,
        exact,
        device,
        context_start=context_start,
    )
    return evaluation.run()


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
            "limit": self.limit,
            "model_files_sha256": model_files_sha256(self.model_folder),
            "task_files_sha256": digest_files(task_files),
        }

    def cached(self) -> dict[str, dict]:
        """The results that need not be computed again, by task: in `output`, or beside it for a model with the same weights."""
        return {task: found[1] for task in dict.fromkeys(self.tasks) if (found := self._find(task))}

    def score(self, rank: int = 0, world_size: int = 1) -> None:
        """Scores this rank's share of the tasks and writes each under `output/.parts` when it is done, so that a run that was
        killed goes on with the next. Needs no communication.

        Raises ValueError naming task and pair when the model gives a log-probability that is not finite.
        """
        loaded = self._load(self._pending(self.cached()))
        leaves = {name: group for group in loaded.values() for name in group.tasks}
        share = [name for name in list(leaves)[rank::world_size] if self._scored(name, leaves[name]) is None]
        if not share:
            return

        from lmeff.evaluation.process_state import undisturbed
        from lmeff.evaluation.scorer.language_model import answers_by_task, load_model
        from lmeff.models.device import device_name

        with undisturbed():
            model = load_model(
                self.model_folder,
                self.device,
                batch_size=self.batch_size,
                progress=rank == 0,
                exact=self.exact,
                precision=self.precision,
                context_start=self.context_start,
            )
            if self.before_batch:
                model.model.base_model.register_forward_pre_hook(lambda *_: self.before_batch())
            num_texts = {
                name: max(group.num_texts for group in loaded.values() if name in group.tasks) for name in share
            }
            requests = {name: leaves[name].fresh_requests(name) for name in share}
            for name, answers in answers_by_task(model, requests, num_texts):
                facts: dict[str, Any] = {"num_cut": model.num_cut.get(name, 0), "device": device_name(model.device)}
                if adapted := model.adapted.get(name):
                    facts |= {"in_float32": adapted.in_float32.tolist(), "error_bound": adapted.error_bound}
                    facts["compiled"] = adapted.compiled
                part = {**self._about, "asked_sha256": leaves[name].asked_sha256(name), "answers": answers, **facts}
                write_text(self._part(name), json.dumps(part))

    def run(self) -> dict[str, dict]:
        """Scores everything in this process alone and returns the results by task."""
        self.score()
        return self.finish()

    def is_scored(self) -> bool:
        """Whether every task was scored, by whichever rank, so that `finish` can join them."""
        loaded = self._load(self._pending(self.cached()))
        return all(self._scored(name, group) is not None for group in loaded.values() for name in group.tasks)

    def finish(self) -> dict[str, dict]:
        """Joins what the ranks scored, writes the results and returns them by task. The same for any number of ranks."""
        results = {}
        for task in dict.fromkeys(self.tasks):
            if found := self._find(task):
                folder, results[task] = found
                pairs = Path("pairs") / f"{task}.parquet"
                take_over(self.output / f"{task}.json", folder, [str(pairs)] if (folder / pairs).exists() else [])
        if pending := self._pending(results):
            import lm_eval

            from lmeff.evaluation.process_state import undisturbed
            from lmeff.evaluation.scorer.replay import ReplayLM

            with undisturbed():
                for task, loaded in self._load(pending).items():
                    parts = {name: self._scored(name, loaded) for name in loaded.tasks}
                    if missing := [name for name, part in parts.items() if part is None]:
                        raise RuntimeError(
                            f"{self.output}: {missing[0]} was not scored with this model and these settings"
                        )
                    result = lm_eval.evaluate(
                        ReplayLM({name: part["answers"] for name, part in parts.items()}),
                        loaded.for_lm_eval(),
                        limit=self.limit,
                        bootstrap_iters=BOOTSTRAP_ITERATIONS,
                        log_samples=False,
                    )
                    correct_stderrs(result, loaded.tasks, loaded.groups)
                    results[task] = self._write(task, result, loaded.tasks, parts)
            for name in {name for loaded in self._load(pending).values() for name in loaded.tasks}:
                self._part(name).unlink(missing_ok=True)
            with suppress(OSError):  # of other tasks, that are not finished
                (self.output / ".parts").rmdir()
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

    def _part(self, name: str) -> Path:
        return self.output / ".parts" / f"{name}.json"

    def _scored(self, name: str, loaded: "LoadedTask") -> dict | None:
        """What was answered to the requests of one task; None where that must be asked (again)."""
        part = find_result(self._part(name))
        return part if self._is_ours(part) and part.get("asked_sha256") == loaded.asked_sha256(name) else None

    def _is_ours(self, about: dict) -> bool:
        return about.get("weights_sha256") == self.weights_sha256 and about.get("settings") == self.settings

    def _pending(self, done: Mapping[str, dict]) -> list[str]:
        return [task for task in dict.fromkeys(self.tasks) if task not in done]

    def _has_same_data(self, task: str, about: dict) -> bool:
        if about.get("data") != self._origins(task):
            return False
        known = self._data_sha256(task)
        if known is None:
            if not own_leaves([task], self.paths) and about.get("versions", {}).get("lm_eval") != version("lm_eval"):
                return False  # whose own tasks change from version to version
            try:
                loaded = self._load([task])[task]
            except Exception:  # the Hub's data cannot be had now; what was scored on them stands
                return True
            known = _data_sha256(loaded.tasks, self.limit)
        return known == about["data_sha256"]

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

    def _load(self, names: Sequence[str]) -> dict[str, "LoadedTask"]:
        """lm-eval's tasks and groups for each name."""
        if not names:
            return {}
        from lmeff.evaluation.process_state import undisturbed
        from lmeff.evaluation.tasks.loaded import load_tasks

        settings = self.settings
        data = (self._data_sha256(name) for name in names)
        content = (settings["task_files_sha256"], settings["model_files_sha256"], *data)
        with undisturbed():
            return load_tasks(names, self.include_path, self.paths, self.limit, content, str(self.model_folder))

    def _write(self, task: str, result: dict, leaves: Mapping[str, Any], parts: Mapping[str, dict]) -> dict:
        about = {
            "format": FORMAT,
            **self._about,
            "data": self._origins(task),
            "data_sha256": _data_sha256(leaves, self.limit),
            "versions": library_versions(),
            "device": ", ".join(sorted({part["device"] for part in parts.values()})),
        }
        if num_cut := sum(part["num_cut"] for part in parts.values()):
            about["num_cut"] = num_cut  # contexts that were too long for the model and lost their beginning
        in_float32 = None
        if self.precision == "adaptive":
            in_float32 = {
                name: parts[name].get("in_float32", [True] * len(leaf.instances)) for name, leaf in leaves.items()
            }
            flags = [flag for given in in_float32.values() for flag in given]
            about["share_in_float32"] = sum(flags) / max(len(flags), 1)
            about["error_bound"] = max(part.get("error_bound", 0.0) for part in parts.values())
            about["num_compiled"] = sum(part.get("compiled", False) for part in parts.values())  # tasks
        if all(is_pair_task(leaf) for leaf in leaves.values()):
            items = {name: items_of(leaf) for name, leaf in leaves.items()}
            num_items_of = {name: len(set(each)) for name, each in items.items()}
            num_items = sum(num_items_of.values())
            is_shared = num_items < sum(map(len, items.values()))
            pairs = pair_table(
                {name: [request.resps[0][0] for request in leaf.instances] for name, leaf in leaves.items()},
                in_float32,
                items if is_shared else None,
            )
            about |= {"num_pairs": pairs.num_rows, "num_ties": pairs["score"].to_pylist().count(0.5)}
            if is_shared:  # what standard errors count
                about |= {"num_items": num_items, "num_items_of": num_items_of}
            about["target_delimiter"] = next(iter(leaves.values())).get_config("target_delimiter")
            write_table(pairs_path(self.output / f"{task}.json"), pairs)
        configs = {name: task_config(leaf) for name, leaf in leaves.items()}
        result = plain({**result, "configs": configs, "lmeff": about})
        write_result(self.output / f"{task}.json", result)
        return result


def _data_sha256(leaves: Mapping[str, Any], limit: int | None) -> str:
    """Of what is asked and what is right."""
    if all(isinstance(leaf.eval_docs, Documents) for leaf in leaves.values()):
        return documents_sha256({name: leaf.eval_docs[:limit] for name, leaf in leaves.items()})
    requests = {
        name: ([json.dumps([request.args, request.doc], sort_keys=True, default=str)] for request in leaf.instances)
        for name, leaf in leaves.items()
    }
    return requests_sha256(requests)
