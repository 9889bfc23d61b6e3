"""A finished result on disk: `TASK.json`, and for minimal pairs the table of their scores beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmeff.evaluation.pair_table import ITEM, join_pair_tables, num_items
from lmeff.evaluation.parts import Part
from lmeff.evaluation.results import plain, task_config, write_table
from lmeff.formats.base import FORMAT
from lmeff.formats.result import ABOUT, KIND, pairs_path, write_result
from lmeff.models.versions import library_versions


def write_scores(
    path: Path, result: dict, tasks: Mapping[str, Any], parts: Mapping[str, Part], depends_on: Mapping[str, Any]
) -> dict:
    """Writes what lm-eval made of the answers to a task or group, and returns the content of the file.

    Args:
        result: what `lm_eval.evaluate` returned.
        tasks: lm-eval's tasks by name; itself if it is no group.
        parts: the answers to each of them.
        depends_on: what the numbers depend on: `weights_sha256`, `settings`, `data`, `data_sha256`.
    """
    about = {
        "format": FORMAT,
        **depends_on,
        "versions": library_versions(),
        "device": ", ".join(sorted({part.device for part in parts.values()})),
    }
    if num_cut := sum(part.num_cut for part in parts.values()):
        about["num_cut"] = num_cut  # contexts that were too long for the model and lost their beginning
    if depends_on["settings"]["precision"] == "adaptive":
        num_answers = sum(part.num_answers for part in parts.values())
        about["share_in_float32"] = sum(part.num_in_float32 for part in parts.values()) / max(num_answers, 1)
        about["error_bound"] = max(part.error_bound for part in parts.values())
        about["num_compiled"] = sum(part.compiled for part in parts.values())  # tasks
    tables = {name: part.pairs for name, part in parts.items() if part.pairs is not None}
    is_of_pairs = len(tables) == len(parts)
    if is_of_pairs:
        pairs = join_pair_tables(list(tables.values()))
        about |= {"num_pairs": pairs.num_rows, "num_ties": pairs["score"].to_pylist().count(0.5)}
        if ITEM in pairs.column_names:  # what standard errors count
            num_items_of = {name: num_items(table) for name, table in tables.items()}
            about |= {"num_items": sum(num_items_of.values()), "num_items_of": num_items_of}
        about["target_delimiter"] = next(iter(tasks.values())).get_config("target_delimiter")
        write_table(pairs_path(path), pairs)
    configs = {name: task_config(task) for name, task in tasks.items()}
    kind = "pairs" if is_of_pairs else "choices"
    content = plain({"format": FORMAT, **result, "configs": configs, KIND: kind, ABOUT: about})
    write_result(path, content)
    return content
