"""The statistics of `lmeff compare` against other libraries, literal loops and simulations."""

import math
from itertools import permutations, product

import numpy as np
import pytest
import scipy.stats

from lmeff.analysis.comparison.compare import corrected
from lmeff.analysis.comparison.corrections import benjamini_hochberg, holm
from lmeff.analysis.comparison.estimates import Row
from lmeff.analysis.comparison.over_items import (
    adjusted_interval,
    differences_of,
    flipped_differences,
    over_items,
    sign_flip_p,
)
from lmeff.analysis.comparison.over_seeds import over_both, over_seeds
from lmeff.analysis.comparison.rows import independent

HALVES = np.array([0.0, 0.5, 1.0])


def random_p_values(seed: int) -> list[float]:
    generator = np.random.default_rng(seed)
    return [*generator.uniform(size=12) ** 3, 0.02, 0.02, 1.0]  # with equal ones


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_step_down_procedure(seed):
    """Literally: reject while the k-th smallest of m is at most alpha / (m - k + 1)."""
    p_values = random_p_values(seed)
    adjusted = holm(p_values)
    for alpha in np.linspace(0.001, 0.999, 211):
        rejected, order = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
        for k, number in enumerate(order):
            if p_values[number] > alpha / (len(p_values) - k):
                break
            rejected.add(number)
        assert rejected == {number for number, p in enumerate(adjusted) if p <= alpha}


@pytest.mark.parametrize("seed", range(5))
def test_benjamini_hochberg_is_the_step_up_procedure(seed):
    p_values = random_p_values(seed)
    assert benjamini_hochberg(p_values) == pytest.approx(scipy.stats.false_discovery_control(p_values), abs=1e-15)
    adjusted = benjamini_hochberg(p_values)
    for alpha in np.linspace(0.001, 0.999, 211):
        ordered = sorted(p_values)
        largest = max((p for k, p in enumerate(ordered, 1) if p <= alpha * k / len(ordered)), default=-1)
        assert {number for number, p in enumerate(adjusted) if p <= alpha} == {
            number for number, p in enumerate(p_values) if p <= largest
        }


def test_one_or_no_p_value_is_corrected_too():
    assert holm([0.03]) == benjamini_hochberg([0.03]) == [0.03]
    assert holm([]) == benjamini_hochberg([]) == []


def test_a_comparison_without_a_test_counts_in_the_correction():
    """Three paradigms were compared, of which one says the same with every seed."""
    rows = [
        Row("suite", f"paradigm {number}", "paradigm", "acc", 0.5, 0.5, 0.0, seeds=seeds)
        for number, seeds in enumerate((over_seeds([0.1, 0.2], [0.3, 0.5], True), over_seeds([0.1, 0.2], [0.1, 0.2], True),
                                        over_seeds([0.1, 0.2, 0.3], [0.3, 0.4, 0.6], True)))
    ]  # fmt: skip
    assert rows[1].seeds is None
    first, silent, last = corrected(rows)
    assert (first.seeds.p_holm, last.seeds.p_holm) == pytest.approx((2 * first.seeds.p, 3 * last.seeds.p))
    assert (first.seeds.p_bh, last.seeds.p_bh) == pytest.approx((3 * first.seeds.p / 2, 3 * last.seeds.p))
    assert silent.seeds is None


# ---- over items


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (40, 71), (0, 300), (900, 1000)])
def test_of_two_models_it_is_mcnemars_exact_test(only_a, only_b):
    a = np.array([[1.0] * only_a + [0.0] * only_b + [1.0] * 20 + [0.0] * 5])
    b = np.array([[0.0] * only_a + [1.0] * only_b + [1.0] * 20 + [0.0] * 5])
    found = differences_of("task", a, b, np.arange(a.shape[1]))
    expected = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert sign_flip_p(found.sums) == pytest.approx(expected, rel=1e-9)
    assert (found.num_a_better, found.num_b_better) == (only_a, only_b)
    assert found.difference == pytest.approx((only_b - only_a) / a.shape[1])


