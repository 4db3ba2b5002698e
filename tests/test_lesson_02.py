"""Lesson 02: every formula against an independent computation, the explorers' invariants, the claims L2.*, the prose."""

import functools
import json
import math
import re

import nbformat
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
import torch
from scipy.integrate import quad
from scipy.special import expit
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

from course_utils import datasets, models
from course_utils.instructor import build

# ---------------------------------------------------------------- other right answers to the exercises


def _recon_by_svd(X, k):
    return (np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[k:]**2).sum() / len(X)


def _recon_by_sklearn(X, k):
    pca = PCA(k).fit(X)
    return ((X - pca.inverse_transform(pca.transform(X)))**2).sum(1).mean()


def _recon_by_torch(X, k):
    return torch.linalg.eigvalsh(torch.cov(torch.as_tensor(X).T, correction=0)).flip(0)[k:].sum()


def _recon_by_trace(X, k):
    centred = X - X.mean(0)
    top = scipy.linalg.eigh(centred.T @ centred / len(X), eigvals_only=True)[-k:]
    return (centred**2).sum() / len(X) - top.sum()


def _linear_by_svd(X, k):
    axes = np.linalg.svd(X - X.mean(0), full_matrices=False)[2][:k]
    return axes.T @ axes


def _linear_by_eigh(X, k):
    axes = np.linalg.eigh(np.cov(X.T))[1][:, -k:]
    return axes @ axes.T


def _linear_by_sklearn(X, k):
    components = TruncatedSVD(k, algorithm="arpack").fit(X - X.mean(0)).components_
    return components.T @ components


def _linear_by_lstsq(X, k):
    """Alternating least squares with lstsq, from another start."""
    centred = X - X.mean(axis=0)
    W = np.random.default_rng(9).uniform(size=(X.shape[1], k))
    for _ in range(400):
        codes = np.linalg.lstsq(W, centred.T, rcond=None)[0].T
        W = np.linalg.lstsq(codes, centred, rcond=None)[0].T
    return W @ np.linalg.pinv(W)


def _linear_by_torch(X, k):
    centred = torch.as_tensor(X) - torch.as_tensor(X).mean(0)
    W = torch.linalg.qr(torch.as_tensor(np.random.default_rng(1).normal(size=(X.shape[1], k))))[0]
    for _ in range(600):  # orthogonal iteration: what alternating least squares does to the subspace
        W = torch.linalg.qr(centred.T @ (centred @ W))[0]
    return W @ W.T


def _tweedie_by_autograd(x):
    x = torch.as_tensor(x, dtype=torch.float64).clone().requires_grad_()
    clusters = torch.distributions.Normal(torch.tensor([-2.0, 2.0], dtype=torch.float64), 0.75**0.5)
    torch.logsumexp(clusters.log_prob(x[..., None]), -1).sum().backward()
    return (x + 0.5 * x.grad).detach()


def _tweedie_by_differences(x):
    x, h = np.asarray(x, float), 1e-4

    def log_p(y):
        return np.logaddexp(scipy.stats.norm.logpdf(y, -2, 0.75**0.5), scipy.stats.norm.logpdf(y, 2, 0.75**0.5))

    return x + 0.5 * (log_p(x + h) - log_p(x - h)) / (2 * h)


def _tweedie_as_conditional_mean(x):
    right = expit(4 * np.asarray(x, float) / 0.75)
    return (0.25 * np.asarray(x, float) + 0.5 * (4 * right - 2)) / 0.75


VARIANTS = {
    "pca_recon_error": [_recon_by_svd, _recon_by_sklearn, _recon_by_torch, _recon_by_trace],
    "linear_ae_als": [_linear_by_svd, _linear_by_eigh, _linear_by_sklearn, _linear_by_lstsq, _linear_by_torch],
    "tweedie": [_tweedie_by_autograd, _tweedie_by_differences, _tweedie_as_conditional_mean],
}

# ---------------------------------------------------------------- the explorers' invariants


@functools.cache
def digits():
    return datasets.digits()[0] / 16


