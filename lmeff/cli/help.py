"""How `lmeff` shows its verbs, and what it says to words that it does not know: one line."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NoReturn

from lmeff.environment import set_numerics_aside
from lmeff.errors import EXIT_INPUT, InputError
from lmeff.library_internals import options_of, subparsers_of
from lmeff.shipped import shipped_names

GROUPS = {
    "train": ("train", "sweep", "plan", "init", "schema", "probe", "status"),
    "text": ("corpora", "prepare", "tokenizer"),
    "score models": ("eval", "perplexity", "generate", "finetune", "weights", "profile", "tasks", "lm-eval"),
    "learning curves": ("curves", "predict", "compare", "report"),
    "the Hub": ("publish", "verify"),
    "this machine": ("doctor",),
}
"""All verbs, in the order in which `lmeff --help` shows them; each is a module of this folder (`lm-eval`: `lm_eval`)."""

_COMPUTING = ("eval", "perplexity", "generate", "finetune", "weights", "profile", "lm-eval", "verify", "probe", "plan")
"""Verbs that compute with a model in this process. What `train` starts settles its environment by its recipe."""

_OTHER_WORDS = {
    "run": "train",
    "launch": "train",
    "fit": "train",
    "pretrain": "train",
    "new": "init",
    "score": "eval",
    "test": "eval",
    "data": "corpora",
    "plot": "report",
    "ppl": "perplexity",
    "sample": "generate",
    "push": "publish",
    "upload": "publish",
    "check": "doctor",
}
"""What other tools call a verb."""


_SIMILARITY = 0.7
"""Of a wrong option and the one that was meant; `--bogus` and `--gpu` have less."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of all options. The parsers of its verbs are of this class, too."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INPUT, f"{self.prog}: {message}{self._meant(message)} ({self.prog} --help)\n")

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _meant(self, message: str) -> str:
        if not message.startswith("unrecognized arguments: -"):
            return ""
        near = get_close_matches(message.split()[2].split("=")[0], options_of(self), 1, _SIMILARITY)
        return f"; did you mean {near[0]}?" if near else ""


def grouped_verbs(summaries: Mapping[str, str]) -> str:
    """The verbs with what they do, by group; one that no group names comes last."""
    grouped = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "others": tuple(name for name in summaries if name not in grouped)}
    width = max(map(len, summaries))
    parts = []
    for title, names in groups.items():
        rows = [f"  {name:{width}}  {summaries[name]}" for name in names if name in summaries]
        parts += ["\n".join([f"{title}:", *rows])] if rows else []
    return "\n\n".join([*parts, "lmeff VERB --help says what a verb takes."])


def settle_environment(words: Sequence[str]) -> None:
    """Before torch is imported by a verb that computes: says what of the environment is not used."""
    if words and words[0] in _COMPUTING:
        for note in set_numerics_aside():
            print(note, file=sys.stderr, flush=True)


def options_anywhere(parser: argparse.ArgumentParser) -> None:
    """Lets options stand between the paths of a verb: argparse wants all positional arguments side by side. For options with at
    most one value."""
    parse = parser.parse_known_args

    def parse_known_args(args: list[str], namespace: argparse.Namespace | None = None):
        options: list[str] = []
        others: list[str] = []
        words = iter(args)
        for word in words:
            if word == "--":
                others += words
            elif word.startswith("-") and word != "-":
                options.append(word)
                if _takes_value(parser, word):
                    options += [value for value in [next(words, None)] if value is not None]
            else:
                others.append(word)
        return parse([*options, *(["--"] if others else []), *others], namespace)

    parser.parse_known_args = parse_known_args


def _takes_value(parser: argparse.ArgumentParser, word: str) -> bool:
    """Whether the value of an option, which may be shortened, is the next word."""
    known = options_of(parser)
    near = (
        [known[word]] if word in known else [known[name] for name in known if name.startswith(word) and word[1] == "-"]
    )
    return bool(near) and near[0].nargs != 0


def check_verb(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Raises InputError for a first word that is no verb, with the one that was probably meant."""
    if not words:
        parser.print_help()
        raise SystemExit(EXIT_INPUT)
    verbs = subparsers_of(parser)
    word = words[0]
    if word == "help":
        if words[1:]:
            check_verb(parser, words[1:])
        verbs.get(words[1] if words[1:] else word, parser).print_help()
        raise SystemExit(0)
    if word.startswith("-") or word in verbs:
        return
    if word.endswith((".yaml", ".yml")) or word in shipped_names("recipes"):
        raise InputError(f"lmeff: a verb is missing; did you mean: lmeff train {word}?")
    near = [_OTHER_WORDS[word]] if word in _OTHER_WORDS else get_close_matches(word, verbs, 1, 0.5)
    raise InputError(
        f"lmeff: {word!r} is no verb" + (f"; did you mean '{near[0]}'?" if near else "") + " (lmeff --help)"
    )
