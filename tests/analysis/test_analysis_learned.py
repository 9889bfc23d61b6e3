"""Which paradigms count as learned, and from when on."""

import json
from pathlib import Path

import pandas as pd
import pytest
from analysis.fake_runs import ANCHORS, LEAVES, revision_name

from lmeff.analysis import read_runs, write_report
from lmeff.analysis.charts.series import make_series
from lmeff.analysis.statistics.acquisition import acquisition_order
from lmeff.analysis.statistics.curve import curves_of

pytestmark = pytest.mark.medium

PARADIGM = LEAVES[0]
NUM_PAIRS = 1000


def rewrite(run: Path, right: list[float], seed: int = 0, paradigm: str = PARADIGM, num_pairs: int = NUM_PAIRS) -> None:
    """Gives a paradigm these accuracies, one an anchor."""
    for millions, share in zip(ANCHORS, right, strict=True):
        folder = run / "results" / revision_name(seed, millions)
        pairs = pd.read_parquet(folder / "pairs" / "lmeff_blimp.parquet")
        num_right = round(share * num_pairs)
        own = {"task": paradigm, "pair": range(num_pairs), "good": -40.0, "bad": -40.0}
        own = pd.DataFrame(own).assign(score=[1.0] * num_right + [0.0] * (num_pairs - num_right))
        pd.concat([pairs[pairs["task"] != paradigm], own]).to_parquet(folder / "pairs" / "lmeff_blimp.parquet")
        path = folder / "lmeff_blimp.json"
        content = json.loads(path.read_text())
        stderr = (share * (1 - share) / (num_pairs - 1)) ** 0.5
        content["results"][paradigm] |= {"acc,none": share, "acc_stderr,none": stderr}
        content["n-samples"][paradigm] = {"original": num_pairs, "effective": num_pairs}
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("right", "learned"),
    [
        # As it was found: 91% before any training, 51% afterwards.
        ([0.91, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51], None),
        ([0.91, 0.91, 0.91, 0.91, 0.91, 0.91, 0.91, 0.91, 0.91], 25),  # anchor 0 itself never counts
        ([0.50, 0.50, 0.95, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50], None),  # a single peak
        ([0.50, 0.50, 0.95, 0.50, 0.50, 0.85, 0.86, 0.90, 0.95], 500),  # a peak, and then for good
        ([0.50, 0.50, 0.50, 0.77, 0.77, 0.77, 0.77, 0.85, 0.90], 1500),  # of 1,000 pairs 77% may be 74.3%
        ([0.50, 0.50, 0.50, 0.80, 0.80, 0.80, 0.80, 0.80, 0.77], None),
        ([0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.79], 2000),
        ([0.50, 0.50, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00], 50),  # all right: an error of 0 is no interval
    ],
)
def test_the_level_must_hold_from_there_on_and_before_training_never_counts(fake_run, right, learned):
    run = fake_run(num_pairs=2)
    rewrite(run, right)
    (series,) = make_series(read_runs([run]))
    assert dict(acquisition_order(curves_of(series.table, "acc", LEAVES)))[PARADIGM] == (learned and learned * 10**6)


def test_a_few_pairs_are_not_enough(fake_run):
    """13 of 15 right: Wilson's interval begins at 62%."""
    run = fake_run(num_pairs=2)
    rewrite(run, [13 / 15] * len(ANCHORS), num_pairs=15)
    (series,) = make_series(read_runs([run]))
    assert dict(acquisition_order(curves_of(series.table, "acc", LEAVES)))[PARADIGM] is None


def test_of_several_seeds_each_has_to_have_learned_it(fake_run):
    runs = [fake_run(seed=seed, num_pairs=2) for seed in (0, 1)]
    early, late = [0.5] * 3 + [0.9] * 6, [0.5] * 5 + [0.9] * 4
    never = [0.5] * 8 + [0.7]
    for seed, right in enumerate([early, late]):
        rewrite(runs[seed], right, seed)
        rewrite(runs[seed], [early, never][seed], seed, LEAVES[1])
    (series,) = make_series(read_runs(runs))
    order = dict(acquisition_order(curves_of(series.table, "acc", LEAVES)))
    assert order[PARADIGM] == 500_000_000
    assert order[LEAVES[1]] is None


def test_what_was_right_before_training_is_not_listed_as_learned_first(fake_run, tmp_path):
    run = fake_run(num_pairs=2)
    rewrite(run, [0.91] + [0.51] * 8)
    rewrite(run, [0.50] * 2 + [0.90] * 7, paradigm=LEAVES[1])
    page = write_report(read_runs([run]), tmp_path / "page.html").read_text()
    assert "from which on the whole 95% interval over pairs stays at or above 75%" in page
    rows = page.split("<tbody>")[2].split("</tbody>")[0].split("<tr>")[1:]
    row = {leaf: next(row for row in rows if f'data-task="{leaf}"' in row) for leaf in (PARADIGM, LEAVES[1])}
    assert ' first"' not in row[PARADIGM]
    assert rows.index(row[LEAVES[1]]) == 0
    assert row[LEAVES[1]].count(' first"') == 1
    assert ' first">90</td>' in row[LEAVES[1]]
