"""The evidence by sequential Monte Carlo, against closed forms, quadrature and bridge sampling."""

import math
import statistics
from typing import Any

from pyro_ugmm.sampling import sample_posterior

from .closed_forms import Known
from .summaries import Reference

__all__ = ["from_agreement", "measure", "report"]


def _record(
    title: str, how: str, known: float, known_error: float, estimates: list[float], error: float
) -> dict[str, Any]:
    return {
        "case": title,
        "how": how,
        "known": known,
        "known_error": known_error,
        "estimates": estimates,
        "stated_error": error,
    }


def measure(known: Known, num_particles: int, seeds: range) -> dict[str, Any]:
    """Samples a posterior whose evidence is known once a seed."""
    samples = [
        sample_posterior(
            known.model, *known.rows, num_particles=num_particles, seed=seed, progress=False
        )
        for seed in seeds
    ]
    estimates = [sample.log_evidence for sample in samples]
    error = statistics.median(sample.log_evidence_error for sample in samples)
    return _record(known.title, known.how, known.log_evidence, 0.0, estimates, error)


def from_agreement(reference: Reference, agreement: dict[str, Any]) -> dict[str, Any] | None:
    """The evidence of the runs that were compared with chains, if it is known from these."""
    if reference.log_evidence is None or reference.log_evidence_error is None:
        return None
    known = reference.log_evidence, reference.log_evidence_error
    estimates = [run["log_evidence"] for run in agreement["runs"]]
    error = statistics.median(run["log_evidence_error"] for run in agreement["runs"])
    return _record(agreement["case"], "bridge from chains", *known, estimates, error)


def report(records: list[dict[str, Any]]) -> list[str]:
    """The comparison as Markdown."""
    lines = [
        "## Evidence",
        "",
        "The log evidence, in nats: as it is known, and by sequential Monte Carlo over seeds; the "
        "median of the standard errors that the runs state, and the distance of the mean over "
        "seeds from what is known, in standard errors of both (stated for one run, divided by the "
        "root of the number of seeds).",
        "",
        "| posterior | known | how | over seeds | stated error | distance |",
        "| :--- | ---: | :--- | ---: | ---: | ---: |",
    ]
    for record in records:
        estimates, known_error = record["estimates"], record["known_error"]
        error = math.hypot(record["stated_error"] / math.sqrt(len(estimates)), known_error)
        known = f"{record['known']:.2f}" + (f" ± {known_error:.2f}" if known_error else "")
        shown = ", ".join(f"{estimate:.2f}" for estimate in estimates)
        distance = (statistics.mean(estimates) - record["known"]) / error
        cells = [record["case"], known, record["how"], shown, f"{record['stated_error']:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {distance:+.1f} |")
    return [*lines, ""]
