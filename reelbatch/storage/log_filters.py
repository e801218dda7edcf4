"""What the libraries below log, without what opens something: signed addresses, passwords in addresses, tokens.

httpx logs every address at INFO, httpcore the headers of answers at DEBUG, botocore what it signs. The filter sits on
their own loggers, so it holds whatever level and handlers a program chooses.
"""

from __future__ import annotations

import logging
import re

from reelbatch.storage.addresses import without_secrets

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
