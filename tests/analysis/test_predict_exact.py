"""Scores of which statistics could make too much: ties, curves without any noise, ends that are scores themselves."""

import json

import numpy as np
import pytest
from analysis.synthetic_curves import MILLION, synthetic_table

from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.protocols import Trial, error_rows, make_splits
from lmeff.analysis.scores.observation import Observation
from lmeff.analysis.scores.paths import read_observations
from lmeff.cli.main import main


def find(rows: list[dict], **wanted: object) -> dict:
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


def of_seeds(cells: dict[str, dict[int, tuple[float, ...]]]) -> list[Observation]:
    """By recipe and tokens a score for each seed."""
    return [
        Observation(cell=cell, seed=str(seed), tokens=tokens, task="t", metric="acc", value=value, corpus="one")
        for cell, curve in cells.items()
        for tokens, values in curve.items()
        for seed, value in enumerate(values)
    ]


def test_means_that_are_equal_are_a_tie_whatever_their_seeds_were_called():
    """.1 + .2 + .3 is another float than .3 + .2 + .1: of the three pairs two are right and one is a coin's, and one of the two
    that look best ends best."""
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    ends = {"a": 0.5, "b": 0.4, "c": 0.3}
    for orders in (((0.1, 0.2, 0.3), (0.3, 0.2, 0.1)), ((0.3, 0.2, 0.1), (0.1, 0.2, 0.3))):
        early = dict(zip("abc", (*orders, (0.0, 0.0, 0.1)), strict=True))
        document = predict(of_seeds({cell: {1: early[cell], 8: (ends[cell],) * 3} for cell in ends}))
        found = find(document["agreement"], scope="seed_means", statistic="decision_accuracy")
        assert found["value"] == pytest.approx(2.5 / 3)
        ranks = find(document["agreement"], scope="seed_means", statistic="spearman")
        assert ranks["value"] == pytest.approx(np.corrcoef([2.5, 2.5, 1], [3, 2, 1])[0, 1])
        assert find(document["regret"], predictor="last_value")["value"] == pytest.approx((0.0 + 0.1) / 2)


def test_means_over_paradigms_that_are_equal_are_a_tie_in_whatever_order_they_stand(tmp_path):
    """As above, of one seed: the score of the suite is the mean."""
    ends = {"a": 0.5, "b": 0.4, "c": 0.3}
    paradigms = ("adjunct_island", "anaphor_gender_agreement", "anaphor_number_agreement")
    ranks = np.corrcoef([2.5, 2.5, 1], [3, 2, 1])[0, 1]
    for orders in (((0.1, 0.2, 0.3), (0.3, 0.2, 0.1)), ((0.3, 0.2, 0.1), (0.1, 0.2, 0.3))):
        early = dict(zip("abc", (*orders, (0.0, 0.0, 0.1)), strict=True))
        lines = [
            f"{cell},one,0,{tokens}M,{paradigm},{value}"
            for cell in ends
            for tokens, values in ((1, early[cell]), (8, (ends[cell],) * 3))
            for paradigm, value in zip(paradigms, values, strict=True)
        ]
        path = tmp_path / "scores.csv"
        path.write_text("\n".join(["family,corpus,seed,tokens,task,acc", *lines]) + "\n")
        document = predict([one for one in read_observations([path])[0] if one.task == "blimp"])
        for scope in ("pooled", "within"):
            found = find(document["agreement"], scope=scope, statistic="spearman")
            assert found["value"] == pytest.approx(ranks)
            found = find(document["agreement"], scope=scope, statistic="decision_accuracy")
            assert found["value"] == pytest.approx(2.5 / 3)


@pytest.mark.medium
@pytest.mark.parametrize(("num_corpora", "num_cells", "digits"), [(1, 6, 1), (2, 6, 2), (3, 3, 9)])
def test_curves_without_noise_are_predicted(num_corpora, num_cells, digits):
    """Columns that fit every gain exactly leave no deviation to divide by, and no error to have skill over."""
    table = synthetic_table(0, num_corpora, num_cells, noise=0)
    table.scores[:] = table.scores.round(digits)
    table = table.with_target("8M", table.scores[:, -1], 8 * MILLION)
    for column in table.cutoffs:
        rows = error_rows(Trial(table, column, make_splits(table)))
        assert find(rows, protocol="P1", predictor="stack")["mae"] < 0.03
    flat = predict(of_seeds({cell: {1: (0.5, 0.5), 2: (0.7, 0.7), 8: (0.7, 0.7)} for cell in "abc"}))
    assert find(flat["errors"], cutoff_tokens=2, predictor="shapes")["skill"] is None


@pytest.mark.medium
def test_the_end_of_a_run_is_no_early_score_of_it(fake_run, capsys):
    """Of runs of ours `final` is the last anchor, which some reach earlier."""
    for name, quality in (("a", 0.0), ("b", 0.2), ("c", 0.4), ("d", 0.6)):
        anchors = (0, 25, 50) if name == "d" else (0, 25, 50, 100)
        last = fake_run(name=name, anchors=anchors, num_pairs=5, quality=quality)
    assert main(["predict", str(last.parents[1]), "--target", "final", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["cutoff_tokens"] // MILLION for row in document["saved"]] == [25, 50]
    num_runs = [find(document["errors"], cutoff_tokens=at * MILLION, predictor="stack")["n"] for at in (25, 50)]
    assert num_runs == [4, 3]
    (said,) = (note for note in document["notes"] if "'final'" in note)
    assert said.startswith("'final' is the last anchor of each run, at 50M to 100M")
