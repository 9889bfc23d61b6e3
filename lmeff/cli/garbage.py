"""When Python looks for objects that only hold each other."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Without looking for such objects: rows and figures are some hundred thousand objects that stay to the end, and looking
    through all of them again and again takes a tenth of the time. Also a decorator."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
