"""Posteriors by sequential Monte Carlo, and chains whose energies are kept."""

from .evidence import EvidenceTable, ModelEvidence, compare_evidence
from .evidence_criterion import Evidence
from .moved import Change, Moved
from .nuts import NUTSWithEnergy
from .posterior import sample_posterior
from .result import PosteriorSample
from .smc import Rung

__all__ = [
    "Change",
    "Evidence",
    "EvidenceTable",
    "ModelEvidence",
    "Moved",
    "NUTSWithEnergy",
    "PosteriorSample",
    "Rung",
    "compare_evidence",
    "sample_posterior",
]
