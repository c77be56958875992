"""Which class reads which data, and that another kind of data is one class and a line."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.models import UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sources import Source, kinds, source_of
from pyro_ugmm.sources.array import ArraySource
from pyro_ugmm.sources.dataset import DatasetSource
from pyro_ugmm.sources.loader import LoaderSource
from pyro_ugmm.sources.stream import StreamSource
from pyro_ugmm.sources.table import TableSource
from pyro_ugmm.sources.tensor import TensorSource
from pyro_ugmm.tables import as_table
from pyro_ugmm.training import fit_mle

X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
KINDS = {
    "a tensor": (X, TensorSource),
    "an array": (X.numpy(), ArraySource),
    "whole numbers": (X.int().numpy(), TableSource),
    "a masked array": (np.ma.masked_array(X.numpy()), TableSource),
    "a frame": (pd.DataFrame(X.numpy()), TableSource),
    "lists": (X.tolist(), TableSource),
    "a table": (as_table("x", X), TableSource),
    "blocks": ([X[:10], X[10:]], StreamSource),
    "a loader": (DataLoader(TensorDataset(X)), LoaderSource),
    "a dataset": (TensorDataset(X), DatasetSource),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_data_has_a_class(kind):
    x, expected = KINDS[kind]
    source = source_of(x)
    assert type(source) is expected and source_of(source) is source
    assert source.shape in (None, (30, 2))


def test_a_memory_map_is_read_where_it_lies(tmp_path):
    np.save(tmp_path / "x.npy", X.int().numpy())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    source = source_of(x)
    assert type(source) is ArraySource and source.in_precision_of(X) is source
    assert next(iter(source.parts())).rows is x


def test_what_was_given_in_another_precision_is_converted_once():
    source = source_of(X.double().numpy()).in_precision_of(X)
    assert source.in_precision_of(X).parts()[0].rows.values.dtype == torch.float32
    tensor = source_of(X.double())
    assert tensor.in_precision_of(X) is tensor  # whose dtype nobody changes


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (5, "x: expected a tensor, an array, or an iterable of blocks .*, got int"),
        (iter([X]), r"x: expected .* can be read again, got an iterator \(list_iterator\)"),
        (TensorDataset(X), "x: expected a tensor, an array, or an iterable of .*, got Tensor"),
        (["a"], r"x: expected blocks of shape \(n, D\), got str"),
        ([(X, torch.ones(30), X)], r"x: expected blocks or pairs \(block, weights\), got 3"),
        (
            [(X, torch.ones(29))],
            r"sample_weight: expected shape \(30,\), as its block, got \(29,\)",
        ),
    ],
)
def test_what_em_cannot_read(x, message):
    with pytest.raises(ValueError, match=message):
        initialize(x, 1)


class Columns(Source):
    """A dictionary of columns."""

    def __init__(self, x):
        super().__init__(torch.stack([*x.values()], -1))

    @staticmethod
    def takes(x):
        return isinstance(x, dict)

    @property
    def shape(self):
        return tuple(self._x.shape)

    def parts(self):
        return source_of(self._x).parts()


def test_another_kind_of_data_is_a_class_and_a_line(monkeypatch):
    monkeypatch.setattr(kinds, "SOURCES", (Columns, *kinds.SOURCES))
    columns, options = {"a": X[:, 0], "b": X[:, 1]}, {"progress": False}
    start = initialize(columns, 2, seed=0)
    ours, theirs = (EMFitter(**options).fit(x, start).mixture for x in (columns, X))
    assert torch.equal(ours.means, theirs.means)
    model = UGMMClassifier(UGMMNetwork([2, 3]))
    results = [
        fit_mle(copy.deepcopy(model), x, torch.arange(30) % 3, steps=3, **options)
        for x in (columns, X)
    ]
    assert torch.equal(*(result.losses for result in results))
