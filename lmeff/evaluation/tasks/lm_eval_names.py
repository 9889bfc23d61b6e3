"""The names of lm-eval's own tasks, from its files: lm-eval itself takes seconds to import and to index them."""

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

_NAMED = re.compile(rb"^[\s-]*(?:task|group|tag)\s*:\s*[\"']?([\w./@-]+)", re.MULTILINE)


def certainly_unknown(names: Iterable[str], include_path: str | None = None) -> tuple[list[str], set[str]]:
    """Those of `names` that stand in no task file of lm-eval or of `include_path`, so that lm-eval cannot know them; and the
    names that do stand there, to guess from. Takes half a second."""
    left = {name: re.compile(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)") for name in names}
    written: set[str] = set()
    for path in _task_files(include_path):
        text = path.read_bytes()
        written.update(name.decode() for name in _NAMED.findall(text))
        left = {name: pattern for name, pattern in left.items() if not pattern.search(text)}
    return list(left), written


def _task_files(include_path: str | None) -> Iterable[Path]:
    package = find_spec("lm_eval")
    places = [os.path.join(place, "tasks") for place in package.submodule_search_locations or ()] if package else []
    for place in [*places, *([include_path] if include_path else [])]:
        for folder, _, files in os.walk(place):
            yield from (Path(folder, file) for file in files if file.endswith((".yaml", ".yml")))
