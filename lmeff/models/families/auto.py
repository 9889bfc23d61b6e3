"""Any other decoder that stock transformers has. What it costs is counted on the model itself, built on the meta device, so
this family alone imports torch to be planned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lmeff.errors import InputError
from lmeff.library_internals import supports_sdpa
from lmeff.models.families.family import Family, Parameters
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model import FAMILIES as SECTIONS
from lmeff.recipe.sections.model import AutoSection
from lmeff.recipe.wording import did_you_mean, one_line

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

_POSITIONS = ("max_position_embeddings", "max_seq_len", "max_sequence_length")
"""What configurations call the longest sequence that a model takes; most have the first, some as another name of theirs."""
_BYTES_OF_STATES = 4  # they are float32 whatever the rest is
_RANDOM = ("drop", "jitter")
"""Parts of the names of settings that make training random."""


@dataclass(frozen=True)
class Auto(Family):
    """FLOPs are 6 x matmul parameters + 12 x layers x width of all queries x length where the configuration has heads, else
    6 x matmul parameters: scans and the like are not counted, and of a mixture all experts are, whoever is asked."""

    name: ClassVar[str] = "auto"
    model_type: ClassVar[str] = ""
    model_class: ClassVar[str] = ""
    title: ClassVar[str] = "A language model"
    plural: ClassVar[str] = "Language models"
    leaves_parameters_unused: ClassVar[bool] = True
    """Not known: a mixture may leave experts unused."""
    never_decayed: ClassVar[str | None] = r"(^|\.)A_log$"
    """Of Mamba, as its authors train it."""
    without_weight_decay: ClassVar[str] = "norms, biases, other vectors and A_log"
    counted_on: ClassVar[str] = (
        "the model itself, built on the meta device; FLOPs by 6 N + 12 L d T, or 6 N without heads; activations roughly"
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
        values = json.dumps(_config_values(recipe), sort_keys=True, default=str)
        config = _config(recipe.model.architecture, values, recipe.model_vocab_size)
        found = cls.of_config(config)
        if recipe.optimizer.name == "muon" and not found.layer_numbers:
            raise InputError(
                f"optimizer.name: 'muon' is for the matrices of layers, and a {found.model_class} has no list of"
                f" {found.num_hidden_layers} layers (an nn.ModuleList); use adamw"
            )
        return found

    @classmethod
    def of_config(cls, config: "PreTrainedConfig") -> Self:
        return _attempt(lambda: cls._of_model(_on_meta(config)))

    @classmethod
    def _of_model(cls, model: "PreTrainedModel") -> Self:
        config: Any = model.config
        embeddings: Any = model.get_input_embeddings()
        parameters, layers = _count(model), _layers(model)
        width = getattr(config, "hidden_size", None) or embeddings.embedding_dim
        heads = getattr(config, "num_attention_heads", None)
        heads = heads if isinstance(heads, int) else 0
        states = getattr(config, "state_size", None)
        num_layers = getattr(config, "num_hidden_layers", None) or len(layers[1] if layers else ())
        inner = getattr(config, "intermediate_size", None) or 2 * width
        matrices = [one for _, one in _matrices(layers[1])] if layers else []
        own = _of_class(cls, type(model).__name__, config.model_type)
        return own(
            hidden_size=width,
            num_hidden_layers=num_layers,
            max_position_embeddings=_longest(config)[1] or 0,
            tie_word_embeddings=_is_tied(model),
            vocab_size=config.vocab_size,
            parameters=parameters,
            query_width=heads * (getattr(config, "head_dim", None) or width // heads) if heads else 0,
            layer_numbers=sum(_outputs(one) for one in matrices),
            state_numbers=num_layers * inner * states if isinstance(states, int) else 0,
            kept_weights=0 if supports_sdpa(type(model)) else num_layers * heads,
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

    # ------------------------------------------------------------------ building and training

    def config_values(self, recipe: Recipe) -> dict[str, Any]:
        return _config_values(recipe)

    @classmethod
    def knows(cls, config: "PreTrainedConfig") -> bool:
        """Whether transformers has a causal language model of this configuration."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

        return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING

    @classmethod
    def attention_dropout(cls, config: "PreTrainedConfig") -> float:
        """Classes without transformers' attention function have dropout modules, or are found out when they are tried."""
        rate = getattr(config, "attention_dropout", None)
        return float(rate) if rate and supports_sdpa(_class_of(config)) else 0.0

    @classmethod
    def muon_names(cls, model: "nn.Module") -> list[str]:
        """The matrices of the largest list of as many modules as the model has layers."""
        layers = _layers(model)
        return [f"{layers[0]}.{name}" for name, one in _matrices(layers[1]) if one.ndim == 2] if layers else []


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


# ---------------------------------------------------------------------- configurations


