"""`lmeff eval --publish`: results travel to the branch they belong to."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import ModelCard

from lmeff.analysis.reading.results import read_result_files
from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.results import weights_sha256
from lmeff.hub.account import token
from lmeff.hub.client import Hub, NotDelivered, RemoteFile, Unavailable
from lmeff.hub.delivery import Files, update_files
from lmeff.hub.outbox import Entry, next_attempt
from lmeff.hub.quota import CommitQuota
from lmeff.measures.selection import SelectedModel
from lmeff.progress import shown
from lmeff.publishing.cards import own_results, scores_of, write_entries
from lmeff.publishing.patience import Patience
from lmeff.publishing.publish import FOR_A_PERSON, IN_A_ROW, hopeless, publish
from lmeff.revisions.card_scores import eval_results


def publish_results(what: str, models: Sequence[SelectedModel]) -> None:
    """Sends the results of a run's revisions, or of models of the Hub. Raises RunFailed where the Hub does not take them."""
    remote = {f"{one.remote.repository}@{one.remote.revision}": one for one in models if one.remote}
    if left := _send_all(remote, _send, Patience(None)):
        said = "; ".join(f"{name}: {why}" for name, why in left.items())
        raise RunFailed(f"results not on the Hub yet: {said}; the same command again sends them, with the scores kept")
    if not remote and (left := publish(Path(what))):
        raise RunFailed(f"{len(left)} revisions could not be brought up to date: {left[0].error}")


def _send_all(
    remote: Mapping[str, SelectedModel], send: Callable[[SelectedModel], str], patience: Patience
) -> dict[str, str]:
    """Sends the results of each, goes on with others where one fails, and tries again what may succeed later, as
    `lmeff publish` does. Returns what is left, and why."""
    waiting, now = {}, time.time()
    for name, one in remote.items():
        model = one.remote
        fields = {"repository": model.repository, "branch": model.revision, "private": False, "manifest_sha256": None}
        waiting[name] = Entry(revision=name, added=now, opened=now, **fields)
    given_up: dict[str, str] = {}
    num_failed = 0
    while waiting:
        is_away = num_failed >= IN_A_ROW or any(
            one.is_limit and one.not_before > time.time() for one in waiting.values()
        )
        ready = [] if is_away else [name for name, one in waiting.items() if patience.is_due(one)]
        if not ready:
            if not patience.wait_for([*waiting.values()]):
                break
            num_failed = 0
        for name in ready:
            try:
                if (why := hopeless(patience)) is not None:
                    raise Unavailable(why, is_rejected=why in FOR_A_PERSON)
                with shown(f"{name}: sending results"):
                    commit = send(remote[name])
            except Unavailable as error:
                flags = {key: getattr(error, key) for key in ("is_asked_wait", "is_rejected", "is_limit")}
                flags |= {"error": str(error), "not_before": next_attempt(waiting[name], error.wait_seconds)}
                flags["attempts"] = waiting[name].attempts + 1
                waiting[name] = waiting[name].model_copy(update=flags)
                patience.note(waiting[name])
                num_failed += 1
                print(f"{name}: {error}", flush=True)
                if error.is_rejected:
                    given_up[name] = str(waiting.pop(name).error)
                if error.is_limit or num_failed >= IN_A_ROW:
                    break
            except (NotDelivered, InputError) as error:
                given_up[name] = str(error)
                del waiting[name]
            else:
                del waiting[name]
                num_failed = 0
                print(f"{name}: results are in commit {commit[:12]}", flush=True)
    return given_up | {name: one.error or "not tried" for name, one in waiting.items()}


def _send(selected: SelectedModel) -> str:
    """Adds result files, and their numbers to the card's metadata, to a Hub model's branch."""
    model, hub = selected.remote, Hub(token())
    paths = own_results(selected.output, weights_sha256(selected.fetch()))
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
