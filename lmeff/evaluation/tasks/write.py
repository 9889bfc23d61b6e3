"""Writes the task files of `lmeff/evaluation/task_files` from the tables: `python -m lmeff.evaluation.tasks.write`.

A test keeps the files equal to what this writes.
"""

from collections.abc import Iterable

from lmeff.corpora.synthetic import PARADIGMS as SYNTHETIC
from lmeff.evaluation.tasks.blimp import PARADIGMS, PHENOMENA
from lmeff.evaluation.tasks.data import task_name
from lmeff.evaluation.tasks.names import tasks_folder
from lmeff.evaluation.tasks.sources import COMPS, ENTITY_OPERATIONS, ENTITY_SPLITS, EWOK_DOMAINS, SMALLBENCH, SUPPLEMENT
from lmeff.files import write_text

SINGLE = {"wug_past": "wug_past_tense", "wug_adj": "wug_adj_nominalization"}
"""Sources of one task, and its part."""
FLAT = {
    "blimp_filtered": ("_pairs", PARADIGMS),
    "supplement": ("_pairs", SUPPLEMENT),
    "synthetic": ("_pairs", tuple(SYNTHETIC)),
    "ewok": ("_choices", EWOK_DOMAINS),
    "ewok_context": ("_contexts", EWOK_DOMAINS),
    "comps": ("_contexts", tuple(COMPS)),
    "smallbench": ("_answers", SMALLBENCH),
}
"""Sources of one group: what its tasks include, and its parts."""


def _leaf(source: str, uid: str, include: str) -> dict[str, str]:
    data = f"dataset_kwargs: {{source: {source}, uid: {uid}}}"
    path = f"{source}/{uid.lower().replace('-', '_')}.yaml"
    return {path: f"include: ../{include}.yaml\ntask: {task_name(source, uid)}\n{data}\n"}


def _group(file: str, group: str, members: Iterable[str], include: str = "_group") -> dict[str, str]:
    tasks = "".join(f"  - {member}\n" for member in members)
    return {file: f"include: ../{include}.yaml\ngroup: {group}\ntask:\n{tasks}"}


def _blimp() -> dict[str, str]:
    """BLiMP's paradigms, by phenomenon."""
    files = _group("blimp/_blimp.yaml", "lmeff_blimp", [task_name("blimp", phenomenon) for phenomenon in PHENOMENA])
    for phenomenon, paradigms in PHENOMENA.items():
        members = [task_name("blimp", uid) for uid in paradigms]
        files |= _group(f"blimp/_{phenomenon}.yaml", task_name("blimp", phenomenon), members)
    for uid in PARADIGMS:
        files |= _leaf("blimp", uid, "_pairs")
    return files


def _entity_tracking() -> dict[str, str]:
    """A group a file, in it a task for each number of operations: as many in each group, so the mean over all tasks is the mean
    of the groups, as the pipeline takes it."""
    name = "entity_tracking"
    files = _group(f"{name}/_{name}.yaml", f"lmeff_{name}", [task_name(name, split) for split in ENTITY_SPLITS])
    for split in ENTITY_SPLITS:
        parts = [f"{split}_{num}_ops" for num in ENTITY_OPERATIONS]
        files |= _group(f"{name}/_{split}.yaml", task_name(name, split), [task_name(name, part) for part in parts])
        for part in parts:
            files |= _leaf(name, part, "_choices")
    return files


def task_files() -> dict[str, str]:
    """Text of every generated file by its path in the tasks folder. A group's file name starts with an underscore."""
    files = _blimp() | _entity_tracking()
    for source, (include, uids) in FLAT.items():
        group = "_answers_group" if include == "_answers" else "_group"
        files |= _group(f"{source}/_{source}.yaml", f"lmeff_{source}", [task_name(source, uid) for uid in uids], group)
        for uid in uids:
            files |= _leaf(source, uid, include)
    for source, uid in SINGLE.items():
        files |= _leaf(source, uid, "_forms")
    # Its tasks are the files of a folder, which is known only when lm-eval loads the group.
    pairs = "include: ../_group.yaml\ngroup: lmeff_pairs\ntask: !function members.TASKS\n"
    return files | {"pairs/_pairs.yaml": pairs}


def main() -> None:
    folder, files = tasks_folder(), task_files()
    for path in folder.glob("*/*.yaml"):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        write_text(folder / name, text)
    print(f"{len(files)} task files in {folder}")


if __name__ == "__main__":
    main()
