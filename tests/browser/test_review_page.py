"""The review page in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page, expect
from review_tables import HOSTILE, Shown
from waiting import wait_until

OpenReview = Callable[..., Page]
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
LIGHT, DARK = "light", "dark"
WORST = {"serious", "critical"}
NEXT_IN_THE_SAME_TASK = """() => {
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    return Number(document.activeElement.getAttribute("aria-posinset"));
}"""


def card(page: Page, key: str) -> Any:
    """The card of a row."""
    return page.locator(".card").filter(has=page.get_by_role("heading", name=key, exact=True))


def keys(page: Page) -> list[str]:
    """The keys of the cards in the page, in their order."""
    return page.locator(".card h3").all_inner_texts()


def breaches(page: Page, within: str = "html") -> list[str]:
    """What axe-core finds that is serious in a part of the page."""
    found = page.evaluate("within => axe.run(within, { resultTypes: ['violations'] })", within)["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in WORST]


def settled(page: Page) -> None:
    """The page's own complaints: there are none."""
    assert page.said.errors == []


def test_a_batch_is_seen_with_images_states_and_costs(review: OpenReview, spring: Shown) -> None:
    """Each row has its card: picture, prompt, state, cost, and what went wrong, in words."""
    page = review(spring)
    assert "token" not in page.url
    expect(page.locator("#count")).to_have_text("10 rows")
    tea = card(page, "TEA-001")
    expect(tea).to_contain_text("Slow orbit around the teapot")
    expect(tea).to_contain_text("48 credits · ltx-2.3 · 720p")
    assert tea.locator(".picture").evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    expect(card(page, "BAD-004")).to_contain_text("The render failed")
    expect(card(page, "BAD-004").get_by_role("button", name="Approve")).to_be_disabled()
    expect(card(page, "HLD-007")).to_contain_text("Held: TEA-001 of batch spring has paid for the same request.")
    expect(card(page, "DBT-006")).to_contain_text("reelbatch reconcile")
    expect(card(page, "TWO-010")).to_contain_text("2 videos")
    expect(page.locator("#side")).to_contain_text("0 of 5 videos judged")
    settled(page)


def test_rows_are_filtered_searched_and_sorted(review: OpenReview, spring: Shown) -> None:
    """By select, by the bars beside the grid, by words; an address with a filter can be opened again."""
    page = review(spring)
    page.select_option("#state", "complete")
    expect(page.locator("#count")).to_have_text("5 rows")
    page.fill("#search", "teapot")
    expect(page.locator("#count")).to_have_text("1 row")
    page.reload()
    expect(page.locator("#count")).to_have_text("1 row")
    page.click("#clear")
    page.locator("#models button", has_text="wan-2.2").click()
    expect(page.locator(".card h3")).to_have_text(["MUG-002"])
    page.click("#clear")
    page.select_option("#error", "http_422")
    expect(page.locator(".card h3")).to_have_text(["REJ-005"])
    page.select_option("#error", "")
    page.select_option("#sort", "cost")
    expect(page.locator(".card h3").first).to_have_text("MUG-002")
    page.fill("#search", "no such row")
    expect(page.locator("#none")).to_be_visible()
    settled(page)


def test_a_video_plays_on_hover_and_starts_at_the_image(review: OpenReview, spring: Shown) -> None:
    """A real MP4, in parts as the browser asks for them; when the mouse leaves, the image is back."""
    page = review(spring)
    tea = card(page, "TEA-001")
    assert tea.locator("video").count() == 0
    tea.locator(".media").hover()
    video = tea.locator("video.plays")
    expect(video).to_be_visible()
    wait_until(lambda: video.evaluate("video => video.currentTime") > 0, "it plays")
    page.mouse.move(5, 5)
    expect(tea.locator("video")).to_have_count(0)
    settled(page)


