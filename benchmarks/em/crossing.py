"""Where EM in C ends being the faster engine: both, on growing numbers of components and features.

``python -m benchmarks.em.crossing`` prints a table; ``--threads`` as in the other benchmarks.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.em.engines import WIDEST

from ..common.tables import table
from .cases import Point, make_problem

_N_ITER = 4
_REPETITIONS = 5
_SIZES = ((2, 3), (8, 8), (8, 32), (32, 4), (16, 16), (32, 16), (128, 4), (32, 32), (64, 16))
"""D and K, in the order of their product."""


def _fastest(call: Callable[[], Any]) -> float:
    call()
    times = []
    for _ in range(_REPETITIONS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def _row(structure: str, dtype: torch.dtype, n_features: int, n_components: int) -> list[str]:
    n_rows = max(2_000, 1_000_000 // (n_features * n_components))
    problem = make_problem(Point("fit", n_rows, n_components, n_features))
    x = torch.from_numpy(problem.x).to(dtype)
    start = initialize(x, n_components, structure, method="random_from_data", seed=0)
    times = {}
    for engine in ("torch", "native"):
        fitter = EMFitter(tol=0, max_iter=_N_ITER, progress=False, engine=engine)
        times[engine] = _fastest(lambda fitter=fitter: fitter.fit(x, start))
    chosen = EMFitter(max_iter=1, progress=False).fit(x, start).engine
    sizes = [structure, str(dtype).removeprefix("torch."), n_rows, n_features, n_components]
    words = [f"{size:,}" if isinstance(size, int) else size for size in sizes]
    product = f"{n_features * n_components:,} ({WIDEST[structure]:,})"
    return [*words, product, f"{times['torch'] / times['native']:.2f}", chosen]


def main() -> None:
    """Measures all structures and precisions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    rows = [
        _row(structure, dtype, n_features, n_components)
        for structure in WIDEST
        for dtype in (torch.float64, torch.float32)
        for n_features, n_components in _SIZES
    ]
    header = ["covariance", "precision", "N", "D", "K", "D K (limit)", "times as fast", "chosen"]
    print("\n".join(table(header, rows)))


if __name__ == "__main__":
    main()
