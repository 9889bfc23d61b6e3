"""The local store of anchors: names, manifests, model cards; and the way to the Hub."""

from lmeff.revisions.names import anchor_name, final_name
from lmeff.revisions.provenance import provenance
from lmeff.revisions.store import RevisionStore, differences, list_revisions

__all__ = [
    "RevisionStore",
    "anchor_name",
    "differences",
    "final_name",
    "list_revisions",
    "provenance",
]
