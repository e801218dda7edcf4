"""Exports of six shops, with the settings of their pages in docs/shops, through the sandbox."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import reelbatch
from reelbatch.pipeline.run_summary import RunReport
from reelbatch.sandbox import RunningSandbox

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "shops"


class Shop(NamedTuple):
    """What becomes of a sample."""

    sample: str
    sent: int
    left_out: int


SHOPS = {
    "shopify": Shop("shopify.csv", sent=3, left_out=3),
    "woocommerce": Shop("woocommerce.csv", sent=2, left_out=3),
    "magento": Shop("magento.csv", sent=2, left_out=3),
    "opencart": Shop("opencart.csv", sent=2, left_out=1),
    "google-merchant": Shop("google-merchant.tsv", sent=4, left_out=1),
    "prestashop": Shop("prestashop.csv", sent=2, left_out=2),
}


def _settings_of(page: str, folder: Path) -> Path:
    """The page's own block as a config file."""
    block = re.search(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block, "the page shows no settings"
    config = folder / "reelbatch.yaml"
    config.write_text(block[1], encoding="utf-8")
    return config


def _generate(shop: Shop, config: Path, sandbox: RunningSandbox) -> RunReport:
    at = {"base_url": sandbox.url, "api_key": sandbox.key, "results": f"sqlite:///{config.parent}/results.db"}
    return reelbatch.generate(ROOT / "data" / "shops" / shop.sample, batch="shop", config=config, **at)


def test_every_page_has_its_sample() -> None:
    """Neither one without the other."""
    assert {page.stem for page in PAGES.glob("*.md")} == set(SHOPS)
    assert {sample.name for sample in (ROOT / "data" / "shops").iterdir()} == {shop.sample for shop in SHOPS.values()}


@pytest.mark.parametrize("name", SHOPS)
def test_a_shops_export_works_as_its_page_says(name: str, running: RunningSandbox, tmp_path: Path) -> None:
    """Keys, images and prompts are those that the page shows; the same command again sends nothing."""
    page, shop = (PAGES / f"{name}.md").read_text(encoding="utf-8"), SHOPS[name]
    config = _settings_of(page, tmp_path)
    report = _generate(shop, config, running)
    assert (report.exit_code, report.submitted, report.as_json()["left_out"]) == (0, shop.sent, shop.left_out)
    sent = reelbatch.results(f"sqlite:///{tmp_path}/results.db", "shop").sort_values("row_number")
    made = [f"| `{row.row_key}` | `{row.image_path}` | {row.prompt} |" for row in sent.itertuples()]
    shown = [line for line in page.splitlines() if line.startswith("| `")]
    assert made[: len(shown)] == shown
    assert _generate(shop, config, running).sent == 0
