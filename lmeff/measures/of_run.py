"""What a run measures of its own revisions: of every one at its anchor, and of the final one when training has ended."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lmeff.evaluation.results import scores_of
from lmeff.files import MANIFEST
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import say
from lmeff.measures.alone import measure_alone
from lmeff.measures.measure import Measure, reason
from lmeff.measures.registry import measure_of_run
from lmeff.measures.scores.measure import evaluation_of
from lmeff.measures.selection import SelectedModel, select_models
from lmeff.measures.weights.measure import WeightStatistics
from lmeff.recipe.schema import Recipe
from lmeff.revisions import Revision
from lmeff.runs.process import launched_rank, launched_world_size

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0


class RunMeasures:
    """Scores and measures revisions into `results/REVISION`, as the verbs would. A task that cannot be scored ends the run; a
    measure that cannot be taken is one line."""

    def __init__(self, recipe: Recipe, run: RunFolder, check: Callable[[], None]) -> None:
        """Raises InputError for what cannot be measured.

        Args:
            check: called on the way at anchors. When it raises KeyboardInterrupt, what is missing is left to the next call.
        """
        section = recipe.evaluation
        self._section, self._run, self._check, self._final = section, run, check, Revision(recipe.seed).name
        self._rank, self._world_size = launched_rank(), launched_world_size()
        kinds = section.measures_at_anchors
        self.are_at_anchors = section.at_anchors and bool(section.tasks or kinds)
        # From the last process backwards, since the first one joins the scores of all; the weights are left to it.
        ours = [kind for place, kind in enumerate(kinds) if -place % self._world_size == self._rank]
        self._at_anchors = [measure_of_run(kind, section, run, check) for kind in ours]
        # What cannot be measured is told before a step is trained.
        self._after = {kind: measure_of_run(kind, section, run, check) for kind in section.measures_after_training}
        self._prepared: set[Measure] = set()

    def at_anchor(self, revision: Path) -> None:
        """Collective: every process of a run calls it, and it returns on all when all is measured, or left to the next call.
        They share the work: each takes some of the tasks and some of the measures."""
        model = SelectedModel(revision, self._run.results_of(revision.name))
        evaluation = evaluation_of(self._section, revision, model.output, self._check)
        with self._waiting_for_each_other():
            for measure in self._at_anchors:
                self._measure(measure, model)
            evaluation.score(self._rank, self._world_size)
        if self._rank == 0 and evaluation.is_scored():
            evaluation.finish()

    def scores(self, revision: Path) -> dict[str, float]:
        """`TASK/METRIC` and its value, of the recipe's tasks that the revision has results of."""
        return scores_of(self._run.results_of(revision.name), self._section.tasks)

    def after_training(self) -> list[str]:
        """On one process, when the run has its final model: how near every revision is to it, the weights that an interrupted
        run left unmeasured, and what is measured of the final revision alone. Returns the names of the revisions whose cards
        show more now."""
        final = self._run.revision(self._final)
        if not (final / MANIFEST).is_file():
            return []
        if "weights" in self._section.measures_at_anchors:
            weights = WeightStatistics()
            for model in select_models(str(self._run)):
                self._measure(weights, model)
        for kind, measure in self._after.items():
            try:
                measure_alone(self._run, self._final, kind)  # no other process is here any more to work together with
            except Exception as error:
                say(f"{self._final}: {measure.not_measured}: {reason(error)}")
        equal = AnchorDocument.read(final).same_as
        return [self._final, *([equal] if equal else [])] if self._after else []

    def _measure(self, measure: Measure, model: SelectedModel) -> None:
        """A run goes on whatever happens."""
        try:
            if measure not in self._prepared:
                measure.prepare([model], say)
                self._prepared.add(measure)
            measure.measure(model, model.fetch(), say)
        except Exception as error:
            say(f"{model.name}: {measure.not_measured}: {reason(error)}")

    @contextmanager
    def _waiting_for_each_other(self) -> Iterator[None]:
        """Collective: goes on, on every process, when all have done what is inside, or were asked to stop.

        One process may be busy for hours, longer than any collective waits. So they look for each other's files, and meet in
        a barrier when all of them are there.
        """
        if self._world_size == 1:
            with suppress(KeyboardInterrupt):
                yield
            return
        from accelerate import PartialState

        from lmeff.training.engines.engine import run_on_rank_zero

        folder = self._run.path / f".waiting-{run_on_rank_zero(lambda: uuid.uuid4().hex)}"  # on all processes
        with suppress(KeyboardInterrupt):
            yield
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(self._rank)).touch()
            pause = _SHORTEST_PAUSE_SECONDS
            while len(list(folder.iterdir())) < self._world_size:
                self._check()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        PartialState().wait_for_everyone()  # a barrier
        if self._rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
