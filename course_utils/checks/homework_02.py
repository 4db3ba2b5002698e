"""Instant checks of homework 02: what must hold of a right answer, and no right answer."""

import numpy as np
from scipy import stats

from . import Check

_rng = np.random.default_rng(20)
_FEW = _rng.standard_normal((5, 8)) * np.linspace(0.3, 2, 8) + 4          # fewer rows than columns
_MANY = _rng.standard_normal((30, 4)) @ _rng.standard_normal((4, 4)) - 3
_TURN = np.linalg.qr(_rng.standard_normal((4, 4)))[0]


def _error(f, X, k):
    return ((X - f(X, k))**2).sum()


# --- reconstruct ---


def _rank(f):
    return all(np.linalg.matrix_rank(f(_FEW, k) - _FEW.mean(axis=0), tol=1e-8) == k for k in (1, 2, 3))


def _smaller_steps(f):
    steps = -np.diff([_error(f, _FEW, k) for k in (1, 2, 3, 4)])
    return np.all(steps[:-1] > steps[1:]) and steps[-1] > 0


reconstruct = Check(
    "reconstruct", None, [(_FEW, 2)],
    properties=[
        ("shape", lambda f: np.shape(f(_FEW, 2)) == _FEW.shape, "return the reconstructed images, as many rows and columns as X"),
        ("mean", lambda f: np.allclose(np.mean(f(_FEW, 2), axis=0), _FEW.mean(axis=0)),
         "the reconstructions should have the same mean image as X: subtract the mean over the images, and add it again"),
        ("k code units", _rank, "around the mean, the reconstructions should span exactly k directions; take k columns of what eigh "
                                "returns"),
        ("enough code units", lambda f: np.allclose(f(_FEW, 4), _FEW),
         "five images differ in four directions at most, so k = 4 should copy them exactly; which eigenvalues come last from eigh?"),
        ("a second time", lambda f: np.allclose(f(f(_FEW, 2), 2), f(_FEW, 2)), "reconstructing the reconstruction should change nothing"),
        ("largest first", _smaller_steps, "each further code unit should help less than the one before; which eigenvalues come last "
                                          "from eigh?")])

# --- kept_share ---


def _two_columns(f):
    t = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.allclose(f(np.stack([3 * np.cos(t), np.sin(t)], axis=1)), [0.9, 1])


kept_share = Check(
    "kept_share", None, [(_MANY,)],
    properties=[
        ("all units", lambda f: np.shape(f(_MANY)) == (4,) and np.isclose(f(_MANY)[-1], 1), "all D code units together keep the share 1"),
        ("rising", lambda f: np.all(np.diff(f(_MANY)) > 0), "more code units keep more: the shares should rise"),
        ("first the largest", lambda f: np.all(np.diff(f(_MANY), 2) < 0), "each further code unit should add less than the one before"),
        ("shift", lambda f: np.allclose(f(_MANY + 10), f(_MANY)), "adding 10 to every number changes no variance, but it changes your "
                                                                  "shares"),
        ("rotation", lambda f: np.allclose(f(_MANY @ _TURN), f(_MANY)),
         "turning the data changes your shares; code units look along the eigenvectors, not along the columns"),
        ("two columns", _two_columns, "two uncorrelated columns, one with three times the sd of the other, hence nine times the "
                                      "variance: one unit keeps 0.9")])

# --- whiten ---


def _white(f):
    Z = f(_MANY, 0.0)
    return np.allclose(Z.mean(axis=0), 0, atol=1e-8) and np.allclose(np.cov(Z.T, bias=True), np.eye(4), atol=1e-6)


def _own_pixel(f):
    together = (_MANY - _MANY.mean(axis=0)).T @ f(_MANY, 0.1)
    return np.allclose(together, together.T) and np.all(np.linalg.eigvalsh(together) > 0)


def _one_column(f):
    x = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    return np.isclose(np.std(f(x, 3.0)), 0.5)


