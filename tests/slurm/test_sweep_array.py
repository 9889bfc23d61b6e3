"""A sweep in a real Slurm: `lmeff sweep submit` prepares once, and an array trains the cases, of which one fails alone."""

import sys
from pathlib import Path

import pytest
from launching import ROOT
from slurm.jobs import NUM_STEPS, read_state, stop_in_the_middle

from lmeff.cli.main import main

pytestmark = pytest.mark.slow
LONG = 900
"""Seconds that a job may take on a machine that has other work."""


def prepared(folder: Path) -> dict[Path, int]:
    """When text, tokenizer and tokens were written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("manifest.json")}


def test_a_sweep_is_prepared_once_trained_and_goes_on(
    slurm, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    sweep = folder / "sweep.yaml"
    sweep.write_text("sweep: s\nrecipe: one.yaml\naxes:\n  tokenizer.vocab_size: [320, 20000]\n")
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
    assert main(["sweep", "submit", str(sweep)]) == 0
    lines = capsys.readouterr().out.splitlines()
    preparation, array = [line.split()[1] for line in lines if line.startswith("submitted")]

    # A vocabulary that the text does not allow: what can be prepared is, and the other case fails when it is trained.
    slurm.wait(preparation, "FAILED", LONG)
    assert "tokenizer.vocab_size: the training text allows" in slurm.said(preparation)
    before = prepared(folder)
    assert len(before) >= 2

    good, wrong = (folder / "outputs" / "s" / f"vocab_size-{size}" / "seed-0" for size in ("320", "20k"))
    stop_in_the_middle(good, LONG)
    slurm.call("scontrol", "requeue", f"{array}_0")  # which also lets a stopped process go on
    assert slurm.wait(f"{array}_0", timeout_seconds=LONG)["Restarts"] == "1"
    state = read_state(good)
    assert (state["state"], state["step"], state["job"]) == ("complete", NUM_STEPS, f"{array}_0")
    assert "interrupted at step" in slurm.said(f"{array}_0")
    assert prepared(folder) == before, "training found everything there"

    assert slurm.wait(f"{array}_1", "FAILED", LONG)["Restarts"] == "0", "a case that fails is not queued again"
    assert read_state(wrong)["state"] == "failed"
