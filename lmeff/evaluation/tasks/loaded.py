"""Tasks as lm-eval loads them, with their requests, made once for all models that are scored on them."""

import random
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance

from lmeff.errors import InputError
from lmeff.evaluation.results import requests_sha256
from lmeff.evaluation.tasks.names import PAIRS, own_task_names, tasks_folder
from lmeff.evaluation.tasks.pair_folder import pair_tasks
from lmeff.hub.availability import asked_once

_NUM_KEPT = 64
_kept: OrderedDict[Hashable, dict[str, "LoadedTask"]] = OrderedDict()


@dataclass(frozen=True)
class LoadedTask:
    """A task or group that was asked for."""

    tasks: dict[str, Any]
    """The tasks in it by name; itself if it is no group."""
    groups: dict[str, Any]

    @property
    def num_texts(self) -> int:
        return sum(len(task.instances) for task in self.tasks.values())

    def fresh_requests(self, name: str) -> list[Instance]:
        """What one of its tasks asks a model, cleared of the answers of the one before."""
        requests = self.tasks[name].instances
        for request in requests:
            request.resps, request.filtered_resps = [], {}
        return requests

    def asked_sha256(self, name: str) -> str:
        """Of the texts that one of its tasks asks a model about."""
        texts = {name: ([part for part in one.args if isinstance(part, str)] for one in self.tasks[name].instances)}
        return requests_sha256(texts)

    def for_lm_eval(self) -> dict[str, dict]:
        """What `lm_eval.evaluate` takes."""
        for name in self.tasks:
            self.fresh_requests(name)
        # Inner groups first: else lm-eval leaves n-shot and higher_is_better of the outer ones out.
        return {"tasks": dict(self.tasks), "groups": dict(reversed(self.groups.items()))}


def load_tasks(
    names: Sequence[str],
    include_path: str | None,
    paths: Mapping[str, str],
    limit: int | None,
    content: Hashable,
    tokenizer: str,
) -> dict[str, LoadedTask]:
    """What each name stands for. Kept for the next model, while `content`, which stands for task files, data and tokenizer, is
    the same. Sets the global seeds.

    Args:
        tokenizer: folder with the model's, for tasks that count tokens.
    """
    key = (tuple(names), include_path, tuple(sorted(paths.items())), limit, content)
    if key not in _kept:
        _kept[key] = _load(names, include_path, paths, limit, tokenizer)
        while len(_kept) > _NUM_KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _load(
    names: Sequence[str], include_path: str | None, paths: Mapping[str, str], limit: int | None, tokenizer: str
) -> dict[str, LoadedTask]:
    from lm_eval.tasks import TaskManager

    folders = [*filter(None, [include_path]), str(tasks_folder())]  # lm-eval lets the later one win
    options = {"include_path": folders, "metadata": {"data_paths": dict(paths), "tokenizer": tokenizer}}
    manager = TaskManager(**options, include_defaults=False)
    own = {*own_task_names(), *manager.all_subtasks}.issuperset(names)
    if not own:  # a user's group may hold tasks of lm-eval
        manager = TaskManager(**options)  # indexes all of lm-eval's own task files, which takes 10 seconds
    _hand_in_pairs(manager, names, paths)
    loaded_by_name = {}
    for name in names:
        random.seed(0), np.random.seed(1234), torch.manual_seed(1234)  # lm-eval's, for tasks that shuffle their choices
        with nullcontext() if own else asked_once():
            loaded = manager.load([name])
        for task in loaded["tasks"].values():
            # As lm-eval's simple_evaluate does. That itself would reseed this process, start other programs to describe
            # the machine, and return nothing on a rank whose LOCAL_RANK is not 0.
            if task.get_config("num_fewshot") is None:
                task.set_config("num_fewshot", 0)
            task.set_fewshot_seed(seed=1234)
            task.build_all_requests(limit=_sample_size(task, limit), rank=0, world_size=1)
            task.build_all_requests = partial(_already_built, task)
        loaded_by_name[name] = LoadedTask(loaded["tasks"], loaded["groups"])
    return loaded_by_name


def _hand_in_pairs(manager: Any, names: Sequence[str], paths: Mapping[str, str]) -> None:
    """Gives lm-eval the tasks of `lmeff_pairs`, which the group's own task file takes from the environment alone."""
    group = manager.task_index[PAIRS]
    try:
        tasks = pair_tasks(paths)
    except InputError:
        is_perhaps_asked = PAIRS in names or ("pairs" in paths and not set(own_task_names()).issuperset(names))
        if is_perhaps_asked:  # a group of the user may hold it
            raise
    else:
        manager.task_index[PAIRS] = replace(group, yaml_path=None, cfg={**group.cfg, "task": tasks})


def _sample_size(task: Any, limit: int | None) -> int | None:
    from lm_eval.evaluator import get_sample_size

    return get_sample_size(task, limit)


def _already_built(task: Any, **_: Any) -> None:
    """In place of `build_all_requests`, which lm-eval calls for every model anew."""
