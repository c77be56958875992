"""Files and scikit-learn."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture as SklearnMixture

from pyro_ugmm.distributions import GaussianMixture
from tests.distributions.mixtures import (
    by_count,
    by_shared_structure,
    by_structure,
    close,
    parameters,
    random_mixture,
    rows,
)

SKLEARN_NAMES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def fitted(structure, n_components):
    data = np.random.default_rng(0).normal(size=(120, 3)) ** 3
    return SklearnMixture(
        n_components, covariance_type=SKLEARN_NAMES[structure], reg_covar=0.1, random_state=0
    ).fit(data)


@by_shared_structure
@by_count
def test_from_sklearn_agrees_with_it(structure, n_components, device):
    model = fitted(structure, n_components)
    mixture = GaussianMixture.from_sklearn(model, device)
    assert mixture.covariance.name == structure and mixture.means.device.type == device.type
    x = rows(200, 3, device=device)
    y = x.cpu().numpy()
    close(mixture.log_prob(x), model.score_samples(y))
    close(mixture.responsibilities(x), model.predict_proba(y))
    assert (mixture.predict(x).cpu().numpy() == model.predict(y)).all()
    assert mixture.aic(x) == pytest.approx(model.aic(y), rel=1e-12)
    assert mixture.bic(x) == pytest.approx(model.bic(y), rel=1e-12)


@by_shared_structure
@pytest.mark.parametrize("kind", [torch.from_numpy, np.ndarray.tolist])
def test_parameters_that_are_no_arrays(structure, kind):
    """Scikit-learn's own are tensors where it dispatches on arrays."""
    model = fitted(structure, 2)
    expected = parameters(GaussianMixture.from_sklearn(model))
    for name in ("weights_", "means_", "covariances_"):
        setattr(model, name, kind(getattr(model, name)))
    for got, wanted in zip(parameters(GaussianMixture.from_sklearn(model)), expected, strict=True):
        assert torch.equal(got, wanted)


def test_covariances_of_another_type_are_refused():
    model = fitted("full", 2)
    model.covariance_type = "tied"
    with pytest.raises(ValueError, match=r"model: expected 'tied' covariances, got .*\(2, 3, 3\)"):
        GaussianMixture.from_sklearn(model)


@by_structure
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_sklearn_and_back(structure, dtype):
    mixture, truth = random_mixture(structure, n_features=3, dtype=dtype)
    model = mixture.to_sklearn()
    x = rows(20, 3).numpy()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(model.score_samples(x), truth.log_prob(x), rtol=tolerance)
    np.testing.assert_allclose(model.predict_proba(x), truth.responsibilities(x), atol=tolerance)
    shapes = {"tied": (3, 3), "diagonal": (3, 3), "spherical": (3,)}
    shape = shapes.get(structure, (3, 3, 3))
    assert model.precisions_.shape == model.covariances_.shape == shape
    assert model.sample(5)[0].shape == (5, 3)
    back = GaussianMixture.from_sklearn(model)
    assert back.covariance.name == ("full" if structure == "low_rank" else structure)
    matrices = (m.covariance.dense(m.n_components, 3) for m in (back, mixture))
    for pair in ((back.weights, mixture.weights), (back.means, mixture.means), matrices):
        assert torch.equal(*pair)


@by_shared_structure
def test_precisions_are_sklearns(structure):
    model = fitted(structure, 3)
    ours = GaussianMixture.from_sklearn(model).to_sklearn()
    for name in ("precisions_", "precisions_cholesky_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(model, name), rtol=1e-9, atol=1e-12)


def test_sklearn_keeps_nothing_of_ours():
    """Changing one does not change the other."""
    mixture, _ = random_mixture()
    model = mixture.to_sklearn()
    back = GaussianMixture.from_sklearn(model)
    model.means_ += 1
    assert torch.equal(back.means, mixture.means)
    assert not np.array_equal(model.means_, mixture.means)


@pytest.mark.parametrize("model", [SklearnMixture(2), KMeans(2), None])
def test_unfitted_models(model):
    with pytest.raises(ValueError, match=r"model: expected a fitted sklearn.mixture.GaussianMix"):
        GaussianMixture.from_sklearn(model)


def test_batches_are_not_sklearns():
    mixture, _ = random_mixture(batches=((2,), (), ()))
    with pytest.raises(ValueError, match=r"mixture: expected one without a batch.*\(2,\)"):
        mixture.to_sklearn()


# -- files ----------------------------------------------------------------------------------


@by_structure
@pytest.mark.parametrize("batches", [((), (), ()), ((2,), (3, 1), (2,))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_files_keep_every_bit(structure, batches, dtype, tmp_path, device):
    mixture, _ = random_mixture(
        structure, batches=batches, dtype=dtype, device=device, missing="marginalize"
    )
    mixture.tensors()["means"].requires_grad_()
    mixture.save(tmp_path / "mixture.safetensors")
    loaded = GaussianMixture.load(tmp_path / "mixture.safetensors", device)
    assert repr(loaded) == repr(mixture)
    for got, expected in zip(parameters(loaded), parameters(mixture), strict=True):
        assert torch.equal(got, expected) and got.dtype == dtype and got.device == expected.device


def test_expanded_mixtures_keep_their_batch(tmp_path):
    mixture = random_mixture()[0].expand((2, 3))
    mixture.save(str(tmp_path / "mixture"))
    assert GaussianMixture.load(str(tmp_path / "mixture")).batch_shape == (2, 3)


def test_files_that_are_not_mixtures(tmp_path):
    path = tmp_path / "file"
    for contents in (b"", b"not safetensors", b"\xff" * 100):
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"path: expected a safetensors file, got .*file"):
            GaussianMixture.load(path)
    save_file({"weights": torch.ones(1)}, path)
    with pytest.raises(ValueError, match=r"path: expected a saved pyro_ugmm.Gauss.*got .*file"):
        GaussianMixture.load(path)
    with pytest.raises(FileNotFoundError):
        GaussianMixture.load(tmp_path / "nothing")


def test_cut_files(tmp_path):
    mixture, _ = random_mixture()
    mixture.save(tmp_path / "file")
    contents = (tmp_path / "file").read_bytes()
    for size in (4, len(contents) // 2, len(contents) - 1):
        (tmp_path / "file").write_bytes(contents[:size])
        with pytest.raises(ValueError, match="path: expected a safetensors file"):
            GaussianMixture.load(tmp_path / "file")


def test_failed_writes_leave_the_old_file(tmp_path, monkeypatch):
    mixture, _ = random_mixture()
    mixture.save(tmp_path / "file")

    def fail(*_):
        raise OSError("no space left on device")

    other, _ = random_mixture(seed=1)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"os.{name}", fail)
            with pytest.raises(OSError, match="no space"):
                other.save(tmp_path / "file")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert torch.equal(GaussianMixture.load(tmp_path / "file").means, mixture.means)


def test_files_open_to_others_as_the_umask_says(tmp_path):
    random_mixture()[0].save(tmp_path / "file")
    (tmp_path / "other").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode
