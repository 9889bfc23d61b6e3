"""What a run spends beside training: the share of wall time for anchors, checkpoints and fingerprints, and the time to the
first step.

    python tests/benchmarks/overheads.py [--steps 500] [--repeats 3]

The recipe is recipes/leaner_small.yaml on generated text (no data needed, 1,024 tokens of vocabulary) with its own layers,
batch and checkpoints, an anchor at every fifth of the way and no scoring. The share is of the wall time of `Trainer.train`;
"held-out loss" is a part of what anchors take, and "sha256" is all hashing of the process, of which some is a part of anchors
and checkpoints.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from launching import kill, start, step_of, wait_until  # noqa: E402


def words(folder: str, name: str, tokens: int) -> list[str]:
    anchors = ",".join(str(tokens * part // 5) for part in range(6))
    recipe = yaml.safe_load((ROOT / "recipes" / "leaner_small.yaml").read_text())
    path = Path(folder) / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | {"corpus": {"name": "synthetic", "epochs": 9}}))
    return [
        str(path),
        f"name={name}",
        f"anchors.tokens=[{anchors}]",
        "tokenizer.vocab_size=1024",
        "schedule.warmup=0.02",
        "evaluation.tasks=[]",
        "training.logging_steps=1",
        f"paths.outputs={folder}/outputs",
        f"paths.data={folder}/data",
    ]


def spent_beside_training(folder: str, steps: int) -> dict[str, float]:
    """Seconds by what they were spent on, in one run in this process."""
    from lmeff.files import folders
    from lmeff.run import main
    from lmeff.training.callbacks.anchors import AnchorCallback
    from lmeff.training.trainer import LmeffTrainer

    seconds = {"anchors": 0.0, "held-out loss": 0.0, "checkpoints": 0.0, "sha256": 0.0, "all": 0.0}

    def timed(owner: object, method: str, key: str) -> None:
        original = getattr(owner, method)

        def wrapper(*arguments, **options):
            begun = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                seconds[key] += time.perf_counter() - begun

        setattr(owner, method, wrapper)

    timed(AnchorCallback, "_keep", "anchors")
    timed(LmeffTrainer, "held_out_loss", "held-out loss")
    timed(LmeffTrainer, "_save_checkpoint", "checkpoints")
    timed(folders, "sha256_file", "sha256")
    timed(LmeffTrainer, "train", "all")
    assert main(words(folder, "share", steps * 4096)) == 0
    return seconds


def to_first_step(folder: str, name: str) -> float:
    """Wall seconds from the command to the first logged step after it."""
    run = Path(folder) / "outputs" / name / "seed-0"
    before, begun = step_of(run), time.monotonic()
    process = start(None, *words(folder, name, 400 * 4096), "checkpoints.every_steps=5", popen=subprocess.Popen)
    wait_until(lambda: step_of(run) > before, process)
    seconds = time.monotonic() - begun
    wait_until(lambda: step_of(run) > before + 6, process)
    kill(process)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    with tempfile.TemporaryDirectory() as folder:
        seconds = spent_beside_training(folder, options.steps)
        share = (seconds["anchors"] + seconds["checkpoints"]) / seconds["all"]
        parts = ", ".join(f"{name} {spent:.2f} s" for name, spent in seconds.items() if name != "all")
        print(f"{options.steps} steps, {seconds['all']:.1f} s: {parts}; share of anchors and checkpoints {share:.2%}")
        fresh, resumed = [], []
        for repeat in range(options.repeats):
            fresh.append(to_first_step(folder, f"first{repeat}"))
            resumed.append(to_first_step(folder, f"first{repeat}"))
        fresh, resumed = statistics.median(fresh), statistics.median(resumed)
        print(f"to the first step: fresh {fresh:.1f} s, resumed {resumed:.1f} s; ratio {resumed / fresh:.2f}")


if __name__ == "__main__":
    main()
