"""Slow checks of inference: calibration, agreement of SVI with NUTS, comparison of models.

Writes ``validation.json``, ``validation.md`` and ``calibration.png`` to ``validation/results``.
Run as ``make validate``; takes up to an hour on two cores.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from pyro_ugmm.files import write_atomically

from .agreement import against_nuts, compare_numbers, find_modes
from .calibration import INFERENCES, QUANTITIES, calibrate, summarize
from .prior import compare_priors

RESULTS = Path(__file__).parents[1] / "results"


def _calibration_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Calibration",
        "",
        f"{found['n_simulations']} data sets of {found['n_rows']} rows from the prior predictive "
        "of a mixture of two components in one dimension, with the default priors. Where the truth "
        "lies among 100 thinned draws: evenly, if the inference is right. The p-value is of a "
        "chi-squared test of evenness in ten bins; a central interval of so many percent should "
        "hold the truth so often, within the range of chance (99 %).",
        "",
        "| inference | quantity | p-value | 50 % intervals hold | 90 % intervals hold | judgment |",
        "| :--- | :--- | ---: | ---: | ---: | :--- |",
    ]
    for inference in INFERENCES:
        for quantity in QUANTITIES:
            s = summarize(found["ranks"][inference][quantity])
            words = []
            for level in ("50%", "90%"):
                low, high = s[f"expected {level}"]
                if s[f"coverage {level}"] < low:
                    words.append(f"too narrow at {level}")
                elif s[f"coverage {level}"] > high:
                    words.append(f"too wide at {level}")
            if s["p_value"] < 0.001:
                words.append("not even")
            cover = [f"{s[f'coverage {level}']:.0%}" for level in ("50%", "90%")]
            judgment = ", ".join(words) or "as it should be"
            cells = [inference, quantity, f"{s['p_value']:.2g}", *cover, judgment]
            lines.append(f"| {' | '.join(cells)} |")
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
    from scipy.stats import binom

    figure, axes = plt.subplots(
        len(INFERENCES), len(QUANTITIES), figsize=(11, 8.5), sharex=True, sharey=True
    )
    n = found["n_simulations"]
    low, high = binom.interval(0.99, n, 0.1)
    for row, inference in zip(axes, INFERENCES, strict=True):
        for ax, quantity in zip(row, QUANTITIES, strict=True):
            ax.axhspan(low, high, color="0.9")
            ax.hist(found["ranks"][inference][quantity], bins=10, range=(0, 1), color="C0")
            ax.set(xlim=(0, 1))
        row[0].set_ylabel(f"{inference}\ndata sets")
    for ax, quantity in zip(axes[0], QUANTITIES, strict=True):
        ax.set_title(quantity, fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("rank of the truth")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Runs what is asked for, and writes the results."""
    sections = ("agreement", "comparison", "modes", "prior", "calibration")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(sections), help=f"some of {sections}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this script")
    parser.add_argument("--processes", type=int, default=2)
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
        "calibration": lambda: calibrate(2 if quick else 200, options.processes),
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
