"""Checks of lesson 02: the error of PCA, a linear autoencoder by alternating least squares, Tweedie's formula."""

import math

import numpy as np
from scipy.integrate import quad
from sklearn.decomposition import PCA

from . import Check, Mutant


def _cloud(n, spreads, seed, mean=0.0):
    """n points with the given standard deviations along random orthogonal axes, around `mean` in every coordinate."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((len(spreads), len(spreads))))[0]
    return mean + rng.standard_normal((n, len(spreads))) * spreads @ axes


def _pca_round_trip(X, k):
    X = np.asarray(X, float)
    pca = PCA(k, svd_solver="full").fit(X)
    return ((X - pca.inverse_transform(pca.transform(X)))**2).sum(axis=1).mean()


def _eigenvalues(X, divisor=None, mean=None):
    """Eigenvalues, largest first, of the covariance about `mean` (default: of the columns), divided by N or `divisor`."""
    centred = X - (X.mean(axis=0) if mean is None else mean)
    return np.linalg.eigvalsh(centred.T @ centred / (divisor or len(X)))[::-1]


_CASES = [(_cloud(40, [3, 2, 1, 0.5, 0.2], 0, mean=2.0), 2), (_cloud(25, [2, 1.5, 1, 0.7], 1, mean=-1.0), 1),
          (_cloud(30, [1, 1, 0.5, 0.3, 0.3, 0.1], 2, mean=0.5), 4)]

pca_recon_error = Check(
    "pca_recon_error", _pca_round_trip, _CASES,
    [Mutant("n − 1 covariance", lambda X, k: _eigenvalues(X, divisor=len(X) - 1)[k:].sum(),
            "slightly too large: the loss is a mean over N images, so S has 1/N; np.cov and scikit-learn divide by N − 1"),
     Mutant("mean over pixels", lambda X, k: _eigenvalues(X)[k:].mean() * (X.shape[1] - k) / X.shape[1],
            "D times too small: the loss sums over the D pixels of an image and averages over images only"),
     Mutant("mean of the discarded", lambda X, k: _eigenvalues(X)[k:].mean(),
            "that is the mean of the discarded eigenvalues; what is lost is their sum"),
     Mutant("kept instead of lost", lambda X, k: _eigenvalues(X)[:k].sum(),
            "that is the variance which gets through, λ₁ + … + λₖ; the error is what is left out"),
     Mutant("smallest kept", lambda X, k: _eigenvalues(X)[::-1][k:].sum(),
            "eigh and eigvalsh give the smallest eigenvalue first: you have kept the k axes with the least variance"),
     Mutant("share of the variance", lambda X, k: _eigenvalues(X)[k:].sum() / _eigenvalues(X).sum(),
            "that is the share of the variance that is lost; the loss is in squared pixels, not divided by Σ λᵢ"),
     Mutant("not centred", lambda X, k: _eigenvalues(X, mean=0)[k:].sum(),
            "the mean image x̄ has not been subtracted: the encoder sees x − x̄"),
     Mutant("sum over images", lambda X, k: len(X) * _eigenvalues(X)[k:].sum(),
            "N times too large: that is the sum over all images; the loss is their mean"),
     Mutant("singular values for eigenvalues", lambda X, k: np.sqrt(np.maximum(_eigenvalues(X)[k:], 0)).sum(),
            "those are standard deviations along the axes; λᵢ is a variance, the square of a singular value over N"),
     Mutant("root of the error", lambda X, k: np.sqrt(_eigenvalues(X)[k:].sum()),
            "that is the root of the loss; the loss itself is the squared distance")])


def _projection(X, k):
    components = PCA(k, svd_solver="full").fit(np.asarray(X, float)).components_
    return components.T @ components


def _top(S, k):
    axes = np.linalg.eigh(S)[1][:, ::-1][:, :k]
    return axes @ axes.T


def _covariance(X, mean=None):
    centred = X - (X.mean(axis=0) if mean is None else mean)
    return centred.T @ centred / len(X)


def _standardised(X, k):
    return _top(_covariance((X - X.mean(axis=0)) / X.std(axis=0), mean=0), k)


# data on which alternating least squares has arrived after a handful of sweeps: the axes after the k-th carry next to nothing
_FLAT = [(_cloud(30, [2, 1, 1e-7, 1e-7, 1e-7], 3, mean=1.0), 2), (_cloud(30, [1, 1e-7, 1e-7, 1e-7], 4, mean=-2.0), 1)]
_HARD = _cloud(60, [2.0, 1.5, 1.3, 1.0, 0.8, 0.5], 5, mean=1.0)  # and on which it needs sweeps: error shrinks slowly


def _reaches_the_pca_error(answer):
    centred = _HARD - _HARD.mean(axis=0)
    M = np.asarray(answer(_HARD.copy(), 2), float)
    return abs(((centred - centred @ M.T)**2).sum(axis=1).mean() - _pca_round_trip(_HARD, 2)) < 1e-6


def _spans_the_pca_subspace(answer):
    """The cosines of the principal angles to the subspace of PCA are all 1."""
    M = np.asarray(answer(_HARD.copy(), 2), float)
    mine = np.linalg.svd(M)[0][:, :2]
    theirs = PCA(2, svd_solver="full").fit(_HARD).components_.T
    return bool(np.linalg.svd(mine.T @ theirs)[1].min() > 1 - 1e-6)


linear_ae_als = Check(
    "linear_ae_als", _projection, _FLAT,
    [Mutant("not centred", lambda X, k: _top(_covariance(X, mean=0), k),
            "the plane passes through the origin instead of the mean: subtract x̄, the mean over the images, first"),
     Mutant("each image centred", lambda X, k: _top(_covariance(X - X.mean(axis=1, keepdims=True)), k),
            "you subtracted from every image its own mean; x̄ is the mean image, X.mean(axis=0)"),
     Mutant("standardised", _standardised,
            "the pixels have been divided by their standard deviations; the loss weighs all pixels alike"),
     Mutant("smallest kept", lambda X, k: np.eye(X.shape[1]) - _top(_covariance(X), X.shape[1] - k),
            "that keeps the k axes with the least variance (eigh gives the smallest eigenvalue first)"),
     Mutant("one unit less", lambda X, k: _top(_covariance(X), k - 1) if k > 1 else 0 * _covariance(X),
            "M has rank k − 1: one code unit is not in use"),
     Mutant("identity", lambda X, k: np.eye(X.shape[1]), "M copies everything: its rank should be k, as only k numbers get through"),
     Mutant("complement", lambda X, k: np.eye(X.shape[1]) - _top(_covariance(X), k),
            "that gives what is lost, (x − x̄) − (x̂ − x̄); M gives what gets through")],
    properties=[("reaches the PCA error", _reaches_the_pca_error,
                 "right where it is easy, but on harder data the loss has not arrived at Σ λᵢ over i > k: alternate more often"),
                ("spans the PCA subspace", _spans_the_pca_subspace,
                 "the loss is nearly right, but the plane is not yet that of PCA (a cosine below 1): alternate more often")],
    rtol=1e-4, atol=1e-5)

_MIXTURE, _SD, _NOISE = ((0.5, -2.0), (0.5, 2.0)), 0.5, 0.5  # weights and means; sd of a cluster; variance of the noise


def _posterior_mean(x):
    """E[clean | noisy = x] by numerical integration over the clean value; uses no score and no closed form."""
    def one(noisy):
        def weight(clean):  # prior times likelihood, up to a constant
            prior = sum(w * math.exp(-((clean - m) / _SD)**2 / 2) for w, m in _MIXTURE)
            return prior * math.exp(-(noisy - clean)**2 / (2 * _NOISE))

        ends = dict(points=[-2, 0, 2], epsabs=1e-13, epsrel=1e-10, limit=100)
        return quad(lambda c: c * weight(c), -8, 8, **ends)[0] / quad(weight, -8, 8, **ends)[0]

    return np.vectorize(one, otypes=[float])(x)


def _score(x, variance):
    """d/dx of the log of the mixture whose clusters have this variance."""
    a, b = (np.exp(-(x - m)**2 / (2 * variance)) for _, m in _MIXTURE)
    return (a * (-2 - x) + b * (2 - x)) / (a + b) / variance


_V = _SD**2 + _NOISE

tweedie = Check(
    "tweedie", _posterior_mean, [(0.7,), (0.0,), (-3.0,), (np.array([-1.5, 0.3, 2.5]),)],
    [Mutant("sign", lambda x: x - _NOISE * _score(x, _V),
            "downhill: the step is +σ² times the score, towards higher density"),
     Mutant("σ for σ²", lambda x: x + _NOISE**0.5 * _score(x, _V),
            "too far: the step is σ² = 0.5 times the score, not σ times"),
     Mutant("σ⁴ for σ²", lambda x: x + _NOISE**2 * _score(x, _V),
            "not far enough: 0.5 is already the variance σ² of the noise, do not square it again"),
     Mutant("no σ²", lambda x: x + _score(x, _V), "you added the score itself; the step is σ² times the score"),
     Mutant("clean density", lambda x: x + _NOISE * _score(x, _SD**2),
            "that is the score of the clean density p; the formula wants the noisy one, whose clusters have variance 0.25 + σ²"),
     Mutant("sd of the cluster", lambda x: x + _NOISE * _score(x, _SD + _NOISE),
            "0.25 is the variance of a cluster, not its standard deviation: add 0.25 and σ² = 0.5"),
     Mutant("sds added", lambda x: x + _NOISE * _score(x, (_SD + _NOISE**0.5)**2),
            "standard deviations do not add; the variances 0.25 and σ² do"),
     Mutant("noise density", lambda x: x + _NOISE * _score(x, _NOISE),
            "the noisy clusters have variance 0.25 + σ², not σ² alone"),
     Mutant("score only", lambda x: _NOISE * _score(x, _V), "that is the step σ² · score; add it to x̃"),
     Mutant("left alone", lambda x: np.asarray(x, float) + 0.0, "you return x̃ itself, without the step along the score")])
