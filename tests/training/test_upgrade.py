"""F27: a run that an older version began goes on in this one.

`golden/` holds one that was killed after step 8, and the log of the same run undisturbed. It is never written again by a newer
version: a new format gets a golden run of its own beside it.
"""

import shutil
import sys
from pathlib import Path

import prepared
import pytest
from launching import curve, environment, read_lines

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.slow
def test_a_run_of_the_first_format(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "golden" / "seed-1"
    shutil.copytree(GOLDEN / "run", run)
    for name in ("recipe.yaml", "stories.jsonl"):
        shutil.copy(GOLDEN / name, tmp_path)
    answer = prepared.run(
        [sys.executable, "-m", "lmeff.run", "recipe.yaml"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "going on from outputs/golden/seed-1/checkpoints/step-8" in answer.stdout
    wanted, log = read_lines(GOLDEN / "whole.log.jsonl"), read_lines(run / "run.log.jsonl")
    assert [line["step"] for line in log] == list(range(1, 17))
    assert [line["num_loss_tokens"] for line in log] == [line["num_loss_tokens"] for line in wanted]
    for ours, line in zip(curve(run), wanted, strict=True):
        # Another processor may round otherwise.
        assert ours == pytest.approx((line["step"], line["loss"], line["grad_norm"], line["learning_rate"]), rel=1e-4)
    assert (run / "revisions" / "seed-1" / "model.safetensors").exists()