@functools.cache
def round_trip(k):
    """The digits through k principal components and back, by scikit-learn."""
    if k == 0:
        return np.broadcast_to(digits().mean(0), digits().shape)
    pca = PCA(k, svd_solver="full").fit(digits())
    return pca.inverse_transform(pca.transform(digits()))


def numbers(text):
    return [float(m) for m in re.findall(r"-?\d+(?:\.\d+)?", text)]


def drawn(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def _bottleneck(explorer):
    """Loss and picture are those of scikit-learn's PCA with k components."""
    k = explorer.values["k"]
    shown_k, loss, kept = numbers(explorer.text)
    error = ((digits() - round_trip(k))**2).sum(1).mean()
    assert shown_k == k and loss == pytest.approx(error, abs=6e-4)
    assert kept == pytest.approx(100 * (1 - error / 4.6932763), abs=0.06)
    x, x_hat = explorer.fig.axes[:2]
    for n in range(10):
        block = drawn(x_hat)[1:9, 10 * n + 1:10 * n + 9]
        assert np.allclose(block, round_trip(k)[n].reshape(8, 8), atol=1e-8)
        assert np.array_equal(drawn(x)[1:9, 10 * n + 1:10 * n + 9], digits()[n].reshape(8, 8))


def _same_loss(explorer):
    """Whatever R is, loss and reconstruction are those of PCA; the code units have the covariance R diag(λ₁, λ₂) Rᵀ."""
    loss, sd1, sd2, _ = numbers(re.sub("w1|u1", "", explorer.text))
    assert loss == pytest.approx(3.3552531, abs=6e-5)  # claims L2.2, L2.5
    a, stretch = math.radians(explorer.values["angle"]), math.exp(explorer.values["log_stretch"])
    l1, l2 = 0.69885671, 0.63916657  # by eigvalsh of np.cov, see test_principal_axes
    assert sd1 == pytest.approx(stretch * math.sqrt(l1 * math.cos(a)**2 + l2 * math.sin(a)**2), abs=6e-3)
    assert sd2 == pytest.approx(math.sqrt(l1 * math.sin(a)**2 + l2 * math.cos(a)**2) / stretch, abs=6e-3)
    images = [ax for ax in explorer.fig.axes if ax.images]
    (x_hat,) = [ax for ax in images if ax.get_ylabel() == "x̂"]
    assert np.allclose(drawn(x_hat), round_trip(2)[4].reshape(8, 8), atol=1e-8)
    columns = np.stack([drawn(ax).ravel() for ax in images if ax.get_ylabel()[0] == "w"], axis=1)
    top = PCA(2, svd_solver="full").fit(digits()).components_.T
    assert np.cos(scipy.linalg.subspace_angles(columns, top)).min() > 1 - 1e-9


def _hole(explorer):
    """Distances by k-d tree and by scikit-learn; the picture is the decoder's output."""
    lesson = explorer._update.__globals__
    z = np.array([[explorer.values["z1"], explorer.values["z2"]]])
    with torch.no_grad():
        image = lesson["decoder"](torch.tensor(z, dtype=torch.float32)).numpy()
        codes = lesson["encoder"](torch.tensor(digits()[:1500], dtype=torch.float32)).numpy()
    code_distance, label, x_distance, standard = numbers(explorer.text)
    assert standard == pytest.approx(lesson["reconstruction_distance"], abs=6e-3)
    assert code_distance == pytest.approx(scipy.spatial.cKDTree(codes).query(z)[0][0], abs=6e-3)
    distance, index = NearestNeighbors(n_neighbors=1).fit(digits()[:1500]).kneighbors(image.astype(float))
    assert x_distance == pytest.approx(distance[0, 0]**2, abs=6e-3)
    assert label == datasets.digits()[1][index[0, 0]]
    assert np.allclose(drawn(explorer.fig.axes[1]), image.reshape(8, 8), atol=1e-6)
    assert np.array_equal(drawn(explorer.fig.axes[2]), digits()[index[0, 0]].reshape(8, 8))


def score(points, centres, weights, sd):
    """∇ log Σ_j w_j N(x | c_j, sd² I) by autograd through torch.distributions."""
    x = torch.tensor(points, requires_grad=True)
    parts = torch.distributions.Independent(torch.distributions.Normal(torch.as_tensor(centres), sd), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.as_tensor(weights)), parts)
    mixture.log_prob(x).sum().backward()
    return x.grad.numpy()


