"""Who works on a run: one launch at a time, which holds a lock on the run's folder, or on that of a part. No torch."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from lmeff.errors import Busy
from lmeff.files import usable_folder
from lmeff.formats.run_folder import RunFolder
from lmeff.runs.process import launch_id, launched_rank
from lmeff.runs.state import slurm_job


@contextmanager
def claimed(run: RunFolder) -> Iterator[None]:
    """Holds a folder for this process. Raises Busy when another process holds it; the kernel frees the claim of a dead
    one."""
    usable_folder(run.path, "paths.outputs")
    with open(run.claim_lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.readline().strip() or "another process"
            raise Busy(f"{run}: is being worked on by {owner}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}" + (f", job {slurm_job()}" if slurm_job() else ""))
        file.write(f"\n{launch_id()}\n")
        file.flush()
        yield


def is_claimed(run: RunFolder) -> bool:
    """Whether a process, of this machine or of another one that shares the folder, holds it now."""
    try:
        with open(run.claim_lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def claimed_on_rank_zero(run: RunFolder) -> AbstractContextManager[None]:
    """`claimed` on the first process of the launch, which holds the folder for all of them."""
    return claimed(run) if launched_rank() == 0 else nullcontext()


def was_claimed_by_us(run: RunFolder) -> bool:
    """Whether this launch was the last to hold the folder."""
    lock = run.claim_lock
    return lock.exists() and lock.read_text(encoding="utf-8").splitlines()[1:] == [launch_id()]
