"""A sweep in a real Slurm: `lmeff sweep submit` prepares once, an array trains the cases, and another scores beside it what
training leaves to it. One case loses its node, one fails alone, and one is ended by a rule."""

import sys
from pathlib import Path

import pytest
from launching import ROOT, read_lines
from slurm.jobs import NUM_STEPS, read_state, stop_in_the_middle

from lmeff.cli.main import main

pytestmark = pytest.mark.slow
LONG = 900
"""Seconds that a job may take on a machine that has other work."""
TASK = "lmeff_pairs"
# A vocabulary that the text does not allow is found when it is prepared.
SWEEP = """sweep: s
recipe: one.yaml
axes:
  way:
    good: {{evaluation.tasks: [{task}], evaluation.paths.pairs: '{folder}/pairs', evaluation.at_anchors: false}}
    wrong: {{tokenizer.vocab_size: 20000}}
    slow: {{optimizer.learning_rate: 1e-6}}
ranking: {{rungs: prefix, kill: {{at_tokens: [2k], halving: {{keep: 0.5}}}}}}
"""


def prepared(folder: Path) -> dict[Path, int]:
    """When text, tokenizer and tokens were written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("manifest.json")}


def test_a_sweep_is_prepared_once_trained_scored_and_goes_on(
    slurm, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    sweep = folder / "sweep.yaml"
    sweep.write_text(SWEEP.format(task=TASK, folder=folder))
    (folder / "pairs").mkdir()
    (folder / "pairs" / "own.jsonl").write_text('{"sentence_good": "A dog ran.", "sentence_bad": "A dog run."}\n')
    variables = {
        "SLURM_CONF": f"{slurm.folder}/slurm.conf",
        "LMEFF_VENV": sys.prefix,
        "LMEFF_LAUNCHER": "launchers/cpu.yaml",
        "PYTHONPATH": str(ROOT),
        "SBATCH_OUTPUT": f"{slurm.folder}/%A_%a.out",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    # Held-out text that is taken whole can be compared across vocabularies.
    assert main(["sweep", "submit", str(sweep), "evaluation.dev_tokens=9k", "checkpoints.every_steps=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    preparation, array, scoring = [line.split()[1] for line in lines if line.startswith("submitted")]
    slurm.call("scontrol", "hold", f"{array}_2")  # so that the others have ended when it comes to the rung

    # What can be prepared is, and the case for which that is not so fails when it is trained.
    slurm.wait(preparation, "FAILED", LONG)
    assert "tokenizer.vocab_size: the training text allows" in slurm.said(preparation)
    before = prepared(folder)
    assert len(before) >= 2
    good, wrong, slow = (folder / "outputs" / "s" / name / "seed-0" for name in ("good", "wrong", "slow"))
    stop_in_the_middle(good, LONG)  # at once: the other case may take longer than all of this one
    assert slurm.wait(f"{array}_1", "FAILED", LONG)["Restarts"] == "0", "a case that fails is not queued again"
    assert read_state(wrong)["state"] == "failed"

    # A node that is lost takes all processes of its jobs with it, without a signal that they could hear.
    node = slurm.job(f"{array}_0")["NodeList"]
    slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    slurm.call("scontrol", "update", f"nodename={node}", "state=resume")
    assert slurm.wait(f"{array}_0", timeout_seconds=LONG)["Restarts"] == "1"
    state = read_state(good)
    assert (state["state"], state["step"], state["job"]) == ("complete", NUM_STEPS, f"{array}_0")
    assert "going on from" in slurm.said(f"{array}_0")
    assert prepared(folder) == before, "training found everything there"

    slurm.call("scontrol", "release", f"{array}_2")
    assert slurm.wait(f"{array}_2", timeout_seconds=LONG)["Restarts"] == "0", "a case that a rule ends is done"
    assert "slow, seed 0: killed at 2k tokens by halving:" in slurm.said(f"{array}_2")
    assert read_state(slow)["step"] < NUM_STEPS
    [rung] = read_lines(folder / "outputs" / "s" / "rungs.log.jsonl")
    assert (list(rung["killed"]), rung["left_out"]) == (["slow"], ["wrong"])

    slurm.wait(f"{scoring}_0", timeout_seconds=LONG)
    scored = sorted(path.parent.name for path in good.glob(f"results/*/{TASK}.json"))
    assert scored == ["seed-0-tokens-0", "seed-0-tokens-2k", "seed-0-tokens-5120"]
