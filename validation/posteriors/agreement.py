"""Posteriors by sequential Monte Carlo against the references."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_ugmm.sampling import PosteriorSample, sample_posterior

from .cases import Case
from .summaries import Reference, gaps, summarize

__all__ = ["compare", "report"]

MOST_OF_MEANS, MOST_OF_ENDS = 0.1, 0.15
_N_POPULATIONS = 4


@dataclass(frozen=True, eq=False)
class _Run:
    sample: PosteriorSample
    quantities: dict[str, Tensor]


def _sampled(case: Case, num_particles: int, seed: int) -> _Run:
    sample = sample_posterior(
        case.model, *case.rows, num_particles=num_particles, seed=seed, progress=False
    )
    return _Run(sample, case.quantities(sample.draws))


def _distances(quantities: dict[str, Tensor], reference: Reference) -> dict[str, list[float]]:
    ours = summarize(quantities, _N_POPULATIONS)
    means, ends = zip(*gaps(ours, reference.summaries).values(), strict=True)
    return {"means": [*means], "ends": [*ends]}


def compare(case: Case, reference: Reference, num_particles: int, seeds: range) -> dict[str, Any]:
    """Samples a posterior once a seed; how far each is from the reference, and all together are."""
    runs = [_sampled(case, num_particles, seed) for seed in seeds]
    of_all = {q: torch.cat([run.quantities[q] for run in runs]) for q in reference.summaries}
    return {
        "case": case.title,
        "num_particles": num_particles,
        "r_hat": reference.r_hat,
        "ess": reference.ess,
        "runs": [
            {
                "seconds": run.sample.seconds,
                "status": run.sample.status.name,
                "log_evidence": run.sample.log_evidence,
                "log_evidence_error": run.sample.log_evidence_error,
                **_distances(run.quantities, reference),
            }
            for run in runs
        ],
        "together": _distances(of_all, reference),
    }


def _shown(distances: list[float], most: float) -> str:
    within = sum(distance <= most for distance in distances) / len(distances)
    ranked = sorted(distances)
    return f"{ranked[len(ranked) // 2]:.3f} | {ranked[-1]:.3f} | {within:.0%}"


def report(records: list[dict[str, Any]]) -> list[str]:
    """The comparison as Markdown."""
    particles = ", ".join(map(str, sorted({record["num_particles"] for record in records})))
    lines = [
        "## Against long chains",
        "",
        "Label-free quantities: log prior, log likelihood; of mixtures the log density at 20 "
        "points, which rows share a component, ordered weights and means; of networks the "
        f"probabilities of all classes of 30 rows held out. {particles} particles in "
        f"{_N_POPULATIONS} populations from the prior, seeds: {len(records[0]['runs'])}. Distances "
        f"in posterior standard deviations, or in hundredths where those are smaller: of means "
        f"(target: at most {MOST_OF_MEANS}), and of the farther end of 90 % intervals (at most "
        f"{MOST_OF_ENDS}): the median and the largest of all quantities, and how many are within. "
        "Independent draws, 1,024 of them, would be off by 0.03 and 0.07 themselves, 4,096 by half "
        "as much, and the worst of many quantities by three times that. The chains are "
        "NumPyro's, of the same models written by hand (`make references`).",
        "",
        "| posterior | NUTS: R-hat | smallest ESS | draws | s | means: median | largest | within | "
        "ends: median | largest | within |",
        "| :--- |" + " ---: |" * 10,
    ]
    for record in records:
        rows = [(f"seed {i}", run) for i, run in enumerate(record["runs"])]
        if len(rows) > 1:
            rows.append(("of all seeds", record["together"]))
        for said, distances in rows:
            seconds = f"{distances['seconds']:.0f}" if "seconds" in distances else ""
            cells = [
                record["case"],
                f"{record['r_hat']:.4f}",
                f"{record['ess']:.0f}",
                said,
                seconds,
            ]
            cells.append(_shown(distances["means"], MOST_OF_MEANS))
            cells.append(_shown(distances["ends"], MOST_OF_ENDS))
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
