"""The JSON files a run leaves behind. Other programs read them, so their fields change only with `format`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lmeff.clock import Clock

FORMAT = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
NonNegative = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class AnchorDocument(Document):
    """`anchor.json` of a revision: which point of the run it is."""

    format: Literal[1] = FORMAT
    nominal_tokens: NonNegative
    """The anchor as the recipe names it."""
    exact_tokens: NonNegative
    """Tokens consumed: `step x batch.tokens`."""
    step: NonNegative
    epoch: Annotated[float, Field(ge=0)]
    """Passes over the training text so far."""
    seed: NonNegative
    mode: Literal["snapshot", "restart", "anneal"]
    part: str | None
    """`trunk` or an anchor's name in restart and anneal mode."""
    loss: float | None
    """Training loss of the anchor's own step, nats per token; null at step 0."""
    dev_loss: float | None
    """Held-out loss in nats per token."""
    dev_perplexity: float | None
    dev_bits_per_byte: float | None
    """Held-out bits per byte of the text before normalization."""
    num_skipped_steps: NonNegative
    train_seconds: Annotated[float, Field(ge=0)]
    """Wall seconds of training up to here, without saving and evaluating."""
    flops: Annotated[float, Field(ge=0)]
    """Model FLOPs up to here (6N + 12LdT a token, T being the length at its step; PaLM, Chowdhery et al. 2022)."""
    world_size: Annotated[int, Field(ge=1)]
    device: str
    weights_sha256: Sha256
    same_as: str | None
    """Name of the revision with the same weights, for the final revision."""
    num_loss_tokens: NonNegative | None = None
    """Positions with a loss up to here; null in files of older versions."""
    engine: Literal["plain", "ddp", "zero0", "zero1", "zero2", "zero3"] | None = None
    """How processes worked together, whatever the launcher asked for; null in files of older versions."""
    precision: Literal["float32", "tf32", "bfloat16", "float16"] | None = None
    """What products were computed in, whatever the launcher asked for; null in files of older versions."""
    torch_compile: str | None = None
    """The backend the model was compiled with; null when it was not."""
    attention: str | None = None
    """The attention implementation, as transformers names it; null in files of older versions."""
    loss_steps: tuple[int, int] | None = None
    """First and last step, counted from 1, over which `loss` is the mean: the anchor's own step alone, so that it is noisier
    than a line of the log. Null where `loss` is, and in files of older versions."""


class FileEntry(Document):
    sha256: Sha256
    bytes: NonNegative


class ManifestDocument(Document):
    """`manifest.json`: every file of a folder that may never change."""

    format: Literal[1] = FORMAT
    files: dict[str, FileEntry]


class StateDocument(Document):
    """`state.json` of a run: what it is doing, for people and for Slurm scripts."""

    format: Literal[1] = FORMAT
    state: Literal["running", "interrupted", "failed", "complete"]
    step: NonNegative
    tokens: NonNegative
    next_anchor: NonNegative | None
    """Nominal tokens of the next anchor; null when none is left."""
    pid: int
    host: str
    job: str | None
    """Slurm job, `123` or `123_4`."""
    error: str | None
    updated: str
    """UTC, ISO 8601."""


class LogRecord(Document):
    """One line of `run.log.jsonl`."""

    step: NonNegative
    tokens: NonNegative
    epoch: float
    loss: float | None
    """Mean training loss over `loss_steps`, nats per token."""
    grad_norm: float | None
    learning_rate: float
    tokens_per_second: float | None
    num_loss_tokens: NonNegative
    """Positions with a loss since the start of the run. A sequence of L tokens has L - 1 of them, and fewer with padding, with
    `batch.document_mask` or when it is cut into pieces."""
    num_skipped_steps: NonNegative
    time: str
    """UTC, ISO 8601."""
    loss_steps: tuple[int, int] | None = None
    """First and last step, counted from 1, over which `loss` is the mean: those since the last record. Null where `loss` is,
    and in files of older versions."""


class PlanAnchor(Document):
    name: str
    nominal_tokens: NonNegative
    step: NonNegative
    exact_tokens: NonNegative
    deviation: NonNegative
    """`exact_tokens - nominal_tokens`: less than one step."""


class PlanPart(Document):
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


class PlanParameters(Document):
    total: int
    embedding: int
    """Input and output embedding (once when tied)."""
    non_embedding: int


class PlanMemory(Document):
    """Bytes on one device, estimated."""

    states: int
    """Weights, gradients and optimizer states."""
    activations: int
    logits: int
    total: int


class PlanDocument(Document):
    """`plan.json`, and what `lmeff plan --json` prints."""

    format: Literal[1] = FORMAT
    name: str
    seed: int
    batch_tokens: int
    sequence_length: int
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    document_mask: bool = False
    length_stages: list[tuple[int, int]] = []
    """First step, counted from 0, and length of the sequences from there on; empty in files of older versions."""
    sequences_per_step: int
    num_steps: int
    num_tokens: int
    """Tokens of the longest way from the start to the end."""
    warmup_steps: int
    mode: Literal["snapshot", "restart", "anneal"] = "snapshot"
    parts: list[PlanPart] = []
    trained_tokens: int = 0
    """Tokens of all parts together, which is what the run costs; 0 in files of older versions, as are no parts."""
    anchors: list[PlanAnchor]
    parameters: PlanParameters
    flops_per_token: float
    """6 x matmul parameters + 12 x layers x width x length (PaLM, full attention), for sequences of `sequence_length`."""
    flops_per_token_causal: float
    """The same with attention halved."""
    total_flops: float
    """Of all parts together, every step with the length of its sequences."""
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
