"""What mixtures have no formula for, and what to do instead."""

from typing import NoReturn

from torch import Tensor

__all__ = ["NoClosedForm", "no_closed_form"]


def no_closed_form(name: str, remedy: str) -> NotImplementedError:
    """The error of a quantity without a closed form."""
    return NotImplementedError(f"{name}: a mixture has no closed form of it; take {remedy}")


class NoClosedForm:
    """A mixture's entropy, mode and enumeration, which it refuses by naming a way."""

    def entropy(self) -> Tensor:
        """The entropy has no closed form."""
        by_draws = "-mixture.log_prob(mixture.sample((10_000,))).mean(0)"
        raise no_closed_form("entropy", f"{by_draws}, or entropy_bounds of a GaussianMixture")

    @property
    def mode(self) -> Tensor:
        """The mode has no closed form."""
        raise no_closed_form(
            "mode", "the most probable of many draws, improved by gradients of log_prob"
        )

    def enumerate_support(self, expand: bool = True) -> NoReturn:
        """A continuous support is not enumerated."""
        remedy = "sample, or enumerate the component as a Categorical"
        raise NotImplementedError(f"enumerate_support: a mixture's support is continuous; {remedy}")
