"""What is measured: GMMX's six sweeps and the headline points, and their seeded data."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "CONTENDERS",
    "FLOOR",
    "GMMX",
    "N_ITER",
    "OURS",
    "REG_COVAR",
    "SKLEARN",
    "Contender",
    "Point",
    "Problem",
    "Section",
    "Target",
    "draw_rows",
    "make_problem",
    "random_mixture",
    "sections",
    "thinned",
]

N_ITER = 20
REG_COVAR = 1e-6
_HEADLINE_SECONDS = 30.0


@dataclass(frozen=True)
class Contender:
    """A library in one precision."""

    library: str
    precision: str

    def __str__(self) -> str:
        return f"{self.library} {self.precision}"


OURS, SKLEARN, GMMX, FLOOR = "pyro_ugmm", "scikit-learn", "GMMX", "two matrix products"
CONTENDERS = (
    Contender(OURS, "float64"),
    Contender(SKLEARN, "float64"),
    Contender(OURS, "float32"),
    Contender(SKLEARN, "float32"),
    Contender(GMMX, "float32"),  # has no other
)


@dataclass(frozen=True)
class Target:
    """What a headline point should reach against one contender.

    Attributes:
        rival: whom we are compared with.
        ours: we, in the same precision.
        ratio: their time over ours, at least; of the floor, our time over its, at most.
    """

    rival: Contender
    ours: Contender
    ratio: float


@dataclass(frozen=True)
class Point:
    """One measurement: an action on data of one size.

    Attributes:
        action: ``"predict"`` or ``"fit"``.
        n_rows: :math:`N`.
        n_components: :math:`K`.
        n_features: :math:`D`.
        contenders: who takes part.
        targets: what is to be reached.
        enough_seconds: repetitions end when they have taken this long, or there are enough.
    """

    action: str
    n_rows: int
    n_components: int
    n_features: int
    contenders: tuple[Contender, ...] = CONTENDERS
    targets: tuple[Target, ...] = ()
    enough_seconds: float = 2.0

    @property
    def sizes(self) -> dict[str, int]:
        """N, K and D, by these names."""
        return {"N": self.n_rows, "K": self.n_components, "D": self.n_features}

    def __str__(self) -> str:
        return f"{self.action} " + " ".join(f"{name}={n:,}" for name, n in self.sizes.items())


@dataclass(frozen=True)
class Section:
    """Points in order of size; a sweep varies one size."""

    name: str
    title: str
    points: tuple[Point, ...]
    swept: str | None = None


def _doubled(first: int, last: int, factor: int = 2) -> list[int]:
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * factor)
    return sizes


def _sweeps(
    action: str, sizes: dict[str, int], swept: dict[str, list[int]], group: str = ""
) -> list[Section]:
    """Sweeps one size after the other; the group, by default the action, begins their names."""
    by_name = {"N": "n_rows", "K": "n_components", "D": "n_features"}
    found = []
    for name, values in swept.items():
        fixed = {by_name[other]: n for other, n in sizes.items() if other != name}
        points = tuple(Point(action, **fixed, **{by_name[name]: value}) for value in values)
        rest = ", ".join(f"{other} = {n:,}" for other, n in sizes.items() if other != name)
        title = f"{action.capitalize()}, {name} swept, {rest}"
        found.append(Section(f"{group or action}-{name.lower()}", title, points, name))
    return found


def _headline(sizes: dict[str, tuple[int, int, int]]) -> Section:
    ours64, sklearn64, ours32, _, gmmx32 = CONTENDERS
    floor = Contender(FLOOR, "float64")
    fit64 = Point(
        "fit",
        *sizes["fit float64"],
        (ours64, sklearn64, floor),
        (Target(sklearn64, ours64, 12.0), Target(floor, ours64, 1.0)),
        _HEADLINE_SECONDS,
    )
    fit32 = Point(
        "fit",
        *sizes["fit float32"],
        (ours32, gmmx32),
        (Target(gmmx32, ours32, 6.0),),
        _HEADLINE_SECONDS,
    )
    predict = Point(
        "predict",
        *sizes["predict"],
        (ours64, sklearn64),
        (Target(sklearn64, ours64, 4.0),),
        _HEADLINE_SECONDS,
    )
    small = [
        Point("fit", *sizes[name], (ours64, sklearn64), (Target(sklearn64, ours64, ratio),))
        for name, ratio in (("fit small", 30.0), ("fit narrow", 8.0))
    ]
    return Section("headline", "Headline points", (fit64, fit32, predict, *small))


def sections(quick: bool) -> list[Section]:
    """Returns what can be measured; ``quick``, in sizes that only test the script."""
    if quick:
        small = {"N": 512, "K": 4, "D": 4}
        swept = {"K": [2, 4], "D": [2, 4], "N": [256, 1024]}
        headline = {
            "fit float64": (512, 4, 4),
            "fit float32": (512, 2, 4),
            "predict": (512, 4, 4),
            "fit small": (150, 3, 4),
            "fit narrow": (200, 4, 10),
        }
        return [
            _headline(headline),
            *_sweeps("predict", small, swept),
            *_sweeps("fit", small, swept),
            *_sweeps("fit", {"N": 50, "K": 1, "D": 1}, {"K": [1, 2]}, "small"),
        ]
    headline = {
        "fit float64": (65_536, 64, 32),
        "fit float32": (65_536, 32, 32),
        "predict": (100_000, 64, 64),
        "fit small": (150, 3, 4),
        "fit narrow": (1_000, 10, 10),
    }
    return [
        _headline(headline),
        *_sweeps(
            "predict",
            {"N": 100_000, "K": 128, "D": 64},
            {"K": _doubled(2, 64), "D": _doubled(2, 64), "N": _doubled(32, 131_072, 4)},
        ),
        *_sweeps(
            "fit",
            {"N": 65_536, "K": 64, "D": 32},
            {"K": _doubled(2, 32), "D": _doubled(2, 32), "N": _doubled(256, 65_536, 4)},
        ),
        *_sweeps(
            "fit",
            {"N": 1_000, "K": 3, "D": 4},
            {"K": _doubled(1, 16), "D": _doubled(1, 16), "N": _doubled(50, 12_800, 4)},
            "small",
        ),
    ]


def thinned(section: Section, most: int | None) -> Section:
    """A section with so many points at most, evenly chosen, the largest among them."""
    points = section.points
    if most is None or most >= len(points):
        return section
    chosen = np.linspace(len(points) - 1, 0, most).round().astype(int)
    return replace(section, points=tuple(points[i] for i in sorted(chosen)))


@dataclass(frozen=True)
class Problem:
    """Rows ``(N, D)`` and the mixture to predict by or to start from, in float64."""

    x: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def _random_covariances(rng: np.random.Generator, count: int, n_features: int) -> np.ndarray:
    """Well-conditioned ones: their eigenvalues lie between 0.5 and about 2.5."""
    factors = rng.standard_normal((count, n_features, n_features)) / n_features**0.5
    return 0.5 * (factors @ factors.swapaxes(-1, -2) + np.eye(n_features))


def draw_rows(
    rng: np.random.Generator, count: int, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """Draws rows of an equally weighted mixture."""
    component = rng.integers(len(means), size=count)
    x = rng.standard_normal((count, means.shape[1]))
    for k, factor in enumerate(np.linalg.cholesky(covariances)):
        chosen = component == k
        x[chosen] = means[k] + x[chosen] @ factor.T
    return x


def random_mixture(
    rng: np.random.Generator, n_components: int, n_features: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns random means and covariances."""
    means = 3 * rng.standard_normal((n_components, n_features))
    return means, _random_covariances(rng, n_components, n_features)


def make_problem(point: Point) -> Problem:
    """Draws the data of a point, the same each time.

    The means to start from are rows: of the data for a fit, else further ones, since there may be
    fewer rows than components. A fit starts with the overall covariance; predictions use a
    different covariance for each component.
    """
    rng = np.random.default_rng(0)
    n_components = point.n_components
    true_means, covariances = random_mixture(rng, max(n_components, 8), point.n_features)
    x = draw_rows(rng, point.n_rows, true_means, covariances)
    if point.action == "fit":
        means = x[rng.choice(len(x), n_components, replace=False)]
        overall = np.atleast_2d(np.cov(x, rowvar=False))
        covariances = np.broadcast_to(overall, (n_components, *overall.shape)).copy()
    else:
        means = draw_rows(rng, n_components, true_means, covariances)
        covariances = covariances[:n_components]
    weights = np.full(n_components, 1 / n_components)
    return Problem(x, weights, means, covariances)
