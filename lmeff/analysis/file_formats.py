"""What the ending of a file's name says of what is written into it. Nothing heavy is imported here."""

from pathlib import Path

from lmeff.errors import InputError

ENDINGS = (".png", ".svg", ".pdf")
"""Of figures."""
PAGE_ENDINGS = (".html", ".htm")
TABLE_FORMS = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".md": "markdown", ".tex": "latex"}
"""Of tables, and what is written."""


def table_form(output: Path) -> str:
    """A form of `TABLE_FORMS`. Raises InputError for a file that cannot be written where, or as, its name says."""
    if output.is_dir():
        raise InputError(f"{output}: a folder; name a file in it, such as {output / 'curves.csv'}")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}")
    if output.suffix.lower() not in TABLE_FORMS:
        raise InputError(
            f"{output}: the ending says what is written: {', '.join(TABLE_FORMS)}; {output.suffix or 'no ending'} is none of"
            " them"
        )
    return TABLE_FORMS[output.suffix.lower()]


def check_output(output: Path, figure: str | None) -> None:
    """Raises InputError for a file that cannot be written where, or as, its name says."""
    place = next(path for path in output.absolute().parents if path.exists())
    if not place.is_dir():
        raise InputError(f"{output}: {place.name} is a file, not a folder")
    ending = output.suffix.lower()
    is_page = output.is_dir() or ending in PAGE_ENDINGS
    if not is_page and ending not in ENDINGS:
        raise InputError(
            f"{output}: the ending says what is written: .html a page, .png or .svg a figure, .pdf all figures; "
            f"{ending or 'no ending'} is none of them"
        )
    if is_page and figure is not None:
        raise InputError(f"--figure {figure}: a page holds all figures; name a .png, .svg or .pdf with -o")
