"""No Prefect, so no server of it."""

from contextlib import nullcontext as prefect_api

__all__ = ["prefect_api"]
