"""Partial pooling: a regression in which coefficients and effects of corpora are normal, with deviations learned from the data.

    g = m + sum_f x_f b_f + u_corpus + e,    b_f ~ N(0, tau_f^2), u ~ N(0, s_u^2), e ~ N(0, s^2)

Logarithms of the deviations have normal priors; the posterior mode is found by Fisher scoring, for many sets of observations at
once, from their sums of squares and products alone.
"""

from dataclasses import dataclass, replace

import numpy as np

from lmeff.analysis.scores.curve_table import Floats

LOG_SD_SPREAD = 0.7
"""Standard deviation of the prior of the log of a standard deviation."""
INTERCEPT_VARIANCE = 10.0
"""So wide that it says nothing of scores between 0 and 1."""
RESOLUTION = 1e-4
"""Scores are no more exact than this. Gains that the columns fit exactly would leave no noise, and nothing to divide by."""
_MOST_STEPS = 60
_SMALL_GRADIENT = 1e-4


@dataclass(frozen=True)
class Sums:
    """What a regression needs of its observations, for a batch of sets of them."""

    products: Floats
    """(batch, p, p): Z'Z with columns intercept, features, corpora."""
    moments: Floats
    """(batch, p): Z'g"""
    squares: Floats
    """(batch,): g'g, with a little noise in every gain (`RESOLUTION`)"""
    counts: Floats
    """(batch,)"""

    @classmethod
    def of(cls, columns: Floats, gains: Floats, groups: Floats) -> "Sums":
        """Of the observations of each group: columns (runs, p), gains (runs,), groups (runs, batch) of zeros and ones."""
        products = np.einsum("rb,rp,rq->bpq", groups, columns, columns, optimize=True)
        squares = groups.T @ (gains**2 + RESOLUTION**2)
        return cls(products, groups.T @ (columns * gains[:, None]), squares, groups.sum(0))

    def together(self, chosen: Floats) -> "Sums":
        """Of unions of the sets: chosen (unions, batch) of zeros and ones."""
        products = (chosen @ self.products.reshape(len(self.counts), -1)).reshape(-1, *self.products.shape[1:])
        return Sums(products, chosen @ self.moments, chosen @ self.squares, chosen @ self.counts)


@dataclass(frozen=True)
class Posterior:
    """Of the intercept, coefficients and corpus effects, at the given deviations."""

    log_sds: Floats
    """(batch, features + 2): of coefficients, corpus effects and noise."""
    mean: Floats
    """(batch, p)"""
    covariance: Floats
    """(batch, p, p)"""
    noise: Floats
    """(batch,): variance of one observation."""
    log_sds_covariance: Floats | None = None
    """(batch, features + 2, features + 2): how uncertain the deviations are themselves, where they were fitted."""

    def of(self, chosen: slice) -> "Posterior":
        """Of some of the batch."""
        uncertain = None if self.log_sds_covariance is None else self.log_sds_covariance[chosen]
        return Posterior(
            self.log_sds[chosen], self.mean[chosen], self.covariance[chosen], self.noise[chosen], uncertain
        )

    def level_share(self, columns: Floats, num_levels: int, noises: Floats | float = 1.0) -> Floats:
        """(batch, runs): how much of the predicted variance comes from the level of a run's corpus, intercept and effect
        together; the last `num_levels` columns are the corpora."""
        level = columns.copy()
        level[:, 1:-num_levels] = 0
        spread = _squared(columns, self.covariance) + self.noise[:, None] * noises
        return _squared(level, self.covariance) / spread

    def predict(self, columns: Floats, noises: Floats | float = 1.0) -> tuple[Floats, Floats]:
        """Means and standard deviations (batch, runs) of new observations with the given columns (runs, p); of weighted sums
        of observations `noises` (runs,) are their sums of squared weights."""
        spread = _squared(columns, self.covariance)
        return self.mean @ columns.T, np.sqrt(spread + self.noise[:, None] * noises)


def _squared(columns: Floats, matrices: Floats) -> Floats:
    """(batch, runs): x'Mx of every row x of columns (runs, p) with every matrix (batch, p, p)."""
    return ((columns @ matrices) * columns).sum(2)


def fit(sums: Sums, num_features: int, log_prior: Floats) -> Posterior:
    """The posterior mode of the deviations of every set, and what follows from them; `log_prior` (features + 2) is where their
    logarithms are expected, of each set or of all."""
    log_prior = np.broadcast_to(log_prior, (len(sums.counts), num_features + 2))
    log_sds = log_prior.copy()
    value, gradient, information = _objective(sums, num_features, log_sds, log_prior)
    damping = np.zeros(len(value))
    for _ in range(_MOST_STEPS):
        if np.abs(gradient).max() < _SMALL_GRADIENT:
            break
        damped = information + (damping[:, None] * np.ones(log_sds.shape[1]))[:, :, None] * np.eye(log_sds.shape[1])
        step = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(1), 1e-12))[:, None]
        tried = _objective(sums, num_features, log_sds + step, log_prior)
        better = tried[0] <= value + 1e-10
        log_sds = np.where(better[:, None], log_sds + step, log_sds)
        value = np.where(better, tried[0], value)
        gradient = np.where(better[:, None], tried[1], gradient)
        information = np.where(better[:, None, None], tried[2], information)
        damping = np.where(better, damping / 10, np.maximum(10 * damping, 1.0))
    uncertain: Floats = np.linalg.inv(information).astype(float)
    return replace(posterior(sums, num_features, log_sds), log_sds_covariance=uncertain)


