"""Which corpora are known by name, and what a user's own description adds."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lmeff.errors import InputError
from lmeff.recipe.schema import Corpus

_DESCRIPTION = {"title", "source", "licence", "needs", "files"}
_SETTINGS = {"paths", "dev_paths", "text", "separator", "clean", "dev_share"}
_SETTINGS |= {"min_words", "max_words", "deduplicate", "decontaminate"}


def named_corpora() -> dict[str, dict[str, Any]]:
    """Descriptions of the corpora that lmeff knows, by name."""
    folder = files("lmeff.corpora") / "named"
    entries = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name
    )
    return {entry.name.removesuffix(".yaml"): yaml.safe_load(entry.read_text(encoding="utf-8")) for entry in entries}


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"corpus.file: {path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"corpus.file: {path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(description, dict):
        raise InputError(f"corpus.file: {path}: must be a mapping of settings such as 'paths: [FILE]'")
    unknown = sorted(set(map(str, description)) - _DESCRIPTION - _SETTINGS)
    if unknown:
        raise InputError(
            f"corpus.file: {path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_DESCRIPTION | _SETTINGS))}"
        )
    return description


def complete(corpus: Corpus) -> Corpus:
    """The recipe's corpus section with the settings of its description filled in. What the recipe says wins.

    Raises InputError when the corpus has no text to read.
    """
    if corpus.file:
        description = _read_description(Path(corpus.file))
    else:
        description = named_corpora().get(corpus.name, {})
    settings = {
        key: value for key, value in description.items() if key in _SETTINGS and key not in corpus.model_fields_set
    }
    try:
        corpus = Corpus.model_validate(corpus.model_dump(exclude_unset=True) | settings)
    except ValueError as error:
        raise InputError(f"corpus.file: {corpus.file}: {' '.join(str(error).split())}") from None
    if corpus.name == "synthetic" and not corpus.paths:
        return corpus
    if not corpus.paths:
        known = named_corpora()
        if corpus.name in known:
            raise InputError(
                f"corpus.paths: corpus {corpus.name!r} is not downloaded by lmeff; give it {known[corpus.name]['needs']}"
            )
        raise InputError(
            f"corpus.paths: corpus {corpus.name!r} has no text; set corpus.paths or corpus.file,"
            f" or name one of {', '.join(known)}"
        )
    return corpus
