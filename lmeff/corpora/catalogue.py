"""Which corpora are known by name, and what a user's own description adds."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lmeff.errors import InputError
from lmeff.files import load_yaml, not_utf8
from lmeff.recipe.input_paths import resolve_description, where_looked
from lmeff.recipe.sections.corpus import DESCRIPTION, Corpus, MixedSource, TextSource
from lmeff.recipe.wording import did_you_mean

_OF_ONE_RECIPE = {"name", "file", "track", "epochs", "synthetic"}
_SETTINGS = set(Corpus.model_fields) - _OF_ONE_RECIPE
_PLACE = ("paths", "hub", "revision", "files", "config")
_LAYOUT = ("text", "separator", "begins", "join")


def named_corpora() -> dict[str, dict[str, Any]]:
    """Descriptions of the corpora that lmeff knows, by name."""
    folder = files("lmeff.corpora") / "named"
    entries = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name
    )
    return {entry.name.removesuffix(".yaml"): load_yaml(entry.read_text(encoding="utf-8")) for entry in entries}


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"corpus.file: {path}: no such file{where_looked(str(path))}") from None
    except UnicodeDecodeError:
        raise InputError(f"corpus.file: {not_utf8(path)}") from None
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"corpus.file: {path}: not readable as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(description, dict):
        raise InputError(f"corpus.file: {path}: must be a mapping of settings such as 'paths: [FILE]'")
    unknown = sorted(set(map(str, description)) - DESCRIPTION - _SETTINGS)
    if unknown:
        raise InputError(
            f"corpus.file: {path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(DESCRIPTION | _SETTINGS))}"
        )
    try:
        resolve_description(description, str(path))
    except InputError as error:
        raise InputError(f"corpus.file: {path}: {error}") from None
    return description


def describe(corpus: Corpus) -> dict[str, Any]:
    """The description that a corpus section stands on: its `file`, else the named corpus, else nothing."""
    if corpus.file:
        return _read_description(Path(corpus.file))
    return named_corpora().get(corpus.name, {})


def _merged(described: dict[str, Any], said: dict[str, Any], forget: tuple[str, ...]) -> dict[str, Any]:
    """What the recipe says over what the description does; text from another place does not keep settings of the first."""
    if said.get("paths") or said.get("hub") or said.get("sources"):
        described = {key: value for key, value in described.items() if key not in forget}
    return described | said


def complete(corpus: Corpus) -> Corpus:
    """The recipe's corpus section with the settings of its description filled in. What the recipe says wins.

    Raises InputError when the description is not one.
    """
    described = {key: value for key, value in describe(corpus).items() if key in _SETTINGS}
    # A recipe that was written out whole also names what has its default; a null, though, is somebody's word.
    said = {
        key: value
        for key, value in corpus.model_dump(exclude_unset=True).items()
        if value is None or value != Corpus.model_fields[key].default
    }
    if "sources" in described:
        known, chosen = described.pop("sources"), said.get("sources") or {}
        if not (said.get("paths") or said.get("hub")):
            said["sources"] = {
                name: _merged(known.get(name, {}), chosen.get(name, {}), _PLACE + _LAYOUT)
                for name in [*known, *(name for name in chosen if name not in known)]
            }
    try:
        return Corpus.model_validate(_merged(described, said, (*_PLACE, "dev_files")))
    except ValidationError as error:
        where = f"corpus.file: {corpus.file}" if corpus.file else f"corpus {corpus.name!r}"
        wrong = [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        raise InputError(*(f"{where}: {key}: {text}".replace(": : ", ": ") for key, text in wrong)) from None


def sources_of(corpus: Corpus) -> dict[str, MixedSource]:
    """The sources of a completed corpus by name; a corpus without `sources` is one, under the empty name. What a source leaves
    open is as the corpus says."""
    if not corpus.sources:
        return {"": shared_settings(corpus)}
    shared = shared_settings(corpus).model_dump(exclude=set(_PLACE), exclude_unset=True)
    sources = {
        name: MixedSource.model_validate(shared | source.model_dump(exclude_unset=True))
        for name, source in corpus.sources.items()
    }
    if any(source.weight for source in sources.values()):
        return {name: source for name, source in sources.items() if source.weight != 0}
    return sources


def shared_settings(corpus: Corpus) -> MixedSource:
    """What the corpus section itself says of its text."""
    return MixedSource.model_validate(corpus.model_dump(include=set(TextSource.model_fields), exclude_unset=True))


def has_place(corpus: Corpus) -> bool:
    """Whether a completed corpus says where its text is."""
    return bool(corpus.paths or corpus.hub or corpus.sources)


def check_place(corpus: Corpus) -> None:
    """Raises InputError for a corpus of which nobody says where its text is, and for a track that there is not."""
    download, corpus = describe(corpus).get("download"), complete(corpus)
    if corpus.name == "synthetic" or has_place(corpus):
        if corpus.track and not download:
            raise without_tracks(corpus)
        return
    if not download:
        raise nowhere(corpus)
    tracks = download.get("tracks") if isinstance(download, dict) else None
    if isinstance(tracks, dict) and corpus.track not in tracks:
        said = f"{corpus.track!r} is not" if corpus.track else "must be"
        raise InputError(f"corpus.track: {said} one of {', '.join(map(str, tracks))}; or give the text as corpus.paths")


def without_tracks(corpus: Corpus) -> InputError:
    """What to say of a track of a corpus that has none."""
    return InputError(f"corpus.track: corpus {corpus.name!r} has no tracks; leave it out, or say track: null")


def nowhere(corpus: Corpus) -> InputError:
    """What to say of a corpus without text."""
    known = named_corpora()
    if corpus.name in known and "needs" in known[corpus.name]:
        return InputError(f"corpus.paths: corpus {corpus.name!r} needs {known[corpus.name]['needs']}")
    others = did_you_mean(corpus.name, known) or f"; there are {', '.join(known)}"
    return InputError(
        f"corpus.paths: corpus {corpus.name!r} has no text{others} (one of your own: corpus.paths, corpus.hub or corpus.file)"
    )
