"""`config.json` as every transformers from 4.46 on understands it. Needs no torch.

Version 5 renamed keys: it writes `rope_parameters` and `dtype` in place of `rope_theta`, `rope_scaling` and `torch_dtype`.
Version 4 does not know the new keys, takes its defaults without a word, and computes another model.
"""

from collections.abc import Mapping
from typing import Any


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with both names of everything that has two."""
    completed = dict(config)
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_type" in rope:
        for name in ("rope_theta", "partial_rotary_factor"):
            if name in rope:
                completed[name] = rope[name]
        if rope["rope_type"] != "default":
            completed["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    if "dtype" in config:
        completed["torch_dtype"] = config["dtype"]
    return completed


def config_fault(config: Mapping[str, Any]) -> str | None:
    """What version 4 of transformers would read otherwise than version 5, in words; None for a complete configuration."""
    names = [name for name, value in complete_config(config).items() if config.get(name) != value]
    return f"transformers before 5 does not find {', '.join(names)} and takes its own default" if names else None
