"""When curves get somewhere: tokens or FLOPs to a threshold, and from which anchor on a curve is close to its end."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lmeff.analysis.one_table.seed_curves import ABOUT, APART, KEYS, MADE, codes_of
from lmeff.analysis.scores.observation import is_less_better
from lmeff.analysis.statistics.over_seeds import Floats, mean_intervals, resamples, weighted_ends
from lmeff.analysis.statistics.tidy_table import WEIGHTS

THRESHOLD = 0.75
"""Half way from chance to perfect on minimal pairs."""
WITHIN = 0.01
"""So far from its end a curve is close to it."""
AXES = {"tokens": "nominal_tokens", "flops": "flops"}
_COUNTED = {"num_reached": "Int64", "num_at_first": "Int64"}
"""Whole numbers, or null."""


class SeedCurves(NamedTuple):
    """One metric of one task, of a recipe whose seeds were measured alike."""

    about: dict[str, Any]
    along: Floats
    """(anchors,): tokens or FLOPs, rising, of the anchors after the start that all seeds have; there may be none."""
    values: Floats
    """(seeds, anchors)"""
    lows: Floats
    """(seeds, anchors): lower ends of the intervals over examples; NaN where there is none. As `highs`."""
    highs: Floats


def seed_values(table: pd.DataFrame, axis: str = "tokens") -> Iterator[SeedCurves]:
    """The scores of the tidy table, of which more is better, curve by curve; the share of ties is none of them. Where FLOPs are
    not known, a recipe has no curve over them."""
    along_all = table[AXES[axis]].to_numpy(float, na_value=np.nan)
    scores = table[(along_all > 0) & table["nominal_tokens"].notna() & ~table["level"].isin(["loss", WEIGHTS])]
    columns = [scores[name].to_numpy(float, na_value=np.nan) for name in (AXES[axis], "value", "low", "high")]
    anchors, seeds = scores["nominal_tokens"].to_numpy(np.int64), pd.factorize(scores["seed"])[0]
    curve_of = codes_of(scores, [*KEYS, *APART])
    order = np.argsort(curve_of, kind="stable")
    curves = np.split(order, np.flatnonzero(np.diff(curve_of[order])) + 1) if len(order) else []
    facts = scores[[*KEYS, *MADE, *ABOUT]].iloc[[rows[0] for rows in curves]].to_dict("records")
    for rows, about in zip(curves, facts, strict=True):
        if about["metric"] == "ties" or is_less_better(about["task"], about["metric"]):
            continue
        column_of, column = np.unique(anchors[rows], return_inverse=True)
        of_seed, row = np.unique(seeds[rows], return_inverse=True)
        along, values, lows, highs = (np.full((len(of_seed), len(column_of)), np.nan) for _ in columns)
        for wide, numbers in zip((along, values, lows, highs), columns, strict=True):
            wide[row, column] = numbers[rows]
        shared = ~np.isnan(values).any(0)
        yield SeedCurves(about, along[:, shared].mean(0), values[:, shared], lows[:, shared], highs[:, shared])


def reached_at(values: Floats, along: Floats, threshold: float, scale: str = "log") -> Floats:
    """(curves,): from where on curves (curves, anchors) stay at or above the threshold to their last anchor: infinite where
    they do not. Between two anchors a curve is a straight line along the axis or, with `log`, its logarithm; one that is there
    at its first anchor may have been there before."""
    is_above = values >= threshold
    stays = np.flip(np.cumprod(np.flip(is_above, 1), 1), 1).astype(bool)
    first = np.argmax(stays, axis=1)
    found = np.where(stays.any(1), along[first], np.inf)
    crossing = np.flatnonzero(stays.any(1) & (first > 0))
    axis = np.log(along) if scale == "log" else along
    before, after = values[crossing, first[crossing] - 1], values[crossing, first[crossing]]
    share = (threshold - before) / (after - before)
    place = axis[first[crossing] - 1] + share * (axis[first[crossing]] - axis[first[crossing] - 1])
    found[crossing] = np.exp(place) if scale == "log" else place
    return found


def close_from(values: Floats, along: Floats, within: float) -> Floats:
    """(curves,): the first anchor from which on curves (curves, anchors) are no further than `within` from their last value."""
    is_close = np.abs(values - values[:, -1:]) <= within + 1e-12
    stays = np.flip(np.cumprod(np.flip(is_close, 1), 1), 1).astype(bool)
    return along[np.argmax(stays, axis=1)]


def acquisition(
    table: pd.DataFrame, threshold: float = THRESHOLD, axis: str = "tokens", scale: str = "log"
) -> pd.DataFrame:
    """A row for each recipe, task and metric, what is reached first coming first: where the mean over seeds reaches the
    threshold for good (`reached`, null: never).

    `low` to `high` is the 95% t interval over seeds of the logarithm of their own, where there are two or more and every one
    reaches it after the first anchor: of one that is there at `first`, it is not known when (`num_at_first` seeds);
    `bootstrap_low` to `bootstrap_high` the bootstrap over seeds of the mean curve. Of one seed `low` to `high` is where the
    ends of its intervals over examples reach the threshold. An end that is null is not reached by `last`, and one that
    equals `first` may be earlier. Anchors count that all seeds have; where there is none, all but `num_seeds`
    is null.
    """
    rows = []
    for curves in seed_values(table, axis):
        if not len(curves.along):
            unknown = ("reached", "low", "high", "interval_over", "bootstrap_low", "bootstrap_high", "first", "last")
            about = curves.about | {"axis": axis, "threshold": threshold, "num_seeds": len(curves.values)}
            rows.append(about | dict.fromkeys([*unknown, *_COUNTED]))
            continue
        reached = float(reached_at(curves.values.mean(0, keepdims=True), curves.along, threshold, scale)[0])
        of_seeds = reached_at(curves.values, curves.along, threshold, scale)
        num_seeds, num_reached = len(of_seeds), int(np.isfinite(of_seeds).sum())
        num_at_first = int((of_seeds == curves.along[0]).sum())
        ends = bootstrap = (np.nan, np.nan)
        over = None
        if num_seeds > 1:
            weights, probabilities = resamples(num_seeds)
            drawn = reached_at(weights @ curves.values, curves.along, threshold, scale)
            bootstrap = tuple(weighted_ends(drawn[None, :], probabilities)[0])
            if num_reached == num_seeds and not num_at_first:
                ends, over = tuple(np.exp(mean_intervals(np.log(of_seeds)[None, :])[0, 1:3])), "seeds"
        elif not np.isnan(curves.lows).any():
            outer = np.concatenate([curves.highs, curves.lows])
            ends, over = tuple(reached_at(outer, curves.along, threshold, scale)), "examples"
        rows.append(
            curves.about
            | {
                "axis": axis,
                "threshold": threshold,
                "reached": reached,
                "low": ends[0],
                "high": ends[1],
                "interval_over": over,
                "bootstrap_low": bootstrap[0],
                "bootstrap_high": bootstrap[1],
                "num_seeds": num_seeds,
                "num_reached": num_reached,
                "num_at_first": num_at_first,
                "first": curves.along[0],
                "last": curves.along[-1],
            }
        )
    table = _ordered(rows, "reached")
    return table.astype(_COUNTED) if rows else table


def closeness(table: pd.DataFrame, within: float = WITHIN, axis: str = "tokens") -> pd.DataFrame:
    """A row for each recipe, task and metric: from which anchor on (`close_from`) the mean over seeds is within `within` of
    its last value, with the bootstrap interval over seeds, and the earliest and the latest of the seeds, each beside its own
    end. All null where seeds have no anchor in common."""
    rows = []
    for curves in seed_values(table, axis):
        if not len(curves.along):
            unknown = ("close_from", "bootstrap_low", "bootstrap_high", "earliest_seed", "latest_seed", "last")
            about = curves.about | {"axis": axis, "within": within, "num_seeds": len(curves.values)}
            rows.append(about | dict.fromkeys(unknown))
            continue
        of_seeds = close_from(curves.values, curves.along, within)
        bootstrap = (np.nan, np.nan)
        if len(of_seeds) > 1:
            weights, probabilities = resamples(len(of_seeds))
            drawn = close_from(weights @ curves.values, curves.along, within)
            bootstrap = tuple(weighted_ends(drawn[None, :], probabilities)[0])
        rows.append(
            curves.about
            | {
                "axis": axis,
                "within": within,
                "close_from": float(close_from(curves.values.mean(0, keepdims=True), curves.along, within)[0]),
                "bootstrap_low": bootstrap[0],
                "bootstrap_high": bootstrap[1],
                "earliest_seed": float(of_seeds.min()),
                "latest_seed": float(of_seeds.max()),
                "num_seeds": len(of_seeds),
                "last": curves.along[-1],
            }
        )
    return _ordered(rows, "close_from")


def _ordered(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as a table, the recipes in their order, each with the smallest first; null where something is not reached."""
    if not rows:
        return pd.DataFrame(columns=[*KEYS, name])
    table = pd.DataFrame(rows).replace([np.inf, -np.inf], np.nan)
    place = pd.Categorical(table["recipe"], categories=list(dict.fromkeys(table["recipe"])), ordered=True)
    return table.assign(_place=place).sort_values(["_place", name], kind="stable").drop(columns="_place")
