"""EM over the processes of torch.distributed."""

import pytest
import torch
import torch.multiprocessing as mp

from pyro_ugmm.em import EMFitter, initialize

from .cases import STRUCTURE_NAMES, assert_same, clusters


def _problems():
    x = clusters(301)
    problems = {name: (x, initialize(x, 12, name, seed=0)) for name in STRUCTURE_NAMES}
    start = initialize(x, 3, seed=0)
    start.means[2] = 1e6  # empty: to be revived, in all processes alike
    problems["revival"] = (x, start)
    return problems


def _process(rank, world_size, file, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=world_size
    )
    try:
        for name, (x, start) in _problems().items():
            mine = x[:200] if rank == 0 else x[200:]
            results[name, rank] = EMFitter(tol=0, max_iter=8, progress=False).fit(mine, start)
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        file = tmp_path_factory.mktemp("gloo") / "meeting"
        mp.spawn(_process, (2, str(file), results), nprocs=2)
        yield dict(results)


@pytest.mark.parametrize("name", [*STRUCTURE_NAMES, "revival"])
def test_two_processes_are_one(results, name):
    x, start = _problems()[name]
    alone = EMFitter(tol=0, max_iter=8, progress=False).fit(x, start)
    for rank in (0, 1):
        shared = results[name, rank]
        assert_same(shared.mixture, alone.mixture, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(shared.history, alone.history, rtol=1e-10, atol=0)
        assert shared.log_likelihood == pytest.approx(alone.log_likelihood, rel=1e-10)
        assert shared.events == alone.events
    assert (name == "revival") == bool(alone.events)
