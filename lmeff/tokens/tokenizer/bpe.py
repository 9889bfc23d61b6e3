"""Byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2, Radford et al. 2019), trained on training text only.

Conventions, the same in training and evaluation:
- The text is brought to NFKC form. All 256 bytes are in the vocabulary, so nothing is ever unknown or dropped.
- A space is put before the first word, so that it is tokenized as the same word anywhere else.
- The tokenizer adds no special token by itself. A training document is `<s> text </s>`; whoever scores or generates puts
  one `<s>` in front, as lm-eval does. `tokens.published` makes one that adds it, for `tokenizer.add_bos`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lmeff.corpora import TextCorpus
from lmeff.errors import InputError
from lmeff.files import MANIFEST, describe_files, locked, new_folder, sha256_file, write_json
from lmeff.progress import shown
from lmeff.quantities import format_count
from lmeff.tokens.tokenizer.sample import TrainingText

TOKENIZER_FORMAT = 1
"""Raised whenever the same text would give another tokenizer."""
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>")
PAD_ID, BOS_ID, EOS_ID = range(3)
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly `vocab_size` entries. Raises InputError when the text has too few pairs for it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    # The space put before the first word is taken away again, so that decoding gives the text.
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with ExitStack() as stack:
        tokenizer.train_from_iterator(_and_then(texts, lambda: stack.enter_context(shown("tokenizer"))), trainer)
    if (found := tokenizer.get_vocab_size()) < vocab_size:
        raise InputError(
            f"tokenizer.vocab_size: the training text allows {found} entries, not {vocab_size}; set {found} or less"
        )
    return tokenizer


def _and_then(texts: Iterable[str], begin: Callable[[], None]) -> Iterator[str]:
    """The texts, and after the last one, when the merges are computed of them, `begin`."""
    yield from texts
    begin()


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the files that `AutoTokenizer.from_pretrained` reads, under a class name that every transformers version has."""
    tokenizer.save(str(folder / "tokenizer.json"))
    pad, bos, eos = SPECIAL_TOKENS
    special = {"bos_token": bos, "eos_token": eos, "pad_token": pad}
    write_json(folder / "special_tokens_map.json", special)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", special | settings)


def prepare_tokenizer(corpus: TextCorpus, vocab_size: int, sample_bytes: int | None = None) -> Path:
    """Trains the corpus's tokenizer of that size unless it is there already; returns its folder.

    It is trained on about `sample_bytes` of the training text. A sample that is not smaller than the text is no sample, and
    the folder is that of all the text.
    """
    text = TrainingText(corpus, sample_bytes)
    sampled = f"-sample-{format_count(text.sample_bytes)}" if text.sample_bytes else ""
    folder: Path = corpus.folder / "tokenizers" / f"bpe-{vocab_size}{sampled}.v{TOKENIZER_FORMAT}"
    with locked(corpus.folder.parent / ".locks" / f"{corpus.folder.name}.{folder.name}"):
        if not (folder / MANIFEST).exists():
            with new_folder(folder) as aside:
                save_tokenizer(_train(text, vocab_size), aside)
                manifest = {"format": TOKENIZER_FORMAT, "vocab_size": vocab_size, "sample_bytes": text.sample_bytes}
                manifest |= {"num_documents": text.num_documents, "num_bytes": text.num_bytes}
                write_json(aside / MANIFEST, manifest | {"files": describe_files(aside)})
    return folder


def _train(text: TrainingText, vocab_size: int) -> Tokenizer:
    try:
        return train_tokenizer(text, vocab_size)
    except InputError as error:
        if text.sample_bytes is None:
            raise
        raise InputError(f"{error}, or a larger tokenizer.sample; it was {text.num_bytes:,} bytes of text") from None


def tokenizer_sha256(folder: Path) -> str:
    """Fingerprint of a tokenizer: the sha256 of its `tokenizer.json`."""
    return sha256_file(folder / "tokenizer.json")
