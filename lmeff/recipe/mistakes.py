"""What is wrong with a recipe, in words: pydantic's errors as one line each, with what was probably meant."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.corpus import DESCRIPTION
from lmeff.recipe.sections.model import Model, all_fields, section_of
from lmeff.recipe.sections.training import allowed_fields, is_known, refusal
from lmeff.recipe.wording import as_requirement, did_you_mean, join_with_or, nearest, one_line, show
from lmeff.recipe.yaml_lines import COMMAND_LINE, KeyPath, Mark, Mistake

_WORDS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list such as [a, b]",
    "dict_type": "must be a section with keys under it",
    "model_type": "must be a section with keys under it",
    "model_attributes_type": "must be a section with keys under it",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} items",
    "too_long": "takes at most {max_length} items",
}
_SYNONYMS = {
    "lr": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "batch_size": "batch.tokens",
    "batch.size": "batch.tokens",
    "seq_len": "batch.sequence_length",
    "seq_length": "batch.sequence_length",
    "block_size": "batch.sequence_length",
    "vocab": "tokenizer.vocab_size",
    "num_layers": "model.num_hidden_layers",
    "num_heads": "model.num_attention_heads",
    "dataset": "corpus.name",
}


def section_fields(root: type[BaseModel] = Recipe) -> dict[str, dict[str, FieldInfo]]:
    """The fields of every section by its dotted name; `""` is the top of the recipe."""
    return dict(_sections("", root))


def _sections(name: str, model: type[BaseModel]) -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    fields = all_fields() if model is Model else model.model_fields
    yield name, fields
    for key, field in fields.items():
        inner = () if get_origin(field.annotation) is dict else get_args(field.annotation)
        for kind in (field.annotation, *inner):
            # In a mapping of sections the user chooses the names.
            below = ".NAME" if get_origin(kind) is dict else ""
            for section in get_args(kind) if below else (kind,):
                if isinstance(section, type) and issubclass(section, BaseModel):
                    yield from _sections(f"{name}.{key}{below}".lstrip("."), section)


def dotted_names(root: type[BaseModel] = Recipe) -> list[str]:
    """Every key a recipe may have, with its sections: `optimizer.learning_rate`."""
    names = [f"{section}.{key}".lstrip(".") for section, fields in section_fields(root).items() for key in fields]
    return names + [f"training.{name}" for name in allowed_fields() if root is Recipe]


def mistakes_of(
    error: ValidationError, values: dict[str, Any], marks: dict[KeyPath, Mark], root: type[BaseModel] = Recipe
) -> list[Mistake]:
    """Pydantic's errors as mistakes. Several errors of one key, one for each branch of a union, become one mistake.

    `values` are what pydantic was given, `root` the model that they should be of.
    """
    texts: dict[KeyPath, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = _path_of(detail, values)
        text = _explain(detail, path, marks, root, values)
        if text not in texts.setdefault(path, []):
            texts[path].append(text)
    # `modle: {...}` is one mistake: the unknown key is reported, not also the missing `model`.
    meant = {text.partition("did you mean '")[2].partition("'")[0] for of_key in texts.values() for text in of_key}
    return [
        Mistake(path, _join(of_key) + _null_hint(path, values, root))
        for path, of_key in texts.items()
        if not (of_key[0].startswith("missing") and path[-1] in meant)
    ]


def _path_of(detail: ErrorDetails, values: Any) -> KeyPath:
    """The keys of an error's location as far as they exist in the values; what follows them names branches of a union."""
    path: list[str] = []
    location = detail["loc"]
    for index, part in enumerate(location):
        inside = values[part] if _has(values, part) else None
        if not _has(values, part):
            if detail["type"] == "missing" and index == len(location) - 1:
                path.append(str(part))
            break
        path.append(str(part))
        values = inside
    first_word = str(detail.get("ctx", {}).get("error", "")).partition(" ")[0]
    if isinstance(values, dict) and first_word in values:  # the message of a section's validator begins with the key
        path.append(first_word)
    return tuple(path)


def _null_hint(path: KeyPath, values: Any, root: type[BaseModel]) -> str:
    """How nothing is written, where `None` was written for a key that may be null."""
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    field = section_fields(root).get(".".join(path[:-1]), {}).get(path[-1]) if path else None
    may_be_null = field is not None and type(None) in get_args(field.annotation)
    return "; nothing is written null" if values in ("None", "none") and may_be_null else ""


