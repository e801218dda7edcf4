"""`python -m reelbatch`."""

from reelbatch.cli import main

main()
