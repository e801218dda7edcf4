"""`python -m reelbatch`, and the command `reelbatch`."""

from __future__ import annotations

from reelbatch.ctrl_c import end_at_once

end_at_once()  # before anything else: the program itself takes a moment to import

import sys  # noqa: E402 - only now may anything be looked for

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the user's own folder, which `-m` puts first: a `prefect.py` or `flows` there is none of ours

from reelbatch.cli import main  # noqa: E402 - likewise

__all__ = ["main"]

if __name__ == "__main__":
    main()
