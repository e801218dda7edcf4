"""Messages name options to those who type them, and parameters to those who call."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from test_situations import run_of

import reelbatch
from reelbatch.errors import ReelbatchError, SettingsError
from reelbatch.pipeline.python_words import in_errors
from reelbatch.settings import Settings
from reelbatch.submit import ExitReason
from reelbatch.typed_options import PARAMETERS, as_stated, noting


def test_each_is_what_a_call_or_a_setting_is_called() -> None:
    """A remedy that names a parameter that there is not would be none."""
    calls = (getattr(reelbatch, name) for name in ("generate", "rerun", "reconcile", "export", "settle"))
    known = {name for call in calls for name in inspect.signature(call).parameters} | set(Settings.model_fields)
    assert set(PARAMETERS.values()) - known == set()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("--max-credits 5: too few; see --download.", "`max_credits` 5: too few; see `downloads`."),
        ("as `reelbatch generate x.csv --batch b` does", "as `reelbatch generate x.csv --batch b` does"),
        ("my--limit.csv --encoding cp1252", "my--limit.csv --encoding cp1252"),
    ],
)
def test_options_are_parameters_to_a_caller(message: str, told: str) -> None:
    """Whole commands stay what they are, and so does what is no option that a call has."""

    @in_errors()
    def call() -> None:
        raise SettingsError(message)

    with pytest.raises(SettingsError) as raised:
        call()
    assert str(raised.value) == told
    assert as_stated(message) == told
    with noting():
        assert as_stated(message) == message


def test_a_report_in_a_notebook_names_parameters() -> None:
    """What it advises was written for the command line."""
    shown = run_of({}, exit_reason=ExitReason.CAP)._repr_html_()
    assert "Raise `max_credits`" in shown


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: reelbatch.results("nope://x"), "`url` nope://x: "),
        (lambda: reelbatch.status(results="nope://x"), "`results` nope://x: "),
        (lambda: reelbatch.generate("x.csv", limit=-1), '`limit` "-1"'),
        (lambda: reelbatch.rerun(limit=-1), '`limit` "-1"'),
        (lambda: reelbatch.plan("x.csv", rows=["a"]), "add `regenerate` all"),
    ],
)
def test_every_call_speaks_so(
    call: Callable[[], object], said: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the command line's options none is named by an error."""
    monkeypatch.chdir(tmp_path_factory.mktemp("shop"))
    with pytest.raises(ReelbatchError) as raised:
        call()
    assert said in str(raised.value)
    assert "--" not in str(raised.value)
