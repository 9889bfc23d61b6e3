"""Texts as a decoder model reads them when it classifies: `<s> first </s> second </s>`, padded on the right.

- The first token is BOS, with which every document that the model was trained on began.
- Between two texts stands EOS (a tokenizer's SEP where it has one), the token that divided texts in training. Without it the
  texts are glued together and the model cannot know where the second begins.
- The last token is EOS again. A decoder classifies by its last token, which has seen all others (Radford et al. 2018); its
  being always the same spares the head from learning what each last word means.
- The longer text is cut first, at its end, so both texts and the last token are always there.
- `...ForSequenceClassification` finds the last token of an example as the rightmost that is not the pad token. So the pad
  token must be one that no example holds. Where a tokenizer has none, or one that some example holds, such as EOS, the model
  gets one more row of embeddings for it, which is never attended to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lmeff.measures.finetuning.data import Example

Encoded = dict[str, Any]
"""`input_ids` (a list), and `labels` where the example has one."""


@dataclass(frozen=True)
class Frame:
    """The ids put around texts. A tokenizer without such a token leaves its place empty; then a line break divides texts."""

    begin: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Frame":
        def first(*ids: int | None) -> tuple[int, ...]:
            return next(((token,) for token in ids if token is not None), ())

        end = first(tokenizer.eos_token_id, tokenizer.sep_token_id)
        between = first(tokenizer.sep_token_id, tokenizer.eos_token_id)
        line_break = tuple(tokenizer.encode("\n", add_special_tokens=False))
        return cls(first(tokenizer.bos_token_id, tokenizer.cls_token_id), between or line_break, end)

    def around(self, first: Sequence[int], second: Sequence[int] | None, max_length: int) -> list[int]:
        """The ids of an example, at most `max_length`; the longer text is cut first."""
        parts = (*self.begin, *(self.between if second is not None else ()), *self.end)
        room = max_length - len(parts)
        if room < (1 if second is None else 2):
            raise ValueError(f"a length of {max_length} has no room for texts beside {len(parts)} special tokens")
        if second is None:
            return [*self.begin, *first[:room], *self.end]
        num_second = min(len(second), max(room // 2, room - len(first)))
        return [*self.begin, *first[: room - num_second], *self.between, *second[:num_second], *self.end]


def encode(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, frame: Frame, max_length: int
) -> list[Encoded]:
    """The examples as ids. A text that spells a special token, such as `</s>`, is encoded letter by letter."""
    first = _ids([example.first for example in examples], tokenizer)
    pairs = [index for index, example in enumerate(examples) if example.second is not None]
    seconds = dict(zip(pairs, _ids([examples[index].second for index in pairs], tokenizer), strict=True))
    encoded = []
    for index, example in enumerate(examples):
        ids = frame.around(first[index], seconds.get(index), max_length)
        encoded.append({"input_ids": ids, "labels": example.label})
    return encoded


def _ids(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    if not texts:
        return []
    options = {"add_special_tokens": False, "split_special_tokens": True, "truncation": False, "verbose": False}
    return tokenizer(texts, **options)["input_ids"]


def choose_pad_id(tokenizer: PreTrainedTokenizerBase, examples: Iterable[Encoded], vocab_size: int) -> int:
    """The tokenizer's pad token, or `vocab_size`, a new one, where it has none or an example holds that."""
    pad = tokenizer.pad_token_id
    if pad is None or pad >= vocab_size or any(pad in example["input_ids"] for example in examples):
        return vocab_size
    return pad


def give_pad_token(model: PreTrainedModel, pad_id: int) -> None:
    """Makes the model know the pad token, with a row of embeddings if it has none for it."""
    if pad_id >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(pad_id + 1, mean_resizing=False)
    model.config.pad_token_id = pad_id


@dataclass(frozen=True)
class Collator:
    """Pads a batch, on the right so that positions are those of the example alone, or on the left for a model that needs that
    (`find_pooling`): `input_ids` and `attention_mask` of shape (batch, longest), `labels` of shape (batch)."""

    pad_id: int
    side: Literal["left", "right"] = "right"

    def __call__(self, batch: Iterable[Encoded]) -> dict[str, torch.Tensor]:
        batch = list(batch)
        longest = max(len(one["input_ids"]) for one in batch)
        ids = torch.full((len(batch), longest), self.pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(batch):
            size = len(one["input_ids"])
            places = slice(size) if self.side == "right" else slice(longest - size, longest)
            ids[row, places] = torch.tensor(one["input_ids"], dtype=torch.long)
            mask[row, places] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([one["labels"] for one in batch])}
