"""`lmeff sweep run --profile`: final models one after the other, and not beside other work."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from analysis.fake_runs import anchor_document, write_json
from evaluation.small_models import save_model
from sweeps.study import SWEEP
from sweeps.written_runs import write_state

from lmeff.cli.main import main
from lmeff.errors import RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.profile.profile import ProfileSettings
from lmeff.runs.claim import claimed
from lmeff.sweeps.cases import Sweep, read_sweep
from lmeff.sweeps.profiles import profile_finals

QUICK = ProfileSettings(lengths=(16,), batch_sizes=(1,), device="cpu", repeats=3, seconds=0.1)
ANY_LOAD = 1.0
"""The tests' own machine has other work."""


@pytest.fixture
def study(folder: Path) -> Sweep:
    """Two cases with final models."""
    Path("s.yaml").write_text(SWEEP)
    sweep = read_sweep("s.yaml", ["seed=0", "text=few"])
    for case in sweep.cases:
        write_state(case, "complete", step=40)
        case.run.recipe_yaml.write_text(case.resolved.to_yaml())
        revision = case.run.revisions / "seed-0-tokens-20k"
        save_model(revision)
        write_json(revision / "anchor.json", anchor_document(0, 20, 0.5))
        (revision / "manifest.json").write_text("{}")
    return sweep


def silent(line: str) -> None:
    """Says nothing."""


@pytest.mark.slow
def test_finals_are_profiled_once_each_with_what_ranking_reads(study: Sweep) -> None:
    said: list[str] = []
    sweep = read_sweep("s.yaml", ["seed=0", "text=few", "model.hidden_size=32"])
    [case] = sweep.cases
    assert profile_finals(sweep, said.append, QUICK, ANY_LOAD) == 1
    assert said == [f"{case.run}: measuring on cpu ..."]
    file = case.run.results_of("seed-0-tokens-20k") / "profile" / "cpu-float32.json"
    profile = json.loads(file.read_text())
    assert [row["length"] for row in profile["latency"]] == [16]
    assert "peak_bytes" in profile["throughput"]["rows"][0]
    assert profile_finals(sweep, said.append, QUICK, ANY_LOAD) == 0
    assert (len(said), json.loads(file.read_text())) == (1, profile)
    # One that was taken beside other work is asked for again.
    profile["machine"]["load_of_others"] = 1.1
    file.write_text(json.dumps(profile))
    with training_beside(), pytest.raises(RunFailed, match="1 of 1 models are not profiled"):
        profile_finals(sweep, said.append, QUICK, ANY_LOAD)


@contextmanager
def training_beside() -> Iterator[RunFolder]:
    """A run in the same folder of outputs that a process works on."""
    [other] = read_sweep("base.yaml", ["seed=9"]).cases
    with claimed(other.run):
        other.run.plan_json.write_text("{}")
        yield other.run


@contextmanager
def busy_program() -> Iterator[None]:
    """A program that keeps a core busy for as long as the test needs."""
    process = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.medium
def test_a_machine_with_other_work_is_no_place_for_it(study: Sweep) -> None:
    with busy_program(), pytest.raises(RunFailed) as error:
        profile_finals(study, silent, QUICK, looks=1)
    assert str(error.value).startswith("2 of 2 models are not profiled: other programs take ")
    assert str(error.value).endswith("% of the cores; the same command goes on when the machine is idle")


@pytest.mark.medium
def test_nor_is_one_that_trains(study: Sweep, capsys: pytest.CaptureFixture) -> None:
    """Any run in the folder of outputs; with one line, and exit code 1, from the command."""
    with training_beside() as other:
        assert main(["sweep", "run", "s.yaml", "seed=0", "text=few", "--profile"]) == 1
    output = capsys.readouterr()
    assert output.out == "study: 2 of 2 cases are complete\n"
    assert output.err.splitlines()[-1] == (
        f"2 of 2 models are not profiled: {other} is being trained; the same command goes on when the machine is idle"
    )
