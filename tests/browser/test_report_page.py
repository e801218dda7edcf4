"""The report in a real browser: one file, opened from the disk, with nothing to ask."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect
from review_tables import HOSTILE, SPRING, Shown
from waiting import wait_until

from reelbatch.review.report import ReportOptions, write_report


def opened(page: Page, path: Path) -> Page:
    """The page of a report."""
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    return page


def plays(page: Page, key: str) -> None:
    """A row's video runs."""
    card = page.locator(".card").filter(has=page.get_by_role("heading", name=key, exact=True))
    card.locator(".media").hover()
    expect(card.locator("video.plays")).to_be_visible()
    wait_until(lambda: card.locator("video").evaluate("video => video.currentTime") > 0, "it plays")


def test_a_report_is_the_page_without_a_network(page: Page, spring: Shown) -> None:
    """Pictures inside, videos by a relative path, the money, what failed, is held or in doubt; nothing to change."""
    path = spring.folder / "reports" / "spring.html"
    write_report(spring.ledger, SPRING, path, ReportOptions(dollars_per_credit=0.01))
    page.context.set_offline(True)
    opened(page, path)
    expect(page.locator("#count")).to_have_text("10 rows")
    image = page.locator(".card .picture").first
    assert image.get_attribute("src").startswith("data:image/jpeg;base64,")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    plays(page, "TEA-001")
    assert page.locator("video").get_attribute("src") == "../videos/video.mp4"
    expect(page.locator("#dollars")).to_contain_text("$")
    needs = page.locator("#open")
    expect(needs).to_contain_text("BAD-004 error: The render failed")
    expect(needs).to_contain_text("DBT-006 in doubt: No answer within 60 s")
    expect(needs).to_contain_text("HLD-007 TEA-001 of batch spring has paid for the same request")
    assert page.locator(".actions .yes, .actions .no, .actions .note").count() == 0
    asked = [url for url in page.said.asked if not url.startswith("data:")]
    assert {url.rpartition("/")[2] for url in asked} == {"spring.html", "video.mp4"}
    assert page.said.errors == []


def test_a_report_is_searched_filtered_and_sorted(page: Page, spring: Shown) -> None:
    """As the review is, with nothing behind it."""
    path = spring.folder / "spring.html"
    write_report(spring.ledger, SPRING, path)
    opened(page, path)
    page.select_option("#model", "wan-2.2")
    expect(page.locator(".card h3")).to_have_text(["MUG-002"])
    page.select_option("#model", "")
    page.select_option("#sort", "cost")
    expect(page.locator(".card h3").first).to_have_text("MUG-002")
    page.fill("#search", "teapot")
    expect(page.locator(".card h3")).to_have_text(["TEA-001"])
    page.keyboard.press("Enter")
    page.keyboard.press("a")
    page.fill("#search", "TWO-010")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(".version")).to_have_count(2)
    assert spring.said() == []
    assert page.said.errors == []


def test_a_card_says_what_its_row_cost(page: Page, table: Shown) -> None:
    """Final, expected, perhaps, or nothing: the same in the card, beside the video and in the order by cost."""
    rows = [
        ("REJ", "not charged", {"state": "rejected", "credits_estimated": 900}),
        ("INV", "not charged", {"state": "invalid", "credits_estimated": None, "image_path": "none.png"}),
        ("DBT", "perhaps 1,060 credits", {"state": "in_doubt", "credits_estimated": 1_060}),
        ("DEF", "cost unknown", {"state": "in_doubt", "credits_estimated": None}),
        ("RUN", "about 70 credits", {"state": "pending", "credits_estimated": 70}),
        ("TEA", "48 credits", {}),
    ]
    table.add_all([{"row_key": key, **stated} for key, _, stated in rows])
    path = table.folder / "spring.html"
    write_report(table.ledger, SPRING, path)
    opened(page, path)
    expect(page.locator(".card .facts b")).to_have_text([cost for _, cost, _ in rows])
    expect(page.locator(".card .no-picture").nth(1)).to_have_text("There is no picture of it")
    assert page.locator("#curve .stroke").get_attribute("d") == "M0.00,60.00L0.00,4.00L240,4.00"
    expect(page.locator("#curve-ends span").nth(1)).to_have_text("")
    page.select_option("#sort", "cost")
    expect(page.locator(".card h3")).to_have_text(["DBT", "RUN", "TEA", "REJ", "INV", "DEF"])
    page.keyboard.press("ArrowRight")
    page.locator(".card").first.locator(".more").click()
    expect(page.locator(".version .pairs")).to_contain_text("perhaps 1,060 credits")
    assert page.said.errors == []


def test_a_further_video_that_is_in_doubt_is_found(page: Page, spring: Shown) -> None:
    """By the bar that counts it and the error that it has; its row's card says why it is there."""
    more = {"state": "in_doubt", "error_code": "lost", "model": "wan-2.2"}
    spring.add("TEA-001", row_number=1, generation=2, **more)
    path = spring.folder / "spring.html"
    write_report(spring.ledger, SPRING, path)
    opened(page, path)
    page.locator("#states button").filter(has_text="in doubt").click()
    expect(page.locator(".card h3")).to_have_text(["TEA-001", "DBT-006"])
    expect(page.locator(".card .trouble").first).to_have_text("A further video is in doubt.")
    page.select_option("#error", "lost")
    expect(page.locator(".card h3")).to_have_text(["TEA-001"])
    page.select_option("#model", "wan-2.2")
    expect(page.locator(".card h3")).to_have_text(["TEA-001"])
    assert page.said.errors == []


def test_a_report_says_where_the_rest_of_a_long_list_is(page: Page, table: Shown) -> None:
    """It lists the first two hundred failed rows, says of how many, and the filter shows the others."""
    table.add_all([{"row_key": f"BAD-{number}", "state": "rejected"} for number in range(1_200)])
    path = table.folder / "spring.html"
    write_report(table.ledger, SPRING, path)
    needs = opened(page, path).locator("#open")
    expect(needs.locator("h3")).to_have_text("Failed (1,200)")
    expect(needs.locator("li")).to_have_count(200)
    expect(needs).to_contain_text("The first 200 of 1,200: the filter by state, at the top, shows all of them.")
    page.select_option("#state", "rejected")
    expect(page.locator("#count")).to_contain_text("1,200")


def test_with_embed_a_report_can_be_sent_alone(page: Page, spring: Shown, tmp_path: Path) -> None:
    """The videos are inside: it plays them in another folder, and with none of the files it was made from."""
    path = tmp_path / "elsewhere" / "spring.html"
    report = write_report(spring.ledger, SPRING, path, ReportOptions(embed=True))
    assert report.videos == 1
    (spring.folder / "videos" / "video.mp4").unlink()
    plays(opened(page, path), "TEA-001")


def test_hostile_texts_in_a_report_are_only_texts(page: Page, spring: Shown) -> None:
    """A prompt that ends the script element, or a batch that is markup, neither runs nor breaks the page."""
    path = spring.folder / "spring.html"
    write_report(spring.ledger, SPRING, path)
    opened(page, path)
    shown = HOSTILE.replace("\u202e", "\\u202e")
    card = page.locator(".card").filter(has=page.get_by_role("heading", name=shown, exact=True))
    expect(card.locator(".prompt")).to_have_text(shown)
    assert page.said.errors == []
    text = path.read_text(encoding="utf-8")
    assert "alert(2)</script" not in text
    assert re.search(r"script-src 'sha256-[\w+/=]+'", text.replace("&#39;", "'"))
