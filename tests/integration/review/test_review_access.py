"""Who gets an answer of the review page, and which files it gives away."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import forked
import httpx
import pytest
from review_server import Served, serving
from review_tables import HOSTILE, SPRING, Shown, every_kind, shown_table
from waiting import wait_until

from reelbatch.domain import Batch
from reelbatch.ledger import Ledger
from reelbatch.review.app import Reviewing

WORD = {"key": "TEA-001", "generation": 1, "verdict": "approved", "note": None}


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Shown]:
    """A batch with rows of every kind."""
    with Ledger(f"sqlite:///{tmp_path}/reelbatch.db") as ledger:
        shown = shown_table(ledger, tmp_path / "files")
        every_kind(shown)
        yield shown


@pytest.fixture
def served(table: Shown) -> Iterator[Served]:
    """Its review."""
    with serving(Reviewing(ledger=table.ledger, batch=SPRING, reviewer="ann")) as review:
        yield review


@pytest.fixture
def stranger(served: Served) -> Iterator[httpx.Client]:
    """A client that has not opened the link."""
    with httpx.Client(base_url=served.page, trust_env=False, timeout=20, headers={"Origin": served.root}) as client:
        yield client


@pytest.fixture
def browser(stranger: httpx.Client, served: Served) -> httpx.Client:
    """The one that has."""
    assert stranger.get(served.link).status_code == 200
    return stranger


def at(kind: str, key: str = "TEA-001", generation: int = 1) -> str:
    """The address of a picture or a video."""
    return f"{kind}?{urlencode({'key': key, 'generation': generation})}"


@pytest.mark.parametrize(
    "path", ["", "cards", "summary", "row?key=TEA-001", at("video"), at("picture"), "static/review.js"]
)
def test_nothing_is_given_to_who_has_not_opened_the_link(stranger: httpx.Client, path: str) -> None:
    """Another user of the machine reaches the port, and that is all."""
    assert stranger.get(path).status_code == 403


@pytest.mark.parametrize(
    "path", ["cards", "summary", "row?key=TEA-001", at("video"), at("picture"), "static/review.js"]
)
def test_a_token_opens_the_page_and_nothing_else(browser: httpx.Client, served: Served, path: str) -> None:
    """Someone who knows the address of a review, but has not its cookie, reads nothing with a token."""
    with httpx.Client(base_url=served.page, trust_env=False, timeout=20) as stranger:
        for token in ("guess", served.link.partition("token=")[2]):
            assert stranger.get(f"{path}{'&' if '?' in path else '?'}token={token}").status_code == 403
    assert browser.get(path).status_code == 200


def test_a_link_works_once_and_only_as_it_is(stranger: httpx.Client, served: Served) -> None:
    """Its token is not guessed, and not used twice; the cookie is not for scripts or other sites."""
    assert stranger.get("?token=").status_code == 403
    assert stranger.get("?token=guess").status_code == 403
    cookie = stranger.get(served.link).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Path={httpx.URL(served.page).path}" in cookie
    assert stranger.get(served.link).status_code == 403
    assert stranger.get("summary").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "10.0.0.5:8000", ""])
def test_another_hosts_name_is_refused(browser: httpx.Client, host: str) -> None:
    """A name that was rebound to this machine gets nothing, although the browser has the cookie."""
    assert browser.get("summary", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_page_can_not_write(browser: httpx.Client, table: Shown, headers: dict[str, str]) -> None:
    """Also one that is served by another port of this machine."""
    assert browser.post("verdict", json=WORD, headers=headers).status_code == 403
    assert browser.post("undo", json={}, headers=headers).status_code == 403
    assert table.said() == []


def test_another_page_can_not_read(browser: httpx.Client) -> None:
    """What a page of another site asks for, an image as well, is refused."""
    for site in ("cross-site", "same-site"):
        assert browser.get(at("picture"), headers={"Sec-Fetch-Site": site}).status_code == 403


def test_every_answer_keeps_the_page_to_itself(browser: httpx.Client) -> None:
    """A strict policy: own script alone, no frame, no sniffing, nothing kept by caches, no address told to others."""
    for path in ("", "summary", "cards", "static/review.js", at("video"), "nothing"):
        answer = browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
    assert browser.get("summary").headers["cache-control"] == "no-store"


def test_the_page_has_no_script_of_its_own_inside(browser: httpx.Client) -> None:
    """What is in the page is markup: no script, style or handler that a policy would have to allow."""
    text = browser.get("").text
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []


def test_only_a_rows_own_video_is_given(browser: httpx.Client, table: Shown, tmp_path: Path) -> None:
    """No other file, whatever stands in the table: not one that is no video, no link to one, no folder."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"not a video, and no one's business")
    link = table.folder / "videos" / "link.mp4"
    link.symlink_to(table.folder / "videos" / "video.mp4")
    named_so = tmp_path / "passwd"
    named_so.write_bytes((table.folder / "videos" / "video.mp4").read_bytes())
    assert browser.get(at("video")).content == named_so.read_bytes()
    for path in (secret, link, named_so, table.folder, "/etc/passwd", "s3://bucket/video.mp4", "a\x00b.mp4"):
        table.change("TEA-001", video_path=str(path))
        assert browser.get(at("video")).status_code == 404, path
    assert browser.get(at("video", "no such row")).status_code == 404
    assert browser.get(at("video", "../../secret")).status_code == 404
    assert browser.get("static/../app.py").status_code == 404
    assert browser.get("static/%2e%2e/app.py").status_code == 404


