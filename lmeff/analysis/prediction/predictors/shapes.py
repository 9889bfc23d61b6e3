"""A curve by itself: what a Bayesian average over about a hundred shapes of learning curves says of its end.

y(t) = f - d psi(t) + noise, with psi 0 at the target and 1 at the first anchor: scaled at the cut-off, curves of few anchors
make matrices singular. For each shape f and d are normal, so that all is in closed form; families weigh the same.
"""

from collections.abc import Iterator

import numpy as np

from lmeff.analysis.scores.curve_table import Floats

LEVEL = (0.6, 0.3)
"""Mean and standard deviation of the score at the target, before anything is seen."""
RISE = (0.05, 0.1)
"""Of the rise from the first anchor to the target."""
NOISES = (0.0034, 0.0068, 0.0136, 0.03)
"""Standard deviations that one checkpoint may have, equally likely; .0068 on BLiMP."""


def shape_families(anchors: Floats, target: float) -> Iterator[Floats]:
    """(shapes, anchors) of every family: falling values, not yet scaled, with the target in the last column."""
    x = np.append(anchors, target) / target
    exponents, rates = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5), (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 2.0)
    yield np.array([x**-c for c in exponents])
    yield np.array([(x + b) ** -c for b in (0.01, 0.03, 0.1, 0.3) for c in (0.25, 0.5, 1.0, 2.0, 4.0)])
    yield -np.log(x)[None]
    yield np.array([1 / np.log(1 + a * x) for a in (3.0, 10.0, 100.0, 1000.0, 10000.0)])
    yield np.array([np.exp(-x / r) for r in rates])
    yield np.array([np.exp(-((x / r) ** k)) for r in (0.02, 0.05, 0.1, 0.2, 0.5) for k in (0.4, 0.6, 1.5, 2.5)])
    yield np.array([1 / (1 + (x / r) ** k) for r in (0.02, 0.05, 0.1, 0.2, 0.5) for k in (0.5, 1.0, 1.5, 2.0, 3.0)])


def average_of_shapes(anchors: Floats, target: float, scores: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (runs,) of the score at the target, from scores (runs, anchors) up to a cut-off. A missing
    score is left out; runs without any give NaN. The deviation has the noise of the target's own checkpoint in it."""
    shapes, weights = [], []
    for family in shape_families(anchors, target):
        fallen = family - family[:, -1:]
        first = fallen[:, :1]
        usable = (first[:, 0] > 1e-9) & np.isfinite(fallen).all(1)
        shapes.append((fallen / np.where(first > 1e-9, first, 1.0))[usable, :-1])
        weights.append(np.full(usable.sum(), 1 / max(usable.sum(), 1)))
    psi, log_weights = np.concatenate(shapes), np.log(np.concatenate(weights))
    mean, deviation = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    known = ~np.isnan(scores)
    for pattern in np.unique(known, axis=0):
        runs = np.flatnonzero((known == pattern).all(1))
        if pattern.any():
            mean[runs], deviation[runs] = _average(psi[:, pattern], log_weights, scores[np.ix_(runs, pattern)])
    return mean, deviation


def _average(psi: Floats, log_weights: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Of runs with the same anchors: shapes (shapes, anchors), scores (runs, anchors)."""
    evidence, means, variances = [], [], []
    away = scores - (LEVEL[0] - RISE[0] * psi)[:, None, :]  # (shapes, runs, anchors)
    for noise in NOISES:
        covariance = LEVEL[1] ** 2 + RISE[1] ** 2 * psi[:, :, None] * psi[:, None, :]
        covariance = covariance + noise**2 * np.eye(psi.shape[1])
        solved = np.linalg.solve(covariance, np.swapaxes(away, 1, 2))  # (shapes, anchors, runs)
        quadratic = np.einsum("kra,kar->kr", away, solved)
        evidence.append(log_weights[:, None] - 0.5 * (quadratic + np.linalg.slogdet(covariance)[1][:, None]))
        means.append(LEVEL[0] + LEVEL[1] ** 2 * solved.sum(1))
        one = LEVEL[1] ** 2 * np.ones(psi.shape[1])
        spread = LEVEL[1] ** 2 - np.linalg.solve(covariance, np.tile(one, (len(psi), 1))[:, :, None])[:, :, 0] @ one
        variances.append(np.broadcast_to((spread + noise**2)[:, None], quadratic.shape))
    logs = np.concatenate(evidence)
    share = np.exp(logs - logs.max(0))
    share /= share.sum(0)
    mean = (share * np.concatenate(means)).sum(0)
    second = (share * (np.concatenate(variances) + np.concatenate(means) ** 2)).sum(0)
    return mean, np.sqrt(np.maximum(second - mean**2, 1e-12))
