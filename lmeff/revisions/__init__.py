"""The revisions of a run on the local disk: their names, manifests and model cards."""

from typing import TYPE_CHECKING, Any

from lmeff.revisions.listener import RevisionListener
from lmeff.revisions.provenance import provenance
from lmeff.revisions.revision import Revision

if TYPE_CHECKING:
    from lmeff.revisions.store import RevisionStore, differences, list_revisions

__all__ = [
    "Revision",
    "RevisionListener",
    "RevisionStore",
    "differences",
    "list_revisions",
    "provenance",
]


def __getattr__(name: str) -> Any:
    """What writes revisions brings tokenizers, which a revision's name does not need."""
    if name in ("RevisionStore", "differences", "list_revisions"):
        from lmeff.revisions import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
