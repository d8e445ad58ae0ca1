"""YAML with the line of everything in it, and nothing in it that a rule file does not need.

Every scalar is a text until somebody asks for more: the country NO is not false, the category 0742 no number.
Anchors, aliases and tags are refused, and sizes are bounded before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import yaml

MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 8
_MAX_NODES: Final = 50_000
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SourceError(ValueError):
    """A file cannot be used; the text says where and why."""


class Place(msgspec.Struct, frozen=True):
    """Where something stands."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Item(msgspec.Struct, frozen=True):
    """A node: a text, a list of nodes, or nodes by name.

    Attributes:
        place: where it begins.
        value: what it is.
        block: whether it is a text whose lines stand as they are, below `place`.
        plain: whether it is a text without quotes, so that it may stand for a number or a truth value.
    """

    place: Place
    value: str | Sequence[Item] | Mapping[str, Item]
    block: bool = False
    plain: bool = False


def read_yaml(file: Path) -> Item:
    """Read a file.

    Raises:
        SourceError: it cannot be read, is too large, is no YAML, or uses what is refused.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
        text = raw.decode()
    except OSError as exc:
        raise SourceError(f"{file}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise SourceError(f"{file}: is not UTF-8 (byte {exc.start})") from None
    if len(raw) > MAX_BYTES:
        raise SourceError(f"{file}: is larger than {MAX_BYTES >> 20} MiB; long lists go into files of their own")
    try:
        _bounded(text, file)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise SourceError(f"{file}:{line}: is no YAML: {exc.problem or exc.context}") from None
    except yaml.YAMLError as exc:
        raise SourceError(f"{file}: is no YAML: {str(exc).splitlines()[0]}") from None
    if node is None:
        raise SourceError(f"{file}: is empty")
    return _item(node, file)


def _bounded(text: str, file: Path) -> None:
    """Look at the events, which are never nested: what comes after may then build them recursively."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SourceError(
                f"{file}:{line}: anchors and aliases (& and *) are not used here; put quotes around texts"
            )
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise SourceError(f"{file}:{line}: tags (!) are not used here; put quotes around texts")
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise SourceError(f"{file}:{line}: has more than {_MAX_DEPTH} levels or {_MAX_NODES:,} values")


def _item(node: yaml.Node, file: Path) -> Item:
    place = Place(file, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return Item(place, [_item(child, file) for child in node.value])
    if isinstance(node, yaml.MappingNode):
        named: dict[str, Item] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SourceError(f"{file}:{key.start_mark.line + 1}: a name is expected here")
            if key.value in named:
                raise SourceError(f"{file}:{key.start_mark.line + 1}: {key.value} stands here a second time")
            named[key.value] = _item(value, file)
        return Item(place, named)
    style = getattr(node, "style", None)
    return Item(place, str(node.value), block=style == "|", plain=not style)
