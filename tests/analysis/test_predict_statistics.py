"""The statistics of `lmeff predict` against SciPy, literal loops and planted effects."""

import itertools

import numpy as np
import pytest
from analysis.synthetic_curves import MILLION, synthetic_table
from scipy import optimize, stats

from lmeff.analysis.prediction.agreement import agreement_rows
from lmeff.analysis.prediction.bootstrap import resamples
from lmeff.analysis.prediction.bounds import ceiling_rows, rule_rows
from lmeff.analysis.prediction.orders import pair_rows
from lmeff.analysis.prediction.predictors import gaussian, shapes, stack
from lmeff.analysis.prediction.predictors.forecasts import Cutoff, PooledModel
from lmeff.analysis.prediction.protocols import Trial, error_rows, make_splits


def find(rows: list[dict], **wanted: object) -> dict:
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


@pytest.fixture(scope="module")
def small():
    """Three corpora, six cells each, two seeds; with ties and a missing score."""
    table = synthetic_table(3, num_corpora=3, num_cells=6, num_seeds=2)
    table.scores[4, 1] = np.nan
    table.scores[:, 1] = np.round(table.scores[:, 1], 2)
    return table


def literal_agreement(pairs: list[tuple[int, int]], early, late) -> float:
    """The definition, word for word."""
    said = [np.sign(early[i] - early[j]) * np.sign(late[i] - late[j]) for i, j in pairs]
    return float(np.mean([1.0 if sign > 0 else 0.5 if sign == 0 else 0.0 for sign in said]))


@pytest.mark.medium
def test_agreement_is_what_scipy_and_literal_loops_say(small):
    rows = agreement_rows(small, 1)
    known = np.flatnonzero(np.isfinite(small.scores[:, 1]))
    early, late = small.scores[:, 1], small.target
    assert find(rows, scope="pooled", statistic="spearman")["value"] == pytest.approx(
        stats.spearmanr(early[known], late[known])[0]
    )
    assert find(rows, scope="pooled", statistic="kendall")["value"] == pytest.approx(
        stats.kendalltau(early[known], late[known])[0]
    )
    assert find(rows, scope="pooled", statistic="r2")["value"] == pytest.approx(
        stats.linregress(early[known], late[known]).rvalue ** 2
    )
    by_corpus = [known[small.corpus[known] == corpus] for corpus in range(3)]
    within = np.mean([stats.spearmanr(early[inside], late[inside])[0] for inside in by_corpus])
    assert find(rows, scope="within", statistic="spearman")["value"] == pytest.approx(within)
    pairs = [(i, j) for i, j in itertools.combinations(known, 2) if small.cell[i] != small.cell[j]]
    row = find(rows, scope="pooled", statistic="decision_accuracy")
    assert row["value"] == pytest.approx(literal_agreement(pairs, early, late))
    assert row["n"] == len(pairs)
    sizes = [
        (i, j)
        for i, j in pairs
        if small.corpus[i] == small.corpus[j] and small.size_of_cell[small.cell[i]] != small.size_of_cell[small.cell[j]]
    ]
    row = find(rows, scope="sizes", statistic="decision_accuracy")
    assert (row["value"], row["n"]) == (pytest.approx(literal_agreement(sizes, early, late)), len(sizes))
    seeds = [(i, j) for i, j in itertools.combinations(known, 2) if small.cell[i] == small.cell[j]]
    row = find(rows, scope="seeds", statistic="decision_accuracy")
    assert (row["value"], row["n"]) == (pytest.approx(literal_agreement(seeds, early, late)), len(seeds))


def test_partial_correlation_is_that_of_least_squares_residuals(small):
    known = np.flatnonzero(np.isfinite(small.scores[:, 1]))
    given = np.column_stack(
        [*(small.corpus[known] == corpus for corpus in range(3)), small.log_batch_of_cell[small.cell[known]]]
    ).astype(float)
    left = [
        values - given @ np.linalg.lstsq(given, values, rcond=None)[0]
        for values in (small.scores[known, 1], small.target[known])
    ]
    row = find(agreement_rows(small, 1), scope="partial", statistic="partial_r")
    assert row["value"] == pytest.approx(np.corrcoef(*left)[0, 1])


