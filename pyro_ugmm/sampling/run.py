"""One run of sampling, which the keyboard can end and a checkpoint take up."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ..checkpoint import Checkpoint, check_form
from ..optimization.resumption import Resumption
from ..processes import Processes
from ..progress_bars import progress_bar
from . import smc
from .agreement import agreement
from .moved import Moved, changes
from .path import Particles
from .result import PosteriorSample
from .settings import Settings
from .sharing import SharedPath
from .start import Start
from .target import Target
from .tuning import Tuning
from .verdict import verdict

__all__ = ["Run"]

_MOST_TEMPERATURES = 500


class Run:
    """A run from the target's start to the posterior.

    Args:
        target: the posterior.
        settings: of the run.
        processes: that share it.
        identity: what tells it from others.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        processes: Processes,
        identity: Mapping[str, str],
    ) -> None:
        self._target, self._settings, self._identity = target, settings, dict(identity)
        self._path, self._processes = SharedPath.of(target.path, processes), processes
        start = target.start(settings.num_particles)
        self._state = smc.init(self._path, start.position, settings.num_populations)
        self._start = start.weighed(self._state.particles.increment)
        seed = int(torch.randint(1 << 62, ()))  # so that moves do not repeat the start's numbers
        self._generator = torch.Generator(start.position.device).manual_seed(seed)
        self._seconds = 0.0

    def go(self, checkpoint: str | os.PathLike | None = None) -> PosteriorSample:
        """Goes on to the posterior, from a checkpoint if there is one; stops at an interrupt."""
        interrupted = False
        try:
            self._take_steps(self._resumption(checkpoint))
        except KeyboardInterrupt:
            interrupted = True
        try:
            return self._result(interrupted)
        except KeyboardInterrupt:  # which comes too late to stop anything
            return self._result(interrupted)

    def _resumption(self, checkpoint: str | os.PathLike | None) -> Resumption | None:
        """Takes up a checkpoint, which the first process reads and writes for all."""
        if checkpoint is None:
            return None
        is_first, file = self._processes.rank == 0, Checkpoint(checkpoint, every=1)
        resumption = Resumption(file, self) if is_first else None
        if self._processes.size > 1:
            self.load(self._processes.from_first(self.state()))
        return resumption

    def _take_steps(self, resumption: Resumption | None) -> None:
        shown = self._settings.progress and self._processes.rank == 0
        taken = len(self._state.rungs)
        words = {"desc": "sampling", "unit": " temperatures"}
        with progress_bar(initial=taken, shown=shown, **words) as bar:
            while not self.is_done:
                self._step()
                if resumption is not None:
                    resumption.save()
                bar.set_postfix(temperature=f"{self._state.temperature:.2g}", refresh=False)
                bar.update()

    def _step(self) -> None:
        began, settings = time.perf_counter(), self._settings
        state = smc.step(
            self._path,
            self._state,
            most_moves=settings.most_moves,
            draws_per_particle=settings.draws_per_particle,
            generator=self._generator,
        )
        self._processes.agree({"particles": state.particles.position})
        self._state = state
        self._seconds += time.perf_counter() - began

    def _result(self, interrupted: bool) -> PosteriorSample:
        state, target, start = self._state, self._target, self._start
        position = state.draws.flatten(0, 1)
        quantities = target.quantities(position)
        r_hat = agreement(quantities, self._settings.num_populations)
        draws, _ = target.coordinates.values(position)
        moved = None
        if target.has_guide and state.temperature == 1:
            values, _ = target.coordinates.values(start.position)
            moved = Moved(
                n_temperatures=len(state.rungs),
                quantities=changes(target.quantities(start.position), quantities),
                sites=changes(values, draws),
            )
        status, reason = verdict(state, r_hat, interrupted, start.lost, moved)
        has_evidence = state.temperature == 1 and start.lost.is_little
        return PosteriorSample(
            draws=draws,
            num_populations=self._settings.num_populations,
            status=status,
            reason=reason,
            log_evidences=state.log_evidence * (1.0 if has_evidence else math.nan),
            r_hat=r_hat,
            rungs=state.rungs,
            held=target.held,
            moved=moved,
            seconds=self._seconds,
        )

    # -- checkpoints ------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether the posterior is reached, or cannot be."""
        state = self._state
        return (
            state.temperature >= 1 or not state.is_sound or len(state.rungs) >= _MOST_TEMPERATURES
        )

    def identity(self) -> dict[str, str]:
        """What tells this run from others."""
        return self._identity

    def state(self) -> dict[str, Any]:
        """All that the steps to come and the result depend on, as tensors and numbers."""
        state = self._state
        return {
            "start": self._start.state(),
            "particles": dict(vars(state.particles)),
            "draws": state.draws,
            "log_evidence": state.log_evidence,
            "temperature": state.temperature,
            "tuning": asdict(state.tuning),
            "rungs": [asdict(rung) for rung in state.rungs],
            "generator": self._generator.get_state(),
            "seconds": self._seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state` returned, perhaps in another process.

        Raises:
            ValueError: if it is not of the form that this run's has.
        """
        rungs, draws = state.pop("rungs"), state.pop("draws")
        own = {n: part for n, part in self.state().items() if n not in ("rungs", "draws")}
        check_form(state, own, "state")
        check_form(draws[:, 0], own["particles"]["position"], "state.draws")
        device = self._start.position.device
        self._generator.set_state(state["generator"])
        self._start, self._seconds = Start.of(state["start"], device), state["seconds"]
        self._state = smc.State(
            Particles(**{name: part.to(device) for name, part in state["particles"].items()}),
            state["log_evidence"].to(device),
            draws.to(device),
            state["temperature"],
            Tuning(**state["tuning"]),
            tuple(smc.Rung(**rung) for rung in rungs),
        )
