"""What the final model of a case costs, from its profile: latency and memory, where nothing else ran on the machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmeff.files import read_json
from lmeff.formats.run_folder import RunFolder

BUSY = 0.05
"""The share of the cores above which other programs are in the way of a profile."""


@dataclass(frozen=True)
class Cost:
    measured_on: str
    """The machine, the settings and the length; only costs with the same can be compared."""
    latency_ms: float
    """Median for one sequence, of the shortest length."""
    peak_bytes: float | None
    """Memory of the smallest batch; None where it was not measured."""


def cost_of(run: RunFolder, revisions: tuple[str, ...]) -> Cost | None:
    """By the first of the revisions, all of them the final model, that has a profile; None without one, or of a machine that
    had other work."""
    files = [file for name in revisions for file in sorted((run.results_of(name) / "profile").glob("*.json"))]
    if not files:
        return None
    profile = read_json(files[0])
    machine, rows = profile["machine"], profile["latency"]
    load = machine.get("load_of_others")
    if not rows or load is None or load > BUSY:
        return None
    shortest = min(rows, key=lambda row: row["length"])
    about = {key: value for key, value in machine.items() if key not in ("load_average", "load_of_others")}
    measured_on = f"{files[0].name} {about} {shortest['length']}"
    return Cost(measured_on, float(shortest["median_ms"]), _peak_bytes(profile.get("throughput") or {}))


def _peak_bytes(throughput: Mapping[str, Any]) -> float | None:
    smallest = min(throughput.get("rows") or [{}], key=lambda row: row.get("batch_size", 0))
    peak_bytes: float | None = smallest.get("peak_bytes")
    return peak_bytes
