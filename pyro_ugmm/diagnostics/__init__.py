"""Posterior diagnostics: draws for ArviZ, predictive probabilities."""

from .calibration_result import SimulatedCalibration
from .chains import concatenate_chains
from .ensemble_predictions import EnsemblePredictions, judge_ensemble
from .folds import kfold
from .importance import importance_resample, pareto_k
from .inference_data import to_inference_data
from .label_switching import relabel
from .leave_one_out import loo
from .mixtures import mixture_draws
from .predictive import Calibration, Uncertainty, calibration, uncertainty
from .probabilities import class_probabilities
from .regression import (
    prediction_intervals,
    predictive_mixture,
    predictive_quantiles,
)
from .simulated_calibration import simulate_calibration

__all__ = [
    "Calibration",
    "EnsemblePredictions",
    "SimulatedCalibration",
    "Uncertainty",
    "calibration",
    "class_probabilities",
    "concatenate_chains",
    "importance_resample",
    "judge_ensemble",
    "kfold",
    "loo",
    "mixture_draws",
    "pareto_k",
    "prediction_intervals",
    "predictive_mixture",
    "predictive_quantiles",
    "relabel",
    "simulate_calibration",
    "to_inference_data",
    "uncertainty",
]
