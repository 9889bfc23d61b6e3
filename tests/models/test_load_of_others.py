"""What other programs take of the cores, beside which figures of speed mean little."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import prepared
import pytest

from lmeff.models.device import busy_seconds, load_of_others

#        user nice system idle iowait irq softirq steal guest guest_nice
STAT = """cpu  9 9 9 9 9 9 9 9 9 9
cpu0 100 20 30 5000 700 1 2 3 90 0
cpu1 200 0 0 9000 0 0 0 0 0 0
cpu10 7 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""
TICKS = os.sysconf("SC_CLK_TCK")


def test_work_is_all_but_idling_and_waiting() -> None:
    assert busy_seconds(STAT, {0}) == (100 + 20 + 30 + 1 + 2 + 3) / TICKS
    assert busy_seconds(STAT, {0, 1}) == 356 / TICKS
    assert busy_seconds(STAT, {10}) == 7 / TICKS
    assert busy_seconds(STAT, {0, 2}) is None
    assert busy_seconds("", {0}) is None


@pytest.mark.medium
@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="no /proc/stat here")
def test_another_program_counts_and_this_one_does_not() -> None:
    cores = os.sched_getaffinity(0)
    core = min(cores)
    spinning = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    program, done = prepared.Popen([sys.executable, "-c", spinning], stdout=subprocess.PIPE), threading.Event()
    try:
        assert program.stdout is not None
        program.stdout.readline()
        os.sched_setaffinity(0, {core})
        assert (load_of_others(0.3) or 0) > 0.8  # that core is at work all the time, whoever else wants it

        own = threading.Thread(target=lambda: all(not done.is_set() for _ in itertools.count()))
        own.start()
        before = seconds_of(core)
        found = load_of_others(0.3)
        elapsed, busy, ours = (after - first for after, first in zip(seconds_of(core), before, strict=True))
        assert ours > 0
        assert found == pytest.approx((busy - ours) / elapsed, abs=0.1)
    finally:
        done.set()
        os.sched_setaffinity(0, cores)
        program.kill()
        program.communicate()


def seconds_of(core: int) -> tuple[float, float, float]:
    """The clock, the work of a core, and that of this program."""
    fields = next(
        line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} ")
    )
    busy = sum(int(fields[index]) for index in (1, 2, 3, 6, 7, 8)) / TICKS
    return time.perf_counter(), busy, time.process_time()
