"""Which tensors of a weights file are buffers."""

import re
from collections.abc import Sequence

_BUFFERS = re.compile(r"(inv_freq|masked_bias|position_ids|token_type_ids|causal_mask)$")
_MASK = re.compile(r"(attn|attention)\.bias$")


def is_buffer(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is one of the buffers that older versions of transformers saved beside the parameters. A causal mask has
    the name of a bias, and four dimensions."""
    return bool(_BUFFERS.search(name) or (_MASK.search(name) and len(shape) == 4))
