"""The native pieces, where they were built; each has a Python twin that gives the same answers, slower."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, cast

from features.transaction import Transaction


class NativeDecode(Protocol):
    """`features/_decode.c`."""

    def plain(
        self, value: bytes, exponents: Mapping[str, int], make: type[Transaction], authorization: str, /
    ) -> Transaction | None:
        """The transaction of a plain record: a flat JSON object, ASCII, without escapes.

        Args:
            value: at most `features.wire.MAX_BYTES` bytes.
            exponents: minor-unit decimals by currency; a dict.
            make: `Transaction`.
            authorization: the type of what it makes.

        Returns:
            What `features.decode.decode_plain` makes of it; None says nothing about the record.
        """
        ...

    def murmur2(self, data: bytes, /) -> int:
        """As `features.partition.murmur2_python`."""
        ...


def built(name: str) -> Any:  # noqa: ANN401 - a module, whose functions its protocol tells
    """A module that the installation compiled, or None where it could not."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def missing(names: Iterable[str]) -> list[str]:
    """Which of some native pieces were not built.

    >>> missing(["features._nothing", "features.native"])
    ['features._nothing']
    """
    return [name for name in names if importlib.util.find_spec(name) is None]


native_decode: Final = cast("NativeDecode | None", built("features._decode"))
