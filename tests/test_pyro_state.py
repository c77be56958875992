"""Pyro's state is left as it was found, wherever an interrupt strikes."""

import pyro
import pytest
import torch

from pyro_ugmm.pyro_state import exclusive_pyro


@exclusive_pyro()
def interrupted():
    pyro.settings.set(validate_infer=False, validate_distributions_torch=False)
    pyro.poutine.trace().__enter__()
    pyro.param("left", torch.ones(1))
    raise KeyboardInterrupt


def test_what_an_interrupt_left_undone_is_undone():
    """As between the lines of the exit of ``pyro.validation_enabled``."""
    before = pyro.settings.get()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pyro.settings.get() == before
    assert not pyro.poutine.runtime.am_i_wrapped()
    assert "left" not in pyro.get_param_store()


@pytest.mark.parametrize("is_on", [False, True])
def test_what_a_user_validates_stays(is_on):
    with pyro.validation_enabled(is_on):
        before = pyro.settings.get()
        with exclusive_pyro(), pyro.validation_enabled(not is_on):
            pass
        assert pyro.settings.get() == before
