"""What is going on, on standard error, as soon as it takes longer than two seconds."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from lmeff.logs import is_quiet

SHOWN_AFTER_SECONDS = 2.0
_TICK_SECONDS = 1.0
_REFRESH_SECONDS = 0.1
_LOG_TICK_SECONDS = 30.0
"""Where standard error is no terminal, and every line stays."""


def warn_above_bars(text: str) -> None:
    """A line on standard error that is not put behind a bar which is shown there."""
    tqdm.write(text, file=sys.stderr)


@contextmanager
def progress(what: str, total: int | None = None, initial: int = 0, unit: str = "B") -> Iterator[tqdm]:
    """A bar that counts up to `total`. It is shown after two seconds, also when nothing was counted by then."""
    bar = tqdm(
        desc=what,
        unit=unit,
        unit_scale=True,
        delay=SHOWN_AFTER_SECONDS,
        total=total,
        initial=initial,
        disable=is_quiet(),
        # tqdm's own ten lines a second are for a terminal.
        mininterval=_REFRESH_SECONDS if sys.stderr.isatty() else _LOG_TICK_SECONDS,
        miniters=1,
    )
    with bar, _ticking(bar):
        yield bar


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Says what is going on and for how long, where there is nothing to count. The first process of several says it."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    bar = tqdm(desc=what, bar_format="{desc}: {elapsed}", delay=SHOWN_AFTER_SECONDS, disable=is_quiet())
    with bar, _ticking(bar):
        yield


@contextmanager
def _ticking(bar: tqdm) -> Iterator[None]:
    done = threading.Event()

    def tick() -> None:
        wait = SHOWN_AFTER_SECONDS
        while not done.wait(wait):
            bar.delay = 0
            bar.refresh()
            wait = _TICK_SECONDS if sys.stderr.isatty() else _LOG_TICK_SECONDS

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
