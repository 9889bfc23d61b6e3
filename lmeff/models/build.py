"""A recipe's model with its first weights."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lmeff.models.sizes import resolve_shape
from lmeff.recipe.schema import Recipe
from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID


def build_model(recipe: Recipe) -> PreTrainedModel:
    """A `LlamaForCausalLM` in float32 on the CPU. Its weights depend on shape and seed alone, under every launcher.

    It is built outside any ZeRO-3 initialization context, which would draw the weights in pieces.
    """
    shape, model = resolve_shape(recipe), recipe.model
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_theta},
        rms_norm_eps=model.rms_norm_eps,
        initializer_range=model.initializer_range,
        attention_dropout=model.attention_dropout,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)
