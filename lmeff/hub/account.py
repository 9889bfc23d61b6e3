"""Who publishes: the token and the namespace, from the environment, `.env` or the Hugging Face login. Neither is ever shown."""

import os
import re
from pathlib import Path

from dotenv import dotenv_values

from lmeff.errors import InputError

DOTENV = ".env"


def namespace() -> str | None:
    """HF_NAMESPACE of the environment, or of `.env` in the working directory."""
    return _setting("HF_NAMESPACE")


def token() -> str | None:
    """HF_TOKEN of the environment or of `.env`, else what `hf auth login` left. Raises InputError for what cannot be one; a
    client would show it in its complaint."""
    from huggingface_hub import get_token

    found = _setting("HF_TOKEN") or get_token()
    if found is not None and not re.fullmatch(r"[!-~]+", found):
        raise InputError("HF_TOKEN: holds white space or characters that no token has")
    return found


def _setting(name: str) -> str | None:
    value = (os.environ.get(name) or "").strip()
    if value:
        return value
    found = dotenv_values(DOTENV).get(name) if Path(DOTENV).is_file() else None
    return (found or "").strip() or None
