"""Files of fitted models that were made by another hand, or damaged, are refused in words."""

import json
import time

import pyro
import pyro.distributions as dist
import pytest
import torch
from safetensors.torch import save

from pyro_ugmm.models import BayesianGaussianMixture, Priors
from pyro_ugmm.models.families import parameters_of
from pyro_ugmm.saving import load_fitted, save_fitted
from pyro_ugmm.training import fit_svi
from tests.saving.cases import GUIDES, MODELS, X, Y, rewrite, saved

NORMAL = {"loc": 0.0, "scale": 1.0}
FIELDS = {  # of a classifier with a low-rank guide: a field, what it says, and the complaint
    ("priors", "means", "kind"): [
        ("enable_validation", r"priors\.means\.kind: expected one of"),
        ("Wishart", r"priors\.means\.kind"),
        ("Categorical", r"priors\.means\.kind"),
        ("torch", r"priors\.means\.kind"),
        (["Normal"], r"priors\.means\.kind"),
        ("Beta", r"priors\.means\.parameters: expected the fields .*concentration0"),
    ],
    ("priors", "means", "parameters"): [
        (NORMAL | {"scale": -1.0}, r"priors\.means"),
        (NORMAL | {"scale": float("nan")}, r"priors\.means\.parameters\.scale: expected a number"),
        (NORMAL | {"scale": "1"}, r"priors\.means\.parameters\.scale"),
        (NORMAL | {"scale": True}, r"priors\.means\.parameters\.scale"),
        (NORMAL | {"scale": [1.0]}, r"priors\.means\.parameters\.scale"),
        (NORMAL | {"validate_args": 0.0}, r"priors\.means\.parameters: expected the fields"),
        ({"loc": 0.0}, r"priors\.means\.parameters: .* none of \['scale'\]"),
        (None, r"priors\.means\.parameters"),
    ],
    ("priors", "means"): [
        ({"kind": "Normal"}, r"priors\.means: .*'parameters'"),
        (3, r"priors\.mea"),
    ],
    ("priors", "weights"): [
        ("2", r"priors\.weights"),
        (-1.0, "weights"),
        ([1.0], r"priors\.weights"),
    ],
    ("priors", "center"): [
        ("a", r"priors\.center"),
        ([0.0] * 5, r"priors\.center"),
        ([[0.0]], "cent"),
    ],
    ("priors", "spread"): [(0.0, "spread"), (float("inf"), r"priors\.spread"), (None, "spread")],
    ("priors",): [({}, "priors: expected the fields"), ("Priors", "priors"), ([], "priors")],
    ("arguments", "sizes"): [
        ([2, 1000000, 3], r"model\.network\.layers\.0\.loc: .*\(1000000, 2\), .*got \(4, 2\)"),
        ([2, 4, 10**12], r"model\.network\.layers\.1\.loc"),
        ([2, 4], "dropout"),
        ([2, 4, 3, 3], r"model\.network\.layers\.2\.loc: .*got none"),
        ([2], r"arguments\.sizes"),
        ("243", r"arguments\.sizes"),
        ([2, 4.5, 3], r"arguments\.sizes"),
        ([2, True, 3], r"arguments\.sizes"),
        ([2, -4, 3], r"arguments\.sizes"),
        (None, r"arguments\.sizes"),
    ],
    ("arguments", "missing"): [("unknown", "missing"), (None, "missing")],
    ("arguments", "min_scale"): [(-1.0, "min_scale"), ("0", "min_scale")],
    ("arguments", "dropout"): [([0.1], "dropout"), (2.0, "dropout")],
    ("arguments", "unknown"): [(1, r"arguments: .*\['unknown'\], too")],
    ("arguments",): [(None, "arguments"), ([], "arguments")],
    ("dtype",): [
        ("float16", "dtype"),
        ("int32", "dtype"),
        ("Tensor", "dtype"),
        (None, "dtype"),
        ("float64", "expected torch.float64, as the file says"),
        ([], "dtype"),
    ],
    ("guide",): [("AutoDelta", "guide"), (3, "guide"), ("AutoNormal", "rank"), ({}, "guide")],
    ("rank",): [(10**9, r"guide\.cov_factor"), (0, "rank"), ("5", "rank"), (None, "rank")],
    ("frozen",): [(["nothing"], "frozen"), ("all", "frozen"), ([1], "frozen"), (None, "frozen")],
    ("model",): [("UGMMDensity", "arguments"), ("Path", "model"), (None, "model"), ([], "model")],
}
CASES = [(place, value, message) for place, tries in FIELDS.items() for value, message in tries]


