"""What bytes that are no UTF-8 look like in the encodings that spreadsheets save text in."""

from __future__ import annotations

import codecs

COMMON = ("utf-8", "cp1252", "cp1250", "cp1251", "cp932", "gb18030", "big5", "cp949")
"""UTF-8 in a file that is damaged elsewhere, then those of Windows: in Western Europe and America, in Eastern Europe,
of Cyrillic, in Japan, in mainland China, in Taiwan, in Korea."""


def readings(excerpt: bytes) -> str:
    """`"grün" in cp1252, "grьn" in cp1251`: each reading once, in the first encoding that has it; "": there is none.

    `excerpt` may end within a character.
    """
    found: dict[str, str] = {}
    for name in COMMON:
        try:
            text = codecs.getincrementaldecoder(name)().decode(excerpt).strip()
        except UnicodeDecodeError:
            continue
        if text.isprintable():
            found.setdefault(text, name)
    return ", ".join(f'"{text}" in {name}' for text, name in found.items() if text)