def _denoiser_field(explorer):
    """Every arrow is σ² times the score of the noisy density; the best error is below both simple strategies."""
    sigma = math.exp(explorer.values["log_sigma"])
    centres, weights, clean = explorer._update.__globals__["SETS"][explorer.values["data"]]
    left = explorer.fig.axes[0]
    (arrows,) = [c for c in left.collections if hasattr(c, "U")]
    step = sigma**2 * score(arrows.XY.astype(float), centres, weights, math.hypot(0.25, sigma))
    assert np.allclose(np.stack([arrows.U, arrows.V], axis=-1), step, atol=1e-9)
    shown_sigma, end1, end2, best, alone, mean = numbers(explorer.text)
    star = np.array([[1.6, 1.9]])
    landing = (star + sigma**2 * score(star, centres, weights, math.hypot(0.25, sigma)))[0]
    assert [end1, end2] == pytest.approx(landing, abs=6e-3) and shown_sigma == pytest.approx(sigma, abs=6e-3)
    assert best <= min(alone, mean) + 2e-3  # curves are read off between 51 noise levels
    assert alone == pytest.approx(2 * sigma**2, abs=6e-4)
    assert mean == pytest.approx({"the Bow": BOW_VARIANCE, "three blobs": BLOB_VARIANCE}[explorer.values["data"]], abs=2e-3)
    if explorer.values["log_sigma"] == 2.0:
        assert landing == pytest.approx(weights @ centres, abs=0.05)


BOW_VARIANCE = (1 - math.exp(-2)) / 2 + (1 + math.exp(-2)) / 2 - math.exp(-1) + 2 * 0.25**2  # Var sin z + Var cos z + noise
BLOB_VARIANCE = 0.6 * 1.2**2 + 0.24 * 1.8**2 + 2 * 0.25**2

INVARIANTS = {"bottleneck": _bottleneck, "same_loss": _same_loss, "hole": _hole, "denoiser_field": _denoiser_field}

# ---------------------------------------------------------------- the lesson's formulas


@pytest.fixture
def n(lesson):
    return lesson("02").namespace


def test_principal_axes_are_those_of_sklearn(n):
    mean, lam, U = n["principal_axes"](digits())
    pca = PCA(svd_solver="full").fit(digits())
    assert np.allclose(mean, pca.mean_) and np.allclose(lam, pca.explained_variance_ * 1796 / 1797)
    assert np.allclose(np.abs(np.sum(U[:, :20] * pca.components_[:20].T, axis=0)), 1, atol=1e-8)
    assert np.allclose(lam, scipy.linalg.eigvalsh(np.cov(digits().T, bias=True))[::-1]) and np.all(np.diff(lam) <= 1e-12)
    assert lam[:2] == pytest.approx([0.69885671, 0.63916657], abs=1e-7)
    assert np.allclose(U.T @ U, np.eye(64))


def test_squared_error_sums_over_pixels_and_averages_over_images(n):
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5))
    theirs = torch.nn.functional.mse_loss(torch.as_tensor(a), torch.as_tensor(b), reduction="sum") / 7
    assert n["squared_error"](a, b) == pytest.approx(theirs.item(), rel=1e-12)


def test_principal_cosines_are_those_of_scipy(n):
    A, B = np.random.default_rng(1).normal(size=(2, 9, 3))
    assert np.allclose(np.sort(n["principal_cosines"](A, B)), np.sort(np.cos(scipy.linalg.subspace_angles(A, B))))
    assert np.allclose(n["principal_cosines"](A, A @ np.random.default_rng(2).normal(size=(3, 3))), 1)


