"""A model of any decoder, built on the meta device and counted. Whoever calls this imports torch."""

from typing import TYPE_CHECKING, Any

from lmeff.models.families.family import Parameters

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


def class_of(config: "PreTrainedConfig") -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def build_on_meta(config: "PreTrainedConfig") -> "PreTrainedModel":
    import torch

    with torch.device("meta"):
        model: PreTrainedModel = class_of(config)(config)
    return model


def is_tied(model: Any) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def count_parameters(model: Any) -> Parameters:
    output, table = model.get_output_embeddings(), model.get_input_embeddings().weight
    heads = [table, *([output.weight] if output is not None and not is_tied(model) else [])]
    total = sum(one.numel() for one in model.parameters())
    embedding = sum(one.numel() for one in heads)
    matrices = sum(one.numel() for _, one in matrices_of(model) if all(one is not head for head in heads))
    return Parameters(total, embedding, total - embedding, matrices + heads[-1].numel())


def matrices_of(model: "nn.Module") -> "list[tuple[str, nn.Parameter]]":
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


def num_outputs(matrix: "nn.Parameter") -> int:
    """Numbers that come out of it for a token; the larger side of one whose layout is not known, as are those of experts."""
    return matrix.shape[0] if matrix.ndim == 2 else max(matrix.shape[-2:])


def layers_of(model: "nn.Module") -> "tuple[str, nn.ModuleList] | None":
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
