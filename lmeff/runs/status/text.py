"""Statuses as a table."""

from collections.abc import Iterable, Sequence

from lmeff.formats.losses import spoken
from lmeff.intervals import is_share
from lmeff.quantities import format_duration, format_tokens
from lmeff.runs.status.reading import RunStatus, Score
from lmeff.text_tables import table_lines

_CORRELATIONS = ("spearman", "pearson", "mcc")


def format_statuses(statuses: Sequence[RunStatus]) -> str:
    """A row for each run, and a line under it for an error. Columns that no run has anything for are left out."""
    losses = loss_columns(statuses)
    head = ["run", "state", "done", "tokens", *map(spoken, losses)]
    rows = [[*head, "score", "next anchor", "time left", "job", "not on the Hub"]]
    rows += [_cells(status, losses) for status in statuses]
    shown = [column for column in range(len(rows[0])) if column < 3 or any(row[column] for row in rows[1:])]
    table = table_lines([[row[column] for column in shown] for row in rows], "<<>")
    lines = [table[0]]
    for line, status in zip(table[1:], statuses, strict=True):
        lines += [line, *([f"  {status.error}"] if status.error and status.state != "complete" else [])]
    return "\n".join(lines)


def loss_columns(statuses: Iterable[RunStatus]) -> list[str]:
    """The names of their losses, each kind once."""
    return list(dict.fromkeys(status.loss_name for status in statuses if status.loss is not None))


def loss_cells(status: RunStatus, columns: Iterable[str]) -> list[str]:
    """Its loss in the column of its kind."""
    return [f"{status.loss:.3f}" if status.loss is not None and status.loss_name == name else "" for name in columns]


def _cells(status: RunStatus, losses: Sequence[str]) -> list[str]:
    return [
        status.folder,
        status.shown,
        "" if status.share is None else f"{int(100 * status.share)}%",
        format_tokens(status.tokens) if status.tokens else "",
        *loss_cells(status, losses),
        "" if status.score is None else f"{_score_text(status.score)} {status.score.task}",
        "" if status.next_anchor is None else format_tokens(status.next_anchor),
        "" if status.seconds_left is None else format_duration(status.seconds_left),
        status.job or "",
        str(status.undelivered) if status.undelivered else "",
    ]


def _score_text(score: Score) -> str:
    """Shares as in the tables of the other verbs; what is none, such as a correlation or what counts hundredths, as it is."""
    in_percent = is_share(score.metric) and score.metric not in _CORRELATIONS and 0 <= score.value <= 1
    return f"{score.value:.1%}" if in_percent else f"{score.value:.3f}"
