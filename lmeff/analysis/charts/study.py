"""What figures are drawn of: runs as lines, and what their scores say of how they end."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from lmeff.analysis.charts.series import Series, make_series
from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.hindcast import hindcast_rows
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.scores.observation import Observation, choose_task, observations_of
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

    @cached_property
    def observations(self) -> list[Observation]:
        """The scores of the task that most of them are of; none where there is no score of which more is better."""
        every = self._observations if self._observations is not None else observations_of(self.runs)[0]
        try:
            return choose_task(every, None)[0] if every else []
        except InputError:
            return []

    @cached_property
    def prediction(self) -> dict[str, Any] | None:
        """All that `lmeff predict --json` says of the scores; None of too few finished recipes."""
        try:
            return predict(self.observations) if self.observations else None
        except InputError:
            return None

    @cached_property
    def hindcast(self) -> list[dict]:
        """What would have been predicted of the finished runs; empty where there is no prediction."""
        return hindcast_rows(self.observations) if self.prediction else []
