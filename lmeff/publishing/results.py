"""`lmeff eval --publish`: results travel to the branch they belong to."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from lmeff.analysis.results import read_results
from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.folders import Subject
from lmeff.publishing.publish import publish
from lmeff.revisions.account import token
from lmeff.revisions.card import DATASETS
from lmeff.revisions.delivery import update_files
from lmeff.revisions.hub import Hub, Unavailable
from lmeff.revisions.outbox import Outbox
from lmeff.revisions.quota import CommitQuota


def publish_results(what: str, subjects: Sequence[Subject]) -> None:
    """Sends the results of a run's revisions, or of models of the Hub. Raises InputError for what is not on the Hub, and
    RunFailed when the Hub does not take them."""
    remote = [subject for subject in subjects if subject.remote]
    if remote:
        for subject in remote:
            try:
                commit = _send(subject)
            except Unavailable as error:
                raise RunFailed(f"{subject.remote.repository}@{subject.remote.revision}: {error}") from None
            print(f"{subject.remote.repository}@{subject.remote.revision}: results are in commit {commit[:12]}")
        return
    if not any(entry.commit for entry in Outbox(Path(what)).entries()):
        raise InputError(f"--publish: {what} is not on the Hub; lmeff publish {what}")
    if left := publish(Path(what)):
        raise RunFailed(f"{len(left)} revisions could not be brought up to date: {left[0].error}")


def _send(subject: Subject) -> str:
    """Adds result files, and their numbers to the card's metadata, to a Hub model's branch."""
    model, hub = subject.remote, Hub(token())

    def files(head: str) -> dict[str, bytes | Path]:
        there = hub.files(model.repository, head)
        text = hub.read(model.repository, head, "README.md").decode() if "README.md" in there else "---\n---\n"
        card = ModelCard(text, ignore_metadata_errors=True)
        results = read_results(subject.output)
        below = {child for children in results.subtasks.values() for child in children}
        new = [
            EvalResult(
                task_type="text-generation",
                dataset_type=DATASETS.get(task, task),
                dataset_name=task,
                metric_type="accuracy" if metric in ("acc", "acc_norm") else metric,
                metric_name=metric,
                metric_value=score.value,
            )
            for task, result in results.tasks.items()
            if task not in below
            for metric, score in result.metrics.items()
        ]
        names = {(one.dataset_name, one.metric_name) for one in new}
        old = [one for one in card.data.eval_results or [] if (one.dataset_name, one.metric_name) not in names]
        card.data.model_name = card.data.model_name or model.repository.partition("/")[2]
        card.data.eval_results = [*old, *new]
        paths = sorted(subject.output.glob("[!.]*.json"))
        return {"README.md": str(card).encode(), **{f".eval_results/{path.name}": path for path in paths}}

    quota = CommitQuota(Path("outputs") / ".hub_commits.json")
    return update_files(hub, model.repository, model.revision, files, quota.take, "Evaluation results")
