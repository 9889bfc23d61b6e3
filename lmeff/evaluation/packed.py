"""Linear layers on a CPU with weights in the order that oneDNN reads them in, which saves it or MKL doing so at every call."""

import copy
from functools import partial
from itertools import chain

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def packed(model: PreTrainedModel) -> PreTrainedModel:
    """A model with the same parameters whose linear layers take less time and more memory, their weights once more; the model
    itself where oneDNN does not compute them. The results differ in the last bits."""
    if not (model.device.type == "cpu" and _computes(model.dtype)):
        return model
    model = copy.deepcopy(model, {id(one): one for one in chain(model.parameters(), model.buffers())})
    for module in model.modules():
        pack(module)
    return model


def pack(module: torch.nn.Module) -> None:
    """Packs the weights that a linear layer now has. Leaves other modules, and types that oneDNN does not compute."""
    if type(module) not in (torch.nn.Linear, Conv1D) or not _computes(module.weight.dtype):
        return
    weight = module.weight.detach()
    weight = weight.t().contiguous() if isinstance(module, Conv1D) else weight
    module.forward = partial(_linear, torch.ops.mkldnn._reorder_linear_weight(weight, None), module.bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(features, weight, bias, "none", [], "")


def _computes(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's linear layers, which torch's own compiler uses, and the processor the type."""
    ops = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(ops, "_reorder_linear_weight")):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and ops._is_mkldnn_bf16_supported())
