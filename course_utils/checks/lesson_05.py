"""Checks of lesson 05: the ELBO of two coins and of a Gaussian toy, the importance weighted bound, a round of EM, ELBO surgery."""

from math import log

import numpy as np
from scipy.special import entr, logsumexp, rel_entr
from scipy.stats import multivariate_normal

from . import Check, Mutant

BITS = "the value is in bits; in nats the logarithm is natural, with no division by log 2"
COINS = np.array([0.5**6, 0.5 * 0.9**4 * 0.1])  # p(x, z) for the fair and the bent coin and H H T H H


# ---- 5.1 -------------------------------------------------------------------------------------------------------------
def _q(r):
    return np.stack([1 - np.asarray(r, float), np.asarray(r, float)], axis=-1)


def _coins_oracle(r):
    """The end of the ruler minus the KL to the exact posterior; no entropy, no log joint."""
    return log(COINS.sum()) - rel_entr(_q(r), COINS / COINS.sum()).sum(axis=-1)


def _coins(r, table=COINS, sign=1.0):
    return _q(r) @ np.log(table) + sign * entr(_q(r)).sum(axis=-1)


def _coins_plain(r):
    q = _q(r)
    return (q * (np.log(COINS) - np.log(q))).sum(axis=-1)


elbo_two_coins = Check(
    "elbo_two_coins", _coins_oracle,
    [(0.5,), (COINS[1] / COINS.sum(),), (0.2,), (0.0,), (1.0,), (np.array([0.1, 0.5, 0.9]),), (np.array([[0.0, 0.3], [0.6, 1.0]]),)],
    [Mutant("0 log 0", _coins_plain,
            "right inside, but nan at r = 0 and r = 1: 0 log 0 counts as 0 (scipy's entr knows that)"),
     Mutant("forgot the entropy", lambda r: _coins(r, sign=0.0),
            "that is E_q[log p(x, z)] alone; the entropy H[q] is missing"),
     Mutant("entropy with the wrong sign", lambda r: _coins(r, sign=-1.0),
            "H[q] = −Σ q log q is added, not subtracted: at r = ½ it makes the ELBO larger"),
     Mutant("forgot the prior", lambda r: _coins(r, 2 * COINS),
            "too large by log 2: p(x, z) includes the prior ½ of each coin"),
     Mutant("coins exchanged", lambda r: _coins(1 - np.asarray(r, float)),
            "r is q's belief in the bent coin, the second entry of `coins`; yours gives it to the fair one"),
     Mutant("log of the mean weight", lambda r: np.log(COINS.sum()) + 0 * np.asarray(r, float),
            "that is the log of the mean weight, log p(x), the same for every r; the ELBO is the mean of the log weights"),
     Mutant("minus the KL", lambda r: -rel_entr(_q(r), COINS / COINS.sum()).sum(axis=-1),
            "that is minus the gap; the ELBO is log p(x) minus the gap. Did you put the posterior where the joint belongs?"),
     Mutant("four heads as a count", lambda r: _coins(r, 5 * COINS),
            "too large by log 5: x is the one sequence H H T H H, not any sequence with four heads"),
     Mutant("sum for elementwise", lambda r: np.sum(_coins(r)),
            "for an array of r it should return one ELBO for each; yours adds them up"),
     Mutant("bits", lambda r: _coins(r) / log(2), BITS)])


# ---- 5.2 -------------------------------------------------------------------------------------------------------------
def _lnorm(z, m, s):
    return -0.5 * ((z - m) / s)**2 - np.log(s) - 0.5 * log(2 * np.pi)


@np.vectorize
def _toy_by_gap(m, s, x):
    """log p(x) minus the KL to the exact posterior N(x/2, 1/2), the KL by the trapezoid rule."""
    z = m + s * np.linspace(-12, 12, 2401)
    gap = np.trapezoid(np.exp(_lnorm(z, m, s)) * (_lnorm(z, m, s) - _lnorm(z, x / 2, np.sqrt(0.5))), z)
    return _lnorm(x, 0, np.sqrt(2)) - gap


