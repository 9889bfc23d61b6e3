"""Linear layers on a CPU with weights in the order in which oneDNN reads them, so that no call has to reorder them."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from transformers.pytorch_utils import Conv1D

from lmeff.library_internals import has_onednn_linear, onednn_has_bfloat16, onednn_linear, own_weight
from lmeff.models.device import available_bytes


class OneDnnLinears:
    """Those of some modules that are plain linear layers in float32 or bfloat16, with copies of the weights they have now.

    Where the memory does not suffice for the copies, or this torch or processor lacks what it takes, there are none. Results
    differ from the layers' own in the last bits.
    """

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        layers = [module for module in modules if _is_plain(module) and _computes(module.weight.dtype)]
        needed, free = 2 * sum(layer.weight.nbytes for layer in layers), available_bytes()
        self.forwards: dict[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]] = {}
        if free is None or needed < free:
            self.forwards = {layer: _forward(layer) for layer in layers}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The layers compute with the copies; hooks and all else about the model stay as they are."""
        for layer, forward in self.forwards.items():
            layer.forward = forward
        try:
            yield
        finally:
            for layer in self.forwards:
                del layer.forward


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether a module multiplies with a weight of its own in this machine's memory, and nothing else was put in its place."""
    if type(module) not in (torch.nn.Linear, Conv1D) or "forward" in vars(module):
        return False
    weight = own_weight(module)
    return type(weight) is torch.nn.Parameter and weight.device.type == "cpu"


def _computes(dtype: torch.dtype) -> bool:
    """Whether torch comes with oneDNN and may use it, in full precision, and the processor has products of this type."""
    onednn = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled and has_onednn_linear()):
        return False
    if dtype == torch.float32:
        modes = (os.environ.get(f"{name}_DEFAULT_FPMATH_MODE", "STRICT") for name in ("ONEDNN", "DNNL"))
        return all(mode.upper() == "STRICT" for mode in modes)
    return dtype == torch.bfloat16 and onednn_has_bfloat16()


def _forward(layer: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    weight = layer.weight.detach()
    weight = weight.t().contiguous() if isinstance(layer, Conv1D) else weight
    return onednn_linear(weight, layer.bias)
