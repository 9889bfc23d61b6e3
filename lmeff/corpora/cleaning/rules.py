"""Cleaning by domain: small named rules from text to text, each counted.

A cleaner is a list of rules that see one document after the other and never join two. What a domain of the BabyLM corpora needs
follows its cleaning scripts (Samuel 2023, Timiryasov & Tastet 2023) where these do what they mean to do.
"""

import difflib
import re
from collections.abc import Callable, Sequence

from lmeff.errors import InputError

Rule = Callable[[str], str]

_SPACES = re.compile(r"[ \t\u00a0]+")
_SPACE_BEFORE = re.compile(r"(?<=\w) +([.,;!?])(?=[\s\"'\u201d\u2019)]|$)")
_MANY_BREAKS = re.compile(r"\n{3,}")


def spaces(text: str) -> str:
    """One space for several, none at the ends of lines or before `.,;!?`; at most one empty line."""
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _MANY_BREAKS.sub("\n\n", _SPACE_BEFORE.sub(r"\1", "\n".join(lines)))


_SPEAKER = re.compile(r"^(?:\*[A-Z0-9]{2,4}|[A-Z]):[ \t]+", re.MULTILINE)


def speaker_labels(text: str) -> str:
    """`*MOT:`, `A:` and the like at the beginning of a line."""
    return _SPEAKER.sub("", text)


_CHAT = re.compile(
    r"\[[^\]\n]{0,200}\]|\x15[0-9_]+\x15|(?<![\w&])[&+][~\-=*/.\"\w]+|(?<=\w)@[a-z:]+|<(?=[^<>\n]*>)|(?<!<)>"
)


def chat_codes(text: str) -> str:
    """Annotations of CHILDES' transcription system (CHAT): `[*]`, `&-um`, `+...`, `@b`, `<` and `>` around retraced words."""
    return _CHAT.sub("", text)


_CREDIT = re.compile(
    r"subtitle|(?:sync|correct|caption|translat)\w* by|opensubtitles|www\.|https?://|addic7ed", re.IGNORECASE
)
_TIME = re.compile(r"^\W*(?:\d+|\d\d:\d\d:\d\d[,.]\d+ *-->.*)\W*$")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,100}>|\{\\[^}\n]*\}")


def subtitle_lines(text: str) -> str:
    """Credits, numbers and times on lines of their own, and mark-up such as `<i>`."""
    lines = (_TAG.sub("", line) for line in text.split("\n"))
    return "\n".join(line for line in lines if not _CREDIT.search(line) and not (line.strip() and _TIME.match(line)))


_HEADING = re.compile(r"^[ \t]*(?:= ?){1,6}(?P<title>[^=\n]+?)(?: ?=){1,6}[ \t]*$", re.MULTILINE)
_REFERENCE = re.compile(r"\[(?:\d{1,3}|[a-z]|citation needed|edit)\]")


def wiki_headings(text: str) -> str:
    """`= = Title = =` and `== Title ==` become the title."""
    return _HEADING.sub(lambda found: found["title"].strip(), text)


def wiki_references(text: str) -> str:
    """`[1]`, `[a]`, `[citation needed]`."""
    return _REFERENCE.sub("", text)


_WIKITEXT = re.compile(r" @([-,.])@ ")
_BEFORE_MARK = re.compile(r" +([.,;:!?)\]%]|'s\b|n't\b|'(?:re|ve|ll|d|m)\b)")
_AFTER_MARK = re.compile(r"([(\[$£]) +")


def wikitext_tokens(text: str) -> str:
    """WikiText's ` @-@ ` and the spaces that its tokenizer put around marks."""
    return _AFTER_MARK.sub(r"\1", _BEFORE_MARK.sub(r"\1", _WIKITEXT.sub(r"\1", text)))


_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "``": '"', "''": '"'}
_BRACKET = re.compile("|".join(map(re.escape, _BRACKETS)))


def treebank_tokens(text: str) -> str:
    """The Penn Treebank's `-LRB-`, double quotes and split clitics, as in the Children's Book Test."""
    text = _BRACKET.sub(lambda found: _BRACKETS[found[0]], text)
    return _AFTER_MARK.sub(r"\1", _BEFORE_MARK.sub(r"\1", text))


def shouted_lines(text: str) -> str:
    """Lines in capitals (QED's older lectures) get the case of a sentence, and the `l` that stands for `I` becomes one."""
    return "\n".join(_lowered(line) for line in text.split("\n"))


def _lowered(line: str) -> str:
    letters = [letter for letter in re.sub(r"\([^)]*\)", "", line) if letter.isalpha()]
    if len(letters) < 4 or sum(letter.isupper() for letter in letters) < 0.5 * len(letters):
        return line
    line = re.sub(r"(?<=[A-Z])l|l(?=[A-Z])|\bl\b", "I", line)
    line = re.sub(r"(^\W*|[.!?]\s+)(\w)", lambda found: found[1] + found[2].upper(), line.lower())
    return re.sub(r"\bi\b", "I", line)


