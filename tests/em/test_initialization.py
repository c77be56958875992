"""Where EM starts."""

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pyro_ugmm.em import EMFitter, initialize
from pyro_ugmm.em.initialization import METHODS
from pyro_ugmm.em.kmeans import cluster, cluster_by_torch, kmeans, nearest
from pyro_ugmm.em.kmeans_call import cluster_natively
from pyro_ugmm.native import variants

from .cases import STRUCTURE_NAMES, clusters, initialized, parameters

structures = pytest.mark.parametrize("structure", STRUCTURE_NAMES)


def separated(n_rows=600):
    label = torch.arange(n_rows) % 4
    centers = torch.tensor([[0.0, 0], [0, 10], [10, 0], [10, 10]], dtype=torch.float64)
    return centers[label] + torch.randn(n_rows, 2, dtype=torch.float64), label


def test_kmeans_is_as_good_as_scikit_learns():
    for seed in range(5):
        x = clusters(500, n_clusters=6, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        (label,) = kmeans(x, torch.ones(500).double(), 6, generator)
        centers = torch.stack([x[label == k].mean(0) for k in range(6)])
        ours = nearest(x, centers)[1].sum().item()
        theirs = KMeans(6, n_init=1, random_state=seed).fit(x.numpy()).inertia_
        assert ours < 1.25 * theirs


@pytest.mark.skipif(not variants(), reason="there is no library here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_the_library_clusters_as_torch_does(variant, dtype):
    """Problems of unequal numbers of rows, the last of fewer distinct rows than clusters."""
    if variant not in variants():
        pytest.skip("no such library, or it is for another processor")
    sizes = [200, 37, 90]
    x = torch.cat([*(clusters(size, seed=size) for size in sizes[:2]), torch.ones(90, 3).double()])
    x, weight = x.to(dtype), torch.randint(0, 3, (len(x),)).to(dtype)
    x[-1], weight[-1] = 5, 1
    uniform, n_rows = torch.rand(3, 4, 3, dtype=torch.float64), torch.tensor(sizes)
    offset = n_rows.cumsum(0) - n_rows
    found = cluster_natively(x, weight, offset, n_rows, uniform, 50, 2, variant)
    for rows, weights, numbers, labels in zip(
        x.split(sizes), weight.split(sizes), uniform, found.split(sizes), strict=True
    ):
        assert torch.equal(labels, cluster_by_torch(rows, weights, numbers))


def test_seeds_are_drawn_by_the_squares_of_distances():
    """Three rows in a row: the second seed of two lies at the far end 4 times as often."""
    x = torch.tensor([[0.0], [1.0], [2.0]]).double()
    uniform = torch.zeros(4000, 2, 1, dtype=torch.float64)
    uniform[:, 1, 0] = (torch.arange(4000) + 0.5) / 4000
    labels = cluster(x, torch.ones(3).double(), uniform)
    far = (labels == torch.tensor([0, 0, 1])).all(1).double().mean()
    near = (labels == torch.tensor([0, 1, 1])).all(1).double().mean()
    assert near.item() == pytest.approx(0.2, abs=0.01) and far.item() == pytest.approx(
        0.8, abs=0.01
    )


def test_nearest_is_the_nearest():
    x, centers = clusters(100), clusters(7, seed=1)
    distance, label = torch.cdist(x, centers).min(1)
    found, square = nearest(x, centers)
    assert torch.equal(found, label)
    torch.testing.assert_close(square, distance**2)


@pytest.mark.parametrize("scale", [[1.0, 1.0], [1e-6, 1e6], [1e8, 1.0]])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_clusters_are_found_whatever_the_scales(scale, offset):
    x, label = separated()
    x = (x + offset) * torch.tensor(scale, dtype=x.dtype)
    start = initialize(x, 4, "diagonal", seed=0, reg_covar=0)
    assert adjusted_rand_score(label, start.predict(x)) > 0.99


@structures
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_seed_decides_and_the_global_state_does_not(structure, dtype):
    x = clusters(200, dtype=dtype)
    for method in METHODS:
        a = initialized(x, 4, structure, method=method, seed=3)
        torch.rand(1)
        b = initialized(x, 4, structure, method=method, seed=3)
        c = initialized(x, 4, structure, method=method, seed=4)
        for one, two in zip(parameters(a), parameters(b), strict=True):
            assert torch.equal(one, two) and one.dtype == dtype
        assert method == "kmeans" or not torch.equal(a.means, c.means)


@structures
def test_labels_and_responsibilities_give_each_components_moments(structure):
    x, label = separated()
    start = initialized(x, 4, structure, labels=label, reg_covar=0)
    shares = torch.nn.functional.one_hot(label, 4).double()
    also = initialized(x, 4, structure, responsibilities=shares, reg_covar=0)
    for k in range(4):
        rows = x[label == k]
        torch.testing.assert_close(start.means[k], rows.mean(0))
        matrix = torch.cov(rows.T, correction=0)
        kept = start.covariance.dense(4, 2)[k]
        if structure == "full":
            torch.testing.assert_close(kept, matrix)
        elif structure not in ("tied", "low_rank"):  # whose variances are right in the end
            torch.testing.assert_close(kept.trace(), matrix.trace())
    torch.testing.assert_close(start.weights, torch.full((4,), 0.25).double())
    for one, two in zip(parameters(start), parameters(also), strict=True):
        torch.testing.assert_close(one, two)


@structures
def test_given_means_are_kept(structure):
    x, label = separated()
    means = torch.stack([x[label == k].mean(0) for k in range(4)]) + 0.5
    start = initialized(x, 4, structure, means=means)
    assert torch.equal(start.means, means)
    assert adjusted_rand_score(label, start.predict(x)) > 0.99


@structures
def test_a_cluster_of_few_rows_starts_with_the_average_covariance(structure):
    x = torch.cat([clusters(200, n_clusters=1), torch.full((1, 3), 50.0)])
    start = initialized(x, 2, structure, labels=torch.tensor([0] * 200 + [1]))
    of_cluster = torch.linalg.eigvalsh(torch.cov(x[:200].T))[0]
    assert start.covariance.smallest_variance().min() > 0.5 * of_cluster


@pytest.mark.parametrize("method", ["k-means++", "random_from_data"])
def test_random_means_are_rows(method):
    x = clusters(100)
    start = initialize(x, 5, method=method, seed=0)
    assert (start.means.unsqueeze(1) == x).all(-1).any(1).all()
    torch.testing.assert_close(
        start.covariance.values[0], torch.cov(x.T, correction=0), rtol=1e-5, atol=1e-5
    )


def test_distant_rows_are_of_all_clusters():
    """Rows of weight zero apart."""
    x, label = separated()
    weight = (label != 3).double()
    options = {"method": "k-means++", "sample_weight": weight}
    for seed in range(20):
        means = initialize(x, 3, seed=seed, **options).means
        of = label[(means.unsqueeze(1) == x).all(-1).int().argmax(1)]
        assert of.sort().values.tolist() == [0, 1, 2]


def test_restarts_differ_and_weights_count():
    x, label = separated()
    starts = initialize(x, 4, n_init=3, method="random_from_data", seed=0)
    assert starts.batch_shape == (3,) and not torch.equal(starts.means[0], starts.means[1])
    weight = (label != 3).double()
    start = initialize(x, 3, sample_weight=weight, seed=0)
    assert adjusted_rand_score(label[label != 3], start.predict(x[label != 3])) > 0.99


def test_a_stream_longer_than_the_sample(monkeypatch):
    from pyro_ugmm.em import row_sample

    monkeypatch.setattr(row_sample, "MOST_ROWS", 100)
    x, label = separated()
    start = initialize(list(x.split(70)), 4, seed=0)
    assert adjusted_rand_score(label, start.predict(x)) > 0.99
    assert (start.weights * 100).round(decimals=6).frac().abs().max() < 1e-6  # of 100 rows


def test_on_a_device(device):
    x = clusters(100).to(device)
    start = initialize(x, 3, seed=0)
    assert start.means.device.type == device.type
    EMFitter(max_iter=2, progress=False).fit(x, start)


X = torch.randn(6, 2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_components": 0}, "n_components: expected a positive integer"),
        ({"covariance": "diag"}, "covariance: expected one of 'full', 'tied', 'diagonal', 'sph"),
        ({"method": "k-means"}, r"method: expected one of 'kmeans', 'k-means\+\+'"),
        ({"missing": "omit"}, "missing: expected"),
        ({"n_init": 0}, "n_init: expected"),
        ({"reg_covar": -1}, "reg_covar: expected"),
        ({"labels": torch.zeros(5).long()}, r"labels: expected shape \(6,\)"),
        ({"labels": torch.full((6,), 2)}, "labels: expected integers from 0 to 1, and -1 .*got 2"),
        ({"labels": torch.zeros(6)}, "labels: expected integers from 0 .*got torch.float32"),
        ({"responsibilities": torch.ones(6, 2)}, "responsibilities: expected rows that sum to one"),
        ({"responsibilities": torch.ones(6, 3)}, r"responsibilities: expected shape \(6, 2\)"),
        ({"means": torch.zeros(2, 3)}, r"means: expected shape \(2, 2\)"),
        ({"means": torch.full((2, 2), torch.nan)}, "means: expected finite"),
        ({"means": X[:2], "labels": torch.zeros(6).long()}, "labels and means: expected only one"),
        ({"x": X[0]}, r"x: expected shape \(n, D\)"),
        ({"x": X.masked_fill(X[3, 1] == X, torch.nan)}, "x: .*nan in row 3, column 1"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(ValueError, match=match):
        initialize(**{"x": X, "n_components": 2, **arguments})


def test_rows_without_a_label_join_the_nearest():
    """And a component that no row is known of begins far from the others."""
    x, label = separated()
    known = torch.where(torch.arange(len(x)) % 5 < 1, label, -1)
    known[label == 2] = -1
    found = initialize(x, 4, labels=known, seed=0)
    expected = initialize(x, 4, labels=label)
    torch.testing.assert_close(found.means[[0, 1, 3]], expected.means[[0, 1, 3]])
    torch.testing.assert_close(found.means, expected.means)
    none = initialize(x, 4, labels=torch.full_like(label, -1), seed=0)
    order = none.predict(expected.means)
    torch.testing.assert_close(none.means[order], expected.means)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("by", ["labels", "responsibilities"])
def test_a_component_without_rows_is_among_the_data(structure, by):
    x = 100 + clusters(60)
    label = torch.arange(60) % 2
    shares = torch.nn.functional.one_hot(label, 3).double()
    start = initialized(x, 3, structure, **{by: label if by == "labels" else shares})
    torch.testing.assert_close(start.means[2], x.mean(0))
    assert start.weights[2] == 0 and start.covariance.is_finite(1e6).all()
