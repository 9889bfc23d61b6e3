"""The Hub as we use it: every call has a time limit, and nothing is retried that the outbox does not retry."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from lmeff.errors import InputError
from lmeff.files import sha256_file
from lmeff.hub.names import MAIN

_CALL_SECONDS = 60.0
"""A call fails when for so long no byte has come or gone."""
CALL_SECONDS_VARIABLE = "LMEFF_HUB_CALL_SECONDS"
"""The environment variable with a shorter time for a process that delivers while somebody waits for it."""
_REJECTED_SECONDS = 600.0
_MOVED, _TOO_MANY = (409, 412), 429
_AWAY = (408, 429, 500, 502, 503, 504)
OFFLINE = "HF_HUB_OFFLINE is set; unset it to reach the Hub"
_NO_NETWORK = re.compile(r"\[Errno -[23]\]|name resolution|nodename nor servname|Network is unreachable")
_NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "h11", "ssl")


class Unavailable(Exception):
    """The Hub does not take anything now; it may later."""

    def __init__(
        self,
        said: str,
        wait_seconds: float | None = None,
        *,
        is_asked_wait: bool = False,
        is_rejected: bool = False,
        is_limit: bool = False,
        is_answer: bool = False,
    ) -> None:
        """What the flags mean:

        is_asked_wait: `wait_seconds` was named by the Hub, or by our quota of commits.
        is_rejected: a person has to change something, such as the token or its rights.
        is_limit: there were too many requests, so that no other revision can be sent either.
        is_answer: the Hub was reached, and this is its answer.
        """
        super().__init__(said)
        self.wait_seconds, self.is_asked_wait, self.is_rejected = wait_seconds, is_asked_wait, is_rejected
        self.is_limit, self.is_answer = is_limit, is_answer


class NotDelivered(Exception):
    """The Hub does not take this, or did not get it right; other things it may take."""


class Moved(Exception):
    """The branch got another commit meanwhile."""


@dataclass(frozen=True)
class RemoteFile:
    num_bytes: int
    sha256: str | None
    """Of the content, for files in large-file storage; None for regular ones."""
    blob: str
    """Git's SHA-1, of the content of a regular file."""

    def holds(self, content: bytes | Path) -> bool:
        """Whether this is that content."""
        if self.sha256 is not None:
            digest = sha256_file(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
            return digest == self.sha256
        return git_blob(content) == self.blob


def git_blob(content: bytes | Path) -> str:
    """Git's name for a file's content."""
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def limit_client() -> None:
    """Gives this process a client whose calls fail after `_CALL_SECONDS` of silence and at once at a rate limit. The default
    one waits for ever, and sleeps for up to an hour at a rate limit."""
    default = huggingface_hub.get_session()
    kind, hooks = type(default), default.event_hooks
    if _raise_unavailable in hooks["response"]:
        return
    hooks = {"request": list(hooks["request"]), "response": [*hooks["response"], _raise_unavailable]}
    huggingface_hub.set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True, timeout=_call_seconds()))


def _call_seconds() -> float:
    return float(os.environ.get(CALL_SECONDS_VARIABLE) or _CALL_SECONDS)


def _raise_unavailable(response: Any) -> None:
    if response.status_code in _AWAY:
        raise _unavailable(response)


def _unavailable(response: Any) -> Unavailable:
    status = response.status_code
    wait, is_limit = _asked_wait(status, response.headers), status == _TOO_MANY
    said = f"the Hub answers {status}"
    return Unavailable(said, wait, is_asked_wait=wait is not None, is_limit=is_limit, is_answer=True)


