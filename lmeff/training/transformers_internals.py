"""Names of transformers, accelerate and torch that are no part of what these packages promise, each used from here alone.

A test says that every one of them exists, so that another version is refused by a failing test and not by a wrong run.
"""

from accelerate.utils import other as _accelerate_other


def leave_deepspeed_unimported() -> None:
    """For a launch without DeepSpeed, which accelerate would import to see whether a model is one of its engines: seconds."""
    _accelerate_other.is_deepspeed_available = lambda: False
