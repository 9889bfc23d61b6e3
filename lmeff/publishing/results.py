"""`lmeff eval --publish`: results travel to the branch they belong to."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from lmeff.analysis.reading.results import read_result_files
from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.results import weights_sha256
from lmeff.hub.account import token
from lmeff.hub.client import Hub, NotDelivered, RemoteFile, Unavailable
from lmeff.hub.delivery import Files, update_files
from lmeff.hub.outbox import Entry, next_attempt
from lmeff.hub.quota import CommitQuota
from lmeff.hub.remote import RemoteModel
from lmeff.logs import say
from lmeff.measures.selection import SelectedModel
from lmeff.progress import shown
from lmeff.publishing.cards import own_results, scores_of, write_entries
from lmeff.publishing.publish import publish
from lmeff.publishing.retries import NEEDS_A_PERSON, Retries
from lmeff.revisions.card_scores import eval_results


def publish_results(what: str, models: Sequence[SelectedModel]) -> None:
    """Sends the results of a run's revisions, or of models of the Hub. Raises RunFailed where the Hub does not take them."""
    remote = {f"{one.remote.repository}@{one.remote.revision}": one for one in models if one.remote}
    if left := send_all(remote, _send, Retries(None)):
        said = "; ".join(f"{name}: {why}" for name, why in left.items())
        raise RunFailed(f"results not on the Hub yet: {said}; the same command again sends them, with the scores kept")
    if not remote and (behind := publish(Path(what))):
        raise RunFailed(f"{len(behind)} revisions could not be brought up to date: {behind[0].error}")


def send_all(
    remote: Mapping[str, SelectedModel], send: Callable[[SelectedModel], str], retries: Retries
) -> dict[str, str]:
    """Sends the results of each, goes on with others where one fails, and tries again what may succeed later, as
    `lmeff publish` does. Returns what is left, and why."""
    entries = {name: _entry(name, selected) for name, selected in remote.items()}

    def waiting() -> list[Entry]:
        return [entry for entry in entries.values() if entry.state == "waiting"]

    while ready := retries.ready(waiting):
        for before in ready:
            name = before.revision
            with shown(f"{name}: sending results"):
                after = _attempt(before, partial(send, remote[name]), retries)
            retries.note(after)
            entries[name] = after
            if after.hub_is_down:
                say(f"{name}: {after.error}")
                if retries.is_away([after]):
                    break
            elif after.commit:
                say(f"{name}: results are in commit {after.commit[:12]}")
    return {name: entry.error or "not tried" for name, entry in entries.items() if entry.state == "waiting"}


def _entry(name: str, selected: SelectedModel) -> Entry:
    """As for a revision of a run in its outbox, for a model that is in none."""
    model, now = _remote(selected), time.time()
    return Entry(
        revision=name,
        added=now,
        opened=now,
        repository=model.repository,
        branch=model.revision,
        private=False,
        manifest_sha256=None,
    )


def _remote(selected: SelectedModel) -> RemoteModel:
    assert selected.remote is not None, "only results of models of the Hub are sent one by one"
    return selected.remote


def _attempt(entry: Entry, send: Callable[[], str], retries: Retries) -> Entry:
    """The entry after one attempt, which `send` makes; it returns the commit."""
    try:
        if (obstacle := retries.known_obstacle()) is not None:
            raise Unavailable(obstacle, is_rejected=obstacle in NEEDS_A_PERSON)
        update = {"state": "delivered", "commit": send(), "hub_is_down": False}
    except Unavailable as error:
        update = {name: getattr(error, name) for name in ("is_asked_wait", "is_rejected", "is_limit")}
        update |= {"error": str(error), "hub_is_down": True, "attempts": entry.attempts + 1}
        update["not_before"] = next_attempt(entry, error.wait_seconds)
    except (NotDelivered, InputError) as error:
        update = {"error": str(error), "hub_is_down": False}
    return entry.model_copy(update=update)


def _send(selected: SelectedModel) -> str:
    """Adds result files, and their numbers to the card's metadata, to a Hub model's branch."""
    model, hub = _remote(selected), Hub(token())
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
        data = card.data
        assert isinstance(data, ModelCardData), "a model's card has a model's metadata"
        old = [one for one in data.eval_results or [] if (one.dataset_name, one.metric_name) not in names]
        data.model_name = data.model_name or model.repository.partition("/")[2]
        data.eval_results = [*old, *new]
        with tempfile.TemporaryDirectory() as folder:
            write_entries(Path(folder) / "lmeff.yaml", scores, paths, None)
            entries = {f".eval_results/{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
        return {"README.md": str(card).encode(), **{f".eval_results/{path.name}": path for path in paths}, **entries}

    quota = CommitQuota(Path("outputs"))
    return update_files(hub, model.repository, model.revision, files, quota.take, "Evaluation results")
