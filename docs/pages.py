"""Adds the pages that lie outside docs/ to the site, and leads links to where the site has them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY-policy.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results.png": "pictures/results.png",
    "tests/README.md": "tests.md",
}
"""Files of the repository, and where the site has them."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_config(config: Any) -> Any:
    """The decision records, as the last part of the menu."""
    records = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "adr").glob("*.md"))
    config.nav.append({"Decisions": records})
    return config


def on_files(files: Files, config: Any) -> Files:
    """The pages and pictures from outside."""
    for source, target in OUTSIDE.items():
        path = ROOT / source
        content: str | bytes = path.read_text(encoding="utf-8") if path.suffix == ".md" else path.read_bytes()
        files.append(File.generated(config, target, content=content))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Pages that are reached from others need no line in the menu."""
    del config, files
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the repository has them, so as the site has them; a file that is no page becomes its name."""
    del config
    here = page.file.src_uri
    original = next((source for source, target in OUTSIDE.items() if target == here), f"docs/{here}")

    def lead(link: re.Match[str]) -> str:
        mark, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(original), target))
        place = OUTSIDE.get(wanted, wanted.removeprefix("docs/"))
        if files.get_file_from_path(place) is None:
            exists = (ROOT / wanted).exists()
            return text if exists else link[0]  # a file of the repository; a dead link stays, and is warned of
        return f"{mark}[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(lead, _HEADER.sub("", markdown))
