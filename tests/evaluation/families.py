"""Tiny models of many families of transformers, with random weights."""

import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BioGptConfig,
    BloomConfig,
    CTRLConfig,
    DistilBertConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MixtralConfig,
    ModernBertConfig,
    ModernBertDecoderConfig,
    MptConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RecurrentGemmaConfig,
    RobertaConfig,
    RwkvConfig,
    XGLMConfig,
    XLNetConfig,
)

_SIZES = {"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_SHAPE = {**_SIZES, "intermediate_size": 64, "max_position_embeddings": 64}
_GPT = {"vocab_size": 600, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_FRAME = {**_IDS, "cls_token_id": 0, "sep_token_id": 1}
_LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [6.0] * 4}

DECODERS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_SHAPE, **_IDS),
    "gpt2": GPT2Config(**_GPT, **_IDS),
    "gptj": GPTJConfig(**_GPT, **_IDS, rotary_dim=4),
    "gpt-neox": GPTNeoXConfig(**_SHAPE, **_IDS),
    "gpt-neo": GPTNeoConfig(
        vocab_size=600,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
        max_position_embeddings=64,
        **_IDS,
    ),
    "opt": OPTConfig(**_SIZES, **_IDS, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32),
    "mpt": MptConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=4, max_seq_len=64, **_IDS),
    "bloom": BloomConfig(vocab_size=600, hidden_size=32, n_layer=2, n_head=4, **_IDS),
    "falcon": FalconConfig(**_SIZES, **_IDS, max_position_embeddings=64),
    "falcon, alibi": FalconConfig(**_SIZES, **_IDS, alibi=True, max_position_embeddings=64),
    "phi": PhiConfig(**_SHAPE, **_IDS),
    "phi-3, longrope": Phi3Config(
        **{**_SHAPE, "max_position_embeddings": 128},
        **_IDS,
        original_max_position_embeddings=24,
        rope_parameters={**_LONG, "original_max_position_embeddings": 24},
    ),
    "mixtral": MixtralConfig(**_SHAPE, **_IDS, num_key_value_heads=2, num_local_experts=4),
    "gemma-3": Gemma3TextConfig(**_SHAPE, **_IDS, num_key_value_heads=2, head_dim=8, sliding_window=8),
    "mamba": MambaConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2, state_size=4, **_IDS),
    "mamba-2": Mamba2Config(
        vocab_size=600,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        num_heads=4,
        head_dim=16,
        n_groups=1,
        chunk_size=8,
        **_IDS,
    ),
    "recurrent gemma": RecurrentGemmaConfig(
        **{**_SIZES, "num_hidden_layers": 3}, **_IDS, intermediate_size=64, lru_width=32, attention_window_size=16
    ),
    "rwkv": RwkvConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2, context_length=64, **_IDS),
    "ctrl": CTRLConfig(**_GPT, **_IDS, dff=64),
    "xglm": XGLMConfig(
        vocab_size=600, d_model=32, num_layers=2, attention_heads=4, ffn_dim=64, max_position_embeddings=64, **_IDS
    ),
    "biogpt": BioGptConfig(**_SHAPE, **_IDS),
    "bert as decoder": BertConfig(**_SHAPE, **_IDS, is_decoder=True),
    "roberta as decoder": RobertaConfig(**_SHAPE, **_IDS, is_decoder=True),
    "modernbert decoder": ModernBertDecoderConfig(**_SHAPE, **_FRAME),
}
BIDIRECTIONAL: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE, **_IDS),
    "roberta": RobertaConfig(**_SHAPE, **_IDS),
    "distilbert": DistilBertConfig(
        vocab_size=600, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64, pad_token_id=2
    ),
    "modernbert": ModernBertConfig(**_SHAPE, **_FRAME),
    "xlnet": XLNetConfig(vocab_size=600, d_model=32, n_layer=2, n_head=4, d_inner=64, **_IDS),
    "xlnet that calls itself a decoder": XLNetConfig(
        vocab_size=600, d_model=32, n_layer=2, n_head=4, d_inner=64, is_decoder=True, **_IDS
    ),
    "gemma-3 that looks both ways": Gemma3TextConfig(
        **_SHAPE, **_IDS, num_key_value_heads=2, head_dim=8, use_bidirectional_attention=True
    ),
}


def decoder(kind: str) -> PreTrainedModel:
    """A causal language model whose weights are so large that each part of it shows."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DECODERS[kind]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return model
