"""A comparison for other programs: JSON."""

from dataclasses import asdict
from typing import Any

from lmeff.analysis.comparison.compare import Comparison
from lmeff.analysis.comparison.conditions import Sides, facts
from lmeff.analysis.comparison.estimates import QUESTIONS
from lmeff.analysis.comparison.sides import Side

FORMAT = 1


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything; the keys are described in the room's README. Ready for JSON: no NaN, null for what there is not."""
    sides = comparison.sides
    return {
        "format": FORMAT,
        "a": _side_json(sides, sides.a),
        "b": _side_json(sides, sides.b),
        "difference": "b - a",
        "paired_seeds": comparison.paired_seeds,
        "questions": dict(QUESTIONS),
        "rows": [{**asdict(row), "differs": comparison.differs(row)} for row in comparison.rows],
        "notes": list(comparison.notes),
        "not_compared": list(comparison.not_compared),
    }


def _side_json(sides: Sides, side: Side) -> dict[str, Any]:
    members = [
        {
            "name": member.run.name,
            "seed": member.run.seed if side.seeds else None,
            "folder": str(member.run.folder),
            "source": member.run.source,
            "revision": member.anchor.revision,
            "nominal_tokens": member.tokens,
            "unit": member.run.unit,
            **facts(member),
        }
        for member in side.members
    ]
    return {"label": side.label, "seeds": side.seeds and list(side.seeds), "members": members}
