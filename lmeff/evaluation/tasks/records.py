"""Lines of published files as documents: what a model is asked, and what is right.

A document is one of four things, by its keys:

- `sentence_good`, `sentence_bad`: two whole sentences, each scored from its beginning;
- `context`, `choices`: continuations of one context, the first one right unless `gold` is the index of another;
- `contexts`, `continuation`: one continuation after several contexts, of which the first is right;
- `context`, `choices`, `human_share`: two forms, with the share of people who prefer the first.

Documents with the same `item` were made from one item of the published data, and are no independent samples.
"""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError
from lmeff.evaluation.tasks.items import ITEM

TaskDocument = dict[str, Any]


def text(record: dict, field: str, where: str) -> str:
    """The text of a field. Raises InputError."""
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {field} is missing or holds no text")
    check_characters(value, f"{where}: {field}")
    return value


def minimal_pair(record: dict, where: str) -> TaskDocument:
    """BLiMP's format (Warstadt et al. 2020). The whole sentences are scored."""
    return {field: text(record, field, where) for field in ("sentence_good", "sentence_bad")}


def ewok_targets(record: dict, where: str) -> TaskDocument:
    """EWoK as BabyLM 2025 scores it: after Context1, Target1 should be more probable than Target2.

    Only the target is scored. The pipeline's files hold every item a second time with contexts and targets swapped.
    """
    return {
        "context": text(record, "Context1", where),
        "choices": [" " + text(record, field, where) for field in ("Target1", "Target2")],
        **_ewok_item(record),
    }


def ewok_contexts(record: dict, where: str) -> TaskDocument:
    """EWoK as its authors (Ivanova et al. 2024) and BabyLM 2026 score it: Target1 should be more probable after Context1 than
    after Context2. How probable a target is by itself cancels out."""
    return {
        "contexts": [text(record, field, where) for field in ("Context1", "Context2")],
        "continuation": " " + text(record, "Target1", where),
        **_ewok_item(record),
    }


def _ewok_item(record: dict) -> dict[str, str]:
    """What an item of EWoK has in common with the same item after contexts and targets were swapped."""
    halves = sorted([record.get(f"Context{number}"), record.get(f"Target{number}")] for number in (1, 2))
    return {ITEM: hashlib.blake2b(json.dumps(halves).encode(), digest_size=8).hexdigest()}


def comps(record: dict, where: str) -> TaskDocument:
    """COMPS (Misra et al. 2023): the property phrase should be more probable after the acceptable prefix. Only the phrase is
    scored, as in the paper and the pipeline; the prefixes differ in the concept, whose own probability says nothing."""
    return {
        "contexts": [text(record, field, where) for field in ("prefix_acceptable", "prefix_unacceptable")],
        "continuation": " " + text(record, "property_phrase", where),
    }


def entity_tracking(record: dict, where: str) -> TaskDocument:
    """Entity tracking (Kim & Schuster 2023) as a choice among the pipeline's five options, of which the first is right."""
    options, num = record.get("options"), record.get("numops")
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(one, str) and one for one in options):
        raise InputError(f"{where}: options must be a list of at least two texts, the right one first")
    if not isinstance(num, int):
        raise InputError(f"{where}: numops must be the number of operations")
    for option in options:
        check_characters(option, f"{where}: options")
    return {"context": text(record, "input_prefix", where), "choices": options, "numops": num}


def wug(record: dict, where: str) -> TaskDocument:
    """Two sentences with two forms of an invented word, and the share of people who prefer the first (Weissweiler et al. 2023,
    Hofmann et al. 2024). The whole sentences are scored."""
    forms = text(record, "sentences", where).split("\t")
    if len(forms) != 2 or not all(form.strip() for form in forms):
        raise InputError(f"{where}: sentences must be two, with a tab between them")
    try:
        ratio = float(record["ratio"])
    except (KeyError, TypeError, ValueError):
        ratio = math.nan
    if not math.isfinite(ratio):
        raise InputError(f"{where}: ratio is missing or no number")
    return {"context": "", "choices": forms, "human_share": ratio}


LAYOUTS: dict[str, Callable[[dict, str], TaskDocument]] = {
    "blimp": minimal_pair,
    "blimp_filtered": minimal_pair,
    "supplement": minimal_pair,
    "pairs": minimal_pair,
    "ewok": ewok_targets,
    "ewok_context": ewok_contexts,
    "comps": comps,
    "entity_tracking": entity_tracking,
    "wug_past": wug,
    "wug_adj": wug,
}
"""How a line becomes a document, by what a task file calls its `source`."""


def asked(document: TaskDocument) -> list[tuple[str, ...]]:
    """What a model is asked for a document, in the order of asking: context, continuation and, where the answer's place is no
    convention, what is right. Two documents with the same are scored the same."""
    if "sentence_good" in document:
        requests = [("", document["sentence_good"]), ("", document["sentence_bad"])]
    elif "contexts" in document:
        requests = [(context, document["continuation"]) for context in document["contexts"]]
    else:
        requests = [(document["context"], choice) for choice in document["choices"]]
    right = [str(document[key]) for key in ("gold", "human_share") if key in document]
    return [(*request, *right) for request in requests]
