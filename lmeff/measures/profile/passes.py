"""Loading a model to be measured, and forward passes."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from lmeff.models.device import available_bytes
from lmeff.models.loading import load_language_model
from lmeff.quantities import format_bytes

NO_ROOM = "out of memory"


def load_to_profile(folder: Path, precision: str) -> PreTrainedModel:
    """A model whose passes keep no cache, also one that sees later tokens. Raises InputError as `load_language_model` does."""
    model = load_language_model(folder, precision)
    model.config.use_cache = False
    return model


def random_tokens(model: PreTrainedModel, batch_size: int, length: int) -> torch.Tensor:
    """Shape (batch_size, length); always the same."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.get_text_config().vocab_size, (batch_size, length), generator=generator)
    return ids.to(model.device)


@torch.inference_mode()
def forward(model: PreTrainedModel, input_ids: torch.Tensor) -> None:
    """One pass of a model that was loaded here, without waiting for a GPU to finish it."""
    model(input_ids=input_ids)


def too_large(model: PreTrainedModel, batch_size: int, length: int) -> str | None:
    """Why a pass on a CPU is not even tried: Linux promises memory that it does not have, and then ends the process."""
    logits = batch_size * length * model.config.get_text_config().vocab_size * model.dtype.itemsize
    room = available_bytes()
    if room is None or logits <= room:
        return None
    return f"{NO_ROOM}: its logits take {format_bytes(logits)}, {format_bytes(room)} are free"
