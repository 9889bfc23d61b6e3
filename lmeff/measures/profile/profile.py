"""What a model costs: latency, throughput, generation speed, peak memory, parameters and FLOPs.

Every time is wall time from the call to the moment its result is there: on a GPU, which works behind the back of the program,
the device is waited for before the clock is read, at the start and at the end. A forward pass computes the logits of all
positions and keeps no cache. Inputs are random tokens, all sequences full.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from lmeff.evaluation.results import weights_sha256
from lmeff.garbage import garbage_kept
from lmeff.measures.profile.counts import count_parameters_of, forward_flops_per_token
from lmeff.measures.profile.memory import measure_peaks
from lmeff.measures.profile.passes import NO_ROOM, forward, load_to_profile, random_tokens, too_large
from lmeff.models.causality import sees_later_tokens
from lmeff.models.context_length import context_length
from lmeff.models.device import choose_device, describe_machine, is_out_of_memory

NUM_WARMUPS, LEAST_PASSES = 10, 3
PROMPT_TOKENS, NEW_TOKENS, NUM_GENERATIONS = 16, 64, 5


@dataclass(frozen=True)
class ProfileSettings:
    lengths: tuple[int, ...] = (128, 512)
    """Tokens of a sequence, for latency. Throughput and memory are measured at the longest that the model takes."""
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    precision: str = "float32"
    device: str | None = None
    repeats: int = 100
    """Timed passes of a row, or fewer when they take longer than `seconds`."""
    seconds: float = 10.0

    def as_json(self) -> dict:
        """As a profile says it."""
        return {**asdict(self), "lengths": list(self.lengths), "batch_sizes": list(self.batch_sizes)}


def profile_model(folder: Path, settings: ProfileSettings) -> dict:
    """Measures the model of a folder, as JSON can hold it. Raises InputError for a GPU that is not there, and as
    `load_language_model` does."""
    device = choose_device(settings.device)
    machine = describe_machine(device)  # first, while this program does nothing
    with _quiet():
        model = load_to_profile(folder, settings.precision)
        sees_later = sees_later_tokens(model)
        model = model.to(device)
        lengths, notes = usable_lengths(model, settings.lengths)
        counted = _count_flops(model, lengths, notes)
        latency = [_latency(model, length, settings) for length in lengths]
        throughput = _throughput(model, folder, lengths[-1], settings, notes)
        generation = None if sees_later else _generation(model, settings, notes)
        if sees_later:
            notes.append("generation was not measured: the model sees later tokens, so it writes none one by one")
    for row in latency:
        if counted:
            row["flops_per_second"] = counted[row["length"]][0] * row["length"] / (row["median_ms"] / 1000)
    for row in throughput["rows"]:
        if counted and "tokens_per_second" in row:
            row["flops_per_second"] = counted[lengths[-1]][0] * row["tokens_per_second"]
    return {
        "format": 1,
        "weights_sha256": weights_sha256(folder),
        "sees_later_tokens": sees_later,
        "settings": settings.as_json(),
        "machine": machine,
        "parameters": count_parameters_of(model),
        "weights_bytes": sum(one.numel() * one.element_size() for one in model.parameters()),
        "forward_flops_per_token": {str(length): flops for length, (flops, _) in counted.items()},
        "flops_source": counted[lengths[-1]][1] if counted else None,
        "latency": latency,
        "throughput": throughput,
        "generation": generation,
        "notes": notes,
    }


def usable_lengths(model: PreTrainedModel, lengths: tuple[int, ...]) -> tuple[list[int], list[str]]:
    """The lengths that the model takes, ascending, and a line about those that it does not. Of none its own limit is left."""
    limit = context_length(model.config)
    fitting = sorted({length for length in lengths if limit is None or length <= limit})
    over = [str(length) for length in lengths if length not in fitting]
    if limit is None or not over:
        return fitting, []
    instead = "" if fitting else f"; measured at {limit}"
    return fitting or [limit], [f"left out: length {', '.join(over)}, over the model's {limit}{instead}"]


def _count_flops(model: PreTrainedModel, lengths: list[int], notes: list[str]) -> dict[int, tuple[float, str]]:
    try:
        return {length: forward_flops_per_token(model, length) for length in lengths}
    except Exception as error:  # an architecture without attention that could be written out
        notes.append(f"FLOPs were not counted: {' '.join(str(error).split())}")
        return {}


def _latency(model: PreTrainedModel, length: int, settings: ProfileSettings) -> dict:
    """Milliseconds of single passes at batch 1."""
    ids, wait = random_tokens(model, 1, length), _waiter(model)
    with _no_collection():
        num_warmups, _ = _passes(lambda: forward(model, ids), wait, NUM_WARMUPS, settings.seconds)
        num_passes, seconds = _passes(lambda: forward(model, ids), wait, settings.repeats, settings.seconds)
    return {"length": length, "batch_size": 1, "num_warmups": num_warmups, "num_passes": num_passes} | summarize(
        seconds
    )


def summarize(seconds: list[float]) -> dict[str, float]:
    """In milliseconds; percentiles are interpolated linearly, the standard deviation is that of the sample."""
    times = 1000 * np.asarray(seconds)
    values = {"median": np.median(times), "p95": np.percentile(times, 95), "p99": np.percentile(times, 99)}
    values |= {"mean": times.mean(), "std": times.std(ddof=1) if len(times) > 1 else 0.0}
    values |= {"min": times.min(), "max": times.max()}
    return {f"{name}_ms": float(value) for name, value in values.items()}


def _passes(
    run: Callable[[], None], wait: Callable[[], None], most: int, limit_seconds: float
) -> tuple[int, list[float]]:
    """Runs at most so many times, and no longer than the limit but for a few. Returns how many, and the seconds of each."""
    seconds: list[float] = []
    while len(seconds) < most and (len(seconds) < LEAST_PASSES or sum(seconds) < limit_seconds):
        wait()
        begun = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - begun)
    return len(seconds), seconds


def _throughput(model: PreTrainedModel, folder: Path, length: int, settings: ProfileSettings, notes: list[str]) -> dict:
    """Tokens and sequences a second, and peak memory, by batch size."""
    sizes, on_cpu = sorted(set(settings.batch_sizes)), model.device.type == "cpu"
    peaks: dict = {"rows": {}}
    if on_cpu:
        try:
            peaks = measure_peaks(folder, settings.precision, length, sizes, torch.get_num_threads())
        except Exception as error:
            notes.append(f"peak memory was not measured: {' '.join(str(error).split())}")
    rows = []
    for size in sizes:
        known = peaks["rows"].get(size, {})
        row = {"batch_size": size} | ({"error": known["error"]} if "error" in known else {})
        if "error" not in row:
            row |= at_batch_size(model, size, length, settings)
        if "peak_bytes" in known and "error" not in row:
            row["peak_bytes"] = known["peak_bytes"]
            row["peak_above_idle_bytes"] = max(0, known["peak_bytes"] - peaks["idle_bytes"])
        rows.append(row)
    measured = [row for row in rows if "tokens_per_second" in row]
    best = max(measured, key=lambda row: row["tokens_per_second"], default=None)
    memory = "resident memory of a process of its own" if on_cpu else "torch.cuda.max_memory_allocated"
    return {"length": length, "rows": rows, "best_batch_size": best and best["batch_size"], "memory": memory}


def at_batch_size(model: PreTrainedModel, size: int, length: int, settings: ProfileSettings) -> dict:
    """Speed, on a GPU also peak memory, of passes of one batch size; or the `error` of one that does not fit."""
    on_cpu, wait = model.device.type == "cpu", _waiter(model)
    if on_cpu and (error := too_large(model, size, length)):
        return {"error": error}
    try:
        idle = 0 if on_cpu else torch.cuda.memory_allocated(model.device)
        ids = random_tokens(model, size, length)
        if not on_cpu:
            torch.cuda.reset_peak_memory_stats(model.device)
        with _no_collection():
            _, warm = _passes(lambda: forward(model, ids), wait, 2, settings.seconds)
            num_passes = int(min(settings.repeats, max(LEAST_PASSES, settings.seconds / warm[-1])))
            # Passes follow each other without a wait: the next one is handed to a GPU while it is at the last.
            begun = time.perf_counter()
            for _ in range(num_passes):
                forward(model, ids)
            wait()
            seconds = time.perf_counter() - begun
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        seconds = None
    if seconds is None:
        if not on_cpu:  # here, where the error does not hold on to the pass's tensors any more
            torch.cuda.empty_cache()
        return {"error": NO_ROOM}
    row = {"num_passes": num_passes, "samples_per_second": num_passes * size / seconds}
    row["tokens_per_second"] = row["samples_per_second"] * length
    if not on_cpu:
        row["peak_bytes"] = torch.cuda.max_memory_allocated(model.device)
        row["peak_above_idle_bytes"] = row["peak_bytes"] - idle
    return row


def _generation(model: PreTrainedModel, settings: ProfileSettings, notes: list[str]) -> dict | None:
    """Tokens a second of greedy decoding at batch 1 with a cache of keys and values, the prompt's pass included."""
    limit = context_length(model.config) or PROMPT_TOKENS + NEW_TOKENS
    prompt = min(PROMPT_TOKENS, limit // 2)
    new = min(NEW_TOKENS, limit - prompt)
    ids = random_tokens(model, 1, prompt)
    options = {"do_sample": False, "use_cache": True, "min_new_tokens": new, "max_new_tokens": new, "pad_token_id": 0}

    def generate() -> None:
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), synced_gpus=False, **options)

    try:
        with _no_collection():
            _passes(generate, _waiter(model), 1, settings.seconds)
            num_runs, seconds = _passes(generate, _waiter(model), NUM_GENERATIONS, settings.seconds)
    except Exception as error:
        notes.append(f"generation was not measured: {' '.join(str(error).split())}")
        return None
    median = float(np.median(seconds))
    return {"prompt_tokens": prompt, "new_tokens": new, "num_runs": num_runs, "tokens_per_second": new / median}


def _waiter(model: PreTrainedModel) -> Callable[[], None]:
    device = model.device
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the pauses of Python's garbage collector, as in `timeit`; what there is now is collected first."""
    gc.collect()
    with garbage_kept():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers would warn of sampling settings of the model that greedy decoding ignores."""
    before, had_progress_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if had_progress_bar:
            transformers_logging.enable_progress_bar()