_START = re.compile(r"\A.{0,20000}?\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]*\n", re.DOTALL)
_END = re.compile(r"\n[^\n]*\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG.*\Z", re.DOTALL)


def gutenberg_frame(text: str) -> str:
    """What Project Gutenberg puts before and after a book."""
    return _END.sub("", _START.sub("", text))


_ILLUSTRATION = re.compile(r"\[(?:Illustration|Footnote|Sidenote|Transcriber)[^\]]{0,500}\]")
_UNDERSCORES = re.compile(r"(?<!\w)_([^_\n]{1,200})_(?!\w)")


def gutenberg_marks(text: str) -> str:
    """`[Illustration]`, `[Footnote ...]` and the underscores of `_italics_`."""
    return _UNDERSCORES.sub(r"\1", _ILLUSTRATION.sub("", text))


# Quotation marks, dashes, the ellipsis and some letters.
_MOJIBAKE = {
    mark.encode().decode("cp1252"): mark for mark in "\u2018\u2019\u201c\u2013\u2014\u2026\u00e9\u00e8\u00e1\u00f1"
}
_MOJIBAKE |= {"\u00e2\u20ac\u009d": "\u201d", "\u00c2\u00a0": " ", "\u00c2 ": " "}
_MOJIBAKE_PATTERN = re.compile("|".join(map(re.escape, _MOJIBAKE)))


def misread_bytes(text: str) -> str:
    """Marks of UTF-8 that was once read as Windows-1252, three characters for one quotation mark."""
    return _MOJIBAKE_PATTERN.sub(lambda found: _MOJIBAKE[found[0]], text)


_BOILERPLATE = re.compile(
    r"^\W*(?:accept (?:all )?cookies|we use cookies|this (?:web)?site uses cookies|sign up (?:for|to)|subscribe (?:to|now)|"
    r"click here|read more|share this|follow us|all rights reserved|copyright ©?|skip to (?:main )?content|javascript is)",
    re.IGNORECASE,
)


def web_boilerplate(text: str) -> str:
    """Lines of cookies, subscriptions and links, and a line that repeats the one before."""
    kept: list[str] = []
    for line in text.split("\n"):
        if (_BOILERPLATE.match(line) and len(line) < 200) or (line.strip() and kept and line == kept[-1]):
            continue
        kept.append(line)
    return "\n".join(kept)


CLEANERS: dict[str, tuple[Rule, ...]] = {
    "none": (),
    "spaces": (spaces,),
    "childes": (speaker_labels, chat_codes, spaces),
    "bnc_spoken": (spaces,),
    "gutenberg": (gutenberg_frame, gutenberg_marks, spaces),
    "open_subtitles": (subtitle_lines, spaces),
    "simple_wiki": (wiki_headings, wiki_references, spaces),
    "wikipedia": (wiki_headings, wiki_references, spaces),
    "wikitext": (wiki_headings, wikitext_tokens, spaces),
    "qed": (shouted_lines, spaces),
    "switchboard": (speaker_labels, spaces),
    "cbt": (treebank_tokens, spaces),
    "children_stories": (spaces,),
    "tinystories": (misread_bytes, spaces),
    "web": (misread_bytes, web_boilerplate, spaces),
}
"""What a domain's text goes through, in order. A recipe names one for each domain in `corpus.clean`."""


CLEANING_VERSION = 1
"""Raised whenever a cleaner would make another text of the same one."""


def check_cleaners(clean: str | dict[str, str] | None) -> None:
    """Raises InputError for a cleaner that there is not."""
    names = [clean] if isinstance(clean, str) else list((clean or {}).values())
    if unknown := [name for name in names if name not in CLEANERS]:
        near = difflib.get_close_matches(unknown[0], CLEANERS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"corpus.clean: {unknown[0]!r} is none of {', '.join(CLEANERS)}{hint}")


class Cleaning:
    """Cleans documents by their domain and counts, by domain and rule, how many documents it changed and how many characters
    it took away."""

    def __init__(self, clean: str | dict[str, str] | None) -> None:
        self._clean = clean
        self.counts: dict[str, dict[str, dict[str, int]]] = {}

    def rules(self, domain: str) -> Sequence[Rule]:
        name = self._clean if isinstance(self._clean, str) else (self._clean or {}).get(domain, "none")
        return CLEANERS[name]

    def __call__(self, text: str, domain: str) -> str:
        for rule in self.rules(domain):
            after = rule(text)
            if after != text:
                count = self.counts.setdefault(domain, {}).setdefault(rule.__name__, {"documents": 0, "characters": 0})
                count["documents"] += 1
                count["characters"] += len(text) - len(after)
            text = after
        return text.strip()
