"""Instant checks of homework 05: properties of the answers, not the answers."""

import itertools

import numpy as np
from scipy.special import gammaln

from . import Check


def _close(a, b, tol=1e-8):
    return np.allclose(np.asarray(a, float), b, rtol=tol, atol=tol)


def _many(seed=5):
    rng = np.random.default_rng(seed)
    return [(rng.uniform(-6, 0, K), rng.dirichlet(np.ones(K))) for K in (2, 3, 5, 8)]


# ---- 1 ---------------------------------------------------------------------------------------------------------------
def _in_order(f):
    return all(a < b < c for a, b, c in (f(*case) for case in _many()))


def _all_meet(f):
    return all(_close(f(lj, np.exp(lj) / np.exp(lj).sum()), np.log(np.exp(lj).sum())) for lj, _ in _many())


def _moves_along(f, by):
    return all(_close(np.subtract(f(lj + by, q), f(lj, q)), by, 1e-6) for lj, q in _many())


def _uniform_guess(f):
    """For a q that is 1/K everywhere log w is log p(x, z) + log K, so the EUBO is one weighted mean; two values, by hand."""
    return _close(f(np.log([0.1, 0.3]), np.full(2, 0.5))[2], 0.25 * np.log(0.2) + 0.75 * np.log(0.6))


three_numbers = Check(
    "three_numbers", None, _many(),
    properties=[
        ("order", _in_order, "not in order: ELBO < log p(x) < EUBO must hold wherever q is not the posterior"),
        ("meet at the posterior", _all_meet,
         "where q is the posterior, every weight is p(x) and all three numbers are log p(x); yours differ"),
        ("shift", lambda f: _moves_along(f, -3.0), "multiplying p(x, z) by e^−3 must lower all three by 3 nats"),
        ("two values", _uniform_guess, "for two values and q = (½, ½) you can work out the EUBO by hand; yours is another number"),
        ("certain", lambda f: _close(f(np.array([-1.0, -2.0]), np.array([0.0, 1.0]))[0], -2.0)
            and f(np.array([-1.0, -2.0]), np.array([0.0, 1.0]))[2] == np.inf,
         "try a q that is certain, (0, 1): log p(x, z) of its one value is the ELBO, and no finite EUBO bounds from above what q excludes"),
        ("small", lambda f: _moves_along(f, -1500.0), "the log joint may be as low as −1500: take the largest out before exp")])


# ---- 2 ---------------------------------------------------------------------------------------------------------------
def _like_draws(f, x, m, s):
    """The mean of log w over 200,000 draws, within five standard errors."""
    x, z = np.asarray(x), m + s * np.random.default_rng(52).standard_normal(200_000)
    log_w = (x[:, None] * z - np.exp(z) - gammaln(x + 1.0)[:, None]).sum(axis=0) - z**2 / 2 + ((z - m) / s)**2 / 2 + np.log(s)
    return abs(f(x, m, s) - log_w.mean()) < 5 * log_w.std() / np.sqrt(log_w.size)


elbo_counts = Check(
    "elbo_counts", None, [(np.array([0]), 0.0, 1.0), (np.array([2, 0, 3]), 0.5, 0.6)],
    properties=[
        ("number", lambda f: np.ndim(f(np.array([1, 2, 3]), 0.3, 0.5)) == 0, "one number for the whole day, not one for each count"),
        ("count of 0", lambda f: _like_draws(f, [0], -0.4, 0.7),
         "already for one count of 0 it is not the mean of log w over draws: look at the mean of e^z, and at the KL"),
        ("one count", lambda f: _like_draws(f, [5], 0.9, 0.5),
         "for one count of 5 it is not the mean of log w over draws: are all parts of log p(x | z) there?"),
        ("several counts", lambda f: _like_draws(f, [3, 1, 4, 1], 0.7, 0.4),
         "right for one count but not for four: what is summed, and how often is the KL paid?")])


# ---- 3 ---------------------------------------------------------------------------------------------------------------
def _bits(seed=53):
    rng = np.random.default_rng(seed)
    return rng.binomial(1, rng.choice([0.2, 0.7], size=(12, 1)), size=(12, 5)), np.array([0.3, 0.7]), rng.uniform(0.2, 0.8, (2, 5))


def _like_a_table(f):
    """Two records of two positions: exp of the third number is a product of two sums of products, written out."""
    P = np.array([[0.2, 0.6], [0.9, 0.5]])
    first, second = 0.3 * 0.2 * 0.4 + 0.7 * 0.9 * 0.5, 0.3 * 0.8 * 0.4 + 0.7 * 0.1 * 0.5
    return _close(np.exp(f(np.array([[1, 0], [0, 0]]), np.array([0.3, 0.7]), P)[2]), first * second)


def _twins_stay(f):
    """Components that are alike explain every record alike, so the shares stay what they were."""
    X, weights, P = _bits()
    return _close(f(X, weights, P[[0, 0]])[0], weights)


def _keeps_the_mean(f):
    """Heads are neither lost nor made: the new components, mixed, have the data's share of ones at each position."""
    new, P, _ = f(*_bits())
    return _close(np.sum(new), 1) and _close(np.asarray(new) @ np.asarray(P), _bits()[0].mean(axis=0))


