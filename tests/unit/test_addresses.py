"""Addresses that open something by themselves are told from those that do not."""

from __future__ import annotations

import pytest

from reelbatch.errors import ManifestError, SettingsError
from reelbatch.manifest import open_manifest
from reelbatch.manifest.options import Checks, ManifestOptions
from reelbatch.model_table import load_models
from reelbatch.storage.addresses import holds_secret, refuse_in_parameters, without_secrets

SECRET = [
    "sftp://me:hush4711@host:22/a.csv",
    "simplecache::ftp://me:hush4711@host/a.csv",
    "s3://AKIA:hush4711@shop/a.csv",
    "https://hush4711@host/a.csv",
    "https://shop.s3.amazonaws.com/a.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=hush4711",
    "https://shop.s3.amazonaws.com/a.csv?AWSAccessKeyId=hush4711&Expires=1",
    "https://storage.googleapis.com/shop/a.csv?X-Goog-Credential=hush4711",
    "https://me.blob.core.windows.net/shop/a.csv?sv=2024&sp=r&sig=hush4711",
    "https://host/a.csv?v=2&access_token=hush4711",
    "https://host/a.csv?X%2DAmz%2DSignature=hush4711",
    "https://host/a.csv?apikey=hush4711#top",
]
PLAIN = [
    "spring.csv",
    "C:\\data\\spring?key=a.csv",
    "s3://shop/me:you@there.csv",
    "abfs://container@account.dfs.core.windows.net/a.csv",
    "sftp://me@host/a.csv",
    "https://docs.google.com/spreadsheets/d/1x/export?format=csv&gid=0",
    "https://host/a.csv?design=blue&keyword=lamp&author=x",
    "memory://shop/spring.csv",
]


@pytest.mark.parametrize("address", SECRET)
def test_an_address_that_opens_something_is_refused_and_not_repeated(address: str) -> None:
    """As a parameter of a flow, with what to do in place of it; in one line."""
    assert holds_secret(address)
    with pytest.raises(SettingsError, match="Prefect keeps parameters") as error:
        refuse_in_parameters({"downloads": address, "limit": 3})
    check(str(error.value))


@pytest.mark.parametrize("address", SECRET[:4])
def test_a_manifest_whose_folder_has_a_password_is_refused(address: str) -> None:
    """The results table keeps the folder; from Python, where Prefect is not, a signed address is read as it is."""
    with pytest.raises(ManifestError, match="credentials do not belong in an address") as error:
        open_manifest(address, ManifestOptions(), Checks(models=load_models()))
    check(str(error.value))


def check(said: str) -> None:
    """One line, which says what to do and does not repeat the secret."""
    assert "hush4711" not in said
    assert "FSSPEC_" in said or "Download the file" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_a_secret_is_let_through(address: str) -> None:
    """Names of users and containers, and queries that sign nothing."""
    assert not holds_secret(address)
    refuse_in_parameters({"manifest": address, "export": address, "downloads": None})


@pytest.mark.parametrize("address", SECRET)
def test_no_text_shows_the_secret_of_an_address(address: str) -> None:
    """Wherever in a sentence it stands; the rest of the sentence stays."""
    assert "hush4711" not in without_secrets(f"GET '{address}': no, ({address}).")
    assert without_secrets(f"GET '{address}': no").startswith("GET '")
    assert without_secrets("what? nothing=1 here") == "what? nothing=1 here"