def test_strip_keeps_every_pixel(n):
    row = n["strip"](digits()[:3])
    assert row.shape == (10, 30) and row.sum() == pytest.approx(digits()[:3].sum())
    assert np.array_equal(row[1:9, 11:19], digits()[1].reshape(8, 8))


def test_log_density_is_that_of_scipy(n):
    rng = np.random.default_rng(3)
    x, centres, weights = rng.normal(size=(6, 2)), rng.normal(size=(4, 2)), rng.dirichlet(np.ones(4))
    theirs = np.log(sum(w * scipy.stats.multivariate_normal(c, 0.7**2 * np.eye(2)).pdf(x) for w, c in zip(weights, centres)))
    assert np.allclose(n["log_density"](x, centres, weights, 0.7), theirs)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_the_denoiser_is_the_score_formula_in_any_dimension(n, sigma):
    rng = np.random.default_rng(4)
    for d in (1, 2, 5):
        x, centres, weights = rng.normal(size=(6, d)), rng.normal(size=(4, d)), rng.dirichlet(np.ones(4))
        ours = n["denoise"](x, centres, weights, 0.3, sigma)
        assert np.allclose(ours, x + sigma**2 * score(x, centres, weights, math.hypot(0.3, sigma)), atol=1e-10)
        assert np.allclose(ours, n["tweedie_step"](x, centres, weights, 0.3, sigma), atol=1e-6)


def test_the_denoiser_is_the_conditional_mean_by_quadrature(n):
    """Claim L2.8, through the lesson's functions."""
    def posterior_mean(noisy):
        def weight(c):
            prior = scipy.stats.norm.pdf(c, -2, 0.5) + scipy.stats.norm.pdf(c, 2, 0.5)
            return prior * scipy.stats.norm.pdf(noisy, c, 0.5**0.5)

        return quad(lambda c: c * weight(c), -9, 9, points=[-2, 2])[0] / quad(weight, -9, 9, points=[-2, 2])[0]

    centres, half = np.array([[-2.0], [2.0]]), np.array([0.5, 0.5])
    for x, value in (0.7, 1.5043879560613946), (0.0, 0.0), (-3.0, -2.333333):
        assert posterior_mean(x) == pytest.approx(value, abs=1e-6)
        assert n["denoise"](np.array([[x]]), centres, half, 0.5, 0.5**0.5)[0, 0] == pytest.approx(value, abs=1e-6)
        assert n["tweedie"](x) == pytest.approx(posterior_mean(x), abs=1e-7)
    assert n["tweedie"](0.7) == pytest.approx(1.5043879560613946, abs=1e-8)
    assert n["tweedie"](np.array([[0.7], [-3.0]])).shape == (2, 1)


def test_wrong_answers_of_tweedie_are_the_documented_ones():
    from course_utils.checks import lesson_02

    wrong = {m.name: float(m.wrong(0.7)) for m in lesson_02.tweedie.mutants}
    assert wrong["sign"] == pytest.approx(-0.104388, abs=1e-6) and wrong["σ for σ²"] == pytest.approx(1.837576, abs=1e-6)


def test_wrong_answers_of_pca_are_the_documented_ones():
    from course_utils.checks import lesson_02

    wrong = {m.name: m.wrong for m in lesson_02.pca_recon_error.mutants}
    assert wrong["n − 1 covariance"](digits(), 2) == pytest.approx(3.3571213, abs=1e-7)
    assert wrong["mean over pixels"](digits(), 2) == pytest.approx(0.0524258, abs=1e-7)


def test_error_left_is_the_measured_squared_error(n):
    rng = np.random.default_rng(5)
    centres, weights, _ = n["SETS"]["the Bow"]
    for sigma in (0.1, 0.6, 4.0):
        clean, _ = datasets.bow(20_000, rng=rng)
        noisy = clean + sigma * rng.standard_normal(clean.shape)
        errors = ((clean - n["denoise"](noisy, centres, weights, 0.25, sigma))**2).sum(1)
        left = n["error_left"](noisy, centres, weights, 0.25, sigma)
        assert abs(left - errors.mean()) < 4.5 * errors.std() / math.sqrt(len(errors))


