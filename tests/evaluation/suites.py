"""Small invented files in the layouts of the BabyLM evaluation pipeline and of GLUE."""

import json
from pathlib import Path

from evaluation.small_models import NAMES, VERBS, write_pairs

from lmeff.evaluation.tasks.sources import COMPS, ENTITY_SPLITS, EWOK_DOMAINS, PARADIGMS, SUPPLEMENT

NEIGHBOURS = list(zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True))


def write_lines(path: Path, records: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def ewok_item(one: str, other: str, verb: str) -> dict:
    return {
        "Domain": "unused",
        "ContextType": "direct",
        "Context1": f"{one} {verb} {other}.",
        "Context2": f"{other} {verb} {one}.",
        "Target1": f"{one} likes the doctors.",
        "Target2": f"{other} likes the doctors.",
    }


def swapped(item: dict) -> dict:
    return {
        **item,
        **{f"{key}{old}": item[f"{key}{new}"] for key in ("Context", "Target") for old, new in ("12", "21")},
    }


def write_full_eval(folder: Path) -> None:
    """`evaluation_data/full_eval`, with different numbers of examples in different files."""
    sentences = [f"{one} {verb} {other}." for one, other in NEIGHBOURS for verb in VERBS]
    for index, uid in enumerate(PARADIGMS):
        write_pairs(
            folder / "blimp_filtered" / f"{uid}.jsonl",
            list(zip(sentences[: 1 + index % 3], sentences[9:], strict=False)),
        )
    for index, uid in enumerate(SUPPLEMENT, 2):
        write_pairs(
            folder / "supplement_filtered" / f"{uid}.jsonl", list(zip(sentences[:index], sentences[9:], strict=False))
        )
    for index, domain in enumerate(EWOK_DOMAINS):
        items = [ewok_item(*names, VERBS[index % len(VERBS)]) for names in NEIGHBOURS[: 2 + index % 4]]
        both = [each for item in items for each in (item, swapped(item))]
        write_lines(folder / "ewok_filtered" / f"{domain}.jsonl", both)
    for split in ENTITY_SPLITS:
        records = [
            {
                "sample_id": num,
                "numops": num,
                "input_prefix": f"{one} finds {other}. {split} {num}. {one} sees ",
                "options": ["the doctors.", *(f"{name}." for name in NAMES[:4])],
            }
            for num in range(6)
            for one, other in NEIGHBOURS[: 2 + num % 3]
        ]
        write_lines(folder / "entity_tracking" / f"{split}.jsonl", records)
    for index, file in enumerate(COMPS.values()):
        verb = VERBS[index]
        records = [
            {
                "prefix_acceptable": f"{one} {verb}",
                "prefix_unacceptable": f"{other} {verb}",
                "property_phrase": "them.",
            }
            for one, other in NEIGHBOURS[: 3 + index]
        ]
        write_lines(folder / "comps" / f"{file}.jsonl", records)
    for name in ("wug_past_tense", "wug_adj_nominalization"):
        records = [
            {"sentences": f"{one} {verb} {other}.\t{one} {verb}ed {other}.", "ratio": str((7 * index) % 5 / 5)}
            for index, ((one, other), verb) in enumerate(zip(NEIGHBOURS, VERBS, strict=False))
        ]
        write_lines(folder / name / f"{name}.jsonl", records)
