"""The report on tokenizers for people."""

from typing import Any

from lmeff.quantities import format_bytes
from lmeff.text_tables import table_lines

_HEADER = ["", "entries", "tokens", "per word", "bytes each", "whole words", "unknown", "not given back"]
_LEGEND = """\
entries: of the vocabulary; per word: tokens per word (fertility), a word being what white space divides;
bytes each: bytes of text per token; whole words: words that are one token; unknown: tokens for what the vocabulary lacks;
not given back: documents that decoding does not give back (after NFKC, where a tokenizer normalizes)"""


def format_report(report: dict[str, Any]) -> str:
    """What `lmeff tokenizer` prints: for every domain and for all of them a table with a line for each tokenizer."""
    lines = [f"held-out text of {report['corpus']}"]
    texts = report["text"]["domains"]
    for domain in texts:
        rows = [_row(one, one["domains"][domain]) for one in report["tokenizers"]]
        lines += ["", _title(domain, texts[domain]), *table_lines([_HEADER, *rows], indent="  ")]
    rows = [_row(one, one["all"]) for one in report["tokenizers"]] if len(texts) > 1 else []
    if rows:
        lines += ["", _title("all together", report["text"]["all"]), *table_lines([_HEADER, *rows], indent="  ")]
    return "\n".join([*lines, "", _LEGEND])


def _title(name: str, text: dict[str, int]) -> str:
    size, all_of_it = text["num_bytes"], text["num_bytes_held_out"]
    cut = f", the first of {format_bytes(all_of_it)}" if size < all_of_it else ""
    return f"{name}: {text['num_documents']:,} documents, {text['num_words']:,} words, {format_bytes(size)}{cut}"


def _row(tokenizer: dict[str, Any], figures: dict[str, Any]) -> list[str]:
    return [
        tokenizer["name"],
        f"{tokenizer['vocab_size']:,}",
        f"{figures['num_tokens']:,}",
        _decimals(figures["fertility"]),
        _decimals(figures["bytes_per_token"]),
        _percent(figures["single_token_words"]),
        _unknown(figures),
        f"{figures['num_documents_not_given_back']:,}",
    ]


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _unknown(figures: dict[str, Any]) -> str:
    count = figures["num_unknown_tokens"]
    return f"{count:,} ({figures['unknown_tokens']:.1%})" if count else "0"
