"""Learning curves of models that are no run of ours: the revisions of a Hub repository, or of a folder with a model each.

`lmeff eval` leaves `REPO@REVISION` folders with results, each with a note of which model it was; lm-eval's own command line
leaves `results_DATE.json` files, which name the model in their configuration. How much a model was
trained on is known from its revision's name alone: `seed-0-tokens-25M`, or BabyLM's `chck_10M`, which counts words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lmeff.analysis.reading.results import pair_files, read_result_files, read_results
from lmeff.analysis.reading.runs import Anchor, Run, subtasks_of
from lmeff.errors import InputError
from lmeff.files import read_json
from lmeff.formats.result import SOURCE, read_result
from lmeff.hub.named_revision import NamedRevision, Unit
from lmeff.hub.names import MAIN

_LM_EVAL_FILES = "results_*.json"


@dataclass(frozen=True)
class NamedAnchor:
    """What a revision's name says, in place of an `anchor.json`."""

    nominal_tokens: int | None
    exact_tokens: int | None
    """None for a name without a count, which a curve leaves out."""
    step: None = None
    loss: None = None
    dev_loss: None = None
    dev_perplexity: None = None
    dev_bits_per_byte: None = None
    dev_masked_loss: None = None
    dev_permutation_loss: None = None
    loss_kind: None = None
    held_out: None = None
    same_as: None = None
    flops: float | None = None


def result_folders(top: Path) -> list[Path]:
    """Result folders of models that are no run of ours, at or under `top`, and files of lm-eval's own command line."""
    folders = {path.parent for path in (*top.glob(SOURCE), *top.glob(f"*@*/{SOURCE}"), *top.glob(f"*/*@*/{SOURCE}"))}
    return [*sorted(folders), *sorted({*top.glob(_LM_EVAL_FILES), *top.glob(f"*/{_LM_EVAL_FILES}")})]


def read_collections(folders: Iterable[Path]) -> list[Run]:
    """One run for the revisions of a repository whose names differ in their count only.

    A revision without a count in its name, such as `main`, has no place on the axis and is left out. Raises InputError for a
    damaged file.
    """
    series: dict[tuple[Path, str, str, Unit], dict[NamedRevision, list[Path]]] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        repository, revision = _source(folder)
        if revision.count is not None and revision.unit is not None:
            key = (folder.parent, repository, revision.series, revision.unit)
            series.setdefault(key, {}).setdefault(revision, []).append(folder)
    return [_run(parent, repository, unit, folders) for (parent, repository, _, unit), folders in series.items()]


def read_model_results(folder: Path) -> Run:
    """A run of the one revision whose results are in this folder, whatever its name says. Raises InputError for a damaged
    file."""
    repository, revision = _source(folder)
    return _run(folder.resolve().parent, repository, revision.unit or "tokens", {revision: [folder]})


def _source(folder: Path) -> tuple[str, NamedRevision]:
    """The repository, and the revision of it, that results are of."""
    if folder.is_file():
        return _model_of(folder)
    note = read_json(folder / SOURCE)
    if not isinstance(note, dict) or not {"repository", "revision"} <= set(note):
        raise InputError(f"{folder / SOURCE}: does not say which model these results are of")
    return note["repository"], NamedRevision.parse(note["revision"])


def _model_of(path: Path) -> tuple[str, NamedRevision]:
    """As lm-eval's configuration names them; of a folder with a model each, such as a run's revisions, the last name is the
    revision."""
    content = read_result(path)
    config = content.get("config") or {}
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(part.partition("=")[::2] for part in arguments.split(","))
    name = str(arguments.get("pretrained") or content.get("model_name") or path.parent.name)
    revision = arguments.get("revision")
    if revision is None and NamedRevision.parse(last := name.rstrip("/").rpartition("/")[2]).count is not None:
        return name.rstrip("/").rpartition("/")[0] or name, NamedRevision.parse(last)
    return name, NamedRevision.parse(str(revision or MAIN))


def _run(parent: Path, repository: str, unit: Unit, folders: dict[NamedRevision, list[Path]]) -> Run:
    """A run of the revisions of one series, with the folder of each, or the files, of which the newest counts."""
    revisions = sorted(folders)
    anchors = tuple(
        Anchor(
            one.name,
            NamedAnchor(one.count, one.count),
            read_results(folders[one][0]) if folders[one][0].is_dir() else read_result_files(reversed(folders[one])),
            pair_files(folders[one][0]),
        )
        for one in revisions
    )
    return Run(
        folder=parent,
        name=repository.rpartition("/")[2],
        seed=revisions[0].seed,
        recipe={},
        recipe_text="",
        plan=None,
        state=None,
        anchors=anchors,
        subtasks=subtasks_of(anchors),
        source=repository,
        unit=unit,
    )
