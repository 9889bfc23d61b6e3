"""Whether the Hub can be reached at all, which is found out once and then remembered for a while."""

import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

_REMEMBERED_SECONDS, _TROUBLED_SECONDS = 300.0, 30.0
"""How long a Hub is not asked again that could not be reached; and one that was reached, answered that it is in trouble, and
named no time. Later it is, since `lmeff eval --follow` goes on for days, and a network comes back."""
_away: dict[str, float] = {}
"""Why it was away, and until when (`time.monotonic`) this is remembered; at most one entry."""


def unreachable() -> str | None:
    """Why nothing listens where the Hub should be, in words; None when something does, or when only the client can tell.
    This is quick, as the client need not be imported."""
    try:
        url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        host, port = url.hostname, url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        return None
    proxies = {url.scheme, "all"} & urllib.request.getproxies().keys()
    if not host or (proxies and not urllib.request.proxy_bypass(host)):
        return None
    try:
        socket.create_connection((host, port), timeout=10).close()
    except (OSError, UnicodeError) as error:
        return f"{host} cannot be reached ({error})"
    return None


def note_away(why: str, seconds: float = _REMEMBERED_SECONDS) -> None:
    """Remembers for some seconds that the Hub cannot be asked, and why."""
    _away.clear()
    _away[why] = time.monotonic() + seconds


def known_away() -> str | None:
    """Why the Hub could not be asked lately; None when it could, or was not."""
    return next((why for why, until in _away.items() if time.monotonic() < until), None)


def first_line(error: Exception) -> str:
    """What an exception of a library says, in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"


@contextmanager
def asked_once() -> Iterator[None]:
    """While the Hub is known to be away, its libraries use their caches alone within this context. Otherwise they would try to
    reach it six times in half a minute, for every revision and every data set."""
    if known_away() is None and (why := unreachable()):
        note_away(why)
    with ExitStack() as stack:
        if known_away() is not None:
            import datasets
            import huggingface_hub

            for module in (huggingface_hub.constants, datasets.config):
                stack.callback(setattr, module, "HF_HUB_OFFLINE", module.HF_HUB_OFFLINE)
                module.HF_HUB_OFFLINE = True
        try:
            yield
        except Exception as error:
            if known_away() is None and (found := _away_by(error)):
                note_away(*found)
            raise


def _away_by(error: Exception) -> tuple[str, float] | None:
    """Why the Hub is away, and for how many seconds to remember it, when that is what the error says. Not so when the Hub
    refuses something, such as one gated repository: that says nothing about others."""
    from lmeff.hub.client import Unavailable, asking

    try:
        with asking():
            raise error
    except Unavailable as away:
        if away.is_rejected:
            return None
        return str(away), (away.wait_seconds or _TROUBLED_SECONDS) if away.is_answer else _REMEMBERED_SECONDS
    except Exception:
        return None
