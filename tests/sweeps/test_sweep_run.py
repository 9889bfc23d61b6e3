"""Running the cases of a sweep on this machine: some at a time, each failing by itself, stopping, and going on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import prepared
import pytest
from launching import RECIPE, ROOT, STORIES, environment
from sweeps.study import SWEEP

from lmeff.cli.main import main
from lmeff.errors import InputError
from lmeff.formats.state import StateDocument
from lmeff.runs.claim import claimed
from lmeff.sweeps.cases import Case, Sweep, read_sweep
from lmeff.sweeps.local import Progress, cores_of, devices_of, run_cases
from lmeff.sweeps.table import LiveTable

pytestmark = pytest.mark.medium
COMPLETE = json.dumps(
    {
        "format": 1,
        "state": "complete",
        "step": 40,
        "tokens": 20480,
        "next_anchor": None,
        "pid": 1,
        "host": "h",
        "job": None,
        "error": None,
        "updated": "2026-11-26T00:00:00+00:00",
    }
)


def shell(case: Case, script: str) -> list[str]:
    """A stand-in for `lmeff train`, which knows its run's folder and index."""
    return ["sh", "-c", f"cd '{case.run}'; {script}", "sh", str(case.index)]


def complete(case: Case) -> list[str]:
    return shell(case, f"echo x >> starts; echo '{COMPLETE}' > state.json")


@pytest.fixture
def sweep(folder: Path) -> Sweep:
    """Eight cases."""
    Path("s.yaml").write_text(SWEEP)
    return read_sweep("s.yaml")


def silent(progress: Progress) -> None:
    """Shows nothing."""


def test_every_case_is_run_once_and_a_complete_one_not_again(sweep: Sweep) -> None:
    run_cases(sweep.cases, complete, 3, silent)
    progress = run_cases(sweep.cases, complete, 3, silent)
    assert progress.outcomes == dict.fromkeys(range(8), "complete")
    assert not progress.waiting
    assert all((case.run.path / "starts").read_text() == "x\n" for case in sweep.cases)


def test_no_more_run_at_a_time_than_there_are_jobs(sweep: Sweep) -> None:
    most: list[int] = []
    script = f"sleep 0.3; echo '{COMPLETE}' > state.json"
    run_cases(sweep.cases[:5], lambda case: shell(case, script), 2, lambda progress: most.append(len(progress.running)))
    assert max(most) == 2


def test_a_case_that_fails_fails_alone_and_says_why(sweep: Sweep) -> None:
    said: list[str] = []
    table = LiveTable(sweep, said.append, is_terminal=False)
    progress = run_cases(
        sweep.cases,
        lambda case: (
            shell(case, "echo hello; echo 'the text is not there'; exit 2") if case.index == 3 else complete(case)
        ),
        2,
        table,
    )
    assert progress.outcomes == dict.fromkeys(range(8), "complete") | {3: "failed"}
    assert progress.why == {3: "the text is not there"}
    lines = "".join(said).splitlines()
    assert len(lines) == 8
    [line] = [line for line in lines if "failed" in line]
    assert line.endswith("case 3 (hidden_size-64_many, seed 0): failed: the text is not there")


def test_what_a_case_says_of_an_earlier_start_is_no_reason(sweep: Sweep) -> None:
    def failing(error: str | None, last_words: str) -> str:
        failed = json.dumps(json.loads(COMPLETE) | {"state": "failed", "error": error, "pid": os.getpid()})
        script = (f"echo '{failed}' > state.json; " if error else "") + f"echo '{last_words}'; exit 1"
        return run_cases(sweep.cases[:1], lambda case: shell(case, script), 1, silent).why[0]

    assert failing("the loss is not finite", "Traceback") == "the loss is not finite"
    assert failing(None, "no such option") == "no such option"
    assert failing(None, "") == "it ended without a word"


def test_a_case_that_another_process_works_on_is_waited_for(sweep: Sweep) -> None:
    """Whoever wrote its state: a process of that number may be another program by now."""
    case, said, order = sweep.cases[0], list[str](), list[int]()
    table = LiveTable(sweep, said.append, is_terminal=False)
    with ExitStack() as other:
        other.enter_context(claimed(case.run))

        def end_the_other(progress: Progress) -> None:
            table(progress)
            order[:] = progress.outcomes
            if len(progress.outcomes) == 2:
                other.close()

        run_cases(sweep.cases[:3], complete, 1, end_the_other)
    assert order == [1, 2, 0]
    assert "".join(said).count("case 0 (hidden_size-32_few, seed 0) is being worked on by another process") == 1


