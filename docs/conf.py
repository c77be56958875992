"""Settings of the documentation. Build it by ``make docs``."""

import json
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from pyro_ugmm import __version__  # noqa: E402

project = "pyro_ugmm"
author = "the authors of pyro_ugmm"
project_copyright = author
version = release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without a network
]
exclude_patterns = ["_build", "images"]

# Pages are Markdown, whose code is run as they are built; notebooks are committed with outputs.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_excludepatterns = ["tutorials/*"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"
os.environ["TQDM_DISABLE"] = "1"  # no progress bars among the outputs
os.environ["OMP_NUM_THREADS"] = "1"  # pages are run side by side
logging.getLogger("traitlets").setLevel(logging.ERROR)

# The reference comes from docstrings.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# A reference within the library must resolve; those to other libraries need their inventories,
# which are fetched only where SPHINX_INTERSPHINX is set, so that a build needs no network.
nitpicky = True
if os.environ.get("SPHINX_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://pytorch.org/docs/stable", None),
        "pyro": ("https://docs.pyro.ai/en/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "arviz": ("https://python.arviz.org/en/v0.23.0", None),
    }
_OTHERS = r"(abc|arviz|collections|numpy|os|pyro|torch)\..*|Axes|InferenceData|Tensor|dict\[str"
_TYPES = "SecondMoments|MatrixCompletion|VarianceCompletion|Completion|Argument|Iterates|Rows|Table"
_TYPES += "|WeightDistribution|PrecisionLaw|ParameterDistribution|MixtureStarts|CarriedBounds"
_INNER = rf"pyro_ugmm\..*\.({_TYPES})"
nitpick_ignore_regex = [(r"py:.*", _OTHERS), (r"py:class", _INNER)]

html_theme = "furo"
html_title = f"pyro_ugmm {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sphinx = False


def _copy_tutorials() -> None:
    """Brings the notebooks, which live beside the documentation, to where Sphinx reads them."""
    home, folder = ROOT / "tutorials", HERE / "tutorials"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home, folder, ignore=shutil.ignore_patterns("*.py", "*.json", "README.md"))
    index = json.loads((home / "index.json").read_text())
    listed = "\n".join(index)
    hidden = f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{listed}\n```\n"
    text = (home / "README.md").read_text()
    (folder / "index.md").write_text(f"{text}\n{hidden}")


_copy_tutorials()

# What is printed or drawn is shown, values that stand alone are not. The gallery's code is run by
# docs/pictures.py, which keeps its pictures.
_WITH_PICTURES = "gallery"
_HEAD = """---
file_format: mystnb
kernelspec:
  name: python3
---
"""
_SETUP = """```{code-cell}
:tags: [remove-cell]
%config InteractiveShell.ast_node_interactivity = "none"
%config InlineBackend.figure_formats = ["retina"]
```

"""


def _run_code(app: Any, name: str, source: list[str]) -> None:
    """Makes a notebook of a page with code in Python."""
    text, count = re.subn(r"^```python$", "```{code-cell}", source[0], flags=re.M)
    if count and name != _WITH_PICTURES and not name.startswith("tutorials/"):
        title, _, rest = text.partition("\n\n")
        source[0] = f"{_HEAD}{title}\n\n{_SETUP}{rest}"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _run_code)
    # It only copies files, but does not say that pages may be read side by side.
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True
