"""A model compiled for the CPU with its matrix products in bfloat16.

Uncompiled, half of a bfloat16 pass is spent between the matrix products, and much of its error comes from roundings there.
Compiled, all but the products stays in float32 and takes less time.
"""

import copy
import logging
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lmeff.evaluation.scorer.trees.onednn_linears import OneDnnLinears
from lmeff.evaluation.scorer.trees.prefix_tree import TreeBatch, lay_out
from lmeff.evaluation.scorer.trees.tree_scorer import TreeScorer, log_sum
from lmeff.library_internals import compilation_error, layer_classes

_WORTH_IT = 1e12
"""Texts times parameters: less is computed sooner than compiled, which takes ten seconds, thirty the first time."""
_ROWS, _TEXT_LENGTH = 59, 20
"""What is computed first, three texts in a row: enough for code that uses all threads, and no number that a model has itself,
which would be taken for that one."""
_ATTENTION_SCORES = 1 << 22
"""Between positions of a batch that are held at once, of each head."""

_works: dict[str, bool] = {}
"""By configuration: whether its layers could be compiled. Of one at a time: torch keeps a few versions of a layer's code in a
process, and then compiles no more of them."""


def is_worth_compiling(model: PreTrainedModel, num_texts: int) -> bool:
    return model.device.type == "cpu" and num_texts * model.num_parameters() >= _WORTH_IT


class CompiledScorer(TreeScorer):
    """Scores layouts with a copy of a float32 model, its layers compiled and its matrix products in bfloat16.

    Torch compiles anew for a size of 1, so a single row is doubled, and the logits of one are not summed by compiled code.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._exact_head = model.get_output_embeddings()
        model = copy.deepcopy(model)
        model.set_attn_implementation("eager")  # for short rows faster than sdpa, once it is compiled
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | Conv1D):  # new parameters: an embedding may share the old one
                module.weight = torch.nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)
        head = model.get_output_embeddings().to(torch.bfloat16)  # its bias, too: it is called without autocast
        for layer in _layers(model):
            layer.forward = torch.compile(layer.forward, dynamic=True)
        self._log_sum_of_rows = torch.compile(log_sum, dynamic=True)
        super().__init__(model, OneDnnLinears([head]))  # the others are compiled

    def _hidden_states(self, batch: TreeBatch) -> torch.Tensor:
        num_rows, width = batch.input_ids.shape
        at_once = max(2, _ATTENTION_SCORES // width**2)
        with torch.autocast("cpu", torch.bfloat16):
            parts = [
                super(CompiledScorer, self)._hidden_states(_rows(batch, first, at_once))
                for first in range(0, num_rows, at_once)
            ]
        return torch.cat(parts)

    def _wanted(
        self, before: torch.Tensor, logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        bias = getattr(self._exact_head, "bias", None)
        values = (before[rows].float() * self._exact_head.weight[tokens]).sum(dim=-1)
        return values if bias is None else values + bias[tokens]

    def _log_sum(self, logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
        return (self._log_sum_of_rows if len(logits) > 1 else log_sum)(logits, highest)


def _rows(batch: TreeBatch, first: int, count: int) -> TreeBatch:
    """Some rows of a batch; a single one twice."""
    rows = [*range(first, min(first + count, len(batch.input_ids)))]
    rows = rows * 2 if len(rows) == 1 else rows
    return replace(batch, **{name: getattr(batch, name)[rows] for name in ("input_ids", "position_ids", "ends")})


def compiled_scorer(model: PreTrainedModel) -> CompiledScorer | None:
    """None where nothing can be compiled: a model without layers that it names, and, with a warning, a machine without a C++
    compiler."""
    kind = model.config.to_json_string()
    if kind not in _works and _works:
        torch.compiler.reset()
        _works.clear()
    if not _works.get(kind, True) or not _layers(model):
        return None
    size = model.get_output_embeddings().weight.shape[0]
    texts = np.random.default_rng(0).integers(0, size, (3 * _ROWS, _TEXT_LENGTH)).tolist()
    scorer = CompiledScorer(model)
    try:
        scorer.score(lay_out([(text[:-1], text[1:]) for text in texts], 3 * _ROWS))
    except compilation_error() as error:
        _works[kind] = False
        reason = next(iter(str(getattr(error, "inner_exception", error)).splitlines()), type(error).__name__)
        logging.getLogger(__name__).warning("nothing is compiled here, so bfloat16 takes longer: %s", reason)
        return None
    _works[kind] = True
    return scorer


def _layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    names = layer_classes(model)
    return [module for module in model.modules() if type(module).__name__ in names]
