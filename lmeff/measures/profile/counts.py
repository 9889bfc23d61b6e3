"""Parameters and FLOPs of a model."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from lmeff.library_internals import attention_of
from lmeff.measures.profile.passes import forward, random_tokens
from lmeff.models.families import family_of_config


def count_parameters_of(model: PreTrainedModel) -> dict[str, int]:
    """A parameter that is used twice, as tied embeddings are, is counted once. `embedding`: all lookups and the output head."""
    modules = [one for one in model.modules() if isinstance(one, torch.nn.Embedding)]
    head = model.get_output_embeddings()
    shared = {id(one): one.numel() for module in (*modules, *([head] if head else [])) for one in module.parameters()}
    sizes = {id(one): one.numel() for one in model.parameters()}
    trainable = sum({id(one): one.numel() for one in model.parameters() if one.requires_grad}.values())
    total, embedding = sum(sizes.values()), sum(shared.values())
    return {"total": total, "embedding": embedding, "non_embedding": total - embedding, "trainable": trainable}


def forward_flops_per_token(model: PreTrainedModel, length: int) -> tuple[float, str]:
    """FLOPs of a forward pass by token, full attention, and where they are from.

    For models that a recipe can name a third of the plan's formula, which counts a backward pass as two forward ones; for
    others torch counts the matrix products of a pass, with attention written out, since it does not know every fused one.
    """
    config = model.config
    family = family_of_config(config)
    if family is not None and family.model_class == type(model).__name__:
        flops = family.of_config(config).forward_flops_per_token(length)
        return flops, family.forward_formula
    usual = attention_of(config)
    model.set_attn_implementation("eager")
    try:
        with FlopCounterMode(display=False) as counter:
            forward(model, random_tokens(model, 1, length))
    finally:
        model.set_attn_implementation(usual)
    return counter.get_total_flops() / length, "torch.utils.flop_counter"
