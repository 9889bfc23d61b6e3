"""Histograms: how long documents are, and how losses are spread over steps and over sentences of minimal pairs."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from lmeff.analysis.charts.layers import series_color, series_dash
from lmeff.analysis.charts.panels import PANEL_WIDTH, SUBTITLE_CHARACTERS
from lmeff.analysis.charts.points import labels
from lmeff.analysis.charts.series import Series
from lmeff.analysis.charts.studies.named_lines import Panel, as_figure, side_by_side, with_whole_subtitles
from lmeff.analysis.charts.studies.scored_alike import same_sentences
from lmeff.analysis.charts.study import Study
from lmeff.analysis.reading.comparable import loss_clusters
from lmeff.analysis.reading.documents import Documents, documents_of, tokens_fingerprint
from lmeff.quantities import format_short

Floats = npt.NDArray[np.float64]
MOST_BINS = 30
FEWEST_STEPS = 20
"""Logged losses of a run from which on they are spread over bins."""
MOST_LINES = 12
_MANY, _TAIL = 10_000, 0.1
"""From so many values on bins leave out so many percent of them at each end, or a few would make all others one bin."""


def lengths_figure(study: Study) -> dict[str, Any] | None:
    """Tokens of the documents that training reads, and bytes of their text for each token; a line for each prepared text and
    tokenizer. None where no prepared tokens lie beside the runs."""
    texts: dict[str, tuple[str, Documents]] = {}
    readers: dict[str | None, dict[str, None]] = {}
    for each in study.series:
        for run in each.runs:
            readers.setdefault(tokens_fingerprint(run), {})[each.label] = None
    for run in {tokens_fingerprint(run): run for run in reversed(study.runs)}.values():
        documents = documents_of(run)
        if documents is not None and len(documents.num_tokens):
            vocabulary = f"vocabulary {format_short(run.vocab_size)}" if run.vocab_size else None
            name = ", ".join(filter(None, (run.corpus, vocabulary)))
            texts[documents.fingerprint] = (name or "text", documents)
    if not texts or len(texts) > MOST_LINES:
        return None
    named = _told_apart(texts)
    lengths = {name: documents.num_tokens.astype(float) for name, documents in named.items()}
    rates = {name: rate[np.isfinite(rate)] for name, documents in named.items() for rate in [documents.bytes_per_token]}
    mark = _sequence_length(study)
    charts = [
        _panel(
            lengths,
            list(named),
            whole_number_edges,
            "Length of documents",
            _length_words(lengths, mark),
            "Tokens of a document, with <s> and </s>",
            is_log=True,
            mark=mark,
        ),
        _panel(
            rates,
            list(named),
            even_edges,
            "Bytes a token",
            "of each document: bytes of its text, over its tokens without <s> and </s>",
            "Bytes a token",
        ),
    ]
    spec = with_whole_subtitles(as_figure(side_by_side([chart for chart in charts if chart is not None])))
    # For filters: the lines are of texts, not of runs.
    spec["usermeta"]["read_by"] = {name: list(readers[documents.fingerprint]) for name, documents in named.items()}
    return spec


def losses_figure(study: Study) -> dict[str, Any] | None:
    """Losses of logged steps in the second half of training, those that can be compared in one panel; and of sentences of
    minimal pairs, with how much better the acceptable one is predicted."""
    if len(study.series) > MOST_LINES:
        return None
    charts = [*_step_panels(study.series), *_sentence_panels(study.series)]
    drawn = [chart for chart in charts if chart is not None]
    return with_whole_subtitles(as_figure(side_by_side(drawn))) if drawn else None


def num_bins(values: Mapping[str, Floats]) -> int:
    """As many as twice the cube root of the fewest values of a line (the Rice rule), or bins would be full of noise."""
    return min(MOST_BINS, round(2 * min(map(len, values.values())) ** (1 / 3)))


def whole_number_edges(values: Mapping[str, Floats]) -> Floats:
    """Edges of bins of whole numbers that are alike on a logarithmic axis as far as that goes."""
    every = np.concatenate(list(values.values()))
    return np.unique(np.round(np.geomspace(max(every.min(), 1), every.max() + 1, num_bins(values) + 1)))


def even_edges(values: Mapping[str, Floats]) -> Floats:
    """Edges of equal bins, 0 among them or beyond, over all but the outermost values."""
    every = np.concatenate(list(values.values()))
    tail = _TAIL if len(every) >= _MANY else 0
    low, high = np.percentile(every, [tail, 100 - tail])
    width = (high - low) / num_bins(values) if high > low else 1.0
    return width * np.arange(np.floor(low / width), np.floor(high / width) + 2)


def shares(values: Floats, edges: Floats) -> Floats:
    """(bins,): percent of all values in each; the last bin has its upper edge."""
    counts, _ = np.histogram(values, edges)
    return 100 * counts / len(values)


def _step_panels(series: Sequence[Series]) -> list[Panel | None]:
    by_label = {each.label: each for each in series}
    apart = [[by_label[group.label] for group in members] for members in loss_clusters([each.group for each in series])]
    charts = []
    for members in apart:
        values = {each.label: late_losses(each) for each in members}
        values = {label: losses for label, losses in values.items() if len(losses) >= FEWEST_STEPS}
        if values:
            alone = f"{', '.join(values)} alone; " if len(apart) > 1 else ""
            words = f"{alone}logged steps of the second half of each run, all seeds together"
            title = "Training loss of steps"
            charts.append(_panel(values, labels(series), even_edges, title, words, "Nats per position"))
    return charts


def late_losses(series: Series) -> Floats:
    """The logged losses of the second half of each run's training, by tokens."""
    losses = [
        record.loss
        for run in series.runs
        for record in run.log
        if record.loss is not None and record.tokens > run.log[-1].tokens / 2
    ]
    return np.array(losses, dtype=float)