@pytest.mark.parametrize("seed", range(20))
def test_p_over_items_is_that_of_all_sign_flips(seed):
    """With ties, several pairs an item and several seeds a side."""
    generator = np.random.default_rng(seed)
    num_a, num_b, num_pairs = generator.integers(1, 4), generator.integers(1, 4), 14
    a, b = (generator.choice(HALVES, size=(number, num_pairs)) for number in (num_a, num_b))
    items = generator.integers(0, 9, num_pairs)
    by_pair = b.mean(axis=0) - a.mean(axis=0)
    by_item = [by_pair[items == item].sum() for item in sorted(set(items))]
    flips = [
        abs(sum(map(math.prod, zip(signs, by_item, strict=True)))) for signs in product((-1, 1), repeat=len(by_item))
    ]
    expected = np.mean(np.array(flips) >= abs(sum(by_item)) - 1e-9)
    found = differences_of("task", a, b, items)
    assert sign_flip_p(found.sums) == pytest.approx(expected, abs=1e-12)
    assert found.difference == pytest.approx(by_pair.mean())
    assert found.by_item.mean() == pytest.approx(by_pair.mean())
    assert found.num_pairs == num_pairs


def test_long_distributions_are_convolved_as_exactly():
    generator = np.random.default_rng(0)
    sums = np.repeat([1, 2, 3], [5000, 4000, 3000]) * generator.choice([-1, 1], 12_000, p=[0.505, 0.495])
    distribution = np.ones(1)
    for size, count in ((1, 5000), (2, 4000), (3, 3000)):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = scipy.stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, spaced)
    away = np.abs(2 * np.arange(len(distribution)) - (len(distribution) - 1)) >= abs(sums.sum())
    assert sign_flip_p(sums) == pytest.approx(distribution[away].sum(), rel=1e-7)
    assert 0.001 < sign_flip_p(sums) < 0.9


