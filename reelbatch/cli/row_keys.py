"""The keys of rows that a command names."""

from __future__ import annotations

from pathlib import Path

from reelbatch.errors import SettingsError
from reelbatch.typed_options import parted


def keys_of(stated: str | None, file: Path | None) -> tuple[str, ...] | None:
    """The keys that `--rows` and `--rows-from` name; None where neither was given.

    Raises:
        SettingsError: the file can't be read, or no key is named.
    """
    if stated is None and file is None:
        return None
    keys = parted(stated or "")
    if file is not None:
        try:
            keys += [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(
                f"--rows-from {file}: can't be read: {why}. Give a UTF-8 text with one key a line."
            ) from error
    if not any(keys):
        raise SettingsError(
            "--rows names no row; for example: A-1,A-2" if file is None else f"--rows-from {file}: names no row"
        )
    return tuple(dict.fromkeys(key for key in keys if key))
