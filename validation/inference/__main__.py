"""Slow checks of inference: calibration, agreement of SVI with NUTS, comparison of models.

Writes ``validation.json``, ``validation.md`` and ``calibration.png`` to ``validation/results``.
Run as ``make validate``; takes about an hour; calibration goes on from what an
interrupted run left there.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from pyro_ugmm.files import write_atomically
from pyro_ugmm.plots import plot_calibration

from .agreement import against_nuts, compare_numbers, find_modes
from .calibration import LEVELS, calibrate, simulated
from .prior import compare_priors

RESULTS = Path(__file__).parents[1] / "results"


def _calibration_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Calibration",
        "",
        f"Data sets of {found['n_rows']} rows from the prior predictive of a mixture of two "
        "components in one dimension, with the default priors, by `simulate_calibration`. The "
        "truth ranks evenly among draws of the posterior, and central intervals of so many percent "
        "hold it so often, but for chance (in 99 of 100 runs). A star marks what chance does not "
        "explain: p-values are exact, and below 0.01 over the number of quantities.",
        "",
        "| inference | data sets | quantity | p-value | 50 % hold | 80 % hold | 90 % hold |",
        "| :--- | ---: | :--- | ---: | ---: | ---: | ---: |",
    ]
    results = simulated(found)
    for inference, result in results.items():
        held = [result.coverage(level) for level in LEVELS]
        for q, quantity in enumerate(result.names):
            star = "" if result.in_band[q] else " *"
            shares = [f"{float(share[q]):.0%}" for share in held]
            cells = [inference, str(len(result.ranks)), quantity]
            cells += [f"{result.p_values[q]:.2g}{star}", *shares]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for inference, result in results.items():
        limits = [result.coverage_by_chance(level) for level in LEVELS]
        chance = ", ".join(f"{low:.0%} to {high:.0%}" for low, high in limits)
        lines.append(f"- {inference}: {result.verdict} (by chance intervals hold {chance}).")
    return [*lines, "", "![Ranks of the truth among draws](calibration.png)", ""]


def _agreement_lines(found: dict[str, Any]) -> list[str]:
    distances, scores = found["distance_of_means_in_posterior_sd"], found["loo"]
    gaps = ", ".join(f"{site} {gap:.3f}" for site, gap in distances.items())
    return [
        "## SVI against NUTS",
        "",
        "A mixture of two components, 200 rows in one dimension; a full-rank guide started at EM's "
        f"solution, against four chains (largest R-hat {found['largest_r_hat']:.4f}, "
        f"{found['divergences']} divergences).",
        "",
        f"- Posterior means differ by at most, in posterior standard deviations: {gaps}.",
        f"- Pareto k of the guide: {found['pareto_k']:.2f}.",
        f"- LOO: NUTS {scores['NUTS']:.2f}, SVI corrected by log p and log q {scores['SVI']:.2f}, "
        f"SVI uncorrected {scores['SVI uncorrected']:.2f}; standard error "
        f"{scores['standard error']:.2f}.",
        "",
    ]


def _comparison_lines(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## How many components",
        "",
        "LOO (elpd, the higher the better) of 300 rows from three components, by guides:",
        "",
    ]
    for row in found:
        ratio = row["difference"] / row["standard error"]
        lines.append(
            f"- of three minus of {row['three against']}: {row['difference']:+.1f} nats, which is "
            f"{ratio:+.1f} standard errors ({row['rows of high pareto k']} rows of a Pareto k "
            "above 0.7)"
        )
    return [*lines, ""]


def _prior_lines(found: dict[str, dict[str, float]]) -> list[str]:
    names = list(next(iter(found.values())))
    lines = [
        "## The prior over variances",
        "",
        "Mean log density, in nats, of the half of the rows held out, by EM and by full-rank "
        "guides with two priors (in units of a component's share); means over splits.",
        "",
        f"| data | {' | '.join(names)} |",
        f"| :--- |{' ---: |' * len(names)}",
    ]
    for case, values in found.items():
        lines.append(f"| {case} | {' | '.join(f'{values[name]:.3f}' for name in names)} |")
    return [*lines, ""]


def _modes_lines(found: dict[str, Any]) -> list[str]:
    counts = [f"- {name}: {n} of {found['n_seeds']}" for name, n in found["counts"].items()]
    title = "How often a mean-field guide finds all of six components on a ring, 600 rows:"
    return ["## All modes", "", title, "", *counts, ""]


def _plot(found: dict[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    results = simulated(found)
    shape = {"figsize": (11, 3.6 * len(results)), "squeeze": False, "layout": "constrained"}
    figure, rows = plt.subplots(len(results), 2, sharex=True, sharey="row", **shape)
    for axes, (inference, result) in zip(rows, results.items(), strict=True):
        plot_calibration(result, ax=axes)
        axes[0].set_title(f"{inference}: {axes[0].get_title()}", fontsize=10)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    """Runs what is asked for, and writes the results."""
    sections = ("agreement", "comparison", "modes", "prior", "calibration")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(sections), help=f"some of {sections}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this script")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "validation.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    quick = options.quick
    runs = {
        "agreement": lambda: against_nuts(100 if quick else 1500),
        "comparison": lambda: compare_numbers(200 if quick else 4000),
        "modes": lambda: find_modes(1 if quick else 20),
        "prior": lambda: compare_priors(1 if quick else 4),
        "calibration": lambda: calibrate(10 if quick else 200, options.out),
    }
    for section in options.only.split(","):
        record[section] = runs[section]()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        record[section + "_date"] = today
        print(section, str(record[section])[:300], flush=True)
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    lines = ["# Validation of inference", "", "`make validate`", ""]
    writers = {
        "agreement": _agreement_lines,
        "comparison": _comparison_lines,
        "modes": _modes_lines,
        "prior": _prior_lines,
        "calibration": _calibration_lines,
    }
    for section, write in writers.items():
        if section in record:
            lines += write(record[section])
    write_atomically(options.out / "validation.md", ("\n".join(lines).rstrip() + "\n").encode())
    if "calibration" in record:
        _plot(record["calibration"], options.out / "calibration.png")


if __name__ == "__main__":
    main()
