"""`lmeff lm-eval`: lm-eval's own command line with our model and tasks."""

import argparse

SUMMARY = "lm-eval's own command line with our model and our tasks; its options are lm-eval's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run_words(words: list[str]) -> int:
    """Hands the words on to lm-eval unread."""
    from lmeff.evaluation.command_line import lm_eval

    return lm_eval(words)


def run(_: argparse.Namespace) -> int:
    return run_words([])
