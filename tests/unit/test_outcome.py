"""What a create ends in: the whole table, for every status and every error that httpx knows."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelbatch.client.outcome import NEVER_SENT, Exchange, Kind, Policy, classify, retry_after

HOLD = Policy(server_errors="hold")


def _httpx_errors() -> list[type[Exception]]:
    return [
        cls
        for _, cls in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__.startswith("httpx")
    ]


def _instance(cls: type[Exception]) -> Exception:
    if issubclass(cls, httpx.HTTPStatusError):
        request = httpx.Request("POST", "https://example.test")
        return cls("x", request=request, response=httpx.Response(500))
    try:
        return cls("x")
    except TypeError:
        return cls()


@pytest.mark.parametrize("cls", _httpx_errors(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("left", [False, True])
def test_every_httpx_error_has_one_outcome(cls: type[Exception], left: bool) -> None:
    """Only an error from before sending, with nothing seen to leave, may be sent again."""
    outcome = classify(Exchange(error=_instance(cls), request_sent=left))
    never_sent = issubclass(cls, NEVER_SENT) and not left
    assert outcome.kind is (Kind.RETRY if never_sent else Kind.IN_DOUBT)


@pytest.mark.parametrize("error", [TimeoutError(), OSError("gone"), RuntimeError("?"), ValueError("?"), None])
def test_an_error_of_unknown_kind_is_in_doubt(error: Exception | None) -> None:
    """What no one has thought of may have been charged."""
    assert classify(Exchange(error=error)).kind is Kind.IN_DOUBT


def _expected(status: int) -> Kind:
    table = {401: Kind.HALT, 402: Kind.HALT, 408: Kind.IN_DOUBT, 429: Kind.RETRY}
    table |= {500: Kind.RETRY, 502: Kind.RETRY, 503: Kind.RETRY}
    if status in table:
        return table[status]
    return Kind.REJECTED if 300 <= status < 500 else Kind.IN_DOUBT


def test_every_status_has_one_outcome() -> None:
    """100 to 599, without an id in the body."""
    statuses = range(100, 600)
    kinds = {status: classify(Exchange(status=status, body=b"{}")).kind for status in statuses}
    assert kinds == {status: _expected(status) for status in statuses}


def test_success_with_an_id_is_submitted() -> None:
    """However odd the rest of the answer is, and whichever success it is."""
    for status in range(200, 300):
        outcome = classify(Exchange(status=status, body=b'{"id": "abc", "new": [1], "credits_charged": "?"}'))
        assert (outcome.kind, outcome.video_id, outcome.credits_charged) == (Kind.SUBMITTED, "abc", None), status


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors_can_be_held(status: int) -> None:
    """`server_errors: hold` sends nothing again that a server may have taken."""
    assert classify(Exchange(status=status), HOLD).kind is Kind.IN_DOUBT


def test_an_id_that_came_with_a_refusal_is_asked_for() -> None:
    """Whatever the status: in doubt until then, with the id noted, and what the status says otherwise."""
    for status in (100, *range(300, 600)):
        outcome = classify(Exchange(status=status, body=b'{"id": "abc", "message": "no"}'))
        plain = classify(Exchange(status=status, body=b'{"message": "no"}'))
        assert (outcome.kind, outcome.video_id, outcome.claimed_id) == (Kind.IN_DOUBT, None, "abc"), status
        assert outcome.raw_body == '{"id": "abc", "message": "no"}', status
        assert "abc" in (outcome.message or ""), status
        assert outcome.otherwise is not None, status
        assert (outcome.otherwise.kind, outcome.code) == (plain.kind, plain.code), status
        assert (outcome.said, plain.said) == (outcome.otherwise, plain), status


@pytest.mark.parametrize("body", [b'{"id": {"a": 1}}', b'{"id": "a b"}', b'{"id": ["abc"]}'])
def test_an_id_that_can_t_be_asked_for_is_in_doubt(body: bytes) -> None:
    """Someone has to look at it; the body is kept."""
    outcome = classify(Exchange(status=409, body=body))
    assert (outcome.kind, outcome.claimed_id, outcome.raw_body) == (Kind.IN_DOUBT, None, body.decode())


@pytest.mark.parametrize(
    "body", [b'{"id": null}', b'{"id": ""}', b'{"id": false}', b'{"error": {"id": "abc"}}', b"[1]"]
)
def test_a_refusal_that_says_there_is_no_id_is_a_refusal(body: bytes) -> None:
    """As is one that names something else's."""
    assert classify(Exchange(status=409, body=body)).kind is Kind.REJECTED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.IN_DOUBT),
        (b'{"id":', Kind.IN_DOUBT),
        (b'{"message": "no", "i', Kind.IN_DOUBT),
        (b'{"message": "no"}', None),
        (b"<html><p>no", None),
    ],
)
@pytest.mark.parametrize("status", [401, 409, 429, 503])
def test_a_refusal_that_broke_off_may_have_named_an_id(status: int, body: bytes, kind: Kind | None) -> None:
    """It is in doubt, while what is missing could be an id; what the status says counts at once."""
    plain = classify(Exchange(status=status, body=body))
    cut = classify(Exchange(status=status, body=body, error=httpx.RemoteProtocolError("x"), request_sent=True))
    assert (cut.kind, cut.said.kind) == (kind or plain.kind, plain.kind)


