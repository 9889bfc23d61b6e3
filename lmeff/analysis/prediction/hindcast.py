"""What would have been predicted of each finished run, had its recipe been the one that nobody finished (P1)."""

from collections.abc import Sequence

import numpy as np

from lmeff.analysis.prediction.protocols import Trial, make_splits
from lmeff.analysis.prediction.unfinished import interval_ends, is_calibrated
from lmeff.analysis.scores.from_observations import make_curve_table, with_chosen_target
from lmeff.analysis.scores.observation import Observation

PREDICTOR = "stack"


def hindcast_rows(observations: Sequence[Observation], target: str = "last") -> list[dict]:
    """A row for each finished run and cut-off: `run`, `recipe`, `corpus`, `cutoff_tokens`, `target_tokens`, the `score` there,
    what the stack of predictors says from it (`value`, `low80`, `high80`, `low95`, `high95`, and
    whether these may be called `calibrated`), and the `end`.

    Raises InputError.
    """
    table = with_chosen_target(make_curve_table(observations)[0], target)
    splits = make_splits(table, ["P1"])
    rows = []
    for column in table.cutoffs:
        trial = Trial(table, column, splits)
        forecast = trial.forecasts[PREDICTOR]
        for split, run in np.argwhere(trial.tested(0) & np.isfinite(forecast.mean)):
            rows.append(
                {
                    "run": table.run_names[run],
                    "recipe": table.cell_names[table.cell[run]],
                    "corpus": table.corpus_names[table.corpus[run]],
                    "cutoff_tokens": int(table.anchors[column]),
                    "target_tokens": table.target_tokens,
                    "score": float(table.scores[run, column]),
                    "value": float(forecast.mean[split, run]),
                    **interval_ends(forecast, int(split), int(run)),
                    "calibrated": is_calibrated(table, int(run), column, is_held_out=True),
                    "end": float(table.target[run]),
                }
            )
    return rows
