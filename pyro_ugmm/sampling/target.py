"""The posterior that particles go to, in unconstrained coordinates."""

from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor

from ..checks import check, check_precision
from ..programs.coordinates import Coordinates
from ..programs.joint import joint_of
from ..programs.simulation import simulation_of
from ..programs.sites import sites_of
from ..programs.traced import Rows, count_rows
from .path import Path
from .reference import guide_reference
from .start import Start

__all__ = ["Target"]

_MOST_VALUES = 1 << 25
_MOST_ROUNDS = 20


class Target:
    """The log joint density of a program, and the path to it from the prior or a guide.

    Args:
        model: the program.
        rows: its data.
        start: a guide, or None for the prior.

    Attributes:
        coordinates: of positions.
        path: from the reference to the posterior.
        held: the names of parameters that have no prior.

    Raises:
        ValueError: if the model has no latent sites or no likelihood, or the guide is none of it.
    """

    def __init__(self, model: Callable, rows: Rows, start: Any = None) -> None:
        sites = sites_of(model, rows).latent_sites()
        check(sites, "model", "a model with priors", "one without, which leaves nothing to infer")
        improper = [name for name, site in sites.items() if not site.is_density]
        expected = "priors that are densities, or start=, a fitted guide"
        check(start is not None or not improper, "model", expected, f"scaled or masked {improper}")
        self._rows, self._joint = rows, joint_of(model, rows)
        expected = "one with a likelihood (objective='conditional' has one)"
        check(self._joint.has_likelihood, "model", expected, "objective='score', which is none")
        self._simulation = simulation_of(model, rows)
        self.coordinates = Coordinates(sites)
        self._guide = None if start is None else guide_reference(start, self.coordinates, rows)
        self._values_per_particle = count_rows(rows) * self._joint.values_per_row
        block = max(1, _MOST_VALUES // self._values_per_particle)
        densities = self._ratio if self.has_guide else self._log_joint
        self.path = Path(densities, block, is_bounded=not self.has_guide)
        self._point = point = self.start(1).position
        check_precision("model", point)
        self._check_repeats("model", lambda: torch.stack(self._log_joint(point)).sum())
        if self._guide is not None:
            log_q = self._guide.log_density
            self._check_repeats("start", lambda: log_q(point).sum())
        self.held = self._held(model, point)

    @property
    def has_guide(self) -> bool:
        """Whether particles come from a guide."""
        return self._guide is not None

    def _log_joint(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """The log prior of positions, as a density of these, and the log likelihood.

        Where a value leaves the numbers' range, which distributions refuse, both are none.
        """
        try:
            return self._evaluated(position)
        except ValueError:
            inside = self.coordinates.are_inside(position)
            if inside.all():
                raise
        position = torch.where(inside.unsqueeze(-1), position, self._point)
        log_prior, log_likelihood = self._evaluated(position)
        return log_prior.masked_fill(~inside, -torch.inf), log_likelihood

    def _evaluated(self, position: Tensor) -> tuple[Tensor, Tensor]:
        values, volume = self.coordinates.values(position)
        log_prior, terms = self._joint.log_joint(*self._rows, draws=values)
        return (log_prior + volume).to(position), terms.sum(-1).to(position)

    def _ratio(self, position: Tensor) -> tuple[Tensor, Tensor]:
        assert self._guide is not None
        log_prior, log_likelihood = self._log_joint(position)
        log_q = self._guide.log_density(position)
        return log_q, log_prior + log_likelihood - log_q

    def start(self, num_particles: int) -> Start:
        """Draws positions from the reference, shape ``(S, n)``.

        Raises:
            ValueError: if they are on the edges of supports, again and again.
        """
        rounds, count = [], 0
        for _ in range(_MOST_ROUNDS):
            rounds.append(self._drawn(num_particles))
            count += int(rounds[-1].isfinite().all(-1).sum())
            if count >= num_particles:
                return Start.among(torch.cat(rounds), num_particles, self.coordinates)
        name = "start" if self.has_guide else "model"
        expected = "one whose draws lie within their supports"
        raise ValueError(f"{name}: expected {expected}, got {count} of {_MOST_ROUNDS} draws there")

    def _drawn(self, num_samples: int) -> Tensor:
        with torch.no_grad():
            if self._guide is not None:
                return self._guide.sample(num_samples)
            return self.coordinates.flatten(self._simulation.sample_prior(num_samples))

    def quantities(self, position: Tensor) -> dict[str, Tensor]:
        """The log prior and log likelihood, ``(S,)``, and each row's, ``(S, n)``."""
        with torch.no_grad():
            values, _ = self.coordinates.values(position)
            log_prior, terms = [], []
            for part in torch.arange(len(position)).split(self.path.block):
                draws = {name: value[part] for name, value in values.items()}
                log_prior.append(self._joint.log_prior(draws))
                terms.append(self._joint.row_terms(*self._rows, draws=draws))
        rows = torch.cat(terms)
        return {"log_prior": torch.cat(log_prior), "log_likelihood": rows.sum(-1), "rows": rows}

    @staticmethod
    def _check_repeats(name: str, log_density: Callable[[], Tensor]) -> None:
        """Checks that nothing is random but the sites that are inferred."""
        with torch.no_grad():
            first, again = log_density(), log_density()
        same = torch.allclose(first, again, rtol=1e-4, atol=1e-3, equal_nan=True)
        expected = "a log density that is the same at every run (dropout in evaluation mode)"
        check(same, name, expected, f"{float(first):.4f}, then {float(again):.4f}")

    def _held(self, model: Any, point: Tensor) -> tuple[str, ...]:
        """Names what the log joint density depends on beside the latent sites."""
        is_module = isinstance(model, torch.nn.Module)
        parameters = (model if is_module else pyro.get_param_store()).named_parameters()
        learned = {name: p for name, p in parameters if p.requires_grad}
        if not learned:
            return ()
        with torch.enable_grad():
            log_prior, log_likelihood = self._log_joint(point)
            total = (log_prior + log_likelihood).sum()
            if not total.requires_grad:
                return ()
            gradients = torch.autograd.grad(total, [*learned.values()], allow_unused=True)
        return tuple(
            name for name, found in zip(learned, gradients, strict=True) if found is not None
        )
