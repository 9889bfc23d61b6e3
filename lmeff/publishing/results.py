"""`lmeff eval --publish`: results travel to the branch they belong to."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import ModelCard

from lmeff.analysis.results import read_result_files
from lmeff.errors import RunFailed
from lmeff.evaluation.results import weights_sha256
from lmeff.evaluation.subjects import Subject
from lmeff.publishing.cards import own_results, scores_of, write_entries
from lmeff.publishing.publish import publish
from lmeff.revisions.account import token
from lmeff.revisions.card import eval_results
from lmeff.revisions.delivery import Files, update_files
from lmeff.revisions.hub import Hub, NotDelivered, RemoteFile, Unavailable
from lmeff.revisions.quota import CommitQuota


def publish_results(what: str, subjects: Sequence[Subject]) -> None:
    """Sends the results of a run's revisions, or of models of the Hub. Raises RunFailed when the Hub does not take them."""
    remote = [subject for subject in subjects if subject.remote]
    for subject in remote:
        name = f"{subject.remote.repository}@{subject.remote.revision}"
        try:
            commit = _send(subject)
        except (Unavailable, NotDelivered) as error:
            raise RunFailed(f"{name}: {error}") from None
        print(f"{name}: results are in commit {commit[:12]}")
    if not remote and (left := publish(Path(what))):
        raise RunFailed(f"{len(left)} revisions could not be brought up to date: {left[0].error}")


def _send(subject: Subject) -> str:
    """Adds result files, and their numbers to the card's metadata, to a Hub model's branch."""
    model, hub = subject.remote, Hub(token())
    paths = own_results(subject.output, weights_sha256(subject.fetch()))
    paths = [path for path in paths if not any(one.limit for one in read_result_files([path]).tasks.values())]
    results = read_result_files(paths)
    below = {child for children in results.subtasks.values() for child in children}
    scores = scores_of((task, result) for task, result in results.tasks.items() if task not in below)
    new = eval_results(scores)
    names = {(one.dataset_name, one.metric_name) for one in new}

    def files(head: str, remote: Mapping[str, RemoteFile]) -> Files:
        text = hub.read(model.repository, head, "README.md").decode() if "README.md" in remote else "---\n---\n"
        card = ModelCard(text, ignore_metadata_errors=True)
        old = [one for one in card.data.eval_results or [] if (one.dataset_name, one.metric_name) not in names]
        card.data.model_name = card.data.model_name or model.repository.partition("/")[2]
        card.data.eval_results = [*old, *new]
        with tempfile.TemporaryDirectory() as folder:
            write_entries(Path(folder) / "lmeff.yaml", scores, paths, None)
            entries = {f".eval_results/{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
        return {"README.md": str(card).encode(), **{f".eval_results/{path.name}": path for path in paths}, **entries}

    quota = CommitQuota(Path("outputs"))
    return update_files(hub, model.repository, model.revision, files, quota.take, "Evaluation results")
