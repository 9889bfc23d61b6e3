"""What to be careful about in the numbers of a page, a sentence each that names the runs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import pandas as pd

from lmeff.analysis.charts.study import Study
from lmeff.analysis.one_table.cells import missing_lines
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import OTHER_METRICS
from lmeff.analysis.report.views import RunView
from lmeff.analysis.statistics.pair_scores import tie_rate
from lmeff.analysis.statistics.tidy_table import WEIGHTS
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.intervals import SHARES
from lmeff.quantities import format_tokens

MOST_TIES = 0.01
"""Above this share of tied pairs a score says more of ties than it seems to."""
FEWEST_ANCHORS = 3
"""Equal values at fewer anchors, or of fewer runs, may be chance."""
_MOST_NAMED = 5
_MOST_MISSING = 8
LOOKED_FOR = (
    "missing values, ties, losses that are not finite, scores that do not move, anchors inside the warm-up, tokens per step"
    " that differ, limits"
)


def cautions(study: Study, views: Sequence[RunView], table: pd.DataFrame, missing: pd.DataFrame) -> list[str]:
    """Everything found, in one order of kinds; empty when nothing was. `table` is the tidy table of all runs, `missing` its
    `missing_cells`."""
    return [
        *_missing(missing, views),
        *_ties(views),
        *_not_finite(views),
        *_constant_scores(table),
        *_constant_predictions(views),
        *_warm_up(views),
        *_steps(study),
        *_limits(views),
    ]


def named(names: Iterable[str]) -> str:
    """`A, B and 3 more`."""
    every = list(dict.fromkeys(names))
    shown = ", ".join(every[:_MOST_NAMED])
    return shown + (f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else "")


def number_of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _missing(missing: pd.DataFrame, views: Sequence[RunView]) -> Iterator[str]:
    by_run = [line.removeprefix("missing: ") for line in missing_lines(missing)[1:]]
    if by_run:
        yield f"Missing: {number_of(len(missing), 'value')} that other runs have."
    yield from (f"Missing: {line}." for line in by_run[:_MOST_MISSING])
    if len(by_run) > _MOST_MISSING:
        yield f"Missing: {len(by_run) - _MOST_MISSING} more lines of such; lmeff curves lists all of them."
    measured = [view for view in views if view.run.anchors]
    for task in dict.fromkeys(task for view in measured for task in view.tasks):
        without = [view.label for view in measured if task not in view.tasks]
        if 0 < len(without) < len(measured) / 2:
            yield f"Missing: {named(without)} {_have(without)} no score of {task} at all."


def _ties(views: Sequence[RunView]) -> Iterator[str]:
    for view in views:
        for task in view.tasks:
            rates = [(rate, anchor) for anchor in _trained(view.run) if (rate := _tie_rate(view.run, anchor, task))]
            rate, anchor = max(rates, key=lambda found: found[0], default=(0.0, None))
            if anchor is not None and rate >= MOST_TIES:
                yield (
                    f"Ties: {view.label} gives both sentences of {rate:.1%} of the pairs of {task} the same probability at"
                    f" {anchor.tokens_name}; each counts one half."
                )


def _tie_rate(run: Run, anchor: Anchor, task: str) -> float | None:
    if (rate := tie_rate(run, anchor, task)) is not None:
        return rate
    result = anchor.results.tasks.get(task)
    return result.metrics["ties"].value if result and "ties" in result.metrics else None


def _not_finite(views: Sequence[RunView]) -> Iterator[str]:
    for view in views:
        # The log has null where the loss was no finite number, and where steps were skipped, which are counted below.
        skipped_before = [0, *(record.num_skipped_steps for record in view.run.log)]
        broken = [
            record
            for record, before in zip(view.run.log, skipped_before, strict=False)
            if record.loss is None and record.num_skipped_steps == before
        ]
        if broken:
            yield (
                f"Not finite: {view.label} has no finite training loss in {number_of(len(broken), 'line')} of its log, first at"
                f" {format_tokens(broken[0].tokens)} tokens."
            )
        skipped = max((record.num_skipped_steps for record in view.run.log), default=0)
        skipped = max([skipped, *(getattr(one.document, "num_skipped_steps", 0) for one in view.run.anchors)])
        if skipped:
            yield f"Not finite: {view.label} skipped {number_of(skipped, 'step')}, where loss or gradient was no finite number."


def _constant_scores(table: pd.DataFrame) -> Iterator[str]:
    scores = table[
        ~table["level"].isin(["loss", WEIGHTS]) & (table["nominal_tokens"] > 0) & (table["metric"] != "ties")
    ]
    if scores.empty:
        return
    of_run = scores.groupby(["recipe", "seed", "task", "metric"], sort=False)["value"].agg(["min", "max", "size"])
    fixed = of_run[(of_run["min"] == of_run["max"]) & (of_run["size"] >= FEWEST_ANCHORS)].reset_index()
    found: dict[tuple[str, float, int], dict[str, list[str]]] = {}
    for row in fixed.itertuples():
        by_task = found.setdefault((row.metric, row.min, row.size), {})
        by_task.setdefault(row.task, []).append(f"{row.recipe}, seed {row.seed}")
    for (metric, value, number), by_task in found.items():
        for runs, tasks in _by_runs(by_task):
            yield (
                f"Does not move: {named(tasks)} ({metric}) {'is' if len(tasks) == 1 else 'are'} {_value_text(metric, value)} at"
                f" all {number} anchors of {named(runs)}; such a score tells nothing of how a model learns."
            )
    yield from _shared_scores(scores, told=set(zip(fixed["task"], fixed["metric"], strict=True)))


def _shared_scores(scores: pd.DataFrame, told: set[tuple[str, str]]) -> Iterator[str]:
    """Tasks in which all runs come out alike, but for those of which was `told` already."""
    last = scores.sort_values("nominal_tokens").groupby(["recipe", "seed", "task", "metric"], sort=False).last()
    of_all = last.groupby(["task", "metric"], sort=False)["value"].agg(["min", "max", "size"]).reset_index()
    alike = of_all[(of_all["min"] == of_all["max"]) & (of_all["size"] >= FEWEST_ANCHORS)]
    together: dict[tuple[str, float, int], list[str]] = {}
    for row in alike.itertuples():
        if (row.task, row.metric) not in told:
            together.setdefault((row.metric, row.min, row.size), []).append(row.task)
    for (metric, value, number), tasks in together.items():
        are, them = ("is", "it") if len(tasks) == 1 else ("are", "them")
        yield (
            f"Tells no runs apart: {named(tasks)} ({metric}) {are} {_value_text(metric, value)} at the last anchors of all"
            f" {number} runs that have {them}."
        )


def _by_runs(by_task: dict[str, list[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Tasks together that the same runs have."""
    ordered = sorted(by_task.items(), key=lambda item: item[1])
    for runs, items in groupby(ordered, key=lambda item: item[1]):
        yield runs, [task for task, _ in items]


