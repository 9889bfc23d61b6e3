"""Models of the Hub by name: `NAMESPACE/REPO@REVISION`, and all anchors of a repository in the order of their tokens."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.hub.account import token
from lmeff.hub.availability import asked_once
from lmeff.hub.named_revision import NamedRevision
from lmeff.hub.names import INDEX, MAIN

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[^@\s]+)?")
_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer.model", "*.txt", "README.md"]
_NOT_NEEDED = ["optimizer.safetensors"]
TOKENIZER = "tokenizer.json"
_ASK_SECONDS = 20.0


@dataclass(frozen=True)
class RemoteModel:
    repository: str
    revision: str
    commit: str
    """What the revision was when it was asked for."""

    @property
    def folder_name(self) -> str:
        """`REPO@REVISION`, as a folder can be called."""
        return f"{self.repository.partition('/')[2]}@{self.revision.replace('/', '__')}"


def is_remote(what: str) -> bool:
    """Whether this names a model of the Hub: it looks like one, and there is no such path here, nor a folder that is called
    like the namespace."""
    return not Path(what).exists() and not Path(what.partition("/")[0]).is_dir() and _NAME.fullmatch(what) is not None


def fetch_tokenizer(what: str) -> Path:
    """The tokenizer.json of `NAMESPACE/REPO[@REVISION]`, `main` unless it says so, in the Hugging Face cache.

    Raises InputError for what names no tokenizer of the Hub, and RunFailed when the Hub cannot be asked and the cache has none.
    """
    if not is_remote(what):
        raise InputError(
            f"{what}: neither a {TOKENIZER}, nor a folder with one, nor NAMESPACE/REPO[@REVISION] on the Hub"
        )
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from lmeff.hub.client import NotDelivered, Unavailable, asking

    repository, _, revision = what.partition("@")
    revision = revision or MAIN
    api = HfApi(token=token() or False)
    try:
        with asking():
            try:
                # Asked first, since a download alone tries for half a minute to reach a Hub that is not there.
                api.model_info(repository, revision=revision, timeout=_ASK_SECONDS)
                return Path(api.hf_hub_download(repository, TOKENIZER, revision=revision))
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                raise InputError(f"{what}: no such repository on the Hub, or the token may not see it") from None
            except RevisionNotFoundError:
                raise InputError(f"{what}: the repository has no revision {revision!r}") from None
            except RemoteEntryNotFoundError:
                raise InputError(f"{what}: has no {TOKENIZER}") from None
    except (Unavailable, NotDelivered) as error:
        fetched = try_to_load_from_cache(repository, TOKENIZER, revision=revision)
        if isinstance(fetched, str):
            return Path(fetched)
        raise RunFailed(f"{what}: its {TOKENIZER} cannot be fetched ({error})") from None


def find_remote(what: str, revisions: list[str] | None, every: bool) -> list[RemoteModel]:
    """The models that `NAMESPACE/REPO[@REVISION]` means, with `revisions` or with `every` anchor in the order of tokens.

    With `every`, `main` is the last one where it holds a model of its own, as in the repositories of BabyLM. Without any of
    these, no revision is guessed, as `main` may be any of them. Raises InputError, and Unavailable when the Hub cannot be
    asked.
    """
    from lmeff.hub.client import Hub

    repository, _, revision = what.partition("@")
    hub = Hub(token(), is_limited=False)
    branches = hub.branches(repository)
    if revision:
        if revisions or every:
            raise InputError(f"{what}: names a revision already; leave --revisions out")
        wanted = [revision]
    elif every:
        wanted = sorted(branches, key=NamedRevision.parse)
    elif revisions:
        wanted = revisions
    else:
        wanted = []
    if not wanted:
        known = ", ".join(sorted(branches, key=NamedRevision.parse))
        raise InputError(f"{what}: which revision? {repository}@REVISION or --revisions all; it has {known}")
    found = []
    for name in wanted:
        if name not in branches and not re.fullmatch(r"[0-9a-f]{40}", name):
            known = ", ".join(sorted(branches, key=NamedRevision.parse))
            raise InputError(f"{repository}: has no revision {name!r}; it has {known}")
        found.append(RemoteModel(repository, name, branches.get(name, name)))
    return [one for one in found if _is_model(one, hub.files(repository, one.commit))] if every else found


def _is_model(one: RemoteModel, files: Iterable[str]) -> bool:
    """Whether a branch is a model of its own: not one without weights, such as one that is just being made, and not the `main`
    of our repositories, which at most repeats the final model."""
    return holds_weights(files) and not (one.revision == MAIN and INDEX in files)


def holds_weights(files: Iterable[str | Path]) -> bool:
    """Whether some of the files are weights. Also those in a format that we do not read: such a model is to be complained
    about, not skipped in silence."""
    return any(Path(path).suffix in (".safetensors", ".bin") for path in files)


def download(model: RemoteModel) -> Path:
    """The folder of the model's commit in the Hugging Face cache, with its safetensors only. Raises Unavailable."""
    from huggingface_hub import snapshot_download

    from lmeff.hub.client import asking

    with asking(), asked_once():
        folder = snapshot_download(
            model.repository,
            revision=model.commit,
            allow_patterns=_FILES,
            ignore_patterns=_NOT_NEEDED,
            token=token() or False,
        )
    return Path(folder)
