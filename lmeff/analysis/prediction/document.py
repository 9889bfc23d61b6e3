"""All that `lmeff predict --json` says."""

from collections.abc import Iterable, Sequence

import numpy as np

from lmeff.analysis.prediction.agreement import agreement_rows
from lmeff.analysis.prediction.bounds import ceiling_rows, regret_rows, rule_rows
from lmeff.analysis.prediction.orders import RANKERS, pair_rows, predicted_cells
from lmeff.analysis.prediction.protocols import PROTOCOLS, Trial, error_rows, make_splits
from lmeff.analysis.prediction.sentence import caveats, sentence
from lmeff.analysis.prediction.unfinished import decision_rows, prediction_rows, unfinished_notes
from lmeff.analysis.scores.curve_table import CurveTable
from lmeff.analysis.scores.from_observations import make_curve_table, missing_scores, with_chosen_target
from lmeff.analysis.scores.observation import Observation

FORMAT = 1


def predict(observations: Sequence[Observation], target: str = "last", notes: Iterable[str] = ()) -> dict:
    """How early the scores of one task tell their end; ready for JSON. Raises InputError for duplicates, a target that is not
    there and too few runs."""
    table, lacking = make_curve_table(observations)
    table = with_chosen_target(table, target)
    splits = make_splits(table)
    rows: dict[str, list[dict]] = {name: [] for name in ("agreement", "errors", "pairs", "regret", "saved")}
    shares = table.flops_shares()
    trials = [Trial(table, column, splits) for column in table.cutoffs]
    for trial in trials:
        rows["agreement"] += agreement_rows(table, trial.column)
        rows["errors"] += error_rows(trial)
        rows["pairs"] += pair_rows(trial)
        rows["regret"] += _regret(trial)
        tokens = int(table.anchors[trial.column])
        rows["saved"].append({"cutoff_tokens": tokens, "flops_share": float(1 - shares[trial.column])})
    predictions = prediction_rows(table)
    decisions = decision_rows(table, predictions)
    document = {
        "format": FORMAT,
        "task": observations[0].task,
        "metric": observations[0].metric,
        "target": {
            "name": table.target_label,
            "tokens": None if table.target_label == "final" else table.target_tokens,
            "unit": table.unit,
            "num_runs": int(table.is_finished.sum()),
            "num_cells": int((table.is_finished @ table.members > 0).sum()),
            "num_corpora": len(table.corpus_names),
        },
        **rows,
        "ceilings": ceiling_rows(table),
        "rules": rule_rows(table, predicted_cells(trials[-1], PROTOCOLS.index("P3"), "design_only")),
        "predictions": predictions,
        "decisions": decisions,
        "missing": missing_scores(table),
    }
    said = [*_reached(table, target), *unfinished_notes(table, decisions)]
    return {**document, "sentence": sentence(table, document), "notes": [*notes, *lacking, *caveats(table), *said]}


def _reached(table: CurveTable, target: str) -> list[str]:
    """A line that says how many have reached a target that nobody named."""
    if target != "last":
        return []
    reached = int((table.is_finished @ table.members > 0).sum())
    return [
        f"the target {table.target_label} is the last anchor that at least a quarter of the recipes have:"
        f" {reached} of {table.num_cells} have reached it"
    ]


def _regret(trial: Trial) -> list[dict]:
    """Of what was predicted with the corpus held out or, where there is one corpus only, the cell."""
    table: CurveTable = trial.table
    protocol = PROTOCOLS.index("P3") if trial.tested(PROTOCOLS.index("P3")).any() else 0
    predicted = {name: predicted_cells(trial, protocol, name) for name in RANKERS}
    known = {name: values for name, values in predicted.items() if np.isfinite(values).any()}
    return regret_rows(table, trial.column, known)
