"""Instant checks of homework 04: what must hold of a right answer, and no right answer."""

import numpy as np
from scipy import stats

from . import Check

# --- elbo_and_gap ---

_LOG_JOINT, _Q = np.array([-2.0, -1.0, -3.5]), np.array([0.2, 0.5, 0.3])


def _sure(f):
    elbo, gap = f(_LOG_JOINT, np.array([0.0, 0.0, 1.0]))
    return np.isclose(elbo, -3.5) and np.isfinite(gap)


def _same_total(f):
    totals = [sum(f(_LOG_JOINT, np.array(q))) for q in ([0.2, 0.5, 0.3], [1/3, 1/3, 1/3], [0.7, 0.1, 0.2])]
    return np.allclose(totals, totals[0])


def _at_posterior(f):
    joint = np.exp(_LOG_JOINT)
    return np.isclose(f(_LOG_JOINT, joint / joint.sum())[1], 0, atol=1e-9)


elbo_and_gap = Check(
    "elbo_and_gap", None, [(_LOG_JOINT, _Q)],
    properties=[
        ("one z", _sure,
         "if q is sure of one z, the ELBO is the log-joint there (in nats); 0 log 0 counts as 0, and the gap is finite"),
        ("posterior", _at_posterior, "if q is the posterior, the gap is 0"),
        ("total", _same_total, "ELBO + gap should be the same number for every q: log p(x)"),
        ("gap", lambda f: f(_LOG_JOINT, _Q)[1] > 0, "the gap should not be negative"),
        ("far down", lambda f: np.allclose(f(_LOG_JOINT - 3000, _Q), np.array(f(_LOG_JOINT, _Q)) - [3000, 0]),
         "3000 taken off the log-joint should lower the ELBO by 3000 and leave the gap: use logsumexp")])

# --- rates_update ---

_X, _R = np.array([7, 5, 1, 2, 0]), np.array([0.1, 0.6, 0.2, 0.1])


def _totals(f):
    alpha, beta = f(_X, _R, 2.0, 0.5)
    return np.isclose(np.sum(alpha), 4 + 15) and np.isclose(np.sum(beta), 1 + 5)


def _averages(f):
    one, other, both = (np.array(f(_X, np.array(r), 2.0, 0.5)) for r in ([1.0, 0, 0, 0], [0, 0, 0, 1.0], [0.7, 0, 0, 0.3]))
    return np.allclose(both, 0.7 * one + 0.3 * other)


rates_update = Check(
    "rates_update", None, [(_X, _R, 2.0, 0.5)],
    properties=[
        ("sure of day 2", lambda f: np.allclose(f(_X, np.array([0, 1.0, 0, 0]), 2.0, 0.5)[0], [2 + 7 + 5, 2 + 1 + 2 + 0]),
         "if the change is surely after day 2, the first rate has the counts of days 1 and 2, the second those of the rest, each with "
         "the prior's a"),
        ("totals", _totals, "both α together should hold every count once and a twice; both β every day once and b twice"),
        ("average", _averages, "for a q(τ) that is 70 % sure of one day and 30 % of another, the results should be the averages of "
                               "those for the two days")])

# --- change_update ---

_ALPHA, _BETA = np.array([3.0, 2.0]), np.array([0.5, 0.8])


def _turned_round(f):
    there, back = f(_X, _ALPHA, _BETA), f(_X[::-1], _ALPHA[::-1], _BETA[::-1])
    return np.allclose(there, np.asarray(back)[::-1])


def _by_draws(f):
    """Moving day 2 from the second rate to the first changes log q(τ) by an average that draws can estimate."""
    rng = np.random.default_rng(4)
    first, second = (rng.gamma(a, 1 / b, 200_000) for a, b in zip(_ALPHA, _BETA))
    r = f(_X, _ALPHA, _BETA)
    gain = stats.poisson.logpmf(_X[1], first) - stats.poisson.logpmf(_X[1], second)
    return abs(np.log(r[1] / r[0]) - gain.mean()) < 5 * gain.std() / np.sqrt(len(gain))


