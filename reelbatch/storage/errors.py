"""What the errors of storage libraries mean. Told apart by name: none of these libraries need be installed."""

from __future__ import annotations

import re
from typing import NamedTuple

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "adl": "azure",
}
_CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    "gcs": "Set GOOGLE_APPLICATION_CREDENTIALS, or log in with `gcloud auth application-default login`.",
    "azure": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING.",
}
_LATER = "Check the network and the endpoint, then run the same command again."
_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "TokenRetrievalError",
        "SSOError",
        "DefaultCredentialsError",
        "RefreshError",
    }
)
_NO_CONNECTION = frozenset(
    {"ConnectionError", "ClientConnectorError", "ClientConnectionError", "HTTPClientError", "ServiceRequestError"}
)
_TIMED_OUT = frozenset({"TimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "ServiceResponseTimeoutError"})
_REFUSED = frozenset({"PermissionError", "ClientAuthenticationError"})
_BAD_ADDRESS = frozenset({"ParamValidationError", "InvalidURL", "InvalidEndpoint", "ValueError"})
_GONE, _SERVERS_FAULT = frozenset({404, 410}), 500
_NO_BUCKET = re.compile(r"(?:bucket|container) does not exist|NoSuchBucket|ContainerNotFound", re.IGNORECASE)
_HOST = re.compile(r"https?://(?:[^/\s\"'@]*@)?([^/\s\"'?]+)")
_SECRETS = (
    (re.compile(r"(://)[^/\s\"'@]*@"), r"\1"),
    (re.compile(r"\?[^\s\"'?]*=[^\s\"']*"), "?…"),
)


class Trouble(NamedTuple):
    """What is wrong with a file behind a URL, in the user's words."""

    what: str
    remedy: str
    is_files_own: bool = False  # the file is not there or its address can't be right, for every machine
    may_pass: bool = False  # trying again in a moment is worth it


class Bound(NamedTuple):
    """The most bytes that are taken, and what to say of a file that has more."""

    size: int
    trouble: Trouble


def chained(scheme: str) -> Trouble:
    """For `simplecache::s3://…` and the like: one link of a chain can name anything, and unpack anything."""
    what = f"a chain of addresses ({scheme}…::…), and chains are not followed"
    return Trouble(what, "Give the address of the file itself; no address has :: in it.", is_files_own=True)


def unknown_scheme(scheme: str) -> Trouble:
    """For an address such as `s4://`."""
    remedy = "Use a path, http(s)://, s3:// or another fsspec URL."
    return Trouble(f'"{scheme}" is no known kind of storage', remedy)


def missing_extra(scheme: str, error: ImportError) -> Trouble:
    """For an address whose package is not installed on this machine."""
    if scheme in _EXTRAS:
        remedy = f"pip install 'reelbatch[{_EXTRAS[scheme]}]'"
    elif scheme in {"http", "https"}:
        remedy = "pip install aiohttp"
    else:
        return Trouble(f"{scheme}:// needs a package that is not installed here", f"{error}.".replace("..", "."))
    return Trouble(f"{scheme}:// needs a package that is not installed here", f"Install it: {remedy}")


def explain(error: Exception, address: str, shown: str) -> Trouble:
    """What `error` means for the file at `address`, which is printed as `shown`."""
    scheme = re.split(r"::|://", address, maxsplit=1)[0].lower()
    names = {kind.__name__ for kind in type(error).__mro__}
    said = _said(error, address, shown)
    if isinstance(error, ImportError):
        return missing_extra(scheme, error)
    if said.startswith("Protocol not known"):
        return unknown_scheme(scheme)
    if _NO_BUCKET.search(f"{said} {error.__cause__}"):
        bucket = shown.rpartition("://")[2].partition("/")[0]
        remedy = "Check its name, and whose endpoint and credentials are in use."
        return Trouble(f'there is no bucket "{bucket}"', remedy)
    if scheme in {"http", "https"} and (trouble := _of_web(error, shown)):
        return trouble
    return _of_file(names, said) or _of_access(names, said, scheme) or _of_network(names, said)


def _of_web(error: Exception, shown: str) -> Trouble | None:
    """Of a web address, fsspec calls whatever goes wrong a file that is not there; its cause says what it was."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None:
        return None
    status: int | None = getattr(cause, "status", None)
    if status in _GONE:
        return None
    if status is None:
        return _of_network({kind.__name__ for kind in type(cause).__mro__}, shown)
    if status >= _SERVERS_FAULT:
        return Trouble(f"not reachable now: the server returned status {status}", _LATER, may_pass=True)
    remedy = "Check the address, and whether it can be opened without a login."
    return Trouble(f"the server refuses it (status {status})", remedy)


def _of_file(names: set[str], said: str) -> Trouble | None:
    if "FileNotFoundError" in names:
        return Trouble("no such file", "Check the path.", is_files_own=True)
    if "IsADirectoryError" in names or "non key-like path" in said:
        return Trouble("names no file", "Give the file's whole address.", is_files_own=True)
    if names & _BAD_ADDRESS and "Invalid bucket name" in said:
        remedy = "Write s3://bucket/path; credentials do not belong in an address."
        return Trouble("not the address of a file in a bucket", remedy, is_files_own=True)
    return None


def _of_access(names: set[str], said: str, scheme: str) -> Trouble | None:
    advice = _CREDENTIALS.get(_EXTRAS.get(scheme, ""), "Check the credentials that its library takes.")
    if names & _NO_CREDENTIALS:
        return Trouble("there are no credentials for it", advice)
    if names & _REFUSED:
        remedy = "Check the credentials and what they allow."
        if scheme in {"s3", "s3a"}:
            remedy = f"{remedy} S3 says so of a missing file too where the bucket may not be listed."
        return Trouble(f"access is refused ({said})", remedy)
    return None


def _of_network(names: set[str], said: str) -> Trouble:
    host = _HOST.search(said)
    end = host[1] if host else "its endpoint"
    if names & _TIMED_OUT:
        return Trouble(f"not reachable now: no answer in time from {end}", _LATER)
    if names & _NO_CONNECTION:
        return Trouble(f"not reachable now: no connection to {end}", _LATER, may_pass=True)
    if names & _BAD_ADDRESS:
        return Trouble(f"can't be used: {said}", "Check the address and the endpoint.")
    return Trouble(f"not reachable now: {said}", _LATER, may_pass=True)


def _said(error: Exception, address: str, shown: str) -> str:
    """The library's own words in one line, without what the address has of secrets."""
    stated = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(stated.split()).replace(address, shown)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    user = re.search(r"://([^/?#]*@)", address)
    return (text.replace(user[1], "") if user else text).rstrip(".") or type(error).__name__
