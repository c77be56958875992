"""Mixtures of products of nodes in files."""

import os
from typing import Self

import torch

from ..checks import check, check_device, check_same_kind
from ..safetensors_file import read_safetensors, write_safetensors
from .ugmm_parameters import UGMMParameters
from .univariate import UnivariateGaussianMixture

__all__ = ["UGMMFiles"]

_FORMAT, _VERSION = "pyro_ugmm.UGMMMixture", "1"
_NAMES = ("weights", "loc", "scale", "logits")


class UGMMFiles(UGMMParameters):
    """Writes its parameters to a file, and reads them."""

    def save(self, path: str | os.PathLike) -> None:
        """Writes the mixture to a safetensors file, atomically."""
        values = self.weights, self.nodes.loc, self.nodes.scale, self.nodes.logits
        tensors = {n: t.detach().contiguous() for n, t in zip(_NAMES, values, strict=True)}
        metadata = {"format": _FORMAT, "version": _VERSION, "missing": self.missing}
        write_safetensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike, device: str | torch.device = "cpu") -> Self:
        """Reads a mixture that :meth:`save` wrote; one that was damaged, by one bit, is refused."""
        check_device("device", device)
        file = read_safetensors(path)
        metadata, tensors = file.metadata, file.tensors
        expected = f"a saved {_FORMAT}, version {_VERSION}"
        kind = metadata.get("format"), metadata.get("version")
        valid = kind == (_FORMAT, _VERSION) and "missing" in metadata and {*tensors} == {*_NAMES}
        said = {name: metadata[name][:40] for name in ("format", "version") if name in metadata}
        got = f"{path} with {said or 'no format'} and tensors {[*tensors][:4]}"
        check(valid, "path", expected, got)
        weights, loc, scale, logits = (tensors[name].to(device) for name in _NAMES)
        try:
            check_same_kind({"weights": weights, "loc": loc, "scale": scale, "logits": logits})
            nodes = UnivariateGaussianMixture(loc, scale, logits, validate_args=True)
            mixture = cls(weights, nodes, missing=metadata["missing"], validate_args=True)
            file.check_digest()
        except ValueError as error:
            raise ValueError(f"path: expected {expected}, got {path}, in which {error}") from None
        return mixture
