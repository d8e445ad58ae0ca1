"""The three ways of decoding agree on every record, whatever it holds."""

import json

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from features.decode import Decoder, decode_plain
from features.decode_exact import decode_exact
from features.errors import DecodeError
from features.money import EXPONENTS
from features.native import native_decode
from features.transaction import AUTHORIZATION, Transaction
from tests.properties import examples

REASONS = {"empty", "not_json", "not_object", "missing_field", "bad_type", "bad_id", "bad_amount", "bad_currency"}
REASONS |= {"bad_time", "bad_field", "pan_without_key", "too_large"}
NAMES = ["transaction_id", "card_id", "amount", "currency", "event_time", "merchant_id", "merchant_category", "country"]
NAMES += ["channel", "device_id", "ip_address", "email", "type", "original_transaction_id"]

# Values as JSON texts, so that what no JSON writer would produce is produced too.
number = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?[0-9]{1,18}(\.[0-9]{0,6})?([eE][+-]?[0-9]{0,3})?\Z"),
    st.sampled_from(
        ["0", "-0", "1e3", "1E400", "1e999999999", "9" * 5000, "NaN", "Infinity", "-Infinity", "01", "1.", ".5"]
    ),
)
character = st.one_of(
    st.characters(),
    st.sampled_from(
        ["\\ud800", "\\udc00", "\\ud83d\\ude00", "\\u0034", "\\n", "\\/", "\\x", "\x00", "\x85", '"', "\\", "4", " "]
    ),
)
string = st.one_of(
    st.lists(character, max_size=12).map(lambda parts: '"' + "".join(parts) + '"'),
    st.text(max_size=20).map(json.dumps),
    st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["card-1", "t-1", "EUR", "JPY", "XAU", "authorization", "reversal", "12.50", "4111 1111 1111 1111"]
    ).map(json.dumps),
    st.datetimes().map(lambda moment: json.dumps(moment.isoformat() + "Z")),
    st.sampled_from([127, 128, 129, 256, 257]).flatmap(
        lambda size: st.sampled_from(["a", "\U0001f600", "\x7f"]).map(
            lambda text: json.dumps(text * size, ensure_ascii=False)
        )
    ),
)
value = st.recursive(
    st.one_of(number, string, st.sampled_from(["null", "true", "false", "nul", "", "[1,]", "{}"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(string, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{k}:{v}" for k, v in pairs) + "}"
        ),
    ),
    max_leaves=5,
)
good = st.fixed_dictionaries(
    {
        "transaction_id": string,
        "card_id": st.sampled_from(['"card-1"', '"4111-1111-1111-1111"', '"9999999999999995"']),
        "amount": st.decimals(1, 10**9, places=3).map(str) | st.decimals(1, 10**9, places=2).map(lambda n: f'"{n}"'),
        "currency": st.sampled_from(['"EUR"', '"JPY"', '"KWD"', '"CLF"']),
        "event_time": st.integers(0, 2**41).map(str) | st.datetimes().map(lambda moment: f'"{moment.isoformat()}Z"'),
    },
    optional=dict.fromkeys(NAMES[5:], string),
)
key = st.sampled_from(NAMES) | st.text(max_size=5) | st.just("\\u0061mount")
space = st.sampled_from(["", "", " ", "\n", "\t", "\r", "\x0c", "\u00a0"])


@st.composite
def documents(draw):
    """A record that is right, then changed in none or a few places, as bytes."""
    pairs = list(draw(good).items())
    pairs += draw(st.lists(st.tuples(key, value), max_size=2))
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    gap = draw(space)
    text = "{" + ",".join(f'"{name}"{gap}:{gap}{item}' for name, item in pairs) + "}" + draw(space)
    return text.encode(errors="surrogatepass")


@st.composite
def damaged(draw):
    """A record with a few bytes replaced, removed or inserted."""
    body = bytearray(draw(documents()))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body) - 1))
        body[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        assume(body)
    return bytes(body)


def outcome(function, record):
    try:
        return function(record)
    except DecodeError as error:
        return error.reason if error.reason in REASONS else f"{error.reason} is no reason of the contract"


def native(record):
    """What the native way makes of a record; None where it was not built."""
    return None if native_decode is None else native_decode.plain(record, EXPONENTS, Transaction, AUTHORIZATION)


def check(record):
    quickest, fast, exact = native(record), decode_plain(record), outcome(decode_exact, record)
    assert fast is None or fast == exact
    assert quickest is None or quickest == exact
    assert not isinstance(exact, str) or exact in REASONS


@examples(200)
@given(documents())
@example(b'{"transaction_id":"t","card_id":"c","amount":1,"currency":"EUR","event_time":0,"x":"\xff"}')
def test_documents(record):
    check(record)


@examples(150)
@given(damaged())
def test_damaged_documents(record):
    check(record)


@examples(125)
@given(st.binary(max_size=60) | value.map(lambda text: text.encode(errors="surrogatepass")))
def test_anything_at_all(record):
    check(record)


@examples(75)
@given(documents(), st.sampled_from([None, b"k" * 32]))
def test_a_refusal_has_a_reason_and_a_card_number_never_passes(record, pan_key):
    result = outcome(Decoder(pan_key).decode, record)
    assert not isinstance(result, str) or result in REASONS
    assert "4111-1111-1111-1111" not in repr(result)
    assert "9999999999999995" not in repr(result)


@examples(60)
@given(good)
def test_most_good_records_take_the_fast_way(fields):
    record = ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode(errors="surrogatepass")
    assume(b"\\" not in record and b'"original' not in record)
    expected = outcome(decode_exact, record)
    if not isinstance(expected, str) and not expected.dropped_fields:
        assert decode_plain(record) == expected


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=130)
moments = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z") | st.sampled_from(
    ["2024-02-28T23:59:59Z", "2024-02-29T00:00:00.000Z", "2023-02-29T00:00:00Z", "1970-01-01T00:00:00Z",
     "1969-12-31T23:59:59.999Z", "9999-12-28T23:59:59.999Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z",
     "2024-12-31T23:59:60Z", "2024-00-10T00:00:00Z", "2024-01-00T00:00:00Z", "2024-01-01t00:00:00Z",
     "0000-01-01T00:00:00Z"]
)  # fmt: skip
plain_values = {
    "transaction_id": texts.map(json.dumps),
    "card_id": texts.map(json.dumps),
    "amount": number | number.map(json.dumps) | st.decimals(0, 10**14, places=2).flatmap(
        lambda n: st.sampled_from([f"{n}", f'"{n}"', f'"0{n}"', f"0{n}"])
    ),
    "currency": st.sampled_from(['"EUR"', '"JPY"', '"KWD"', '"CLF"', '"XAU"', '"eur"']),
    "event_time": moments.map(json.dumps) | st.integers(-1, 10**16).map(str),
}  # fmt: skip