def test_of_an_image_only_a_picture_is_given(browser: httpx.Client, table: Shown, tmp_path: Path) -> None:
    """A manifest may name any file as an image: what can't be drawn is not passed on."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not an image, and no one's business")
    table.change("TEA-001", image_path=str(secret), video_path=None)
    assert browser.get(at("picture")).status_code == 404
    table.change("TEA-001", image_path=str(table.folder / "picture.png"))
    picture = browser.get(at("picture"))
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content.startswith(b"\xff\xd8")


def test_a_video_is_given_in_parts(browser: httpx.Client, table: Shown) -> None:
    """A browser asks for ranges; without them it could not go to a moment of a long video."""
    content = (table.folder / "videos" / "video.mp4").read_bytes()
    part = browser.get(at("video"), headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert part.headers["content-type"] == "video/mp4"


def test_thumbnails_are_made_once_and_kept_beside_the_table(
    browser: httpx.Client, table: Shown, tmp_path: Path
) -> None:
    """Of the image, else of the video's first frame; the owner's alone, and made anew for an image that changed."""
    kept = tmp_path / "reelbatch.db.thumbnails"
    assert browser.get(at("picture")).status_code == 200
    (first,) = kept.iterdir()
    made = first.stat().st_mtime_ns
    assert browser.get(at("picture", "MUG-002")).status_code == 200  # the same image
    assert [path.stat().st_mtime_ns for path in kept.iterdir()] == [made]
    assert (kept.stat().st_mode & 0o777, first.stat().st_mode & 0o777) == (0o700, 0o600)
    table.change("WEB-003", video_path=str(table.folder / "videos" / "video.mp4"))
    assert browser.get(at("picture", "WEB-003")).headers["content-type"] == "image/jpeg"
    assert len(list(kept.iterdir())) == 2
    os.utime(table.folder / "picture.png", (1, 1))
    assert browser.get(at("picture")).status_code == 200
    assert not first.exists()
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize(
    "body",
    [
        {**WORD, "verdict": "splendid"},
        {**WORD, "generation": 0},
        {**WORD, "generation": 10**30},
        {**WORD, "note": "x" * 4_001},
        {**WORD, "state": "pending"},
        {"key": "TEA-001"},
        [],
    ],
)
def test_what_is_no_verdict_is_refused(browser: httpx.Client, table: Shown, body: object) -> None:
    """Nothing is written, and the answer says so."""
    answer = browser.post("verdict", json=body)
    assert answer.status_code == 400
    assert "no verdict" in answer.json()["error"]
    assert browser.post("verdict", content=b"x" * 70_000).status_code == 413
    assert table.said() == []


def test_a_note_holds_what_every_database_takes(browser: httpx.Client, table: Shown) -> None:
    """Postgres has no NUL in a text: the rest of the note is kept, and the verdict with it."""
    answer = browser.post("verdict", json={**WORD, "note": "a\x00b "})
    assert answer.status_code == 200
    assert table.read("TEA-001")["verdict_note"] == "a\ufffdb"


def test_a_row_without_a_video_is_not_judged(browser: httpx.Client, table: Shown) -> None:
    """The answer says why, and nothing is written; an undo then has nothing to take back."""
    answer = browser.post("verdict", json={**WORD, "key": "BAD-004"})
    assert (answer.status_code, answer.json()["error"]) == (409, "There is no finished video to judge.")
    assert browser.post("undo", json={}).json() is None
    assert table.said() == []


def test_a_batchs_name_is_escaped(table: Shown) -> None:
    """A batch that is named like markup does not become any."""
    reviewing = Reviewing(ledger=table.ledger, batch=Batch(HOSTILE), reviewer="ann")
    with serving(reviewing) as hostile, httpx.Client(trust_env=False, timeout=20) as client:
        client.get(hostile.link)
        text = client.get(hostile.page).text
    assert "alert(2)" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text


@pytest.mark.parametrize("query", ["state=done", "verdict=good", "sort=size", "first=x", "limit=many"])
def test_a_question_that_makes_no_sense_is_refused(browser: httpx.Client, query: str) -> None:
    """An address that someone has typed gets what is wrong in it."""
    assert browser.get(f"cards?{query}").status_code == 400


def test_a_window_of_fewer_rows_than_none_has_none(browser: httpx.Client) -> None:
    """SQLite would take it for all rows of the batch."""
    assert browser.get("cards?limit=-1").json()["cards"] == []


def test_the_command_serves_until_it_is_interrupted(table: Shown, tmp_path: Path) -> None:
    """It prints a link to this machine's own address, opens it unseen by `ps`, and Ctrl-C ends it with 0."""
    table.ledger.close()
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > told.part && cat "${1#file://}" > page && mv told.part told\n')
    browser.chmod(0o700)
    command = [sys.executable, "-m", "reelbatch", "review", "--results", f"sqlite:///{tmp_path}/reelbatch.db"]
    surroundings = {**os.environ, "BROWSER": f"{browser} %s"}
    with forked.Popen(command, stderr=forked.PIPE, text=True, cwd=tmp_path, env=surroundings) as process:
        assert process.stderr
        line = process.stderr.readline()
        link = re.search(r"http://127\.0\.0\.1:(\d+)/\w+/\?token=[\w-]{40,}", line)
        assert link, line
        with socket.create_connection(("127.0.0.1", int(link[1]))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 403")
        wait_until((tmp_path / "told").exists, "the browser is told")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    told = (tmp_path / "told").read_text().strip()
    assert "token" not in told
    assert link[0] in (tmp_path / "page").read_text()
    assert not Path(told.removeprefix("file://")).parent.exists()
