"""What options of the verbs that score models do not go together, before anything is loaded. Needs no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.remote import is_remote
from lmeff.measures.reuse import check_name
from lmeff.recipe.sections.evaluation import Evaluation

SPLITS = ("dev", "train")
_TRAIN_TOKENS = 1_000_000
"""Of training text, unless said otherwise."""


def check_eval(
    what: str, section: Evaluation, changes: Mapping[str, Any], output: Path | None, exact: bool, follow: bool
) -> None:
    """Raises InputError. `section` is that of the run's recipe, and `changes` what the command line says instead."""
    if follow and not RunFolder(Path(what)).recipe_yaml.is_file():
        raise InputError(f"--follow: {what} is no run folder")
    is_run = follow or RunFolder(Path(what)).has_revisions
    if changes.get("limit") not in (None, section.limit):
        check_part("--limit", is_run, output)
    if exact and (changes.get("precision") or section.precision) == "adaptive":
        raise InputError("--exact: is lm-eval's own scoring in float32; it goes without precision: adaptive")


def check_part(option: str, is_run: bool, output: Path | None) -> None:
    """Raises InputError for a part of the data whose results would stand where those of all of it do."""
    if is_run and output is None:
        raise InputError(
            f"{option}: a part's results would replace the run's full ones; give them a folder with --output DIR"
        )


@dataclass(frozen=True)
class PerplexityOptions:
    """What the command line of `lmeff perplexity` asks for."""

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
        if self.stride and self.way == "packed":
            raise InputError("--stride: packed windows lie side by side; leave it out, or take --way strided")
        if self.length == 1:
            raise InputError("--length: 1 token; a window has at least 2, one to see and one to predict")
        if self.length and self.stride:
            self.check_stride(self.stride, self.length)
        if is_remote(what) and not self.paths:
            raise InputError(f"{what}: a model of the Hub brings no text; name some with --text PATH")
        if self.is_part:
            check_part("--limit-tokens", RunFolder(Path(what)).has_revisions, output)

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
