"""The process that forks programs for `prepared.py`: `python prepared_parent.py CONNECTION ROOM`."""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

BUFFER_BYTES = 1 << 20
MAX_FILES = 16
_PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parents[1]

THIRD_PARTY = (
    "accelerate",
    "accelerate.commands.accelerate_cli",
    "accelerate.commands.launch",
    "datasets",
    "lm_eval.evaluator",
    "lm_eval.models.huggingface",
    "lm_eval.tasks",
    "pandas",
    "torch.distributed.run",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.trainer",
)
"""What lmeff imports of others only when it is needed."""
ZERO = "deepspeed.runtime.zero.muon.muon_optimizer"
"""What ZeRO imports in every process, also where nobody asked for Muon: it brings torch's compiler along."""


@contextmanager
def set_subreaper() -> Iterator[None]:
    """Inside, a process whose parent is gone becomes a child of this one."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def serve(connection: socket.socket) -> dict:
    """Forks for every request; returns it in the new process only. Leaves when nobody asks any more."""
    while True:
        message, files, *_ = socket.recv_fds(connection, BUFFER_BYTES, MAX_FILES)
        if not message:
            os._exit(0)
        # A middle process that leaves at once makes the new one an orphan, which falls to the process that asks.
        middle = os.fork()
        if middle == 0:
            middle = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == middle:
                time.sleep(0.001)
            request = json.loads(message)
            become(request, files, connection)
            return request
        os.waitpid(middle, 0)
        for file in files:
            os.close(file)


def become(request: dict, files: list[int], connection: socket.socket) -> None:
    """Makes this process the one that is asked for, and says so."""
    if request["new_session"]:
        os.setsid()
    elif request["process_group"] >= 0:
        os.setpgid(0, request["process_group"])
    try:
        os.chdir(request["directory"])
    except OSError as error:
        connection.send(json.dumps(str(error)).encode())
        os._exit(1)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    connection.send(json.dumps(os.getpid()).encode())
    connection.detach()
    place_files(files, [0, 1, 2, *request["passed"]])
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=request["words"][1:2] == ["-u"])
    set_command_line(request["words"])
    seed_numpy()
    set_num_threads()


def place_files(files: list[int], numbers: list[int]) -> None:
    """Gives these open files these numbers, and closes all others."""
    # First out of the way of the numbers, which may be among them.
    above = max(*files, *numbers) + 1
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in files]
    for number, file in zip(numbers, aside, strict=True):
        os.dup2(file, number)
    for before, after in pairwise([*sorted(set(numbers)), 1 << 16]):
        if before + 1 < after:  # of an empty range all are closed
            os.closerange(before + 1, after)


def seed_numpy() -> None:
    """Python's own random numbers are seeded anew in every fork, these are not."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def set_num_threads() -> None:
    """Torch has read the number when it was imported."""
    if torch := sys.modules.get("torch"):
        num_cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(min(num_cores, int(os.environ.get("OMP_NUM_THREADS") or num_cores)))


def set_command_line(words: list[str]) -> None:
    """What `ps` shows. The room is that of this process's own arguments."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    text = b"\0".join(os.fsencode(word) for word in words)[: end - start - 1]
    ctypes.memmove(start, text + bytes(end - start - len(text)), end - start)


def import_everything() -> None:
    import lmeff

    # On a GPU, importing DeepSpeed may open it, and no fork could use it.
    for name in (*THIRD_PARTY, *([ZERO] if os.environ.get("DS_ACCELERATOR") == "cpu" else [])):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(lmeff.__path__, "lmeff."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # What altair reads when its first chart is checked.
    importlib.import_module("altair").Chart("numbers").mark_line().encode(x="tokens:Q").to_dict()


def assert_one_thread() -> None:
    """A fork takes only one thread along. jemalloc, which came with pyarrow, starts its own anew in a child."""
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    assert len(names - {"jemalloc_bg_thd"}) == 1, names


def run_program(program: list[str]) -> None:
    """As Python itself runs it; does not return where the program leaves."""
    if program[0] == "-m":
        _, module, *arguments = program
        # A program that others import has to run anew, as `__main__`.
        sys.modules.pop(module, None)
        sys.path[0] = str(Path.cwd())
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif program[0] == "-c":
        _, code, *arguments = program
        sys.path[0], sys.argv = "", ["-c", *arguments]
        with os.fdopen(os.memfd_create("program"), "w") as file:
            file.write(code)
            file.flush()
            runpy.run_path(f"/proc/self/fd/{file.fileno()}", run_name="__main__")
    else:
        sys.argv, sys.path[0] = program, str(Path(program[0]).resolve().parent)
        runpy.run_path(program[0], run_name="__main__")


def leave_parent_behind() -> None:
    """Divides this new program: one process goes on, the other is the parent of the programs that it starts itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        sys.path.append(str(Path(__file__).parent))
        import prepared

        prepared.use_only(ours)
        sys.path.pop()
    else:
        ours.close()
        set_command_line(["parent", "of", "programs"])  # nobody takes it for the program
        os.setsid()
        start(serve(theirs))


_exit_code: int | None = None


def start(request: dict) -> None:
    global _exit_code
    leave_parent_behind()
    try:
        run_program(request["program"])
        sys.exit()
    except SystemExit as leaving:
        _exit_code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        raise
    except KeyboardInterrupt:
        raise  # Python ends itself by that very signal
    except BaseException:
        _exit_code = 1
        raise


def leave_without_tidying() -> None:
    """The last thing that Python does at its exit before it takes all modules apart, which takes half a second of so many."""
    if _exit_code is None:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return  # Python has words, and an exit code, for a stream that can't be written
    os._exit(_exit_code & 0xFF)


if __name__ == "__main__":
    atexit.register(leave_without_tidying)  # the first to be registered is the last to be called
    connection = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = str(ROOT)
    import_everything()
    assert_one_thread()
    gc.freeze()
    start(serve(connection))
