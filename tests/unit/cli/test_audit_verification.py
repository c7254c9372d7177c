"""A verification reads the leaf index where it can, changes nothing, and says why where it cannot."""

from pathlib import Path

from sluice_audit import Frontier, NodeFiles
from sluice_cli.audit_verification import open_leaf_index


def test_the_leaf_index_is_used_where_it_is_whole(tmp_path: Path) -> None:
    written = NodeFiles(tmp_path)
    written.append(Frontier().extend([bytes([number]) * 32 for number in range(20)]))
    written.close()
    nodes, unindexed = open_leaf_index(tmp_path, 20)
    assert nodes is not None
    assert (nodes.size, unindexed) == (20, "")
    nodes.close()


def test_a_leaf_index_that_cannot_be_used_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    assert open_leaf_index(tmp_path / "none", 20) == (None, f"{tmp_path}/none is not on this host")
    nodes, unindexed = open_leaf_index(tmp_path, 20)
    assert nodes is None
    assert "level_00.nodes holds 0 nodes" in unindexed
    assert list(tmp_path.iterdir()) == []