@pytest.mark.medium
def test_the_bootstrap_repeats_whole_cells(small):
    """One resample by hand, with every run of a cell as often as the cell was drawn."""
    row = find(agreement_rows(small, 2), scope="pooled", statistic="spearman")
    draws = []
    for times in resamples(small.num_cells)[:300]:
        runs = np.repeat(np.arange(small.num_runs), times[small.cell].astype(int))
        draws.append(stats.spearmanr(small.scores[runs, 2], small.target[runs])[0])
    assert row["low"] == pytest.approx(np.percentile(draws, 2.5), abs=0.05)
    assert row["high"] == pytest.approx(np.percentile(draws, 97.5), abs=0.02)
    assert row["low"] < row["value"] < row["high"]


def test_no_interval_below_eight_cells():
    table = synthetic_table(0, num_corpora=1, num_cells=7)
    rows = agreement_rows(table, 0)
    assert all(row["low"] is None and row["high"] is None for row in rows)
    assert find(rows, scope="pooled", statistic="spearman")["value"] is not None
    many = agreement_rows(synthetic_table(0, num_corpora=1, num_cells=8), 0)
    assert find(many, scope="pooled", statistic="spearman")["low"] is not None


@pytest.mark.medium
def test_scores_that_say_nothing_agree_as_a_coin_does():
    """Ends dealt out anew within every corpus: corpora still differ, so only the pooled agreement stays."""
    table = synthetic_table(1, num_corpora=6, num_cells=10, num_seeds=1)
    deal = np.random.default_rng(0)
    target = table.target.copy()
    for corpus in range(6):
        inside = np.flatnonzero(table.corpus == corpus)
        target[inside] = target[deal.permutation(inside)]
    rows = agreement_rows(table.with_target("dealt", target, 8 * MILLION), 2)
    within = find(rows, scope="within", statistic="decision_accuracy")
    assert within["low"] < 0.5 < within["high"]
    assert find(rows, scope="pooled", statistic="spearman")["value"] > 0.6


def test_ceilings_and_the_floor_by_hand():
    table = synthetic_table(5, num_corpora=2, num_cells=4, num_seeds=3)
    rows = ceiling_rows(table)
    others = np.array(
        [np.mean([table.target[j] for j in range(24) if j != i and table.cell[j] == table.cell[i]]) for i in range(24)]
    )
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(24), 2)
        if table.cell[i] != table.cell[j] and table.corpus[i] == table.corpus[j]
    ]
    within = find(rows, scope="within")
    assert (within["value"], within["n"]) == (
        pytest.approx(literal_agreement(pairs, table.target, others)),
        len(pairs),
    )
    floor = np.mean(np.abs(table.target - others)) * np.sqrt(2 / 3)
    assert find(rows, scope="error_floor") == {"scope": "error_floor", "value": pytest.approx(floor), "n": 24}
    assert find(ceiling_rows(synthetic_table(5, num_seeds=1)), scope="error_floor")["value"] is None


def test_bigger_wins_is_right_where_it_was_planted():
    table = synthetic_table(0, num_corpora=2, num_cells=6, noise=0)
    row = find(rule_rows(table.with_target("x", table.size_of_cell[table.cell], 8 * MILLION), np.full(12, np.nan)),
               rule="bigger_wins", scope="sizes")  # fmt: skip
    assert (row["value"], row["n"]) == (1.0, 24)


def dense_log_posterior(log_sds, columns, gains, num_features, log_prior) -> float:
    variances = np.concatenate(
        [
            [gaussian.INTERCEPT_VARIANCE],
            np.exp(2 * log_sds[:num_features]),
            np.full(columns.shape[1] - 1 - num_features, np.exp(2 * log_sds[num_features])),
        ]
    )
    covariance = columns * variances @ columns.T + np.exp(2 * log_sds[-1]) * np.eye(len(gains))
    likelihood = stats.multivariate_normal(np.zeros(len(gains)), covariance).logpdf(gains)
    rounding = 0.5 * len(gains) * gaussian.RESOLUTION**2 / np.exp(2 * log_sds[-1])
    return float(likelihood - rounding - 0.5 * np.sum(((log_sds - log_prior) / gaussian.LOG_SD_SPREAD) ** 2))


