"""What the report says about a run, in words and table cells. No HTML here: the template escapes everything."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lmeff.analysis.cells import accuracy, loss_text
from lmeff.analysis.charts.points import has_pairs
from lmeff.analysis.charts.series import Series, all_runs, curve_points
from lmeff.analysis.charts.themes import cell_level
from lmeff.analysis.reading.mixed_settings import mixed_notes
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import (
    OTHER_METRICS,
    group_of,
    over_examples,
    paradigms_of,
    scoring_notes,
    shown_by,
    task_titles,
)
from lmeff.analysis.scores.table_runs import TableRun
from lmeff.analysis.statistics.acquisition import ACQUIRED, acquisition_order
from lmeff.analysis.statistics.changes import Change, changes
from lmeff.analysis.statistics.curve import curves_of
from lmeff.analysis.statistics.pair_scores import tie_rate
from lmeff.analysis.statistics.seeds import seed_changes
from lmeff.analysis.statistics.tidy_table import accuracy_interval
from lmeff.analysis.text import loss_columns, seeds_table
from lmeff.formats.losses import UNITS
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.trained import planned_tokens, trained_tokens
from lmeff.quantities import format_duration, format_tokens

STATES = {
    "running": "Running",
    "interrupted": "Interrupted",
    "failed": "Failed",
    "complete": "Complete",
    "unknown": "State unknown",
}


_LOSS_HEADERS = {"loss": "Training loss", "dev loss": "Held-out loss", "bits/byte": "Bits per byte"}
NUM_TEXTS = 6
"""Prompts whose completions are shown."""


class RunView:
    """One run as the page shows it."""

    def __init__(self, run: Run, label: str, number: int = 0) -> None:
        """`number` is its place among the runs of the page."""
        self.run = run
        self.number = number
        self.label = label
        self.tasks = [task for task in run.headline_tasks if any(accuracy(anchor, task) for anchor in run.anchors)]
        self.changes: list[Change] = changes(run)
        self.mixed: list[str] = mixed_notes(run)
        self.overs = dict.fromkeys(
            over_examples(run, task) for task in self.tasks if shown_by(run, task) not in OTHER_METRICS
        )
        """What the intervals in its tables are over: `pairs`, `examples`."""
        self.scorings: list[str] = scoring_notes(run, self.tasks)
        self.ties = any(tie_rate(run, anchor, task) is not None for anchor in run.anchors for task in self.tasks)

    @property
    def state(self) -> str:
        return self.run.state.state if self.run.state else "unknown"

    @property
    def is_folded(self) -> bool:
        """Whether it stands among others in a line that is closed at first: it failed, or has measured nothing yet."""
        return self.state == "failed" or not self.run.anchors

    @property
    def state_text(self) -> str:
        """`Complete`, or how far an unfinished run is."""
        if self.run.source:
            return "Scored"
        word = STATES[self.state]
        whole = planned_tokens(self.run.plan)
        if self.state == "complete" or not whole:
            return word
        return f"{word} at {min(100 * self._trained_tokens // whole, 100)}%"

    @property
    def _trained_tokens(self) -> int:
        """Of all parts, as its states say; otherwise by the best witness there is."""
        run = self.run
        if run.state and run.plan and run.plan.mode != "snapshot":
            return trained_tokens(RunFolder(run.folder), run.plan, run.state)
        return run.tokens

    @property
    def note(self) -> str | None:
        """What to know about a run that is not complete."""
        if self.run.state is None:
            return None
        if self.state == "failed":
            return self.run.state.error or "The run stopped with an error that it could not write down."
        if self.state == "interrupted":
            return "The same command again continues this run from its last checkpoint."
        if self.state == "running":
            return f"Still in training; it last reported on {self.run.state.updated.replace('T', ' ')[:16]} UTC."
        return None

    @property
    def sentence(self) -> str:
        """What happened, in one sentence."""
        run = self.run
        if isinstance(run, TableRun):
            return f"{len(run.anchors)} anchors in {run.source}, the last after {self.tokens_text} {run.unit}."
        if run.source:
            return f"{len(run.anchors)} revisions of {run.source}, the last after {self.tokens_text} {run.unit}."
        model = f"A model of {format_tokens(run.num_parameters)} parameters" if run.num_parameters else "A model"
        last = run.anchors[-1].document if run.anchors else None
        if not run.tokens:
            return f"{model}, not trained yet."
        text = f"{model}, trained on {format_tokens(run.tokens)} tokens" + (f" of {run.corpus}" if run.corpus else "")
        if last and last.exact_tokens:
            passes = f"{last.epoch:.2g} pass{'' if last.epoch == 1 else 'es'}"
            until = "" if last.exact_tokens >= run.tokens else f" up to {format_tokens(last.nominal_tokens)} tokens"
            devices = f"{last.world_size} devices ({last.device})" if last.world_size > 1 else last.device
            text += (
                f" ({passes} over the text) in {format_duration(last.train_seconds)} of training{until} on {devices}"
            )
        return text + "."

    @property
    def parameters_text(self) -> str:
        return format_tokens(self.run.num_parameters) if self.run.num_parameters else "-"

    @property
    def tokens_text(self) -> str:
        return format_tokens(self.run.tokens)

    @property
    def tiles(self) -> list[tuple[str, str, str, str | None]]:
        """The few numbers to see first: what, value, a line of small print, and the task that they are of."""
        tiles: list[tuple[str, str, str, str | None]] = []
        for task in self.tasks:
            last = next(anchor for anchor in reversed(self.run.anchors) if accuracy(anchor, task))
            at = f"at {last.tokens_name} {self.run.unit}"
            if (metric := shown_by(self.run, task)) in OTHER_METRICS:
                what, small = "Score", f"{OTHER_METRICS[metric]}; {at}"
            else:
                what, small = "Accuracy", f"% right, {at}"
                if interval := accuracy_interval(self.run, last, task):
                    low, high = (f"{100 * end:.1f}" for end in interval)
                    small += f"; 95% interval {low} to {high} over {over_examples(self.run, task)}, one seed"
            tiles.append((f"{what}, {task}", accuracy(last, task), small, task))
        for each in self.changes:
            span = f"95% interval {each.low:.1f} to {each.high:.1f} over {each.over}, one seed"
            what = f"Change, {each.task}" if len(self.changes) > 1 else "Change in accuracy"
            tiles.append((what, f"{each.points:+.1f} points", f"{span}; {each.span}", each.task))
        losses = [(anchor, found) for anchor in self.run.anchors if (found := anchor.document.held_out) is not None]
        if losses:
            last, (name, value) = losses[-1]
            document, where = last.document, f"at {last.tokens_name} tokens"
            tiles.append(("Held-out loss", loss_text(value), f"{UNITS[name]}, {where}", None))
            if document.dev_bits_per_byte is not None:
                small = f"bits per byte of held-out text, {where}"
                tiles.append(("Compression", loss_text(document.dev_bits_per_byte), small, None))
        return tiles

    @cached_property
    def loss_columns(self) -> dict[str, str]:
        """Fields of `anchor.json` by the header of their column; none of a table, which has scores alone."""
        if isinstance(self.run, TableRun):
            return {}
        return {
            _LOSS_HEADERS.get(name, name.replace("dev ", "held-out ").capitalize()): field
            for name, field in loss_columns(self.run).items()
        }

    @cached_property
    def anchor_rows(self) -> list[dict]:
        return [self._anchor_row(anchor) for anchor in self.run.anchors]

    def _anchor_row(self, anchor: Anchor) -> dict:
        document = anchor.document
        ties = {task: tie_rate(self.run, anchor, task) for task in self.tasks}
        return {
            "revision": anchor.revision,
            "tokens": anchor.tokens_name,
            "exact": f"{document.exact_tokens:,}",
            "step": "-" if document.step is None else f"{document.step:,}",
            "losses": {name: loss_text(getattr(document, field)) for name, field in self.loss_columns.items()},
            "accuracy": {task: accuracy(anchor, task, self.run) or "-" for task in self.tasks},
            "ties": {task: "-" if rate is None else f"{rate:.2%}" for task, rate in ties.items()},
        }

    @property
    def texts(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """A few prompts, and what the first and the last anchor that wrote something wrote after each: (tokens, text)."""
        anchors = [anchor for anchor in self.run.anchors if anchor.texts]
        anchors = anchors[:1] + anchors[1:][-1:]
        texts_of = [(anchor.tokens_name, _first_texts(anchor)) for anchor in anchors]
        common = [
            prompt for prompt in (texts_of[-1][1] if texts_of else {}) if all(prompt in texts for _, texts in texts_of)
        ]
        spread = dict.fromkeys(common[i * (len(common) - 1) // (NUM_TEXTS - 1)] for i in range(NUM_TEXTS) if common)
        return [(prompt, [(tokens, texts[prompt]) for tokens, texts in texts_of]) for prompt in spread]

    @property
    def commands(self) -> list[str]:
        """How to get the run and this page again, with the recipe saved as `recipe.yaml`."""
        run = self.run
        if isinstance(run, TableRun):
            return [f"lmeff report {run.source} -o report.html  # and --columns, where the table needs them"]
        if run.source:
            what = f"lmeff eval {run.source} --revisions all --tasks {','.join(self.tasks)}"
            return [what, f"lmeff report {run.folder} -o report.html"]
        last = run.anchors[-1].document if run.anchors else None
        launcher = ""
        if last and last.world_size > 1:
            launcher = f" --launcher {'cpu_ddp' if last.device == 'cpu' else 'ddp'} --num-processes {last.world_size}"
        paths = run.recipe.get("paths")
        outputs = paths.get("outputs", "outputs") if isinstance(paths, dict) else "outputs"
        folder = f"{outputs}/{run.name}/seed-{run.seed}"
        return [f"lmeff train recipe.yaml{launcher}", f"lmeff report {folder} -o report.html"]


class SeedView:
    """The means of a recipe that was trained with several seeds, as the page shows them."""

    def __init__(self, series: Series) -> None:
        self.label = series.label
        self.num_seeds = len(series.runs)
        self.unit = series.unit
        self.table = seeds_table(series.group, series.table, series.means)
        self.changes = seed_changes(series.group)


def _first_texts(anchor: Anchor) -> dict[str, str]:
    """By prompt the first text, with an ellipsis where it was cut."""
    texts: dict[str, str] = {}
    for written in anchor.texts:
        text = written.text.strip()
        texts.setdefault(written.prompt, text if written.finished == "eos" else f"{text} …")
    return texts


@dataclass(frozen=True)
class ParadigmRow:
    task: str
    title: str
    phenomenon: str
    acquired: str | None
    """Tokens of the anchor at which it was learned, by the rule of `acquisition_order`."""
    cells: list[tuple[str, int | None, bool] | None]
    """Per anchor the percentage, its color, and whether it was learned there; None where it was not measured. What are no
    minimal pairs has no color and no such anchor, since another share of it may be right by chance."""


@dataclass(frozen=True)
class ParadigmTable:
    label: str
    columns: list[str]
    rows: list[ParadigmRow]


def paradigm_tables(series: Sequence[Series]) -> list[ParadigmTable]:
    """One a series, those without a paradigm left out."""
    runs = all_runs(series)
    paradigms = task_titles(runs, paradigms_of(runs))
    return [table for each in series if (table := paradigm_table(each, paradigms)).rows]


def paradigm_table(series: Series, titles: dict[str, str]) -> ParadigmTable:
    """Accuracy of every paradigm at every anchor, in the order of acquisition; the mean over the seeds of a series."""
    points = curve_points(series, titles, "acc")
    points = points[points["seed"].isna()]
    cells_of = zip(points["task"].tolist(), points["anchor"].tolist(), strict=True)
    values = dict(zip(cells_of, points["value"].tolist(), strict=True))
    anchors = sorted({anchor for _, anchor in values})
    parents = {task: group_of(series.runs, task) for task, _ in values}
    parent_titles = task_titles(series.runs, [parent for parent in parents.values() if parent])
    rows = []
    for task, first in acquisition_order(curves_of(series.table, "acc", titles)):
        paired = has_pairs([series], [task])
        first = first if paired else None
        cells = [
            (_percent(values[task, anchor]), cell_level(values[task, anchor]) if paired else None, anchor == first)
            if (task, anchor) in values
            else None
            for anchor in anchors
        ]
        acquired = None if first is None else format_tokens(first)
        rows.append(ParadigmRow(task, titles[task], parent_titles.get(parents[task] or "", ""), acquired, cells))
    return ParadigmTable(series.label, [format_tokens(int(anchor)) for anchor in anchors], rows)


def _percent(value: float) -> str:
    """Rounded, but never up to the mark that tells acquired from not acquired: 74.6 is 74, not 75."""
    rounded = f"{100 * value:.0f}"
    return f"{100 * ACQUIRED - 1:.0f}" if value < ACQUIRED and rounded == f"{100 * ACQUIRED:.0f}" else rounded
