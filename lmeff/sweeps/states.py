"""What the cases of a sweep are doing, as their folders say."""

from typing import Any

from lmeff.formats.state import StateDocument
from lmeff.sweeps.cases import Case, Sweep

NEW = "new"
"""Of a case that has not begun."""


def state_of(case: Case) -> str:
    """The word of the run's `state.json`, or `new`."""
    document = StateDocument.read(case.run)
    return document.state if document else NEW


def listing(sweep: Sweep) -> dict[str, Any]:
    """What `lmeff sweep list --json` prints."""
    return {
        "format": 1,
        "sweep": sweep.name,
        "cases": [
            {
                "index": case.index,
                "name": case.name,
                "folder": str(case.run),
                "seed": case.seed,
                "state": state_of(case),
                "values": dict(case.values),
            }
            for case in sweep.cases
        ],
    }
