"""Python programs that start at once: forked from a parent that has imported what they are going to import.

`Popen` and `run` stand in for those of `subprocess`, for `[python, "-m", MODULE, ...]`, `[python, "-c", CODE, ...]`,
`[python, FILE, ...]` and `[accelerate, ...]`. A child is what a fresh process would be: a child of the caller, with its own
arguments, environment, folder, files, session and signals, whose program runs as `__main__`. Under `accelerate launch` the
processes of the run are forked too; everything else about it is real.

Three things differ: modules are there before the program asks for them, and still at its end, after what was registered for
that (`atexit`) has run; and all children of one parent hash strings alike. So what is tested of imports, or of the launch
itself, goes through `subprocess`.
"""

import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from prepared_parent import BUFFER_BYTES, set_subreaper

LATE = (
    *(
        "RANK",
        "WORLD_SIZE",
        "LOCAL_*",
        "GROUP_*",
        "ROLE_*",
        "MASTER_*",
        "TORCHELASTIC_*",
        "TORCH_NCCL_*",
        "ACCELERATE_*",
        "PET_*",
    ),
    *("LMEFF_*", "HF_NAMESPACE", "HF_TOKEN", "TRACKIO_*", "SLURM_*", "PYTEST_*"),
    *(
        "OMP_NUM_THREADS",
        "KILL_AT_STEP",  # of tests/training/toy_methods.py
        "KMP_*",  # accelerate sets them for Intel's OpenMP, which this torch doesn't have
        "PYTORCH_NVML_BASED_CUDA_CHECK",
        "TZ",
        "COLUMNS",
        "LINES",
        "NO_COLOR",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ),
)
"""Patterns of variables that are read when a program runs. The others may be read when a library is imported: a parent has
them from its start, and another set of them gets another parent."""
_FreshProcess = subprocess.Popen
MAX_PARENTS = 3
"""How many parents are kept, of half a gigabyte each; the one not used for the longest time ends first."""


class Parent:
    """A process that forks programs. It ends when nobody holds the other end of its connection."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen | None = None) -> None:
        self._connection, self._process, self._lock = connection, process, threading.Lock()

    @classmethod
    def start(cls, environment: dict[str, str]) -> "Parent":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = Path(__file__).with_name("prepared_parent.py")
        # The last argument is room for the command lines of its children.
        command = [sys.executable, str(script), str(theirs.fileno()), " " * 4000]
        with theirs:
            try:
                # A test may have put our own class in place of this one: it would look for the very parent that begins here.
                process = _FreshProcess(
                    command,
                    # New threads of its children have as many as it began with, whatever the child says: one, as in most.
                    env=environment | {"OMP_NUM_THREADS": "1"},
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        return cls(ours, process)

    def fork(self, request: dict, files: Sequence[int]) -> int:
        """The new process, a child of this one."""
        with self._lock, set_subreaper():
            socket.send_fds(self._connection, [json.dumps(request).encode()], files)
            answer = json.loads(self._connection.recv(BUFFER_BYTES) or '"the prepared parent has died"')
        if isinstance(answer, int):
            return answer
        raise ChildProcessError(answer)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()


class Popen(subprocess.Popen):
    """A program forked from a prepared parent; one that cannot be forked is started as ever."""

    def _execute_child(self, *arguments: object, **options: object) -> None:
        given = inspect.signature(super()._execute_child).bind(*arguments, **options).arguments
        words = [os.fspath(word) for word in given["args"]] if not isinstance(given["args"], str) else []
        program = python_program(words)
        environment = dict(os.environ if given["env"] is None else given["env"])
        parent = None if given["preexec_fn"] or not program else find_parent(environment)
        if parent is None:
            super()._execute_child(*arguments, **options)
            return
        sys.audit("subprocess.Popen", words[0], words, given["cwd"], environment)
        request = {
            "words": words,
            "program": program,
            "environment": environment,
            "directory": os.fspath(given["cwd"] or Path.cwd()),
            "new_session": given["start_new_session"],
            "process_group": given["process_group"],
            "passed": list(given["pass_fds"]),
        }
        pipes = [given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        files = [pipe if pipe >= 0 else number for number, pipe in enumerate((pipes[0], pipes[3], pipes[5]))]
        files += request["passed"]
        try:
            self.pid = parent.fork(request, files)
        except (
            BrokenPipeError,
            ConnectionError,
            ChildProcessError,
        ):  # a test ended the parent together with its program
            super()._execute_child(*arguments, **options)
            return
        self._child_created = True
        self._close_pipe_fds(*pipes)


def run(
    words: Sequence[str], *, timeout: float = 300, check: bool = False, **options: object
) -> subprocess.CompletedProcess:
    """`subprocess.run`."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(words, **options) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(words, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done


def python_program(words: Sequence[str]) -> list[str] | None:
    """What comes after `python`, of a program that can be forked."""
    if not words:
        return None
    if words[0] == sys.executable:
        rest = list(words[2:] if words[1:2] == ["-u"] else words[1:])
        return rest if rest and (rest[0] in ("-m", "-c") or not rest[0].startswith("-")) else None
    return list(words) if Path(words[0]).name == "accelerate" else None


def early_key(environment: dict[str, str]) -> str:
    """The variables that decide which parent a program has."""
    if "PYTHONPATH" in environment:  # to which a launcher adds the folder that is there already
        folders = environment["PYTHONPATH"].split(os.pathsep)
        environment = environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))}
    return json.dumps(
        {
            name: value
            for name, value in sorted(environment.items())
            if not any(fnmatchcase(name, pattern) for pattern in LATE)
        }
    )


_parents: dict[str, Parent] = {}
_parents_lock = threading.Lock()
_only: tuple[str, Parent] | None = None


def find_parent(environment: dict[str, str]) -> Parent | None:
    """One with these variables, started if there is none. In a forked program there is one, or none."""
    key = early_key(environment)
    if _only is not None:
        return _only[1] if _only[0] == key else None
    with _parents_lock:
        parent = _parents.pop(key, None) or Parent.start(json.loads(key))
        _parents[key] = parent
        while len(_parents) > MAX_PARENTS:
            _parents.pop(next(iter(_parents))).close()
    return parent


def close_parents() -> None:
    """When the tests are over."""
    with _parents_lock:
        while _parents:
            _parents.popitem()[1].close()


def use_only(connection: socket.socket) -> None:
    """In a forked program: its own Python programs are forked too, from the parent at the other end."""
    global _only
    with _parents_lock:
        _only = (early_key(dict(os.environ)), Parent(connection))
    subprocess.Popen = Popen
    if handler := sys.modules.get("torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"):
        handler.Popen = Popen
