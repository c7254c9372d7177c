"""Reading offset ranges back: to look at, to copy, to compare by digest."""

from sluice_kit.replay.digest import PartitionDigest, combined
from sluice_kit.replay.engine import DIGEST_ONLY, PartitionReport, ReplayReport, Sink, replay
from sluice_kit.replay.ranges import OffsetRange, ReplayError, merged, parse_range, read_ranges
from sluice_kit.replay.reading import ReplayBatch, check_retained, replay_consumer_config
from sluice_kit.replay.selecting import in_time, of_run, whole_topic

__all__ = [
    "DIGEST_ONLY",
    "OffsetRange",
    "PartitionDigest",
    "PartitionReport",
    "ReplayBatch",
    "ReplayError",
    "ReplayReport",
    "Sink",
    "check_retained",
    "combined",
    "in_time",
    "merged",
    "of_run",
    "parse_range",
    "read_ranges",
    "replay",
    "replay_consumer_config",
    "whole_topic",
]
