"""Whether a model was trained on the token that its scores begin with."""

from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

from lmeff.formats.anchor import ANCHOR
from lmeff.logs import say

_EMBEDDINGS = (
    "embed_tokens.weight",
    "embed_in.weight",
    "wte.weight",
    "word_embeddings.weight",
    "backbone.embeddings.weight",
    "rwkv.embeddings.weight",
    "tok_embeddings.weight",
)
"""How the names of token embeddings end."""
_OUR_CARD = "Every training document began with `<s>`"
_SAME, _OTHER = 0.1, 0.15
"""Relative distances of norms that count as the same, and as another."""


def bos_warning(folder: Path, context_start: str = "bos") -> str | None:
    """A line for a model whose BOS token seems never to have occurred in training; None when nothing speaks for that.

    Scores condition on BOS. An embedding that was never trained keeps the length that it was drawn with, as that of `<pad>`
    does, while those of the text's tokens grow. Our own cards say that BOS was trained.
    """
    from transformers import AutoConfig, AutoTokenizer

    card = folder / "README.md"
    if (folder / ANCHOR).exists() or (card.exists() and _OUR_CARD in card.read_text(encoding="utf-8")):
        return None
    options = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    config = AutoConfig.from_pretrained(folder, **options)
    bos, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
    norms = _embedding_norms(folder)
    if bos is None:
        return (
            f"its tokenizer has no BOS token; texts and sentences begin with {tokenizer.eos_token or 'nothing'} instead"
        )
    if norms is None or bos >= len(norms):
        return None
    drawn = getattr(config, "initializer_range", 0.02) * config.hidden_size**0.5
    untrained = float(norms[pad]) if pad in range(len(norms)) and pad not in (bos, tokenizer.eos_token_id) else drawn
    usual = float(norms.median())
    what = "scores" if context_start == "bos" else "texts without a context"
    if abs(float(norms[bos]) / untrained - 1) < _SAME and abs(float(norms[bos]) / usual - 1) > _OTHER:
        return (
            f"its BOS token {tokenizer.bos_token!r} seems never to have occurred in training (its embedding has the length"
            f" {float(norms[bos]):.2f} of an untrained one, others {usual:.2f}); {what} begin with it all the same"
        )
    return None


def warn_of_bos(name: str, folder: Path, context_start: str = "bos") -> None:
    """Prints `bos_warning`, where there is one; whatever goes wrong with that keeps no model from being scored."""
    with suppress(Exception):
        if warning := bos_warning(folder, context_start):
            say(f"{name}: {warning}")


def _embedding_norms(folder: Path):
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                if name.endswith(_EMBEDDINGS):
                    return file.get_tensor(name).float().norm(dim=1)
    return None
