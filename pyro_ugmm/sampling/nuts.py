"""Pyro's No-U-Turn sampler, which keeps the energy of each transition."""

import math
from typing import Any

from pyro.infer import NUTS
from torch import Tensor

__all__ = ["NUTSWithEnergy"]


class NUTSWithEnergy(NUTS):
    r"""Pyro's ``NUTS``, the same draws, which keeps the energy of each transition.

    :func:`pyro_ugmm.diagnostics.to_inference_data` stores it as ``energy`` in ``sample_stats``,
    by which ``arviz.plot_energy`` and ``arviz.bfmi`` tell whether new momenta carry a chain through
    all of the posterior; Pyro's own kernels keep none. It is the Hamiltonian

    .. math:: E = -\log p(\text{data}, z) + \tfrac{1}{2} p^\top M^{-1} p

    where a transition starts: at the draw before, :math:`z` without constraints, with a new
    momentum :math:`p`. Source: Betancourt (2016), arXiv:1604.00695.

    Args:
        *arguments: as those of ``pyro.infer.NUTS``.
        **options: as those of ``pyro.infer.NUTS``.

    Example:
        >>> import torch
        >>> from pyro.infer import MCMC
        >>> from pyro_ugmm.diagnostics import to_inference_data
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> from pyro_ugmm.sampling import NUTSWithEnergy
        >>> x = torch.randn(20, 1)
        >>> model = BayesianGaussianMixture(1, 1, priors=Priors.from_data(x))
        >>> mcmc = MCMC(NUTSWithEnergy(model), num_samples=5, warmup_steps=5, disable_progbar=True)
        >>> mcmc.run(x)
        >>> to_inference_data(model, mcmc, x).sample_stats["energy"].shape
        (1, 5)
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._energy = math.nan
        self._energies: list[float] = []

    def setup(self, warmup_steps: int, *arguments: Any, **options: Any) -> None:
        """Forgets the energies of the run before."""
        self._energies = []
        super().setup(warmup_steps, *arguments, **options)

    def sample(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes a transition, and notes its energy after warm-up."""
        result = super().sample(params)
        if self._t > self._warmup_steps:
            self._energies.append(self._energy)
        return result

    def diagnostics(self) -> dict[str, Any]:
        """Pyro's, and ``energy``."""
        return super().diagnostics() | {"energy": self._energies}

    def _sample_r(self, name: str) -> tuple[Any, Any]:
        scaled, unscaled = super()._sample_r(name)
        self._energy = float(self._kinetic_energy(unscaled) + self._potential_energy_last)
        return scaled, unscaled
