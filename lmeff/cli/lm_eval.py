"""`lmeff lm-eval`: lm-eval's own command line with our model and tasks."""

import argparse

SUMMARY = "lm-eval's own command line with our model and our tasks; its options are lm-eval's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(_: argparse.Namespace) -> int:
    from lmeff.evaluation.command_line import lm_eval

    return lm_eval([])  # with options the command line hands them on unread
