"""Any other decoder that stock transformers has. What it costs is counted on the model itself, built on the meta device, so
this family alone imports torch to be planned."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.errors import InputError
from lmeff.library_internals import supports_sdpa
from lmeff.models.families.family import Family, Parameters
from lmeff.models.stock_decoders.configuration import attempt, config_of, config_values, longest_sequence
from lmeff.models.stock_decoders.counting import (
    build_on_meta,
    class_of,
    count_parameters,
    is_tied,
    layers_of,
    matrices_of,
    num_outputs,
)
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import AutoSection

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

_BYTES_OF_STATES = 4  # they are float32 whatever the rest is


@dataclass(frozen=True)
class Auto(Family):
    """FLOPs are 6 x matmul parameters + 12 x layers x width of all queries x length where the configuration has heads, else
    6 x matmul parameters: scans and the like are not counted, and of a mixture all experts are, whoever is asked."""

    name: ClassVar[str] = "auto"
    model_type: ClassVar[str] = ""
    model_class: ClassVar[str] = ""
    title: ClassVar[str] = "A language model"
    plural: ClassVar[str] = "Language models"
    never_decayed: ClassVar[str | None] = r"(^|\.)A_log$"
    """Of Mamba, as its authors train it."""
    without_weight_decay: ClassVar[str] = "norms, biases, other vectors and A_log"
    counted_on: ClassVar[str] = (
        "the model itself, built on the meta device, for which torch was imported; FLOPs by 6 N + 12 L d T, or 6 N without"
        " heads; activations roughly"
    )
    is_tried: ClassVar[bool] = True

    parameters: Parameters
    query_width: int
    """Numbers of a query over all heads."""
    layer_numbers: int
    """What comes out of all matrices of the layers, for a token."""
    state_numbers: int
    """Numbers of the states of all layers, for models that have them."""
    kept_weights: int
    """Attention weights that are kept, over all layers, for a token that attends to one other."""

    # ------------------------------------------------------------------ where a shape comes from

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        assert isinstance(recipe.model, AutoSection)
        if mistakes := [f"model.{key}: {text}" for key, text in recipe.model.contradictions()]:
            raise InputError(*mistakes)
        values = json.dumps(config_values(recipe), sort_keys=True, default=str)
        config = config_of(recipe.model.architecture, values, recipe.model_vocab_size)
        found = cls.of_config(config)
        if recipe.optimizer.name == "muon" and not found.layer_numbers:
            raise InputError(
                f"optimizer.name: 'muon' is for the matrices of layers, and a {found.model_class} has no list of"
                f" {found.num_hidden_layers} layers (an nn.ModuleList); use adamw"
            )
        return found

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return attempt(lambda: cls._of_model(build_on_meta(config)))

    @classmethod
    def _of_model(cls, model: "PreTrainedModel") -> Self:
        config: Any = model.config
        embeddings: Any = model.get_input_embeddings()
        parameters, layers = count_parameters(model), layers_of(model)
        width = getattr(config, "hidden_size", None) or embeddings.embedding_dim
        heads = getattr(config, "num_attention_heads", None)
        heads = heads if isinstance(heads, int) else 0
        states = getattr(config, "state_size", None)
        num_layers = getattr(config, "num_hidden_layers", None) or len(layers[1] if layers else ())
        inner = getattr(config, "intermediate_size", None) or 2 * width
        is_written_out = not supports_sdpa(type(model)) or bool(cls.attention_dropout(config))
        matrices = [one for _, one in matrices_of(layers[1])] if layers else []
        own = _of_class(cls, type(model).__name__, config.model_type)
        return own(
            hidden_size=width,
            num_hidden_layers=num_layers,
            max_position_embeddings=longest_sequence(config)[1] or 0,
            tie_word_embeddings=is_tied(model),
            vocab_size=config.vocab_size,
            parameters=parameters,
            query_width=heads * (getattr(config, "head_dim", None) or width // heads) if heads else 0,
            layer_numbers=sum(num_outputs(one) for one in matrices),
            state_numbers=num_layers * inner * states if isinstance(states, int) else 0,
            kept_weights=num_layers * heads if is_written_out else 0,
        )

    # ------------------------------------------------------------------ costs

    def count_parameters(self) -> Parameters:
        return self.parameters

    @property
    def attention_width(self) -> int:
        return self.query_width

    def activation_bytes(self, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        """More rather than less: three times what comes out of the matrices of the layers, and three times their width, for
        norms, activation functions and sums; two tables of attention weights where those are written out; and for states six
        tables in float32."""
        kept = 3 * (self.layer_numbers + self.num_hidden_layers * self.hidden_size)
        kept += 2 * self.kept_weights * sequence_length
        return num_tokens * (kept * bytes_each + 6 * self.state_numbers * _BYTES_OF_STATES)

    def attention_dropout_bytes(self, recipe: Recipe, num_tokens: int, bytes_each: int, sequence_length: int) -> int:
        return 0  # among the activations, which are counted roughly anyway

    # ------------------------------------------------------------------ building and training

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        return config_values(recipe)

    @classmethod
    def knows(cls, config: "PreTrainedConfig") -> bool:
        """Whether transformers has a causal language model of this configuration."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

        return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        """Classes without transformers' attention function have dropout modules, or are found out when they are tried."""
        rate = getattr(config, "attention_dropout", None)
        return float(rate) if rate and supports_sdpa(class_of(config)) else 0.0

    @classmethod
    def muon_names(cls, model: "nn.Module") -> list[str]:
        """The matrices of the largest list of as many modules as the model has layers."""
        layers = layers_of(model)
        return [f"{layers[0]}.{name}" for name, one in matrices_of(layers[1]) if one.ndim == 2] if layers else []


@lru_cache(maxsize=64)
def _of_class(kind: type[Auto], model_class: str, model_type: str) -> Any:
    """The family with the names of one architecture."""
    stem = model_class.removesuffix("ForCausalLM").removesuffix("LMHeadModel").removesuffix("WithLMHead")
    article = "An" if stem[0] in "AEIO" else "A"
    names = {
        "model_type": model_type,
        "model_class": model_class,
        "title": f"{article} {stem} language model",
        "plural": f"{stem} language models",
    }
    return type(f"Auto{stem}", (kind,), names)
