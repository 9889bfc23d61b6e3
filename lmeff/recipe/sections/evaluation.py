"""`evaluation:` what is measured of every revision."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import field_validator

from lmeff.recipe.sections.fields import OnResume, PositiveCount, Section

Measure = Literal["perplexity", "generation", "weights", "profile", "finetuning"]
_AT_ANCHORS: tuple[Measure, ...] = ("weights", "perplexity", "generation")
"""The cheapest first."""
_AFTER_TRAINING: tuple[Measure, ...] = ("profile", "finetuning")


Scoring = Literal["auto", "causal", "pseudo_log_likelihood", "pseudo_log_likelihood_original"]


class Evaluation(Section):
    on_resume: ClassVar[OnResume] = OnResume.FREE

    tasks: list[str] = []
    """lm-eval tasks or groups, such as lmeff_blimp or lmeff_synthetic."""
    at_anchors: bool = True
    """Score every revision as soon as it is saved; otherwise only with `lmeff eval`, with `--follow` from a second process."""
    weights: bool = True
    """Measure the weights of every revision at its anchor: norms, effective ranks, similarity to the revision before, to the
    first and, when the run is done, to the final one. Needs `at_anchors`; otherwise only with `lmeff weights`."""
    measures: list[Measure] = []
    """What else is measured. Of every revision at its anchor, with `at_anchors`: `perplexity` (held-out text), `generation`
    (texts that it writes) and `weights`, which `weights: true` asks for as well. Of the final revision, when training has
    ended: `profile` (what it costs) and `finetuning` (on the suites that `paths` or LMEFF_EVAL_DATA has the data of)."""
    paths: dict[str, str] = {}
    """Local data by name, such as `blimp: DIR` or `comps: DIR`. Without it the task reads LMEFF_EVAL_DATA, else the Hub."""
    include_path: str | None = None
    """Folder with lm-eval task files of your own."""
    limit: PositiveCount | None = None
    """Score only the first N examples of each task."""
    batch_size: PositiveCount | Literal["auto"] = "auto"
    """Texts scored at once; auto: 256 on a CPU, 2048 on a GPU, halved where memory is short."""
    precision: Literal["float32", "adaptive"] = "float32"
    """adaptive: bfloat16 decides the minimal pairs that its error cannot change, and float32 all else."""
    context_start: Literal["bos", "tokenizer"] = "bos"
    """What a context begins with, before what is scored after it (EWoK, COMPS, SmallBench and the like). bos: one `<s>`, as in
    training, whatever the tokenizer adds. tokenizer: what the tokenizer puts there by itself. Sentences without a context are
    scored after one `<s>` in any case."""
    scoring: Scoring = "auto"
    """How texts are scored. auto: causally, each token after those before it; an XLNet the same through its masks; a masked
    model by pseudo-log-likelihood. causal: refuse models that see later tokens. pseudo_log_likelihood: each token is masked by
    itself between those on both sides, and with it the later tokens of its word (Kauf & Ivanova 2023); also of a hybrid, a
    decoder that was trained with a mask token. pseudo_log_likelihood_original: the token alone is masked (Salazar et al.
    2020)."""
    dev_tokens: Annotated[PositiveCount, OnResume.ACCEPTED] = 100_000
    """Held-out tokens on which dev_loss is taken at every anchor: documents, and stretches of long ones, from all over the
    held-out text, always the same. A run whose losses decide how it goes on (`anchors.until: converged`, or a curriculum with
    `pacing: plateau`) keeps to its number."""

    @property
    def measures_at_anchors(self) -> tuple[Measure, ...]:
        """What is measured of a revision beside tasks as soon as it is saved, the cheapest first."""
        if not self.at_anchors:
            return ()
        named = {*self.measures, *(["weights"] if self.weights else [])}
        return tuple(measure for measure in _AT_ANCHORS if measure in named)

    @property
    def measures_after_training(self) -> tuple[Measure, ...]:
        """What is measured of the final revision alone."""
        return tuple(measure for measure in _AFTER_TRAINING if measure in self.measures)

    @field_validator("measures")
    @classmethod
    def _each_once(cls, measures: list[Measure]) -> list[Measure]:
        if len(set(measures)) < len(measures):
            raise ValueError("holds a measure twice")
        return measures

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if "weights" in self.measures and not self.weights:
            yield "measures", "names 'weights', which 'weights: false' turns off; drop one of them"