def _rests_at_a_top(f):
    X, weights, P = _bits()
    before = -np.inf
    for _ in range(60):
        new, Q, now = f(X, weights, P)
        if now < before - 1e-9 or not np.isfinite(now):
            return False
        weights, P, before = np.asarray(new, float), np.clip(Q, 1e-9, 1 - 1e-9), now
    nearby = [f(X, np.array([w, 1 - w]), P)[2] for w in (weights[0] - 0.02, weights[0] + 0.02)]
    return max(nearby) <= before + 1e-9


em_bits = Check(
    "em_bits", None, [_bits()],
    properties=[
        ("two records", _like_a_table,
         "two records of two tosses you can multiply out by hand; the third number is not their log-likelihood under the old π and P"),
        ("twins", _twins_stay, "two components that are alike: no record can tell them apart, so their weights must stay as they were"),
        ("mean", _keeps_the_mean, "Σ_k π_k P_kd of the new ones must be the share of ones at position d, and the weights must sum to 1"),
        ("top", _rests_at_a_top,
         "sixty rounds do not climb to a top of the likelihood, at which other weights are no better: is everything renewed?"),
        ("long", lambda f: np.isfinite(f(np.ones((3, 4000), int), np.full(2, 0.5), np.tile([[0.5], [0.501]], 4000))[2]),
         "a record of 4,000 tosses gives nan or infinity: stay with logarithms until the ratio is safe")])


# ---- 4 ---------------------------------------------------------------------------------------------------------------
def _less_biased(f):
    """Weights 1 and 3 by the toss of a coin: all 2^K rows at once. log of the mean weight is log 2; what is the mean of J?"""
    rows = {K: np.log(list(itertools.product([1.0, 3.0], repeat=K))) for K in (4, 8)}
    off = [abs(np.mean(np.asarray(f(logw))) - np.log(2)) for logw in rows.values()]
    plain = np.log(np.exp(rows[8]).mean(axis=1)).mean() - np.log(2)
    return off[0] < 0.01 and off[1] < 0.0025 and off[1] < 0.2 * abs(plain)


def _order_does_not_matter(f):
    logw = np.random.default_rng(54).normal(size=(2, 5))
    return _close(f(logw), f(logw[:, [3, 0, 4, 1, 2]])) and np.shape(f(logw)) == (2,)


jackknife = Check(
    "jackknife", None, [(np.zeros((2, 3)),), (np.array([-1.0, -2.0, -0.5]),)],
    properties=[
        ("equal", lambda f: _close(f(np.full((2, 4), -0.7)), [-0.7, -0.7]),
         "when all weights are equal, each rung of the ladder is exact, and so must J be"),
        ("order", _order_does_not_matter, "one number for each row, the same whatever the order of the weights"),
        ("bias", _less_biased,
         "with weights 1 and 3 by the toss of a coin, J should miss log 2 by far less than the bound does, on average; yours does not"),
        ("small", lambda f: _close(f(np.array([-1501.0, -1500.0, -1502.0])) + 1500, f(np.array([-1.0, 0.0, -2.0]))),
         "log weights near −1500 must only shift J: use log_mean_exp")])


# ---- 5 ---------------------------------------------------------------------------------------------------------------
def _tables(seed=55):
    rng = np.random.default_rng(seed)
    for N, K in ((2, 2), (3, 4), (4, 2)):
        yield rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(K), size=N), rng.dirichlet(np.ones(N * K)).reshape(N, K)


def _both_cuts_agree(f):
    return all(_close(a + b, c + d) for a, b, c, d in (f(*t) for t in _tables()))


def _no_gap(f):
    return all(_close(f(d, J / J.sum(axis=1, keepdims=True), J)[0], 0) for d, _, J in _tables())


def _no_misfit(f):
    """Codes that do not depend on n and are spread as the model's prior."""
    return all(_close(f(d, np.tile(J.sum(axis=0), (len(d), 1)), J)[2], 0) for d, _, J in _tables())


def _one_observation(f):
    """Only n = 0 ever occurs: the fit is what the model gives it, in nats."""
    _, P, J = next(_tables())
    return _close(f(np.array([1.0, 0.0]), P, J)[1], -np.log(J[0].sum()))


def _certain_codes(f):
    """Each observation has a code of its own: q(n | z) is certain, and the decoder's surprise is averaged with the codes' frequencies."""
    d, J = np.array([0.2, 0.8]), np.array([[0.4, 0.2], [0.1, 0.3]])
    return _close(f(d, np.eye(2), J)[3], 0.2 * np.log(5 / 4) + 0.8 * np.log(5 / 3))


two_cuts = Check(
    "two_cuts", None, list(_tables()),
    properties=[
        ("never negative", lambda f: all(np.min(f(*t)) >= 0 for t in _tables()),
         "each of the four is a KL or an average of KLs, so none may be negative"),
        ("no gap", _no_gap, "where q(z | x_n) is the posterior p(z | x_n), the gap must be 0"),
        ("no misfit", _no_misfit, "where every code is spread as p(z), the aggregate is p(z) and the misfit, third, must be 0"),
        ("one observation", _one_observation,
         "if only n = 0 ever occurs, the fit, second, is −log p(n = 0) of the model, and no zero may spoil it"),
        ("both cuts", _both_cuts_agree, "gap + fit and misfit + decoder must be the same number"),
        ("certain", _certain_codes,
         "give each observation a code of its own (P = I): then q(n | z) is certain; how often does each code occur?")])
