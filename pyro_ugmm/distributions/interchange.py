"""A Gaussian mixture in files and in scikit-learn."""

import os
from typing import TYPE_CHECKING, Any

import torch

from ..checks import check
from ..files import write_atomically
from .covariance import STRUCTURES

if TYPE_CHECKING:
    from .multivariate import GaussianMixture

__all__ = ["SKLEARN_NAMES", "from_sklearn", "load", "save", "to_sklearn"]

_FORMAT, _VERSION = "pyro_ugmm.GaussianMixture", "1"
SKLEARN_NAMES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def save(mixture: "GaussianMixture", path: str | os.PathLike) -> None:
    """Writes a mixture to a safetensors file, atomically."""
    from safetensors.torch import save as to_bytes

    tensors = {
        "weights": mixture.weights,
        "means": mixture.means,
        "covariance": mixture.covariance.values,
    }
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "covariance": mixture.covariance.name,
        "missing": mixture.missing,
    }
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, to_bytes(contents, metadata))


def load(path: str | os.PathLike, device: str | torch.device) -> dict[str, Any]:
    """Reads the arguments of a mixture from a file that :func:`save` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"path: expected a safetensors file, got {path}: {error}") from error
    kind = metadata.get("format"), metadata.get("version")
    valid = kind == (_FORMAT, _VERSION) and metadata.get("covariance") in STRUCTURES
    valid = valid and tensors.keys() >= {"weights", "means", "covariance"}
    expected = f"a saved {_FORMAT}, version {_VERSION}"
    check(valid, "path", expected, f"{path} with {metadata} and tensors {list(tensors)}")
    return {
        "weights": tensors["weights"],
        "means": tensors["means"],
        "covariance": STRUCTURES[metadata["covariance"]](tensors["covariance"]),
        "missing": metadata["missing"],
    }


def to_sklearn(mixture: "GaussianMixture") -> Any:
    """Returns a fitted ``sklearn.mixture.GaussianMixture`` with a mixture's parameters."""
    from sklearn.mixture import GaussianMixture as SklearnMixture
    from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

    batch = tuple(mixture.batch_shape)
    check(batch == (), "mixture", "one without a batch", f"batch_shape {batch}")
    name = mixture.covariance.name
    check(name in SKLEARN_NAMES, "mixture", f"a covariance of {list(SKLEARN_NAMES)}", name)
    model = SklearnMixture(mixture.n_components, covariance_type=SKLEARN_NAMES[name])
    arrays = (
        tensor.detach().cpu().numpy().copy()
        for tensor in (mixture.weights, mixture.means, mixture.covariance.values)
    )
    model.weights_, model.means_, model.covariances_ = arrays
    cholesky = _compute_precision_cholesky(model.covariances_, model.covariance_type)
    model.precisions_cholesky_ = cholesky
    if name == "full":
        model.precisions_ = cholesky @ cholesky.swapaxes(-1, -2)
    else:
        model.precisions_ = cholesky @ cholesky.T if name == "tied" else cholesky**2
    model.n_features_in_ = mixture.n_features
    model.converged_, model.n_iter_, model.lower_bound_ = True, 0, float("nan")
    return model


def from_sklearn(model: Any, device: str | torch.device) -> dict[str, Any]:
    """Reads the arguments of a mixture from a fitted ``sklearn.mixture.GaussianMixture``."""
    expected = "a fitted sklearn.mixture.GaussianMixture (call its fit first)"
    fitted = all(hasattr(model, name) for name in ("weights_", "means_", "covariances_"))
    check(fitted, "model", expected, model)
    names = {theirs: ours for ours, theirs in SKLEARN_NAMES.items()}
    weights, means, values = (
        torch.from_numpy(array.copy()).to(device)
        for array in (model.weights_, model.means_, model.covariances_)
    )
    covariance = STRUCTURES[names[model.covariance_type]](values)
    return {"weights": weights, "means": means, "covariance": covariance}
