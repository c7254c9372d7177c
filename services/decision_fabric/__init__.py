"""The decision fabric: joins payments with their snapshots and decides them under bundle and posture."""
