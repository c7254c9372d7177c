"""Making a model: a table of features and labels in, a model's text and its evaluation out."""

from sluice_decisions.training.bundling import Recipe, Trained, train_bundle
from sluice_decisions.training.calibration import Shares, calibrated
from sluice_decisions.training.evaluation import Evaluation, average_precision, card_precision, roc_auc
from sluice_decisions.training.fitting import TrainingParameters, fit
from sluice_decisions.training.periods import Periods, split
from sluice_decisions.training.table import LabelledTable, TableProblem

__all__ = [
    "Evaluation",
    "LabelledTable",
    "Periods",
    "Recipe",
    "Shares",
    "TableProblem",
    "Trained",
    "TrainingParameters",
    "average_precision",
    "calibrated",
    "card_precision",
    "fit",
    "roc_auc",
    "split",
    "train_bundle",
]