def test_a_state_that_a_killed_run_left_holds_nothing(sweep: Sweep) -> None:
    case = sweep.cases[0]
    with claimed(case.run):  # and left again
        left = json.loads(COMPLETE) | {"state": "running", "pid": os.getpid(), "host": os.uname().nodename}
        case.run.state_json.write_text(json.dumps(left))
    assert run_cases([case], complete, 1, silent).outcomes == {0: "complete"}


def test_a_signal_lets_the_cases_save_and_leaves_the_others(sweep: Sweep) -> None:
    script = 'trap "echo saved > saved; exit 75" TERM; touch begun; sleep 5 & wait'
    begun = [case.run.path / "begun" for case in sweep.cases[:2]]

    def stop() -> None:
        deadline = time.monotonic() + 20
        while not all(path.exists() for path in begun) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    progress = run_cases(sweep.cases, lambda case: shell(case, script), 2, silent)
    thread.join()
    assert progress.outcomes == {0: "interrupted", 1: "interrupted"}
    assert len(progress.waiting) == 6
    assert all((case.run.path / "saved").exists() for case in sweep.cases[:2])
    progress = run_cases(sweep.cases, complete, 4, silent)
    assert progress.outcomes == dict.fromkeys(range(8), "complete")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is dead")
def test_cases_are_stopped_when_the_sweep_is_killed(sweep: Sweep) -> None:
    case = sweep.cases[0]
    script = 'trap "echo saved > saved; exit 75" TERM; touch begun; sleep 5 & wait'
    child = os.fork()
    if not child:
        run_cases([case], lambda one: shell(one, script), 1, silent)
        os._exit(0)
    deadline = time.monotonic() + 20
    while not (case.run.path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while not (case.run.path / "saved").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_terminal_shows_one_table_over_itself(sweep: Sweep) -> None:
    written: list[str] = []
    table = LiveTable(sweep, written.append, is_terminal=True)
    progress = Progress(list(sweep.cases[2:]), {0: sweep.cases[0], 1: sweep.cases[1]})
    table(progress)
    assert written[0].splitlines()[0].startswith("study: 2 running, 6 waiting, ")
    assert len(written[0].splitlines()) == 4
    progress.outcomes[0] = "complete"
    del progress.running[0]
    table(progress)
    assert written[1].startswith("\033[4A\033[J1/8  case 0 (hidden_size-32_few, seed 0): complete\n")
    table.close()
    assert written[2] == "\033[3A\033[J"


def test_the_table_has_a_column_for_each_kind_of_loss(sweep: Sweep) -> None:
    for case, kind in zip(sweep.cases[:2], (None, "masked"), strict=True):
        case.run.path.mkdir(parents=True)
        record = {"step": 1, "loss": 2.5 + case.index, "loss_kind": kind}
        case.run.log_jsonl.write_text(json.dumps(record) + "\n")
    written: list[str] = []
    LiveTable(sweep, written.append, is_terminal=True)(Progress([], dict(enumerate(sweep.cases[:2]))))
    _, head, causal, masked = written[0].splitlines()
    places = [head.index("  loss  ") + 6, head.index("  masked loss  ") + 13]
    assert [row[:place][-5:] for row, place in zip((causal, masked), places, strict=True)] == ["2.500", "3.500"]
    assert masked[: places[0]][-5:] == "     "


def test_devices_are_shared_out_in_turn() -> None:
    assert [devices_of(place, ["0", "1", "5"]) for place in range(4)] == [["0"], ["1"], ["5"], ["0"]]
    two_each = [["0", "1"], ["2", "3"], ["0", "1"]]
    assert [devices_of(place, ["0", "1", "2", "3", "4"], processes=2) for place in range(3)] == two_each
    with pytest.raises(InputError, match="--num-processes: 2, or --launcher's, are more than the GPUs here, 1"):
        devices_of(0, ["0"], processes=2)


def test_a_case_sees_its_own_devices_and_cores(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    script = f"echo \"$CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS\" > seen; sleep 0.5; echo '{COMPLETE}' > state.json"
    run_cases(sweep.cases[:2], lambda case: shell(case, script), 2, silent, processes=2, devices=["4", "5", "6", "7"])
    threads = max(1, len(os.sched_getaffinity(0)) // 4)
    assert [(case.run.path / "seen").read_text() for case in sweep.cases[:2]] == [
        f"4,5 {threads}\n",
        f"6,7 {threads}\n",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to cores")
def test_cases_on_a_cpu_do_not_share_cores(sweep: Sweep) -> None:
    """What a run counts to choose its threads, whatever OMP_NUM_THREADS says."""
    script = f"nproc > seen; sleep 0.5; echo '{COMPLETE}' > state.json"

    def seen(jobs: int) -> list[int]:
        for case in sweep.cases[:jobs]:
            case.run.state_json.unlink(missing_ok=True)
        run_cases(sweep.cases[:jobs], lambda case: shell(case, f"unset OMP_NUM_THREADS; {script}"), jobs, silent)
        return [int((case.run.path / "seen").read_text()) for case in sweep.cases[:jobs]]

    cores = len(os.sched_getaffinity(0))
    assert seen(1) == [cores]
    assert seen(2) == [max(1, cores // 2)] * 2
    pinned = [cores_of(place, 2) for place in (0, 1)]
    assert cores == 1 or (pinned[0] and pinned[1] and not pinned[0] & pinned[1])
    assert cores_of(0, cores + 1) is None


def test_a_run_of_another_recipe_is_no_case(sweep: Sweep, capsys: pytest.CaptureFixture) -> None:
    for case in sweep.cases:
        (case.run.revisions / f"seed-{case.seed}").mkdir(parents=True)
        case.run.recipe_yaml.write_text(case.resolved.to_yaml())
        case.run.state_json.write_text(COMPLETE)
    assert main(["sweep", "run", "s.yaml", "evaluation.limit=1000"]) == 0  # which trains the same
    assert capsys.readouterr().out == "study: 8 of 8 cases are complete\n"
    assert main(["sweep", "run", "s.yaml", "evaluation.dev_tokens=1000"]) == 2, (
        "losses over other text are not compared"
    )
    assert "evaluation.dev_tokens was 100000, is now 1000" in capsys.readouterr().err
    words = ["s.yaml", "batch.tokens=1024"]
    for verb in ("run", "submit"):
        shutil.copytree(ROOT / "slurm", "slurm", dirs_exist_ok=True)
        assert main(["sweep", verb, *words]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 8
        assert lines[3] == (
            "outputs/study/hidden_size-64_many/seed-0: batch.tokens was 512, is now 1024; give the sweep another name, or go on"
            " with lmeff train s.yaml batch.tokens=1024 --index 3 --accept-changes"
        )
    assert main(["sweep", "rank", *words]) == 2
    said = "hidden_size-32_few, seed 0: trained with another recipe (batch.tokens was 512, is now 1024)"
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_real_cases_of_which_one_fails(tmp_path: Path) -> None:
    """Two learn, and the vocabulary of the third is more than its text allows, which is seen when it is prepared."""
    (tmp_path / "stories.jsonl").write_text(STORIES)
    (tmp_path / "base.yaml").write_text(RECIPE.format(folder=tmp_path))
    (tmp_path / "s.yaml").write_text("sweep: s\nrecipe: base.yaml\naxes: {tokenizer.vocab_size: [300, 320, 20000]}\n")

    def lmeff(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lmeff.cli", "sweep", *words]
        variables = environment() | {"OMP_NUM_THREADS": "1"}
        return prepared.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    words = ("s.yaml", "--launcher", "cpu", "anchors.tokens=[0,5k]", "schedule.warmup=2 steps")
    done = lmeff("run", *words, "--jobs", "3")
    assert done.returncode == 1, done.stderr
    first, failed = done.stdout.splitlines()
    assert first == "s: 2 of 3 cases are complete"
    assert failed.startswith("case 2 (vocab_size-20k, seed 1) failed: ")
    assert "tokenizer.vocab_size: the training text allows" in failed
    assert "Traceback" not in done.stdout + done.stderr
    runs = [case.run for case in read_sweep(str(tmp_path / "s.yaml"), [words[3], words[4]]).cases]
    states = [StateDocument.read(run) for run in runs]
    assert [state.state if state else None for state in states] == ["complete", "complete", "failed"]
    assert all((run.revisions / "seed-1" / "model.safetensors").is_file() for run in runs[:2])
    before = [run.state_json.read_bytes() for run in runs[:2]]
    again = lmeff("run", *words)
    assert again.returncode == 1
    assert [run.state_json.read_bytes() for run in runs[:2]] == before, "what is complete is not run again"
