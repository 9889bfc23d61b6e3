"""What a recipe may say. One model per section; field docstrings are the documentation users see."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from lmeff.clock import Clock
from lmeff.quantities import format_count, parse_count, parse_number
from lmeff.recipe.sections.corpus import Corpus
from lmeff.recipe.sections.fields import NUMBER_TEXT, Count, Name, Number, PositiveCount, Section
from lmeff.recipe.sections.sequence_lengths import by_tokens, check_lengths, stages


class Paths(Section):
    outputs: str = "outputs"
    """Folder for runs, relative to the working directory: a run is `OUTPUTS/NAME/seed-S`."""
    data: str = "data"
    """Folder for prepared corpora, tokenizers and tokens, relative to the working directory."""


class Tokenizer(Section):
    vocab_size: Annotated[PositiveCount, Field(ge=259)] = 16_000
    """Entries of the byte-level BPE vocabulary, with its 256 bytes and 3 special tokens. Trained on training text
    only."""
    sample: PositiveCount | None = None
    """Bytes of training text, such as `100M`, on which the tokenizer is trained: about so many, from all over it; which text is
    decided by its content alone. Default: all of it."""
    add_bos: bool = False
    """Publish a tokenizer that puts `<s>` in front of every text by itself, for pipelines that add nothing of their own.
    Training and our own scores are the same either way."""


class Model(Section):
    family: Literal["llama"] = "llama"
    """Architecture."""
    size: str | None = None
    """A named size (20m, 60m, 180m); any field below overrides it."""
    hidden_size: PositiveCount | None = None
    intermediate_size: PositiveCount | None = None
    num_hidden_layers: PositiveCount | None = None
    num_attention_heads: PositiveCount | None = None
    num_key_value_heads: PositiveCount | None = None
    """Heads for keys and values. Default: as many as `num_attention_heads`."""
    head_dim: PositiveCount | None = None
    """Default: `hidden_size / num_attention_heads`."""
    max_position_embeddings: PositiveCount | None = None
    """Default: `batch.sequence_length`."""
    tie_word_embeddings: bool = False
    """Share the input and the output embedding."""
    rope_theta: Annotated[Number, Field(gt=0)] = 10_000.0
    """Base of the rotary position embedding."""
    rms_norm_eps: Annotated[Number, Field(gt=0)] = 1e-6
    initializer_range: Annotated[Number, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights."""
    attention_dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0


class Batch(Section):
    tokens: PositiveCount
    """Tokens of one optimizer step over all devices. The number of devices never changes it."""
    sequence_length: Annotated[PositiveCount, Field(ge=2)] = 256
    """Tokens of one packed sequence."""
    packing: Literal["concatenate", "best_fit"] = "concatenate"
    """`concatenate`: sequences are blocks of the text, one document after the other. `best_fit` (Ding et al. 2024): only a
    document longer than a sequence is cut; what a sequence has left is padding, which counts as tokens and has no loss."""
    document_mask: bool = False
    """Attention and positions do not cross from one document of a sequence to the next, in training and on held-out text, and
    no `<s>` is predicted."""
    sequence_lengths: dict[str, Annotated[PositiveCount, Field(ge=2)]] | None = None
    """Shorter sequences at first: training tokens and the length from there on, such as `{0: 64, 5M: 128, 20M: 256}`. Sequences
    are cut into pieces; lengths divide `sequence_length` and rise to it. Tokens of a step stay the same. Given
    again, it replaces that of a base recipe."""
    micro: Literal["auto"] | PositiveCount = "auto"
    """Sequences one device takes at once; accumulation follows. `auto` picks it."""
    log_samples: bool = False
    """Write into `samples.jsonl` which sequences each step read."""

    @property
    def clock(self) -> Clock:
        """What a step is in tokens and sequences."""
        return Clock(self.tokens, self.sequence_length)

    @property
    def is_plain(self) -> bool:
        """Whether sequences are blocks of the text and nothing else."""
        return self.packing == "concatenate" and not self.document_mask and self.sequence_lengths is None

    def length_stages(self) -> list[tuple[int, int]]:
        """(first step, counted from 0, and length of its sequences), ascending; the first is step 0."""
        return stages(self.sequence_lengths or {"0": self.sequence_length}, self.clock)

    @field_validator("sequence_lengths")
    @classmethod
    def _spelled_alike(cls, lengths: dict[str, int] | None) -> dict[str, int] | None:
        return None if lengths is None else by_tokens(lengths)

    @model_validator(mode="after")
    def _whole_sequences(self) -> "Batch":
        if self.tokens % self.sequence_length:
            near = max(1, round(self.tokens / self.sequence_length)) * self.sequence_length
            raise ValueError(
                f"tokens {self.tokens} is not a multiple of sequence_length ({self.sequence_length}); nearest: {near}"
            )
        if self.sequence_lengths is not None:
            check_lengths(self.sequence_lengths, self.clock)
        return self


