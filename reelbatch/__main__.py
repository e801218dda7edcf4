"""`python -m reelbatch`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the user's own folder, which `-m` puts first: a `prefect.py` or `flows` there is none of ours

from reelbatch.cli import main

main()
