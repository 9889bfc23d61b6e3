"""Where everything of a run stands on disk."""

from dataclasses import dataclass
from pathlib import Path

from lmeff.recipe.schema import Recipe

RECIPE = "recipe.yaml"
"""The whole recipe, in the folder of a run and of a revision."""
_REVISIONS, _RESULTS = "revisions", "results"
_CHECKPOINT = "step-"
_FINISHED = "[!.]*"
"""Matches what is whole: while it is written, and when that was interrupted, a name begins with a dot."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, or of one of its parts, which keeps checkpoints, a log and a state of its own."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def of(cls, recipe: Recipe) -> "RunFolder":
        """`OUTPUTS/NAME/seed-S`."""
        return cls(Path(recipe.paths.outputs) / recipe.name / f"seed-{recipe.seed}")

    @classmethod
    def of_revision(cls, folder: Path) -> "RunFolder | None":
        """The run that has this revision; None for a model folder that lies elsewhere."""
        return cls(folder.parents[1]) if folder.parent.name == _REVISIONS else None

    @classmethod
    def of_results(cls, folder: Path) -> "RunFolder | None":
        """The run that these results of a revision belong to; None for results that lie elsewhere."""
        return cls(folder.parents[1]) if folder.parent.name == _RESULTS else None

    # ---- files of the run

    @property
    def recipe_yaml(self) -> Path:
        return self.path / RECIPE

    @property
    def plan_json(self) -> Path:
        return self.path / "plan.json"

    @property
    def state_json(self) -> Path:
        return self.path / "state.json"

    @property
    def log_jsonl(self) -> Path:
        """A line for each logged step."""
        return self.path / "run.log.jsonl"

    @property
    def printed_txt(self) -> Path:
        """What the processes of a case printed, where a sweep was run on this machine."""
        return self.path / "printed.txt"

    @property
    def dev_log_jsonl(self) -> Path:
        """The held-out losses of a run that ends when it has converged."""
        return self.path / "dev.log.jsonl"

    @property
    def samples_jsonl(self) -> Path:
        """Which sequences each step read, with `batch.log_samples`."""
        return self.path / "samples.jsonl"

    @property
    def curriculum_jsonl(self) -> Path:
        """The stages of a curriculum, and the held-out losses that end them."""
        return self.path / "curriculum.jsonl"

    @property
    def curriculum_scores(self) -> Path:
        """What is done of scoring the documents for a stage."""
        return self.path / "curriculum.scores.npz"

    @property
    def accepted_changes_json(self) -> Path:
        return self.path / "accepted_changes.json"

    @property
    def killed_json(self) -> Path:
        """Why the rules of its sweep ended the run, with the numbers behind that."""
        return self.path / "killed.json"

    @property
    def trackers_json(self) -> Path:
        """What trackers call this run."""
        return self.path / "trackers.json"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def report_html(self) -> Path:
        return self.path / "report.html"

    # ---- locks and notes between processes

    @property
    def claim_lock(self) -> Path:
        """Held by the process that trains here."""
        return self.path / ".lock"

    @property
    def recipe_lock(self) -> Path:
        """Held while the recipe is replaced."""
        return self.path / ".recipe.lock"

    @property
    def final_lock(self) -> Path:
        """Held while the final revision is written."""
        return self.path / ".final"

    @property
    def stop_note(self) -> Path:
        """There when a process of the run was asked to stop."""
        return self.path / ".stop"

    # ---- revisions, their results and their delivery

    @property
    def revisions(self) -> Path:
        return self.path / _REVISIONS

    @property
    def has_revisions(self) -> bool:
        """Whether this is the folder of a run that has begun, as other folders have no such folder in them."""
        return self.revisions.is_dir()

    def revision(self, name: str) -> Path:
        return self.revisions / name

    def find_in_revisions(self, name: str) -> list[Path]:
        """The files of this name of all revisions, sorted by the revisions' names."""
        return sorted(self.revisions.glob(f"{_FINISHED}/{name}"))

    @property
    def results(self) -> Path:
        return self.path / _RESULTS

    def results_of(self, revision: str) -> Path:
        return self.results / revision

    def find_in_results(self, name: str) -> list[Path]:
        """The files of this name of all revisions that have results."""
        return sorted(self.results.glob(f"{_FINISHED}/{name}"))

    @property
    def outbox(self) -> Path:
        """What is to be delivered to the Hub."""
        return self.path / "outbox"

    # ---- checkpoints and parts

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"{_CHECKPOINT}{step}"

    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints that are there, in rising order."""
        names = [path.name.removeprefix(_CHECKPOINT) for path in self.checkpoints.glob(f"{_CHECKPOINT}*")]
        return sorted(int(name) for name in names if name.isdigit())

    def part(self, name: str | None) -> "RunFolder":
        """Where a part keeps its checkpoints, log and state: this folder when it is all of the run."""
        return RunFolder(self.path / "parts" / name) if name else self

    def parts(self) -> list["RunFolder"]:
        """The parts that have begun, sorted by their names."""
        return [RunFolder(path) for path in sorted((self.path / "parts").glob(_FINISHED))]

    def find_in_checkpoints(self, name: str) -> list[Path]:
        """The files of this name of all checkpoints, those of parts too."""
        folders = [self, *self.parts()]
        return [path for folder in folders for path in sorted(folder.checkpoints.glob(f"{_FINISHED}/{name}"))]

    def has_work(self) -> bool:
        """Whether there are revisions or checkpoints, which the run would lose."""
        folders = (self.revisions, self.checkpoints, *(part.checkpoints for part in self.parts()))
        return any(any(folder.glob(_FINISHED)) for folder in folders)


def suggest_run(folder: Path) -> str:
    """`; did you mean FOLDER/seed-0?` for a folder that holds runs, such as those of several seeds; else nothing."""
    for depth in ("*", "*/*"):
        found = (RunFolder(path) for path in sorted(folder.glob(depth)))
        runs = [run for run in found if run.has_revisions and run.recipe_yaml.is_file()]
        if runs:
            return f"; did you mean {runs[0]}?"
    return ""
