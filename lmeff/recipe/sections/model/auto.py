"""`model:` of the family `auto`: any other decoder that stock transformers has, by the keys of its own configuration."""

from collections.abc import Iterator
from typing import Any, ClassVar

from lmeff.recipe.sections.model.section import FAMILIES, FamilyName, Model
from lmeff.recipe.sections.objective import ObjectiveName

_OWNERS = {
    "vocab_size": "tokenizer.vocab_size decides it",
    **dict.fromkeys(
        (f"{name}_token_id" for name in ("pad", "bos", "eos", "cls", "sep", "eod", "mask", "decoder_start")),
        "the tokenizer decides it",
    ),
    **dict.fromkeys(
        ("dtype", "torch_dtype"), "weights are float32; training.bf16 and training.fp16 say what is computed in"
    ),
    **dict.fromkeys(
        ("use_cache", "attn_implementation", "_attn_implementation", "gradient_checkpointing"), "training decides it"
    ),
    **dict.fromkeys(
        ("return_dict", "output_attentions", "output_hidden_states", "chunk_size_feed_forward"), "training decides it"
    ),
    **dict.fromkeys(("is_decoder", "is_encoder_decoder", "add_cross_attention"), "this family has only decoders"),
    **dict.fromkeys(("architectures", "transformers_version", "_name_or_path"), "transformers writes it"),
    **dict.fromkeys(
        ("id2label", "label2id", "num_labels", "problem_type"), "it is for classifiers, which `lmeff finetune` makes"
    ),
    "auto_map": "only models whose code is in transformers are built, none that need code from elsewhere",
    "trust_remote_code": "only models whose code is in transformers are built, none that need code from elsewhere",
    "quantization_config": "models are trained unquantized",
    "name_or_path": "weights are drawn anew; nothing is loaded",
}
"""Keys of configurations that a recipe must not give, and who decides them."""


class AutoSection(Model):
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("causal",)

    family: FamilyName = "auto"
    size: str | None = None
    config: dict[str, Any]
    """In the family `auto`: `model_type` (such as gpt_neox, opt or qwen3), and any other keys of its configuration in
    transformers. Where they say nothing, positions are `batch.sequence_length` and dropout is 0; all else is transformers'
    own default. The vocabulary and its special tokens are the tokenizer's."""

    @property
    def architecture(self) -> str:
        return str(self.config.get("model_type"))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.size is not None:
            yield "size", "the family 'auto' has no named sizes; leave it out"
        if self.budget is not None:
            yield "budget", "the family 'auto' has no shape that could be found; give the keys of 'config' themselves"
        model_type = self.config.get("model_type")
        if not isinstance(model_type, str):
            text = "missing or no text; say which of transformers' models it is, such as gpt_neox"
            yield "config.model_type", text
        elif model_type in FAMILIES and model_type != self.family:
            text = f"'{model_type}' is a family of its own: write family: {model_type}, with its keys under 'model:'"
            yield "config.model_type", text
        for key in self.config:
            if key in _OWNERS:
                yield f"config.{key}", f"must not be given: {_OWNERS[key]}"
