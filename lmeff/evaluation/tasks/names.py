"""Which tasks there are, by name: this package's, lm-eval's and the user's own. Reads their files alone.

The task files of this package are in `task_files/`; `python -m lmeff.evaluation.tasks.write` writes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from lmeff.evaluation.tasks.lm_eval_names import certainly_unknown
from lmeff.files import load_yaml
from lmeff.recipe.input_paths import where_looked

PAIRS = "lmeff_pairs"
"""The group whose tasks are the files of a folder."""


@dataclass(frozen=True)
class Leaf:
    """A task with data of its own, unlike a group, which averages tasks."""

    name: str
    source: str
    """`synthetic`, a key of `SOURCES`, or `ewok_context`."""
    uid: str
    """The part as published, such as the paradigm `principle_A_c_command`."""


def tasks_folder() -> Path:
    """What to give to lm-eval as `--include_path`."""
    return Path(__file__).parents[1] / "task_files"


@cache
def own_index() -> tuple[dict[str, Leaf], dict[str, tuple[str, ...]]]:
    """Our tasks with data of their own, and our groups with what is in them, by name."""
    leaves: dict[str, Leaf] = {}
    groups: dict[str, tuple[str, ...]] = {PAIRS: ()}
    for path in sorted(tasks_folder().glob("*/*.yaml")):
        if path.parent.name == "pairs":
            continue  # its tasks depend on a folder
        config = load_yaml(path.read_text(encoding="utf-8"))
        if "group" in config:
            groups[config["group"]] = tuple(config["task"])
        else:
            leaves[config["task"]] = Leaf(config["task"], **config["dataset_kwargs"])
    return leaves, groups


def own_task_names() -> list[str]:
    """Every task and group of this package: the whole sets first, then the groups in them, then single paradigms."""
    leaves, groups = own_index()
    inner = {child for children in groups.values() for child in children}
    return [*sorted(groups, key=lambda name: (name in inner, name)), *sorted(leaves)]


def unknown_tasks(tasks: Sequence[str], include_path: str | None) -> list[str]:
    """A line for each task that stands in no task file, ours, lm-eval's or the user's."""
    if include_path and not Path(include_path).is_dir():
        return [f"{include_path}: no such folder (evaluation.include_path){where_looked(include_path)}"]
    own = own_task_names()
    others = [task for task in dict.fromkeys(tasks) if task not in own]
    unknown: list[str] = others
    written: set[str] = set()
    if include_path or not all(task.startswith("lmeff") for task in others):
        unknown, written = certainly_unknown(others, include_path)
    return [f"no evaluation task {task!r}{meant(task, own) or meant(task, written)}" for task in unknown]


def meant(name: str, candidates: Iterable[str]) -> str:
    """The nearest of the candidates, as the end of a sentence; empty when none is near."""
    nearest = get_close_matches(name, list(candidates), n=1, cutoff=0.7)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
