"""The key in what the API says: masked before anything is read of it, so that no table, file or log has it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import SecretStr

from reelbatch.errors import UnusableKey

_MASK = "[the API key]"
_SECRET_LENGTH = 12
_MAY_BE_SPELT_OTHERWISE = (b"\\", b"%", b"\x00")


def check_key(key: SecretStr) -> None:
    """UnusableKey: it is none that an API could have given."""
    value = key.get_secret_value()
    if not value.strip() or not value.isascii() or not value.isprintable() or value != value.strip():
        raise UnusableKey("The API key is empty or has characters that no key has")


class KeyMask:
    """Masks one key, also where JSON or an address has it escaped, or UTF-16 has it with NULs between.

    A key so short that it is an ordinary word (the sandbox's) is no secret.
    """

    def __init__(self, key: SecretStr) -> None:
        stated = key.get_secret_value()
        self._key = stated if len(stated) >= _SECRET_LENGTH else ""
        self._raw = self._key.encode()
        self._spelt = re.compile(rb"\x00*".join(_spellings(char) for char in self._key))

    def body(self, body: bytes) -> bytes:
        """`body` without the key."""
        if not self._raw:
            return body
        masked = body.replace(self._raw, _MASK.encode())
        if any(sign in masked for sign in _MAY_BE_SPELT_OTHERWISE):
            return self._spelt.sub(_MASK.encode(), masked)
        return masked

    def text(self, text: str) -> str:
        """`text` without the key."""
        if not self._raw:
            return text
        return self.body(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers without the key."""
        return {name: self.text(value) for name, value in headers.items()}

    def error(self, error: Exception | None) -> Exception | None:
        """The same error, whose words and causes no longer have the key: a parser quotes what it can't read."""
        at: BaseException | None = error
        while at is not None and self._raw:
            at.args = tuple(self.text(arg) if isinstance(arg, str) else arg for arg in at.args)
            at = at.__cause__ or at.__context__
        return error


def _spellings(char: str) -> bytes:
    r"""One character of the key: as it is, escaped as in JSON (`\u0041`, `\/`) or as in an address (`%41`)."""
    code = "".join(f"[{digit}{digit.upper()}]" for digit in f"{ord(char):02x}")
    return rf"(?:\\*{re.escape(char)}|\\+[uU]00{code}|%(?:25)*{code})".encode()
