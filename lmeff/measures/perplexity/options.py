"""What `lmeff perplexity` can be asked for. Needs no torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.remote import is_remote
from lmeff.measures.reuse import check_name, refuse_part_of_run

SPLITS = ("dev", "train")
_TRAIN_TOKENS = 1_000_000
"""Of training text, unless said otherwise."""


@dataclass(frozen=True)
class PerplexityOptions:
    """Which text, and how the model reads it."""

    paths: tuple[str, ...] = ()
    """Files of text; without any the split of the run's own corpus."""
    split: str | None = None
    way: str = "strided"
    stride: int | None = None
    """Default: half the length."""
    length: int | None = None
    """Tokens of a window. Default: the recipe's sequence length, else what the model takes, at most 2,048."""
    limit_tokens: int | None = None
    """Documents from all over the text while they fit. Default: all of it; of training text 1M."""
    name: str | None = None
    """Of the results of files: `perplexity_NAME`. Default: the stem of the first path."""
    score_end: bool = True
    batch_size: int | None = None

    def check(self, what: str, output: Path | None) -> None:
        """Raises InputError for what does not go together."""
        if self.paths and self.split:
            raise InputError("--split: is of a run's own corpus; leave it out with --text")
        if self.name and not self.paths:
            raise InputError("--name: names the results of other text; give that with --text")
        check_name(self.name)
        if self.name in SPLITS:
            raise InputError(f"--name: {self.name} is the run's own text; take another name")
        self._check_windows()
        if is_remote(what) and not self.paths:
            raise InputError(f"{what}: a model of the Hub brings no text; name some with --text PATH")
        if self.is_part:
            refuse_part_of_run("--limit-tokens", RunFolder(Path(what)).has_revisions, output)

    def _check_windows(self) -> None:
        if self.stride and self.way == "packed":
            raise InputError("--stride: packed windows lie side by side; leave it out, or take --way strided")
        if self.length == 1:
            raise InputError("--length: 1 token; a window has at least 2, one to see and one to predict")
        if self.length and self.stride:
            self.check_stride(self.stride, self.length)

    @staticmethod
    def check_stride(stride: int, length: int) -> None:
        if stride >= length:
            raise InputError(f"--stride: {stride} must be below the length of a window, {length}")

    @property
    def limit(self) -> int | None:
        """Tokens of text that is taken at most; None: all of it."""
        return self.limit_tokens or self._default_limit

    @property
    def _default_limit(self) -> int | None:
        return _TRAIN_TOKENS if self.split == "train" else None

    @property
    def is_part(self) -> bool:
        """Whether other tokens are taken than without `limit_tokens`."""
        return self.limit != self._default_limit

    @property
    def task(self) -> str:
        """The name of the results."""
        if not self.paths:
            return f"perplexity_{self.split or 'dev'}"
        stem = re.sub(r"\W+", "_", Path(self.paths[0]).name.partition(".")[0]).strip("_")
        return f"perplexity_{self.name or (f'text_{stem}' if stem in SPLITS else stem or 'text')}"
