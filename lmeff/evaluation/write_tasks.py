"""Writes the task files of `lmeff/evaluation/tasks` from the tables: `python -m lmeff.evaluation.write_tasks`.

A test keeps the files equal to what this writes.
"""

from collections.abc import Iterable

from lmeff.corpora.synthetic import PARADIGMS as SYNTHETIC
from lmeff.evaluation.blimp import PARADIGMS, PHENOMENA
from lmeff.evaluation.data import task_name
from lmeff.evaluation.tasks import tasks_folder
from lmeff.files import write_text


def _leaf(source: str, uid: str) -> dict[str, str]:
    data = f"dataset_kwargs: {{source: {source}, uid: {uid}}}"
    return {f"{source}/{uid.lower()}.yaml": f"include: ../_pairs.yaml\ntask: {task_name(source, uid)}\n{data}\n"}


def _group(file: str, group: str, members: Iterable[str]) -> dict[str, str]:
    tasks = "".join(f"  - {member}\n" for member in members)
    return {file: f"include: ../_group.yaml\ngroup: {group}\ntask:\n{tasks}"}


def task_files() -> dict[str, str]:
    """Text of every generated file by its path in the tasks folder. A group's file name starts with an underscore."""
    files = _group("blimp/_blimp.yaml", "lmeff_blimp", [task_name("blimp", phenomenon) for phenomenon in PHENOMENA])
    for phenomenon, paradigms in PHENOMENA.items():
        members = [task_name("blimp", uid) for uid in paradigms]
        files |= _group(f"blimp/_{phenomenon}.yaml", task_name("blimp", phenomenon), members)
    files |= _group("synthetic/_synthetic.yaml", "lmeff_synthetic", [task_name("synthetic", uid) for uid in SYNTHETIC])
    for source, uids in (("blimp", PARADIGMS), ("synthetic", SYNTHETIC)):
        for uid in uids:
            files |= _leaf(source, uid)
    return files


def main() -> None:
    folder, files = tasks_folder(), task_files()
    for path in folder.glob("*/*.yaml"):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for path, text in files.items():
        write_text(folder / path, text)
    print(f"{len(files)} task files in {folder}")


if __name__ == "__main__":
    main()
