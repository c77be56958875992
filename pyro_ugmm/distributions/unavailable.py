"""What mixtures have no formula for, and what to do instead."""

from typing import NoReturn

from torch import Tensor

__all__ = ["NoClosedForm", "NoClosedFormOfRows"]


def _no_closed_form(name: str, remedy: str) -> NotImplementedError:
    """The error of a quantity without a closed form."""
    return NotImplementedError(f"{name}: a mixture has no closed form of it; take {remedy}")


class NoClosedForm:
    """A mixture's entropy, mode and enumeration, which it refuses by naming a way."""

    def entropy(self) -> Tensor:
        """The entropy has no closed form."""
        raise _no_closed_form("entropy", "-mixture.log_prob(mixture.sample((10_000,))).mean(0)")

    @property
    def mode(self) -> Tensor:
        """The mode has no closed form."""
        raise _no_closed_form(
            "mode", "the most probable of many draws, improved by gradients of log_prob"
        )

    def enumerate_support(self, expand: bool = True) -> NoReturn:
        """A continuous support is not enumerated."""
        remedy = "sample, or enumerate the component as a Categorical"
        raise NotImplementedError(f"enumerate_support: a mixture's support is continuous; {remedy}")


class NoClosedFormOfRows(NoClosedForm):
    """What a mixture of several dimensions refuses besides."""

    def rsample(self, sample_shape=()) -> Tensor:
        """Draws of several dimensions have no pathwise gradients."""
        remedy = "draw the component, and from it by torch's MultivariateNormal"
        raise NotImplementedError(f"rsample: no pathwise gradients of a mixture's rows; {remedy}")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below a row has no closed form."""
        raise _no_closed_form("cdf", "mixture.marginal([dim]), or the share of draws below")

    def icdf(self, value: Tensor) -> Tensor:
        """Rows have no order, so no quantiles."""
        raise _no_closed_form("icdf", "torch.quantile(mixture.sample((10_000,)), q, 0)")