def predict_widely(
    fitted: Posterior, sums: Sums, columns: Floats, noises: Floats | float = 1.0
) -> tuple[Floats, Floats]:
    """As `Posterior.predict`, with the uncertainty of the deviations in the spread: the mean over points on both sides of the
    mode that have their covariance (cubature; Arasaratnam and Haykin 2009)."""
    mean, _ = fitted.predict(columns, noises)
    assert fitted.log_sds_covariance is not None
    roots = np.linalg.cholesky(fitted.log_sds_covariance)
    size = roots.shape[1]
    second = np.zeros_like(mean)
    for direction in range(size):
        for sign in (-1, 1):
            log_sds = fitted.log_sds + sign * np.sqrt(size) * roots[:, :, direction]
            there, sd = posterior(sums, size - 2, log_sds).predict(columns, noises)
            second += (sd**2 + (there - mean) ** 2) / (2 * size)
    return mean, np.sqrt(second)


def posterior(sums: Sums, num_features: int, log_sds: Floats) -> Posterior:
    """The posterior at given deviations (batch, features + 2)."""
    variances, noise = _variances(log_sds, num_features, sums.moments.shape[1])
    covariance, _ = _covariance(sums, variances, noise)
    mean = (covariance @ sums.moments[:, :, None])[:, :, 0] / noise[:, None]
    return Posterior(log_sds, mean, covariance, noise)


def _variances(log_sds: Floats, num_features: int, num_columns: int) -> tuple[Floats, Floats]:
    """Prior variances of all columns (batch, p), and of the noise (batch,)."""
    variances = np.empty((len(log_sds), num_columns))
    variances[:, 0] = INTERCEPT_VARIANCE
    variances[:, 1 : 1 + num_features] = np.exp(2 * log_sds[:, :num_features])
    variances[:, 1 + num_features :] = np.exp(2 * log_sds[:, num_features])[:, None]
    return variances, np.exp(2 * log_sds[:, -1])


def _covariance(sums: Sums, variances: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Posterior covariance (batch, p, p) and the log determinant of what was inverted, scaled so that zeros do no harm."""
    roots = np.sqrt(variances)
    outer = roots[:, :, None] * roots[:, None, :]
    scaled = sums.products * outer / noise[:, None, None] + np.eye(roots.shape[1])
    return np.linalg.inv(scaled) * outer, np.linalg.slogdet(scaled)[1]


def _objective(sums: Sums, num_features: int, log_sds: Floats, log_prior: Floats) -> tuple[Floats, Floats, Floats]:
    """Minus the log posterior of the deviations (batch,), its gradient, and the information that Fisher scoring takes."""
    num_columns = sums.moments.shape[1]
    variances, noise = _variances(log_sds, num_features, num_columns)
    covariance, log_determinant = _covariance(sums, variances, noise)
    mean = (covariance @ sums.moments[:, :, None])[:, :, 0] / noise[:, None]
    explained = (sums.moments * mean).sum(1)
    away = (log_sds - log_prior) / LOG_SD_SPREAD
    value = 0.5 * (
        sums.counts * np.log(noise) + log_determinant + (sums.squares - explained) / noise + (away**2).sum(1)
    )
    shrunk = covariance @ sums.products / noise[:, None, None]  # A S / s^2
    residual = sums.squares - 2 * explained + ((sums.products @ mean[:, :, None])[:, :, 0] * mean).sum(1)
    by_column = 1 - (mean**2 + np.einsum("bpp->bp", covariance)) / variances
    gradient = np.column_stack(
        [
            by_column[:, 1 : 1 + num_features],
            by_column[:, 1 + num_features :].sum(1),
            sums.counts - residual / noise - np.einsum("bpp->b", shrunk),
        ]
    )
    information = _information(sums, num_features, variances, noise, shrunk)
    prior = np.eye(log_sds.shape[1]) / LOG_SD_SPREAD**2
    return value, gradient + away / LOG_SD_SPREAD, information + prior


def _information(sums: Sums, num_features: int, variances: Floats, noise: Floats, shrunk: Floats) -> Floats:
    """1/2 tr(V^-1 dV_k V^-1 dV_l) for the log deviations, from Z'V^-1Z, Z'V^-2Z and tr V^-2 (Woodbury)."""
    num_columns = variances.shape[1]
    inner = (np.eye(num_columns) - shrunk) / noise[:, None, None]  # V^-1 Z = Z inner
    once = sums.products @ inner
    twice = np.swapaxes(inner, 1, 2) @ sums.products @ inner
    trace = (
        sums.counts - 2 * np.einsum("bpp->b", shrunk) + (shrunk * np.swapaxes(shrunk, 1, 2)).sum((1, 2))
    ) / noise**2
    of_pairs = 2 * variances[:, :, None] * variances[:, None, :] * once**2
    of_noise = 2 * variances * noise[:, None] * np.einsum("bpp->bp", twice)
    group = np.zeros((num_columns, num_features + 1))
    group[np.arange(1, 1 + num_features), np.arange(num_features)] = 1
    group[1 + num_features :, num_features] = 1
    size = num_features + 2
    information = np.empty((len(noise), size, size))
    information[:, :-1, :-1] = np.swapaxes(group[None], 1, 2) @ of_pairs @ group[None]
    information[:, :-1, -1] = information[:, -1, :-1] = of_noise @ group
    information[:, -1, -1] = 2 * noise**2 * trace
    return information
