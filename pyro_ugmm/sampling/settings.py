"""What a run of sampling is asked for."""

from dataclasses import dataclass

from ..checks import check, check_flag, check_integer, check_seed

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Numbers that a run takes, checked.

    Args:
        num_particles: in all populations together.
        num_populations: how many independent populations there are.
        most_moves: the most moves of a particle at one temperature.
        draws_per_particle: how many draws each particle leaves.
        seed: for all that is random, or None.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if they are none, or do not fit.
    """

    num_particles: int
    num_populations: int
    most_moves: int
    draws_per_particle: int
    seed: int | None
    progress: bool

    def __post_init__(self) -> None:
        populations = check_integer("num_populations", self.num_populations)
        particles = check_integer("num_particles", self.num_particles, minimum=2 * populations)
        expected = f"a multiple of num_populations={populations}"
        check(particles % populations == 0, "num_particles", expected, particles)
        checked = {
            "num_particles": particles,
            "num_populations": populations,
            "most_moves": check_integer("most_moves", self.most_moves, minimum=2),
            "draws_per_particle": check_integer("draws_per_particle", self.draws_per_particle),
            "seed": check_seed("seed", self.seed),
            "progress": check_flag("progress", self.progress),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def identity(self) -> dict[str, str]:
        """What tells a run from others, as words."""
        return {name: str(value) for name, value in vars(self).items() if name != "progress"}
