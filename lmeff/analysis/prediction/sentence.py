"""What the numbers mean, in a few plain sentences, with what cannot be claimed."""

import numpy as np

from lmeff.analysis.prediction.bootstrap import FEWEST_CELLS
from lmeff.analysis.prediction.pairs import pair_masks
from lmeff.analysis.prediction.unfinished import MANY_CELLS
from lmeff.analysis.scores.curve_table import CurveTable
from lmeff.quantities import format_tokens

EARLY_SHARE = 0.05
"""Of the target: where the sentence looks at an early score."""
FAR_APART = 3.0
"""Corpora that differ by more seed deviations than this make pooled correlations high by themselves."""
COIN = 0.55
"""Up to this share of pairs, a coin does as well; above it, an interval that holds 1/2 leaves it open."""


def caveats(table: CurveTable) -> list[str]:
    """Lines that say what these data cannot show."""
    cells = int((table.is_finished @ table.members > 0).sum())
    notes = []
    if cells < FEWEST_CELLS:
        notes.append(
            f"{cells} finished recipes: below {FEWEST_CELLS} no interval is given, and nothing here is certain"
        )
    if cells < MANY_CELLS:
        notes.append(f"{cells} finished recipes are too few to say with what probability the best one stays the best")
    if table.target_label == "final":
        notes += _of_final(table)
    if table.has_batches and len(set(table.log_batch_of_cell)) > 1:
        steps = 2 ** (table.log_batch_of_cell.max() - table.log_batch_of_cell.min())
        notes.append(
            f"tokens per step differ up to {steps:g} times: at the same tokens, runs have taken other numbers of steps"
        )
    if (table.is_finished @ table.members <= 1).all():
        notes.append("one seed of every recipe: neither ceilings nor the floor of the error are known")
    return notes


def _of_final(table: CurveTable) -> list[str]:
    """What the score called `final` is: of runs of ours the last anchor, elsewhere that of a selected checkpoint."""
    ends = np.broadcast_to(table.final_tokens, table.is_finished.shape)[table.is_finished]
    notes = []
    if (ends == 0).any():
        notes.append(
            "'final' is the checkpoint that was selected as the best one, its tokens unknown: no later point of the curve"
        )
    if (ends > 0).any():
        first, last = map(format_tokens, (ends[ends > 0].min(), ends.max()))
        where = (
            f"at {last}"
            if first == last
            else f"at {first} to {last}: runs that end earlier are compared with longer ones"
        )
        notes.append(f"'final' is the last anchor of each run, {where}")
    return notes


def sentence(table: CurveTable, document: dict) -> str:
    """The summary; it says nothing that the rows of `document` do not."""
    parts = [_stopping(table, document), _early(table, document), _pooled(table, document)]
    return " ".join(filter(None, parts))


def _row(rows: list[dict], **wanted: object) -> dict | None:
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _percent(row: dict) -> str:
    """`93% [79, 100]`"""
    text = f"{100 * row['value']:.0f}%"
    return text if row["low"] is None else f"{text} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def _decisions(document: dict) -> list[dict]:
    return [
        row
        for row in document["agreement"]
        if (row["scope"], row["statistic"]) == ("seed_means", "decision_accuracy") and row["value"] is not None
    ]


def _enough(table: CurveTable, rows: list[dict], ceiling: float | None) -> dict:
    """The first cut-off from which on all reach the ceiling; where there is none, or few recipes could get there by chance, the
    last one up to half of the tokens."""
    cutoffs = [row["cutoff_tokens"] for row in rows]
    first = len(rows)
    while ceiling is not None and first and rows[first - 1]["value"] >= ceiling:
        first -= 1
    cells = int((table.is_finished @ table.members > 0).sum())
    if first < len(rows) and cutoffs[first] < table.target_tokens and cells >= FEWEST_CELLS:
        return rows[first]
    return rows[max(int(np.searchsorted(cutoffs, table.target_tokens / 2, "right")) - 1, 0)]


def _times_fewer_steps(table: CurveTable) -> float:
    """By how much tokens per step differ within a corpus, where they rise with the size there; 1 where they do not."""
    size, batch = table.size_of_cell, table.log_batch_of_cell
    pairs = pair_masks(table)["sizes"]
    larger = pairs & (size[:, None] > size[None])
    more = (batch[:, None] - batch[None])[larger]
    return float(2 ** more.max()) if len(more) and more.min() >= 0 else 1.0