def test_the_bow_as_a_mixture_is_the_bow(n):
    """Evidence of lesson 01 (claim of the Bow's examples) and mean and variance in closed form."""
    for x, log_p in ((1, 0.5), -1.2191567), ((0, 2), -4.4166493), ((0, 1), -7.0652883):
        ours = n["log_density"](np.array([x], float), n["wire"], n["wire_weights"], 0.25)[0]
        assert ours == pytest.approx(log_p, abs=5e-3)
        assert ours == pytest.approx(models.bow_posterior(np.array(x, float), np.linspace(-8, 8, 4001), 1.0, 0.25)[1], abs=5e-3)
    assert n["wire_weights"] @ n["wire"] == pytest.approx([0, 1 - math.exp(-0.5)], abs=3e-4)
    assert n["mean_only"]["the Bow"] == pytest.approx(BOW_VARIANCE, abs=2e-3)


def test_linear_denoiser_is_ridge_regression_and_needs_no_bottleneck(n):
    """min over M of ‖X − XM‖² + N σ² ‖M‖² by scikit-learn, and the printed effective number of units."""
    lam, s2 = n["lam"], n["s2"]
    centred = digits() - digits().mean(0)
    M = Ridge(alpha=len(centred) * s2, fit_intercept=False, solver="cholesky").fit(centred, centred).coef_
    assert np.allclose(M, n["M"], atol=1e-9)
    loss = ((centred - centred @ M.T)**2).sum(1).mean() + s2 * (M**2).sum()
    assert loss == pytest.approx((lam * s2 / (lam + s2)).sum(), abs=1e-9) and np.trace(M) == pytest.approx(15.486, abs=1e-3)


def test_own_two_axes_for_each_image_by_brute_force(n):
    coefficients = PCA(svd_solver="full").fit_transform(digits())
    best = np.partition(coefficients**2, -2, axis=1)[:, -2:].sum(1)
    assert n["own_two"] == pytest.approx(((coefficients**2).sum(1) - best).mean(), abs=1e-9)
    assert n["own_two"] < n["lam"][2:].sum()


def test_best_code_likelihood_is_not_a_density(n):
    """By integrating over the distance from the centre of the circle; the lesson adds up a grid."""
    ring = quad(lambda r: 2 * math.pi * r * math.exp(-(r - 1)**2 / (2 * 0.25**2)) / (2 * math.pi * 0.25**2), 0, 4, points=[1])[0]
    assert ring == pytest.approx(10.0265, abs=1e-4)
    assert n["best_code"].sum() * n["step"]**2 == pytest.approx(ring, abs=5e-3)
    assert n["p_x"].sum() * n["step"]**2 == pytest.approx(1, abs=1e-3)


def test_distances_of_the_hole_section(n):
    images = np.random.default_rng(6).uniform(-0.2, 1.2, size=(20, 64))
    distance, number = n["nearest_real"](images)
    tree_distance, index = scipy.spatial.cKDTree(digits()[:1500]).query(images)
    assert np.allclose(distance, tree_distance**2) and np.array_equal(number, index)
    z = np.random.default_rng(7).normal(size=(30, 2))
    assert np.allclose(n["distance_to_codes"](z), scipy.spatial.cKDTree(n["codes"]).query(z)[0])


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize("k, share, loss", [(1, None, 3.994), (2, 0.28509365, 3.3552531), (10, 0.7382268, 1.229),
                                            (16, 0.84940249, 0.707), (32, None, 0.158), (61, 1.0, 0.0)])
def test_claims_1_and_2_losses_are_discarded_eigenvalues(n, k, share, loss):
    lam = n["lam"]
    assert n["losses"][k] == pytest.approx(loss, abs=6e-4) == pytest.approx(n["pca_recon_error"](digits(), k), abs=6e-4)
    assert n["losses"][k] == pytest.approx(((digits() - round_trip(k))**2).sum(1).mean(), abs=1e-9)
    if share:
        assert lam[:k].sum() / lam.sum() == pytest.approx(share, abs=2e-7)
    assert lam.sum() == pytest.approx(4.6932763, abs=1e-7)


