"""`curriculum:` which documents are read when."""

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmeff.recipe.sections.distillation import not_pinned
from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section, TextPath
from lmeff.recipe.wording import join_with_or

Order = Literal["random", "sentence_length", "word_rarity", "own_loss", "reference_loss"]
Fault = Literal[
    "share_of_documents", "loss_over_all_tokens", "best_of_all_stages", "text_by_rank", "second_epoch_unshuffled"
]
Share = Annotated[Number, Field(gt=0, le=1)]

_OF_ITERATIVE = (
    "order",
    "hardest_first",
    "selection",
    "start",
    "step",
    "pacing",
    "patience",
    "threshold",
    "look_every",
    "whole_at",
    "reference",
)
_OF_PLATEAU = ("patience", "threshold", "look_every")


class Curriculum(Section):
    is_rare: ClassVar[bool] = True
    on_resume: ClassVar[OnResume] = OnResume.FIXED  # what was read before belongs to what will be read

    protocol: Literal["iterative", "full_repeated", "full_random"] | None = None
    """`iterative`: a part of the documents at first, and more of them stage by stage (TinyHelen; Yang et al. 2024).
    `full_repeated`: all of them in every epoch, as without a curriculum. `full_random`: the documents are shuffled and cut
    into sequences anew for every epoch. `corpus.epochs` counts the tokens that are read over those of the whole text."""
    order: Order | None = None
    """Which documents come first. `sentence_length`: those with the fewest words a sentence. `word_rarity`: whose words are
    the most frequent ones of the text (Platanios et al. 2019, as a mean over the words). `own_loss`: those that the model
    itself predicts best when a stage begins; at random for the first. `reference_loss`: those that `reference` predicts best.
    Default: `random`."""
    reference: Annotated[str | None, TextPath()] = None
    """The model of `reference_loss`, with the same tokenizer: a folder, or `NAMESPACE/REPO@COMMIT`."""
    hardest_first: bool | None = None
    """The other way round. Default: false."""
    selection: Literal["reselected", "extended"] | None = None
    """`own_loss`: whether a stage reads the documents that come first now (`reselected`, the default), or all that the stage
    before read, and more (`extended`). With the other orders both are the same."""
    start: Share | None = None
    """Share of the text, in tokens of whole documents, that the first stage reads. Default: 0.05."""
    step: Share | None = None
    """How much larger the share of every further stage is. Default: 0.05."""
    pacing: Literal["plateau", "share"] | None = None
    """When a stage ends. `plateau`, the default: when the held-out loss has not improved at `patience` looks. `share`: all are
    equally long, so that the last one, which reads all, begins at the share `whole_at` of the run's tokens."""
    patience: PositiveCount | None = None
    """Looks without an improvement after which a stage ends. Default: 1."""
    threshold: Annotated[Number, Field(ge=0)] | None = None
    """Fall of the held-out loss, in nats per token, up to which it is no improvement. Default: 0."""
    look_every: PositiveCount | None = None
    """Tokens between two looks. Default: so many that looking takes 1% of the computation."""
    whole_at: Share | None = None
    """Share of the run's tokens after which all documents are read, with `pacing: share`. Default: 0.5."""
    faults: list[Fault] = []
    """Faults of the published protocol that are kept. `share_of_documents`: shares count documents, not tokens.
    `loss_over_all_tokens`: the loss of a document is divided by all its tokens, those that are not predicted too.
    `best_of_all_stages`: a stage must improve on the best held-out loss of all before it. `text_by_rank`: documents lie in the
    text of a stage by rank, so that a sequence holds like ones. `second_epoch_unshuffled`: `full_random` begins to shuffle with
    the third epoch."""

    @property
    def is_iterative(self) -> bool:
        return self.protocol == "iterative"

    @property
    def cuts_anew(self) -> bool:
        """Whether sequences are cut from other texts than the whole one."""
        return self.protocol in ("iterative", "full_random")

    @property
    def order_name(self) -> Order:
        return self.order or "random"

    @property
    def strategy(self) -> str:
        """One word for it: the order of an iterative one, else the protocol."""
        return self.order_name if self.is_iterative else str(self.protocol)

    @property
    def scores_with_model(self) -> bool:
        """Whether documents are scored by a model, its own or another."""
        return self.is_iterative and self.order in ("own_loss", "reference_loss")

    @property
    def looks(self) -> bool:
        """Whether stages end by the held-out loss."""
        return self.is_iterative and self.pacing != "share"

    def share_of(self, stage: int) -> float:
        """Share of the text that a stage, counted from 0, reads."""
        start, step = (0.05 if value is None else value for value in (self.start, self.step))
        return min(1.0, round(start + stage * step, 9))

    @property
    def last_stage(self) -> int:
        """The first one that reads all."""
        start, step = (0.05 if value is None else value for value in (self.start, self.step))
        return math.ceil(round((1 - start) / step, 9))

    def stage_at(self, step: int, num_steps: int) -> int:
        """The stage in which a run of `num_steps` steps is after `step` of them, with `pacing: share`."""
        whole_at = 0.5 if self.whole_at is None else self.whole_at
        if not self.last_stage:
            return 0
        return min(self.last_stage, math.floor(round(self.last_stage * step / (whole_at * num_steps), 9)))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        said = [key for key in _OF_ITERATIVE if getattr(self, key) is not None]
        if self.protocol is None:
            if said or self.faults:
                yield (
                    "protocol",
                    f"is not said, and {[*said, 'faults'][0]} is; say iterative, full_repeated or full_random",
                )
            return
        if not self.is_iterative:
            for key in said:
                yield (
                    key,
                    f"'{self.protocol}' reads all documents from the start; it belongs to the protocol 'iterative'",
                )
        else:
            yield from self._contradictions_of_stages()
        legal = self._legal_faults
        for index, fault in enumerate(self.faults):
            if fault not in legal:
                possible = f", only {join_with_or(sorted(legal))}" if legal else ""
                yield f"faults.{index}", f"as the recipe is, there is no '{fault}'{possible}"
        if len(set(self.faults)) < len(self.faults):
            yield "faults", "names a fault twice"

    def _contradictions_of_stages(self) -> Iterator[tuple[str, str]]:
        if self.order == "reference_loss" and not self.reference:
            yield "reference", "'reference_loss' needs a model; name its folder"
        if self.reference and (text := not_pinned(self.reference)):
            yield "reference", text
        if self.order != "reference_loss" and self.reference:
            yield (
                "reference",
                f"'{self.order_name}' asks no other model; use the order 'reference_loss' or leave it out",
            )
        if self.order != "own_loss" and self.selection:
            yield "selection", f"'{self.order_name}' never changes, so both are the same; it belongs to 'own_loss'"
        if self.order_name == "random" and self.hardest_first is not None:
            yield "hardest_first", "nothing is hard or easy in the order 'random'; leave it out"
        if self.looks and self.whole_at is not None:
            yield "whole_at", "with pacing 'plateau' the held-out loss decides; use pacing 'share' or leave it out"
        for key in _OF_PLATEAU:
            if not self.looks and getattr(self, key) is not None:
                yield key, "with pacing 'share' nobody looks at the held-out loss; use pacing 'plateau' or leave it out"

    @property
    def _legal_faults(self) -> set[Fault]:
        if self.protocol == "full_random":
            return {"second_epoch_unshuffled"}
        if not self.is_iterative:
            return set()
        faults: set[Fault] = {"share_of_documents", "text_by_rank"}
        if self.scores_with_model:
            faults.add("loss_over_all_tokens")
        if self.looks:
            faults.add("best_of_all_stages")
        return faults
