"""A Gaussian mixture in files and in scikit-learn."""

import os
from typing import Any, Self

import torch
from torch import Tensor

from ..checks import check, check_device, check_same_kind, check_values
from ..missing_values import mixture_rule
from ..safetensors_file import read_safetensors, write_safetensors
from ..tables import as_table
from .arguments import check_numbers, check_shapes
from .components import Components
from .covariance import SKLEARN_STRUCTURES, STRUCTURES
from .covariance.matrices import MatrixCovariance
from .covariance.variances import VarianceCovariance
from .parameters import MixtureParameters

__all__ = ["StoredMixture"]

_FORMAT, _VERSION = "pyro_ugmm.GaussianMixture", "2"


class StoredMixture(MixtureParameters):
    """A mixture that goes to files and to scikit-learn, and comes from there."""

    def save(self, path: str | os.PathLike) -> None:
        """Writes the mixture to a safetensors file, atomically."""
        _save(self._whole, self.missing, path)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str | torch.device = "cpu") -> Self:
        """Reads a mixture that :meth:`save` wrote."""
        components, missing = _load(path, device)
        return cls._of(components, missing=missing)

    def to_sklearn(self) -> Any:
        """Returns a fitted ``sklearn.mixture.GaussianMixture`` with these parameters; covariances
        of low rank are full ones there.
        """
        return _to_sklearn(self._whole)

    @classmethod
    def from_sklearn(cls, model: Any, device: str | torch.device = "cpu") -> Self:
        """Takes the parameters of a fitted ``sklearn.mixture.GaussianMixture``."""
        return cls._of(_from_sklearn(model, device))


def _save(components: Components, missing: str, path: str | os.PathLike) -> None:
    """Writes a mixture to a safetensors file, atomically."""
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "covariance": components.covariance.name,
        "missing": missing,
    }
    write_safetensors(path, components.tensors(), metadata)


def _load(path: str | os.PathLike, device: str | torch.device) -> tuple[Components, str]:
    """Reads a mixture from a file that :func:`_save` wrote, and what a NaN means to it.

    One that was damaged, even by one bit, is refused.
    """
    check_device("device", device)
    file = read_safetensors(path)
    metadata, tensors = file.metadata, file.tensors
    kind = metadata.get("format"), metadata.get("version")
    structure = STRUCTURES.get(metadata.get("covariance", ""))
    valid = kind == (_FORMAT, _VERSION) and "missing" in metadata
    valid = valid and structure is not None and tensors.keys() >= Components.names(structure)
    expected = f"a saved {_FORMAT}, version {_VERSION}"
    said = {name: metadata[name][:40] for name in ("format", "version") if name in metadata}
    got = f"{path} with {said or 'no format'} and tensors {[*tensors][:4]}"
    check(valid, "path", expected, got)
    assert structure is not None
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    try:
        components = Components.from_tensors(tensors, structure, validate_args=True)
        _check(components)
        mixture_rule(metadata["missing"])
        file.check_digest()
    except ValueError as error:
        raise ValueError(f"path: expected {expected}, got {path}, in which {error}") from None
    return components, metadata["missing"]


def _check(components: Components) -> None:
    check_shapes(components.weights, components.means, components.covariance)
    check_numbers(components.weights, components.means)
    logarithms = components.given_log_weights
    if logarithms is not None:
        _check_log_weights(logarithms, components.weights)


def _check_log_weights(logarithms: Tensor, weights: Tensor) -> None:
    check_same_kind({"weights": weights, "log_weights": logarithms})
    shape, expected = tuple(logarithms.shape), tuple(weights.shape)
    check(shape == expected, "log_weights", f"shape {expected}, as weights has", shape)
    same = (logarithms.exp() - weights).abs() <= 1e-4
    check_values("log_weights", logarithms, same, "the logarithms of weights")


def _to_sklearn(components: Components) -> Any:
    """Returns a fitted ``sklearn.mixture.GaussianMixture`` with a mixture's parameters."""
    from sklearn.mixture import GaussianMixture as SklearnMixture

    batch, (n_components, n_features) = tuple(components.batch_shape), components.means.shape[-2:]
    check(batch == (), "mixture", "one without a batch", f"batch_shape {batch}")
    covariance = components.covariance.for_sklearn(n_components, n_features)
    name = covariance.name
    theirs = {kind.name: name for name, kind in SKLEARN_STRUCTURES.items()}
    check(name in theirs, "mixture", f"a covariance of {[*theirs]}", name)
    model = SklearnMixture(n_components, covariance_type=theirs[name])
    assert isinstance(covariance, MatrixCovariance | VarianceCovariance)
    (values,) = covariance.tensors().values()
    tensors = components.weights, components.means, values, *covariance.precisions()
    model.weights_, model.means_, model.covariances_, model.precisions_, cholesky = (
        tensor.detach().cpu().numpy().copy() for tensor in tensors
    )
    model.precisions_cholesky_, model.n_features_in_ = cholesky, n_features
    model.converged_, model.n_iter_, model.lower_bound_ = True, 0, float("nan")
    return model


def _from_sklearn(model: Any, device: str | torch.device) -> Components:
    """Reads a mixture from a fitted ``sklearn.mixture.GaussianMixture``."""
    check_device("device", device)
    expected = "a fitted sklearn.mixture.GaussianMixture (call its fit first)"
    fitted = all(hasattr(model, name) for name in ("weights_", "means_", "covariances_"))
    check(fitted, "model", expected, model)
    is_variational = hasattr(model, "weight_concentration_")
    expected = "a GaussianMixture (the density of a variational one is another)"
    check(not is_variational, "model", expected, model)
    structure = SKLEARN_STRUCTURES.get(model.covariance_type)
    expected = f"a covariance_type of {list(SKLEARN_STRUCTURES)}"
    check(structure is not None, "model", expected, model.covariance_type)
    assert structure is not None
    weights, means, values = (
        as_table(name, getattr(model, name)).values.clone().to(device)
        for name in ("weights_", "means_", "covariances_")
    )
    covariance = structure(values)
    got = f"covariances_ of shape {tuple(values.shape)}"
    check(not covariance.batch_shape, "model", f"{model.covariance_type!r} covariances", got)
    return Components(weights, means, covariance)
