import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_decisions import TreeModel
from sluice_decisions.model import MILLIONTHS, lightgbm_library, matrix_of, strongest
from sluice_decisions.model_text import ModelShape, ModelTextProblem, read_model_text
from tests.unit.decisions import parts as small


@pytest.fixture(scope="module")
def model(text: str) -> TreeModel:
    loaded = TreeModel.load(text)
    assert isinstance(loaded, TreeModel), loaded
    return loaded


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return small.table(500, seed=9).rows


def test_training_twice_gives_the_same_bytes(text: str) -> None:
    assert small.model_text() == text
    assert small.model_text(seed=6) != text


def test_another_process_gives_the_same_scores_and_attributions(
    text: str, model: TreeModel, tmp_path: Path
) -> None:
    (tmp_path / "model.txt").write_text(text)
    code = (
        "import sys; from sluice_decisions import TreeModel; from tests.unit.decisions import parts\n"
        "model = TreeModel.load(open(sys.argv[1]).read()); rows = parts.table(500, seed=9).rows\n"
        "sys.stdout.buffer.write(model.scores(rows).tobytes() + model.attributions(rows).tobytes())"
    )
    path = [entry for entry in sys.path if entry]
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}", str(tmp_path / "model.txt")],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
    ).stdout
    rows = small.table(500, seed=9).rows
    assert elsewhere == model.scores(rows).tobytes() + model.attributions(rows).tobytes()


def test_scores_are_lightgbm_s_own_in_millionths(text: str, model: TreeModel, rows: np.ndarray) -> None:
    own = lightgbm_library().Booster(model_str=text).predict(rows)
    scores = model.scores(rows)
    assert scores.dtype == np.int64
    assert np.abs(scores / MILLIONTHS - own).max() <= 0.5 / MILLIONTHS
    assert 0 <= scores.min() < 100_000
    assert 900_000 < scores.max() <= MILLIONTHS


def test_a_row_s_score_does_not_depend_on_its_batch(model: TreeModel, rows: np.ndarray) -> None:
    alone = [int(model.scores(row[None, :])[0]) for row in rows[:60]]
    assert alone == model.scores(rows)[:60].tolist()


def test_contributions_add_up_to_the_raw_score(text: str, model: TreeModel, rows: np.ndarray) -> None:
    booster = lightgbm_library().Booster(model_str=text)
    raw = booster.predict(rows, raw_score=True)
    bias = booster.predict(rows[:1], pred_contrib=True)[0, -1]
    total = model.attributions(rows).sum(axis=1) / MILLIONTHS + bias
    assert np.abs(total - raw).max() < len(small.FEATURES) / MILLIONTHS


def test_no_rows_are_no_scores(model: TreeModel) -> None:
    assert model.scores(matrix_of([], []).reshape(0, 5)).tolist() == []
    assert model.attributions(np.empty((0, 5))).shape == (0, 5)


def test_missing_positions_become_nan() -> None:
    rows = matrix_of([[1, 2, 3], [4, 5, 2**53]], [[], [0, 2]])
    assert rows[0].tolist() == [1, 2, 3]
    assert np.isnan(rows[1]).tolist() == [True, False, True]
    assert rows[1, 1] == 5


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=5),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_strongest_come_first_and_ties_by_position(contributions: list[list[int]], most: int) -> None:
    for row, positions in zip(contributions, strongest(np.array(contributions, np.int64), most), strict=True):
        ranked = sorted((-abs(size), position) for position, size in enumerate(row) if size)
        assert positions == [position for _, position in ranked][:most]