change_update = Check(
    "change_update", None, [(_X, _ALPHA, _BETA)],
    properties=[
        ("sums to 1", lambda f: np.shape(f(_X, _ALPHA, _BETA)) == (4,) and np.isclose(np.sum(f(_X, _ALPHA, _BETA)), 1),
         "q(τ) has one entry for each τ = 1, …, N − 1, and they sum to 1"),
        ("equal rates", lambda f: np.allclose(f(_X, np.array([3.0, 3.0]), np.array([0.5, 0.5])), 0.25),
         "if both rates are alike, no day is more probable"),
        ("turned round", _turned_round, "with the days in reverse order and the two rates exchanged, q(τ) should be reversed; to which "
                                        "rate does day τ belong?"),
        ("draws", _by_draws, "200,000 draws of both rates give another value of E[log p(x₂ | λ₁) − log p(x₂ | λ₂)], by which log q(τ = "
                             "2) exceeds log q(τ = 1)"),
        ("large counts", lambda f: np.all(np.isfinite(f(np.full(300, 70), 10 * _ALPHA, _BETA))),
         "300 days of large counts give nan: use logarithms until the end")])

# --- cavi_change ---

_SERIES = np.array([6, 9, 4, 8, 5, 6, 3, 4, 5, 2, 4, 3])


def _at_rest(f):
    one, many, more = (np.concatenate(f(_SERIES, 2.0, 0.5, n)) for n in (1, 300, 301))
    return np.allclose(many, more) and not np.allclose(one, many, atol=1e-3)


def _once_each(f):
    _, alpha, beta = f(_SERIES, 2.0, 0.5, 5)
    return np.isclose(np.sum(alpha), 4 + _SERIES.sum()) and np.isclose(np.sum(beta), 1 + len(_SERIES))


def _one_sweep(f):
    r, _, beta = f(_SERIES, 2.0, 0.5, 1)
    return np.allclose(beta, 6.5) and np.ptp(r) > 0.01


def _still_open(f):
    return all(np.min(f(_SERIES, 2.0, 0.5, n)[0]) > 0 for n in (1, 4))


def _second_sweep(f):
    return not np.allclose(f(_SERIES, 2.0, 0.5, 1)[0], f(_SERIES, 2.0, 0.5, 2)[0], atol=1e-4)


def _no_jump(f):
    """Two sweeps use rates that one sweep's q(tau) gives: expected days before the change."""
    r = np.asarray(f(_SERIES, 2.0, 0.5, 1)[0])
    return np.isclose(f(_SERIES, 2.0, 0.5, 2)[2][0], 0.5 + r @ np.arange(1, 12))


cavi_change = Check(
    "cavi_change", None, [(_SERIES, 2.0, 0.5, 1), (_SERIES, 2.0, 0.5, 4)],
    properties=[
        ("each count once", _once_each, "both α together should hold every count once and a twice, after any number of sweeps: the "
                                        "prior stays the prior"),
        ("one sweep", _one_sweep, "in the first sweep the rates come from the uniform q(τ), which gives both the same β here, and then "
                                  "q(τ) is no longer uniform"),
        ("still open", _still_open, "twelve days with so gentle a drop rule no day out: every entry of q(τ) should stay above 0"),
        ("second sweep", _second_sweep, "the second sweep should change q(τ); does its update see the newest α and β?"),
        ("handed on", _no_jump, "in the second sweep, the first rate's β should be b plus the mean of τ under the whole q(τ) of the "
                                "first sweep"),
        ("at rest", _at_rest, "after 300 sweeps nothing should change any more, and it should not be where one sweep has led")])

# --- laplace_logit ---