@pytest.mark.parametrize(("place", "value", "message"), CASES)
def test_what_a_file_says_is_checked(place, value, message, tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path)
    *outer, last = place
    part = description
    for name in outer:
        part = part[name]
    part[last] = value
    rewrite(path, description, tensors, metadata)
    before, started = pyro.settings.get("validate_distributions_pyro"), time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        load_fitted(path)
    assert str(path) in str(caught.value)
    assert time.perf_counter() - started < 5
    assert pyro.settings.get("validate_distributions_pyro") == before


def fields(description, at=()):
    for name, value in description.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from fields(value, (*at, name))


@pytest.mark.parametrize("model", MODELS)
def test_no_field_may_be_missing(model, tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path, model)
    for *outer, last in fields(description):
        damaged = json.loads(json.dumps(description))
        part = damaged
        for name in outer:
            part = part[name]
        del part[last]
        rewrite(path, damaged, tensors, metadata)
        with pytest.raises(ValueError, match=f"fitted.safetensors, in which .*{last}"):
            load_fitted(path)
    path.write_bytes(save(tensors, {"format": metadata["format"]}))
    with pytest.raises(ValueError, match="description: expected a model's, got none"):
        load_fitted(path)
    for text in ("{", "[]", "3", "null", "[" * 100_000):
        path.write_bytes(save(tensors, metadata | {"description": text}))
        with pytest.raises(ValueError, match="path: expected a file that save_fitted wrote"):
            load_fitted(path)


@pytest.mark.parametrize("guide", [*GUIDES, None])
@pytest.mark.parametrize("model", MODELS)
def test_no_tensor_may_be_damaged(model, guide, tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path, model, guide)
    load_fitted(path)
    for name, tensor in tensors.items():
        damages = {
            "NaN": torch.full_like(tensor, torch.nan),
            "infinity": torch.full_like(tensor, torch.inf),
            "int32": tensor.int(),
            "bool": tensor.bool(),
            "half": tensor.half(),
            "double": tensor.double(),
            "more": torch.cat([tensor, tensor]),
            "one": tensor.flatten()[:1].clone(),
            "none": None,
        }
        for damage in damages.values():
            if damage is not None and damage.dtype == tensor.dtype and damage.equal(tensor):
                continue
            changed = {k: v for k, v in tensors.items() if k != name}
            rewrite(
                path, description, changed | ({} if damage is None else {name: damage}), metadata
            )
            site = name.split(".", 1)[1]
            with pytest.raises(ValueError, match=f"fitted.safetensors, in which .*{site}"):
                load_fitted(path)


@pytest.mark.parametrize("model", MODELS)
def test_numbers_of_another_value_are_damage(model, tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path, model)
    for name, tensor in tensors.items():
        bits = tensor.clone().flatten().view(torch.int32)
        bits[0] ^= 1  # the last digit
        changed = bits.view(torch.float32).reshape(tensor.shape)
        rewrite(path, description, tensors | {name: changed}, metadata)
        with pytest.raises(ValueError, match=r"fitted\.safetensors, in which digest: expected"):
            load_fitted(path)
    description["priors"]["means"]["parameters"]["scale"] += 1
    rewrite(path, description, tensors, metadata)
    with pytest.raises(ValueError, match=r"fitted\.safetensors, in which digest: expected"):
        load_fitted(path)


