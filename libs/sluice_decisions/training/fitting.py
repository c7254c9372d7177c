"""Fitting a gradient-boosted tree model: one thread, a fixed seed, the same text every time."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sluice_decisions.model import lightgbm_library
from sluice_decisions.training.table import LabelledTable, TableProblem


class TrainingParameters(BaseModel):
    """LightGBM's parameters of the same meaning. Shallow trees: attributions cost depth squared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trees: Annotated[int, Field(ge=1, le=2_000)] = 100
    leaves: Annotated[int, Field(ge=2, le=255)] = 15
    depth: Annotated[int, Field(ge=1, le=12)] = 5
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    least_rows_in_leaf: Annotated[int, Field(ge=1)] = 40
    l2: Annotated[float, Field(ge=0)] = 1.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


def fit(table: LabelledTable, parameters: TrainingParameters) -> str:
    """A model in LightGBM's text form. Equal tables and parameters give equal bytes.

    Raises TableProblem when the rows hold only one kind of label, ModelRuntimeUnavailable.
    """
    frauds = int(table.frauds.sum())
    if not 0 < frauds < len(table):
        raise TableProblem(f"{frauds} of {len(table)} rows are fraud: there is nothing to tell apart")
    lightgbm = lightgbm_library()
    options = {
        "objective": "binary",
        "num_leaves": parameters.leaves,
        "max_depth": parameters.depth,
        "learning_rate": parameters.learning_rate,
        "min_data_in_leaf": parameters.least_rows_in_leaf,
        "lambda_l2": parameters.l2,
        "seed": parameters.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        table.rows, table.frauds.astype(int), feature_name=list(table.features), params={"verbosity": -1}
    )
    booster = lightgbm.train(options, data, parameters.trees)
    text: str = booster.model_to_string(num_iteration=-1)
    return text
