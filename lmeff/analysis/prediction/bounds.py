"""What no early score can beat, and what needs no score at all: ceilings, the floor of the error, rules."""

import numpy as np

from lmeff.analysis.prediction.pairs import KINDS, agreement, agreement_of_cells, pair_masks, sign_hits
from lmeff.analysis.scores.curve_table import DECIMALS, CurveTable, Floats


def others_mean(table: CurveTable) -> tuple[Floats, Floats]:
    """(runs,) each: the mean of the other seeds' targets, NaN of a run that has none, and how many seeds its cell has."""
    known = table.is_finished
    target = np.where(known, np.nan_to_num(table.target), 0.0)
    counts, sums = known @ table.members, target @ table.members
    others = (counts[table.cell] - 1).astype(float)
    usable = known & (others > 0)
    means = np.round((sums[table.cell] - target) / np.maximum(others, 1), DECIMALS)
    return np.where(usable, means, np.nan), counts[table.cell]


def ceiling_rows(table: CurveTable) -> list[dict]:
    """`ceilings`: how often one run orders two cells as their other seeds do, by kind of pair; `seed_means`: how often means
    over seeds would order them alike again, by the normal distribution; `error_floor`: how far a run is from the mean of
    infinitely many others."""
    from scipy.special import ndtr

    others, counts = others_mean(table)
    of_runs, masks = agreement(table, table.target, others), pair_masks(table)
    ones = np.ones((1, table.num_cells))
    rows = []
    for kind in KINDS:
        number = of_runs.num_pairs(masks[kind])
        value = float(of_runs.accuracy(masks[kind], ones)[0]) if number else None
        rows.append({"scope": kind, "value": value, "n": number})
    known = np.isfinite(others)
    seeds = table.is_finished @ table.members
    means = table.cell_means(table.target)
    one, other = np.nonzero(np.triu(masks["within"]) & (seeds[:, None] > 1) & (seeds[None] > 1))
    value = None
    if len(one) and table.seed_sd > 0:
        spread = table.seed_sd * np.sqrt(1 / seeds[one] + 1 / seeds[other])
        value = float(ndtr(np.abs(means[one] - means[other]) / spread).mean())
    rows.append({"scope": "seed_means", "value": value, "n": len(one)})
    away = np.abs(table.target - others)[known] * np.sqrt((counts[known] - 1) / counts[known])
    rows.append({"scope": "error_floor", "value": float(away.mean()) if len(away) else None, "n": int(known.sum())})
    return rows


def rule_rows(table: CurveTable, design: Floats) -> list[dict]:
    """`rules`: the share of pairs of cells of one corpus, by their means, that a rule without any checkpoint orders rightly.
    `design` (cells,) is what design only says of each cell from other corpora; NaN where there are none."""
    means, masks = table.cell_means(table.target), pair_masks(table)
    scores = {
        "bigger_wins": (table.size_of_cell, ("sizes", "within")),
        "larger_vocabulary_wins": (table.vocabulary_of_cell, ("vocabularies", "within")),
        "design_only": (design, ("sizes", "within")),
    }
    rows = []
    for rule, (score, scopes) in scores.items():
        said = agreement_of_cells(score, means)
        for scope in scopes:
            number = said.num_pairs(masks[scope])
            value = float(said.accuracy(masks[scope], np.ones((1, table.num_cells)))[0]) if number else None
            rows.append({"rule": rule, "scope": scope, "value": value, "n": number})
    return rows


def regret_rows(table: CurveTable, column: int, predicted: dict[str, Floats]) -> list[dict]:
    """`regret` at a cut-off: how much better the best recipe of a corpus ended than the one that was predicted to be best (of
    several that were predicted alike, than one of them on average), by means over seeds; `predicted` (cells,) by predictor."""
    means = table.cell_means(table.target)
    rows = []
    for predictor, values in predicted.items():
        for corpus, name in enumerate(table.corpus_names):
            inside = np.flatnonzero((table.corpus_of_cell == corpus) & np.isfinite(values) & np.isfinite(means))
            if len(inside) > 1:
                chosen = inside[values[inside] == values[inside].max()]
                rows.append(
                    {
                        "cutoff_tokens": int(table.anchors[column]),
                        "group": name,
                        "predictor": predictor,
                        "value": float(means[inside].max() - means[chosen].mean()),
                    }
                )
    return rows


def share_ordered(first: Floats, second: Floats) -> float:
    """How many pairs two scores order alike, ties one half; NaN without a pair."""
    hits, counts = sign_hits(first, second)
    return float(hits.sum() / counts.sum()) if counts.sum() else float("nan")
