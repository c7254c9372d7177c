"""Keys hashed many at once stand where keys hashed one by one stand."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.partitioner import Partitioner, murmur2, murmur2_of_many, places_of

RECORDS = st.tuples(st.sampled_from(["few", "many"]), st.none() | st.binary(max_size=3))


@given(st.lists(st.binary(max_size=70), max_size=20))
def test_many_hashes_are_those_of_each(keys: list[bytes]) -> None:
    assert murmur2_of_many(keys).tolist() == [murmur2(key) for key in keys]


def test_known_hashes() -> None:
    """Those that Kafka's own test states."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, signed in known.items():
        assert murmur2_of_many([key]).tolist() == [signed & 0xFFFFFFFF]


@given(st.lists(RECORDS, max_size=64))
def test_many_records_go_where_each_goes(records: list[tuple[str, bytes | None]]) -> None:
    counts = {"few": 1, "many": 4}
    each = [(topic, Partitioner().partition(key or b"", counts[topic])) for topic, key in records]
    assert places_of([topic for topic, _ in records], [key for _, key in records], counts) == each