def _toy_oracle(m, s, x=1.0):
    return _toy_by_gap(m, s, x)[()]


def _rec(m, s, x):
    return -0.5 * log(2 * np.pi) - 0.5 * ((x - m)**2 + s**2)


def _kl0(m, s):
    return -np.log(s) + (s**2 + m**2) / 2 - 0.5


elbo_toy = Check(
    "elbo_toy", _toy_oracle,
    [(0.0, 1.0), (0.5, 0.7071068), (0.2, 0.8), (1.0, 0.5, -0.7), (np.array([0.0, 1.0, -0.5]), np.array([1.0, 0.3, 1.4])),
     (np.array([[0.0], [1.0]]), 0.6, np.array([0.0, 2.0]))],
    [Mutant("forgot the spread in the reconstruction", lambda m, s, x=1.0: _rec(m, 0.0, x) - _kl0(m, s),
            "E_q[(x − z)²] is not (x − m)² alone: z scatters under q, which adds s²"),
     Mutant("lost the constant", lambda m, s, x=1.0: _rec(m, s, x) - _kl0(m, s) + 0.5 * log(2 * np.pi),
            "too large by 0.919, which is ½ log 2π: log N(x | z, 1) has that constant"),
     Mutant("KL added", lambda m, s, x=1.0: _rec(m, s, x) + _kl0(m, s),
            "the KL to the prior is subtracted from the reconstruction, not added"),
     Mutant("forgot the KL", lambda m, s, x=1.0: _rec(m, s, x) + 0 * _kl0(m, s),
            "that is the reconstruction alone; the KL from q to the prior is missing"),
     Mutant("variance for standard deviation", lambda m, s, x=1.0: _rec(m, np.sqrt(s), x) - _kl0(m, np.sqrt(s)),
            "are you sure that s is σ and not σ²? Here s is a standard deviation and is squared in both terms"),
     Mutant("squared twice", lambda m, s, x=1.0: _rec(m, s**2, x) - _kl0(m, s**2),
            "s is a standard deviation, but it enters as if you had squared it twice (kl_normal takes σ, not σ²)"),
     Mutant("other direction of the KL", lambda m, s, x=1.0: _rec(m, s, x) - (np.log(s) + (1 + m**2) / (2 * s**2) - 0.5),
            "that subtracts D_KL(prior || q); q draws, so q comes first"),
     Mutant("lost the half of the reconstruction", lambda m, s, x=1.0: _rec(m, s, x) - 0.5 * ((x - m)**2 + s**2) - _kl0(m, s),
            "log N(x | z, 1) contains −½ (x − z)², yours has no ½ there"),
     Mutant("lost the half of the KL", lambda m, s, x=1.0: _rec(m, s, x) - 2 * _kl0(m, s),
            "the KL enters twice: its factor ½ is missing"),
     Mutant("x fixed at 1", lambda m, s, x=1.0: _rec(m, s, 1.0) - _kl0(m, s) + 0 * np.asarray(x, float),
            "right for x = 1, but x is an argument: use it"),
     Mutant("sum for elementwise", lambda m, s, x=1.0: np.sum(_rec(m, s, x) - _kl0(m, s)),
            "for arrays it should return one ELBO for each element; yours adds them up"),
     Mutant("bits", lambda m, s, x=1.0: (_rec(m, s, x) - _kl0(m, s)) / log(2), BITS)])


# ---- 5.3 -------------------------------------------------------------------------------------------------------------
def _iwae_oracle(logw):
    """Pairs are merged one after the other with logaddexp: no maximum is taken out by hand."""
    logw = np.asarray(logw, float)
    total = logw[..., 0]
    for k in range(1, logw.shape[-1]):
        total = np.logaddexp(total, logw[..., k])
    return total - log(logw.shape[-1])


