"""Which commit a name of the Hub is now, for a message that asks for it. Where neither network nor cache knows, none."""

from functools import lru_cache

_ASK_SECONDS = 5.0


@lru_cache
def commit_now(repository: str, revision: str) -> str:
    """`; ...` with how to name what this branch or tag is today: as the Hub says, or else as it was when it was last fetched.
    Empty where neither is known, and for what cannot be a name on the Hub. Asked once, however many recipes name it."""
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().model_info(repository, revision=revision, timeout=_ASK_SECONDS)
        return f"; today it is {repository}@{info.sha}"
    except Exception:  # no Hub, no such repository, no right to see it: the message stands without
        pass
    try:
        fetched = huggingface_hub.try_to_load_from_cache(repository, "config.json", revision=revision)
    except ValueError:  # no name on the Hub
        return ""
    return (
        f"; when it was last fetched it was {repository}@{fetched.split('/')[-2]}" if isinstance(fetched, str) else ""
    )
