"""A sweep in a real Slurm: `lmeff sweep submit` prepares once, and an array trains the cases, of which some fail alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT
from slurm.jobs import read_state, stop_in_the_middle

pytestmark = pytest.mark.slow


def test_a_sweep_is_prepared_once_trained_and_goes_on(slurm, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "sweep: s\nrecipe: one.yaml\naxes:\n  tokenizer.vocab_size: [320, 20000]\n  optimizer.learning_rate: [1e-3, 3e-3]\n"
    )
    (folder / "good").mkdir()
    (folder / "good" / "own.jsonl").write_text('{"sentence_good": "A dog ran.", "sentence_bad": "A dog run."}\n')
    words = ("--tasks", "lmeff_pairs", "--path", f"pairs={folder}/good")
    scoring = slurm.submit("--array=1", folder / "sweep.yaml", *words, script="eval_array")
    environment = os.environ | {
        "SLURM_CONF": str(slurm.folder / "slurm.conf"),
        "LMEFF_VENV": sys.prefix,
        "LMEFF_LAUNCHER": "launchers/cpu.yaml",
        "PYTHONPATH": str(ROOT),
        "SBATCH_OUTPUT": f"{slurm.folder}/%A_%a.out",
    }
    command = [sys.executable, "-m", "lmeff.cli", "sweep", "submit", str(folder / "sweep.yaml")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    preparation, array = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("submitted")]
    slurm.wait(preparation, "FAILED")
    assert "tokenizer.vocab_size: the training text allows" in slurm.said(preparation)

    runs = {
        index: folder / "outputs" / "s" / f"vocab_size-{size}_learning_rate-{rate}" / "seed-0"
        for index, (size, rate) in enumerate((s, r) for s in ("320", "20k") for r in ("0.001", "0.003"))
    }
    stop_in_the_middle(runs[0])
    slurm.call("scontrol", "requeue", f"{array}_0")  # which also lets a stopped process go on
    assert slurm.wait(f"{array}_0")["Restarts"] == "1"
    assert slurm.wait(f"{array}_1")["Restarts"] == "0"
    for index in (2, 3):
        job = slurm.wait(f"{array}_{index}", "FAILED")
        assert job["Restarts"] == "0", "a case that fails is not queued again"
        assert read_state(runs[index])["state"] == "failed"
    assert [read_state(runs[index])["state"] for index in (0, 1)] == ["complete", "complete"]
    assert read_state(runs[1])["job"] == f"{array}_1"
    # It was submitted before the case was there.
    slurm.wait(f"{scoring}_1")
    assert f"{runs[1]}: has not begun yet; waiting for it" in slurm.said(f"{scoring}_1")
    assert len(list(runs[1].glob("results/*/lmeff_pairs.json"))) == 3
