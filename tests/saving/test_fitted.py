import json
import subprocess
import sys
from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoNormal
from safetensors import safe_open
from safetensors.torch import save

from pyro_ugmm.diagnostics import class_probabilities, to_inference_data
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_mle, fit_svi
from tests.saving.cases import NOTHING, X, Y, mixture, rows

UNITS = torch.tensor([10.0, 0.1])


def trained(model):
    """A network in features of odd units, at maximum likelihood."""
    fit_mle(model, X * UNITS, Y, steps=20, seed=0, progress=False)
    return model.network


def classifier():
    network = UGMMNetwork([2, 5, 3], [0.1, 0.0], min_scale=1e-3, normalization="layer")
    network.reset_parameters(X * UNITS)
    network = trained(UGMMClassifier(network))
    priors = Priors.from_data(X * UNITS, variances=dist.LogNormal(0.0, 1.0), weights=2.0)
    return UGMMClassifier(network, priors)


def density():
    network = UGMMNetwork([3, 5, 1])
    network.reset_parameters(UGMMDensity(network, 3).inputs(X * UNITS, Y))
    network = trained(UGMMDensity(network, 3))
    return UGMMDensity(network, 3, Priors.from_data(X * UNITS), objective="score")


@pytest.mark.parametrize("make", [mean_field, low_rank, full_rank, AutoNormal])
@pytest.mark.parametrize("kind", [classifier, density])
def test_a_network_and_its_guide_predict_the_same(kind, make, tmp_path):
    model = kind()
    guide = make(model)
    fit_svi(model, guide, X * UNITS, Y, steps=10, seed=0, progress=False)
    save_fitted(tmp_path / "fitted.safetensors", model, guide)
    state = torch.get_rng_state()
    again, its_guide = load_fitted(tmp_path / "fitted.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(again) == repr(model) and type(its_guide) is type(guide)
    expected = class_probabilities(model, guide, X * UNITS, num_samples=20, seed=0)
    found = class_probabilities(again, its_guide, X * UNITS, num_samples=20, seed=0)
    assert torch.equal(found, expected)
    result = fit_svi(again, its_guide, X * UNITS, Y, steps=3, progress=False)  # and can go on
    assert result.losses.isfinite().all()


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical", "low_rank"])
def test_a_mixture_in_another_process(covariance, tmp_path):
    model, x = mixture(covariance, weights=None), rows(30)
    guide = mean_field(model)
    fit_svi(model, guide, x, steps=10, seed=0, progress=False)
    save_fitted(tmp_path / "fitted.safetensors", model, guide)
    program = (
        "import sys, torch\n"
        "torch.set_num_threads(1)\n"
        "import tests\n"
        "from pyro_ugmm.saving import load_fitted\n"
        "from pyro_ugmm.diagnostics import to_inference_data\n"
        "model, guide = load_fitted(sys.argv[1])\n"
        "x = torch.load(sys.argv[2])\n"
        "idata = to_inference_data(model, guide, x, num_samples=20, seed=0)\n"
        "torch.save(torch.tensor(idata.log_likelihood['x'].values), sys.argv[3])\n"
    )
    torch.save(x, tmp_path / "x.pt")
    paths = [tmp_path / name for name in ("fitted.safetensors", "x.pt", "result.pt")]
    command = [sys.executable, "-W", "ignore", "-c", program, *paths]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    idata = to_inference_data(model, guide, x, num_samples=20, seed=0)
    expected = torch.tensor(idata.log_likelihood["x"].values)
    assert torch.equal(torch.load(tmp_path / "result.pt"), expected)


def test_a_model_at_maximum_likelihood(tmp_path):
    model = mixture("full", **NOTHING)
    fit_mle(model, rows(30), steps=5, progress=False)
    save_fitted(tmp_path / "fitted.safetensors", model, None)
    again, guide = load_fitted(tmp_path / "fitted.safetensors")
    assert guide is None
    assert torch.equal(again.mixture().log_prob(rows(9)), model.mixture().log_prob(rows(9)))


def test_what_was_known_stays_known(tmp_path):
    path = tmp_path / "fitted.safetensors"
    model = mixture("full", **NOTHING)
    model.learned.means_unconstrained.requires_grad_(False)
    save_fitted(path, model, None)
    again, _ = load_fitted(path)
    learned = {name: p.requires_grad for name, p in again.learned.named_parameters()}
    assert learned.pop("means_unconstrained") is False and all(learned.values()) and learned


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "Unknown"),
        ("guide", "Unknown"),
        ("arguments", {"unknown": 1}),
        ("dtype", "unknown"),
        ("arguments", {"n_components": 5, "n_features": 2}),
    ],
)
def test_a_file_of_what_is_not_known(name, value, tmp_path):
    path = tmp_path / "fitted.safetensors"
    save_fitted(path, mixture("full"), None)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    metadata["description"] = json.dumps(json.loads(metadata["description"]) | {name: value})
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(ValueError, match="path: expected a file that save_fitted wrote"):
        load_fitted(path)


def test_bad_arguments(tmp_path):
    for wrong, got in ((3, "a path, got int"), (tmp_path, "a file, got the folder")):
        with pytest.raises(ValueError, match=f"path: expected {got}"):
            load_fitted(wrong)
    path, model = tmp_path / "fitted.safetensors", mixture("diagonal")
    guide = mean_field(model)
    with pytest.raises(ValueError, match="guide: expected a fitted guide, got one that never ran"):
        save_fitted(path, model, guide)
    with pytest.raises(ValueError, match=r"guide: expected one of .*, got AutoDelta"):
        save_fitted(path, model, AutoDelta(model))
    with pytest.raises(ValueError, match=r"model: expected one of .*, got Linear"):
        save_fitted(path, torch.nn.Linear(2, 2), None)
    odd = BayesianGaussianMixture(2, 2, priors=Priors(means=_Own(0.0, 1.0)))
    with pytest.raises(ValueError, match=r"priors\.means: expected one of pyro.distributions"):
        save_fitted(path, odd, None)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="path: expected a file that save_fitted wrote"):
        load_fitted(path)
    model.mixture({s: p.sample() for s, p in model.site_distributions().items()}).save(path)
    with pytest.raises(ValueError, match="path: expected a file that save_fitted wrote"):
        load_fitted(path)
    with pytest.raises(FileNotFoundError):
        load_fitted(tmp_path / "nowhere")


class _Own(dist.Normal):
    """A user's own distribution, which no file can name."""
