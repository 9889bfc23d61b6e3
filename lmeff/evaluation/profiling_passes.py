"""Loading a model to be measured, forward passes, and telling when the memory is too small for one."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lmeff.errors import InputError
from lmeff.evaluation.machine import available_bytes
from lmeff.quantities import format_bytes

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NO_ROOM = "out of memory"


def load_causal_model(folder: Path, precision: str = "float32") -> PreTrainedModel:
    """Safetensors only, no code from the folder is run.

    Raises InputError for weights that lack parameters, and for a masked language model, whose predictions of a token see the
    token.
    """
    options = {"trust_remote_code": False, "local_files_only": True, "use_safetensors": True}
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=DTYPES[precision], output_loading_info=True, **options
    )
    check_whole(folder, info["missing_keys"])
    if getattr(model.config, "is_decoder", None) is False and not model.config.is_encoder_decoder:
        raise InputError(f"{folder}: a {type(model).__name__} that is no decoder sees the tokens it would be scored on")
    return model


def check_whole(folder: Path, missing: Iterable[str]) -> None:
    """Raises InputError when parameters are missing in the weights of a model, which transformers would fill at random."""
    if missing := sorted(missing):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder}: its weights lack {missing[0]}{more}")


def max_length(model: PreTrainedModel) -> int | float:
    limit = getattr(model.config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else float("inf")


def random_tokens(model: PreTrainedModel, batch_size: int, length: int) -> torch.Tensor:
    """Shape (batch_size, length); always the same."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (batch_size, length), generator=generator)
    return ids.to(model.device)


@torch.inference_mode()
def forward(model: PreTrainedModel, input_ids: torch.Tensor) -> None:
    """One pass, without waiting for a GPU to finish it."""
    model(input_ids=input_ids, use_cache=False)


def is_out_of_memory(error: BaseException) -> bool:
    """Also on a CPU, where torch raises a RuntimeError like any other."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error).lower() for word in words)


def too_large(model: PreTrainedModel, batch_size: int, length: int) -> str | None:
    """Why a pass on a CPU is not even tried: Linux promises memory that it does not have, and then ends the process."""
    logits = batch_size * length * model.config.vocab_size * model.dtype.itemsize
    room = available_bytes()
    if room is None or logits <= room:
        return None
    return f"{NO_ROOM}: its logits take {format_bytes(logits)}, {format_bytes(room)} are free"
