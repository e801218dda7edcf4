"""The command line."""

from reelbatch.cli.app import main

__all__ = ["main"]
