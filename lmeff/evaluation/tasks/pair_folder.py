"""`lmeff_pairs`: any folder of minimal pairs in BLiMP's format as an lm-eval group, with a task for each of its files.

lm-eval reads the tasks of a group from its YAML file, where `!function MODULE.NAME` stands for an attribute of a module. This
module's attribute `members` is made when it is asked for.
"""

from typing import Any

import yaml

from lmeff.evaluation import scoring
from lmeff.evaluation.tasks import data
from lmeff.evaluation.tasks.names import tasks_folder


def __getattr__(name: str) -> list[dict[str, Any]]:
    """`members`: lm-eval's configuration of a task for each file of the folder. Raises InputError for a folder without any."""
    if name != "members":
        raise AttributeError(name)
    shared = _Loader((tasks_folder() / "_pairs.yaml").read_text(encoding="utf-8")).get_single_data()
    return [
        {**shared, "task": uid, "dataset_kwargs": {"source": "pairs", "uid": uid}}
        for uid in data.pair_files(data.current_paths())
    ]


class _Loader(yaml.SafeLoader):
    """Reads `!function pairs.NAME` as lm-eval does."""


def _function(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    name = loader.construct_scalar(node).removeprefix("pairs.")
    return getattr(scoring, name, None) or getattr(data, name)


_Loader.add_constructor("!function", _function)
