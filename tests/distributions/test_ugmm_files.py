"""Files of mixtures of products of nodes."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyro_ugmm.distributions import GaussianMixture, UGMMMixture, UnivariateGaussianMixture

METADATA = {"format": "pyro_ugmm.UGMMMixture", "version": "1", "missing": "error"}


def a_mixture(dtype=torch.float64, missing="error"):
    kind = {"generator": torch.Generator().manual_seed(0), "dtype": dtype}
    loc, scale, logits = torch.randn(3, 2, 4, 5, 2, **kind).unbind(0)
    nodes = UnivariateGaussianMixture(loc, scale.exp(), logits)
    weights = torch.rand(2, 4, **kind)
    return UGMMMixture(weights / weights.sum(-1, keepdim=True), nodes, missing=missing)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("missing", ["error", "marginalize"])
def test_what_is_written_is_read(dtype, missing, tmp_path):
    mixture = a_mixture(dtype, missing)
    mixture.save(tmp_path / "file")
    read = UGMMMixture.load(tmp_path / "file")
    assert repr(read) == repr(mixture)
    x = torch.randn(7, 1, 5, dtype=dtype)
    torch.testing.assert_close(read.log_prob(x), mixture.log_prob(x))


def _changed(tensor, value):
    changed = tensor.clone()
    changed.view(-1)[0] = value
    return changed


DAMAGES = {
    "a NaN": (lambda t: t | {"loc": _changed(t["loc"], torch.nan)}, {}, "path: expected a saved"),
    "a negative scale": (lambda t: t | {"scale": -t["scale"]}, {}, "path: expected a saved"),
    "weights": (lambda t: t | {"weights": 2 * t["weights"]}, {}, "weights"),
    "a shape": (lambda t: t | {"logits": t["logits"][:, :1]}, {}, "path: expected a saved"),
    "another kind": (lambda t: t | {"loc": t["loc"].float()}, {}, "path: expected a saved"),
    "one bit": (lambda t: t | {"loc": t["loc"] + 1e-12}, {}, "path: expected a saved"),
    "a tensor gone": (lambda t: {n: t[n] for n in t if n != "scale"}, {}, "and tensors"),
    "another format": (lambda t: t, {"format": "another"}, "'format': 'another'"),
    "another version": (lambda t: t, {"version": "9"}, "'version': '9'"),
    "another rule": (lambda t: t, {"missing": "guess"}, "missing"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    change, metadata, words = damage
    path = tmp_path / "file"
    a_mixture().save(path)
    save_file(
        {n: t.contiguous() for n, t in change(load_file(path)).items()}, path, METADATA | metadata
    )
    with pytest.raises(ValueError, match=words):
        UGMMMixture.load(path)


def test_files_of_other_mixtures_are_refused(tmp_path):
    path = tmp_path / "file"
    a_mixture().save(path)
    with pytest.raises(ValueError, match=r"expected a saved pyro_ugmm\.GaussianMixture"):
        GaussianMixture.load(path)
    with pytest.raises(ValueError, match="device: expected"):
        UGMMMixture.load(path, device="nowhere")