def test_claim_3_the_linear_autoencoder_spans_the_pca_subspace(n):
    M = n["linear_ae_als"](digits(), 2)
    centred = digits() - digits().mean(0)
    assert ((centred - centred @ M.T)**2).sum(1).mean() == pytest.approx(3.3552530501903632, abs=1e-9)
    top = PCA(2, svd_solver="full").fit(digits()).components_.T
    assert np.linalg.svd(np.linalg.svd(M)[0][:, :2].T @ top)[1] == pytest.approx([1, 1], abs=1e-8)
    assert np.cos(scipy.linalg.subspace_angles(n["W"], top)).min() > 1 - 1e-4  # and the one trained by gradients


def test_claims_4_and_5_its_columns_are_not_the_axes_and_any_invertible_R_leaves_the_loss(n):
    assert n["cosines"].max() < 0.95
    centred, U = digits() - digits().mean(0), n["U"][:, :2]
    for R in np.random.default_rng(8).normal(size=(5, 2, 2)):
        V, W = U @ R.T, U @ np.linalg.inv(R)
        assert ((centred - centred @ V @ W.T)**2).sum(1).mean() == pytest.approx(3.355253050190363, abs=1e-9)


def test_claim_6_gradients_reach_the_pca_error(n):
    centred = digits() - digits().mean(0)
    assert ((centred - centred @ n["V"] @ n["W"].T)**2).sum(1).mean() == pytest.approx(3.3552530501903632, abs=1e-4)


def test_claim_7_the_bent_autoencoder_beats_pca_on_both_halves(n):
    train, test = digits()[:1500], digits()[1500:]
    pca = PCA(2).fit(train)
    flat = [((X - pca.inverse_transform(pca.transform(X)))**2).sum(1).mean() for X in (train, test)]
    assert flat == pytest.approx([3.358, 3.367], abs=1e-3)
    bent = [n["squared_error"](X, n["run"](n["decoder"], n["run"](n["encoder"], X))) for X in (train, test)]
    assert bent[0] < flat[0] - 0.5 and bent[1] < flat[1] - 0.5 and bent[0] < bent[1]
    assert n["pca_error"][2] == pytest.approx(flat[1], abs=1e-9)
    sizes = [m.weight.shape[1] for net in (n["encoder"], n["decoder"]) for m in net if hasattr(m, "weight")]
    assert sizes == [64, 64, 2, 64] and n["decoder"][-1].weight.shape[0] == 64


# ---------------------------------------------------------------- what the lesson says about training, and the rest of the text


def test_one_reconstruction_error_three_generators(n):
    assert np.ptp(n["errors"]) < 1e-6
    assert n["commonest"][0] > 1 / 3 and n["distances"][2] > 3 * n["reconstruction_distance"]
    assert n["distances"][1] > n["reconstruction_distance"] and n["in_holes"] > 0.1
    assert n["bent_error"] < n["bow_lam"][1] / 2
    assert n["near"] < n["between"] < n["outside"] and n["outside"] > 1.5 * n["near"]


def test_training_needs_no_luck(n):
    """Three other seeds: the inequalities that the lesson prints do not hang on the seed."""
    torch.manual_seed(11)
    X = torch.tensor(digits()[:1500], dtype=torch.float32)
    nn = torch.nn
    encoder = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    decoder = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64))
    n["train"](nn.Sequential(encoder, decoder), X, epochs=80)
    test = digits()[1500:]
    rebuilt = n["run"](decoder, n["run"](encoder, test))
    assert n["squared_error"](test, rebuilt) < n["pca_error"][3]
    noise = np.random.default_rng(0).standard_normal((1000, 2))
    near, far = (n["nearest_real"](n["run"](decoder, c * noise)) for c in (0.1, 10))
    assert np.bincount(datasets.digits()[1][near[1]]).max() > 1000 / 3
    assert far[0].mean() > 3 * n["nearest_real"](rebuilt)[0].mean()


