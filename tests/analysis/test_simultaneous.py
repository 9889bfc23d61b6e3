"""Rankings over seeds: by hand, beside SciPy's own Tukey test, and on simulated studies."""

import numpy as np
import pytest
from scipy.stats import studentized_range, tukey_hsd

from lmeff.analysis.statistics.simultaneous import Ranking, by_level, differences_from, rank_cases

RISING = np.array([[1.0, 1.1, 1.3], [2.0, 2.2, 2.1], [2.1, 2.4, 2.2], [1.2, 0.9, 1.4]])
"""Four cases of three seeds."""


def as_values(numbers: np.ndarray) -> dict[str, dict[int, float]]:
    return {
        f"case {row}": {seed: float(one) for seed, one in enumerate(of_case)} for row, of_case in enumerate(numbers)
    }


def simulated(num_seeds: int, effect: float, seed_effect: float = 0.0, num_studies: int = 100) -> list[np.ndarray]:
    """Studies of six cases with seeds of standard deviation 1, the first case better by `effect`."""
    numbers = np.random.default_rng(20_241_126 + num_seeds)
    studies = numbers.normal(size=(num_studies, 6, num_seeds)) + seed_effect * numbers.normal(
        size=(num_studies, 1, num_seeds)
    )
    studies[:, 0] -= effect
    return list(studies)


def winners(studies: list[np.ndarray], paired: bool) -> list[str]:
    found = (rank_cases(as_values(study), paired).winner for study in studies)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("paired", [False, True])
def test_without_an_effect_there_is_no_winner(num_seeds: int, paired: bool) -> None:
    assert len(winners(simulated(num_seeds, 0.0), paired)) <= 5


@pytest.mark.parametrize(("num_seeds", "at_least"), [(3, 70), (5, 90)])
@pytest.mark.parametrize("paired", [False, True])
def test_an_effect_of_four_standard_deviations_is_found(num_seeds: int, at_least: int, paired: bool) -> None:
    found = winners(simulated(num_seeds, 4.0), paired)
    assert len(found) >= at_least
    assert set(found) == {"case 0"}


def test_pairs_see_through_what_seeds_have_in_common() -> None:
    studies = simulated(3, 4.0, seed_effect=10.0)
    assert len(winners(studies, paired=True)) >= 70
    assert len(winners(studies, paired=False)) == 0


def test_one_seed_never_wins() -> None:
    assert winners(simulated(1, 100.0), paired=False) == winners(simulated(1, 100.0), paired=True) == []
    alone = {"one": {0: 0.0}, "other": {0: 9.0, 1: 9.1, 2: 9.2}, "third": {0: 8.0, 1: 8.1, 2: 8.3}}
    ranking = rank_cases(alone, paired=False)
    assert ranking.rows[0].name == "one"
    assert all(row.differs for row in ranking.rows[1:])
    assert ranking.winner is None
    assert rank_cases({"only": {0: 1.0, 1: 2.0}}, paired=False).winner is None


def by_name(ranking: Ranking) -> dict[str, tuple]:
    return {row.name: (row.behind, row.low, row.high) for row in ranking.rows}


@pytest.mark.medium
def test_unpaired_intervals_are_those_of_tukey() -> None:
    ranking = rank_cases(as_values(RISING), paired=False)
    theirs = tukey_hsd(*RISING).confidence_interval()
    assert ranking.rows[0].name == "case 0"
    assert (ranking.rows[0].behind, ranking.rows[0].low, ranking.rows[0].high) == (0.0, None, None)
    for case in (1, 2, 3):
        wanted = (RISING[case].mean() - RISING[0].mean(), theirs.low[case, 0], theirs.high[case, 0])
        assert by_name(ranking)[f"case {case}"] == pytest.approx(wanted, rel=1e-6)
    assert [row.differs for row in ranking.rows] == [False, False, True, True]
    assert ranking.winner is None  # case 3 may be as good
    from_one = differences_from(as_values(RISING), "case 1", paired=False)
    assert list(from_one) == ["case 0", "case 2", "case 3"]
    for case in (0, 2, 3):
        wanted = (RISING[case].mean() - RISING[1].mean(), theirs.low[case, 1], theirs.high[case, 1])
        assert from_one[f"case {case}"] == pytest.approx(wanted, rel=1e-6)
    assert differences_from({"one": {0: 1.0}, "other": {0: 3.0}}, "one", paired=True) == {"other": (2.0, None, None)}


