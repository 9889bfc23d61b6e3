"""`anchor.json` of a revision: which point of the run it is."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from lmeff.formats.base import FORMAT, LossKind, NonNegative, Sha256, StrictModel

ANCHOR = "anchor.json"
HELD_OUT = ("dev_loss", "dev_masked_loss", "dev_permutation_loss")
"""The held-out losses, each of another kind; a model has one."""


class AnchorDocument(StrictModel):
    """`anchor.json` of a revision: which point of the run it is."""

    left_out_when_null: ClassVar[frozenset[str]] = frozenset(
        {
            "loss_kind",
            "dev_masked_loss",
            "dev_permutation_loss",
            "flops_teachers",
            "flops_scoring",
            "num_documents_seen",
        }
    )

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
    """Training loss of the anchor's own step, nats per position with a loss; null at step 0."""
    dev_loss: float | None
    """Held-out loss in nats per token, of predicting the next one; null for models that do not."""
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

    dev_tokens: Annotated[int, Field(ge=1)] | None = None
    """Held-out tokens, about, over which the held-out loss is taken: `evaluation.dev_tokens`, or all that there are where these
    are fewer. Null in files of older versions."""

    loss_kind: LossKind | None = None
    """What `loss` is of, where that is not the next token. Only there."""
    dev_masked_loss: float | None = None
    """Held-out loss in nats per masked token, with fixed masks. Only of masked models."""
    dev_permutation_loss: float | None = None
    """Held-out loss in nats per predicted token, with fixed orders. Only of models of permutations."""
    flops_teachers: Annotated[float, Field(ge=0)] | None = None
    """Model FLOPs of the teachers up to here, beside `flops`. Only of distilled models."""
    flops_scoring: Annotated[float, Field(ge=0)] | None = None
    """Model FLOPs of scoring text up to here, beside `flops`. Only of a curriculum that scores with a model, or looks at the
    held-out loss."""
    num_documents_seen: NonNegative | None = None
    """Different training documents of which something was read up to here. Only of a curriculum."""

    @property
    def held_out(self) -> tuple[str, float] | None:
        """Name and value of the held-out loss, which is of one kind; None where none was taken."""
        return next(((name, value) for name in HELD_OUT if (value := getattr(self, name)) is not None), None)

    @classmethod
    def read(cls, revision: Path) -> Self:
        """Raises InputError when the revision has none, or a damaged one."""
        return cls.read_file(revision / ANCHOR)

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """None where the folder is no revision of a run. Raises InputError for a damaged file."""
        return cls.read(folder) if (folder / ANCHOR).is_file() else None

    def write(self, revision: Path) -> None:
        self.write_file(revision / ANCHOR)


def anchor_of(revision: Path) -> str:
    """The name of the anchor that a revision equals, else its own."""
    anchor = AnchorDocument.find(revision)
    return (anchor.same_as if anchor else None) or revision.name