def _config_values(recipe: Recipe) -> dict[str, Any]:
    """The keys of the recipe, positions for its sequences and no dropout where it says nothing of them. Raises InputError."""
    assert isinstance(recipe.model, AutoSection)
    said = {key: value for key, value in recipe.model.config.items() if key != "model_type"}
    stock = _stock_config(recipe.model.architecture)
    _check_keys(said, stock)
    quiet = {
        key: 0.0
        for key, value in stock.to_dict().items()
        if any(part in key for part in _RANDOM) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    length = recipe.batch.sequence_length
    key, longest = _longest(stock)
    aliases = {alias: name for alias, name in stock.attribute_map.items() if alias in _POSITIONS}
    given = next((name for name in said if key and name in (key, aliases.get(key))), None)
    if given is not None:
        if not isinstance(said[given], int) or said[given] < length:
            raise InputError(
                f"model.config.{given}: {one_line(said[given], 60)} is below batch.sequence_length ({length})"
            )
        return quiet | said
    return quiet | ({key: length} if key and longest else {}) | said


def _longest(config: "PreTrainedConfig") -> tuple[str | None, int | None]:
    """How the configuration calls its longest sequence, and that; for a model without limit nothing."""
    for key in _POSITIONS:
        if isinstance(value := getattr(config, key, None), int) and value > 0:
            return key, value
    return None, None


@lru_cache(maxsize=64)
def _stock_config(model_type: str) -> "PreTrainedConfig":
    """The configuration of a kind of decoder with transformers' own values. Raises InputError for what is none."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    label, shown = "model.config.model_type", one_line(repr(model_type), 60)
    decoders = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    if model_type not in CONFIG_MAPPING:
        near = did_you_mean(model_type, decoders)
        raise InputError(
            f"{label}: transformers has no {shown}{near or '; models with code of their own are not built'}"
        )
    config = _attempt(lambda: CONFIG_MAPPING[model_type]())
    if config.is_encoder_decoder:
        raise InputError(f"{label}: {shown} is an encoder-decoder; models of one stack are trained, not of two")
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise InputError(
            f"{label}: {shown} is an encoder; 'auto' trains decoders, and bert and modernbert are families"
        )
    if model_type not in decoders:
        raise InputError(f"{label}: transformers has no causal language model of the kind {shown}")
    if config.model_type in SECTIONS:
        raise InputError(f"{label}: {shown} is the family {config.model_type!r}; write family: {config.model_type}")
    if config.get_text_config() is not config or not isinstance(getattr(config, "vocab_size", None), int):
        other = f"{model_type}_text"
        hint = f"; did you mean {other!r}?" if other in decoders else ""
        raise InputError(f"{label}: {shown} reads more than text, or is made of several models{hint}")
    return config


def _check_keys(said: Mapping[str, Any], stock: "PreTrainedConfig") -> None:
    """transformers takes any key and says nothing, so that a model would have other values than its user thinks."""
    from transformers import PreTrainedConfig

    general = set(PreTrainedConfig().to_dict()) - {"tie_word_embeddings"}
    known = (set(stock.to_dict()) | set(stock.attribute_map)) - general
    known -= {"vocab_size", "use_cache", "pad_token_id", "bos_token_id", "eos_token_id"}
    mistakes = []
    for key in said:
        if key == stock.attribute_map.get("vocab_size") or stock.attribute_map.get(key) == "vocab_size":
            mistakes.append(f"model.config.{key}: must not be given: tokenizer.vocab_size decides it")
        elif key not in known:
            near = did_you_mean(key, known)
            some = near or f"; known: {', '.join(sorted(one for one in known if not one.startswith('_')))}"
            mistakes.append(f"model.config.{key}: unknown key of a {stock.model_type} configuration{some}")
    if mistakes:
        raise InputError(*mistakes)


@lru_cache(maxsize=64)
def _config(model_type: str, values: str, vocab_size: int) -> "PreTrainedConfig":
    from transformers import AutoConfig

    from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID

    special_tokens = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    given = json.loads(values) | {"vocab_size": vocab_size} | special_tokens
    return _attempt(lambda: AutoConfig.for_model(model_type, **given))


def _attempt(build: Any) -> Any:
    """Raises InputError where transformers cannot build it, with what it says."""
    try:
        return build()
    except Exception as error:  # whatever kind of error a configuration or a model makes of values that do not fit
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"model.config: transformers cannot build this model, or it cannot be counted: {one_line(text, 250)}"
        ) from None


# ---------------------------------------------------------------------- the model on the meta device


def _class_of(config: "PreTrainedConfig") -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _on_meta(config: "PreTrainedConfig") -> "PreTrainedModel":
    import torch

    with torch.device("meta"):
        model: PreTrainedModel = _class_of(config)(config)
    return model


def _is_tied(model: Any) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def _count(model: Any) -> Parameters:
    output, table = model.get_output_embeddings(), model.get_input_embeddings().weight
    heads = [table, *([output.weight] if output is not None and not _is_tied(model) else [])]
    total = sum(one.numel() for one in model.parameters())
    embedding = sum(one.numel() for one in heads)
    matrices = sum(one.numel() for _, one in _matrices(model) if all(one is not head for head in heads))
    return Parameters(total, embedding, total - embedding, matrices + heads[-1].numel())


def _matrices(model: "nn.Module") -> "list[tuple[str, nn.Parameter]]":
    """What tokens are multiplied with: no tables of embeddings, and none of what a state decays by."""
    import torch

    tables = {id(one.weight) for one in model.modules() if isinstance(one, torch.nn.Embedding)}
    return [
        (name, one)
        for name, one in model.named_parameters()
        if id(one) not in tables
        and one.ndim > 1
        and (one.ndim > 2 or name.endswith("weight"))
        and min(one.shape[0], one.shape[-1]) > 1
    ]


def _outputs(matrix: "nn.Parameter") -> int:
    """Numbers that come out of it for a token; the larger side of one whose layout is not known, as are those of experts."""
    return matrix.shape[0] if matrix.ndim == 2 else max(matrix.shape[-2:])


def _layers(model: "nn.Module") -> "tuple[str, nn.ModuleList] | None":
    """Name and content of the largest list of as many modules as the model has layers; None where there is none."""
    import torch

    config: Any = model.config
    wanted = getattr(config, "num_hidden_layers", None)
    lists = [
        (name, one)
        for name, one in model.named_modules()
        if isinstance(one, torch.nn.ModuleList) and len(one) == wanted
    ]
    sizes = [sum(parameter.numel() for parameter in one.parameters()) for _, one in lists]
    return lists[sizes.index(max(sizes))] if lists else None