def test_random_flips_agree_with_the_exact_test():
    generator = np.random.default_rng(1)
    a, b = (generator.choice(HALVES, size=(2, 60)) for _ in "ab")
    one = differences_of("task", a, b, np.arange(60) // 2)
    flipped = flipped_differences(one, generator)
    assert flipped.mean() == pytest.approx(0, abs=4 * flipped.std() / math.sqrt(len(flipped)))
    assert flipped.var() == pytest.approx(((one.sums * one.unit / 60) ** 2).sum(), rel=0.06)
    assert (np.abs(flipped) >= abs(one.difference) - 1e-12).mean() == pytest.approx(sign_flip_p(one.sums), abs=0.02)


def test_the_interval_of_one_paradigm_is_bonett_and_prices():
    """As in their paper: one added to both discordant counts, two to the number of pairs; here with the sample variance."""
    only_a, only_b, n = 6, 15, 60
    values = np.array([-1.0] * only_a + [1.0] * only_b + [0.0] * (n - only_a - only_b))
    first, second = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    variance = (first + second - (second - first) ** 2) / (n + 1)
    stderr, low, high = adjusted_interval([values])
    assert stderr == pytest.approx(math.sqrt(variance))
    assert (low, high) == pytest.approx(
        (second - first - 1.959964 * stderr, second - first + 1.959964 * stderr), abs=1e-12
    )


def test_equal_answers_have_an_interval_and_p_one():
    scores = np.random.default_rng(0).choice(HALVES, size=(1, 100))
    same = over_items([differences_of("task", scores, scores, np.arange(100))], {})
    assert same.p == 1
    assert -0.05 < same.low < 0 < same.high < 0.05


def test_the_interval_of_means_over_seeds_says_that_it_is_wide():
    one, two = (np.random.default_rng(0).choice(HALVES, size=(number, 100)) for number in (1, 2))
    alone, means = (over_items([differences_of("task", a, one, np.arange(100))], {}) for a in (one, two))
    assert "wider than p says for means over seeds" not in alone.interval
    assert "wider than p says for means over seeds" in means.interval


def simulated(generator, difficulty, qualities, sizes, ties=0.02):
    """Scores of one model a quality: shape (models, pairs) for each paradigm of these sizes."""
    found = []
    for size in sizes:
        hardness = generator.normal(0, difficulty, size)
        margin = hardness + np.array(qualities)[:, None] + generator.normal(0, 0.7, (len(qualities), size))
        scores = (margin > 0).astype(float)
        scores[generator.random(scores.shape) < ties] = 0.5
        found.append(scores)
    return found


@pytest.mark.medium
@pytest.mark.parametrize("sizes", [(40,), (200,), (6,) * 12, (20, 30, 40, 50) * 3])
def test_intervals_over_items_cover_the_truth_in_19_of_20_studies(sizes):
    """Items are drawn anew in each study; the truth is the mean over very many of them."""
    generator, covered, num_studies = np.random.default_rng(len(sizes)), 0, 600
    many = simulated(np.random.default_rng(9), 1.0, (0.8, 1.1), (2_000_000,))[0]
    truth = float(many[1].mean() - many[0].mean())
    for _ in range(num_studies):
        paradigms = [
            differences_of(str(number), scores[:1], scores[1:], np.arange(scores.shape[1]))
            for number, scores in enumerate(simulated(generator, 1.0, (0.8, 1.1), sizes))
        ]
        _, low, high = adjusted_interval([one.by_item for one in paradigms])
        covered += low <= truth <= high
    assert 0.925 <= covered / num_studies <= 0.98


@pytest.mark.medium
def test_pairs_of_one_item_are_one_sample():
    """Copies of every pair say nothing new: the interval stays, and it would shrink if they counted."""
    generator = np.random.default_rng(0)
    (scores,) = simulated(generator, 1.0, (0.8, 1.1), (300,))
    once = differences_of("task", scores[:1], scores[1:], np.arange(300))
    four = np.tile(scores, 4)
    copied = differences_of("task", four[:1], four[1:], np.tile(np.arange(300), 4))
    assert adjusted_interval([copied.by_item]) == pytest.approx(adjusted_interval([once.by_item]))
    assert sign_flip_p(copied.sums) == sign_flip_p(once.sums)
    counted = differences_of("task", four[:1], four[1:], np.arange(1200))
    assert adjusted_interval([counted.by_item])[0] < 0.6 * adjusted_interval([once.by_item])[0]


@pytest.mark.medium
@pytest.mark.parametrize(("sizes", "num_studies"), [((250,), 400), ((80, 81, 82), 200)])
def test_p_values_over_items_are_uniform_where_models_do_not_differ(sizes, num_studies):
    generator, p_values = np.random.default_rng(4), []
    for _ in range(num_studies):
        paradigms = [
            differences_of(str(number), scores[:2], scores[2:], np.arange(scores.shape[1]))
            for number, scores in enumerate(simulated(generator, 1.0, (0.5, 0.5, 0.5, 0.5), sizes))
        ]
        flipped = {one.task: flipped_differences(one, generator) for one in paradigms} if len(sizes) > 1 else {}
        p_values.append(over_items(paradigms, flipped).p)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) <= 3 * math.sqrt(0.05 * 0.95 / num_studies)


# ---- over seeds


