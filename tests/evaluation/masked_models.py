"""Tiny models that see later tokens, or may: masked ones, an XLNet, and hybrids, which are decoders with a mask token."""

from pathlib import Path

import torch
from evaluation.tokenizer_habits import SENTENCES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    Mamba2Config,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLNetConfig,
)

NUM_TOKENS = 340
MASK = 4
_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_SIZES = {"vocab_size": NUM_TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_SHAPE = {**_SIZES, "intermediate_size": 48, "max_position_embeddings": 64}
_GPT = {"vocab_size": NUM_TOKENS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
MASKED: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SHAPE, **_IDS),
    "roberta": RobertaConfig(**_SHAPE, **_IDS),
    "distilbert": DistilBertConfig(
        vocab_size=NUM_TOKENS, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64, pad_token_id=0
    ),
    # Of its two layers one looks only at near places, so padding and lengths would show.
    "modernbert": ModernBertConfig(
        **_SHAPE, **_IDS, cls_token_id=1, sep_token_id=2, local_attention=8, global_attn_every_n_layers=2
    ),
}
HYBRIDS: dict[str, PreTrainedConfig] = {"llama": LlamaConfig(**_SHAPE, **_IDS), "gpt2": GPT2Config(**_GPT, **_IDS)}
OTHERS: dict[str, PreTrainedConfig] = {
    "xlnet": XLNetConfig(vocab_size=NUM_TOKENS, d_model=32, n_layer=2, n_head=4, d_inner=48, **_IDS),
    "gptj": GPTJConfig(**_GPT, **_IDS, rotary_dim=4),
    "mamba2": Mamba2Config(
        vocab_size=NUM_TOKENS,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        num_heads=4,
        head_dim=16,
        n_groups=1,
        chunk_size=8,
        **_IDS,
    ),
}


def masking_tokenizer(frames: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level, with a mask token; `frames`: it puts `<s>` and `</s>` around a text by itself, as BERT's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    assert tokenizer.get_vocab_size() == NUM_TOKENS
    if frames:
        ends = [("<s>", 1), ("</s>", 2)]
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
    names |= {"cls_token": "<s>", "sep_token": "</s>"} if frames else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def loud_model(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A model whose weights are so large that each part of it shows."""
    torch.manual_seed(seed)
    auto = AutoModelForMaskedLM if config in MASKED.values() else AutoModelForCausalLM
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return model


def save_masking(folder: Path, config: PreTrainedConfig, frames: bool = True) -> PreTrainedModel:
    """A model folder whose tokenizer has a mask token."""
    model = loud_model(config)
    model.save_pretrained(folder)
    masking_tokenizer(frames).save_pretrained(folder)
    return model