def _stopping(table: CurveTable, document: dict) -> str:
    rows = _decisions(document)
    if not rows:
        return "No corpus has two finished recipes, so that there is no pair to rank within one."
    ceiling = (_row(document["ceilings"], scope="seed_means") or {}).get("value")
    row = _enough(table, rows, ceiling)
    saved = next(one["flops_share"] for one in document["saved"] if one["cutoff_tokens"] == row["cutoff_tokens"])
    tokens, target = format_tokens(row["cutoff_tokens"]), format_tokens(table.target_tokens)
    regrets = [
        one["value"]
        for one in document["regret"]
        if (one["cutoff_tokens"], one["predictor"]) == (row["cutoff_tokens"], "last_value")
    ]
    seeds = table.is_finished @ table.members
    usual = round(float(np.median(seeds[seeds > 0])))
    bound = (
        f"means of {usual} seeds allow about {100 * ceiling:.0f}%"
        if ceiling is not None
        else "what seeds allow is not known"
    )
    regret = f", mean regret {np.mean(regrets):.3f}" if regrets else ""
    return (
        f"Stopping at {tokens} of {target} {table.unit} ({100 * saved:.0f}% saved) would have ranked {_percent(row)}"
        f" of the pairs within a corpus as in the end ({bound}){regret}."
    )


def _early(table: CurveTable, document: dict) -> str:
    rows = _decisions(document)
    row = next((row for row in rows if row["cutoff_tokens"] >= EARLY_SHARE * table.target_tokens), None)
    sizes = _row(document["rules"], rule="bigger_wins", scope="sizes")
    knowing = (
        f"knowing only sizes ranks {100 * sizes['value']:.0f}% of the {sizes['n']} size pairs with no checkpoint"
        if sizes and sizes["value"] is not None
        else ""
    )
    if row is None or row["cutoff_tokens"] >= table.target_tokens:
        return f"{knowing[:1].upper()}{knowing[1:]}." if knowing else ""
    text = f"At {format_tokens(row['cutoff_tokens'])} it ranks {_percent(row)}"
    is_coin = row["low"] is not None and row["low"] <= 0.5 <= row["high"]
    if is_coin:
        text += ", no better than a coin" if row["value"] <= COIN else ", not surely better than a coin"
    by_size = _row(document["agreement"], cutoff_tokens=row["cutoff_tokens"], scope="sizes")
    fewer = _times_fewer_steps(table)
    if is_coin and by_size and (by_size["value"] or 1) < 0.5 and fewer > 1:
        text += f", because large models have taken {fewer:g} times fewer steps"
    return f"{text}; {knowing}." if knowing else f"{text}."


def _pooled(table: CurveTable, document: dict) -> str:
    """A warning where corpora are so far apart that a pooled correlation says nothing of what is within them."""
    means = table.cell_means(table.target)
    known = np.flatnonzero(np.isfinite(means))
    corpora = [means[known[table.corpus_of_cell[known] == corpus]] for corpus in range(len(table.corpus_names))]
    centers = np.array([values.mean() for values in corpora if len(values)])
    if len(centers) < 2 or not table.seed_sd > 0:
        return ""
    apart = np.abs(centers[:, None] - centers[None])[np.triu_indices(len(centers), 1)].mean() / table.seed_sd
    pairs = len(known) * (len(known) - 1) // 2
    across = pairs - sum(len(values) * (len(values) - 1) // 2 for values in corpora)
    early = next(
        (
            row
            for row in document["agreement"]
            if row["scope"] == "pooled"
            and row["statistic"] == "spearman"
            and row["cutoff_tokens"] >= EARLY_SHARE * table.target_tokens
        ),
        None,
    )
    if apart < FAR_APART or early is None or early["value"] is None:
        return ""
    return (
        f"The pooled correlation of {early['value']:.2f} at {format_tokens(early['cutoff_tokens'])} is misleading: {across} of"
        f" {pairs} pairs compare corpora that are {apart:.0f} seed deviations apart."
    )
