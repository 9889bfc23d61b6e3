"""Small models and small data, made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

NAMES = ("Anna", "Boris", "Carla", "Dmitri", "Elena", "Farid")
VERBS = ("sees", "hears", "likes", "finds", "helps", "calls", "hides")

SIZES = {"vocab_size": 600, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE = {**SIZES, "intermediate_size": 80, "max_position_embeddings": 64, "initializer_range": 0.2}
LLAMA = {**SHAPE, "num_key_value_heads": 2, "tie_word_embeddings": True}
CONFIGS = {
    "llama, tied": LlamaConfig(**LLAMA),
    "gpt2": GPT2Config(vocab_size=600, n_embd=48, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2),
    "phi, with a bias in the head": PhiConfig(**SHAPE),
}


def save_model(folder: Path, *, hidden_size: int = 32, tokenizer_size: int = 600, **config) -> LlamaForCausalLM:
    """A small random Llama with a byte-level BPE tokenizer like those of this package, saved as a revision is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=tokenizer_size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    text = [f"{name} {verb} the old doctors who thought about themselves." for name in NAMES for verb in VERBS]
    tokenizer.train_from_iterator(text * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
        "tie_word_embeddings": False,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=600,
            hidden_size=hidden_size,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
            initializer_range=0.3,
            **{**sizes, **config},
        )
    )
    model.save_pretrained(folder)
    return model


def write_anchor(folder: Path, tokens: int, same_as: str | None = None) -> None:
    """Makes a model folder a whole revision of seed 0 at so many tokens."""
    losses = dict.fromkeys(("loss", "dev_loss", "dev_perplexity", "dev_bits_per_byte", "part"))
    counts = dict.fromkeys(("nominal_tokens", "exact_tokens", "step"), tokens)
    rest = dict.fromkeys(("epoch", "seed", "num_skipped_steps", "train_seconds", "flops"), 0)
    document = losses | counts | rest | {"mode": "snapshot", "world_size": 1, "device": "cpu", "same_as": same_as}
    (folder / "anchor.json").write_text(json.dumps(document | {"weights_sha256": "0" * 64}))
    (folder / "manifest.json").write_text("{}")


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"sentence_good": good, "sentence_bad": bad}) + "\n" for good, bad in pairs))


def altered(model_folder: Path, folder: Path, change: Callable[[PreTrainedModel], object]) -> Path:
    """A copy of the model after `change(model)`, with the same tokenizer."""
    for path in model_folder.iterdir():
        if path.suffix == ".json":
            (folder / path.name).write_text(path.read_text())
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    return folder