def _on_a_grid(f):
    """Three heads and one tail, flat-ish prior: the density of u from that of z and the slope of z(u), all on a grid."""
    m, s2, _ = f(3, 1, 2.0, 1.5)
    u = np.linspace(-3, 6, 18_001)
    z = 1 / (1 + np.exp(-u))
    log_p = stats.beta.logpdf(z, 2.0, 1.5) + stats.binom.logpmf(3, 4, z) + np.log(np.gradient(z, u))
    top = np.argmax(log_p)
    bend = -(log_p[top + 100] - 2 * log_p[top] + log_p[top - 100]) / (u[100] - u[0])**2
    return abs(m - u[top]) < 1e-3 and abs(s2 * bend - 1) < 0.01


def _area(f):
    z = np.linspace(0, 1, 20_001)[1:-1]
    log_p = stats.beta.logpdf(z, 2.0, 3.0) + 60 * np.log(z) + 40 * np.log(1 - z)
    return abs(f(60, 40, 2.0, 3.0)[2] - log_p.max() - np.log(np.trapezoid(np.exp(log_p - log_p.max()), z))) < 0.02


def _sides(f):
    one, other = f(7, 2, 2.0, 3.0), f(2, 7, 3.0, 2.0)
    return np.allclose(one, np.array(other) * [-1, 1, 1])


laplace_logit = Check(
    "laplace_logit", None, [(3, 1, 2.0, 1.5)],
    properties=[
        ("heads and tails", _sides, "with heads and tails exchanged, in the tosses and in the prior, m changes its sign and nothing "
                                    "else changes"),
        ("peak", _on_a_grid, "on a fine grid the density of u has its peak, or its curvature there, elsewhere: it is p(z) · dz/du, and "
                             "s² is a variance"),
        ("area", _area, "for 100 tosses the approximate log-evidence should be within 0.02 of the area on a grid: height, width and the "
                        "prior's constant all count")])

# --- best_pair ---


def _two_pairs(f):
    Lambda = np.zeros((4, 4))
    for block, rho in ((np.ix_([0, 2], [0, 2]), 0.9), (np.ix_([1, 3], [1, 3]), 0.5)):
        Lambda[block] = np.linalg.inv([[1, rho], [rho, 1]])
    i, j, gap = f(Lambda)
    return (i, j) == (0, 2) and np.isclose(gap, -0.5 * np.log(1 - 0.5**2))


def _units(f):
    Lambda, scale = np.array([[2.0, 0.9, 0.3], [0.9, 1.5, -0.2], [0.3, -0.2, 1.0]]), np.array([0.1, 1.0, 20.0])
    return np.allclose(f(Lambda), f(Lambda * np.outer(scale, scale)))


def _given_the_others(f):
    """The largest partial correlation is that of 0 and 2, the largest correlation that of 1 and 3."""
    Lambda = np.array([[1.0, -0.4, 0.6, 0.3], [-0.4, 1.0, -0.3, 0.4], [0.6, -0.3, 1.0, 0.4], [0.3, 0.4, 0.4, 1.0]])
    return tuple(f(Lambda)[:2]) == (0, 2)


best_pair = Check(
    "best_pair", None, [(np.array([[2.0, 0.9, 0.3], [0.9, 1.5, -0.2], [0.3, -0.2, 1.0]]),)],
    properties=[
        ("two latents", lambda f: np.allclose(f(np.array([[2.0, 1.2], [1.2, 3.0]])), [0, 1, 0], atol=1e-9),
         "with two latents the pair is everything, and no gap is left"),
        ("two pairs", _two_pairs, "two separate pairs with correlations 0.9 and 0.5: keep the first together, and what is left is the "
                                  "lesson's gap of the second"),
        ("units", _units, "other units for the latents change Λ, but neither the pair nor the gap"),
        ("given the others", _given_the_others, "what counts is how strongly two latents depend on each other when the others are "
                                                "known; compare the gaps of all pairs")])
