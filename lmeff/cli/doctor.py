"""`lmeff doctor`: what this machine has and lacks."""

import argparse

SUMMARY = "what this machine has, what is missing, and how to get it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    from lmeff.cli.machine_report import print_report

    return print_report()
