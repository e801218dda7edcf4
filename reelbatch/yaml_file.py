"""YAML that users write: read as a whole, or refused with the place at which it goes wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from reelbatch.errors import SettingsError

_TEXT = "tag:yaml.org,2002:str"
_WHOLE = "tag:yaml.org,2002:int"
_OCTAL = re.compile(r"[-+]?0[0-9_]+$")
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = frozenset({_WHOLE, "tag:yaml.org,2002:float"})
_SLIPS = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What PyYAML raises for a value that has another form than it looks like, such as the date 2026-13-45."""


class _Loader(yaml.SafeLoader):
    """Keys are names: `on`, `No` and `2024` are the text that was written. A value that can't be read says where.

    `16:9` is a text too; YAML's numbers to the base of 60 are no one's.
    """

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # its stub has no types
        return _TEXT if tag in _NUMBERS and ":" in value else tag

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT
                if key.value in names:
                    why = f'"{key.value}" is stated twice; keep one of them'
                    raise yaml.composer.ComposerError(None, None, why, key.start_mark)
                names.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _SLIPS as error:
            kind = node.tag.rpartition(":")[2]
            why = f"this is no {kind}; if it is text, put it between quotation marks"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark) from error

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """YAML 1.1 takes 010 for 8, which is not what someone means by a cap.

        Raises:
            ValueError: it is no number, or one of those.
        """
        if _OCTAL.match(node.value):
            raise ValueError("written to the base of 8")
        return super().construct_yaml_int(node)


_Loader.add_constructor(_WHOLE, _Loader.construct_yaml_int)


def load_yaml(path: Path, content: bytes, *, what: str) -> Any:
    """The content of a file at `path`, which is `what` in a message.

    Raises:
        SettingsError: it is no YAML in UTF-8, or has a value that is none.
    """
    try:
        return _loaded(path, content.decode("utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        first, *more = str(error).splitlines()
        raise SettingsError(f"{path}: {what} can't be read: {first}", *more) from error
    except RecursionError:
        raise SettingsError(f"{path}: {what} can't be read: it is nested too deeply") from None


def _loaded(path: Path, text: str) -> Any:
    """As `yaml.load`, which would call the file "<unicode string>" where it says at which place it goes wrong."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        error.name = str(path)
        raise
    loader.name = str(path)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