def test_the_keyboard_alone_will_do(review: OpenReview, spring: Shown) -> None:
    """Arrows, space, a, r, n and z: each verdict is in the table at once, and all of them are kept."""
    page = review(spring)
    page.keyboard.press("Home")
    expect(card(page, "TEA-001")).to_be_focused()
    page.keyboard.press("Space")
    expect(card(page, "TEA-001").locator("video.plays")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator("video")).to_have_count(0)
    page.keyboard.press("a")
    expect(page.locator("#toast")).to_have_text("TEA-001: approved")
    assert spring.verdict("TEA-001") == ("approved", None)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    expect(page.locator("#toast")).to_have_text("MUG-002: rejected")
    page.keyboard.press("n")
    page.keyboard.type("Too dark <b>")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toast")).to_have_text("MUG-002: rejected, note kept")
    assert spring.verdict("MUG-002") == ("rejected", "Too dark <b>")
    expect(page.locator("#judged-of")).to_have_text("2 of 5 videos judged")
    page.keyboard.press("z")
    expect(page.locator("#toast")).to_have_text("MUG-002: taken back")
    assert spring.verdict("MUG-002") == ("rejected", None)
    page.keyboard.press("ArrowLeft")
    expect(card(page, "TEA-001")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page, "TEA-001")).to_be_focused()
    assert len(spring.said()) == 4
    settled(page)


def test_variants_of_a_product_are_compared_side_by_side(review: OpenReview, spring: Shown) -> None:
    """Each has a verdict of its own, and the window stays at the row that was opened."""
    spring.add_all([{"row_key": key, "prompt": f"{key} pan"} for key in ("CUP#a", "CUP#b", "CUP#1#a", "CUP")])
    page = review(spring)
    card(page, "CUP#a").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".version h3")).to_have_text(["CUP#a", "CUP#b"])
    other = page.locator(".version").last
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("button", name="Approve")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#detail-title")).to_have_text("CUP#a")
    wait_until(lambda: spring.verdict("CUP#b")[0] == "approved", "the table has it")
    assert spring.verdict("CUP#a")[0] is None
    page.keyboard.press("Escape")
    expect(card(page, "CUP#b")).to_have_attribute("data-verdict", "approved")
    settled(page)


def test_all_of_a_row_is_seen_side_by_side(review: OpenReview, spring: Shown) -> None:
    """Earlier videos, requests and verdicts; each video has a verdict of its own."""
    page = review(spring)
    card(page, "TWO-010").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".version")).to_have_count(2)
    expect(page.locator(".version video")).to_have_count(2)
    first, second = page.locator(".version").first, page.locator(".version").last
    expect(second).to_contain_text("kling-3.0")
    first.get_by_role("button", name="Reject").click()
    expect(first.get_by_role("button", name="Reject")).to_have_attribute("aria-pressed", "true")
    page.locator(".versions").focus()
    page.keyboard.press("a")
    expect(second.get_by_role("button", name="Approve")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".logs")).to_contain_text("ann")
    wait_until(lambda: spring.verdict("TWO-010", 2) == ("approved", None), "the table has it")
    assert spring.verdict("TWO-010", 1) == ("rejected", None)
    page.keyboard.press("Space")
    wait_until(
        lambda: page.evaluate("[...document.querySelectorAll('.version video')].every(v => v.currentTime > 0)"),
        "both play",
    )
    settled(page)


def test_hostile_texts_are_only_texts(review: OpenReview, spring: Shown) -> None:
    """Markup in key, prompt and note is shown as it is; nothing of it runs, and the row can be judged like others."""
    page = review(spring)
    shown = HOSTILE.replace("\u202e", "\\u202e")
    hostile = card(page, shown)
    expect(hostile.locator(".prompt")).to_have_text(shown)
    hostile.focus()
    page.keyboard.press("n")
    page.keyboard.insert_text(HOSTILE)
    page.get_by_role("button", name="Keep").click()
    wait_until(lambda: spring.verdict(HOSTILE) == (None, HOSTILE), "the note is kept")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_have_text(shown)
    expect(page.locator(".noted")).to_have_text(shown)
    assert page.locator("img[src=x]").count() == 0
    settled(page)


