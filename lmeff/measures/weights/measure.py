"""`results/REVISION/weights.json` and `similarity.json`: measures of the weights of a run's revisions, and `lmeff weights`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.results import weights_sha256
from lmeff.files import MANIFEST
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.result_keys import read_measure, write_measure
from lmeff.measures.selection import Subject, find_subjects, outputs_of, score_each
from lmeff.measures.weights.statistics import Weights, compare, norms_and_ranks, parameters_of
from lmeff.quantities import format_tokens
from lmeff.revisions import Revision, list_revisions
from lmeff.text_tables import table_lines

MEASURES = "weights"
"""What the result files say that they measure: readers tell them from scores by it."""
_METHOD = 1
_COLUMNS = {
    "norm": ("weights", "norm"),
    "effective rank, attention": ("weights", "effective_rank_attention"),
    "mlp": ("weights", "effective_rank_mlp"),
    "stable rank, attention": ("weights", "stable_rank_attention"),
    "mlp ": ("weights", "stable_rank_mlp"),
    "change": ("weights", "change_from_previous"),
    "cosine to previous": ("weights", "cosine_to_previous"),
    "to initial": ("weights", "cosine_to_initial"),
    "to final": ("similarity", "cosine_to_final"),
}


@dataclass(frozen=True)
class _Point:
    """A model on the curve of a run."""

    folder: Path
    anchor: AnchorDocument

    @property
    def is_final(self) -> bool:
        return self.anchor.same_as is not None or self.folder.name == Revision(self.anchor.seed).name

    @property
    def is_twin(self) -> bool:
        """Whether it is a final model that is an anchor too: of a run that trains on, another one takes its name."""
        return self.anchor.same_as is not None

    @property
    def name(self) -> str:
        """The revision's; the folder of a model from the Hub is called after its commit."""
        return Revision(self.anchor.seed, None if self.is_final else self.anchor.nominal_tokens).name


@dataclass(frozen=True)
class Neighbours:
    """Whom a model is compared with; None where there is no such model."""

    previous: Path | None = None
    """At the nearest anchor with fewer tokens."""
    initial: Path | None = None
    """At 0 tokens."""
    final: Path | None = None


def find_neighbours(folder: Path, others: Iterable[Path]) -> Neighbours:
    """Out of models of one run or repository: by the tokens and seeds of their `anchor.json`, without which a model has no
    neighbors."""
    me = _point(folder)
    if me is None:
        return Neighbours()
    points = [point for other in others if (point := _point(other)) and point.anchor.seed == me.anchor.seed]
    before = [point for point in points if point.anchor.exact_tokens < me.anchor.exact_tokens and not point.is_twin]
    return Neighbours(
        previous=max(before, key=lambda point: point.anchor.exact_tokens).folder if before else None,
        initial=next((point.folder for point in before if point.anchor.exact_tokens == 0), None),
        final=next((point.folder for point in points if point.is_final), None),
    )


def _point(folder: Path) -> _Point | None:
    anchor = AnchorDocument.find(folder)
    return _Point(folder, anchor) if anchor else None


def measure_at_anchor(revision: Path, results: Path, check: Callable[[], None] = lambda: None) -> None:
    """Measures a revision that was just saved into `results/REVISION`. That this fails never ends a run: it is one line.

    `check` is called on the way; the KeyboardInterrupt that it may raise goes through.
    """
    with _one_line(f"{revision.name}: its weights were not measured"):
        neighbours = find_neighbours(revision, _revisions(revision.parent))
        measure_weights(revision, results / revision.name, neighbours, check)


def measure_finished(run: Path) -> None:
    """When a run has its final model: how near every revision is to it, and what an interrupted run left unmeasured. Fails
    like `measure_at_anchor`."""
    with _one_line(f"{run}: its revisions were not compared with the final model"):
        folders = _revisions(RunFolder(run).revisions)
        if not any(point.is_final for folder in folders if (point := _point(folder))):
            return
        for folder in list_revisions(run):
            measure_at_anchor(folder, RunFolder(run).results)
            with _one_line(f"{folder.name}: not compared with the final model"):
                measure_similarity(
                    folder, RunFolder(run).results_of(folder.name), find_neighbours(folder, folders).final
                )


