"""The main job through accelerate, started from this process, which is the launcher then."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from lmeff.cli.input_checks import check_run_of
from lmeff.command_line import read_arguments
from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError
from lmeff.files import not_utf8
from lmeff.formats.state import StateDocument
from lmeff.logs import warn
from lmeff.recipe.machine import may_have_gpu
from lmeff.recipe.wording import one_line, show
from lmeff.recipe.yaml_lines import read_yaml
from lmeff.runs.failure import outcome
from lmeff.runs.signals import SIGNALS, Interrupted
from lmeff.shipped import find_shipped, shipped_names

_FORWARD_EVERY_SECONDS = 1.0
_NUMBERS = {"num_processes": 1, "num_machines": 1, "machine_rank": 0, "main_process_port": 0}
"""Whole numbers of an accelerate configuration, and the least that each may be."""


def train(arguments: Sequence[str], launcher: str | None, num_processes: int | None) -> int:
    """Trains what `arguments`, those of `lmeff.run`, ask for, and returns the run's own exit code: 0, 1, 2 or 75.

    `launcher` is a configuration that comes with lmeff or a file; without one, the run takes a GPU or, where there is none, the
    CPU. A wrong recipe is told before torch is imported.
    """
    try:
        command = read_arguments(arguments)
    except Interrupted as error:  # the rules of a sweep leave nothing to do
        code, _, message = outcome(error)
        warn(message)
        return code
    state = StateDocument.read(command.folder)
    if state is None or state.state != "complete":
        check_run_of(command.resolved)
    config = _configuration(launcher)
    _settle_environment(config, num_processes)
    options = ["--config_file", str(config)]
    options += ["--num_processes", str(num_processes)] if num_processes else []
    with _passing_on_signals() as stop:
        code = _launch([*options, "-m", "lmeff.run", *arguments])
    if code == 0:
        report = command.run.report_html
        if report.is_file():
            print(f"open it in a browser: {report.resolve()}")
        return 0
    if code in (EXIT_INPUT, EXIT_INTERRUPTED):
        return code
    # A process that had not begun to listen dies of the signal, and one that another took with it cannot say why.
    state = StateDocument.read(command.folder)
    interrupted = stop.is_set() and (code < 0 or (state is not None and state.state == "interrupted"))
    return EXIT_INTERRUPTED if interrupted else EXIT_FAILED


def num_processes_of(launcher: str | None, num_processes: int | None) -> tuple[int, bool]:
    """How many processes a launch starts, and whether they compute on CPUs. Raises InputError for a launcher that is not there,
    or that accelerate could not read."""
    settings = _read_configuration(_configuration(launcher))
    return int(num_processes or settings.get("num_processes") or 1), bool(settings.get("use_cpu"))


def _configuration(launcher: str | None) -> Path:
    """The file of a launcher's name. Raises InputError."""
    if launcher is None:
        launcher = "one_gpu" if _has_gpu() else "cpu"
    if Path(launcher).is_file():
        return Path(launcher)
    if os.sep in launcher or launcher.endswith((".yaml", ".yml")):
        raise InputError(f"--launcher: {launcher}: {'not a file' if Path(launcher).exists() else 'no such file'}")
    found, names = find_shipped("launchers", launcher), shipped_names("launchers")
    if found is None:
        near = get_close_matches(launcher, names, 1)
        raise InputError(
            f"--launcher: {launcher!r} is neither a file nor one of {', '.join(names)}"
            + (f"; did you mean '{near[0]}'?" if near else "")
        )
    if found.stem == "multi_node":
        raise InputError(
            "--launcher: multi_node is started on every machine, with accelerate launch; the command stands in"
            f" {found}, and slurm/ does it for you"
        )
    return found


def _has_gpu() -> bool:
    if not may_have_gpu():
        return False
    if sys.platform == "linux":
        return True
    try:  # elsewhere it is told from outside by NVIDIA's tool alone
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _read_configuration(config: Path) -> dict[str, Any]:
    """What an accelerate configuration says. Raises InputError, with file and line, for one that cannot be read."""
    try:
        text = config.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"--launcher: {not_utf8(config)}") from None
    except OSError as error:
        raise InputError(f"--launcher: {config}: cannot be read ({error.strerror})") from None
    try:
        marks = read_yaml(text, str(config)).marks
        settings = yaml.safe_load(text)  # as accelerate reads it
    except InputError as error:
        raise InputError(f"--launcher: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"--launcher: {config}: not YAML: {one_line(error)}") from None
    if not isinstance(settings, dict):
        raise InputError(f"--launcher: {config}:1: not an accelerate configuration, which is a mapping of keys")
    for name, least in _NUMBERS.items():
        value = settings.get(name)
        if value is not None and (type(value) is not int or value < least):
            where = marks.get((name,), config)
            raise InputError(f"--launcher: {where}: {name}: must be a whole number from {least} on, not {show(value)}")
    return settings


def _settle_environment(config: Path, num_processes: int | None) -> None:
    """What the processes of a run take from the environment, where the user has not decided it; a run on CPUs sees no GPU."""
    settings = _read_configuration(config)
    if settings.get("use_cpu"):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = num_processes or settings.get("num_processes") or 1
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // int(processes))))
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        # accelerate tells its processes of `use_cpu` only where it starts one: several would take the GPUs that they see.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Signals are passed on here: torchrun would end processes that are still saving.
    os.environ["PET_SIGNALS_TO_HANDLE"] = "SIGHUP,SIGQUIT"


@contextmanager
def _passing_on_signals() -> Iterator[threading.Event]:
    """Inside, a signal to stop is passed on to the processes that train until they have left, and this one waits for them."""
    stop, done = threading.Event(), threading.Event()

    def pass_on() -> None:
        stop.wait()
        while not done.is_set():  # again and again: a process that is still starting does not listen yet
            for pid in _trainers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            done.wait(_FORWARD_EVERY_SECONDS)

    before = {number: signal.signal(number, lambda *_: stop.set()) for number in SIGNALS}
    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        asked = stop.is_set()
        done.set()
        stop.set()
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        if not asked:
            stop.clear()


def _trainers() -> list[int]:
    """Ids of the processes that train: our own children which run `lmeff.run`, as Linux lists them under `/proc`."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_trainer(path)]


def _is_trainer(process: Path) -> bool:
    try:
        # After the command's name, which may hold spaces and brackets: the state, then the parent's id.
        parent = (process / "stat").read_bytes().rpartition(b")")[2].split()[1]
        return int(parent) == os.getpid() and b"lmeff.run" in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False


def _launch(words: list[str]) -> int:
    """accelerate's launcher in this process; the exit code of the process that ended first, below 0 for a signal."""
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the run itself says how it ended
    options = launch_command_parser().parse_args(words)
    try:
        load_config_from_file(options.config_file)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--launcher: {options.config_file}: accelerate does not take it: {one_line(error)}") from None
    try:
        launch_command(options)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:
        return error.get_first_failure()[1].exitcode
    except ValueError as error:  # what accelerate says of a configuration that it cannot take
        print(f"accelerate: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_INPUT
    return 0
