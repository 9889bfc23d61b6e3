"""Learning curves of models that are no run of ours: the revisions of a Hub repository, or of a folder with a model each.

`lmeff eval` leaves `REPO@REVISION` folders with results, each with a note of which model it was. How much a model was
trained on is known from its revision's name alone: `seed-0-tokens-25M`, or BabyLM's `chck_10M`, which counts words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lmeff.analysis.reading.results import pair_files, read_results
from lmeff.analysis.reading.runs import Anchor, Run, subtasks_of
from lmeff.errors import InputError
from lmeff.files import read_json
from lmeff.hub.remote import anchor_count, anchor_prefix
from lmeff.measures.selection import SOURCE


@dataclass(frozen=True)
class NamedAnchor:
    """What a revision's name says, in place of an `anchor.json`."""

    nominal_tokens: int
    exact_tokens: int
    step: None = None
    loss: None = None
    dev_loss: None = None
    dev_perplexity: None = None
    dev_bits_per_byte: None = None
    same_as: None = None


def result_folders(top: Path) -> list[Path]:
    """Result folders of models that are no run of ours, at or under `top`."""
    return sorted(
        {path.parent for path in (*top.glob(SOURCE), *top.glob(f"*@*/{SOURCE}"), *top.glob(f"*/*@*/{SOURCE}"))}
    )


def read_collections(folders: Iterable[Path]) -> list[Run]:
    """One run for the revisions of a repository whose names differ in their count only.

    A revision without a count in its name, such as `main`, has no place on the axis and is left out. Raises InputError for a
    damaged file.
    """
    series: dict[tuple[Path, str, str, str], dict[str, tuple[int, Path]]] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        note = read_json(folder / SOURCE)
        if not isinstance(note, dict) or not {"repository", "revision"} <= set(note):
            raise InputError(f"{folder / SOURCE}: does not say which model these results are of")
        if count := anchor_count(note["revision"]):
            key = (folder.parent, note["repository"], anchor_prefix(note["revision"]), count[1])
            series.setdefault(key, {})[note["revision"]] = (count[0], folder)
    return [_run(*key, found) for key, found in series.items()]


def _run(parent: Path, repository: str, prefix: str, unit: str, found: dict[str, tuple[int, Path]]) -> Run:
    ordered = sorted((count, revision, folder) for revision, (count, folder) in found.items())
    anchors = tuple(
        Anchor(revision, NamedAnchor(count, count), read_results(folder), pair_files(folder))
        for count, revision, folder in ordered
    )
    seed = prefix.removeprefix("seed-")
    return Run(
        folder=parent,
        name=repository.rpartition("/")[2],
        seed=int(seed) if seed.isdigit() else 0,
        recipe={},
        recipe_text="",
        plan=None,
        state=None,
        log=(),
        anchors=anchors,
        subtasks=subtasks_of(anchors),
        source=repository,
        unit=unit,
    )
