"""Peak main memory of forward passes, in a process of its own that has done nothing else.

    python -m lmeff.measures.profile.memory FOLDER PRECISION LENGTH BATCH_SIZE...

prints a line of JSON for the loaded model, and one for each batch size, ascending.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lmeff.measures.profile.passes import NO_ROOM, forward, load_to_profile, random_tokens, too_large
from lmeff.models.device import is_out_of_memory


def measure_peaks(folder: Path, precision: str, length: int, batch_sizes: list[int], num_threads: int) -> dict:
    """Resident memory in bytes: `idle_bytes` with the model loaded and used once, and `rows` with the `peak_bytes` or the
    `error` of every batch size. A process that the kernel kills for its memory ends at the batch size that does not fit, and
    the larger ones are not tried. Raises RuntimeError when the process fails otherwise."""
    words = [str(folder), precision, str(length), *map(str, sorted(batch_sizes))]
    done = subprocess.run(
        [sys.executable, "-m", "lmeff.measures.profile.memory", *words],
        env={**os.environ, "OMP_NUM_THREADS": str(num_threads), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    rows = {line["batch_size"]: line for line in lines if "batch_size" in line}
    if done.returncode > 0 or not lines:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"the process ended with {done.returncode}")
    left = [size for size in sorted(batch_sizes) if size not in rows]
    if left:
        rows[left[0]] = {"error": f"{NO_ROOM}: the system ended the process (signal {-done.returncode})"}
        rows |= {size: {"error": f"not tried: {left[0]} does not fit"} for size in left[1:]}
    return {"idle_bytes": lines[0]["idle_bytes"], "rows": rows}


def resident_bytes() -> tuple[int, int]:
    """Resident memory of this process now, and its peak since the last `forget_peak`."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def forget_peak() -> None:
    """The peak is what is resident now; where the kernel does not allow it the peak stays that of the batch sizes before,
    which are smaller."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main(folder: Path, precision: str, length: int, batch_sizes: list[int]) -> None:
    def say(**fields: object) -> None:
        print(json.dumps(fields), flush=True)

    model = load_to_profile(folder, precision)
    forward(model, random_tokens(model, 1, length))
    say(idle_bytes=resident_bytes()[0])
    for size in batch_sizes:
        if (error := too_large(model, size, length)) is None:
            forget_peak()
            try:
                forward(model, random_tokens(model, size, length))
                say(batch_size=size, peak_bytes=resident_bytes()[1])
                continue
            except (RuntimeError, MemoryError) as failure:
                if not is_out_of_memory(failure):
                    raise
                error = NO_ROOM
        say(batch_size=size, error=error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [int(word) for word in sys.argv[4:]])