def _asked_wait(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds that the Hub asks us to wait, None when it asks for none. They stand in `Retry-After`, as seconds or a date.
    After too many requests they stand in `RateLimit: "api";r=0;t=N`: none remains (`r`) for N seconds. That header comes with
    every answer, and means nothing while some remain."""
    policies = headers.get("ratelimit", "").split(",") if status == _TOO_MANY else []
    used_up = [found[1] for one in policies if re.search(r"\br=0\b", one) and (found := re.search(r"\bt=(\d+)", one))]
    if used_up:
        return max(map(float, used_up)) + 1
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value) + 1
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time()) + 1
    return None


@contextmanager
def asking() -> Iterator[None]:
    """Turns what can go wrong on the way to the Hub into Unavailable, and what the Hub does not take into NotDelivered, in
    words without a secret."""
    try:
        yield
    except (Unavailable, NotDelivered, Moved, InputError):
        raise
    except Exception as error:  # the client has no common class for what a network can do
        raise _in_our_words(error) from None


def _in_our_words(error: Exception) -> Exception:
    """The exception of ours for one of the client, which may hide the real one among its causes, as it does while it sends a
    large file."""
    not_cached = None
    for cause in _causes(error):
        if isinstance(cause, LocalEntryNotFoundError):
            # The client looked into its cache after it had asked the Hub in vain: why, the next cause says.
            not_cached = not_cached or cause
            continue
        if isinstance(cause, OfflineModeIsEnabled):
            return _offline()
        if isinstance(cause, Unavailable):
            return cause
        if isinstance(cause, HfHubHTTPError):
            return _meaning(cause)
        library = type(cause).__module__.partition(".")[0]
        if isinstance(cause, ConnectionError | TimeoutError) or library in _NETWORK:
            return Unavailable(_network_words(cause))
    return NotDelivered(_first_line(error)) if not_cached is None else Unavailable(_first_line(not_cached))


def _offline() -> Unavailable:
    if any(map(os.environ.get, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))):
        return Unavailable(OFFLINE, _REJECTED_SECONDS, is_rejected=True)
    # It was not the user who switched the client off, but `availability.asked_once`, for a while.
    return Unavailable("the Hub was away a moment ago")


def _meaning(error: HfHubHTTPError) -> Exception:
    """What an answer of the Hub means for us, with the Hub's own sentence: quota, rights, a gated or disabled repository."""
    status = error.response.status_code if error.response is not None else 0
    sentence = " ".join((error.server_message or "").split())
    if status in _MOVED:
        return Moved()
    if status in _AWAY:
        return _unavailable(error.response)
    if status == 401 and not isinstance(error, GatedRepoError):
        return Unavailable("the Hub rejects the token (401)", _REJECTED_SECONDS, is_rejected=True)
    if status in (401, 403):
        what = "what the token asks for" if status == 403 else "this without a token that may see it"
        said = f"the Hub refuses {what} ({status}): {sentence or 'it does not say why'}"
        return Unavailable(said, _REJECTED_SECONDS, is_rejected=True)
    return NotDelivered(f"the Hub answers {status}: {sentence}" if sentence else _first_line(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _network_words(error: BaseException) -> str:
    """What is wrong with the network; in our own words where there is none, since the system's are cryptic."""
    text = _first_line(error)
    return "the Hub cannot be reached (no network?)" if _NO_NETWORK.search(text) else text


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Hub:
    """Raises Unavailable whenever the Hub could not be asked."""

    def __init__(self, token: str | None, *, is_limited: bool = True) -> None:
        """`is_limited`: no call is silent for longer than a minute. This changes the client of the whole process."""
        if is_limited:
            limit_client()
        self._api = HfApi(token=token or False)
        self._initial: dict[str, str] = {}

    def prepare(self, repository: str, private: bool) -> str:
        """Makes the repository if it is missing, and returns its initial commit."""
        if repository in self._initial:
            return self._initial[repository]
        with asking():
            try:
                self._api.model_info(repository, timeout=_call_seconds())
            except GatedRepoError:
                raise  # it is there, for others
            except RepositoryNotFoundError:
                self._api.create_repo(repository, private=private, exist_ok=True)
            self._initial[repository] = self._api.list_repo_commits(repository, revision=MAIN)[-1].commit_id
        return self._initial[repository]

    def branches(self, repository: str) -> dict[str, str]:
        """Branch -> its newest commit. Raises InputError when there is no such repository."""
        with asking():
            try:
                return {ref.name: ref.target_commit for ref in self._api.list_repo_refs(repository).branches}
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                raise InputError(f"{repository}: no such repository on the Hub, or the token may not see it") from None

    def create_branch(self, repository: str, branch: str, commit: str) -> None:
        with asking():
            self._api.create_branch(repository, branch=branch, revision=commit, exist_ok=True)

    def files(self, repository: str, commit: str) -> dict[str, RemoteFile]:
        """Every file of a commit, by path; nothing is downloaded."""
        with asking():
            try:
                tree = self._api.list_repo_tree(repository, recursive=True, revision=commit)
                return {
                    item.path: RemoteFile(item.size, item.lfs.sha256 if item.lfs else None, item.blob_id)
                    for item in tree
                    if isinstance(item, RepoFile)
                }
            except RevisionNotFoundError:
                raise InputError(f"{repository}: has no commit or branch {commit!r}") from None

    def read(self, repository: str, commit: str, path: str) -> bytes:
        """A small file's content."""
        with asking(), tempfile.TemporaryDirectory() as folder:
            return Path(self._api.hf_hub_download(repository, path, revision=commit, cache_dir=folder)).read_bytes()

    def commit(
        self, repository: str, branch: str, parent: str, files: Mapping[str, bytes | Path | None], message: str
    ) -> str:
        """Adds, replaces or (None) removes files in one commit on top of `parent`, and returns it. Raises Moved when the
        branch moved."""
        operations = [
            CommitOperationDelete(path)
            if content is None
            else CommitOperationAdd(path, str(content) if isinstance(content, Path) else content)
            for path, content in files.items()
        ]
        with asking():
            return self._api.create_commit(
                repository, operations, commit_message=message, revision=branch, parent_commit=parent
            ).oid
