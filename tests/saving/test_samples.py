"""Samples of posteriors in files: what comes back is what was written, or a ValueError."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from pyro_ugmm.diagnostics import class_probabilities, to_inference_data
from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.sampling import sample_posterior
from pyro_ugmm.saving import load_fitted, save_fitted
from tests.saving.cases import X, Y

OPTIONS = {"num_particles": 16, "most_moves": 2, "seed": 0, "progress": False}
MODELS = {
    "classifier": lambda: (UGMMClassifier(UGMMNetwork([2, 3]), Priors()), (X, Y)),
    "mixture": lambda: (BayesianGaussianMixture(1, 2, "diagonal", Priors()), (X,)),
}


def sampled(kind, start=None, **options):
    model, rows = MODELS[kind]()
    start = None if start is None else start(model)
    return model, rows, sample_posterior(model, *rows, start=start, **OPTIONS | options)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("start", [None, mean_field])
def test_a_sample_comes_back(kind, start, tmp_path):
    model, rows, sample = sampled(kind, start)
    save_fitted(tmp_path / "sample.safetensors", model, sample)
    again, found = load_fitted(tmp_path / "sample.safetensors")
    assert repr(again) == repr(model) and repr(found) == repr(sample)
    assert found.draws.keys() == sample.draws.keys()
    for name, draws in sample.draws.items():
        assert torch.equal(found.draws[name], draws) and found.draws[name].dtype == draws.dtype
    assert torch.equal(found.log_evidences, sample.log_evidences)
    for name in ("num_populations", "status", "reason", "r_hat", "rungs", "held", "seconds"):
        assert getattr(found, name) == getattr(sample, name)
    if start is not None:
        for group in ("quantities", "sites"):
            theirs, ours = getattr(found.moved, group), getattr(sample.moved, group)
            torch.testing.assert_close(theirs, ours, rtol=0, atol=0, equal_nan=True)
    ours, theirs = (
        to_inference_data(one, its, *rows, num_samples=5, seed=0)
        for one, its in ((model, sample), (again, found))
    )
    assert ours.posterior.equals(theirs.posterior)
    assert ours.posterior.attrs["verdict"] == theirs.posterior.attrs["verdict"]


def test_what_is_no_number_comes_back(tmp_path):
    model, (x, _), sample = sampled("classifier", num_populations=1)
    assert math.isnan(sample.r_hat["rows"])
    sample = replace(sample, log_evidences=sample.log_evidences * math.nan)
    save_fitted(tmp_path / "sample.safetensors", model, sample)
    again, found = load_fitted(tmp_path / "sample.safetensors")
    assert math.isnan(found.r_hat["rows"]) and math.isnan(found.log_evidence)
    expected = class_probabilities(model, sample, x)
    assert torch.equal(class_probabilities(again, found, x), expected)


def test_a_sample_of_another_model_is_refused(tmp_path):
    _, _, sample = sampled("classifier")
    with pytest.raises(ValueError, match="guide: expected a sample of the model's sites"):
        save_fitted(tmp_path / "sample.safetensors", BayesianGaussianMixture(1, 2), sample)


DAMAGED = [
    ("num_populations", 0, "num_populations"),
    ("num_populations", 3, "draws: expected draws of 3 populations"),
    ("num_populations", 8, r"log_evidences: expected a tensor of shape \(8,\)"),
    ("status", "GOOD", "status"),
    ("reason", 3, "reason"),
    ("r_hat", [1.0], "r_hat"),
    ("r_hat", {"rows": "1"}, "r_hat"),
    ("rungs", [{"temperature": 1.0}], "rungs"),
    ("rungs", 3, "rungs"),
    ("held", "all", "held"),
    ("moved", -1, "moved"),
    ("moved", None, "tensors: expected none but those of a sample"),
    ("seconds", "long", "seconds"),
    ("more", 1, r"sample: expected the fields .*\['more'\], too"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "sample.safetensors"
    model, _, sample = sampled("classifier", mean_field)
    save_fitted(path, model, sample)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


@pytest.mark.parametrize(("field", "value", "message"), DAMAGED)
def test_what_a_file_says_of_a_sample_is_checked(field, value, message, written, tmp_path):
    tensors, metadata = written
    description = json.loads(metadata["description"])
    description["sample"][field] = value
    path = tmp_path / "sample.safetensors"
    path.write_bytes(save(tensors, metadata | {"description": json.dumps(description)}))
    with pytest.raises(ValueError, match=f"path: expected a file .*{message}"):
        load_fitted(path)


SITE = "sample.draws.layers.0.loc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(SITE), f"{SITE.removeprefix('sample.')}: expected a tensor"),
        (lambda t: t.update({SITE: t[SITE][:, :1].clone()}), "draws.layers.0.loc"),
        (lambda t: t.update({SITE: t[SITE] * math.nan}), "draws.layers.0.loc: expected finite"),
        (lambda t: t.update({SITE: t[SITE].double()}), "draws.layers.0.loc: expected finite"),
        (lambda t: t.update({"sample.more": t[SITE].clone()}), "none but those of a sample"),
        (lambda t: t.pop("sample.sites.layers.0.loc.width"), "sites.layers.0.loc.width"),
    ],
)
def test_the_tensors_of_a_sample_are_checked(change, message, written, tmp_path):
    tensors, metadata = dict(written[0]), written[1]
    change(tensors)
    path = tmp_path / "sample.safetensors"
    path.write_bytes(save(tensors, metadata))
    with pytest.raises(ValueError, match=f"path: expected a file .*{message}"):
        load_fitted(path)
