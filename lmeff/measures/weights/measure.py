"""`results/REVISION/weights.json` and `similarity.json`: measures of the weights, and how they move along a run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.results import weights_sha256
from lmeff.formats.result import Kind
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.measure import Measure, Say
from lmeff.measures.result_keys import write_measurement
from lmeff.measures.reuse import read_equal
from lmeff.measures.selection import SelectedModel
from lmeff.measures.weights.neighbors import Neighbors, find_neighbors, read_point, same_origin
from lmeff.measures.weights.statistics import Weights, compare, norms_and_ranks, parameters_of
from lmeff.quantities import format_tokens
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.text_tables import table_lines

KIND: Kind = "weights"
_METHOD = 1
_KINDS_OF_LAYERS = ("attention", "mlp", "other")
_MOVES = [
    ("change", "weights", "change_from_previous"),
    ("cosine to previous", "weights", "cosine_to_previous"),
    ("to initial", "weights", "cosine_to_initial"),
    ("to final", "similarity", "cosine_to_final"),
]


class WeightStatistics(Measure):
    """Norms, ranks, and how near a model is to others of its run.

    A result is a row: the model's `name`, nominal `tokens` (None when unknown), and the metrics of `weights` and of
    `similarity`.
    """

    kind = KIND
    not_measured = "its weights were not measured"

    def __init__(
        self, every: bool = True, compare_with_final: bool = True, check: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            every: whether all revisions of a repository are measured. Of some of them it is not known which comes before
                which, so they are compared with the initial and the final one alone, where these are among them.
            compare_with_final: whether `similarity.json` is written where there is a final model.
            check: called on the way; what it raises ends the measuring.
        """
        self._every, self._compare_with_final, self._check = every, compare_with_final, check
        self._models: Sequence[SelectedModel] = ()

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "WeightStatistics":
        return cls(compare_with_final=False, check=check)

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        self._models = models

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict:
        neighbors = find_neighbors(folder, same_origin(model, folder, self._models))
        is_part = model.remote is not None and not self._every
        if is_part:
            neighbors = replace(neighbors, previous=None)
        results = {"weights": measure_weights(folder, model.output, neighbors, self._check, may_have_others=is_part)}
        if self._compare_with_final and neighbors.final is not None:
            results["similarity"] = measure_similarity(folder, model.output, neighbors.final, self._check)
        metrics = {
            task: {key.partition(",")[0]: value for key, value in result["results"][task].items() if "," in key}
            for task, result in results.items()
        }
        point = read_point(folder)
        tokens = point.anchor.nominal_tokens if point else None
        return {"name": model.name, "tokens": tokens, "weights": {}, "similarity": {}, **metrics}

    def lines(self, model: SelectedModel, result: dict) -> Iterator[str]:
        if fault := _fault(model.fetch()):
            yield f"{model.name}: measured as it is, but other verbs refuse it: {fault}"


def measure_weights(
    model: Path,
    output: Path,
    neighbors: Neighbors,
    check: Callable[[], None] = lambda: None,
    *,
    may_have_others: bool = False,
) -> dict:
    """`weights.json` in `output`: norms, ranks, and how far the model is from the previous and the initial one.

    Returns what is there already when the weights of all three are the same; with `may_have_others` also what is there of
    neighbors that are not known now. Raises InputError.
    """
    named = {"previous": neighbors.previous, "initial": neighbors.initial}
    others = {role: folder for role, folder in named.items() if folder is not None}
    decided_by = _decided_by(model, others)
    wanted = {key: value for key, value in decided_by.items() if value is not None or not may_have_others}
    if (known := read_equal(output / "weights.json", wanted)) is not None:
        return known
    weights = Weights(model)
    metrics, num_matrices = norms_and_ranks(weights, check)
    for role, folder in others.items():
        metrics |= _named(compare(weights, Weights(folder), check), role)
    return _write(output / "weights.json", "weights", metrics, num_matrices, decided_by, others)


def measure_similarity(model: Path, output: Path, final: Path, check: Callable[[], None] = lambda: None) -> dict:
    """`similarity.json` in `output`: how near the model is to the final one of its run. Like `measure_weights`."""
    decided_by = _decided_by(model, {"final": final})
    if (known := read_equal(output / "similarity.json", decided_by)) is not None:
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
    names = {role: point.name if (point := read_point(folder)) else folder.name for role, folder in others.items()}
    return write_measurement(
        path, KIND, {task: metrics}, {task: num}, {}, decided_by, measures=KIND, compared_with=names
    )


def _sha256(folder: Path) -> str:
    files = ((path, path.stat()) for path in sorted(folder.glob("*.safetensors")))
    return _sha256_of(folder, tuple((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files))


@lru_cache(maxsize=64)
def _sha256_of(folder: Path, files: tuple) -> str:
    """Every revision is asked for several times; `files` changes with their content."""
    return weights_sha256(folder)


def _fault(model: Path) -> str | None:
    """Why other verbs refuse weights that are not those of their configuration. What they are by themselves is measured all
    the same, of any architecture, and whatever goes wrong here does not matter to that."""
    with suppress(Exception):
        return _fault_of((model / "config.json").read_text(encoding="utf-8"), parameters_of(model), model)
    return None


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


def weights_table(rows: Sequence[dict]) -> str:
    """For a terminal: a line for every model; ranks of the kinds of matrices that some of them have."""
    columns = [("norm", "weights", "norm"), *_ranks(rows, "effective"), *_ranks(rows, "stable"), *_MOVES]
    lines = [["model", "tokens", *(title for title, *_ in columns)]]
    for row in rows:
        cells = [row["name"], "-" if row["tokens"] is None else format_tokens(row["tokens"])]
        for _, task, metric in columns:
            value = row[task].get(metric)
            cells.append("-" if value is None else f"{value:.4f}" if "_to_" in metric else f"{value:.4g}")
        lines.append(cells)
    return "\n".join(table_lines(lines))


def _ranks(rows: Sequence[dict], which: str) -> list[tuple[str, str, str]]:
    """Columns with the rank of each kind of matrices: title, task, metric. The first one's title says which rank."""
    kinds = [kind for kind in _KINDS_OF_LAYERS if any(f"{which}_rank_{kind}" in row["weights"] for row in rows)]
    titles = [f"{which} rank, {kinds[0]}", *kinds[1:]] if kinds else []
    return [(title, "weights", f"{which}_rank_{kind}") for title, kind in zip(titles, kinds, strict=True)]