def _has(values: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(values, list) and part < len(values)
    return isinstance(values, dict) and part in values


def _explain(
    detail: ErrorDetails, path: KeyPath, marks: dict[KeyPath, Mark], root: type[BaseModel], values: dict[str, Any]
) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    match kind:
        case "missing":
            section = ".".join(path[:-1])
            return f"missing; the section '{section}:' needs it" if section else "missing; every recipe needs it"
        case "extra_forbidden":
            return f"unknown key{_suggest(path, marks.get(path), root, values)}"
        case "literal_error":
            choices = context["expected"]
            near = did_you_mean(value, re.findall("'([^']*)'", choices)) if isinstance(value, str) else ""
            return f"must be {choices}, not {show(value)}{near}"
        case "value_error":
            text = as_requirement(context["error"], value)
            # The message of a section's validator begins with the key, which the line gives before the text anyway.
            return text.removeprefix(f"{path[-1]} ") if isinstance(value, dict) and path else text
    words = _WORDS.get(kind)
    if words is None:
        return one_line(detail["msg"])
    text = words.format(**context)
    if kind == "too_short" and context["min_length"] == 1:
        return "must not be empty"
    if kind in ("too_short", "too_long"):
        return f"{text}, not {context['actual_length']}"
    return f"{text}, not {show(value)}{_hint(kind, value, marks.get(path))}"


def _hint(kind: str, value: Any, mark: Mark | None) -> str:
    written = one_line(mark.text if mark and mark.text is not None else value, 60)
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'; write "{written}" with the quotes'
    if kind == "list_type" and isinstance(value, str | int | float) and not isinstance(value, bool):
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
        return f"; write [{', '.join(parts) if len(parts) > 1 else written}]"
    if kind in ("dict_type", "model_type", "model_attributes_type") and value is None:
        return ": put keys under it, or remove it"
    return ""


def _join(texts: list[str]) -> str:
    """`must be A, not X` and `must be B, not X` as `must be A or B, not X`."""
    halves = [text.removeprefix("must be ").rpartition(", not ") for text in texts]
    if (
        len(texts) > 1
        and all(text.startswith("must be ") for text in texts)
        and len({tail for *_, tail in halves}) == 1
    ):
        return f"must be {' or '.join(expected for expected, *_ in halves)}, not {halves[0][2]}"
    return " or ".join(texts)


def _suggest(path: KeyPath, mark: Mark | None, root: type[BaseModel], values: dict[str, Any]) -> str:
    """What an unknown key probably meant, as the end of a sentence. `values` are those of the whole file."""
    *above, key = path
    section, known = ".".join(above), section_fields(root)
    if root is Recipe and section == "model":
        if key in known[section]:
            return f"; another family has it; known here: {', '.join(section_of(values[section]).model_fields)}"
        known[section] = section_of(values[section]).model_fields
    if root is Recipe and (meant := _SYNONYMS.get(".".join(path)) or _SYNONYMS.get(key)):
        return f"; did you mean '{meant}'?"
    if root is Recipe and section == "corpus" and key in DESCRIPTION:
        return "; belongs into a description of a corpus, named with corpus.file"
    if root is Recipe and (home := _home_of(key)):
        return home
    said = mark.source.removeprefix(COMMAND_LINE).partition("=")[0].strip() if mark and mark.line is None else ""
    fields = known.get(section) or known.get(".".join([*above[:-1], "NAME"]), {})
    if said and not above:  # `optimiser.learning_rate=1`: on the command line the dotted name is one word
        near = did_you_mean(said, dotted_names(root))
    else:
        near = did_you_mean(key, fields, f"{section}." if said else "")
    if not near:  # the right key, spelled wrong, in another section
        homes = {name.rpartition(".")[2]: name for name in reversed(dotted_names(root))}
        if match := nearest(key, homes):
            near = f"; did you mean '{homes[match]}'?"
    return near or f"; known here: {', '.join(fields)}"


def _home_of(key: str) -> str:
    """The end of a sentence that says where a known key belongs; empty for an unknown key, and for one of many sections."""
    homes = [section for section, fields in section_fields().items() if key in fields]
    if 0 < len(homes) < 3:
        return "; belongs " + join_with_or(
            f"under '{home}:'" if home else "at the left margin, in no section" for home in homes
        )
    if is_known(key):
        reason = refusal(key)
        return f"; {reason}" if reason else "; belongs under 'training:'"
    return ""


def as_lines(mistakes: Iterable[Mistake], marks: dict[KeyPath, Mark], sources: list[str], main: str) -> list[str]:
    """`FILE:LINE: KEY: text` of every mistake, in the order of the files and their lines, the command line last.

    A mistake without a line, such as a missing section, is told of the file `main`.
    """
    lines = set()
    for mistake in mistakes:
        mark = mistake.mark or _nearest(mistake.path, marks, main)
        order = sources.index(mark.source) if mark.source in sources else len(sources)
        lines.add((order, mark.line or 0, f"{one_line(mark)}: {_key(mistake.path, mark)}{one_line(mistake.text)}"))
    return [line for *_, line in sorted(lines)]


def _nearest(path: KeyPath, marks: dict[KeyPath, Mark], main: str) -> Mark:
    for length in range(len(path), 0, -1):
        if mark := marks.get(path[:length]):
            return mark
    return Mark(main)


def _key(path: KeyPath, mark: Mark) -> str:
    """The key and a colon; empty where the mark is an override, which names the key already."""
    key = one_line(".".join(path), 120)
    is_in_mark = mark.line is None and mark.source.removeprefix(COMMAND_LINE).partition("=")[0].strip() == key
    return "" if is_in_mark or not key else f"{key}: "
