"""Training by maximum likelihood and by stochastic variational inference."""

from ..ensemble import Ensemble
from ..optimization.result import FitResult
from .maximum_likelihood import fit_mle
from .variational import fit_svi

__all__ = ["Ensemble", "FitResult", "fit_mle", "fit_svi"]