def _a(logw):
    return np.asarray(logw, float)


iwae_from_logw = Check(
    "iwae_from_logw", _iwae_oracle,
    [((-1.0, -2.0, -3.0),), (np.array([-0.5, 0.25]),), (np.array([[-1.0, -4.0, 0.5], [2.0, 2.0, 2.0]]),),
     (np.array([-1000.0, -1001.0, -1002.5]),),
     (np.linspace(-3, 1, 24).reshape(2, 3, 4),), (np.array([[900.0], [-7.0]]),)],
    [Mutant("forgot −log K", lambda logw: logsumexp(_a(logw), axis=-1),
            "too large by log K: the weights are averaged, not added up"),
     Mutant("mean of the logs", lambda logw: _a(logw).mean(axis=-1),
            "that is the mean of the log weights, an estimate of the ELBO; average inside the logarithm"),
     Mutant("exp and mean without taking the largest out", lambda logw: np.log(np.mean(np.exp(_a(logw)), axis=-1)),
            "right for weights near 1, but exp(−1000) is 0 and exp(900) is infinite to a computer: factor the largest out "
            "first (lesson 00)"),
     Mutant("no logarithm", lambda logw: np.mean(np.exp(_a(logw)), axis=-1),
            "that is the mean weight itself; its logarithm is asked for"),
     Mutant("largest weight", lambda logw: _a(logw).max(axis=-1),
            "that is the largest log weight alone; the others count too"),
     Mutant("mean over everything", lambda logw: logsumexp(_a(logw)) - log(_a(logw).size),
            "for an array of shape (…, K) it should average over the last axis only"),
     Mutant("wrong axis", lambda logw: logsumexp(_a(logw), axis=0) - log(_a(logw).shape[0]),
            "that averages over the first axis; the K draws are on the last one"),
     Mutant("log K subtracted twice", lambda logw: logsumexp(_a(logw), axis=-1) - 2 * log(_a(logw).shape[-1]),
            "too small by log K: one division by K is enough"),
     Mutant("bits", lambda logw: (logsumexp(_a(logw), axis=-1) - log(_a(logw).shape[-1])) / log(2), BITS)])


