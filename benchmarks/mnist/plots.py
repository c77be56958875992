"""Curves of the trainings on MNIST."""

from pathlib import Path
from typing import Any

__all__ = ["plot"]

_COLORS = {"maximum likelihood": "C0", "SVI": "C1", "SVI, images alone": "C2", "MLP": "0.45"}


def plot(record: dict[str, Any], path: Path) -> None:
    """Draws the loss of each pass over the data, every seed: likelihoods, and SVI's bound."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    panels = (("maximum likelihood", "MLP"), ("SVI", "SVI, images alone"))
    titles = ("negative log-likelihood", "negative evidence lower bound")
    for ax, names, title in zip(axes, panels, titles, strict=True):
        for name in names:
            for i, run in enumerate(record["runs"]):
                losses = run[name]["losses"]
                label = name if i == 0 else None
                ax.plot(range(1, len(losses) + 1), losses, color=_COLORS[name], label=label)
        ax.set(yscale="log", xlabel="images seen, in 60,000", ylabel="nats per image", title=title)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        ax.grid(True, which="both", color="#e8e8e8", linewidth=0.6)
    figure.savefig(path, dpi=110)
    plt.close(figure)
