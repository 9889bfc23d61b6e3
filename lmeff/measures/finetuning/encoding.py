"""Texts as a model reads them when it classifies: `<s> first </s> second </s>`, padded on the right.

- The first token is BOS (CLS where a tokenizer has no BOS), with which every document that the model was trained on began. A
  BERT classifies by it (Devlin et al. 2019).
- Between two texts stands EOS (a tokenizer's SEP where it has one), the token that divided texts in training. Without it the
  texts are glued together and the model cannot know where the second begins.
- The last token is EOS again. A decoder classifies by its last token, which has seen all others (Radford et al. 2018); its
  being always the same spares the head from learning what each last word means.
- XLNet classifies by a token for the whole text at the very end (Yang et al. 2019), CLS or else BOS, and has none at the
  beginning: `first </s> second </s> <s>`, padded on the left.
- Where the model has embeddings of segments, the second text and the EOS after it are the second one. XLNet's last token is a
  third. A model that was trained without segments learns what they mean as it learns its head.
- The longer text is cut first, at its end, so both texts and the special tokens are always there.
- `...ForSequenceClassification` finds the last token of an example as the rightmost that is not the pad token. So the pad
  token must be one that no example holds. Where a tokenizer has none, or one that some example holds, such as EOS, the model
  gets one more row of embeddings for it, which is never attended to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from lmeff.measures.finetuning.data import Example
from lmeff.models.families import family_of_config

Side = Literal["left", "right"]
"""Where padding stands."""
Encoded = dict[str, Any]
"""`input_ids` (a list), `token_type_ids` (as long) for a model with segments, and the number `labels`."""


def count_segments(config: PreTrainedConfig) -> int:
    """How many kinds of token a model of this configuration tells apart by their segment; 1 for a model without segments."""
    family = family_of_config(config)
    if family and family.is_asked_by_end:
        return 3
    return max(1, getattr(config, "type_vocab_size", None) or 1)


@dataclass(frozen=True)
class Frame:
    """The ids put around texts. A tokenizer without such a token leaves its place empty; then a line break divides texts."""

    begin: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    whole: tuple[int, ...] = ()
    """After everything: the token that stands for the whole text in a model that is asked by its end."""
    has_segments: bool = False

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> "Frame":
        def first(*ids: int | None) -> tuple[int, ...]:
            return next(((token,) for token in ids if token is not None), ())

        end = first(tokenizer.eos_token_id, tokenizer.sep_token_id)
        between = first(tokenizer.sep_token_id, tokenizer.eos_token_id)
        line_break = tuple(tokenizer.encode("\n", add_special_tokens=False))
        has_segments = count_segments(config) > 1
        family = family_of_config(config)
        if family and family.is_asked_by_end:
            whole = first(tokenizer.cls_token_id, tokenizer.bos_token_id)
            return cls((), between or line_break, between, whole, has_segments)
        begin = first(tokenizer.bos_token_id, tokenizer.cls_token_id)
        return cls(begin, between or line_break, end, (), has_segments)

    def around(
        self, first: Sequence[int], second: Sequence[int] | None, max_length: int
    ) -> tuple[list[int], list[int]]:
        """The ids of an example, at most `max_length`, and the segment of each; the longer text is cut first."""
        parts = (*self.begin, *(self.between if second is not None else ()), *self.end, *self.whole)
        room = max_length - len(parts)
        if room < (1 if second is None else 2):
            raise ValueError(f"a length of {max_length} has no room for texts beside {len(parts)} special tokens")
        if second is None:
            segments = [[*self.begin, *first[:room], *self.end], [], self.whole]
        else:
            num_second = min(len(second), max(room // 2, room - len(first)))
            before = [*self.begin, *first[: room - num_second], *self.between]
            segments = [before, [*second[:num_second], *self.end], self.whole]
        ids = [token for segment in segments for token in segment]
        return ids, [number for number, segment in enumerate(segments) for _ in segment]


def encode(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, frame: Frame, max_length: int
) -> list[Encoded]:
    """The examples as ids. A text that spells a special token, such as `</s>`, is encoded letter by letter."""
    first = _ids([example.first for example in examples], tokenizer)
    second = {index: example.second for index, example in enumerate(examples) if example.second is not None}
    seconds = dict(zip(second, _ids(list(second.values()), tokenizer), strict=True))
    encoded = []
    for index, example in enumerate(examples):
        ids, segments = frame.around(first[index], seconds.get(index), max_length)
        encoded.append(
            {"input_ids": ids, **({"token_type_ids": segments} if frame.has_segments else {}), "labels": example.label}
        )
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
    (`find_pooling`): `input_ids`, `attention_mask` and, of a model with segments, `token_type_ids` of shape (batch, longest),
    `labels` of shape (batch)."""

    pad_id: int
    side: Side = "right"

    def __call__(self, batch: Iterable[Encoded]) -> dict[str, torch.Tensor]:
        batch = list(batch)
        rows = {"input_ids": ([one["input_ids"] for one in batch], self.pad_id)}
        rows["attention_mask"] = ([[1] * len(one["input_ids"]) for one in batch], 0)
        if "token_type_ids" in batch[0]:
            rows["token_type_ids"] = ([one["token_type_ids"] for one in batch], 0)
        tensors = {name: self._padded(numbers, padding) for name, (numbers, padding) in rows.items()}
        return {**tensors, "labels": torch.tensor([one["labels"] for one in batch])}

    def _padded(self, rows: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
        longest = max(map(len, rows))
        padded = torch.full((len(rows), longest), padding, dtype=torch.long)
        for number, row in enumerate(rows):
            places = slice(len(row)) if self.side == "right" else slice(longest - len(row), longest)
            padded[number, places] = torch.tensor(row, dtype=torch.long)
        return padded
