"""What the final model of a case costs, from its profile: latency and memory, where nothing else ran on the machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmeff.files import read_json
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.profile.table import BUSY

_OF_THE_MOMENT = ("load_average", "load_of_others")


@dataclass(frozen=True)
class Cost:
    measured_on: str
    """The machine, the settings, and what latency and memory are of; only costs with the same can be compared."""
    latency_ms: float
    """Median for one sequence, of the shortest length."""
    peak_bytes: float | None
    """Memory of the smallest batch, of the longest length; None where it was not measured."""


def is_idle(profile: Mapping[str, Any], busy: float = BUSY) -> bool:
    """Whether nothing else ran when a profile was taken. Where the kernel did not tell, nobody knows that."""
    load = profile["machine"].get("load_of_others")
    return load is not None and bool(load <= busy)


def cost_of(run: RunFolder, revisions: tuple[str, ...]) -> Cost | None:
    """By the first of the revisions, all of them the final model, that has a profile; None without one, or of a machine that
    had other work."""
    files = [file for name in revisions for file in sorted((run.results_of(name) / "profile").glob("*.json"))]
    if not files:
        return None
    profile = read_json(files[0])
    rows, throughput = profile["latency"], profile.get("throughput") or {}
    if not rows or not is_idle(profile):
        return None
    shortest = min(rows, key=lambda row: row["length"])
    smallest = min(throughput.get("rows") or [{}], key=lambda row: row.get("batch_size", 0))
    measured_on = {
        "file": files[0].name,
        "machine": {key: one for key, one in profile["machine"].items() if key not in _OF_THE_MOMENT},
        "settings": profile.get("settings"),
        "latency_length": shortest["length"],
        "memory_length": throughput.get("length"),
        "memory_batch_size": smallest.get("batch_size"),
    }
    return Cost(json.dumps(measured_on, sort_keys=True), float(shortest["median_ms"]), smallest.get("peak_bytes"))
