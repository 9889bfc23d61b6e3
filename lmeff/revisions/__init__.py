"""The local store of anchors: names, manifests, model cards."""

from lmeff.revisions.card import model_card
from lmeff.revisions.names import anchor_name, final_name
from lmeff.revisions.provenance import provenance
from lmeff.revisions.store import RevisionStore, differences, list_revisions, read_manifest

__all__ = [
    "RevisionStore",
    "anchor_name",
    "differences",
    "final_name",
    "list_revisions",
    "model_card",
    "provenance",
    "read_manifest",
]
