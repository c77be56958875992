"""EM over a memory-mapped file that is larger than the memory it may take."""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..common.children import run_child
from ..common.devices import memory_mb
from .cases import draw_rows, random_mixture

__all__ = ["LIMIT_MB", "measure_memmap"]

LIMIT_MB = 500
_SIZES = {"N": 10_000_000, "K": 32, "D": 16}
_QUICK_SIZES = {"N": 20_000, "K": 4, "D": 4}
_CHUNK = 100_000
_N_ITER = 2
_PATIENCE_SECONDS = 3600
_SAMPLE_SECONDS = 0.005


def _write_rows(path: Path, sizes: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    mixture = random_mixture(rng, sizes["K"], sizes["D"])
    with path.open("wb") as file:
        for at in range(0, sizes["N"], _CHUNK):
            count = min(_CHUNK, sizes["N"] - at)
            file.write(draw_rows(rng, count, *mixture).astype(np.float32).tobytes())


def measure_memmap(*, quick: bool, device: str, threads: int) -> dict[str, Any]:
    """Writes the file here and fits in a new process; returns sizes, time and memory."""
    sizes = _QUICK_SIZES if quick else _SIZES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.float32"
        _write_rows(path, sizes)
        spec = {"path": str(path), "sizes": sizes, "device": device}
        found = run_child("benchmarks.em.memmap", spec, threads, _PATIENCE_SECONDS)
        if found.pop("over", None):
            found["failure"] = f"over {_PATIENCE_SECONDS} s"
        return {"sizes": sizes, "n_iter": _N_ITER, "file_mb": path.stat().st_size / 1e6, **found}


class _PeakAnonymous(threading.Thread):
    """Samples the memory that is not backed by files, until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.samples = memory_mb("RssAnon"), 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Samples."""
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.peak, self.samples = max(self.peak, memory_mb("RssAnon")), self.samples + 1

    def stop(self) -> None:
        """Takes the last sample."""
        self._ended.set()
        self.join()
        self.peak = max(self.peak, memory_mb("RssAnon"))


def main() -> None:
    """Fits to the file that the argument names."""
    import torch

    from pyro_ugmm.distributions import FullCovariance, GaussianMixture
    from pyro_ugmm.em import EMFitter

    spec = json.loads(sys.argv[1])
    n_rows, n_components, n_features = (spec["sizes"][name] for name in "NKD")
    x = np.memmap(spec["path"], dtype=np.float32, mode="r", shape=(n_rows, n_features))
    chosen = np.random.default_rng(1).choice(n_rows, 10 * n_components, replace=False)
    sample = torch.from_numpy(np.array(x[chosen]))
    covariance = torch.cov(sample.T).expand(n_components, -1, -1).contiguous()
    start = GaussianMixture(
        torch.full((n_components,), 1 / n_components),
        sample[:n_components],
        FullCovariance(covariance),
    ).to(spec["device"])
    fitter = EMFitter(tol=0, max_iter=_N_ITER, progress=False)
    before, sampler = memory_mb("RssAnon"), _PeakAnonymous()
    sampler.start()
    started = time.perf_counter()
    result = fitter.fit(x, start)
    seconds = time.perf_counter() - started
    sampler.stop()
    found = {
        "seconds": seconds,
        "log_likelihood": result.log_likelihood,
        "before_mb": before,
        "peak_mb": sampler.peak,
        "samples": sampler.samples,
        "used_mb": sampler.peak - before,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
