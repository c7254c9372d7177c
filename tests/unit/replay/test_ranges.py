"""Ranges: what may be asked, and that merging keeps exactly the same offsets."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.replay import OffsetRange, ReplayError, merged, parse_range, read_ranges

RANGES = st.lists(
    st.builds(
        lambda topic, partition, start, length: OffsetRange(topic, partition, start, start + length),
        st.sampled_from(["a", "b"]),
        st.integers(0, 1),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
    max_size=12,
)


def offsets(ranges: list[OffsetRange]) -> list[tuple[str, int, int]]:
    return [(item.topic, item.partition, offset) for item in ranges for offset in range(item.start, item.end)]


@given(RANGES)
def test_merging_keeps_every_offset_once_and_in_order(ranges: list[OffsetRange]) -> None:
    assert offsets(merged(ranges)) == sorted(set(offsets(ranges)))


@given(RANGES)
def test_merged_ranges_have_gaps_between_them(ranges: list[OffsetRange]) -> None:
    found = merged(ranges)
    assert all(first[:2] != second[:2] or first.end < second.start for first, second in pairwise(found))


def test_a_topic_may_hold_colons_in_nothing_but_its_ranges() -> None:
    assert parse_range("traffic.payment:0:10:500") == OffsetRange("traffic.payment", 0, 10, 500)


@pytest.mark.parametrize("text", ["", "a", "a:0:1", "a:0:5:4", "a:-1:0:1", "a:0:-1:1", "a:0:x:1", ":0:0:1"])
def test_what_is_no_range_is_refused_by_name(text: str) -> None:
    with pytest.raises(ReplayError) as refused:
        parse_range(text)
    assert refused.value.code == "RANGE_INVALID"


def test_a_report_can_be_replayed(tmp_path: Path) -> None:
    ranges = [OffsetRange("traffic.payment", 1, 3, 9), OffsetRange("control.run", 0, 0, 2)]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"records": 8, "ranges": [item._asdict() for item in ranges]}))
    assert read_ranges(report) == ranges


@pytest.mark.parametrize(
    "content", ["{}", "3", "- {topic: a}", "- {topic: a, partition: 0, start: x, end: 1}", "["]
)
def test_a_file_without_ranges_says_what_is_missing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ranges.yaml"
    file.write_text(content)
    with pytest.raises(ReplayError, match=r"ranges\.yaml") as refused:
        read_ranges(file)
    assert refused.value.code == "RANGES_FILE"
