"""Where evaluation data lies: each set's name in `evaluation.paths`, its files, and where it is published.

The layouts are those of the BabyLM evaluation pipeline (babylm/evaluation-pipeline-2025, babylm-org/babylm-eval), whose data
folder `evaluation_data/full_eval` can be named as LMEFF_EVAL_DATA as it is; so can `evaluation_data/fast_eval`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.tasks.blimp import PARADIGMS
from lmeff.paths import expanded

DATA_VARIABLE = "LMEFF_EVAL_DATA"
_BABYLM = "https://osf.io/ryjfm, evaluation_data/full_eval/"


@dataclass(frozen=True)
class Source:
    title: str
    files: dict[str, tuple[str, ...]]
    """By part (a paradigm, a domain, a split): the names its file may have, the usual one first. Empty: any `*.jsonl`."""
    folders: tuple[str, ...]
    """The names its folder may have under LMEFF_EVAL_DATA, the first found counts."""
    keys: str
    """What a line holds."""
    published: str
    hub: str | None = None
    """The Hub dataset that is read without a local folder."""


def _files(*parts: str, pattern: str = "{}.jsonl") -> dict[str, tuple[str, ...]]:
    return {part: (pattern.format(part),) for part in parts}


_PAIRS = "sentence_good and sentence_bad"
SUPPLEMENT = ("hypernym", "qa_congruence_easy", "qa_congruence_tricky", "subject_aux_inversion", "turn_taking")
"""BLiMP supplement (BabyLM 2023)."""
EWOK_DOMAINS = (
    "agent-properties",
    "material-dynamics",
    "material-properties",
    "physical-dynamics",
    "physical-interactions",
    "physical-relations",
    "quantitative-properties",
    "social-interactions",
    "social-properties",
    "social-relations",
    "spatial-relations",
)
"""EWoK-core 1.0 (Ivanova et al. 2024)."""
ENTITY_SPLITS, ENTITY_OPERATIONS = ("regular", "ambiref", "move_contents"), range(6)
"""Entity tracking (Kim & Schuster 2023): its files, and the numbers of operations within each."""
COMPS = {
    "base": "comps_base",
    "wugs": "comps_wugs",
    "wugs_dist_before": "comps_wugs_dist-before",
    "wugs_dist_in_between": "comps_wugs_dist-in-between",
}
"""COMPS (Misra et al. 2023): its parts and their files."""
SMALLBENCH = ("sst2", "rte", "boolq", "mrpc")

SOURCES: dict[str, Source] = {
    "blimp": Source("BLiMP", _files(*PARADIGMS), ("blimp",), _PAIRS, "nyu-mll/blimp", "nyu-mll/blimp"),
    "blimp_filtered": Source(
        "filtered BLiMP",
        {uid: (f"{uid}.jsonl", f"{uid.lower()}.jsonl") for uid in PARADIGMS},
        ("blimp_filtered", "blimp_fast"),
        _PAIRS,
        f"{_BABYLM}blimp_filtered",
    ),
    "supplement": Source(
        "the BLiMP supplement",
        _files(*SUPPLEMENT),
        ("supplement", "supplement_filtered", "supplement_fast"),
        _PAIRS,
        f"{_BABYLM}supplement_filtered",
    ),
    "ewok": Source(
        "EWoK",
        _files(*EWOK_DOMAINS),
        ("ewok", "ewok_filtered", "ewok_fast"),
        "Context1, Context2, Target1 and Target2",
        "ewok-core/ewok-core-1.0, whose terms you accept there",
        "ewok-core/ewok-core-1.0",
    ),
    "entity_tracking": Source(
        "entity tracking",
        {f"{split}_{num}_ops": (f"{split}.jsonl",) for split in ENTITY_SPLITS for num in ENTITY_OPERATIONS},
        ("entity_tracking", "entity_tracking_fast"),
        "input_prefix, options (the right one first) and numops",
        f"{_BABYLM}entity_tracking",
    ),
    "comps": Source(
        "COMPS",
        {part: (f"{file}.jsonl",) for part, file in COMPS.items()},
        ("comps",),
        "prefix_acceptable, prefix_unacceptable and property_phrase",
        f"{_BABYLM}comps",
    ),
    "wug_past": Source(
        "WUG past tense",
        _files("wug_past_tense"),
        ("wug_past", "wug_past_tense"),
        "sentences (two, with a tab between them) and ratio",
        f"{_BABYLM}wug_past_tense",
    ),
    "wug_adj": Source(
        "WUG adjective nominalization",
        _files("wug_adj_nominalization"),
        ("wug_adj", "wug_adj_nominalization"),
        "sentences (two, with a tab between them) and ratio",
        f"{_BABYLM}wug_adj_nominalization",
    ),
    "pairs": Source("minimal pairs", {}, ("pairs",), _PAIRS, "any files in BLiMP's format"),
    "smallbench": Source(
        "SmallBench",
        {name: (f"{name}.jsonl", f"{name}_validation.jsonl", f"{name}.valid.jsonl") for name in SMALLBENCH},
        ("smallbench",),
        "the keys of GLUE (boolq: question, passage, answer) and a label",
        "nyu-mll/glue and google/boolq",
        "nyu-mll/glue and google/boolq",
    ),
}
"""By the name that `evaluation.paths` gives to its folder."""

DATA_NAMES = (*SOURCES, "glue", "superglue", "babylm", "leaner_glue")


def data_root() -> Path | None:
    """The folder that LMEFF_EVAL_DATA names, if any. Raises InputError for a variable in it that is not set."""
    try:
        return Path(expanded(root)) if (root := os.environ.get(DATA_VARIABLE)) else None
    except InputError as error:
        raise InputError(f"{DATA_VARIABLE}: {error}") from None


def data_folder(name: str, paths: Mapping[str, str]) -> Path | None:
    """The local folder of a set of data, or None for the Hub.

    Args:
        name: a key of `SOURCES`.
        paths: folders by name (`evaluation.paths`); they win over the environment variable LMEFF_EVAL_DATA.

    Raises InputError for a folder that is not there, and when none is named for data that the Hub does not have.
    """
    # Not above, since `lmeff doctor` needs this module and has to work without pydantic.
    from lmeff.recipe.input_paths import where_looked

    source, everything = SOURCES[name], None if name in paths else data_root()
    if name in paths:
        candidates, named_by = [Path(expanded(paths[name]))], f"evaluation.paths.{name}"
    elif everything:
        candidates, named_by = [everything / folder for folder in source.folders], DATA_VARIABLE
    elif source.hub:
        return None
    else:
        raise InputError(
            f"{source.title} must be local: set evaluation.paths.{name} to a folder with {_holds(source)}, or "
            f"{DATA_VARIABLE} to the folder that holds it as {' or '.join(source.folders)} (published: {source.published})"
        )
    folder = next((folder for folder in candidates if folder.is_dir()), None)
    if folder is None:
        raise InputError(
            f"{candidates[0]}: no such folder ({named_by}; it should hold {_holds(source)} of {source.title}; "
            f"published: {source.published}){where_looked(str(candidates[0]))}"
        )
    return folder


def data_file(name: str, part: str, folder: Path) -> Path | None:
    """The file of a part in the folder of its source; None when it is not there."""
    candidates = SOURCES[name].files.get(part, (f"{part}.jsonl",))
    return next((path for file in candidates if (path := folder / file).is_file()), None)


def _holds(source: Source) -> str:
    usual = list(dict.fromkeys(files[0] for files in source.files.values()))
    files = (
        ", ".join(usual)
        if 0 < len(usual) < 6
        else f"{len(usual)} files such as {usual[0]}"
        if usual
        else "*.jsonl files"
    )
    return f"{files} with {source.keys}"
