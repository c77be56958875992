"""Promises about the package as a whole."""

import subprocess
import sys

import pyro_ugmm


def test_importing_loads_nothing_heavy():
    """Importing costs what importing Pyro costs: ArviZ, matplotlib and scikit-learn come later."""
    code = (
        "import sys, pyro_ugmm.nn, pyro_ugmm.distributions, pyro_ugmm.models, pyro_ugmm.guides, "
        "pyro_ugmm.training, pyro_ugmm.diagnostics, pyro_ugmm.plots, pyro_ugmm.datasets, "
        "pyro_ugmm.em\n"
        "print([m for m in ('arviz', 'matplotlib', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
    assert done.stderr == ""


def test_the_package_alone_loads_nothing_and_its_parts_when_they_are_used():
    code = (
        "import sys, pyro_ugmm\n"
        "loaded = [m for m in ('numpy', 'torch', 'pyro') if m in sys.modules]\n"
        "assert not loaded, loaded\n"
        "assert not hasattr(pyro_ugmm, 'nothing') and not hasattr(pyro_ugmm, '_nothing')\n"
        "assert {*pyro_ugmm.__all__} <= {*dir(pyro_ugmm)} and 'torch' not in sys.modules\n"
        "pyro_ugmm.distributions.GaussianMixture\n"
        "assert 'torch' in sys.modules and 'pyro_ugmm.em' not in sys.modules\n"
        "assert pyro_ugmm.em.EMFitter and pyro_ugmm.training.fit_mle\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_part_is_said_to_be_one():
    for name in pyro_ugmm.__all__:
        part = getattr(pyro_ugmm, name)
        assert part.__name__ == f"pyro_ugmm.{name}" and part.__doc__
        assert f"``{name}``: " in pyro_ugmm.__doc__


def test_importing_changes_no_setting_of_pyros():
    code = (
        "import pyro; before = pyro.settings.get()\n"
        "import pyro_ugmm.diagnostics\nassert pyro.settings.get() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version():
    assert pyro_ugmm.__version__.count(".") == 2
