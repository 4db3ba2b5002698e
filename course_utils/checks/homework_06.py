"""Instant checks of homework 06: properties of the answers, not the answers."""

import itertools

import numpy as np

from . import Check


def _close(a, b, tol=1e-8):
    return np.shape(a) == np.shape(b) and np.allclose(np.asarray(a, float), b, rtol=tol, atol=tol)


# ---- 1 ---------------------------------------------------------------------------------------------------------------
def _four(seed=61, shape=(3, 2)):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.8, shape) for _ in range(4)]


def _like_draws(rate, mu, logvar, mu0, logvar0):
    """One latent: the mean of log q − log p over 200,000 draws of q, within five standard errors."""
    z = mu + np.exp(logvar / 2) * np.random.default_rng(610).standard_normal(200_000)
    difference = 0.5 * ((z - mu0)**2 / np.exp(logvar0) - (z - mu)**2 / np.exp(logvar) + logvar0 - logvar)
    return abs(rate - difference.mean()) < 5 * difference.std() / np.sqrt(z.size)


def _one_latent(f):
    return all(_like_draws(np.asarray(f(*[np.array([v]) for v in case])), *case) for case in ((0.7, -0.6, -0.4, 0.9), (0.0, 0.8,
        0.5, -0.5)))


def _latents_add_up(f):
    four = _four()
    return _close(f(*four), f(*[a[:, :1] for a in four]) + f(*[a[:, 1:] for a in four]))


def _same_place(f):
    m, v, m0, v0 = _four()
    return _close(f(m + 3, v, m0 + 3, v0), f(m, v, m0, v0)) and _close(f(2 * m, v + np.log(4), 2 * m0, v0 + np.log(4)), f(m, v, m0, v0))


rate_to_prior = Check(
    "rate_to_prior", None, [tuple(_four())],
    properties=[
        ("one for each row", lambda f: np.shape(f(*_four())) == (3,) and np.shape(f(*_four()[:2], np.zeros(2), np.zeros(2))) == (3,),
         "for three rows of two latents it should return three numbers, also when all rows share one prior"),
        ("zero", lambda f: _close(f(*_four()[:2], *_four()[:2]), np.zeros(3)), "where q is the prior, the rate must be 0"),
        ("units", _same_place, "moving both means, or doubling both means and both standard deviations, must change nothing"),
        ("draws", _one_latent,
         "for one latent it is not the mean of log q(z) − log p(z) over draws of q: which of the two stands first, and is logvar log σ²?"),
        ("sum", _latents_add_up, "the rate of two latents must be the sum of their rates")])


# ---- 2 ---------------------------------------------------------------------------------------------------------------
def _all_images(f):
    """All 3² images of two pixels: their probabilities, whatever the decoder says, sum to 1."""
    x = np.array(list(itertools.product(range(3), repeat=2)))
    logits = np.broadcast_to(np.random.default_rng(62).normal(0, 2, (2, 3)), (9, 2, 3))
    return abs(np.exp(np.asarray(f(logits, x))).sum() - 1) < 1e-9


def _odds(f):
    """Another ink at one pixel changes log p by the difference of two logits of that pixel."""
    logits, x = np.random.default_rng(620).normal(0, 2, (2, 4, 5)), np.array([[0, 1, 2, 3], [4, 3, 2, 1]])
    other = x.copy()
    other[:, 2] = 4
    return _close(np.asarray(f(logits, other)) - np.asarray(f(logits, x)), logits[:, 2, 4] - logits[:, 2, 2])


def _sure(f):
    logits = np.array([[[800.0, 0.0, -800.0], [0.0, 0.0, 0.0]]])
    return _close(f(logits, np.array([[0, 1]])), f(np.zeros((1, 1, 3)),
        np.array([[1]]))) and np.all(np.isfinite(f(logits, np.array([[2, 1]]))))


ink_loglik = Check(
    "ink_loglik", None, [(np.random.default_rng(621).normal(size=(3, 4, 5)), np.array([[0, 1, 2, 3], [4, 4, 0, 1], [2, 2, 2, 2]]))],
    properties=[
        ("one for each image", lambda f: np.shape(f(np.zeros((3, 4, 5)), np.zeros((3, 4), int))) == (3,),
         "for three images it should return three numbers"),
        ("sums to one", _all_images,
         "of two pixels with three inks there are nine images; their probabilities should sum to 1, and yours do not"),
        ("odds", _odds, "changing one pixel's ink must change log p by the difference of that pixel's two logits"),
        ("sure", _sure, "logits of ±800 break it: never form p, stay with logarithms")])


# ---- 3 ---------------------------------------------------------------------------------------------------------------
def _linear(k, seed=63):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 5)), rng.normal(size=(5, k)), 0.4


