"""How many texts are scored at once: as many as there is memory for."""

from collections.abc import Callable
from typing import TypeVar

import torch

from lmeff.models.device import is_out_of_memory

TEXTS_AT_ONCE = {"cpu": 256, "cuda": 2048}
"""For `batch_size: auto`. On a GPU halved when memory is short."""

Answers = TypeVar("Answers")


class BatchSize:
    """A number of texts; where it was not given, half as many after each time that the memory does not suffice.

    Args:
        given: None for as many as suit the device.
    """

    def __init__(self, given: int | None, device: torch.device) -> None:
        self.is_automatic, self._device = given is None, device
        self._texts = TEXTS_AT_ONCE.get(device.type, 256) if given is None else given

    def with_room(self, score: Callable[[int], Answers], at_most: int | None = None) -> Answers:
        """`score(texts at once)`, again with half as many while they do not fit."""
        while True:
            size = min(self._texts, at_most or self._texts)
            try:
                return score(size)
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self.is_automatic and size > 1):
                    raise
            self._texts = size // 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
