"""What a model wants to know once it was fitted."""

from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["NotesFit"]


@runtime_checkable
class NotesFit(Protocol):
    """A model that takes note of rows, after it was fitted to them; others are told nothing.

    Example:
        >>> from pyro_ugmm.models import BayesianGaussianMixture, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> from pyro_ugmm.programs.notes import NotesFit
        >>> models = UGMMClassifier(UGMMNetwork([2, 3])), BayesianGaussianMixture(2, 1)
        >>> [isinstance(model, NotesFit) for model in models]
        [True, False]
    """

    def note_fit(self, *rows: Tensor) -> None:
        """Takes note of what rows are like within the model."""
