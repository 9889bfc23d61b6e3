"""A revision is a value: its name is read and written in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmeff.errors import InputError
from lmeff.revisions import Revision

REVISIONS = st.builds(Revision, st.integers(0, 10**9), st.none() | st.integers(0, 10**18))


def test_names() -> None:
    assert Revision(0, 25_000_000).name == "seed-0-tokens-25M"
    assert Revision(1, 1_250_000_000).name == "seed-1-tokens-1250M"
    assert Revision(0, 2_000_000_000).name == "seed-0-tokens-2000M"
    assert Revision(0, 0).name == str(Revision(0, 0)) == "seed-0-tokens-0"
    assert Revision(7).name == "seed-7"


@given(REVISIONS)
def test_a_name_is_read_as_it_is_written(revision: Revision) -> None:
    assert Revision.parse(revision.name) == revision
    assert Revision.parse(revision.name).is_final == (revision.tokens is None)


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "chck_10M",
        "seed-",
        "seed-01",
        "seed-x-tokens-5k",
        "seed--1",
        "seed-0-tokens-",
        "seed-0-tokens-1000k",
        "seed-0-tokens-05",
        "seed-0-tokens-1.5M",
        "seed-0-tokens-1B",
        "seed-0-tokens-5k ",
        "seed-0-tokens-5k-copy",
        "seed-\u0661",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name of a revision"):
        Revision.parse(name)


@given(st.lists(REVISIONS, max_size=8))
def test_they_sort_by_seed_and_tokens_with_the_final_model_last(revisions: list[Revision]) -> None:
    in_order = sorted(revisions, key=lambda one: (one.seed, float("inf") if one.is_final else one.tokens))
    assert sorted(revisions) == in_order


def test_order() -> None:
    assert Revision(0, 0) < Revision(0, 10**6) < Revision(0, 2 * 10**9) < Revision(0) < Revision(1, 0)
    assert Revision(0) >= Revision(0, 10**18)
