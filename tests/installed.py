"""What an installation without extras does, whose layers the backend named is to evaluate.

Run outside a checkout, by ``make package``.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import torch

import pyro_ugmm
from pyro_ugmm.diagnostics import loo, to_inference_data
from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.guides import full_rank
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.nn import UGMMLayer
from pyro_ugmm.nn.kernels import backend_for
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_svi


def check_backend(expected: str) -> None:
    """Checks which backend there is, and that one that is slower is not silent."""
    with warnings.catch_warnings(record=True) as said:
        backend = backend_for("cpu", torch.float32)
    assert backend == expected, [str(one.message) for one in said]
    assert len(said) == (backend == "tiled")
    print(f"layers by the backend {backend!r}", *(one.message for one in said))
    assert UGMMLayer(300, 20)(torch.randn(40, 300)).isfinite().all()


def fit() -> None:
    """Fits a mixture, by EM and by SVI, and keeps it."""
    torch.manual_seed(0)
    x = torch.cat([torch.randn(60, 2) - 3, torch.randn(90, 2) + 3])
    em = EMFitter().fit(x, initialize(x, n_components=2, seed=0))
    assert em.converged, em.report
    model = BayesianGaussianMixture(2, 2, priors=Priors.from_data(x))
    guide = full_rank(model, start=em.mixture, x=x)
    fit_svi(model, guide, x, steps=50, progress=False)
    print(loo(to_inference_data(model, guide, x, num_samples=50)))
    with tempfile.TemporaryDirectory() as folder:
        save_fitted(Path(folder) / "fitted.safetensors", model, guide)
        load_fitted(Path(folder) / "fitted.safetensors")


if __name__ == "__main__":
    check_backend(*sys.argv[1:])
    fit()
    print(f"pyro_ugmm {pyro_ugmm.__version__} in {Path(pyro_ugmm.__file__).parent}")
