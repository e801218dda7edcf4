"""Settings that are mappings, where the environment states them."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource


class JsonVariables(EnvSettingsSource):
    """A mapping in the environment is JSON, and completes that of the config file."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """What is no JSON is left to `from_json`, whose complaint stands among the others."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


def from_json(stated: Any) -> Any:
    """A mapping, or why a text is none."""
    if not isinstance(stated, str):
        return stated
    try:
        return json.loads(stated)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is neither a mapping nor JSON of one ({error})") from None
