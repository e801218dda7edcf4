"""Exports of shops, known by their columns: what makes their key, and which of their lines count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelbatch.pipeline.init_columns import plain_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One kind of export. Columns by their plain names.

    Attributes:
        page: of docs/shops.
        signs: columns that no other kind has together.
        key: the columns that make the key.
        fill_down: columns that further lines of a product leave empty.
        where: what the lines that count have.
    """

    name: str
    page: str
    signs: tuple[str, ...]
    key: tuple[str, ...]
    fill_down: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


SHOPS = (
    Shop(
        name="Shopify",
        page="shopify",
        signs=("handle", "title", "image src"),
        key=("handle", "image position"),
        fill_down=("title", "body html", "status"),
        where={"status": "active"},
    ),
    Shop(
        name="WooCommerce",
        page="woocommerce",
        signs=("id", "type", "sku", "published", "images"),
        key=("id",),
        where={"published": 1, "type": ["simple", "variable"]},
    ),
    Shop(
        name="Magento or Adobe Commerce",
        page="magento",
        signs=("sku", "store view code", "base image"),
        key=("sku",),
        where={
            "store view code": "empty",
            "product online": 1,
            "visibility": ["Catalog", "Search", "Catalog, Search"],
        },
    ),
    Shop(
        name="OpenCart",
        page="opencart",
        signs=("product id", "image name", "stock status id"),
        key=("product id",),
        where={"status": True},
    ),
    Shop(
        name="Google Merchant",
        page="google-merchant",
        signs=("id", "title", "image link"),
        key=("id",),
        where={"availability": ["in_stock", "in stock"]},
    ),
    Shop(
        name="PrestaShop",
        page="prestashop",
        signs=("product id", "active 0 1", "name"),
        key=("product id",),
        where={"active 0 1": 1},
    ),
)


@dataclass(frozen=True, slots=True)
class KnownExport:
    """A shop's export, with what its rows need by the columns' own names."""

    shop: Shop
    key: tuple[str, ...]
    fill_down: tuple[str, ...]
    where: Mapping[str, Any]


def known_export(columns: Sequence[str]) -> KnownExport | None:
    """The kind of export that has these `columns`; None: no kind that is known."""
    own: dict[str, str] = {}
    for column in columns:
        own.setdefault(plain_name(column), column)
    shop = next((shop for shop in SHOPS if own.keys() >= set(shop.signs)), None)
    if shop is None:
        return None
    return KnownExport(
        shop,
        tuple(own[name] for name in shop.key) if own.keys() >= set(shop.key) else (),
        tuple(own[name] for name in shop.fill_down if name in own),
        {own[name]: value for name, value in shop.where.items() if name in own},
    )
