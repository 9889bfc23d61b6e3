"""`config.json` as every transformers from 4.46 on understands it. Needs no torch.

Version 5 renamed keys: it writes `rope_parameters` and `dtype` in place of `rope_theta`, `rope_scaling` and `torch_dtype`.
Version 4 does not know the new keys, takes its defaults without a word, and computes another model.
"""

from collections.abc import Mapping
from typing import Any


def loads_as_saved(config: Any) -> None:
    """Takes back what transformers 5 would do to the weights of every Mamba that it loads, and not only to first ones: with
    `rescale_prenorm_residual` it divides `out_proj` by the root of the number of layers. `config` is a PreTrainedConfig."""
    if getattr(config, "rescale_prenorm_residual", False):
        config.rescale_prenorm_residual = False


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
    if config.get("model_type") == "modernbert":
        completed |= _modernbert(config)
    if "dtype" in config:
        completed["torch_dtype"] = config["dtype"]
    return completed


def _modernbert(config: Mapping[str, Any]) -> dict[str, Any]:
    """Version 4 has a number in place of the kind of each layer, a base of the rotary positions for each kind in place of
    `rope_parameters`, and compiles the model unless it is told not to."""
    values: dict[str, Any] = {"reference_compile": False}
    is_global = [kind == "full_attention" for kind in config.get("layer_types") or ()]
    for every in range(1, len(is_global) + 1):
        if is_global == [layer % every == 0 for layer in range(len(is_global))]:
            values["global_attn_every_n_layers"] = every
            break
    rope = config.get("rope_parameters") or {}
    for kind, name in (("full_attention", "global_rope_theta"), ("sliding_attention", "local_rope_theta")):
        if kind in rope:
            values[name] = rope[kind]["rope_theta"]
    return values


def config_fault(config: Mapping[str, Any]) -> str | None:
    """What version 4 of transformers would read otherwise than version 5, in words; None for a complete configuration."""
    names = [name for name, value in complete_config(config).items() if config.get(name) != value]
    return f"transformers before 5 does not find {', '.join(names)} and takes its own default" if names else None
