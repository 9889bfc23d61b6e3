"""Small tokenizers of every habit, and models to go with them."""

import json
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import torch
from evaluation.small_models import NAMES, VERBS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CTRLTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lmeff.tokens.tokenizer.bpe import save_tokenizer, train_tokenizer

SENTENCES = [f"{name} {verb} the old doctors who thought about themselves." for name in NAMES for verb in VERBS]
PLAIN = "Sentence: Fun.\nSentiment: negative positive not entailment no yes. unhappy unhappily 0123456789"
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
FRONT = {"none": [], "front": [1], "back": [], "both": [1]}
"""By habit: what a tokenizer puts in front of a text by itself."""
TEMPLATES = {"front": "<s> $A", "back": "$A </s>", "both": "<s> $A </s>"}


def _trained(tokenizer: Tokenizer, trainer: Callable, **options) -> Tokenizer:
    tokenizer.train_from_iterator([*SENTENCES, PLAIN] * 4, trainer(special_tokens=SPECIAL, **options))
    return tokenizer


def _byte_level(prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(
        tokenizer, trainers.BpeTrainer, vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )


def _word_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _trained(tokenizer, trainers.WordPieceTrainer, vocab_size=160)


def _sentence_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, vocab_size=160, unk_token="<unk>")


def _across_words() -> Tokenizer:
    """Merges run across spaces and line breaks, so tokens straddle the border between a context and an answer."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return _trained(tokenizer, trainers.BpeTrainer, vocab_size=500)


KINDS = {
    "bytes": lambda: _byte_level(False),
    "bytes, prefix space": lambda: _byte_level(True),
    "word pieces": _word_pieces,
    "sentence pieces": _sentence_pieces,
    "across words": _across_words,
}


def save_with_habit(folder: Path, kind: str, habit: str) -> Tokenizer:
    """A model folder whose tokenizer adds to texts as `habit` says; returns the tokenizer without that."""
    raw = KINDS[kind]()
    whole = Tokenizer.from_str(raw.to_str())
    if habit in TEMPLATES:
        special = [("<s>", 1), ("</s>", 2)]
        whole.post_processor = processors.TemplateProcessing(single=TEMPLATES[habit], special_tokens=special)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=whole, **names).save_pretrained(folder)
    save_llama(folder, whole.get_vocab_size())
    return raw


def save_llama(folder: Path, vocab_size: int, **config) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"max_position_embeddings": 256, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, eos_token_id=2, **{**sizes, **config})).eval()
    model.save_pretrained(folder)
    return model


def save_own(folder: Path) -> LlamaForCausalLM:
    """A model folder with a tokenizer as lmeff makes them: it adds nothing by itself."""
    save_tokenizer(train_tokenizer(SENTENCES * 4, 320), folder)
    return save_llama(folder, 320)


def slow_tokenizer(folder: Path) -> CTRLTokenizer:
    """Python code without offsets: letters, and two merges within words."""
    words = ["un@@", "ha@@", *ascii_lowercase, *(f"{letter}@@" for letter in ascii_lowercase)]
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *words])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\nu n\nh a\n")
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return CTRLTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), **names)
