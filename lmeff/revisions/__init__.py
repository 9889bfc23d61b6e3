"""The revisions of a run on the local disk: their names, manifests and model cards."""

from lmeff.revisions.listener import RevisionListener
from lmeff.revisions.provenance import provenance
from lmeff.revisions.revision import Revision
from lmeff.revisions.store import RevisionStore, differences, list_revisions

__all__ = [
    "Revision",
    "RevisionListener",
    "RevisionStore",
    "differences",
    "list_revisions",
    "provenance",
]
