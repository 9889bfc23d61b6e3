"""A sweep as Slurm jobs: text and tokens are prepared once, an array trains after that, and another scores beside it what
training leaves to it. The templates of `slurm/` do the work."""

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.sweeps.cases import Sweep

_TEMPLATES = ("site.env", "prepare.sbatch", "train_array.sbatch", "eval_array.sbatch")


@dataclass(frozen=True)
class Job:
    """A call of sbatch."""

    name: str
    """As the jobs that depend on it call it."""
    script: str
    words: tuple[str, ...]
    array: str | None = None
    """Numbers of cases."""
    dependency: tuple[str, str] | None = None
    """What must be true of which job: `afterany` (has ended), `after` (has begun)."""

    def command(self, folder: str, ids: dict[str, str]) -> list[str]:
        """The words of the call; `ids` are the numbers of the jobs before it."""
        options = [f"--array={self.array}"] if self.array else []
        if self.dependency:
            kind, other = self.dependency
            options.append(f"--dependency={kind}:{ids[other]}")
        return ["sbatch", "--parsable", *options, os.path.join(folder, self.script), *self.words]


def submission(sweep: Sweep, words: Sequence[str]) -> list[Job]:
    """The jobs of a sweep. A case whose text cannot be prepared fails alone, so the array waits for the end of the preparation,
    not for its success."""
    last = len(sweep.cases) - 1
    jobs = [Job("PREPARE", "prepare.sbatch", tuple(words))]
    jobs.append(
        Job("TRAIN", "train_array.sbatch", tuple(words), f"0-{last}" if last else None, ("afterany", "PREPARE"))
    )
    scored_apart = [
        case.index for case in sweep.cases if case.recipe.evaluation.tasks and not case.recipe.evaluation.at_anchors
    ]
    if scored_apart:
        array = _numbers(scored_apart) if last else None
        jobs.append(Job("EVALUATE", "eval_array.sbatch", tuple(words), array, ("after", "TRAIN")))
    return jobs


def check_templates(folder: str) -> None:
    """Raises InputError where the templates are not there."""
    for name in _TEMPLATES:
        if not Path(folder, name).is_file():
            raise InputError(
                f"--slurm: {folder}/{name}: no such file; submit in the folder that holds slurm/, or write the templates with"
                f" lmeff init --slurm {folder}"
            )


def submit(jobs: Sequence[Job], folder: str, is_dry_run: bool) -> Iterator[str]:
    """Submits the jobs one after the other; yields the lines that do so. Raises RunFailed for what sbatch refuses."""
    settings = f". {shlex.quote(os.path.join(folder, 'site.env'))}"
    yield settings
    ids = {job.name: f"${job.name}" for job in jobs}
    for job in jobs:
        words = job.command(folder, ids)
        if is_dry_run:
            # The number of the job before stands in a variable, which a shell replaces.
            shown = " ".join(word if word.startswith("--dependency") else shlex.quote(word) for word in words)
            yield f"{job.name}=$({shown})"
            continue
        yield shlex.join(words)
        done = subprocess.run(
            # sbatch takes from the site's file what it asks for.
            ["bash", "-c", f'{settings} && exec "$@"', "bash", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RunFailed((done.stderr.strip() or "sbatch failed").splitlines()[-1])
        ids[job.name] = done.stdout.strip().partition(";")[0]
        yield f"submitted {ids[job.name]}"


def _numbers(indices: Sequence[int]) -> str:
    """`0-3,7` for 0, 1, 2, 3 and 7."""
    stretches: list[list[int]] = []
    for index in indices:
        if stretches and stretches[-1][-1] == index - 1:
            stretches[-1].append(index)
        else:
            stretches.append([index])
    return ",".join(f"{one[0]}-{one[-1]}" if len(one) > 1 else str(one[0]) for one in stretches)
