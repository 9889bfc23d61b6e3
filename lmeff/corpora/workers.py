"""Processes beside this one, for text and tokens."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lmeff.errors import RunFailed

Item = TypeVar("Item")
Result = TypeVar("Result")


def end_with_parent() -> None:
    """Called by a worker: it ends when the process that made it does, however that ends, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    maker = multiprocessing.parent_process()

    def watch() -> None:
        assert maker is not None, "a worker was made by somebody"
        multiprocessing.connection.wait([maker.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def num_workers(num_bytes: int, few_bytes: int) -> int:
    """Processes that prepare so many bytes, this one among them: LMEFF_WORKERS, else one for a few bytes, else the cores this
    process may use, eight at most. The result does not depend on it."""
    wanted = os.environ.get("LMEFF_WORKERS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return min(8, len(os.sched_getaffinity(0))) if num_bytes > few_bytes else 1


def worker_pool(
    num_processes: int, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> ProcessPoolExecutor:
    """Processes that end with this one, whatever ends it."""
    context = multiprocessing.get_context("forkserver")
    # What takes long to import is imported once, for the text and for the tokens.
    context.set_forkserver_preload(["lmeff.corpora.gather", "lmeff.tokens.prepare", "gigatoken"])
    return ProcessPoolExecutor(num_processes, context, initializer, arguments)


def in_order(
    items: Iterable[Item], beside: Callable[[Item], Future[Result]], here: Callable[[Item], Result], num_beside: int
) -> Iterator[Result]:
    """The results of all items, in their order. Each is worked on by another process (`beside`), or by this one when enough is
    waiting for the others: while they start, for instance.

    Raises RunFailed when another process was killed.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        while waiting and waiting[0].done():
            yield _result(waiting.popleft())
        if len(waiting) >= 8 * num_beside:
            yield _result(waiting.popleft())
        if sum(not future.done() for future in waiting) < 2 * num_beside:
            try:
                waiting.append(beside(item))
            except BrokenProcessPool:
                raise _killed() from None
        else:
            done: Future[Result] = Future()
            done.set_result(here(item))
            waiting.append(done)
    while waiting:
        yield _result(waiting.popleft())


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        raise _killed() from None


def _killed() -> RunFailed:
    return RunFailed("a process that prepares text was killed, perhaps for its memory; run again to go on")
