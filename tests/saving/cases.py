"""Models and guides, and their files."""

import json

import torch
from safetensors import safe_open
from safetensors.torch import save

from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import (
    BayesianGaussianMixture,
    HierarchicalGaussianMixture,
    Priors,
    UGMMClassifier,
    UGMMDensity,
    UGMMRegressor,
)
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.saving import save_fitted

NOTHING = {"means": None, "variances": None, "weights": None, "correlations": None}
X, Y = torch.randn(20, 2), torch.arange(20) % 3
MODELS = {
    "mixture": lambda: BayesianGaussianMixture(2, 2),
    "groups": lambda: HierarchicalGaussianMixture(3, 2, 2),
    "classifier": lambda: UGMMClassifier(UGMMNetwork([2, 4, 3]), Priors()),
    "density": lambda: UGMMDensity(UGMMNetwork([3, 4, 1]), 3, Priors()),
    "regressor": lambda: UGMMRegressor(UGMMNetwork([2, 4, 6]), Priors(), n_outputs=2),
}
GUIDES = {"mean_field": mean_field, "low_rank": low_rank, "full_rank": full_rank}


def saved(path, model="classifier", guide="low_rank"):
    """Writes a model and a guide; returns what the file says, and its tensors."""
    one = MODELS[model]()
    made = GUIDES[guide](one) if guide else None
    if made is not None:
        with torch.no_grad():
            made(*one.example_rows())
    save_fitted(path, one, made)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["description"]), tensors, file.metadata()


def rewrite(path, description, tensors, metadata):
    path.write_bytes(save(tensors, metadata | {"description": json.dumps(description)}))


def rows(n=120):
    """Two components, of a third and two thirds of the rows, away from the origin."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x[n // 3 :] += torch.tensor([6.0, 2.0], dtype=torch.float64)
    return x + 10


def mixture(covariance, **priors):
    torch.manual_seed(1)
    rank = 1 if covariance == "low_rank" else None
    return BayesianGaussianMixture(2, 2, covariance, Priors.from_data(rows(), **priors), rank=rank)