class Anchors(Section):
    tokens: Annotated[list[Count], Field(min_length=1)]
    """Token counts at which the model is kept; training stops after the last. Fires at
    `ceil(anchor / batch.tokens)`."""
    mode: Literal["snapshot", "restart", "anneal"] = "snapshot"
    """`snapshot`: one run, photographed on its way. `restart`: a run for every anchor, each with its own schedule. `anneal`:
    one trunk at constant rate, and for every anchor a branch that leaves it at `(1 - schedule.decay) x anchor` and ends at
    the anchor."""
    until: Literal["converged"] | None = None
    """`converged`: train on after the last anchor until the held-out loss stands still, `max_tokens` at most."""
    max_tokens: PositiveCount | None = None
    """Where `until: converged` ends at the latest; the schedule ends there too."""
    patience: PositiveCount = 10
    """Looks at the held-out loss without an improvement, after which `until: converged` ends."""
    threshold: Annotated[Number, Field(ge=0)] = 0.002
    """Fall of the held-out loss, in nats per token, that counts as an improvement."""
    patient_after: Count = 2_000_000_000
    """Tokens before which `until: converged` does not look."""
    look_every: PositiveCount | None = None
    """Tokens between two looks. Default: so many that looking takes 1% of the computation."""

    @model_validator(mode="after")
    def _ascending(self) -> "Anchors":
        for before, after in zip(self.tokens, self.tokens[1:], strict=False):
            if after <= before:
                raise ValueError(f"tokens must rise: {format_count(after)} follows {format_count(before)}")
        if self.tokens[-1] == 0:
            raise ValueError("tokens needs an anchor above 0, at which training ends")
        if self.until and self.mode != "snapshot":
            raise ValueError(
                f"until: has no meaning in mode '{self.mode}', where every anchor ends a schedule of its own"
            )
        if self.until and (self.max_tokens or 0) <= self.tokens[-1]:
            raise ValueError("until: needs max_tokens above the last anchor")
        if self.max_tokens and not self.until:
            raise ValueError("max_tokens: is for until: converged; training ends at the last anchor otherwise")
        return self


class Optimizer(Section):
    name: Literal["adamw", "muon", "schedule_free_adamw"] = "adamw"
    """`adamw` (Loshchilov & Hutter 2019), fused where the device has it. `muon` (Jordan et al. 2024) for the matrices of the
    layers, with AdamW for embeddings, head and vectors. `schedule_free_adamw` (Defazio et al. 2024). No weight decay on
    norms."""
    learning_rate: Annotated[Number, Field(gt=0)] = 3e-4
    """Peak learning rate."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    betas: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    epsilon: Annotated[Number, Field(gt=0)] = 1e-8
    nonfinite: Literal["stop", "skip"] = "stop"
    """A step whose loss or gradient is NaN or infinite: `stop` ends the run; `skip` leaves its update out and counts it in
    `num_skipped_steps`."""


def _warmup_parts(value: object) -> tuple[float, Literal["steps", "tokens", "share"]]:
    text = str(value).strip()
    for unit in ("steps", "step", "tokens", "token"):
        if text.endswith(unit):
            amount = parse_count(text.removesuffix(unit).strip())
            if amount < 0:
                raise ValueError(f"{value!r} is below 0")
            return amount, "steps" if unit.startswith("step") else "tokens"
    share = parse_number(value)
    if not 0 <= share < 1:
        raise ValueError(f"{value!r} has no unit: write '{text} steps', '{text} tokens' or a share below 1")
    return share, "share"


WARMUP_TEXT = NUMBER_TEXT.removesuffix("$") + r"(steps?|tokens?)?\s*$"


class Schedule(Section):
    name: Literal["cosine", "linear", "constant", "wsd"] | None = None
    """Shape after warm-up; it ends at the last anchor. `wsd` (Hu et al. 2024) is constant and then decays to 0. Default:
    `cosine`; `wsd` in `anchors.mode: anneal`, `constant` with `schedule_free_adamw`."""
    decay: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Share of the run, or of a branch's anchor, over which `wsd` decays."""
    decay_shape: Literal["1-sqrt", "linear", "cosine"] = "1-sqrt"
    """Shape of `wsd`'s decay; `1-sqrt` is from Hägele et al. 2024."""
    warmup: int | float | Annotated[str, WithJsonSchema({"type": "string", "pattern": WARMUP_TEXT})] = "300 steps"
    """`300 steps`, `5M tokens` or a share of the run such as 0.02."""

    @field_validator("warmup", mode="before")
    @classmethod
    def _readable_warmup(cls, value: object) -> object:
        _warmup_parts(value)
        return value

    def warmup_parts(self) -> tuple[float, Literal["steps", "tokens", "share"]]:
        """The warm-up as a number and its unit."""
        return _warmup_parts(self.warmup)


