"""What can be measured of a model, and measuring it of one model after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lmeff.errors import InputError, RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.client import NotDelivered, Unavailable
from lmeff.measures.selection import SelectedModel
from lmeff.recipe.sections.evaluation import Evaluation

Say = Callable[[str], None]
"""Takes a line that people should read, as soon as there is something to say."""

FOR_PEOPLE = (InputError, RunFailed, OSError, Unavailable, NotDelivered)
"""Errors whose text says what is wrong."""


class Measure:
    """One thing that can be measured of a model, with its settings. `measured` takes it from model to model, and a run from
    anchor to anchor."""

    kind: ClassVar[str]
    """The name that `evaluation.measures` has for it. Its results say what they are by it."""
    not_measured: ClassVar[str]
    """What a run says of a revision that could not be measured, such as `its weights were not measured`."""

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "Measure":
        """The measure as a run takes it of its own revisions: with the settings that its verb has for a run when nothing else
        is said. `check` is called on the way; what it raises ends the measuring."""
        raise NotImplementedError

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        """Called once, before any model is measured: reads what all of them need. Raises InputError for what cannot be."""

    def check_replaced(self, model: SelectedModel, folder: Path) -> None:
        """Raises InputError where the model's result would replace one of other data."""

    def heading(self, models: Sequence[SelectedModel]) -> Iterable[str]:
        """Lines before those of the first model."""
        return ()

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> Any:
        """What was measured of the model in `folder`, as it is written to `model.output`: computed unless it is there already
        for the same weights, data and settings."""
        raise NotImplementedError

    def lines(self, model: SelectedModel, result: Any) -> Iterable[str]:
        """What there is to say of a model's result."""
        return ()

    def closing_lines(self, models: Sequence[SelectedModel]) -> Iterable[str]:
        """Lines at the end, about the models that could be measured."""
        return ()


@dataclass(frozen=True)
class Measured:
    """A model and what was measured of it."""

    model: SelectedModel
    result: Any


def measured(measure: Measure, models: Sequence[SelectedModel], say: Say) -> Iterator[Measured]:
    """Measures one model after another. A model for which that fails is named and the others go on; RunFailed is raised at
    the end. Raises InputError, before any model is loaded, for what cannot be or would replace other results."""
    measure.prepare(models, say)
    for model in models:
        if model.model_folder is not None:
            measure.check_replaced(model, model.model_folder)
    for line in measure.heading(models):
        say(line)
    yield from measured_each(measure, models, say)


def measured_each(measure: Measure, models: Iterable[SelectedModel], say: Say) -> Iterator[Measured]:
    """`measured` for a measure that is prepared, and for models that may still be coming. What ends their coming with
    RunFailed is told together with what failed."""
    done: list[SelectedModel] = []
    failed: list[str] = []
    trouble: list[str] = []
    try:
        for model in _until_failure(models, trouble):
            if model.asked_as:
                say(f"{model.name} (same as {model.asked_as})")
            try:
                result = _measure_one(measure, model, say)
            except Exception as error:  # whatever is wrong with one model, the others go on
                failed.append(model.name)
                say(f"{model.name}: cannot be scored: {reason(error)}")
                continue
            done.append(model)
            for line in measure.lines(model, result):
                say(line)
            yield Measured(model, result)
    finally:
        if done:
            for line in measure.closing_lines(done):
                say(line)
    if failed:
        num_models = len(done) + len(failed)
        trouble.insert(0, f"{len(failed)} of {num_models} models could not be scored: {', '.join(failed)}")
    if trouble:
        raise RunFailed("; ".join(trouble))


def _until_failure(models: Iterable[SelectedModel], trouble: list[str]) -> Iterator[SelectedModel]:
    """The models; what ends their coming goes into `trouble`."""
    try:
        yield from models
    except RunFailed as error:
        trouble.append(str(error))


def _measure_one(measure: Measure, model: SelectedModel, say: Say) -> Any:
    folder = model.fetch()
    model.write_source()
    if model.remote:
        measure.check_replaced(model, folder)
    return measure.measure(model, folder, say)


def reason(error: BaseException) -> str:
    """What an error says, in one line. What nobody foresaw may say a bare key or nothing, so that its name stands before."""
    said = " ".join(str(error).split())
    return said if isinstance(error, FOR_PEOPLE) else f"{type(error).__name__}: {said}"
