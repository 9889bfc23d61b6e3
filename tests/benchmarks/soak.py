"""Kills a tiny run at random moments, again and again, and counts how often it ended as the undisturbed run did.

    python tests/benchmarks/soak.py [--kills 200] [--seed 0] [--launcher cpu_ddp] [--family bert] [section.key=value ...]

A run is killed with SIGKILL at a moment drawn evenly from its whole duration, started again, killed again, and at last left to
end. All of its kills count as survived when its per-step losses, sample ids and weights' sha256 are those of the undisturbed
run, bit for bit. `--family` takes a tiny model of that family in place of a Llama, with dropout where it has any; words of a
recipe choose the rest, such as `objective.name=hybrid`. Without a launcher every start is forked from one process that has
imported everything, which takes longest.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])
os.environ["OMP_NUM_THREADS"] = "1"

from launching import curve, kill, read_lines, run_folder, start, weights, write_recipe  # noqa: E402
from models.tiny_families import DROPOUT, TINY  # noqa: E402


class Forked:
    """`lmeff.run` in a child of this process."""

    def __init__(self, *words: str) -> None:
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            from lmeff.run import main

            os._exit(main(words))

    def wait(self, seconds: float | None) -> int | None:
        """The exit code, None when the time is over first."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Launched:
    """The same under `accelerate launch`."""

    def __init__(self, launcher: str, *words: str) -> None:
        self._process = start(launcher, *words, popen=subprocess.Popen)

    def wait(self, seconds: float | None) -> int | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._process.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(0.01)
        self._process.communicate()
        return self._process.returncode

    def kill(self) -> None:
        kill(self._process)


def use_family(recipe: Path, family: str) -> None:
    """Gives a recipe a tiny model of another family."""
    values = TINY[family] | dict.fromkeys(DROPOUT[family], 0.1)
    shape = ", ".join(f"{key}: {value}" for key, value in values.items())
    text = re.sub(r"model: {.*}", f"model: {{family: {family}, {shape}}}", recipe.read_text())
    recipe.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", help="such as cpu_ddp or cpu_zero2; default: one process")
    parser.add_argument("--family", choices=TINY, default="llama")
    parser.add_argument("words", nargs="*", help="of a recipe, such as objective.name=hybrid")
    options = parser.parse_args()
    begin = (lambda *words: Launched(options.launcher, *words)) if options.launcher else Forked
    if not options.launcher:
        import lmeff.analysis
        import lmeff.corpora
        import lmeff.tokens
        import lmeff.training.train  # noqa: F401
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        recipe = write_recipe(Path(temporary))
        if options.family != "llama":
            use_family(recipe, options.family)
        words = (str(recipe), "checkpoints.every_steps=3", *options.words)
        assert begin(*words, "name=reference").wait(None) == 0, "the undisturbed run failed"
        reference = run_folder(recipe, "reference")
        begun = time.monotonic()
        assert begin(*words, "name=again").wait(None) == 0
        duration = time.monotonic() - begun
        print(f"one run takes {duration:.1f} s", flush=True)
        kills = survived = runs = 0
        while kills < options.kills:
            runs += 1
            name, of_this_run = f"run{runs}", 0
            while kills + of_this_run < options.kills:
                process = begin(*words, f"name={name}")
                code = process.wait(draw.uniform(0, duration))
                if code is not None:
                    break
                process.kill()
                of_this_run += 1
            else:
                code = begin(*words, f"name={name}").wait(None)
            run = run_folder(recipe, name)
            same = (
                code == 0
                and curve(run) == curve(reference)
                and weights(run) == weights(reference)
                and read_lines(run / "samples.jsonl") == read_lines(reference / "samples.jsonl")
            )
            kills += of_this_run
            survived += of_this_run if same else 0
            if not same:
                print(f"{name}: exit code {code}, another end after {of_this_run} kills", flush=True)
        print(
            f"survived {survived}/{kills} kills in {runs} runs ({options.launcher or 'one process'}, seed {options.seed},"
            f" {' '.join([options.family, *options.words])})"
        )
        return 0 if survived == kills else 1


if __name__ == "__main__":
    sys.exit(main())
