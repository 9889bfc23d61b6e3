"""What `lmeff profile` prints: one table of all models."""

from collections.abc import Sequence

from lmeff.quantities import format_bytes, format_short
from lmeff.text_tables import table_lines

BUSY = 0.05
"""The share of the cores above which other programs are in the way of a profile."""
_TIMES = {
    "median, ms": "{median_ms:.3f}",
    "p95": "{p95_ms:.3f}",
    "p99": "{p99_ms:.3f}",
    "mean (SD)": "{mean_ms:.3f} ({std_ms:.3f})",
    "least to most": "{min_ms:.3f} to {max_ms:.3f}",
    "passes": "{num_passes}",
}


def profile_table(profiles: Sequence[dict]) -> str:
    """For a terminal: a line for every quantity, a column for every model, then the machine and what was left out."""
    rows: list[tuple[str, list[str]]] = [("", [_short(one["name"]) for one in profiles])]

    def add(title: str, cells: list[str]) -> None:
        if any(cells):
            rows.append((title, [text or "-" for text in cells]))

    for part in ("total", "embedding", "non_embedding", "trainable"):
        title = "parameters" if part == "total" else f"  {part.replace('_', '-')}"
        add(title, [f"{one['parameters'][part]:,}" for one in profiles])
    add("weights", [format_bytes(one["weights_bytes"]) for one in profiles])
    for length in sorted({row["length"] for one in profiles for row in one["latency"]}):
        rows.append((f"one sequence of {length}", [""] * len(profiles)))
        add("  forward FLOPs per token", [_flops(one["forward_flops_per_token"].get(str(length))) for one in profiles])
        for title, form in _TIMES.items():
            add(f"  {title}", [_time(form, _row(one["latency"], "length", length)) for one in profiles])
    sizes = sorted({row["batch_size"] for one in profiles for row in one["throughput"]["rows"]})
    add("tokens/s, in sequences of", [str(one["throughput"]["length"]) for one in profiles])
    for size in sizes:
        add(f"  batch {size}", [_speed(_row(one["throughput"]["rows"], "batch_size", size)) for one in profiles])
    add("  best batch", [str(one["throughput"]["best_batch_size"] or "") for one in profiles])
    add("  samples/s there", [_best(one, "samples_per_second") for one in profiles])
    add("  FLOP/s there", [_best(one, "flops_per_second") for one in profiles])
    rows.append(("peak memory (above the idle model)", [""] * len(profiles)))
    for size in sizes:
        add(f"  batch {size}", [_memory(_row(one["throughput"]["rows"], "batch_size", size)) for one in profiles])
    greedy = [f"{one['generation']['tokens_per_second']:.1f}" if one["generation"] else "" for one in profiles]
    add("greedy generation, tokens/s", greedy)
    lines = [*_disturbed(profiles), *table_lines([[title, *cells] for title, cells in rows])]
    loads = ", ".join(_load(one["machine"]["load_of_others"]) for one in profiles)
    lines += ["", *dict.fromkeys(_machine(one) for one in profiles), f"cores that other programs kept busy: {loads}"]
    return "\n".join(lines + [f"{one['name']}: {note}" for one in profiles for note in one["notes"]])


def _disturbed(profiles: Sequence[dict]) -> list[str]:
    """What to say first of times that other programs made longer."""
    loads = {one["name"]: one["machine"]["load_of_others"] or 0.0 for one in profiles}
    named = ", ".join(f"{name} {_load(load)}" for name, load in loads.items() if load > BUSY)
    return [f"other programs kept cores busy, so that these times say little: {named}", ""] if named else []


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"...{name[-37:]}"


def _row(rows: Sequence[dict], key: str, value: int) -> dict:
    return next((row for row in rows if row[key] == value), {})


def _time(form: str, row: dict) -> str:
    return form.format(**row) if row else ""


def _flops(value: float | None) -> str:
    return format_short(value) if value else ""


def _speed(row: dict) -> str:
    return f"{row['tokens_per_second']:,.0f}" if "tokens_per_second" in row else row.get("error", "").partition(":")[0]


def _memory(row: dict) -> str:
    if "peak_bytes" not in row:
        return ""
    return f"{format_bytes(row['peak_bytes'])} ({format_bytes(row['peak_above_idle_bytes'])})"


def _best(one: dict, key: str) -> str:
    value = _row(one["throughput"]["rows"], "batch_size", one["throughput"]["best_batch_size"]).get(key)
    return format_short(value) if value else ""


def _load(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _machine(one: dict) -> str:
    machine, gpu = one["machine"], one["machine"].get("gpu")
    if gpu:
        power = f", power limit {gpu['power_limit_watts']} W" if "power_limit_watts" in gpu else ""
        where = f"{gpu['name']}{power}"
    else:
        where = f"{machine['cpu']}, {machine['num_threads']} threads of {machine['num_cores']} cores"
    return f"{where}; {one['settings']['precision']}; torch {machine['versions']['torch']}"
