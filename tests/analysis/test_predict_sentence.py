"""The sentence of `lmeff predict`: which cut-off it names, and what it gives as a reason."""

from dataclasses import replace

import numpy as np
import pytest
from analysis.synthetic_curves import MILLION, synthetic_table

from lmeff.analysis.prediction.sentence import _enough, _times_fewer_steps


def rows(*values: float) -> list[dict]:
    return [{"cutoff_tokens": 2**place * MILLION, "value": value} for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("cells", "values", "millions"),
    [
        (8, (0.7, 0.9, 0.95), 2),
        (8, (0.95, 0.7, 0.95), 4),  # the first one was luck
        (8, (0.95, 0.95, 0.7), 4),  # none stays above: half of the way
        (7, (0.95, 0.95, 0.95), 4),  # too few to tell
    ],
)
def test_the_cutoff_is_the_first_from_which_on_all_reach_the_ceiling(cells, values, millions):
    table = synthetic_table(0, num_corpora=1, num_cells=cells, num_seeds=1)
    assert _enough(table, rows(*values), 0.9)["cutoff_tokens"] == millions * MILLION


def test_fewer_steps_are_a_reason_only_where_larger_models_took_them():
    table = synthetic_table(0, num_corpora=2, num_cells=3, num_seeds=1)
    assert _times_fewer_steps(table) == 8
    assert _times_fewer_steps(replace(table, log_batch_of_cell=-table.log_batch_of_cell)) == 1
    of_corpora = replace(table, log_batch_of_cell=3.0 * table.corpus_of_cell)
    assert _times_fewer_steps(of_corpora) == 1
    assert _times_fewer_steps(replace(table, size_of_cell=np.full(6, np.nan))) == 1