def _obeys_bayes(f, k):
    """log p(z) + log p(x | z) − log of the returned Gaussian at z is log p(x): the same for every z."""
    X, W, s2 = _linear(k)
    means, cov = (np.asarray(a, float) for a in f(X, W, s2))
    z = np.random.default_rng(630).normal(size=(7, k))
    for x, mean in zip(X, means):
        d = z - mean
        log_ratio = -(z**2).sum(1) / 2 - ((x - z @ W.T)**2).sum(1) / (2 * s2) + np.einsum("ni,ij,nj->n", d, np.linalg.inv(cov), d) / 2
        if np.ptp(log_ratio) > 1e-6:
            return False
    return True


def _shapes(f):
    means, cov = f(*_linear(2))
    return np.shape(means) == (3, 2) and np.shape(cov) == (2, 2)


def _nothing_to_see(f):
    means, cov = f(np.ones((2, 4)), np.zeros((4, 2)), 0.3)
    return _close(means, np.zeros((2, 2))) and _close(cov, np.eye(2))


linear_posterior = Check(
    "linear_posterior", None, [_linear(2)],
    properties=[
        ("shapes", _shapes, "the means are (N, k), and the covariance, one for all images, is (k, k)"),
        ("nothing to see", _nothing_to_see, "if W is 0 an image says nothing about z, and the posterior must be the prior N(0, I)"),
        ("Bayes, one latent", lambda f: _obeys_bayes(f, 1),
         "with one latent, log p(z) + log p(x | z) minus the logarithm of your posterior should be the same for every z; it is not"),
        ("Bayes, two latents", lambda f: _obeys_bayes(f, 2), "right for one latent, but not for two whose columns of W overlap")])


# ---- 4 ---------------------------------------------------------------------------------------------------------------
def _codes(seed=64):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), rng.uniform(0.1, 0.9, (4, 2))


def _no_other_is_better(f, case):
    """The ELBO's terms with σ², averaged over 20,000 draws and their mirror images, at the answer and 5 % beside it."""
    X, W, mu, v = case
    eps = np.random.default_rng(640).standard_normal((20_000, *mu.shape))
    squares = np.mean([((X - (mu + sign * np.sqrt(v) * eps) @ W.T)**2).sum(axis=(1, 2)).mean() for sign in (1, -1)])
    elbo = [-squares / (2 * s2) - X.size / 2 * np.log(s2) for s2 in f(*case) * np.array([1.0, 0.95, 1.05])]
    return elbo[0] > max(elbo[1:])


def _pixels_twice(f):
    X, W, mu, v = _codes()
    return _close(f(np.hstack([X, X]), np.vstack([W, W]), mu, v),
        f(X, W, mu, v)) and _close(f(*[np.vstack([a, a]) if a is not W else W for a in (X, W, mu, v)]), f(X, W, mu, v))


best_sigma2 = Check(
    "best_sigma2", None, [_codes()],
    properties=[
        ("number", lambda f: np.ndim(f(*_codes())) == 0 and f(*_codes()) > 0, "σ² is one positive number for all pixels"),
        ("grey values", lambda f: _close(f(3 * _codes()[0], 3 * _codes()[1], *_codes()[2:]), 9 * f(*_codes())),
         "grey values three times as large need a variance nine times as large"),
        ("twice", _pixels_twice, "the same pixels, or the same images, taken twice must not change the noise of a pixel"),
        ("perfect means", lambda f: f(*(lambda X, W, mu, v: (mu @ W.T, W, mu, v))(*_codes())) > 0.1,
         "even if every mean is decoded perfectly, the draws scatter"),
        ("no other is better", lambda f: _no_other_is_better(f, _codes()),
         "over draws from the codes, a σ² that is 5 % smaller or larger has a higher ELBO than yours"),
        ("bad codes", lambda f: _no_other_is_better(f, _codes(65)),
         "over draws from another set of codes, a σ² that is 5 % smaller or larger has a higher ELBO than yours")])


# ---- 5 ---------------------------------------------------------------------------------------------------------------
def _batch(S=2, seed=66):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 4))
    return x, x + rng.normal(size=(S, 3, 4)), rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), 0.6


def _is_a_density(f):
    """One pixel, q = prior: exp(−loss) over all grey values must be a density."""
    x = np.linspace(-9, 9, 181)
    p = [np.exp(-f(np.array([[v]]), np.full((1, 1, 1), 0.3), np.zeros((1, 2)), np.zeros((1, 2)), 0.7, 1.0)) for v in x]
    spread = np.trapezoid(p * (x - 0.3)**2, x)
    return abs(np.trapezoid(p, x) - 1) < 1e-6 and abs(spread - 0.7) < 1e-5