whiten = Check(
    "whiten", None, [(_MANY, 0.0), (_MANY, 0.1)],
    properties=[
        ("white", _white, "for ε = 0 the result should have the mean 0 and, with 1/N, the covariance I"),
        ("own pixel", _own_pixel, "column j of the result should still be about pixel j: the map from x − mean to the result is a "
                                  "symmetric matrix, so "
                                  "turn back into the pixels' coordinates"),
        ("epsilon", _one_column, "a single column of variance 1 with ε = 3 should keep half of its sd: ε is added to the variance, "
                                 "before the root")])

# --- tied_gradient ---


def _slopes(f):
    rng = np.random.default_rng(5)
    for k in (1, 2):
        X, W, step = rng.standard_normal((4, 3)), rng.standard_normal((3, k)), 1e-5 * rng.standard_normal((3, k))

        def loss(W):
            return np.mean([((W @ (W.T @ x) - x)**2).sum() for x in X])
        if not np.isclose((loss(W + step) - loss(W - step)) / 2, (f(X, W) * step).sum(), rtol=1e-5):
            return False
    return True


def _perfect(f):
    W = np.linalg.qr(np.random.default_rng(6).standard_normal((4, 2)))[0]
    return np.allclose(f(np.random.default_rng(7).standard_normal((5, 2)) @ W.T, W), 0, atol=1e-8)


tied_gradient = Check(
    "tied_gradient", None, [(_MANY, _TURN[:, :2])],
    properties=[
        ("shape", lambda f: np.shape(f(_MANY, _TURN[:, :2])) == (4, 2), "the gradient has the shape of W"),
        ("at rest", _perfect, "where every x̂ equals x, the gradient should be 0: look at the error x̂ − x"),
        ("a small step", _slopes, "the loss does not change by your gradient times the step when W takes a small step; W occurs twice, "
                                  "in the encoder and in "
                                  "the decoder, and the loss sums over the columns and averages over the rows")])

# --- robbins ---


def _two_kinds(f):
    """Half of the people have the rate 0.5, half the rate 3; by Bayes, one x at a time."""
    x, rates = np.arange(9), np.array([0.5, 3.0])
    joint = 0.5 * stats.poisson.pmf(x[:, None], rates)
    return np.allclose(f(1e6 * joint.sum(axis=1)), (joint @ rates / joint.sum(axis=1))[:-1])


robbins = Check(
    "robbins", None, [(np.array([50, 20, 0, 1]),)],
    properties=[
        ("one shorter", lambda f: np.shape(f(np.array([50, 20, 5, 1]))) == (3,), "return one number for each x but the last, for which "
        "there is no next count"),
        ("nobody there", lambda f: np.array_equal(np.isnan(f(np.array([50, 20, 0, 1]))), [False, False, True]),
         "nan belongs where nobody has x accidents, and nowhere else"),
        ("two kinds of people", _two_kinds, "for a town with only two rates, 0.5 and 3, Bayes' rule gives other posterior means than "
                                            "yours; look again at what "
                                            "λ p(x | λ) has to do with p(x + 1 | λ)")])

# --- noise_sd ---

_ERRORS = 0.7 * np.random.default_rng(8).standard_normal((10_000, 4))


def _doubled(f):
    (s, log_p), (s2, log_p2) = f(_MANY, _MANY + _ERRORS[:30]), f(_MANY, _MANY + 2 * _ERRORS[:30])
    return np.isclose(s2, 2 * s) and np.isclose(log_p - log_p2, 4 * np.log(2))


def _twice(f):
    return np.allclose(f(np.tile(_MANY, (2, 1)), np.tile(_MANY + _ERRORS[:30], (2, 1))), f(_MANY, _MANY + _ERRORS[:30]))


noise_sd = Check(
    "noise_sd", None, [(_MANY, _MANY + _ERRORS[:30])],
    properties=[
        ("known noise", lambda f: abs(f(0 * _ERRORS, _ERRORS)[0] / 0.7 - 1) < 0.02, "errors that were drawn with the sd 0.7 should give "
        "an s near 0.7"),
        ("all one off", lambda f: np.isclose(f(_MANY, _MANY + 1)[0], 1), "if every number is off by exactly 1, s should be 1: errors "
        "are measured around 0"),
        ("twice the rows", _twice, "the same rows twice should change neither s nor the average log p of a row"),
        ("twice the error", _doubled, "twice the errors: s should double, and log p of a row should fall by log 2 for each of its D "
                                      "columns")])
