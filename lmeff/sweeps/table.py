"""What is seen of a sweep while it runs: one table, which is written anew on a terminal, and lines for what ends elsewhere."""

import time
from collections.abc import Callable

from lmeff.formats.losses import spoken
from lmeff.quantities import format_duration
from lmeff.runs.status import loss_cells, loss_columns, read_status
from lmeff.sweeps.cases import Sweep
from lmeff.sweeps.local import Outcome, Progress
from lmeff.text_tables import table_lines

_EVERY_SECONDS = 1.0


class LiveTable:
    """Shows the cases that run, with a line above that counts the others."""

    def __init__(self, sweep: Sweep, write: Callable[[str], None], is_terminal: bool) -> None:
        self._sweep, self._write, self._is_terminal = sweep, write, is_terminal
        self._begun = time.monotonic()
        self._shown: dict[int, Outcome] = {}
        self._awaited: set[int] = set()
        self._num_lines = 0
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        lines = []
        for index, outcome in progress.outcomes.items():
            if self._shown.get(index) != outcome:
                self._shown[index] = outcome
                lines.append(self._ended(index, outcome, progress.why.get(index)))
        for case in progress.held:
            if case.index not in self._awaited:
                self._awaited.add(case.index)
                lines.append(f"case {case.index} ({case}) is being worked on by another process; waiting for that")
        is_due = time.monotonic() >= self._last + _EVERY_SECONDS
        if not self._is_terminal:
            if lines:
                self._write("".join(f"{line}\n" for line in lines))
        elif is_due or lines:
            self._last = time.monotonic()
            self._rewrite(lines, self._table(progress))

    def close(self) -> None:
        """Takes the table away; what has ended stays."""
        if self._is_terminal:
            self._rewrite([], [])

    def _rewrite(self, staying: list[str], table: list[str]) -> None:
        up = f"\033[{self._num_lines}A\033[J" if self._num_lines else ""
        self._write(up + "".join(f"{line}\n" for line in [*staying, *table]))
        self._num_lines = len(table)

    def _ended(self, index: int, outcome: str, why: str | None) -> str:
        done = f"{len(self._shown)}/{len(self._sweep.cases)}"
        said = why if outcome == "killed" and why else f"{outcome}{f': {why}' if why else ''}"
        return f"{done}  case {index} ({self._sweep.cases[index]}): {said}"

    def _table(self, progress: Progress) -> list[str]:
        outcomes = list(progress.outcomes.values())
        counts = ", ".join(
            f"{number} {word}"
            for word, number in (
                ("complete", outcomes.count("complete")),
                ("running", len(progress.running)),
                ("waiting", len(progress.waiting)),
                ("killed", outcomes.count("killed")),
                ("failed", outcomes.count("failed")),
            )
            if number
        )
        head = f"{self._sweep.name}: {counts}, {format_duration(time.monotonic() - self._begun)}"
        statuses = [(case, read_status(case.run.path)) for case in progress.running.values()]
        losses = loss_columns(status for _, status in statuses)
        rows = [["case", "", "seed", "done", *map(spoken, losses), "time left"]]
        for case, status in statuses:
            share = "" if status.share is None else f"{int(100 * status.share)}%"
            left = "" if status.seconds_left is None else format_duration(status.seconds_left)
            rows.append([str(case.index), case.name, str(case.seed), share, *loss_cells(status, losses), left])
        return [head, *(table_lines(rows, "><>", "  ") if len(rows) > 1 else [])]
