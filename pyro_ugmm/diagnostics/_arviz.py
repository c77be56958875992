"""The one door to ArviZ: 0.23, whose InferenceData later versions replace by a DataTree."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # announces that replacement at every import
    import arviz

__all__ = ["arviz"]