def test_images_on_the_web_are_loaded_only_where_that_is_allowed(
    review: OpenReview, spring: Shown, shop: tuple[str, list[str]]
) -> None:
    """By default the page asks no one but its own server; with --remote-images the browser loads the image."""
    address, asked = shop
    spring.change("WEB-003", image_path=f"{address}/mug.png")
    page = review(spring)
    expect(card(page, "WEB-003")).to_contain_text("The image is on the web and is not loaded here")
    assert {url.split("/")[2] for url in page.said.asked} == {page.url.split("/")[2]}
    assert asked == []
    page = review(spring, remote_images=True)
    wait_until(lambda: asked == ["/mug.png"], "the browser asks the shop")


@pytest.fixture
def shop(spring: Shown) -> Iterator[tuple[str, list[str]]]:
    """A web server with an image: its address, and what it was asked for."""
    content, asked = (spring.folder / "picture.png").read_bytes(), []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_run_that_goes_on_is_followed(review: OpenReview, spring: Shown) -> None:
    """A row that settles meanwhile is shown with its video, without a reload; the focus stays where it was."""
    spring.start_run()
    page = review(spring)
    expect(page.locator("#following")).to_have_text("a run is going on")
    card(page, "TEA-001").focus()
    expect(card(page, "RUN-008")).to_contain_text("rendering")
    done = {"video_path": str(spring.folder / "videos" / "video.mp4"), "credits_final": 77}
    spring.change("RUN-008", state="complete", **done)
    expect(card(page, "RUN-008")).to_contain_text("complete")
    expect(card(page, "RUN-008")).to_contain_text("77 credits")
    expect(card(page, "TEA-001")).to_be_focused()
    settled(page)


def test_ten_thousand_rows_are_at_most_300_cards(review: OpenReview, table: Shown) -> None:
    """Wherever one goes; the next card has the focus within the very task that handles the key, without any wait."""
    table.add_all([{"row_key": f"SKU-{number:05}"} for number in range(1, 10_001)])
    page = review(table)
    expect(page.locator("#count")).to_have_text("10,000 rows")
    most = page.locator(".card").count()
    page.keyboard.press("End")
    expect(card(page, "SKU-10000")).to_be_focused()
    page.keyboard.press("Home")
    expect(card(page, "SKU-00001")).to_be_focused()
    assert [page.evaluate(NEXT_IN_THE_SAME_TASK) for _ in range(40)] == list(range(2, 42))
    most = max(most, page.locator(".card").count())
    for _ in range(3):
        page.keyboard.press("PageDown")
        most = max(most, page.locator(".card").count())
    assert 0 < most <= 300
    page.fill("#search", "SKU-09999")
    expect(page.locator(".card h3")).to_have_text(["SKU-09999"])
    settled(page)


@pytest.mark.parametrize(("scheme", "width"), [(LIGHT, 1280), (DARK, 375)])
def test_axe_core_finds_nothing_serious(review: OpenReview, spring: Shown, scheme: Any, width: int) -> None:
    """In light and dark, on a desk and on a phone, with verdicts, in a row's dialog and in the one for a note."""
    page = review(spring)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    card(page, "MUG-002").focus()
    page.keyboard.press("r")
    expect(page.locator("#toast")).to_have_text("MUG-002: rejected")
    card(page, "TEA-001").focus()
    page.keyboard.press("a")
    expect(page.locator("#toast")).to_have_text("TEA-001: approved")
    if width < 900:
        page.click("#side-toggle")
    assert breaches(page) == []
    card(page, "TEA-001").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    assert breaches(page, "#detail") == []
    page.keyboard.press("n")
    expect(page.locator("#noting")).to_be_visible()
    assert breaches(page, "#noting") == []


def test_a_phone_has_one_column_and_nothing_beside_the_screen(review: OpenReview, spring: Shown) -> None:
    """At 375 pixels nothing is cut off or scrolls sideways, and what is tapped is at least 40 pixels high."""
    page = review(spring)
    page.set_viewport_size({"width": 375, "height": 740})
    expect(card(page, "TEA-001")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    left = {round(each.bounding_box()["x"]) for each in page.locator(".card").all()}
    assert len(left) == 1
    buttons = card(page, "TEA-001").locator(".actions button").all()
    assert min(button.bounding_box()["height"] for button in buttons) >= 40
    page.click("#side-toggle")
    expect(page.locator("#side")).to_be_visible()
    settled(page)
