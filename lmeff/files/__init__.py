"""Writing so that nothing half-written is ever read: write aside, fsync, rename. And reading text that people hand in."""

from lmeff.files.folders import (
    MANIFEST,
    bring_back,
    describe_files,
    has_manifest,
    new_folder,
    sha256_file,
    unfinished_folder,
    usable_folder,
)
from lmeff.files.reading import load_yaml, not_utf8, parse_json, read_json, text_lines
from lmeff.files.writing import locked, remove_leftovers, write_bytes, write_json, write_new_bytes, write_text

__all__ = [
    "MANIFEST",
    "bring_back",
    "describe_files",
    "has_manifest",
    "load_yaml",
    "locked",
    "new_folder",
    "not_utf8",
    "parse_json",
    "read_json",
    "remove_leftovers",
    "sha256_file",
    "text_lines",
    "unfinished_folder",
    "usable_folder",
    "write_bytes",
    "write_json",
    "write_new_bytes",
    "write_text",
]
