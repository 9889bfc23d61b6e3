"""Evaluation in a process that has other work: nothing of it stays."""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from lmeff.library_internals import without_bars_of_tasks
from lmeff.models.device import choose_device


@contextmanager
def isolate_scoring() -> Iterator[None]:
    """Scoring in full float32 that leaves the process as it was: random states, TF32 and bfloat16 inside of float32's matrix
    products and convolutions, logging, progress bars.

    Random states matter because training goes on after an anchor was scored, and must not depend on that.
    """
    logger = logging.getLogger("lm_eval")
    with ExitStack() as stack:
        stack.enter_context(
            torch.random.fork_rng([torch.cuda.current_device()] if choose_device().type == "cuda" else [])
        )
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        for products, setting, full in _full_precision():
            stack.callback(setattr, products, setting, getattr(products, setting))
            setattr(products, setting, full)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        stack.enter_context(without_bars_of_tasks())
        if transformers_logging.is_progress_bar_enabled():
            stack.callback(transformers_logging.enable_progress_bar)
            transformers_logging.disable_progress_bar()
        yield


def _full_precision() -> Iterator[tuple[Any, str, object]]:
    """The settings of products in float32, of matrices by device and of convolutions, and what each is for full precision."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        for products in ("cuda.matmul", "mkldnn.matmul", "cudnn.conv"):
            yield attrgetter(products)(torch.backends), "fp32_precision", "ieee"
    else:
        yield torch.backends.cuda.matmul, "allow_tf32", False
        yield torch.backends.cudnn, "allow_tf32", False
