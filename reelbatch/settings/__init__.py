"""All settings. They are built once, at the edge."""

from reelbatch.settings.settings import (
    LIVE_URL,
    Settings,
    api_of,
    is_loopback,
    load_settings,
    may_hold_secret,
    typed_results,
)

__all__ = ["LIVE_URL", "Settings", "api_of", "is_loopback", "load_settings", "may_hold_secret", "typed_results"]
