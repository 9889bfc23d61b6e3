"""`lmeff VERB`: one file a verb."""

from lmeff.cli.main import main

__all__ = ["main"]
