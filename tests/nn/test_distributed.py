"""A network over the processes of torch.distributed, as torch's own wrapper trains it."""

import torch
import torch.multiprocessing as mp
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyro_ugmm.nn import UGMMNetwork
from tests.gloo import join, leave


def _problem():
    torch.manual_seed(0)
    network = UGMMNetwork([20, 64, 3], normalization="layer", dtype=torch.float64)
    return network, torch.randn(60, 20, dtype=torch.float64), torch.randint(3, (60,))


def _step(network, x, y):
    """Takes a step; returns the parameters after it."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    cross_entropy(network(x), y).backward()
    optimizer.step()
    return [parameter.detach() for parameter in network.parameters()]


def _process(rank, world_size, file, results):
    join(rank, world_size, file)
    try:
        network, x, y = _problem()
        rows = slice(rank, None, world_size)
        results[rank] = _step(DistributedDataParallel(network), x[rows], y[rows])
    finally:
        leave()


def test_two_processes_are_one(tmp_path):
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(_process, (2, str(tmp_path / "meeting"), results), nprocs=2)
        found = dict(results)
    expected = _step(*_problem())
    for rank in (0, 1):
        torch.testing.assert_close(found[rank], expected, rtol=1e-10, atol=1e-12)
