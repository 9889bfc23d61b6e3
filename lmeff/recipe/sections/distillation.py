"""`distillation:` a model that also learns from what other models say of its text."""

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmeff.recipe.hub_commits import commit_now
from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section, TextPath

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*@[^@\s]+")
_DEFAULT_K = 64
_COMMIT = re.compile(r"[0-9a-f]{40}")


def not_pinned(name: str) -> str | None:
    """What is wrong with the name of a model on the Hub that is not always the same one; None for all other names."""
    repository, _, commit = name.rpartition("@")
    if not _ON_THE_HUB.fullmatch(name) or _COMMIT.fullmatch(commit):
        return None
    now = commit_now(repository, commit)
    return f"'{commit}' may be another model tomorrow; name a commit of 40 digits (0-9, a-f){now}"


class TeacherCache(Section):
    kind: Literal["top_k", "sampled"] | None = None
    """`top_k`: the `k` likeliest tokens of each position, and all others as one (Anshumann et al. 2025 on why nothing is
    renormalized). `sampled`: `k` tokens drawn from the teachers' probabilities, whose gradient is unbiased. Default: nothing is
    kept, and the teachers are asked in every step."""
    k: PositiveCount | None = None
    """Tokens that are kept of each position, 4 bytes each up to 65,536 entries. Default: 64."""

    def num_kept(self, num_entries: int) -> int:
        """Tokens that are kept of each position of a model with so many entries."""
        k = _DEFAULT_K if self.k is None else self.k
        return min(k, num_entries) if self.kind == "top_k" else k


class Distillation(Section):
    is_rare: ClassVar[bool] = True

    teachers: Annotated[list[str], OnResume.FIXED, TextPath()] = []
    """Models that are learned from (Hinton et al. 2015), with the same tokenizer: folders of models, or
    `NAMESPACE/REPO@COMMIT` on the Hub, a commit being 40 digits. A run goes on with the same weights only, wherever they
    are."""
    alpha: Annotated[Number, Field(ge=0, le=1)] = 0.5
    """Weight of the cross-entropy of the text; that of the teachers' term is `1 - alpha`. With 1 no teacher is asked."""
    temperature: Annotated[Number, Field(gt=0)] = 2.0
    """What all logits are divided by before they are compared; the teachers' term is multiplied by its square."""
    average: Literal["logits", "probabilities"] = "logits"
    """How several teachers become one: the mean of their logits, as BabyLlama has it (Timiryasov & Tastet 2023), or of their
    probabilities."""
    reduction: Literal["token", "batchmean"] = "token"
    """What the sum of the teachers' term is divided by: the positions with a loss, as the cross-entropy is, or the sequences of
    the batch, as published with BabyLlama. Then it weighs as many times more as a sequence has positions with a loss."""
    cache: TeacherCache = TeacherCache()
    """What the teachers say of the whole text, asked once before training and kept in the folder of the data."""

    @property
    def is_used(self) -> bool:
        """Whether any teacher is asked."""
        return bool(self.teachers) and self.alpha < 1

    def contradictions(self) -> Iterator[tuple[str, str]]:
        for index, teacher in enumerate(self.teachers):
            if text := not_pinned(teacher):
                yield f"teachers.{index}", text
        if len(set(self.teachers)) < len(self.teachers):
            yield "teachers", "names a teacher twice"
        if not self.teachers and (said := sorted(self.model_fields_set - {"teachers"})):
            yield said[0], "without teachers there is nothing to distill; name them in distillation.teachers"
        if self.cache.kind is None and self.cache.k is not None:
            yield "cache.k", "what is kept has no kind; set distillation.cache.kind to 'top_k' or 'sampled'"