def test_partial_pooling_is_the_dense_normal_distribution_at_its_posterior_mode():
    table = synthetic_table(2, num_corpora=3, num_cells=5, num_seeds=2)
    model = PooledModel(Cutoff(table, 1), "pooling")
    mask = (table.cell != 4).astype(float)
    columns, gains = model.columns[mask > 0], model.gain[mask > 0]
    log_prior = np.log([0.5, 0.5, 0.5, 0.01, 0.009])
    fitted = gaussian.fit(model.sums(mask[None]), 3, log_prior)
    mode = fitted.log_sds[0]
    there = dense_log_posterior(mode, columns, gains, 3, log_prior)
    for step in 1e-3 * np.eye(5):
        ahead, behind = (dense_log_posterior(at, columns, gains, 3, log_prior) for at in (mode + step, mode - step))
        assert max(ahead, behind) < there
        assert (ahead - behind) / 2e-3 == pytest.approx(0, abs=1e-3)
    variances = np.array([10.0, *np.exp(2 * fitted.log_sds[0, :3]), *[np.exp(2 * fitted.log_sds[0, 3])] * 3])
    noise = np.exp(2 * fitted.log_sds[0, 4])
    inverse = np.linalg.inv(columns * variances @ columns.T + noise * np.eye(len(gains)))
    new = model.columns[table.cell == 4]
    mean, sd = fitted.predict(model.columns)
    assert mean[0, table.cell == 4] == pytest.approx(new * variances @ columns.T @ inverse @ gains, abs=1e-9)
    across = new * variances @ columns.T
    spread = (new**2) @ variances + noise - np.einsum("ij,jk,ik->i", across, inverse, across)
    assert sd[0, table.cell == 4] == pytest.approx(np.sqrt(spread), rel=1e-4)


def test_the_average_of_shapes_is_bayes_rule_over_all_of_them():
    anchors, target = np.array([1.0, 2.0, 4.0]), 8.0
    scores = np.array([[0.55, 0.60, 0.63]])
    total, mean = 0.0, 0.0
    for family in shapes.shape_families(anchors, target):
        fall = (family[:, 0] - family[:, -1])[:, None]
        psi = ((family - family[:, -1:]) / fall)[fall[:, 0] > 1e-9]  # others are flat
        for shape, noise in itertools.product(psi, shapes.NOISES):
            design = np.column_stack([np.ones(4), -shape])
            prior = np.diag([shapes.LEVEL[1] ** 2, shapes.RISE[1] ** 2])
            center = design @ np.array([shapes.LEVEL[0], shapes.RISE[0]])
            covariance = design @ prior @ design.T + noise**2 * np.eye(4)
            seen = covariance[:3, :3]
            weight = stats.multivariate_normal(center[:3], seen).pdf(scores[0]) / len(psi)
            total += weight
            mean += weight * (center[3] + covariance[3, :3] @ np.linalg.solve(seen, scores[0] - center[:3]))
    assert shapes.average_of_shapes(anchors, target, scores)[0][0] == pytest.approx(mean / total, abs=1e-9)


def test_a_curve_of_one_shape_is_continued():
    anchors = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    curve = 0.75 - 0.15 * (anchors / 64 + 0.03) ** -0.5 / (1 / 64 + 0.03) ** -0.5
    end = 0.75 - 0.15 * 1.03**-0.5 / (1 / 64 + 0.03) ** -0.5
    scores = np.array([curve, np.where(anchors == 4, np.nan, curve), np.full(6, np.nan)])
    mean, _ = shapes.average_of_shapes(anchors, 64.0, scores)
    assert mean[:2] == pytest.approx(end, abs=0.007)
    assert end - curve[-1] > 0.012
    assert np.isnan(mean[2])


def test_stack_weights_are_the_best_ones_that_are_allowed():
    errors = np.random.default_rng(0).normal(size=(40, 4)) * (1.0, 0.8, 3.0, 0.7) + [[0.0, 0.5, 0.0, -0.5]]
    products = errors.T @ errors
    (found,) = stack._weights(products[None], np.array([40]))
    ridge = np.diag([0, 1, 1, 1]) * products[0, 0] / 40 / stack.WEIGHT_SD**2
    best = optimize.minimize(
        lambda weights: weights @ (products + ridge) @ weights,
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        tol=1e-12,
    )
    assert found == pytest.approx(best.x, abs=1e-4)
    assert found.sum() == pytest.approx(1)
    (alone,) = stack._weights(np.zeros((1, 4, 4)), np.array([0]))
    assert alone.tolist() == [1, 0, 0, 0]