class Checkpoints(Section):
    every_steps: PositiveCount | None = 500
    """Optimizer steps between checkpoints (full training state for resuming); null for none."""
    every_minutes: Annotated[Number, Field(gt=0)] | None = None
    """Minutes between checkpoints, beside `every_steps`."""
    keep: PositiveCount = 2
    """Newest checkpoints kept. Revisions are never removed."""


class Evaluation(Section):
    tasks: list[str] = []
    """lm-eval tasks or groups, such as lmeff_blimp or lmeff_synthetic."""
    at_anchors: bool = True
    """Score every revision as soon as it is saved; otherwise only with `lmeff eval`, with `--follow` from a second process."""
    weights: bool = True
    """Measure the weights of every revision at its anchor: norms, effective ranks, similarity to the revision before, to the
    first and, when the run is done, to the final one. Needs `at_anchors`; otherwise only with `lmeff weights`."""
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
    dev_tokens: PositiveCount = 100_000
    """Held-out tokens on which dev_loss is taken at every anchor: documents, and stretches of long ones, from all over the
    held-out text, always the same."""


def _check_template(template: str, allowed: set[str]) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in allowed or form or conversion):
            raise ValueError(f"{{{field}}} is none of {', '.join(f'{{{name}}}' for name in sorted(allowed))}")
    return template


_RUN_FIELDS = {"name", "corpus", "size", "vocab_size", "seed"}


class Publish(Section):
    to: Literal["local", "hub"] = "local"
    """`local`: revisions stay in the run folder, and `lmeff publish` can send them later. `hub`: each is delivered to the Hub
    as a branch while training goes on, in a process of its own."""
    namespace: Name | None = None
    """User or organization. Default: HF_NAMESPACE, from the environment or from `.env` in the working directory."""
    private: bool = True
    """Whether a repository that has to be made is private."""
    repository: Annotated[str, AfterValidator(lambda text: _check_template(text, _RUN_FIELDS))] = (
        "{corpus}-{size}-tok{vocab_size}"
    )
    """Repository's name; may hold {name}, {corpus}, {size} (or the parameter count), {vocab_size} and {seed}."""
    anchor_branch: Annotated[str, AfterValidator(lambda text: _check_template(text, {*_RUN_FIELDS, "tokens"}))] = (
        "seed-{seed}-tokens-{tokens}"
    )
    """Branch of an anchor; may also hold {tokens}, such as 25M."""
    final_branch: Annotated[str, AfterValidator(lambda text: _check_template(text, _RUN_FIELDS))] = "seed-{seed}"
    """Branch of the final model."""
    final_on_main: bool = False
    """Put the final weights on `main` too, which else holds the card and an index alone."""
    require: bool = False
    """End the run with an error (exit code 1) when a revision could not be delivered."""
    license: str | None = None
    """License of the weights for the model card, as the Hub names it, such as `mit` or `cc-by-4.0`."""
    optimizer: bool = False
    """Keep the optimizer's state in every revision (`optimizer.safetensors`), twice the size of the weights."""


class Recipe(Section):
    """A recipe: everything that decides what a run computes."""

    name: Name
    """Name of the run; its folder is `OUTPUTS/NAME/seed-S`."""
    seed: Annotated[Count, Field(lt=2**31)] = 0
    """Decides initial weights, data order and dropout."""
    deterministic: bool = False
    """Only algorithms that give the same bits every time (transformers' `full_determinism`); on a GPU slower. A CPU in float32
    needs no such wish."""
    paths: Paths = Paths()
    corpus: Corpus
    tokenizer: Tokenizer = Tokenizer()
    model: Model
    batch: Batch
    anchors: Anchors
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: dict[str, Any] = {}
    """`transformers.TrainingArguments` fields under their own names, apart from those that another section owns."""
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    publish: Publish = Publish()

    @property
    def schedule_name(self) -> str:
        """The schedule's name, where the recipe gives none the one that fits."""
        fitting = "constant" if self.optimizer.name == "schedule_free_adamw" else "cosine"
        return self.schedule.name or ("wsd" if self.anchors.mode == "anneal" else fitting)