def test_an_id_in_an_answer_without_a_certain_status_is_asked_for() -> None:
    """What came of an answer whose head can't be read counts too."""
    outcome = classify(Exchange(body=b'{"id": "abc"}', error=httpx.RemoteProtocolError("x"), request_sent=True))
    assert (outcome.kind, outcome.claimed_id, outcome.code) == (Kind.IN_DOUBT, "abc", "connection_lost")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("insufficient_credits", Kind.HALT),
        (None, Kind.HALT),
        (17, Kind.HALT),
        ("something_new", Kind.HALT),
        ("subscription_required", Kind.REJECTED),
        ("plan_upgrade_required", Kind.REJECTED),
    ],
)
def test_payment_required_halts_unless_it_is_this_row_s_affair(code: object, kind: Kind) -> None:
    """Another plan is needed for this request only; an account that is dry is dry for all."""
    outcome = classify(Exchange(status=402, body=json.dumps({"code": code, "message": "sorry"}).encode()))
    assert (outcome.kind, outcome.code) == (kind, "http_402")
    if kind is Kind.REJECTED:
        assert outcome.message == f"{code}: sorry"


def test_a_code_that_says_no_more_than_the_status_is_left_out() -> None:
    """The message stays the API's own."""
    body = json.dumps({"code": "unprocessable_entity", "message": "end_seconds is too long"}).encode()
    assert classify(Exchange(status=422, body=body)).message == "end_seconds is too long"
    assert classify(Exchange(status=400, body=body)).message == "unprocessable_entity: end_seconds is too long"


def test_bad_gateway_waits_as_long_as_the_setting_says() -> None:
    """Once to twice the setting, so that rows do not all come back at once."""
    waits = {classify(Exchange(status=502), Policy(bad_gateway_wait_s=10)).wait_s for _ in range(50)}
    assert all(wait is not None and 10 <= wait <= 20 for wait in waits)
    assert len(waits) > 1


def test_a_missing_frame_cost_is_null() -> None:
    """The field is deprecated; an answer without it is complete."""
    outcome = classify(Exchange(status=200, body=b'{"id": "abc", "credits_charged": 450}'))
    assert (outcome.kind, outcome.credits_charged, outcome.estimated_frame_cost) == (Kind.SUBMITTED, 450, None)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>ok</html>", b"[]", b"null", b'"abc"', b"{}", b'{"id": null}', b'{"id": ""}', b'{"id": true}'),
        *(b'{"id": {"a": 1}}', b'{"id": "a b"}', b'{"id": "../x"}', b'{"credits_charged": 300', b"\xff\xfe"),
    ],
)
def test_success_without_a_usable_id_is_in_doubt_with_its_body(body: bytes) -> None:
    """It may have been charged; the raw body is kept for the one who looks into it."""
    outcome = classify(Exchange(status=200, body=body))
    assert outcome.kind is Kind.IN_DOUBT
    assert outcome.raw_body == body.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id": "clx7uu86w", "credits_cha', "clx7uu86w"),
        (b'{"credits_charged": 450, "id":"clx7uu86w","x', "clx7uu86w"),
        (b'{"id": "clx7u', None),  # cut off inside the id: half an id is no id
        (b'{"error": {"id": "clx7uu86w"', None),  # the id of something else
    ],
)
def test_an_id_that_arrived_whole_is_kept_when_the_body_breaks_off(body: bytes, expected: str | None) -> None:
    """An id that was received is never thrown away."""
    outcome = classify(
        Exchange(status=200, body=body, error=httpx.RemoteProtocolError("peer closed"), request_sent=True)
    )
    assert outcome.video_id == expected
    assert outcome.kind is (Kind.SUBMITTED if expected else Kind.IN_DOUBT)


def test_a_redirect_is_not_followed_and_says_so() -> None:
    """A create that is sent on elsewhere could be charged twice."""
    outcome = classify(Exchange(status=307, headers={"location": "https://elsewhere.test"}))
    assert (outcome.kind, outcome.code) == (Kind.REJECTED, "http_307")
    assert "redirect" in (outcome.message or "")


def test_the_api_s_message_is_passed_on() -> None:
    """A refused row says why, in the API's words."""
    outcome = classify(Exchange(status=422, body=json.dumps({"message": "end_seconds is too long"}).encode()))
    assert outcome.message == "end_seconds is too long"


NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("999999", 3600.0),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(stated: str, seconds: float | None) -> None:
    """Both forms of the header; nonsense counts as absent."""
    assert retry_after({"Retry-After": stated}, NOW) == seconds


@given(st.integers(100, 599), st.binary(max_size=200), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_no_answer_makes_the_table_fail(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Whatever a server sends has an outcome, and only a success can be submitted."""
    outcome = classify(Exchange(status=status, headers=headers, body=body))
    assert outcome.kind is not Kind.SUBMITTED or 200 <= status < 300