@contextmanager
def _one_line(words: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        print(f"{words}: {' '.join(str(error).split())}", flush=True)


def _revisions(folder: Path) -> list[Path]:
    """The whole revisions of a run, the final one too."""
    return sorted(path.parent for path in folder.glob(f"[!.]*/{MANIFEST}"))


def measure_weights(
    model: Path,
    output: Path,
    neighbours: Neighbours = Neighbours(),
    check: Callable[[], None] = lambda: None,
    *,
    may_have_others: bool = False,
) -> dict:
    """`weights.json` in `output`: norms, ranks, and how far the model is from the previous and the initial one.

    Returns what is there already when the weights of all three are the same; with `may_have_others` also what is there of
    neighbors that are not known now. Raises InputError.
    """
    named = {"previous": neighbours.previous, "initial": neighbours.initial}
    others = {role: folder for role, folder in named.items() if folder is not None}
    decided_by = _decided_by(model, others)
    wanted = {key: value for key, value in decided_by.items() if value is not None or not may_have_others}
    if (known := read_measure(output / "weights.json", wanted)) is not None:
        return known
    weights = Weights(model)
    metrics, num_matrices = norms_and_ranks(weights, check)
    for role, folder in others.items():
        metrics |= _named(compare(weights, Weights(folder), check), role)
    return _write(output / "weights.json", "weights", metrics, num_matrices, decided_by, others)


def measure_similarity(model: Path, output: Path, final: Path, check: Callable[[], None] = lambda: None) -> dict:
    """`similarity.json` in `output`: how near the model is to the final one of its run. Like `measure_weights`."""
    decided_by = _decided_by(model, {"final": final})
    if (known := read_measure(output / "similarity.json", decided_by)) is not None:
        return known
    weights = Weights(model)
    metrics = _named(compare(weights, Weights(final), check), "final")
    return _write(output / "similarity.json", "similarity", metrics, len(weights.shapes), decided_by, {"final": final})


def _named(metrics: dict[str, float], role: str) -> dict[str, float]:
    """`cosine_mlp` to the final model is `cosine_to_final_mlp`, and so for `change_from_final_mlp`."""
    words = {"cosine": f"cosine_to_{role}", "change": f"change_from_{role}"}
    parts = {name: name.partition("_") for name in metrics}
    return {f"{words[first]}{bar}{kind}": metrics[name] for name, (first, bar, kind) in parts.items()}


def _decided_by(model: Path, others: dict[str, Path]) -> dict:
    hashes = {f"{role}_sha256": _sha256(folder) for role, folder in others.items()}
    absent = {f"{role}_sha256": None for role in ("previous", "initial", "final") if role not in others}
    return {"weights_sha256": _sha256(model), **hashes, **absent, "settings": {"method": _METHOD}}


def _write(path: Path, task: str, metrics: dict, num: int, decided_by: dict, others: dict[str, Path]) -> dict:
    names = {role: point.name if (point := _point(folder)) else folder.name for role, folder in others.items()}
    return write_measure(path, {task: metrics}, {task: num}, {}, decided_by, measures=MEASURES, compared_with=names)


def _sha256(folder: Path) -> str:
    files = ((path, path.stat()) for path in sorted(folder.glob("*.safetensors")))
    return _sha256_of(folder, tuple((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files))


@lru_cache(maxsize=64)
def _sha256_of(folder: Path, files: tuple) -> str:
    """Every revision is asked for several times; `files` changes with their content."""
    return weights_sha256(folder)


def weigh(
    whats: Sequence[str], revisions: Sequence[str] | None, every: bool, output: Path | None, rows: list[dict]
) -> None:
    """Measures every model of runs, model folders and repositories into `rows`; what is measured already is read. A row has the
    model's `name`, nominal `tokens` (None when unknown), and the metrics of `weights` and of `similarity`.

    Of some revisions of a repository it is not known which comes before which, so they are compared with the initial and the
    final one alone, where these are among them. A model that cannot be measured is named and the others go on; RunFailed is
    raised at the end.
    """
    subjects: list[Subject] = []
    for what, own in zip(whats, outputs_of(whats, output), strict=True):
        subjects += find_subjects(what, revisions, every, own)
    if len({subject.output for subject in subjects}) < len(subjects):
        raise InputError(
            "two of these models would write to one folder; give them places of their own with --output DIR"
        )

    def measure(subject: Subject, model: Path) -> None:
        neighbours, point = find_neighbours(model, _same_origin(subject, model, subjects)), _point(model)
        is_part = subject.remote is not None and not every
        if is_part:
            neighbours = replace(neighbours, previous=None)
        weights = measure_weights(model, subject.output, neighbours, may_have_others=is_part)
        _tell_fault(subject.name, model)
        found = {"weights": weights["results"]["weights"], "similarity": {}}
        if neighbours.final is not None:
            similarity = measure_similarity(model, subject.output, neighbours.final)
            found["similarity"] = similarity["results"]["similarity"]
        metrics = {
            task: {key.partition(",")[0]: value for key, value in values.items() if "," in key}
            for task, values in found.items()
        }
        rows.append({"name": subject.name, "tokens": point.anchor.nominal_tokens if point else None, **metrics})

    score_each(subjects, measure)


def _tell_fault(name: str, model: Path) -> None:
    """Prints a line for weights that are not those of their configuration, which other verbs refuse. What they are by
    themselves is measured all the same, of any architecture, and whatever goes wrong here does not matter to that."""
    with suppress(Exception):
        if fault := _fault_of((model / "config.json").read_text(encoding="utf-8"), parameters_of(model), model):
            print(f"{name}: measured as it is, but other verbs refuse it: {fault}", flush=True)


_faults: dict[tuple, str | None] = {}
"""By configuration and parameters, which the revisions of a run have in common."""


def _fault_of(config: str, parameters: tuple, model: Path) -> str | None:
    from lmeff.models.loading import check_weights

    if (config, parameters) not in _faults:
        try:
            check_weights(model)
            _faults[config, parameters] = None
        except InputError as error:
            _faults[config, parameters] = str(error).removeprefix(f"{model}: ")
    return _faults[config, parameters]


def _same_origin(subject: Subject, model: Path, subjects: Sequence[Subject]) -> list[Path]:
    """The folders of the run's revisions, or of the repository's that are wanted and can be had. A model folder that lies
    elsewhere has none: those beside it may be of other runs."""
    if subject.remote is None:
        run = RunFolder.of_revision(Path(os.path.abspath(model)))
        return _revisions(run.revisions) if run else []
    folders = []
    for other in subjects:
        if other.remote and other.remote.repository == subject.remote.repository:
            with suppress(Exception):  # its own turn tells what is wrong with it
                folders.append(other.fetch())
    return folders


def weights_table(rows: Sequence[dict]) -> str:
    """For a terminal: a line for every model."""
    lines = [["model", "tokens", *(title.strip() for title in _COLUMNS)]]
    for row in rows:
        cells = [row["name"], "-" if row["tokens"] is None else format_tokens(row["tokens"])]
        for task, metric in _COLUMNS.values():
            value = row[task].get(metric)
            cells.append("-" if value is None else f"{value:.4f}" if "_to_" in metric else f"{value:.4g}")
        lines.append(cells)
    return "\n".join(table_lines(lines))
