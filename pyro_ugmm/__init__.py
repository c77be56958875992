"""Gaussian mixtures as parts of probabilistic programs, on Pyro and PyTorch.

Each part loads when it is first used:

- ``distributions``: univariate and multivariate mixtures, and structures of covariances.
- ``nn``: layers and networks of mixture neurons, and questions to them.
- ``em``: mixtures fitted by expectation maximization, and how many components to take.
- ``models``: Pyro models of mixtures and networks, and priors over them.
- ``guides``: variational distributions that start at a point estimate.
- ``training``: maximum likelihood and stochastic variational inference.
- ``sampling``: the posterior and the evidence by sequential Monte Carlo.
- ``programs``: what is asked of a Pyro model, and what any program answers.
- ``diagnostics``: a posterior for ArviZ, and whether it is to be trusted.
- ``plots``: mixtures, neurons, uncertainty, losses, priors and posteriors.
- ``saving``: fitted models and guides in files.
- ``datasets``: real data.

Example:
    >>> import pyro_ugmm
    >>> pyro_ugmm.nn.UGMMLayer(4, 3)
    UGMMLayer(in_features=4, out_features=3)
"""

import importlib
from typing import Any

__all__ = [
    "datasets",
    "diagnostics",
    "distributions",
    "em",
    "guides",
    "models",
    "nn",
    "plots",
    "programs",
    "sampling",
    "saving",
    "training",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
