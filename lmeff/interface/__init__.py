"""What notebooks and scripts import from `lmeff` itself: the verbs' numbers as tables of pandas and charts of Altair.

What is heavy is imported when it is called.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from lmeff.errors import InputError
from lmeff.recipe import Recipe, Resolved, read_recipe

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from lmeff.analysis.comparison.compare import Comparison
    from lmeff.analysis.prediction.tables import Prediction
    from lmeff.analysis.reading.runs import Run
    from lmeff.formats.plan import PlanDocument

__all__ = ["compare", "curves", "make_plan", "plot", "predict", "read_recipe", "read_runs"]

PathLike = str | Path
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def _in_words_of_python(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """The function, whose mistakes name its parameters as Python does: `figure=x` in place of a verb's `--figure x`."""
    names = "|".join(signature(function).parameters)
    option = re.compile(rf"--({names})(?![\w-])(?: (?=[^\s:]+:))?")

    def named_as_here(found: re.Match[str]) -> str:
        return f"{found[1]}=" if found[0].endswith(" ") else found[1]

    @wraps(function)
    def called(*arguments: Parameters.args, **named: Parameters.kwargs) -> Returned:
        try:
            return function(*arguments, **named)
        except InputError as error:
            raise type(error)(*(option.sub(named_as_here, line) for line in error.mistakes)) from None

    return called


@_in_words_of_python
def make_plan(
    recipe: Recipe | Resolved,
    *,
    world_size: int = 1,
    tokens_per_second: float | None = None,
    mfu: float | None = None,
    gpu: str | None = None,
) -> "PlanDocument":
    """What a recipe will do and cost, as `lmeff plan --json` says it. Raises InputError."""
    from lmeff import plan
    from lmeff.methods import method_costs

    with recipe.naming_lines() if isinstance(recipe, Resolved) else nullcontext():
        recipe = recipe.recipe if isinstance(recipe, Resolved) else recipe
        costs = method_costs(recipe)
        return plan.make_plan(
            recipe, world_size=world_size, tokens_per_second=tokens_per_second, mfu=mfu, gpu=gpu, costs=costs
        )


@_in_words_of_python
def read_runs(*paths: PathLike | Iterable[PathLike]) -> list["Run"]:
    """Every run at or under the given folders, and results of other models there. Raises InputError."""
    return _runs(paths)


@_in_words_of_python
def curves(*what: "PathLike | Run | Iterable[PathLike | Run]", columns: str = "") -> "pd.DataFrame":
    """The tidy table, as `lmeff curves --csv` writes it, of folders of runs and CSV files, or of runs that were read. Raises
    InputError."""
    from lmeff.analysis.exports import curves_table
    from lmeff.analysis.one_table.curves import Curves

    every = list(_each(what))
    paths = [each for each in every if isinstance(each, str | Path)]
    return Curves.read(paths, columns).table if paths and len(paths) == len(every) else curves_table(_runs(every))


@_in_words_of_python
def compare(a: PathLike, b: PathLike, tasks: Sequence[str] | None = None, at: str | int | None = None) -> "Comparison":
    """B minus A, as `lmeff compare A B --json` says it: `.table`, `.notes`, `.not_compared`. Raises InputError."""
    from lmeff.analysis.comparison.compare import compare
    from lmeff.analysis.comparison.output.text import PrintedComparison

    return PrintedComparison.from_comparison(compare(a, b, tasks, at))


@_in_words_of_python
def predict(
    *paths: PathLike | Iterable[PathLike], target: str = "last", columns: str = "", task: str | None = None
) -> "Prediction":
    """How early scores tell their end, as `lmeff predict --json` says it: a table for each of its lists, `.sentence` and
    `.notes`. Raises InputError."""
    from lmeff.analysis.prediction.document import predict
    from lmeff.analysis.prediction.tables import Prediction
    from lmeff.analysis.scores.chosen_task import choose_task
    from lmeff.analysis.scores.paths import read_observations

    observations, notes = read_observations(list(_each(paths)), columns)
    observations, said = choose_task(observations, task)
    return Prediction(predict(observations, target, [*notes, *said]))


@_in_words_of_python
def plot(
    *what: "PathLike | Run | Iterable[PathLike | Run]", figure: str = "main", columns: str = ""
) -> "alt.TopLevelMixin":
    """A figure of the report (`lmeff report --figure`), light on white, of runs or of a CSV file. Raises InputError."""
    from lmeff.analysis.charts.drawing import as_chart
    from lmeff.analysis.charts.figures import figure_of
    from lmeff.analysis.charts.study import Study
    from lmeff.analysis.scores.paths import read_scored

    every = list(_each(what))
    paths = [each for each in every if isinstance(each, str | Path)]
    study = Study(*read_scored(paths, columns)) if len(paths) == len(every) else Study(_runs(every))
    return as_chart(figure_of(study, figure))


def _runs(what: Iterable) -> list["Run"]:
    from lmeff.analysis.reading import paths

    every = list(_each(what))
    folders = [each for each in every if isinstance(each, str | Path)]
    read = paths.read_runs(folders) if folders or not every else []
    return [*read, *(each for each in every if not isinstance(each, str | Path))]


def _each(what: Iterable) -> Iterator:
    for each in what:
        if isinstance(each, Iterable) and not isinstance(each, str | Path):
            yield from each
        else:
            yield each
