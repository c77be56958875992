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


def test_importing_changes_no_setting_of_pyros():
    code = (
        "import pyro; before = pyro.settings.get()\n"
        "import pyro_ugmm.diagnostics\nassert pyro.settings.get() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version():
    assert pyro_ugmm.__version__.count(".") == 2