def _value_text(metric: str, value: float) -> str:
    return f"{value:.1%}" if metric.partition(",")[0] in (*SHARES, *OTHER_METRICS) else f"{value:.4g}"


def _constant_predictions(views: Sequence[RunView]) -> Iterator[str]:
    """Of fine-tuned models at the last anchor that has some: the same answer to every example."""
    for view in views:
        tuned = [
            anchor
            for anchor in view.run.anchors
            if any(one.kind == "finetuning" for one in anchor.results.tasks.values())
        ]
        if not tuned or not view.run.folder.is_dir():
            continue
        folder = RunFolder(view.run.folder).results_of(tuned[-1].revision) / "predictions"
        constant = [path.stem for path in sorted(folder.glob("*.parquet")) if _is_constant(pd.read_parquet(path))]
        if constant:
            yield (
                f"Constant predictions: fine-tuned from {view.label} at {tuned[-1].tokens_name}, {named(constant)} gives every"
                " example one answer, as a predictor does that reads no text."
            )


def _is_constant(predictions: pd.DataFrame) -> bool:
    by_seed = predictions.groupby(["split", "seed"])["prediction"]
    return bool((by_seed.size() > 1).any() and (by_seed.nunique() == 1).all())


def _warm_up(views: Sequence[RunView]) -> Iterator[str]:
    together: dict[tuple[tuple[str, ...], int, int], list[str]] = {}
    for view in views:
        if (plan := view.run.plan) and (inside := tuple(_inside_warm_up(view.run, plan))):
            together.setdefault((inside, plan.warmup_steps, plan.clock.tokens_at(plan.warmup_steps)), []).append(
                view.label
            )
    for (anchors, num_steps, num_tokens), labels in together.items():
        yield (
            f"Inside the warm-up: {', '.join(anchors)} of {named(labels)}, whose learning rate rises for {num_steps:,} steps"
            f" ({format_tokens(num_tokens)} tokens); how fast models learn before shows the schedule, too."
        )


def _inside_warm_up(run: Run, plan: PlanDocument) -> Iterator[str]:
    """Anchors after the start at which the learning rate was not yet at its highest; of a run in parts in their own part. The
    rate of a branch rose in the trunk, whose steps it goes on counting."""
    warm_ups = {anchor.nominal_tokens: part.warmup_steps for part in plan.parts for anchor in part.anchors}
    for anchor in _trained(run):
        num_steps = warm_ups.get(anchor.document.nominal_tokens, plan.warmup_steps)
        if anchor.document.step is not None and 0 < anchor.document.step < num_steps:
            yield anchor.tokens_name


def _steps(study: Study) -> Iterator[str]:
    sizes = {each.label: each.runs[0].plan.batch_tokens for each in study.series if each.runs[0].plan}
    if len(sizes) < len(study.series):
        sizes |= {
            one.cell: one.tokens_per_step for one in study.observations if one.tokens_per_step and one.cell not in sizes
        }
    by_size: dict[int, list[str]] = {}
    for label, size in sizes.items():
        by_size.setdefault(size, []).append(label)
    if len(by_size) > 1:
        words = "; ".join(f"{size:,} of {named(by_size[size])}" for size in sorted(by_size))
        yield f"Tokens per step differ: {words}. At equal tokens they have taken other numbers of steps."


def _limits(views: Sequence[RunView]) -> Iterator[str]:
    limited: dict[tuple[str, int], list[str]] = {}
    for view in views:
        for task in view.tasks:
            limits = [result.limit for result in view.run.results_of(task) if result.limit is not None]
            if limits:
                limited.setdefault((task, min(limits)), []).append(view.label)
    for (task, limit), labels in limited.items():
        yield f"Limit: {task} of {named(labels)} was scored over the first {limit:,} examples of each task only."


def _trained(run: Run) -> list[Anchor]:
    return [anchor for anchor in run.anchors if anchor.document.nominal_tokens]


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
