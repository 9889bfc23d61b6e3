"""`lmeff_pairs`: any folder of minimal pairs in BLiMP's format as an lm-eval group, with a task for each of its files."""

from collections.abc import Mapping
from typing import Any

import yaml

from lmeff.evaluation import scoring
from lmeff.evaluation.tasks import data
from lmeff.evaluation.tasks.names import tasks_folder


def pair_tasks(paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """lm-eval's configuration of a task for each file of the folder. Raises InputError for a folder without any.

    Args:
        paths: folders by name (`evaluation.paths`); without `pairs` among them LMEFF_EVAL_DATA says where it is.
    """
    shared = _Loader((tasks_folder() / "_pairs.yaml").read_text(encoding="utf-8")).get_single_data()
    return [
        {**shared, "task": uid, "dataset_kwargs": {"source": "pairs", "uid": uid}} for uid in data.pair_files(paths)
    ]


class _Loader(yaml.SafeLoader):
    """Reads `!function pairs.NAME` as lm-eval does."""


def _function(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    name = loader.construct_scalar(node).removeprefix("pairs.")
    return getattr(scoring, name, None) or getattr(data, name)


_Loader.add_constructor("!function", _function)