def _slope_is_a_kl(f):
    """One latent: what β adds is the mean of log q − log p over draws."""
    x, h, s2 = np.zeros((1, 2)), np.ones((1, 1, 2)), 0.5
    added = [f(x, h, np.array([[m]]), np.array([[v]]), s2, 3.0) - f(x, h, np.array([[m]]), np.array([[v]]), s2, 1.0) for m,
        v in ((0.8, -1.0), (-0.3, 0.7))]
    return all(_like_draws(a / 2, m, v, 0.0, 0.0) for a, (m, v) in zip(added, ((0.8, -1.0), (-0.3, 0.7))))


def _beta_leaves_pixels_alone(f):
    """With q = prior there is nothing for β to weigh."""
    x, h, mu, lv, s2 = _batch()
    return _close(f(x, h, 0 * mu, 0 * lv, s2, 4.0), f(x, h, 0 * mu, 0 * lv, s2, 0.5))


def _twice(f, what):
    x, h, mu, lv, s2 = _batch()
    one, zero = f(x, h, mu, lv, s2, 1.0), f(x, h, mu, lv, s2, 0.0)
    if what == "images":
        return _close(f(np.tile(x, (2, 1)), np.tile(h, (1, 2, 1)), np.tile(mu, (2, 1)), np.tile(lv, (2, 1)), s2, 1.0), one)
    if what == "draws":
        return _close(f(x, np.tile(h, (2, 1, 1)), mu, lv, s2, 1.0), one)
    if what == "pixels":
        return _close(f(np.tile(x, 2), np.tile(h, 2), mu, lv, s2, 0.0), 2 * zero)
    return _close(f(x, h, np.tile(mu, 2), np.tile(lv, 2), s2, 1.0) - zero, 2 * (one - zero))


batch_loss = Check(
    "batch_loss", None, [(*_batch(), 1.0), (*_batch(1), 0.5)],
    properties=[
        ("number", lambda f: np.ndim(f(*_batch(), 1.0)) == 0, "the loss of a batch is one number"),
        ("images twice", lambda f: _twice(f, "images"), "the same images taken twice must not change the loss: mean over images"),
        ("pixels twice", lambda f: _twice(f, "pixels"), "at β = 0, the same pixels taken twice must double the loss: sum over pixels"),
        ("latents twice", lambda f: _twice(f, "latents"), "the same latents taken twice must double what the KL adds: sum over latents"),
        ("draws twice", lambda f: _twice(f, "draws"), "the same draws taken twice must not change the loss: mean over draws"),
        ("beta", _beta_leaves_pixels_alone, "where q is the prior, β must make no difference"),
        ("density", _is_a_density,
         "for one pixel and q = prior, e^−loss should be a density over the grey values, with variance sigma2; yours is not"),
        ("slope", _slope_is_a_kl, "what β adds should be the KL of q to N(0, 1), as draws estimate it: look at its sign, and at logvar")])


# ---- 6 ---------------------------------------------------------------------------------------------------------------
_LAKE = np.array([0.2, 3.0, 0.05, 1.2, 0.6])


def _right_rate(f):
    return all(abs(0.5 * np.log(np.maximum(_LAKE / f(_LAKE, R)[0], 1)).sum() - R) < 1e-6 for R in (0.1, 0.7, 1.5, 6.0))


def _any_order(f):
    return all(_close(f(_LAKE[order], 0.9), f(_LAKE, 0.9), 1e-7) for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 4, 0, 2]))


def _price(f):
    """At the margin a nat saves twice the level in squared error."""
    return all(abs((f(_LAKE, R + 1e-3)[1] - f(_LAKE, R - 1e-3)[1]) / 2e-3 + 2 * f(_LAKE, R)[0]) < 1e-3 * f(_LAKE, R)[0] for R in (0.15, 0.8,
        5.0))


fill_to_rate = Check(
    "fill_to_rate", None, [(_LAKE, 0.7)],
    properties=[
        ("two numbers", lambda f: np.shape(f(_LAKE, 0.7)) == (2,), "it should return two numbers, the level and the squared error"),
        ("one axis", lambda f: abs(0.5 * np.log(2.0 / f(np.array([2.0]), 0.8)[0]) - 0.8) < 1e-7,
         "already with one axis of variance λ, ½ log(λ/level) is not R"),
        ("order", _any_order, "the order in which the variances come must not matter"),
        ("rate", _right_rate,
         "put your level into the lesson's rate, Σ ½ log⁺(λ/level): it should give R back, also when some axes are under water"),
        ("no rate", lambda f: abs(f(_LAKE, 1e-9)[1] - _LAKE.sum()) < 1e-6, "when nothing is sent, the whole variance is the error"),
        ("price", _price,
         "one more nat should lower the squared error at the rate of twice the level (why?); yours does not: what is the error of an axis "
         "above, and of one below?")])