@pytest.mark.medium
def test_so_are_those_of_unequal_numbers_of_seeds() -> None:
    values = as_values(RISING)
    del values["case 1"][0], values["case 3"][1]
    ranking = rank_cases(values, paired=False)
    theirs = tukey_hsd(*(list(one.values()) for one in values.values())).confidence_interval()
    assert by_name(ranking)["case 1"][1:] == pytest.approx((theirs.low[1, 0], theirs.high[1, 0]), rel=1e-6)
    assert by_name(ranking)["case 3"][1:] == pytest.approx((theirs.low[3, 0], theirs.high[3, 0]), rel=1e-6)


def test_paired_intervals_by_hand() -> None:
    """The residuals of a two-way layout, with (4 - 1) x (3 - 1) degrees of freedom."""
    ranking = rank_cases(as_values(RISING), paired=True)
    residuals = RISING - RISING.mean(1, keepdims=True) - RISING.mean(0, keepdims=True) + RISING.mean()
    sd = np.sqrt((residuals**2).sum() / 6)
    half = studentized_range.ppf(0.95, 4, 6) * sd / np.sqrt(3)
    behind = RISING[2].mean() - RISING[0].mean()
    assert (ranking.seed_sd, ranking.degrees_of_freedom, ranking.is_paired) == (pytest.approx(sd), 6, True)
    assert by_name(ranking)["case 2"] == pytest.approx((behind, behind - half, behind + half), rel=1e-6)


def test_a_missing_seed_of_a_pair_is_made_up_for() -> None:
    """Without noise: a case that lacks the easy seed is not called worse for it."""
    exact = {"a": {0: 1.0, 1: 5.0, 2: 2.0}, "b": {0: 2.0, 1: 6.0, 2: 3.0}, "c": {1: 4.5}}
    ranking = rank_cases(exact, paired=True)
    assert [row.name for row in ranking.rows] == ["c", "a", "b"]
    assert [row.behind for row in ranking.rows] == pytest.approx([0.0, 0.5, 1.5])
    assert ranking.rows[1].mean == pytest.approx(8 / 3)
    assert (ranking.winner, ranking.rows[1].low) == (None, None)  # all seeds say the same


def test_cases_without_a_common_seed_are_not_paired() -> None:
    ranking = rank_cases({"a": {0: 1.0, 1: 1.2}, "b": {2: 1.1, 3: 1.4}}, paired=True)
    assert not ranking.is_paired
    assert ranking.degrees_of_freedom == 2


def test_higher_may_be_better() -> None:
    ranking = rank_cases(as_values(-RISING), paired=False, lower_is_better=False)
    lower = rank_cases(as_values(RISING), paired=False)
    assert [row.name for row in ranking.rows] == [row.name for row in lower.rows]
    assert by_name(ranking)["case 2"] == pytest.approx(by_name(lower)["case 2"])
    assert ranking.rows[0].mean == -lower.rows[0].mean


def test_ties_keep_their_order_and_nobody_wins() -> None:
    ranking = rank_cases({"b": {0: 1.0, 1: 2.0}, "a": {0: 1.0, 1: 2.0}}, paired=True)
    assert [row.name for row in ranking.rows] == ["b", "a"]
    assert ranking.winner is None


@pytest.mark.parametrize("lower_is_better", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_so_do_means_that_differ_by_the_order_of_summation(paired: bool, lower_is_better: bool) -> None:
    """Which of them is the least is another one with another version of a library, or on another machine."""
    numbers = np.random.default_rng(1)
    for _ in range(20):
        three = numbers.normal(3.5, 0.1, 3).tolist()
        turns = {name: dict(enumerate(three[turn:] + three[:turn])) for turn, name in enumerate("cab")}
        values = {"z": dict.fromkeys(range(3), 9.0), **turns, "y": dict.fromkeys(range(3), 1.0)}
        ranking = rank_cases(values, paired, lower_is_better)
        names = [row.name for row in ranking.rows]
        assert names == (["y", "c", "a", "b", "z"] if lower_is_better else ["z", "c", "a", "b", "y"])
        assert len({row.behind for row in ranking.rows[1:4]}) == 1
        assert [row.behind for row in rank_cases(turns, paired, lower_is_better).rows] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "said"), [({"a": {0: float("nan")}}, "a, seed 0: nan"), ({"a": {}}, "a has no value")]
)
def test_what_is_no_number_is_refused(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rank_cases(values, paired=False)


def test_levels_of_an_axis() -> None:
    values = {"x1": {0: 1.0, 1: 2.0}, "x2": {0: 3.0, 1: 4.0}, "y1": {0: 5.0}, "y2": {0: 7.0, 1: 8.0}}
    levels = by_level(values, {"x1": "x", "x2": "x", "y1": "y", "y2": "y"})
    assert levels == {"x": {0: 2.0, 1: 3.0}, "y": {0: 6.0}}