@pytest.mark.parametrize("seed", range(5))
def test_seeds_against_scipy(seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(0.70, 0.01, 4), generator.normal(0.71, 0.02, 4)
    paired, welch = scipy.stats.ttest_rel(b, a), scipy.stats.ttest_ind(b, a, equal_var=False)
    for found, expected in ((over_seeds(a, b, True), paired), (over_seeds(a, b, False), welch)):
        interval = expected.confidence_interval()
        assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
        assert found.degrees_of_freedom == pytest.approx(expected.df)
        assert found.n == 4
    flips = scipy.stats.permutation_test((b, a), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples")
    splits = scipy.stats.permutation_test((b, a), lambda x, y, axis: x.mean(axis) - y.mean(axis))
    assert over_seeds(a, b, True).p_permutation == pytest.approx(flips.pvalue)
    assert over_seeds(a, b, False).p_permutation == pytest.approx(splits.pvalue)


@pytest.mark.parametrize(("num_a", "num_b", "paired"), [(3, 3, True), (5, 5, True), (3, 3, False), (2, 4, False)])
def test_the_smallest_p_is_that_of_sides_that_do_not_overlap(num_a, num_b, paired):
    a, b = np.arange(num_a) / 100, 10 + np.arange(num_b) / 50
    found = over_seeds(a, b, paired)
    assert found.p_permutation == pytest.approx(found.p_smallest)
    together = [*a, *b]
    if paired:
        expected = 2 / 2**num_a
    else:
        means = {tuple(sorted(order[:num_a])) for order in permutations(range(num_a + num_b))}
        distances = [abs(np.mean(np.delete(together, chosen)) - np.mean(np.take(together, chosen))) for chosen in means]
        expected = np.mean(np.array(distances) >= b.mean() - a.mean() - 1e-9)
    assert found.p_smallest == pytest.approx(expected)


def test_permutations_of_many_seeds_are_drawn():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, 16), generator.normal(0.5, 1, 16)
    for paired in (True, False):
        found = over_seeds(a, b, paired)
        assert found.p_permutation == pytest.approx(found.p, abs=0.02)
        assert found.p_smallest == pytest.approx(1 / 20_001)


def test_what_seeds_cannot_say():
    assert over_seeds([0.7], [0.8, 0.9], False) is None
    assert over_seeds([0.7, 0.8], [0.8, 0.9], True) is None  # by the same for both seeds
    assert over_seeds([0.7, 0.8], [0.7, 0.8], True) is None  # nor by how much others would differ
    assert over_seeds([0.7, 0.7], [0.7, 0.7], False) is None


@pytest.mark.medium
def test_over_seeds_and_items_covers_other_runs_on_other_items():
    """Runs and items are both drawn anew in each study, with what a run and an item have to do with one another."""
    generator, num_studies = np.random.default_rng(0), 400
    many = [simulated(generator, 1.0, generator.normal(mean, 0.15, 400), (4000,))[0].mean() for mean in (0.8, 1.1)]
    truth, covered = many[1] - many[0], dict.fromkeys(("items", "seeds", "both"), 0)
    for _ in range(num_studies):
        qualities = [*generator.normal(0.8, 0.15, 4), *generator.normal(1.1, 0.15, 4)]
        (scores,) = simulated(generator, 1.0, qualities, (150,))
        one = differences_of("task", scores[:4], scores[4:], np.arange(150))
        items, seeds = over_items([one], {}), over_seeds(one.a, one.b, False)
        found = {"items": items, "seeds": seeds, "both": over_both(one.difference, items, seeds)}
        for name, estimate in found.items():
            covered[name] += estimate.low <= truth <= estimate.high
    shares = {name: number / num_studies for name, number in covered.items()}
    assert 0.93 <= shares["both"] <= 0.995
    assert shares["items"] < 0.85  # which says nothing of other runs


# ---- results without items


def test_independent_shares_have_newcombes_interval():
    """56 of 70 and 48 of 80: [.0524, .3339] in table II of Newcombe 1998, method 10."""
    means, numbers = (48 / 80, 56 / 70), (80, 70)
    errors = [math.sqrt(p * (1 - p) / (n - 1)) for p, n in zip(means, numbers, strict=True)]
    found = independent("acc", means, errors, 75)  # how many there are is in the standard errors, as far as it differs
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=0.0005)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(0.2 / math.hypot(*errors)))
    assert independent("score", (0.5, 0.6), (0.03, 0.04), 10).low == pytest.approx(0.1 - 1.959964 * 0.05)
    assert independent("score", (0.5, 0.5), (0.0, 0.0), 10).p == 1
