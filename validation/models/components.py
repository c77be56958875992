"""How many components: the evidence against the BIC, where the truth is drawn from the prior.

Then a probability is calibrated if the inference is right: of all numbers of components that are
given 70 %, about 70 % are the true one.
"""

from typing import Any

import torch
from scipy.stats import binomtest
from tqdm import tqdm

from pyro_ugmm.em import EMFitter, select
from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.sampling import Evidence

__all__ = ["component_lines", "count_components"]

_SIZES = (1, 2, 3, 4)
_N_ROWS, _N_FEATURES, _COVARIANCE = 60, 2, "diagonal"
_BINS = ((0.0, 0.1), (0.1, 0.4), (0.4, 0.7), (0.7, 1.0))


def _one(seed: int, num_particles: int) -> dict[str, Any]:
    """Draws a data set, and asks both criteria."""
    torch.manual_seed(seed)
    truth, priors = _SIZES[seed % len(_SIZES)], Priors()
    model = BayesianGaussianMixture(truth, _N_FEATURES, _COVARIANCE, priors)
    draw = {site: value[0] for site, value in model.sample_prior(1).items()}
    x = model.mixture(draw).sample((_N_ROWS,))
    found = select(
        x,
        _SIZES,
        _COVARIANCE,
        criterion=Evidence(priors, num_particles=num_particles),
        fitter=EMFitter(reg_covar=1e-3, max_iter=300, progress=False),
        n_init=10,
        seed=seed,
        progress=False,
    )
    sound = [row for row in found.table if not row.unsound] or found.table
    return {
        "truth": truth,
        "evidence": found.best.n_components,
        "bic": min(sound, key=lambda row: row.bic).n_components,
        "probabilities": [*found.probabilities],
        "converged": all(row.sample.converged for row in found.table),
        "seconds": sum(row.sample.seconds for row in found.table),
    }


def count_components(n_data_sets: int, num_particles: int) -> dict[str, Any]:
    """Asks for the number of components of so many data sets."""
    sets = [_one(seed, num_particles) for seed in tqdm(range(n_data_sets), desc="components")]
    return {"n_rows": _N_ROWS, "num_particles": num_particles, "sets": sets}


def component_lines(found: dict[str, Any]) -> list[str]:
    """Writes a section on them."""
    sets = found["sets"]
    right = {name: sum(one[name] == one["truth"] for one in sets) for name in ("evidence", "bic")}
    seconds = sum(one["seconds"] for one in sets) / len(sets)
    lines = [
        "## The number of components, by evidence",
        "",
        f"{len(sets)} data sets of {found['n_rows']} rows of two features, from diagonal mixtures "
        "of one to four components drawn from the default priors, so that many components overlap, "
        f"or have no row. Four runs of {found['num_particles']} particles take {seconds:.0f} "
        f"seconds; all converged in {sum(one['converged'] for one in sets)} data sets.",
        "",
        "| criterion | finds the number | of |",
        "| :--- | ---: | ---: |",
        f"| evidence | {right['evidence']} | {len(sets)} |",
        f"| BIC, the best of ten starts | {right['bic']} | {len(sets)} |",
        "",
        "Each number of components of each data set, by the probability that it is given; the "
        "range is of chance (95 %).",
        "",
        "| probability | on average | how often it is the number | range | cases |",
        "| :--- | ---: | ---: | :--- | ---: |",
    ]
    cases = [
        (probability, size == one["truth"])
        for one in sets
        for size, probability in zip(_SIZES, one["probabilities"], strict=True)
    ]
    for low, high in _BINS:
        inside = [case for case in cases if low < case[0] <= high]
        if not inside:
            continue
        mean = sum(probability for probability, _ in inside) / len(inside)
        hits = sum(hit for _, hit in inside)
        interval = binomtest(hits, len(inside)).proportion_ci()
        lines.append(
            f"| {low:.0%} to {high:.0%} | {mean:.0%} | {hits / len(inside):.0%} "
            f"| {interval.low:.0%} to {interval.high:.0%} | {len(inside)} |"
        )
    return [*lines, ""]
