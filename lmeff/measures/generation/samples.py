"""What `lmeff generate` shows of the texts that a model wrote."""

import json
from pathlib import Path

_NUM_SHOWN = 3
_WIDTH = 116


def shown_texts(model: str, texts: Path) -> list[str]:
    """Lines with the first text after each of a few prompts, one a line, and the file that holds all of them."""
    shown: dict[str, dict] = {}
    num_texts = 0
    with open(texts, encoding="utf-8") as file:
        for line in file:
            num_texts += 1
            if len(shown) < _NUM_SHOWN:
                record = json.loads(line)
                shown.setdefault(record["prompt"], record)
    lines = [f"{model} writes, for example:"]
    for prompt, record in shown.items():
        prompt, text = _plain(prompt), _plain(record["text"])
        whole = f"  {prompt} |{text if text[:1].isspace() or not text else ' ' + text}"
        lines.append(whole if len(whole) <= _WIDTH else whole[: _WIDTH - 3] + "...")
    return [*lines, f"all {num_texts:,} texts: {texts}"]


def _plain(text: str) -> str:
    """On one line, without what a terminal would take for a command."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )
