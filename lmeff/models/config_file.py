"""`config.json` as every transformers from 4.46 on understands it. Needs no torch.

Version 5 renamed keys: what 4.x calls `rope_theta`, `rope_scaling` and `torch_dtype` it writes as `rope_parameters` and `dtype`
alone. Version 4 does not know these, takes its defaults without a word, and computes another model.
"""

from collections.abc import Mapping
from typing import Any


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with both spellings of what has two; all else as it is."""
    found = dict(config)
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_type" in rope:
        for name in ("rope_theta", "partial_rotary_factor"):
            if name in rope:
                found[name] = rope[name]
        if rope["rope_type"] != "default":
            found["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    if "dtype" in config:
        found["torch_dtype"] = config["dtype"]
    return found


def config_fault(config: Mapping[str, Any]) -> str | None:
    """What a version 4 of transformers would read otherwise than we do, in words; None for a complete configuration."""
    names = [name for name, value in complete_config(config).items() if config.get(name) != value]
    return f"transformers before 5 does not find {', '.join(names)} and takes its own default" if names else None
