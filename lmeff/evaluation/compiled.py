"""A model compiled for the CPU with its matrix products in bfloat16.

In bfloat16 half of a pass is spent between the matrix products, and the roundings there make most of the error. Compiled,
that half takes a third of the time, also with all but the products in float32.
"""

import copy
import logging
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lmeff.evaluation.prefix_tree import TreeBatch, lay_out
from lmeff.evaluation.tree_scorer import TreeScorer, log_sum

_WORTH_IT = 1e12
"""Texts times parameters: less is computed sooner than compiled, which takes ten seconds, thirty the first time."""
_ROWS, _TEXT_LENGTH = 59, 20
"""What is computed first, three texts in a row: enough for code that uses all threads, and no number that a model has itself,
which would be taken for that one."""

_log_sum = torch.compile(log_sum, dynamic=True)


def is_worth_compiling(model: PreTrainedModel, num_texts: int) -> bool:
    return model.device.type == "cpu" and num_texts * model.num_parameters() >= _WORTH_IT


class CompiledScorer(TreeScorer):
    """Scores layouts with a copy of a float32 model whose matrix products are bfloat16's and whose layers are compiled.

    Code for any number of rows is not used for a single one, for which more would be compiled: there are two then.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._exact_head = model.get_output_embeddings()
        model = copy.deepcopy(model)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | Conv1D):  # new parameters: an embedding may share the old one
                module.weight = torch.nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)
        for module in model.modules():
            if type(module).__name__ in (model._no_split_modules or ()):
                module.forward = torch.compile(module.forward, dynamic=True)
        super().__init__(model)

    def _hidden_states(self, batch: TreeBatch) -> torch.Tensor:
        if len(batch.input_ids) == 1:
            names = ("input_ids", "position_ids", "ends")
            batch = replace(batch, **{name: np.repeat(getattr(batch, name), 2, axis=0) for name in names})
        with torch.autocast("cpu", torch.bfloat16):
            return super()._hidden_states(batch)

    def _wanted(
        self, before: torch.Tensor, logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        bias = getattr(self._exact_head, "bias", None)
        values = (before[rows].float() * self._exact_head.weight[tokens]).sum(dim=-1)
        return values if bias is None else values + bias[tokens]

    def _log_sum(self, logits: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
        return (_log_sum if len(logits) > 1 else log_sum)(logits, highest)


def compiled_scorer(model: PreTrainedModel) -> TreeScorer | None:
    """None, with a warning, where nothing can be compiled, as without a C++ compiler."""
    texts = np.random.default_rng(0).integers(0, model.config.vocab_size, (3 * _ROWS, _TEXT_LENGTH)).tolist()
    try:
        scorer = CompiledScorer(model)
        scorer.score(lay_out([(text[:-1], text[1:]) for text in texts], 3 * _ROWS))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        logging.getLogger(__name__).warning("nothing is compiled here, so bfloat16 takes longer: %s", reason)
        return None
    return scorer