@examples(200)
@given(
    st.fixed_dictionaries(plain_values, optional=dict.fromkeys([*NAMES[5:], "other"], texts.map(json.dumps) | value)),
    st.sampled_from(["", " ", "\n\t"]),
    st.binary(max_size=2),
    st.integers(0, 400),
)
def test_plain_documents_and_those_with_a_flaw(fields, gap, flaw, place):
    record = ("{" + f"{gap},{gap}".join(f'"{n}"{gap}:{gap}{v}' for n, v in fields.items()) + "}" + gap).encode(
        errors="surrogatepass"
    )
    check(record)
    check(record[:place] + flaw + record[place + len(flaw) :])
    check(record[:place])


@pytest.mark.skipif(native_decode is None, reason="the native piece was not built here")
def test_what_producers_write_takes_the_native_way():
    fields = {
        "transaction_id": "t",
        "card_id": "c",
        "amount": "12.50",
        "currency": "EUR",
        "event_time": 1_700_000_000_000,
    }
    optional = dict.fromkeys(NAMES[5:12], "x") | {"type": "authorization", "unknown": None, "more": -1.5e3}
    for document in (
        fields,
        fields | {"amount": 12.5},
        fields | {"event_time": "2024-02-28T10:00:00.123Z"},
        fields | optional,
    ):
        record = json.dumps(document).encode()
        assert native(record) == decode_exact(record)


@pytest.mark.skipif(native_decode is None, reason="the native piece was not built here")
@pytest.mark.parametrize("arguments", [(), (b"",), ("", {}, Transaction, ""), (b"", [], Transaction, "")])
def test_the_native_way_refuses_what_is_no_record(arguments):
    with pytest.raises(TypeError):
        native_decode.plain(*arguments)
    with pytest.raises(TypeError):
        native_decode.murmur2("text")
