"""`lmeff status`: what a run is doing, from its folder alone."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lmeff.analysis.reading.paths import read_runs
from lmeff.analysis.report.views import RunView
from lmeff.cli.main import main
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.run_log import LogRecord
from lmeff.formats.state import StateDocument
from lmeff.plan import make_plan
from lmeff.recipe import read_recipe
from lmeff.runs.status import read_status

TIME = "2026-11-26T00:00:00+00:00"


def write_state(run: RunFolder, state: str, step: int, *, pid: int, host: str = "", error: str | None = None) -> None:
    StateDocument(
        state=state,
        step=step,
        tokens=2048 * step,
        next_anchor=400_000,
        pid=pid,
        host=host or socket.gethostname(),
        job="12_3",
        error=error,
        updated=TIME,
    ).write(run)


def make_run(folder: Path, *words: str) -> RunFolder:
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    make_plan(read_recipe("quickstart", words).recipe).write(run)
    return run


def write_log(run: RunFolder, step: int, loss: float, speed: float, kind: str | None = None) -> None:
    LogRecord(
        step=step,
        tokens=2048 * step,
        epoch=0.1,
        loss=loss,
        grad_norm=1.0,
        learning_rate=1e-3,
        tokens_per_second=speed,
        num_loss_tokens=1,
        num_skipped_steps=0,
        time=TIME,
        loss_kind=kind,
    ).append(run.log_jsonl)


def write_score(run: RunFolder, revision: str, task: str, value: float, metric: str = "acc") -> None:
    results = {task: {"alias": task, "acc_stderr,none": 0.1, f"{metric},none": value, "ties,none": 0.0}}
    content = {
        "kind": "pairs",
        "results": results,
        "configs": {},
        "versions": {},
        "n-samples": {},
        "higher_is_better": {},
    }
    path = run.results_of(revision) / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def ended_pid() -> int:
    """Of a process that is not there any more."""
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def test_a_run_on_its_way(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = make_run(tmp_path / "a" / "seed-0")
    write_state(run, "running", 195, pid=os.getpid())
    write_log(run, 190, 3.5, 1000.0)
    write_log(run, 195, 3.25, 1601536 / 60)
    with open(run.log_jsonl, "a") as file:
        file.write('{"step": 196, "to')
    write_score(run, "seed-0-tokens-50k", "lmeff_synthetic", 0.5)
    write_score(run, "seed-0-tokens-200k", "lmeff_synthetic", 0.75)
    (run.results_of("seed-0-tokens-400k")).mkdir()
    status = read_status(run.path)
    assert (status.state, status.shown, status.step, status.loss) == ("running", "running", 195, 3.25)
    assert status.share == pytest.approx(195 / 782)
    assert status.seconds_left == pytest.approx(60 * (782 - 195) / 782)
    assert status.score is not None
    assert (status.score.value, status.score.revision) == (0.75, "seed-0-tokens-200k")
    assert (status.next_anchor, status.job, status.undelivered) == (400_000, "12_3", 0)
    assert main(["status", str(tmp_path)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "run"
    assert row.split()[1:] == [
        "running",
        "24%",
        "399k",
        "3.250",
        "75.0%",
        "lmeff_synthetic",
        "400k",
        "45",
        "s",
        "12_3",
    ]


def test_scores_are_in_percent_as_in_tables_and_shares_in_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    measured = {"a": ("acc", 0.5333), "b": ("spearman", 0.5333), "c": ("em", 0.31), "d": ("f1", 45.2)}
    for name, (metric, value) in measured.items():
        run = make_run(tmp_path / name / "seed-0")
        write_score(run, "seed-0-tokens-50k", "wug", value, metric)
    assert main(["status", str(tmp_path), "--json"]) == 0
    scores = [one["score"] for one in json.loads(capsys.readouterr().out)]
    assert [(one["metric"], one["value"]) for one in scores] == list(measured.values())
    assert main(["status", str(tmp_path)]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in lines] == ["53.3%", "0.533", "31.0%", "45.200"]


def test_a_process_that_is_gone(tmp_path: Path, ended_pid: int) -> None:
    run = make_run(tmp_path / "seed-0")
    write_state(run, "running", 10, pid=ended_pid)
    assert read_status(run.path).shown == "running, but its process is gone"
    write_state(run, "running", 10, pid=ended_pid, host="elsewhere")
    assert read_status(run.path).shown == "running"


def test_a_report_that_is_being_written_or_never_will_be(tmp_path: Path, ended_pid: int) -> None:
    run = make_run(tmp_path / "seed-0")
    write_state(run, "complete", 782, pid=os.getpid())
    assert read_status(run.path).shown == "writing the report"
    write_state(run, "complete", 782, pid=ended_pid)
    assert read_status(run.path).shown == "complete, no report"
    write_state(run, "complete", 782, pid=ended_pid, host="elsewhere")
    assert read_status(run.path).shown == "complete, no report", "it has had time enough"
    run.report_html.write_text("<html>")
    status = read_status(run.path)
    assert (status.state, status.shown, status.share) == ("complete", "complete", 1.0)


def test_a_failed_run_says_why_on_its_own_line(tmp_path: Path, ended_pid: int, capsys: pytest.CaptureFixture) -> None:
    run = make_run(tmp_path / "seed-0")
    write_state(run, "failed", 10, pid=ended_pid, error="the loss is nan")
    assert main(["status", str(run.path)]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "  the loss is nan"


def test_a_run_in_parts_counts_all_of_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "seed-0", "anchors.mode=restart", "anchors.tokens=[0,204800,409600]")
    first, second = run.part("204800"), run.part("409600")
    for part, step in ((first, 100), (second, 50)):
        part.path.mkdir(parents=True)
        write_state(part, "complete" if step == 100 else "interrupted", step, pid=1)
    status = read_status(run.path)
    assert status.tokens == 150 * 2048
    assert status.share == pytest.approx(150 / 300)
    # The report says the same, whatever its own state has counted.
    write_state(run, "interrupted", 50, pid=1)
    (found,) = read_runs([run.path])
    assert RunView(found, "parts").state_text == "Interrupted at 50%"
    assert read_status(run.path).share == pytest.approx(150 / 300)


def test_the_loss_of_a_complete_run_is_that_of_its_last_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a" / "seed-0")
    write_state(run, "complete", 25, pid=1)
    write_log(run, 20, 5.3, 1000.0)
    assert read_status(run.path).loss == 5.3
    folder = run.revision("seed-0")
    folder.mkdir(parents=True)
    AnchorDocument(
        nominal_tokens=50_000, exact_tokens=51_200, step=25, epoch=0.1, seed=0, mode="snapshot", part=None, loss=4.9,
        dev_loss=5.0, dev_perplexity=148.0, dev_bits_per_byte=1.0, num_skipped_steps=0, train_seconds=1.0, flops=1.0,
        world_size=1, device="cpu", weights_sha256="0" * 64, same_as="seed-0-tokens-50k", loss_steps=(25, 25),
    ).write(folder)  # fmt: skip
    assert read_status(run.path).loss == 4.9
    write_log(run, 25, 5.1, 1000.0)
    assert read_status(run.path).loss == 5.1


def test_losses_of_different_kinds_have_columns_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kinds = {"a": None, "b": "masked", "c": "hybrid", "d": "permutation", "e": "masked"}
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        run = make_run(tmp_path / name / "seed-0")
        write_state(run, "running", 10, pid=os.getpid())
        write_log(run, 10, float(number), 1000.0, kind)
    assert main(["status", str(tmp_path)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    names = ["loss", "masked loss", "hybrid loss", "permutation loss"]
    assert [name for name in re.split("  +", head) if "loss" in name] == names
    ends = {name: head.index(f"  {name}  ") + 2 + len(name) for name in names}
    found = [
        (row[: ends[name]].split()[-1], name) for row in rows for name in names if row[: ends[name]].endswith("000")
    ]
    assert found == [
        (f"{number}.000", f"{kind or ''} loss".strip()) for number, kind in enumerate(kinds.values(), start=1)
    ]

    assert main(["status", str(tmp_path), "--json"]) == 0
    causal, masked, *_ = json.loads(capsys.readouterr().out)
    assert (causal["loss"], "masked_loss" in causal) == (1.0, False)
    assert (masked["loss"], masked["masked_loss"]) == (None, 2.0)


def test_json_has_an_object_for_each_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in "ab":
        write_state(make_run(tmp_path / name / "seed-0"), "interrupted", 7, pid=1)
    assert main(["status", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(one["folder"]).parent.name for one in found] == ["a", "b"]
    assert {one["state"] for one in found} == {"interrupted"}
    assert found[0]["tokens"] == 7 * 2048
    assert found[0]["score"] is None


@pytest.mark.medium
def test_it_needs_neither_torch_nor_pandas(tmp_path: Path) -> None:
    write_state(make_run(tmp_path / "seed-0"), "interrupted", 7, pid=1)
    code = (
        "import sys; from lmeff.cli.main import main; main(sys.argv[1:]);"
        " sys.exit(' '.join({'torch', 'pandas', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, "status", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stdout
