"""Programs that are forked from a prepared parent are what fresh processes would be."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import prepared
import psutil
import pytest
from launching import ROOT, environment

pytestmark = pytest.mark.medium

TELL = """
import json, os, random, signal, sys, threading
import numpy
print(json.dumps({
    "name": __name__, "arguments": sys.argv[1:], "folder": os.getcwd(), "path": sys.path[1:], "flags": list(sys.flags),
    "variables": dict(os.environ), "is_leader": os.getpid() == os.getsid(0), "parent": os.getppid(),
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
    "threads": threading.active_count(), "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "files": [os.path.realpath(f"/proc/self/fd/{number}") for number in (0, 1)],
}))
print("an error", file=sys.stderr)
"""
POPEN = [subprocess.Popen, prepared.Popen]


def told(popen: type[subprocess.Popen], *command: str, **options: object) -> dict:
    process = popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "an error\n")
    return json.loads(output)


@pytest.mark.parametrize("form", ["-c", "file", "-m"])
def test_a_program_sees_what_a_fresh_process_sees(tmp_path: Path, form: str) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    command = {"-c": ("-c", TELL), "file": ("tell.py",), "-m": ("-m", "tell")}[form]
    options = {"cwd": tmp_path, "env": environment() | {"LMEFF_X": "ä", "RANK": "1"}, "stdin": subprocess.DEVNULL}
    found = [told(popen, *command, "a", "b c", start_new_session=True, **options) for popen in POPEN]
    for one in found:
        assert one.pop("files")[0] == "/dev/null"
        assert one.pop("parent") == os.getpid()
    assert found[1] == found[0]
    assert found[0]["is_leader"]


def test_files_that_are_passed_keep_their_numbers(tmp_path: Path) -> None:
    code = "import os, sys; os.write(int(sys.argv[1]), b'a'); print(sorted(os.listdir('/proc/self/fd')))"
    said = []
    for popen in POPEN:
        with (tmp_path / "answer").open("wb") as file:
            number = os.dup2(file.fileno(), 57)
            command = [sys.executable, "-c", code, str(number)]
            process = popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[number, file.fileno()])
            os.close(number)
            said.append(process.communicate(timeout=60)[0])
        assert (tmp_path / "answer").read_text() == "a"
        assert process.returncode == 0
    assert "57" in said[1]


@pytest.mark.parametrize("number", ["1", "3", None])
def test_as_many_threads_as_the_environment_says(number: str | None) -> None:
    others = {name: value for name, value in environment().items() if name != "OMP_NUM_THREADS"}
    variables = others | ({"OMP_NUM_THREADS": number} if number else {})
    command = [
        sys.executable,
        "-c",
        "import torch; print(torch.get_num_threads(), torch.ones(9, 9).mm(torch.ones(9, 9)).sum())",
    ]
    said = [
        popen(command, stdout=subprocess.PIPE, text=True, env=variables).communicate(timeout=60)[0] for popen in POPEN
    ]
    assert said[1] == said[0]


def test_random_numbers_are_not_those_of_the_next() -> None:
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    said = {prepared.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(3)}
    numbers = [number for line in said for number in line.split()]
    assert len(set(numbers)) == 6


@pytest.mark.parametrize("popen", POPEN)
@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit(259)", 3),
        ("raise ValueError('wrong')", 1),
        ("raise SystemExit('ValueError: wrong')", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import atexit; atexit.register(print, 'at the end')", 0),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('at the end'))).start()", 0),
    ],
)
def test_how_it_ends(popen: type[subprocess.Popen], code: str, ending: int) -> None:
    process = popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == ending
    assert ("ValueError: wrong" in errors) == (ending == 1)
    assert ("at the end" in output) == (ending == 0)


@pytest.mark.parametrize("popen", POPEN)
def test_it_is_a_child_with_a_name_that_a_signal_reaches(popen: type[subprocess.Popen]) -> None:
    process = popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    assert process.pid in [child.pid for child in psutil.Process().children()]
    assert "time.sleep(60)" in " ".join(psutil.Process(process.pid).cmdline())
    process.terminate()
    assert process.wait(timeout=20) == -signal.SIGTERM
    process.stdout.close()


def test_what_it_starts_itself_is_its_child_and_forked_too(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.run([sys.executable, 'inner.py'], check=True).args[1])"
    (tmp_path / "inner.py").write_text("import os, sys; print('torch' in sys.modules, os.getppid())")
    process = prepared.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=60)
    assert output == f"True {process.pid}\ninner.py\n"


def test_variables_that_libraries_read_at_import_have_a_parent_of_their_own() -> None:
    code = "from huggingface_hub import constants; print(constants.ENDPOINT)"
    for url in ("http://127.0.0.1:9", "http://127.0.0.1:10"):
        done = prepared.run(
            [sys.executable, "-c", code], env=environment() | {"HF_ENDPOINT": url}, capture_output=True, text=True
        )
        assert done.stdout.strip() == url


def test_two_processes_of_a_launch(tmp_path: Path) -> None:
    """Under the real launcher, whose own code is 1 when one of its processes fails."""
    (tmp_path / "job.py").write_text(
        "import os, sys\nprint('rank', os.environ['RANK'], os.environ['WORLD_SIZE'], 'torch' in sys.modules)\n"
        "sys.exit(sys.argv[1:] == ['fail'] and os.environ['RANK'] == '1')"
    )
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    command = [accelerate, "launch", "--config_file", "launchers/cpu_ddp.yaml", str(tmp_path / "job.py")]
    for words, code in (([], 0), (["fail"], 1)):
        done = prepared.run([*command, *words], cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        if not words:
            assert sorted(done.stdout.splitlines()) == ["rank 0 2 True", "rank 1 2 True"]
