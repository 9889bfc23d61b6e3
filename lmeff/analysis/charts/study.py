"""What figures are drawn of: runs as lines, and what their scores say of how they end."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from lmeff.analysis.charts.series import Series, make_series
from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.hindcast import hindcast_rows
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.scores.chosen_task import choose_task
from lmeff.analysis.scores.from_observations import TooFewRuns
from lmeff.analysis.scores.observation import Observation, observations_of
from lmeff.errors import InputError


class Study:
    """Runs, as series of seeds, and predictions from their scores, which are made when they are asked for."""

    def __init__(
        self, runs: Sequence[Run], observations: Sequence[Observation] | None = None, notes: Sequence[str] = ()
    ) -> None:
        """`observations`: the scores of the runs, where they are read already.

        Raises InputError when runs cannot share an axis.
        """
        self.series: list[Series] = make_series(runs)
        self.notes = list(notes)
        """Lines that say how the runs were read."""
        self._observations = observations

    @classmethod
    def of(cls, runs: "Sequence[Run] | Study") -> "Study":
        return runs if isinstance(runs, Study) else cls(runs)

    @property
    def runs(self) -> list[Run]:
        return [run for each in self.series for run in each.runs]

    @property
    def observations(self) -> list[Observation]:
        """The scores of the task that most of them are of; none where there is no score of which more is better."""
        return self._chosen[0]

    @cached_property
    def _chosen(self) -> tuple[list[Observation], list[str]]:
        """These, and lines that say what was left out."""
        every, said = observations_of(self.runs) if self._observations is None else (self._observations, [])
        try:
            chosen, more = choose_task(every, None) if every else ([], [])
        except InputError:  # of everything less is better
            return [], []
        return chosen, [*self.notes, *said, *more]

    @cached_property
    def prediction(self) -> dict[str, Any] | None:
        """All that `lmeff predict --json` says of the scores; None of too few finished recipes. Raises InputError for scores
        that are there twice."""
        observations, notes = self._chosen
        try:
            return predict(observations, notes=notes) if observations else None
        except TooFewRuns:
            return None

    @cached_property
    def hindcast(self) -> list[dict]:
        """What would have been predicted of the finished runs; empty where there is no prediction."""
        return hindcast_rows(self.observations) if self.prediction else []