def _sentence_panels(series: Sequence[Series]) -> list[Panel | None]:
    found, which, left_out = same_sentences(series)
    if not found:
        return []
    more = f"; {left_out}" if left_out else ""
    good = {label: np.concatenate([one.good for one in of_runs]) for label, of_runs in found.items()}
    margins = {label: np.concatenate([one.margins for one in of_runs]) for label, of_runs in found.items()}
    anchors = list(dict.fromkeys(one.tokens_name for of_runs in found.values() for one in of_runs))
    at = f"at {anchors[0]}" if len(anchors) == 1 else "at the last anchor of each"
    return [
        _panel(
            good,
            labels(series),
            even_edges,
            "Loss of acceptable sentences",
            f"of {which}, {at}, all seeds together; less likely ones to the right{more}",
            "Nats a sentence",
            over_all_tasks=True,
        ),
        _panel(
            margins,
            labels(series),
            even_edges,
            "How much likelier the acceptable sentence is",
            f"of {which}, {at}; right of the dashed line the pair is right{more}",
            "Nats",
            mark=0.0,
            over_all_tasks=True,
        ),
    ]


def _panel(
    values: Mapping[str, Floats],
    lines: Sequence[str],
    edges_of: Callable[[Mapping[str, Floats]], Floats],
    title: str,
    words: str,
    x_title: str,
    is_log: bool = False,
    mark: float | None = None,
    over_all_tasks: bool = False,
) -> Panel | None:
    """`values` by line, the finite ones; `mark` is dashed. What is `over_all_tasks` is not drawn on a page whose reader filters
    tasks."""
    finite = {name: is_there for name, every in values.items() if len(is_there := every[np.isfinite(every)])}
    if not finite:
        return None
    num_infinite = sum(map(len, values.values())) - sum(map(len, finite.values()))
    words += f"; not finite and left out: {num_infinite:,}" if num_infinite else ""
    edges = edges_of(finite)
    rows: list[dict[str, Any]] = []
    more = {"over_all_tasks": True} if over_all_tasks else {}
    for name, of_line in finite.items():
        percent = shares(of_line, edges)
        ends = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
        # Steps go on to the upper edge of the last bin.
        rows += [
            {"series": name, "x": round(float(edge), 8), "value": round(float(share), 3), "bin": words_of_bin, **more}
            for edge, share, words_of_bin in zip(edges, [*percent, percent[-1]], [*ends, ends[-1]], strict=True)
        ]
    scale = alt.Scale(type="log", nice=False) if is_log else alt.Scale(zero=False, nice=False)
    x = alt.X(
        "x:Q",
        title=x_title,
        scale=scale,
        axis=alt.Axis(tickCount=6, grid=False, format="~s" if is_log else alt.Undefined),
    )
    y = alt.Y("value:Q", title="%", axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip("series:N", title="of"),
        alt.Tooltip("bin:N", title="from"),
        alt.Tooltip("value:Q", title="%"),
    ]
    step = alt.Chart(alt.InlineData(values=rows)).mark_line(strokeWidth=2, interpolate="step-after")
    layers = [
        step.encode(
            x, y, series_color(lines, legend_of_lines=True), *series_dash(lines, legend_of_lines=True), tooltip=tooltip
        )
    ]
    if mark is not None and edges[0] <= mark <= edges[-1]:
        rule = alt.Chart(alt.InlineData(values=[{"x": mark}])).mark_rule(style="reference", strokeDash=[5, 4])
        layers.insert(0, rule.encode(x))
    subtitle = textwrap.wrap(words, SUBTITLE_CHARACTERS)
    return alt.layer(*layers, title=alt.TitleParams(title, subtitle=subtitle)).properties(width=PANEL_WIDTH, height=220)


def _sequence_length(study: Study) -> float | None:
    """Where all runs have the same."""
    lengths = {run.plan.sequence_length if run.plan else None for run in study.runs}
    return float(length) if len(lengths) == 1 and (length := lengths.pop()) else None


def _told_apart(texts: Mapping[str, tuple[str, Documents]]) -> dict[str, Documents]:
    """By name; two texts of one name have their fingerprint in it."""
    names = [name for name, _ in texts.values()]
    return {
        name if names.count(name) == 1 else f"{name}, {fingerprint[:8]}": documents
        for fingerprint, (name, documents) in texts.items()
    }


def _length_words(lengths: Mapping[str, Floats], mark: float | None) -> str:
    words = "of the text that is trained on"
    if len(lengths) == 1:
        (values,) = lengths.values()
        words += f"; median {np.median(values):,.0f}"
        words += f", {np.mean(values > mark):.0%} longer than a sequence of {mark:,.0f}" if mark else ""
    return f"{words}; dashed: a sequence" if mark else words
