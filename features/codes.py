"""Identities and codes of whole columns: what `features/history.py` makes of one text, for every record of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np

from features.history import IDENTITY_BYTES, Int64, UInt64, country_code, mcc_code
from features.words import WORD

# Texts remembered of a column. Of 250 countries and 10,000 categories a stream has some hundreds; whatever else a
# producer sends drives out what was seen longest ago.
_REMEMBERED: Final = 4096

_country_code: Final = lru_cache(_REMEMBERED)(country_code)
_mcc_code: Final = lru_cache(_REMEMBERED)(mcc_code)
# A copy of a hash that has met nothing costs half of what a new one costs, whose parameters are checked anew.
_fresh_hash: Final = blake2b(digest_size=IDENTITY_BYTES).copy


def identities(transaction_ids: Sequence[str]) -> UInt64:
    """The `identity` of every transaction id.

    >>> from features.history import identity
    >>> identities(["t-1"]).tolist() == [identity("t-1")]
    True
    """
    digests: list[bytes] = []
    for text in transaction_ids:
        state = _fresh_hash()
        state.update(text.encode())
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), WORD).astype(np.uint64)


def country_codes(countries: Sequence[str | None]) -> Int64:
    """The `country_code` of every text.

    >>> country_codes(["AA", None, "ZZ"]).tolist()
    [1, 0, 676]
    """
    return np.fromiter(map(_country_code, countries), np.int64, len(countries))


def mcc_codes(mccs: Sequence[str | None]) -> Int64:
    """The `mcc_code` of every text.

    >>> mcc_codes(["0000", None, "9999"]).tolist()
    [1, 0, 10000]
    """
    return np.fromiter(map(_mcc_code, mccs), np.int64, len(mccs))
