"""Columns of texts become what each text becomes by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.codes import country_codes, identities, mcc_codes
from features.history import country_code, identity, mcc_code

texts = st.text(max_size=130).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text))
maybe = st.one_of(st.none(), texts, st.sampled_from(["DE", "US", "5411", "0000", ""]))


@given(st.lists(texts, max_size=40))
def test_identities_are_those_of_each_id(ids: list[str]) -> None:
    found = identities(ids)
    assert found.dtype == np.uint64
    assert found.tolist() == [identity(one) for one in ids]


@given(st.lists(maybe, max_size=40))
def test_codes_are_those_of_each_text(column: list[str | None]) -> None:
    for found, code in ((country_codes(column), country_code), (mcc_codes(column), mcc_code)):
        assert found.dtype == np.int64
        assert found.tolist() == [code(text) for text in column]


def test_more_texts_than_are_remembered_keep_their_codes() -> None:
    column = [f"{i:05d}" for i in range(10_000)] * 2
    assert mcc_codes(column).tolist() == [mcc_code(text) for text in column]