def test_what_is_left_out_in_rehearsals_is_the_situation_that_is_predicted():
    table = synthetic_table(0, num_corpora=2, num_cells=4)
    everything = np.arange(8)
    assert stack._left_out(table, everything, 0, 3) == [[0]]
    assert stack._left_out(table, everything, 0, 0) == [[0, 1, 2, 3]]
    assert stack._left_out(table, everything, 0, 1) == [[0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert stack._left_out(table, np.array([0, 4, 5]), 0, 1) == []  # nothing of its corpus to stand in for one


def test_no_protocol_knows_what_it_predicts():
    table = synthetic_table(0, num_corpora=3, num_cells=4)
    splits = make_splits(table)
    assert not (splits.known.astype(bool) & splits.tested).any()
    for protocol, known, tested, beside in zip(
        splits.protocol, splits.known > 0, splits.tested, splits.num_beside, strict=True
    ):
        (corpus,) = set(table.corpus[tested])
        inside = set(table.cell[known & (table.corpus == corpus)])
        assert len(inside) == beside == {0: 3, 1: 1, 2: 0}[protocol]
        assert not inside & set(table.cell[tested])
        assert len(set(table.corpus[known]) - {corpus}) == 2


def test_ends_that_are_not_known_do_not_matter():
    """Other ends of what is held out change no prediction of it."""
    table = synthetic_table(0, num_corpora=3, num_cells=4)
    other = table.target.copy()
    other[table.cell == 5] += [0.3, -0.1, 0.2]
    first, second = (
        Trial(one, 1, make_splits(one, ("P1",))) for one in (table, table.with_target("other", other, 8 * MILLION))
    )
    split = 5
    for name, forecast in first.forecasts.items():
        again = second.forecasts[name]
        inside = table.cell == 5
        assert again.mean[split, inside] == pytest.approx(forecast.mean[split, inside], abs=1e-7, nan_ok=True), name
        assert again.sd[split, inside] == pytest.approx(forecast.sd[split, inside], abs=1e-7, nan_ok=True), name


def test_planted_size_effects_are_learned_on_other_corpora():
    """Without noise a corpus that nobody finished is predicted to the point, where the mean gain is far off."""
    table = synthetic_table(0, num_corpora=5, num_cells=6, num_seeds=1, noise=0)
    rows = error_rows(Trial(table, 0, make_splits(table)))
    assert find(rows, protocol="P3", predictor="pooling_ranks")["mae"] < 0.002
    assert find(rows, protocol="P3", predictor="stack")["mae"] < 0.002
    assert find(rows, protocol="P3", predictor="mean_gain")["mae"] > 0.01
    assert find(rows, protocol="P3", predictor="stack")["skill"] > 0.8
    assert not [row for row in rows if row["protocol"] == "P3" and row["predictor"] == "same_corpus_gain"]
    pairs = pair_rows(Trial(table, 0, make_splits(table)))
    corrected = find(pairs, protocol="P3", predictor="pooling_ranks", scope="within")
    assert corrected["value"] > find(pairs, protocol="P3", predictor="last_value", scope="within")["value"] + 0.1
    assert corrected["value"] > 0.95


def test_bias_and_baselines_by_hand():
    table = synthetic_table(4, num_corpora=2, num_cells=4, num_seeds=2)
    rows = error_rows(Trial(table, 2, make_splits(table)))
    gain = table.target - table.scores[:, 2]
    off = [gain[table.cell != table.cell[run]].mean() - gain[run] for run in range(16)]
    row = find(rows, protocol="P1", predictor="mean_gain")
    assert row["mae"] == pytest.approx(np.mean(np.abs(off)))
    assert row["bias"] == pytest.approx(np.mean(off), abs=1e-12)
    same = [
        gain[(table.cell != table.cell[run]) & (table.corpus == table.corpus[run])].mean() - gain[run]
        for run in range(16)
    ]
    assert find(rows, protocol="P1", predictor="same_corpus_gain")["mae"] == pytest.approx(np.mean(np.abs(same)))
    assert find(rows, protocol="P1", predictor="last_value")["bias"] == pytest.approx(-gain.mean())
    best = min(row["mae"] for row in rows if row["protocol"] == "P1" and row["predictor"] in
               ("last_value", "mean_gain", "same_corpus_gain", "design_only"))  # fmt: skip
    row = find(rows, protocol="P1", predictor="stack")
    assert row["skill"] == pytest.approx(1 - row["mae"] / best)


@pytest.mark.medium
def test_intervals_cover_what_they_say_on_480_synthetic_cells():
    covered: dict[tuple[str, str], list[float]] = {}
    for seed in range(4):
        table = synthetic_table(seed)
        for row in error_rows(Trial(table, 1, make_splits(table, ("P1",)))):
            for level in ("coverage80", "coverage95"):
                covered.setdefault((row["predictor"], level), []).append(row[level])
    for predictor in ("pooling", "stack"):
        assert np.mean(covered[predictor, "coverage80"]) == pytest.approx(0.80, abs=0.03)
        assert np.mean(covered[predictor, "coverage95"]) == pytest.approx(0.95, abs=0.03)