def test_the_unchecked_extension_reaches_what_the_lesson_promises(n):
    text = build.sources(["02"])[0].read_text(encoding="utf-8")
    (block,) = re.findall(r"# ```python\n(.*?)# ```", text, re.S)
    code = "\n".join(line[2:] for line in block.splitlines())
    scope = dict(n)
    exec(code, scope)
    assert scope["gap"].max() < 0.1
    assert scope["clean"].min() < -1 and scope["clean"].max() > 1 and abs(scope["clean"]).mean() == pytest.approx(2, abs=0.2)


def test_too_few_sweeps_get_the_hint_to_go_on():
    from course_utils.checks import lesson_02

    def impatient(X, k):
        centred, W = X - X.mean(axis=0), np.random.default_rng(0).standard_normal((X.shape[1], k))
        for _ in range(4):
            codes = centred @ W @ np.linalg.inv(W.T @ W)
            W = centred.T @ codes @ np.linalg.inv(codes.T @ codes)
        return W @ np.linalg.inv(W.T @ W) @ W.T

    assert "alternate more often" in str(lesson_02.linear_ae_als(impatient))


def test_models_repeat_the_solution(n):
    assert models.pca_recon_error(digits(), 2) == n["pca_recon_error"](digits(), 2)
    assert "Defined in lesson 02" in models.pca_recon_error.__doc__


def test_every_number_in_the_prose_is_printed_by_a_cell():
    """Stricter than the test of all notebooks: percentages and one decimal too, and printed, not only in the code."""
    nb = nbformat.read(build.ROOT / "02_autoencoders.ipynb", 4)
    printed = " ".join(o.get("text", "") + " ".join(v for k, v in o.get("data", {}).items() if k.startswith("text"))
                       for c in nb.cells if c.cell_type == "code" for o in c.outputs)
    found = [(float(v), len(v.partition(".")[2])) for v in re.findall(r"\d+\.?\d*", printed)]
    given = {"0.25", "0.5", "0.01", "0.1", "1.6", "1.9"}  # what the lesson sets, not what it measures
    for cell in nb.cells:
        if cell.cell_type != "markdown" or "<summary>Solution" in cell.source:
            continue
        text = re.sub(r"```.*?```|`[^`]*`|^#+ .*$", " ", cell.source, flags=re.S | re.M)
        for quoted in set(re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])|\d+(?:\.\d+)?(?=\\?%)", text)) - given:
            digits_after = len(quoted.partition(".")[2])
            assert any(d >= digits_after and round(v, digits_after) == float(quoted) for v, d in found), (quoted, cell.source[:200])


def test_no_printed_statement_is_false():
    """The strict cells print inequalities; the one that is meant to be False says so in the text before it."""
    nb = nbformat.read(build.ROOT / "02_autoencoders.ipynb", 4)
    lines = [x for c in nb.cells if c.cell_type == "code" for o in c.outputs for x in o.get("text", "").splitlines()]
    assert [x for x in lines if "False" in x] == ["a column of W lies along a principal axis (|cos| > 0.95): False"]
    assert sum("True" in x for x in lines) >= 9


def test_quiz_answers_are_right(n):
    questions = json.loads((build.ROOT / "quizzes/02_autoencoders.json").read_text(encoding="utf-8"))["questions"]
    assert n["losses"][64] == pytest.approx(questions[0]["answer"], abs=questions[0]["tolerance"])
    score_at_2 = n["denoise"](np.array([[2.0]]), np.zeros((1, 1)), np.ones(1), 1.0, 1.0)[0, 0]
    assert score_at_2 == pytest.approx(questions[3]["answer"], abs=1e-9)
    huge = n["denoise"](np.array([[1.6, 1.9]]), n["wire"], n["wire_weights"], 0.25, 1e4)[0]
    assert huge == pytest.approx(n["wire_weights"] @ n["wire"], abs=1e-3) and questions[4]["options"][3] == "the mean of the data"
