"""A Gaussian mixture in files and in scikit-learn."""

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..checks import check, check_device, check_same_kind, check_values
from ..safetensors_file import read_safetensors, write_safetensors
from ..tables import as_table
from .covariance import STRUCTURES

if TYPE_CHECKING:
    from .multivariate import GaussianMixture

__all__ = ["SKLEARN_NAMES", "from_sklearn", "load", "save", "to_sklearn"]

_FORMAT, _VERSION = "pyro_ugmm.GaussianMixture", "2"
SKLEARN_NAMES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def save(mixture: "GaussianMixture", path: str | os.PathLike) -> None:
    """Writes a mixture to a safetensors file, atomically."""
    tensors = {
        "weights": mixture.weights,
        "means": mixture.means,
        "covariance": mixture.covariance.values,
    }
    logarithms = mixture._rows.given_log_weights
    if logarithms is not None:
        tensors["log_weights"] = logarithms.expand(mixture.weights.shape)
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "covariance": mixture.covariance.name,
        "missing": mixture.missing,
    }
    write_safetensors(path, tensors, metadata)


def load(
    cls: type["GaussianMixture"], path: str | os.PathLike, device: str | torch.device
) -> "GaussianMixture":
    """Reads a mixture from a file that :func:`save` wrote, whose contents are checked.

    One that was damaged, even by one bit, is refused.
    """
    check_device("device", device)
    file = read_safetensors(path)
    metadata, tensors = file.metadata, file.tensors
    known, names = STRUCTURES, {"weights", "means", "covariance"}
    kind = metadata.get("format"), metadata.get("version")
    valid = kind == (_FORMAT, _VERSION) and metadata.get("covariance") in known
    valid = valid and "missing" in metadata and tensors.keys() >= names
    expected = f"a saved {_FORMAT}, version {_VERSION}"
    found = {name: metadata[name][:40] for name in ("format", "version") if name in metadata}
    got = f"{path} with {found or 'no format'} and tensors {[*tensors][:4]}"
    check(valid, "path", expected, got)
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    weights, means, logarithms = tensors["weights"], tensors["means"], tensors.get("log_weights")
    try:
        covariance = known[metadata["covariance"]](tensors["covariance"], validate_args=True)
        cls(weights, means, covariance, missing=metadata["missing"], validate_args=True)
        mixture = cls(weights, means, covariance, missing=metadata["missing"])
        if logarithms is not None:
            _check_log_weights(logarithms, mixture.weights)
            mixture._rows.given_log_weights = logarithms
        file.check_digest()
    except ValueError as error:
        raise ValueError(f"path: expected {expected}, got {path}, in which {error}") from None
    return mixture


def _check_log_weights(logarithms: Tensor, weights: Tensor) -> None:
    check_same_kind({"weights": weights, "log_weights": logarithms})
    shape, expected = tuple(logarithms.shape), tuple(weights.shape)
    check(shape == expected, "log_weights", f"shape {expected}, as weights has", shape)
    same = (logarithms.exp() - weights).abs() <= 1e-4
    check_values("log_weights", logarithms, same, "the logarithms of weights")


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
    check_device("device", device)
    expected = "a fitted sklearn.mixture.GaussianMixture (call its fit first)"
    fitted = all(hasattr(model, name) for name in ("weights_", "means_", "covariances_"))
    check(fitted, "model", expected, model)
    is_variational = hasattr(model, "weight_concentration_")
    expected = "a GaussianMixture (the density of a variational one is another)"
    check(not is_variational, "model", expected, model)
    expected = f"a covariance_type of {list(SKLEARN_NAMES.values())}"
    check(model.covariance_type in SKLEARN_NAMES.values(), "model", expected, model.covariance_type)
    names = {theirs: ours for ours, theirs in SKLEARN_NAMES.items()}
    weights, means, values = (
        as_table(name, getattr(model, name)).values.clone().to(device)
        for name in ("weights_", "means_", "covariances_")
    )
    covariance = STRUCTURES[names[model.covariance_type]](values)
    got = f"covariances_ of shape {tuple(values.shape)}"
    check(not covariance.batch_shape, "model", f"{model.covariance_type!r} covariances", got)
    return {"weights": weights, "means": means, "covariance": covariance}
