"""Posteriors by sequential Monte Carlo."""

from .evidence import EvidenceTable, ModelEvidence, compare_evidence
from .evidence_criterion import Evidence
from .moved import Change, Moved
from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = [
    "Change",
    "Evidence",
    "EvidenceTable",
    "ModelEvidence",
    "Moved",
    "PosteriorSample",
    "Rung",
    "compare_evidence",
    "sample_posterior",
]
