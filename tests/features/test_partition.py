"""The home partition is the one of Kafka's Java clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.partition import home_partition, murmur2, murmur2_python


@pytest.mark.parametrize(
    ("data", "signed"),
    # The values that Apache Kafka's own UtilsTest expects.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_of_kafka(data, signed):
    assert murmur2(data) == murmur2_python(data) == signed % 2**32


def test_an_empty_id_has_a_home():
    assert home_partition(b"", 4) in range(4)


@given(st.binary(max_size=200), st.integers(1, 10_000))
def test_home_is_a_partition(home_id, partitions):
    assert home_partition(home_id, partitions) in range(partitions)


@given(
    st.binary(max_size=70)
    | st.text(max_size=128).map(str.encode)
    | st.binary(min_size=500, max_size=512)
    | st.sampled_from([b"", b"\x00", b"a\x00\x00\x00", b"abcd\x00"])  # zeros at the end are part of an id
)
def test_agrees_with_the_textbook_form(data):
    assert murmur2(data) == murmur2_python(data) == textbook_murmur2(data)


def textbook_murmur2(data):
    """Murmur2 as it is usually written down: byte by byte, a mask after every step."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    state = (0x9747B28C ^ len(data)) & mask
    while len(data) >= 4:
        word = data[0] | data[1] << 8 | data[2] << 16 | data[3] << 24
        word = (word * factor) & mask
        word ^= word >> 24
        word = (word * factor) & mask
        state = (state * factor) & mask
        state ^= word
        data = data[4:]
    if len(data) == 3:
        state ^= data[2] << 16
    if len(data) >= 2:
        state ^= data[1] << 8
    if len(data) >= 1:
        state ^= data[0]
        state = (state * factor) & mask
    state ^= state >> 13
    state = (state * factor) & mask
    return state ^ (state >> 15)