def test_a_sound_text_tells_its_shape(text: str) -> None:
    assert read_model_text(text) == ModelShape(small.FEATURES, small.SMALL.trees)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("tree\n", "", "does not begin"),
        ("end of trees", "end", "no 'end of trees'"),
        ("num_class=1", "num_class=2", "num_class is '2'"),
        ("objective=binary sigmoid:1", "objective=regression", "objective is 'regression'"),
        ("Tree=3\n", "Tree=9\n", "tree 3: stands as '9'"),
        ("feature_names=amount ", "feature_names=", "max_feature_idx"),
        ("\nleaf_value=", "\nleaf_valu_=", "no leaf_value"),
        ("\nleft_child=1", "\nleft_child=0", "are no tree"),
        ("\nsplit_gain=", "\nsplit_gain=1 ", "tree_sizes"),
        ("\nnum_cat=0", "\nnum_cat=1", "numerical splits"),
        ("\nthreshold=", "\nthreshold=x", "tree_sizes"),
    ],
)
def test_a_malformed_text_is_a_problem_with_its_place(text: str, before: str, after: str, words: str) -> None:
    assert before in text
    problem = TreeModel.load(text.replace(before, after, 1))
    assert isinstance(problem, ModelTextProblem), problem
    assert words in str(problem)


def tiny_text(left: str, right: str) -> str:
    """One tree of three leaves and two splits with these links."""
    tree = (
        "Tree=0\nnum_leaves=3\nnum_cat=0\nsplit_feature=0 0\nsplit_gain=1 1\nthreshold=1 inf\n"
        f"decision_type=2 2\nleft_child={left}\nright_child={right}\nleaf_value=1 2 3\nleaf_weight=1 1 1\n"
        "leaf_count=1 1 1\ninternal_value=0 0\ninternal_weight=0 0\ninternal_count=3 2\nis_linear=0\n"
        "shrinkage=1\n\n\n"
    )
    header = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        "objective=binary sigmoid:1\nfeature_names=a\nfeature_infos=[0:1]\n"
    )
    return f"{header}tree_sizes={len(tree)}\n\n{tree}end of trees\n\nparameters:\nend of parameters\n"


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ("1 -1", "-2 -3", None),
        ("-1 -1", "-2 -3", "2 of its nodes cannot be reached"),
        ("-1 -2", "-3 -3", "cannot be reached"),
        ("1 0", "-2 -3", "are no tree"),
        ("1 -1", "-2 -4", "are no tree"),
        ("1 -1", "-2 2", "are no tree"),
        ("1 -1", "-2", "right_child is not 2 integers"),
        ("1 -1", "-2 -3_0", "right_child is not 2 integers"),
        ("1 -1", "-2 -9999999999", "32 bits"),
    ],
)
def test_the_nodes_of_a_tree_must_be_one_tree(left: str, right: str, words: str | None) -> None:
    shape = read_model_text(tiny_text(left, right))
    if words is None:
        assert shape == ModelShape(("a",), 1)
        return
    assert isinstance(shape, ModelTextProblem), shape
    assert words in str(shape), shape


def test_no_altered_text_ends_the_process(text: str, tmp_path: Path) -> None:
    """LightGBM aborts on some malformed trees; what passes our look must be safe to hand over."""
    (tmp_path / "model.txt").write_text(text)
    code = (
        "import random, sys; import numpy as np; from sluice_decisions import TreeModel\n"
        "text = open(sys.argv[1]).read(); end = text.index('end of trees'); draw = random.Random(4)\n"
        "refused = 0\n"
        "for _ in range(1_500):\n"
        "    at = draw.randrange(end); new = draw.choice('0123456789-. =\\nxe')\n"
        "    model = TreeModel.load(text[:at] + new + text[at + 1:])\n"
        "    if isinstance(model, TreeModel): model.scores(np.zeros((2, 5)))\n"
        "    else: refused += 1\n"
        "print(refused)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.txt")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-2_000:]
    assert 100 < int(outcome.stdout.split()[-1]) < 1_400


def test_importing_the_package_loads_neither_lightgbm_nor_cel() -> None:
    code = "import sys, sluice_decisions; print({'lightgbm', 'cel', 'scipy', 'typer'} & set(sys.modules))"
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
    )
    assert outcome.stdout.strip() == "set()"
