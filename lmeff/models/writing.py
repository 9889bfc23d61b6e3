"""Writing the folder of a model, so that every transformers from 4.46 on loads the same model."""

from collections.abc import Mapping
from pathlib import Path

import torch
import xxhash
from transformers import PreTrainedModel

from lmeff.files import read_json, write_json
from lmeff.models.config_file import complete_config


def write_model(model: PreTrainedModel, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Writes model.safetensors with `weights`, in float32, config.json and generation_config.json."""
    kept = {name: tensor.detach().float().cpu() for name, tensor in weights.items()}
    model.save_pretrained(folder, state_dict=kept, max_shard_size="1TB")
    # A model that is trained in bfloat16 would say so here, and be loaded in bfloat16.
    config = read_json(folder / "config.json") | {"dtype": "float32"}
    write_json(folder / "config.json", complete_config(config))


def digest_of(state: Mapping[str, torch.Tensor]) -> str:
    """A hash of weights by their names (xxh3, 128 bits), whatever device they are on."""
    digest = xxhash.xxh3_128()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
