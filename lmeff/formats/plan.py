"""`plan.json` of a run, which is also what `lmeff plan --json` prints: its steps, anchors, parts and costs."""

from typing import ClassVar, Literal, Self

from pydantic import Field

from lmeff.clock import Clock
from lmeff.formats.base import FORMAT, NonNegative, StrictModel
from lmeff.formats.run_folder import RunFolder


class PlanAnchor(StrictModel):
    name: str
    nominal_tokens: NonNegative
    step: NonNegative
    exact_tokens: NonNegative
    deviation: NonNegative
    """`exact_tokens - nominal_tokens`: less than one step."""


class PlanPart(StrictModel):
    """A stretch of training with a schedule of its own."""

    name: str | None
    """`trunk` or an anchor's name; null when the run has no parts."""
    first_step: NonNegative
    """Step of the trunk that it goes on from; 0 for a fresh start."""
    last_step: NonNegative
    anchors: list[PlanAnchor]
    """What is kept on the way."""
    schedule: Literal["cosine", "linear", "constant", "wsd"]
    warmup_steps: NonNegative
    decay_steps: NonNegative
    """Steps of decay at its end; 0 but for `wsd`."""
    branch_steps: list[NonNegative]
    """Where branches leave it: checkpoints that are kept until these are done."""


class PlanParameters(StrictModel):
    total: int
    embedding: int
    """Input and output embedding (once when tied)."""
    non_embedding: int


class PlanDesign(StrictModel):
    """A shape that was found for a budget."""

    fields: dict[str, int]
    """Keys of `model:` with their values."""
    tie_word_embeddings: bool
    parameters: int
    embedding_share: float
    glu_factor: float | None
    """Feed-forward width as a multiple of `hidden_size`; null for a family without a feed-forward network."""


class PlanBudget(StrictModel):
    """`model.budget`, and what it leads to."""

    parameters: int
    embedding_share: float | None
    glu_factor: float | None
    """What is asked for; null where nothing is."""
    found: PlanDesign
    alternatives: list[PlanDesign]
    """The next best widths, and the other choice of `tie_word_embeddings`; none in a run, which keeps what was found."""


class PlanMemory(StrictModel):
    """Bytes on one device, estimated."""

    states: int
    """Weights, gradients and optimizer states; and the weights of teachers that are asked in every step."""
    activations: int
    logits: int
    """Those of the teachers among them."""
    total: int


class PlanDocument(StrictModel):
    """`plan.json`, and what `lmeff plan --json` prints."""

    left_out_when_null: ClassVar[frozenset[str]] = frozenset(
        {"architecture", "budget", "flops_teachers", "flops_scoring", "teacher_cache_bytes"}
    )

    format: Literal[1] = FORMAT
    name: str
    seed: int
    family: str = "llama"
    architecture: str | None = None
    """Which decoder a model of the family `auto` is; only there."""
    objective: Literal["causal", "masked", "permutation", "hybrid"] = "causal"
    batch_tokens: int
    sequence_length: int
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    document_mask: bool = False
    length_stages: list[tuple[int, int]] = Field(default_factory=list)
    """First step, counted from 0, and length of the sequences from there on; empty in files of older versions."""
    sequences_per_step: int
    num_steps: int
    num_tokens: int
    """Tokens of the longest way from the start to the end."""
    warmup_steps: int
    mode: Literal["snapshot", "restart", "anneal"] = "snapshot"
    parts: list[PlanPart] = Field(default_factory=list)
    trained_tokens: int = 0
    """Tokens of all parts together, which is what the run costs; 0 in files of older versions, as are no parts."""
    anchors: list[PlanAnchor]
    parameters: PlanParameters
    budget: PlanBudget | None = None
    flops_per_token: float
    """6 x matmul parameters + 12 x layers x width x length (PaLM, full attention), for sequences of `sequence_length`."""
    flops_per_token_causal: float
    """The same with attention halved."""
    total_flops: float
    """Of all parts together, every step with the length of its sequences."""
    flops_teachers: float | None = None
    """Of the teachers, beside `total_flops`; only where a model is distilled and its teachers are known."""
    flops_scoring: float | None = None
    """Of scoring text, beside `total_flops`; only where a curriculum scores with a model."""
    teacher_cache_bytes: int | None = None
    """What the teachers say, on disk; only where it is kept there."""
    revision_bytes: int
    """One revision in float32."""
    disk_bytes: int
    """Revisions, rotated checkpoints and `data_bytes` together, at the most."""
    data_bytes: int | None = None
    """Prepared text and tokens, estimated for corpora known by name; null when they are not counted."""
    hub_bytes: int
    """All revisions as uploaded."""
    world_size: int
    micro_batch: int
    accumulation: int
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    """What the run computes in; null with `training.bf16: auto` when the device is not known: then `memory` is for bfloat16, as
    on a GPU that has it, and `memory_float32` for any other device."""
    memory: dict[Literal["ddp", "zero1", "zero2", "zero3"], PlanMemory]
    memory_float32: dict[Literal["ddp", "zero1", "zero2", "zero3"], PlanMemory] | None = None
    tokens_per_second: float | None
    hours: float | None
    """Hours of training for the given speed; null when none was given."""

    @property
    def clock(self) -> Clock:
        """What a step is in tokens and sequences."""
        return Clock(self.batch_tokens, self.sequence_length)

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """None when none was written yet. Raises InputError for a damaged file."""
        return cls.read_file(run.plan_json) if run.plan_json.exists() else None

    def write(self, run: RunFolder) -> None:
        self.write_file(run.plan_json)
