"""The tables of keys on the pages about recipes."""

from typing import get_args

from pydantic.fields import FieldInfo

from lmeff.recipe.wording import show


def field_tables(sections: dict[str, dict[str, FieldInfo]]) -> str:
    """A table for every section: key, default, meaning."""
    parts = []
    for section, fields in sections.items():
        rows = []
        for key, field in fields.items():
            name = f"{section}.{key}".lstrip(".")
            shared = sections["corpus"].get(key) if section == "corpus.sources.NAME" and key != "epochs" else None
            if name in sections or (shared and shared.description == field.description):
                continue
            meaning = " ".join((field.description or "").split())
            choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
            if len(choices) > 1:
                meaning = f"{meaning} One of {', '.join(f'`{choice}`' for choice in choices)}.".strip()
            rows.append(f"| `{name}` | {_default(field)} | {meaning} |\n")
        parts.append(f"| key | default | meaning |\n|---|---|---|\n{''.join(rows)}")
    return "\n".join(parts)


def _default(field) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None else f"`{value if isinstance(value, str | list | dict) else show(value)}`"
