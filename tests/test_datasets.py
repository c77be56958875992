"""MNIST's files, on small ones written here."""

import gzip
import struct

import pytest
import torch

from pyro_ugmm.datasets import mnist
from pyro_ugmm.idx import read_idx


def idx(array):
    shape = array.shape
    return (
        b"\0\0\x08"
        + bytes([len(shape)])
        + struct.pack(f">{len(shape)}I", *shape)
        + bytes(array.flatten().tolist())
    )


IMAGES = torch.randint(256, (7, 4, 3), generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([3, 1, 4, 1, 5, 9, 2])


def write(folder, images=None, labels=None, *, prefix="train"):
    images = idx(IMAGES) if images is None else images
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(LABELS) if labels is None else labels)
    return folder


@pytest.mark.parametrize("prefix", ["train", "t10k"])
def test_reads_both_parts_compressed_or_not(tmp_path, prefix):
    data = mnist(write(tmp_path, prefix=prefix), train=prefix == "train", dtype=torch.float64)
    torch.testing.assert_close(data.x, IMAGES.flatten(1).double() / 255)
    assert data.y.tolist() == LABELS.tolist() and data.y.dtype == torch.int64
    assert data.feature_names[4] == "row 1, column 1" and data.class_names[9] == "9"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (b"", "train-images-idx3-ubyte.gz: expected an IDX file of unsigned bytes.*got magic"),
        (b"\0\0\x0d\x01" + idx(LABELS)[4:], "expected an IDX file of unsigned bytes.*0x00000d01"),
        (idx(IMAGES)[:10], "expected a header of 16 bytes, got 10 bytes"),
        (idx(IMAGES)[:-1], r"expected 7 x 4 x 3 = 84 values, as its header says, got 83"),
        (idx(LABELS), r"images: expected shape \(n, height, width\), got \(7,\)"),
        (idx(IMAGES[:6]), "labels: expected 6 labels, got"),
    ],
)
def test_damaged_files(tmp_path, images, message):
    with pytest.raises(ValueError, match=message):
        mnist(write(tmp_path, images))


def test_truncated_and_missing_files(tmp_path):
    path = write(tmp_path) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="expected a whole gzip file"):
        read_idx(path)
    with pytest.raises(FileNotFoundError, match=r"get it from https://.*t10k-images-idx3-ubyte.gz"):
        mnist(tmp_path, train=False)
