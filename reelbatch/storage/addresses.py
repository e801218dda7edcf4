"""Addresses that hold a secret: which do, what is said of them, and how they are shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from reelbatch.errors import SettingsError

_WITH_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s]*)@")
_QUERY = re.compile(r"\?([^#]*)")
_NAME = re.compile(r"(?:^|[&;])([^=&;]+)=[^&;]")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    {"apikey", "auth", "authorization", "credential", "credentials", "hmac", "jwt", "key", "passwd", "password"}
    | {"policy", "pwd", "resourcekey", "rlkey", "sas", "secret", "session", "sig", "sign", "signature", "token"}
)
"""Words in the names of what a signed query consists of: X-Amz-Signature, sig, access_token, Key-Pair-Id."""
_USER_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s\"'<>]*@")
_QUERY_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?\"'<>]*)\?[^\s\"'<>]*")


def holds_secret(address: str) -> bool:
    """Whether an address has a password in it, or a query that signs it."""
    return holds_password(address) or _is_signed(address)


def holds_password(address: str) -> bool:
    """Whether an address has a password, or a token in place of a user, before its host."""
    return any(_is_password(*found) for found in _WITH_USER.findall(address))


def _is_password(scheme: str, user: str) -> bool:
    """`container@account` of Azure and the user of sftp are names; on the web a lone user may be a token."""
    return ":" in user or scheme.lower() in {"http", "https"}


def _is_signed(address: str) -> bool:
    query = _QUERY.search(address) if "://" in address else None
    names = [unquote_plus(name) for name in _NAME.findall(query[1])] if query else []
    return any(word.lower() in _SECRET_WORDS for name in names for word in _WORD.findall(name))


def without_secrets(text: str) -> str:
    """`text` in which addresses have lost user, password and query, signed or not."""
    if "://" not in text:
        return text
    return _QUERY_IN_TEXT.sub(r"\1?…", _USER_IN_TEXT.sub(r"\1", text))


def what_instead(address: str) -> str:
    """Where the credentials of such an address belong."""
    scheme = re.split(r"::|://", address, maxsplit=1)[0].lower()
    if scheme in {"http", "https"}:
        return "Download the file and give its path, or give an s3://, gs:// or abfs:// address."
    return (
        "Leave them out of the address; the storage's library takes them from the environment: "
        f'FSSPEC_{scheme.upper()}=\'{{"username": "…", "password": "…"}}\', or AWS_ACCESS_KEY_ID and the like.'
    )


def refuse_in_parameters(parameters: Mapping[str, Any]) -> None:
    """See that no address among a flow's parameters holds a secret: Prefect stores and shows them.

    Raises:
        SettingsError: one does.
    """
    for name in ("manifest", "export", "downloads"):
        address = parameters.get(name)
        if isinstance(address, str) and holds_secret(address):
            raise SettingsError(
                f"{name} {without_secrets(address)}: holds credentials or a signature, and Prefect keeps parameters "
                f"where everybody who may look at a run can read them. {what_instead(address)}"
            )


_LIBRARIES = frozenset(
    {"adlfs", "aiobotocore", "aiohttp", "azure", "boto3", "botocore", "fsspec"}
    | {"gcsfs", "google", "httpcore", "httpx", "requests", "s3fs", "urllib3"}
)
_PARAMETER = re.compile(
    r"([?&;][\w%.-]*(?:sig|signature|credential|token|secret|password|policy|key-pair-id|accesskeyid)[\w%.-]*=)"
    r"[^&;\s'\"<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"((?<![\w-])(?:authorization|cookie|set-cookie|x-amz-security-token|signature)['\"]?\)?\s*[:,=]\s*b?['\"]?)"
    r"[^'\"\r\n]+",
    re.IGNORECASE,
)


class _WithoutSecrets(logging.Filter):
    """Lets every record through, in words without secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True; the record is changed where its words had a secret."""
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit: logging reports it itself
            return True
        shown = _HEADER.sub(r"\1…", _PARAMETER.sub(r"\1…", without_secrets(said)))
        if shown != said:
            record.msg, record.args = shown, ()
        return True


_FILTER = _WithoutSecrets()


def guard_logs() -> None:
    """Put the filter on the loggers of all libraries that are loaded by now; again is harmless."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] in _LIBRARIES and isinstance(logger, logging.Logger):
            logger.addFilter(_FILTER)  # which adds it once
