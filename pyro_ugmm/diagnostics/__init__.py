"""Posterior diagnostics: draws for ArviZ, predictive probabilities."""

from .folds import kfold
from .importance import importance_resample, pareto_k
from .inference_data import to_inference_data
from .label_switching import relabel
from .leave_one_out import loo
from .mixtures import mixture_draws
from .predictive import Calibration, Uncertainty, calibration, uncertainty
from .probabilities import class_probabilities

__all__ = [
    "Calibration",
    "Uncertainty",
    "calibration",
    "class_probabilities",
    "importance_resample",
    "kfold",
    "loo",
    "mixture_draws",
    "pareto_k",
    "relabel",
    "to_inference_data",
    "uncertainty",
]
