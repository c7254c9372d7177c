"""Keys hashed many at once stand where keys hashed one by one stand."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.partitioner import FEWEST_KEYS, Partitioner, hashes_of, murmur2, murmur2_of_many


@given(length=st.integers(0, 70), data=st.data())
def test_many_hashes_are_those_of_each(length: int, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.binary(min_size=length, max_size=length), min_size=1, max_size=20))
    assert murmur2_of_many(keys).tolist() == [murmur2(key) for key in keys]


def test_known_hashes() -> None:
    """Those that Kafka's own test states."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, signed in known.items():
        assert murmur2_of_many([key]).tolist() == [signed & 0xFFFFFFFF]


@given(st.lists(st.binary(max_size=3), max_size=4 * FEWEST_KEYS))
def test_hashes_of_many_keys_name_the_partition_of_each(keys: list[bytes]) -> None:
    partitions = [Partitioner().partition(key, 4) for key in keys]
    assert (hashes_of(keys) % 4).tolist() == partitions
