"""Safetensors files that tell whether they are whole."""

import pytest
import torch

from pyro_ugmm.safetensors_file import SafetensorsFile, read_safetensors, write_safetensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(())}


def test_what_is_written_comes_back(tmp_path):
    write_safetensors(tmp_path / "file", TENSORS, {"kind": "two"})
    file = read_safetensors(tmp_path / "file")
    file.check_digest()
    assert file.metadata["kind"] == "two" and file.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(file.tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize(
    ("metadata", "tensors"),
    [
        ({"kind": "three"}, {}),
        ({"more": ""}, {}),
        ({}, {"a": TENSORS["a"] + 1}),
        ({}, {"a": TENSORS["a"].double()}),
        ({}, {"a": TENSORS["a"].reshape(6)}),
        ({}, {"c": torch.ones(1)}),
        ({"digest": "0"}, {}),
    ],
)
def test_anything_else_has_another_digest(metadata, tensors, tmp_path):
    write_safetensors(tmp_path / "file", TENSORS, {"kind": "two"})
    file = read_safetensors(tmp_path / "file")
    changed = SafetensorsFile(file.metadata | metadata, file.tensors | tensors)
    with pytest.raises(ValueError, match="digest: expected"):
        changed.check_digest()


def test_what_is_no_such_file(tmp_path):
    (tmp_path / "file").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"path: expected a model, got .*file: "):
        read_safetensors(tmp_path / "file", "a model")
