"""Parameters and FLOPs of a model."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from lmeff.measures.profile.passes import forward, random_tokens
from lmeff.models.sizes import Shape
from lmeff.plan.compute import flops_per_token


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

    For a Llama a third of the plan's formula, which counts a backward pass as two forward ones; for others torch counts the
    matrix products of a pass, with attention written out, since it does not know every fused one.
    """
    config = model.config
    if config.model_type == "llama":
        heads = config.num_attention_heads
        shape = Shape(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=heads,
            num_key_value_heads=config.num_key_value_heads or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            max_position_embeddings=config.max_position_embeddings,
            tie_word_embeddings=config.tie_word_embeddings,
            vocab_size=config.vocab_size,
        )
        return flops_per_token(shape, length) / 3, "2 x matmul parameters + 4 x layers x width x length (PaLM)"
    usual = config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with FlopCounterMode(display=False) as counter:
            forward(model, random_tokens(model, 1, length))
    finally:
        model.set_attn_implementation(usual)
    return counter.get_total_flops() / length, "torch.utils.flop_counter"
