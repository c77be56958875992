"""Files of mixtures that are damaged, wrong, or change after they were read."""

import contextlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyro_ugmm.distributions import GaussianMixture
from tests.distributions.mixtures import by_structure, parameters, random_mixture

METADATA = {"format": "pyro_ugmm.GaussianMixture", "version": "2", "missing": "error"}


def written(path, structure="full", metadata=None, **changes):
    """Writes a mixture's file with changed tensors; a change to None leaves one out."""
    mixture, _ = random_mixture(structure)
    tensors = mixture.tensors()
    argument = f"covariance.{next(iter(mixture.covariance.arguments))}"
    tensors["covariance"] = tensors.pop(argument)
    for name, change in changes.items():
        tensors[name] = change(tensors[name]) if callable(change) else change
    tensors[argument] = tensors.pop("covariance")
    tensors = {name: t.contiguous().clone() for name, t in tensors.items() if t is not None}
    save_file(tensors, path, {**METADATA, "covariance": structure, **(metadata or {})})
    return path


def _first(value):
    def change(tensor):
        changed = tensor.clone()
        changed.view(-1)[0] = value
        return changed

    return change


DAMAGES = {
    "NaN": (_first(torch.nan), "expected .*, got nan"),
    "infinite": (_first(torch.inf), "expected .*, got inf"),
    "half": (lambda t: t.half(), "expected torch.float32 or torch.float64"),
    "bfloat16": (lambda t: t.bfloat16(), "expected torch.float32 or torch.float64"),
    "int32": (lambda t: t.int(), "expected floating-point"),
    "bool": (lambda t: t.bool(), "expected floating-point"),
    "empty": (lambda t: t[:0], "expected"),
    "scalar": (lambda t: t.flatten()[0], "expected"),
    "cut": (lambda t: t[:-1], "expected"),
}


@by_structure
@pytest.mark.parametrize("name", ["weights", "means", "covariance"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_tensors(structure, name, damage, tmp_path):
    change, message = damage
    path = written(tmp_path / "file", structure, **{name: change})
    if damage is DAMAGES["cut"] and (structure, name) == ("tied", "covariance"):
        message = "expected one square matrix"
    with pytest.raises(ValueError, match=f"path: .*{path}, in which .*{message}"):
        GaussianMixture.load(path)
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        with pytest.raises(ValueError, match=f"path: .*{path}, in which .*{message}"):
            GaussianMixture.load(path)
    finally:
        torch.distributions.Distribution.set_default_validate_args(True)


@pytest.mark.parametrize(
    ("metadata", "changes", "message"),
    [
        ({"missing": "drop"}, {}, "missing: expected one of 'error', 'marginalize', got 'drop'"),
        ({"covariance": "banded"}, {}, "expected a saved pyro_ugmm.GaussianMixture"),
        ({"version": "1"}, {}, "expected a saved pyro_ugmm.GaussianMixture, version 2"),
        ({}, {"weights": None}, "expected a saved"),
        ({}, {"means": lambda t: t.float()}, "weights: expected torch.float32"),
        ({}, {"covariance": lambda t: -t}, "positive definite"),
        ({}, {"weights": lambda t: 2 * t}, "weights that sum to one"),
        ({}, {"log_weights": torch.zeros(3).double()}, "log_weights: expected the logarithms"),
        ({}, {"log_weights": torch.zeros(2).double()}, "log_weights: expected shape"),
        ({}, {"log_weights": torch.zeros(3)}, "log_weights: expected torch.float64"),
        ({}, {"log_weights": torch.full((3,), torch.nan).double()}, "log_weights: expected the"),
    ],
)
def test_wrong_files(metadata, changes, message, tmp_path):
    path = written(tmp_path / "file", metadata=metadata, **changes)
    with pytest.raises(ValueError, match=message) as raised:
        GaussianMixture.load(path)
    assert str(raised.value).startswith("path: ") and str(path) in str(raised.value)


def test_what_is_missing_must_be_said(tmp_path):
    path = written(tmp_path / "file")
    metadata = {**METADATA, "covariance": "full"}
    for name in metadata:
        rest = {key: value for key, value in metadata.items() if key != name}
        for kept in (rest, None):
            save_file(load_file(path), path, kept)
            with pytest.raises(ValueError, match=r"path: expected a saved .*got .*file"):
                GaussianMixture.load(path)


@pytest.mark.parametrize("change", ["overwritten", "truncated", "removed"])
def test_a_loaded_mixture_is_free_of_its_file(change, tmp_path):
    mixture, _ = random_mixture()
    mixture.save(tmp_path / "file")
    loaded = GaussianMixture.load(tmp_path / "file")
    if change == "overwritten":
        size = os.path.getsize(tmp_path / "file")
        (tmp_path / "file").open("r+b").write(b"\xff" * size)
    elif change == "truncated":
        os.truncate(tmp_path / "file", 0)
    else:
        (tmp_path / "file").unlink()
    for got, expected in zip(parameters(loaded), parameters(mixture), strict=True):
        assert torch.equal(got, expected)
    loaded.means.add_(1)  # whose memory is its own, and writable


@by_structure
@pytest.mark.parametrize("part", ["header", "tensors"])
def test_no_flipped_bit_is_read_as_another_mixture(structure, part, tmp_path):
    mixture, _ = random_mixture(structure)
    mixture.condition({0: 50.0}).save(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    expected = parameters(GaussianMixture.load(tmp_path / "file"))
    size = 8 + int.from_bytes(whole[:8], "little")
    places = range(size) if part == "header" else range(size, len(whole))
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        (tmp_path / "file").write_bytes(damaged)
        with contextlib.suppress(ValueError):  # none is raised for a space of the header, say
            found = parameters(GaussianMixture.load(tmp_path / "file"))
            assert part == "header" and all(map(torch.equal, found, expected))


def test_another_structure_of_the_same_shape_is_refused(tmp_path):
    path = written(tmp_path / "file", metadata={"covariance": "tied"})
    with pytest.raises(ValueError, match="path: expected a saved"):
        GaussianMixture.load(path)


@pytest.mark.parametrize("path", [None, 3, b"file", "."])
def test_paths_that_are_none(path):
    with pytest.raises(ValueError, match=r"^path: expected a (path|file), got"):
        GaussianMixture.load(path)


@pytest.mark.parametrize("device", ["somewhere", 2.5, []])
def test_devices_that_are_none(device, tmp_path):
    mixture, _ = random_mixture()
    mixture.save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"^device: expected a torch device"):
        GaussianMixture.load(tmp_path / "file", device)


@pytest.mark.parametrize("dtype", ["F64", "F4", "F8_E8M0", "?", 3])
def test_sizes_that_a_header_claims_are_not_believed(dtype, tmp_path):
    offsets = {"dtype": dtype, "shape": [3, 10**9, 3], "data_offsets": [0, 72 * 10**9]}
    header = json.dumps({"means": offsets, "__metadata__": METADATA}).encode()
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match=r"path: expected a safetensors file, got .*file"):
        GaussianMixture.load(tmp_path / "file")
