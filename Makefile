# A bare machine with Python 3.11 and make, and for speed a C compiler: `make demo` or `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(VENV)/bin/python -m pip --disable-pip-version-check
RUN := $(VENV)/bin/python
MNIST ?= mnist
WORKERS ?= 2

.PHONY: help demo kernels test test-elsewhere attack lint docs package pictures tutorials validate validate-models references bench-iris bench-density bench-density-estimation bench-density-mnist bench-regression bench-networks bench-defaults bench-evidence bench-em bench-svi bench-mnist bench-layer bench-sampling bench-gpu clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 26

# One environment, made anew when what it should hold changes.
$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(wildcard pyro_ugmm/native/*.c pyro_ugmm/native/*.inc)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed: make PYTHON=..."'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet torch
	$(PIP) install --quiet --editable '.[test,lint]'
	touch $@

demo: $(VENV)/.installed  ## the main jobs on Iris, or on a table of yours: ARGS="--data FILE.csv --target COLUMN"
	$(RUN) -m pyro_ugmm.demo --out out $(ARGS)

kernels:  ## the library in C, in place, for a checkout that is not installed; any Python does
	$(PYTHON) hatch_build.py

test: $(VENV)/.installed  ## all tests and the examples in docstrings
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: $(VENV)/.installed  ## the documentation, in docs/_build/html; a warning or a broken link is an error
	$(PIP) install --quiet --editable '.[docs]'
	rm -rf docs/_build/html  # pages of modules that are gone
	$(RUN) -m sphinx -j 2 -E -W --keep-going -q -b html docs docs/_build/html
	$(RUN) docs/check_links.py docs/_build/html

# The wheel, and then the sdist where there is no compiler, in an environment of their own.
package: PACKAGE := PIP_CONSTRAINT=$(CURDIR)/constraints.txt .venv-package/bin/python -m pip --disable-pip-version-check install --quiet
package: $(VENV)/.installed  ## sdist and wheel in dist/; both, without extras, in an environment of their own
	$(PIP) install --quiet build
	rm -rf dist && $(RUN) -m build --outdir dist
	$(RUN) tests/wheel.py dist/*.whl
	$(PYTHON) -m venv --clear .venv-package
	$(PACKAGE) dist/*.whl
	cp tests/installed.py dist/
	cd dist && ../.venv-package/bin/python -W error::UserWarning:pyro_ugmm installed.py compiled
	CC=false $(PACKAGE) --no-deps --force-reinstall dist/*.tar.gz
	cd dist && ../.venv-package/bin/python installed.py tiled && rm installed.py

pictures: $(VENV)/.installed  ## the pictures of README and gallery, drawn anew into docs/images
	$(RUN) -W ignore docs/pictures.py

tutorials: $(VENV)/.installed  ## all notebooks of tutorials/, run in full, with their outputs written back
	$(RUN) tutorials/run.py

validate: $(VENV)/.installed  ## slow checks of inference, two hours: calibration, guides and sampling against NUTS, evidence; writes validation/results
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m validation.inference
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m validation.posteriors

references: $(VENV)/.installed  ## long chains of NumPyro's NUTS, three hours; writes validation/references
	$(PIP) install --quiet --editable '.[references]'
	XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" OMP_NUM_THREADS=1 $(RUN) -W ignore -m validation.posteriors.references

validate-models: $(VENV)/.installed  ## which model: evidence against BIC, rows left out against brute force, an hour
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m validation.models

test-elsewhere: $(VENV)/.installed  ## the tests with other kernels, threads, seeds, and without the library in C, half an hour
	$(RUN) validation/elsewhere.py

attack: $(VENV)/.installed  ## runs that are killed, damaged, interrupted and forked, by the hundred
	$(RUN) validation/attack.py

bench-iris: $(VENV)/.installed  ## held-out accuracy on Iris, 5 folds, 3 seeds; writes benchmarks/results
	$(RUN) -m benchmarks.iris

bench-density: $(VENV)/.installed  ## the same of a network that scores features and label together, 2 seeds
	$(RUN) -m benchmarks.iris.density

bench-density-estimation: $(VENV)/.installed  ## densities of real data by rows left out, against scikit-learn and tgmm, a quarter of an hour
	$(PIP) install --quiet --editable '.[bench]'
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.density_estimation

bench-density-mnist: $(VENV)/.installed  ## densities of images by those left out, a quarter of an hour; MNIST=folder of its IDX files
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.density_estimation.images $(MNIST)

bench-regression: $(VENV)/.installed  ## predictive densities of continuous targets by held-out rows, against others, ten minutes
	$(PIP) install --quiet --editable '.[bench]'
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.regression

bench-networks: $(VENV)/.installed  ## networks beside other classifiers on real data, half an hour; MNIST=folder, if it is there
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.networks $(if $(wildcard $(MNIST)),--mnist $(MNIST))

bench-defaults: $(VENV)/.installed  ## settings of networks beside logistic regression, on data sets to choose on and others
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.networks.defaults

bench-evidence: $(VENV)/.installed  ## priors of networks by evidence, on data sets to choose on and others
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m benchmarks.networks.evidence

bench-svi: $(VENV)/.installed  ## the time of a step of SVI, in steps of maximum likelihood
	$(RUN) -m benchmarks.svi

bench-mnist: $(VENV)/.installed  ## accuracy, calibration and strange images on MNIST, half an hour; MNIST=folder of its IDX files
	$(RUN) -W ignore -m benchmarks.mnist --data $(MNIST)

bench-layer: $(VENV)/.installed  ## the time and memory of a layer of mixture neurons
	$(RUN) -W ignore -m benchmarks.layer
	$(RUN) -W ignore -m benchmarks.layer.step

bench-em: $(VENV)/.installed  ## EM and prediction against scikit-learn and GMMX, an hour and a half; writes benchmarks/results
	$(PIP) install --quiet --editable '.[bench]'
	$(RUN) -W ignore -m benchmarks.em
	$(RUN) -W ignore -m benchmarks.em.predictions
	$(RUN) -W ignore -m benchmarks.em.variational
	$(RUN) -W ignore -m benchmarks.em.groups

bench-sampling: $(VENV)/.installed  ## posteriors by sequential Monte Carlo: time, evidence, agreement
	$(RUN) -W ignore -m benchmarks.sampling

# With the Python and torch that a machine with a GPU has, where there is no .venv: nothing is installed.
bench-gpu: RUN := $(if $(wildcard $(RUN)),$(RUN),$(PYTHON))
bench-gpu:  ## the layer, a step of SVI, posteriors and EM on a GPU, ten minutes; writes benchmarks/results
	$(RUN) -W ignore -m benchmarks.layer --device cuda
	$(RUN) -W ignore -m benchmarks.svi --device cuda
	$(RUN) -W ignore -m benchmarks.sampling --device cuda
	$(RUN) -W ignore -m benchmarks.em --device cuda --only headline --rounds 1 --limit 15 --threads $(shell nproc)

clean:  ## remove the environment and what the demo wrote
	rm -rf $(VENV) .venv-package dist out docs/_build
