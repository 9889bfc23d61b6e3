"""What `lmeff generate` can be asked for. Needs no torch."""

from dataclasses import dataclass
from typing import Any

from lmeff.errors import InputError
from lmeff.measures.reuse import check_name

PARTS = ("completion", "consistency")
"""What besides the texts themselves has scores, as a task of its own."""
_VERSION = 2
"""Raised whenever the same model and settings would write other texts or give other numbers."""


@dataclass(frozen=True)
class GenerationOptions:
    """After which prompts, and how the tokens are drawn."""

    prompts: str | None = None
    """A file. Default: the prompts that come with lmeff."""
    max_new_tokens: int = 50
    samples: int = 3
    """Texts after each prompt. 0: one, by the most probable token each time."""
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0
    batch_size: int = 32
    name: str | None = None
    """Of the results: `generation_NAME`. Default: `generation`."""

    def check(self) -> None:
        """Raises InputError for a name that results cannot have."""
        check_name(self.name)
        if self.name and self.name.endswith(PARTS):
            raise InputError(f"--name: {self.name} would be a part of other results; take another name")

    @property
    def task(self) -> str:
        """The name of the results."""
        return f"generation_{self.name}" if self.name else "generation"

    @property
    def texts(self) -> str:
        """The file beside them, with one object a text."""
        return f"generations_{self.name}.jsonl" if self.name else "generations.jsonl"

    def settings(self) -> dict[str, Any]:
        """What besides weights, tokenizer and prompts decides the texts."""
        settings = {
            "version": _VERSION,
            "context_start": "bos",  # a prompt begins with one, whatever the tokenizer adds
            "dtype": "float32",
            "max_new_tokens": self.max_new_tokens,
            "samples": self.samples,
        }
        if self.samples:
            settings |= {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return settings
