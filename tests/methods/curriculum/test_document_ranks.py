"""Which documents come first, beside a literal slow choice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.methods.curriculum.selection import extended, first_documents, ranked

SCORES = st.lists(st.floats(0, 9, allow_nan=False), min_size=1, max_size=40)


@given(SCORES, st.booleans())
def test_documents_are_ranked_by_rounded_scores_and_then_by_number(scores: list[float], hardest_first: bool) -> None:
    left, wanted = [(round(score * 10_000), number) for number, score in enumerate(scores)], []
    while left:
        best = left[0]
        for one in left:
            better = one[0] > best[0] if hardest_first else one[0] < best[0]
            if better:
                best = one
        wanted.append(best[1])
        left.remove(best)
    assert ranked(np.array(scores), hardest_first).tolist() == wanted


@given(st.lists(st.integers(2, 50), min_size=1, max_size=40), st.integers(1, 20), st.integers(0, 99))
def test_a_share_of_tokens_is_reached_by_the_fewest_documents(lengths: list[int], percent: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(lengths))
    chosen, tokens = [], 0
    for document in order.tolist():
        if 20 * tokens >= percent * sum(lengths):
            break
        chosen.append(document)
        tokens += lengths[document]
    assert first_documents(order, np.array(lengths), percent / 20, False).tolist() == chosen


@pytest.mark.parametrize(("share", "count"), [(0.05, 2), (0.5, 24), (0.99, 48), (1.0, 49)])
def test_a_share_of_documents_is_rounded_down_as_it_was_published(share: float, count: int) -> None:
    order = np.arange(49)[::-1]
    assert first_documents(order, np.full(49, 7), share, True).tolist() == list(range(48, 48 - count, -1))


def test_an_extended_selection_keeps_what_was_read() -> None:
    order = np.array([4, 2, 0, 3, 1])
    assert extended(np.array([1, 2]), order).tolist() == [2, 1, 4, 0, 3]
