"""The tree against the definition of RFC 6962 and the published vectors of Certificate Transparency."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_audit import (
    EMPTY_ROOT,
    ConsistencyProof,
    Frontier,
    InclusionProof,
    NodeFiles,
    NodesMissing,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
)
from tests.unit.audit import rfc6962

CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [number.to_bytes(2, "big") for number in range(150)]


@pytest.fixture
def nodes(tmp_path: Path) -> NodeFiles:
    files = NodeFiles(tmp_path / "nodes")
    files.append(Frontier().extend([leaf_hash(leaf) for leaf in LEAVES]))
    return files


def test_the_roots_of_certificate_transparency() -> None:
    frontier = Frontier()
    roots = [frontier.root().hex()]
    for leaf in CT_LEAVES:
        frontier.extend([leaf_hash(leaf)])
        roots.append(frontier.root().hex())
    assert roots == CT_ROOTS
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]


@given(st.lists(st.integers(0, 40), max_size=12))
@settings(deadline=None)
def test_the_root_does_not_depend_on_how_leaves_arrive(batches: list[int]) -> None:
    frontier, count = Frontier(), 0
    with tempfile.TemporaryDirectory() as folder:
        files = NodeFiles(Path(folder))
        for size in batches:
            batch = [leaf_hash(bytes([count + at & 255])) for at in range(size)]
            files.append(frontier.extend(batch))
            count += size
        expected = rfc6962.mth([bytes([at & 255]) for at in range(count)])
        assert frontier.root() == expected == root_at(files, count)
        assert files.frontier().root() == expected
        again = NodeFiles(Path(folder), count)
        assert again.frontier().extend([leaf_hash(b"next")]) == frontier.extend([leaf_hash(b"next")])
        again.close()
        files.close()


def test_every_root_and_proof_is_the_definitions(nodes: NodeFiles) -> None:
    for size in range(1, 70):
        data = LEAVES[:size]
        root = rfc6962.mth(data)
        assert root_at(nodes, size) == root
        for leaf in range(size):
            proof = inclusion_proof(nodes, leaf, size)
            assert list(proof.path) == rfc6962.path(leaf, data)
            assert proof.proves(leaf_hash(data[leaf]), root)
        for old in range(1, size + 1):
            consistent = consistency_proof(nodes, old, size)
            assert list(consistent.path) == rfc6962.proof(old, data)
            assert consistent.proves(rfc6962.mth(data[:old]), root)


@given(
    size=st.integers(1, 150),
    leaf=st.integers(0, 149),
    other=st.integers(0, 149),
    wrong=st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=300)  # proofs are checked without the files: built once
def test_no_other_inclusion_proof_is_accepted(size: int, leaf: int, other: int, wrong: int) -> None:
    data = LEAVES[:size]
    leaf, other = leaf % size, other % size
    root, path = rfc6962.mth(data), tuple(rfc6962.path(leaf, data))
    mine = leaf_hash(data[leaf])
    assert InclusionProof(leaf, size, path).proves(mine, root)
    assert other == leaf or not InclusionProof(other, size, path).proves(mine, root)
    assert other == leaf or not InclusionProof(leaf, size, path).proves(leaf_hash(data[other]), root)
    assert not InclusionProof(leaf, size, (*path, path[0] if path else mine)).proves(mine, root)
    assert not InclusionProof(leaf, size, path).proves(mine, leaf_hash(root))
    assert not InclusionProof(-1, size, path).proves(mine, root)
    assert not InclusionProof(size, size, path).proves(mine, root)
    if path:
        at, bit = wrong % len(path), wrong % 256
        bent = bytearray(path[at])
        bent[bit // 8] ^= 1 << bit % 8
        assert not InclusionProof(leaf, size, (*path[:at], bytes(bent), *path[at + 1 :])).proves(mine, root)
        assert not InclusionProof(leaf, size, path[:-1]).proves(mine, root)
        assert not InclusionProof(leaf, size, (*path[:at], path[at][:-1], *path[at + 1 :])).proves(mine, root)


@given(size=st.integers(2, 150), old=st.integers(1, 149), wrong=st.integers(0, 10_000))
@settings(deadline=None, max_examples=300)
def test_no_other_consistency_proof_is_accepted(size: int, old: int, wrong: int) -> None:
    data = LEAVES[:size]
    old = 1 + old % (size - 1)
    older, root, path = rfc6962.mth(data[:old]), rfc6962.mth(data), tuple(rfc6962.proof(old, data))
    assert ConsistencyProof(old, size, path).proves(older, root)
    altered = [*data[: old - 1], b"altered", *data[old:]]
    assert not ConsistencyProof(old, size, path).proves(rfc6962.mth(altered[:old]), root)
    assert not ConsistencyProof(old, size, path).proves(older, rfc6962.mth(altered))
    assert not ConsistencyProof(old, size, tuple(rfc6962.proof(old, altered))).proves(
        older, rfc6962.mth(altered)
    )
    assert not ConsistencyProof(old, size, ()).proves(older, root)
    assert not ConsistencyProof(old, size, (*path, path[0])).proves(older, root)
    assert not ConsistencyProof(size + 1, size, path).proves(older, root)
    at, bit = wrong % len(path), wrong % 256
    bent = bytearray(path[at])
    bent[bit // 8] ^= 1 << bit % 8
    assert not ConsistencyProof(old, size, (*path[:at], bytes(bent), *path[at + 1 :])).proves(older, root)


def test_a_proof_that_ends_early_proves_no_larger_tree() -> None:
    """Its last step has the root of a smaller tree, which is not the one of the size that it names."""
    for old in range(1, 20):
        for middle in range(old + 1, 30):
            path = tuple(rfc6962.proof(old, LEAVES[:middle]))
            roots = rfc6962.mth(LEAVES[:old]), rfc6962.mth(LEAVES[:middle])
            for size in range(middle + 1, 40):
                if len(rfc6962.proof(old, LEAVES[:size])) != len(path):
                    assert not ConsistencyProof(old, size, path).proves(*roots)


def test_the_empty_and_the_same_tree_are_consistent(nodes: NodeFiles) -> None:
    root = root_at(nodes, 9)
    assert consistency_proof(nodes, 0, 9).proves(EMPTY_ROOT, root)
    assert not consistency_proof(nodes, 0, 9).proves(root, root)
    assert consistency_proof(nodes, 9, 9).proves(root, root)
    assert not consistency_proof(nodes, 9, 9).proves(root_at(nodes, 8), root)


def test_what_is_not_in_the_log_cannot_be_proven(nodes: NodeFiles) -> None:
    with pytest.raises(ValueError, match="150 leaves, not 151"):
        inclusion_proof(nodes, 0, 151)
    with pytest.raises(ValueError, match="leaf 20 is not among the first 20"):
        inclusion_proof(nodes, 20, 20)
    with pytest.raises(ValueError, match="never one of 21"):
        consistency_proof(nodes, 21, 20)
    with pytest.raises(IndexError):
        nodes.nodes(0, 150, 1)


def test_a_file_that_is_too_short_is_told(nodes: NodeFiles, tmp_path: Path) -> None:
    nodes.close()
    file = tmp_path / "nodes" / "level_04.nodes"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(NodesMissing, match=r"level_04\.nodes holds 8 nodes, a log of 150 leaves has 9"):
        NodeFiles(tmp_path / "nodes", 150)


def test_what_a_crash_left_behind_the_committed_leaves_is_written_over(
    nodes: NodeFiles, tmp_path: Path
) -> None:
    nodes.close()
    leaves = tmp_path / "nodes" / "level_00.nodes"
    leaves.write_bytes(leaves.read_bytes() + b"torn")
    shorter = NodeFiles(tmp_path / "nodes", 100)
    frontier = shorter.frontier()
    shorter.append(frontier.extend([leaf_hash(b"other")] * 50))
    assert root_at(shorter, 150) == rfc6962.mth([*LEAVES[:100], *[b"other"] * 50])
