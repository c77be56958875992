"""How much of everything there is; the same for all data sets."""

from dataclasses import dataclass

__all__ = ["QUICK", "SETTINGS", "Settings"]


@dataclass(frozen=True)
class Settings:
    """The sizes of networks and of trainings.

    Attributes:
        hidden: the neurons of a network's one hidden layer.
        steps: those of each training; SVI takes as many again.
        batch_size: the rows of a step.
        members: those of an ensemble.
        draws: from a posterior, and of the units that MC dropout drops.
        particles: those of sequential Monte Carlo, whose network has ``small`` hidden neurons.
        most_values: the most entries of training rows for which it is run.
        sizes: the numbers of training rows of learning curves.
        gaps: the shares of inputs missing at test time.
    """

    hidden: int = 16
    steps: int = 300
    batch_size: int = 128
    members: int = 5
    draws: int = 50
    particles: int = 64
    most_moves: int = 8
    small: int = 4
    most_values: int = 2_000
    sizes: tuple[int, ...] = (10, 100, 1_000)
    gaps: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)


SETTINGS = Settings()
QUICK = Settings(4, 10, 32, 2, 4, 8, 2, 2, 200, (10, 30), (0.5,))