def test_tensors_of_nothing_are_damage(tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path)
    rewrite(path, description, tensors | {"others": torch.ones(2)}, metadata)
    with pytest.raises(ValueError, match=r"tensors: expected none but .*, got \['others'\]"):
        load_fitted(path)
    rewrite(path, description | {"guide": None, "rank": None}, tensors, metadata)
    with pytest.raises(ValueError, match=r"tensors: expected none but .*guide\.cov_factor"):
        load_fitted(path)
    description, tensors, metadata = saved(path, guide=None)
    rewrite(path, description | {"rank": 3}, tensors, metadata)
    with pytest.raises(ValueError, match="rank: expected null, without a guide, got 3"):
        load_fitted(path)


@pytest.mark.parametrize("field", ["center", "spread"])
@pytest.mark.parametrize("value", [[], [1.0], [1.0, 2.0, 3.0], [1.0, 2.0]])
def test_units_of_another_shape_are_damage(field, value, tmp_path):
    path = tmp_path / "fitted.safetensors"
    description, tensors, metadata = saved(path, "density")
    description["priors"][field] = value
    rewrite(path, description, tensors, metadata)
    with pytest.raises(ValueError, match=r"in which priors\.(center|spread): expected shape"):
        load_fitted(path)


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "fitted.safetensors"
    saved(path)
    contents = path.read_bytes()
    for cut in (0, 4, 8, 100, len(contents) - 1):
        path.write_bytes(contents[:cut])
        with pytest.raises(ValueError, match="path: expected a file that save_fitted wrote"):
            load_fitted(path)


def test_what_was_loaded_is_not_the_file(tmp_path):
    path = tmp_path / "fitted.safetensors"
    saved(path)
    model, guide = load_fitted(path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with path.open("r+b") as file:  # the same file, not another one in its place
        file.write(b"\xff" * path.stat().st_size)
        file.truncate(10)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert fit_svi(model, guide, X, Y, steps=2, progress=False).losses.isfinite().all()


def test_it_can_be_trained_wherever_it_was_loaded(tmp_path):
    path = tmp_path / "fitted.safetensors"
    saved(path)
    with torch.inference_mode():
        model, guide = load_fitted(path)
    assert fit_svi(model, guide, X, Y, steps=2, progress=False).losses.isfinite().all()


EXAMPLES = {"low": 0.1, "high": 2.0, "df": 5.0, "df1": 5.0, "df2": 6.0, "alpha": 3.0}
EXAMPLES |= {"stability": 1.5, "skew": 0.1}


FAMILIES = [
    "AffineBeta", "AsymmetricLaplace", "Beta", "Cauchy", "Chi2", "Exponential", "FisherSnedecor",
    "Gamma", "Gumbel", "HalfCauchy", "HalfNormal", "InverseGamma", "Kumaraswamy", "Laplace",
    "LogNormal", "Logistic", "Normal", "Pareto", "SkewLogistic", "SoftAsymmetricLaplace",
    "SoftLaplace", "StableWithLogProb", "StudentT", "Uniform", "VonMises", "Weibull",
]  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_is_kept(kind, tmp_path):
    family = getattr(dist, kind)
    names = parameters_of(family)
    prior = family(**{p: EXAMPLES.get(p, 0.0 if p == "loc" else 1.5) for p in names})
    site = "means" if prior.support.check(torch.tensor(-1.0)) else "variances"
    if kind == "VonMises":
        prior = dist.VonMises(0.0, 1.5)
    model = BayesianGaussianMixture(2, 2, priors=Priors(**{site: prior}))
    save_fitted(tmp_path / "model.safetensors", model, None)
    again, _ = load_fitted(tmp_path / "model.safetensors")
    found = getattr(again.priors, site)
    assert type(found) is family
    for name in names:
        assert float(getattr(found, name)) == float(getattr(prior, name))


def test_a_new_family_of_pyros_needs_no_list(tmp_path, monkeypatch):
    class Brand(dist.Normal):
        """Of a later version."""

    monkeypatch.setattr(dist, "Brand", Brand, raising=False)
    priors = Priors(means=Brand(0.5, 2.0))
    assert repr(priors) == "Priors(means=Brand(loc: 0.5, scale: 2.0))"
    save_fitted(tmp_path / "model", BayesianGaussianMixture(2, 2, priors=priors), None)
    again, _ = load_fitted(tmp_path / "model")
    assert type(again.priors.means) is Brand and repr(again.priors.means) == repr(priors.means)