# ---- 5.4 -------------------------------------------------------------------------------------------------------------
def _em_oracle(X, weights, means, covs):
    """scikit-learn, told to stop after one round."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(len(weights), weights_init=weights, means_init=means, precisions_init=np.linalg.inv(covs),
                              reg_covar=0, max_iter=1, tol=0).fit(X)
    return mixture.weights_, mixture.means_, mixture.covariances_


def _em(X, weights, means, covs, prior=True, volume=True, old_mean=False, hard=False, axis=1, less=0, by_n=False, half=0.5, invert=True):
    d = X[:, None] - means
    table = np.log(weights) * prior - half * np.einsum("nkd,kde,nke->nk", d, np.linalg.inv(covs) if invert else covs, d)
    table = table - 0.5 * np.linalg.slogdet(2 * np.pi * covs)[1] * volume
    r = np.exp(table - logsumexp(table, axis=axis, keepdims=True))
    if hard:
        r = np.eye(len(weights))[r.argmax(axis=1)]
    counts = r.sum(axis=0)
    new = r.T @ X / counts[:, None]
    d = X[:, None] - (means if old_mean else new)
    spread = np.einsum("nk,nkd,nke->kde", r, d, d)
    return counts / counts.sum(), new, spread / (len(X) if by_n else counts[:, None, None] - less)


def _em_naive(X, weights, means, covs):
    p = np.stack([w * multivariate_normal(m, S).pdf(X) for w, m, S in zip(weights, means, covs)], axis=1)
    r = p / p.sum(axis=1, keepdims=True)
    covs = [np.cov(X.T, aweights=np.nan_to_num(k), bias=True) + 0 * k.sum() for k in r.T]
    return r.mean(axis=0), r.T @ X / r.sum(axis=0)[:, None], np.array(covs)


def _petals():
    from sklearn.datasets import load_iris

    return load_iris().data[:, 2:]


_X = _petals()
_wide = np.cov(_X.T, bias=True)
_start = (np.full(2, 0.5), _X[[0, 100]], np.array([_wide, _wide]))
_rng = np.random.default_rng(55)
_Y = _rng.normal(size=(60, 3)) * [1.0, 2.0, 0.5] + _rng.integers(3, size=(60, 1))
_far = np.concatenate([_X, [[60.0, 40.0]]])


def _reaches_the_top(student):
    """After 40 rounds from rows 0 and 100 the log-likelihood is that of scikit-learn, and it has never fallen on the way."""
    theta, before = _start, -np.inf
    for k in range(40):
        theta = tuple(np.asarray(t, float) for t in student(_X, *theta))
        if k % 10 == 9:
            now = logsumexp([np.log(w) + multivariate_normal(m, S).logpdf(_X) for w, m, S in zip(*theta)], axis=0).sum()
            if now < before - 1e-9:
                return False
            before = now
    return abs(before - (-218.74524)) < 1e-4


em_step = Check(
    "em_step", _em_oracle,
    [(_X, *_start), (_X, np.array([0.2, 0.8]), _X[[60, 140]], np.array([np.eye(2), [[2.0, 0.5], [0.5, 0.3]]])),
     (_Y, np.array([0.5, 0.3, 0.2]), _Y[:3], np.array([np.eye(3), 2 * np.eye(3), np.diag([1.0, 3.0, 0.5])])),
     (_far, np.full(2, 0.5), _X[[0, 100]], np.array([np.eye(2), np.eye(2)]))],
    [Mutant("underflow", _em_naive,
            "right near the components, but nan for a flower so far away that every π N(x | μ, Σ) is 0: subtract the largest log "
            "before exp"),
     Mutant("old means in the covariance", lambda X, w, m, S: _em(X, w, m, S, old_mean=True),
            "the covariances are taken around the old means; use the new μ_k"),
     Mutant("forgot the weights", lambda X, w, m, S: _em(X, w, m, S, prior=False),
            "the E step forgets π_k: the posterior is prior times likelihood"),
     Mutant("forgot the determinant", lambda X, w, m, S: _em(X, w, m, S, volume=False),
            "the E step forgets −½ log det Σ_k: a wide component has a lower density"),
     Mutant("hard assignment", lambda X, w, m, S: _em(X, w, m, S, hard=True),
            "each flower is given wholly to its likeliest component; r_nk are probabilities, not 0 or 1"),
     Mutant("normalised over the flowers", lambda X, w, m, S: _em(X, w, m, S, axis=0),
            "r is normalised over the flowers n; for each flower it must sum to 1 over the components k"),
     Mutant("N_k − 1", lambda X, w, m, S: _em(X, w, m, S, less=1),
            "the covariance is divided by N_k − 1; the maximum of the ELBO divides by N_k"),
     Mutant("divided by N", lambda X, w, m, S: _em(X, w, m, S, by_n=True),
            "the covariance is divided by N, the number of all flowers; its own share is N_k"),
     Mutant("missing half", lambda X, w, m, S: _em(X, w, m, S, half=1.0),
            "the exponent of a Gaussian is −½ (x − μ)ᵀ Σ⁻¹ (x − μ); the ½ is missing in your E step"),
     Mutant("covariance for precision", lambda X, w, m, S: _em(X, w, m, S, invert=False),
            "the distances in your E step use Σ_k where Σ_k⁻¹ belongs"),
     Mutant("counts for shares", lambda X, w, m, S: (_em(X, w, m, S)[0] * len(X), *_em(X, w, m, S)[1:]),
            "π_k is the share N_k / N; yours is the count N_k"),
     Mutant("standard deviations", lambda X, w, m, S: (*_em(X, w, m, S)[:2], np.sqrt(np.abs(_em(X, w, m, S)[2]))),
            "the third result should be covariances; yours look like their square roots")],
    properties=[("reaches the top", _reaches_the_top,
                 "one round is right, but forty of them from rows 0 and 100 do not end at −218.7452: does it change its arguments, "
                 "or depend on an earlier call?")],
    rtol=1e-6, atol=1e-9)


# ---- 5.5 -------------------------------------------------------------------------------------------------------------
def _surgery_oracle(P, p0):
    """The mutual information from the joint table of n and z; the average KL from cross-entropies."""
    P, p0 = np.asarray(P, float), np.asarray(p0, float)
    joint, bar = P / len(P), P.mean(axis=0)
    information = rel_entr(joint, joint.sum(axis=1, keepdims=True) * bar).sum()
    average = -entr(joint).sum() + log(len(P)) - bar @ np.log(p0)
    return average, information, rel_entr(bar, p0).sum()


def _parts(P, p0, reverse=False):
    P, p0 = np.asarray(P, float), np.asarray(p0, float)
    bar = P.mean(axis=0)
    kl = (lambda a, b: rel_entr(b, a).sum(axis=-1)) if reverse else (lambda a, b: rel_entr(a, b).sum(axis=-1))
    return kl(P, p0).mean(), kl(P, bar).mean(), kl(bar, p0)


def _with_nan(P, p0):
    P, bar = np.asarray(P, float), np.mean(P, axis=0)
    kl = lambda a, b: (a * np.log(a / b)).sum(axis=-1)
    return kl(P, p0).mean(), kl(P, bar).mean(), kl(bar, p0)


def _not_normalised(P, p0):
    average, information, _ = _parts(P, p0)
    return average, information - log(len(P)), rel_entr(np.sum(P, axis=0), p0).sum()


elbo_surgery = Check(
    "elbo_surgery", _surgery_oracle,
    [(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]), np.array([0.5, 0.3, 0.2])),
     (np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]]), np.array([0.5, 0.5])),
     (np.array([[0.3, 0.3, 0.4], [0.3, 0.3, 0.4]]), np.array([0.2, 0.2, 0.6])),
     (np.eye(4), np.full(4, 0.25)), (np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), np.array([0.2, 0.5, 0.3]))],
    [Mutant("0 log 0", _with_nan,
            "right where no entry is 0, but nan where one is: 0 log 0 counts as 0"),
     Mutant("sum over n", lambda P, p0: tuple(np.array(_parts(P, p0)) * [len(P), len(P), 1]),
            "the KLs of the data points should be averaged over n; yours are added up"),
     Mutant("mean over z", lambda P, p0: tuple(np.array(_parts(P, p0)) / len(p0)),
            "a KL is a sum over the classes z; yours is a mean over them (and over n)"),
     Mutant("reverse KLs", lambda P, p0: _parts(P, p0, reverse=True),
            "your KLs have their arguments exchanged: q(z | x_n) draws, so it comes first"),
     Mutant("parts exchanged", lambda P, p0: tuple(np.array(_parts(P, p0))[[0, 2, 1]]),
            "second comes the mutual information, third the KL of the aggregate to the prior; yours are exchanged"),
     Mutant("aggregate is the prior", lambda P, p0: (_parts(P, p0)[0], _parts(P, p0)[0], 0.0),
            "the aggregate is the average of the rows of P, not the prior p0"),
     Mutant("aggregate not normalised", _not_normalised,
            "the aggregate must be a distribution: average the rows, do not add them"),
     Mutant("entropy for information", lambda P, p0: (_parts(P, p0)[0], entr(np.mean(P, axis=0)).sum(), _parts(P, p0)[2]),
            "that is the entropy of the aggregate; the information subtracts the average entropy of the rows from it"),
     Mutant("bits", lambda P, p0: tuple(np.array(_parts(P, p0)) / log(2)), BITS)])
