"""`lmeff schema`: the JSON schema of recipes."""

import argparse

SUMMARY = "print the JSON schema of recipes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> None:

    from lmeff.cli.starter_files import schema_text

    print(schema_text(), end="")
