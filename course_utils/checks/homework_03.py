"""Instant checks of homework 03: what must hold of a right answer, and no right answer."""

import numpy as np
from scipy import stats
from scipy.special import rel_entr

from ..models import kl_normal
from . import Check

# --- kl_gamma ---


def _by_draws(f):
    for (a1, b1), (a2, b2), seed in (((2.0, 1.0), (4.0, 1.5), 1), ((3.0, 2.0), (1.5, 0.7), 2)):
        z = np.random.default_rng(seed).gamma(a1, 1 / b1, 40_000)
        cost = stats.gamma.logpdf(z, a1, scale=1 / b1) - stats.gamma.logpdf(z, a2, scale=1 / b2)
        if abs(f(a1, b1, a2, b2) - cost.mean()) > 5 * cost.std() / 200:
            return False
    return True


def _units(f):
    return np.isclose(f(2.0, 1.0, 4.0, 1.5), f(2.0, 60.0, 4.0, 90.0))


kl_gamma = Check(
    "kl_gamma", None, [(2.0, 1.0, 4.0, 1.5), (np.array([1.0, 2.0]), np.array([1.0, 0.5]), np.array([2.0, 3.0]), np.array([1.0, 1.0]))],
    properties=[
        ("equal", lambda f: np.isclose(f(2.5, 0.7, 2.5, 0.7), 0), "the KL of a density to itself should be 0"),
        ("units", _units, "hours in place of minutes multiply both rates by 60 and change no KL"),
        ("elementwise", lambda f: np.shape(f(np.ones(3), np.ones(3), np.full(3, 2.0), np.ones(3))) == (3,),
         "arrays should be answered entry by entry"),
        ("draws", _by_draws, "40,000 draws from the first density, scored by both, give another number: which density do a₁, b₁ belong "
                             "to, is b a rate, and "
                             "is E[log z] right?")])

# --- kl_parts ---

_P = np.array([[0.10, 0.25, 0.15], [0.30, 0.05, 0.15]])
_Q = np.array([[0.20, 0.10, 0.20], [0.15, 0.25, 0.10]])


def _same_conditionals(f):
    """p(z | x) = q(z | x), and p(x) is not q(x)."""
    return np.allclose(f(_P, _P / _P.sum(axis=0) * [0.5, 0.2, 0.3])[2], 0, atol=1e-9)


def _same_marginals(f):
    return np.allclose(f(_P, _Q / _Q.sum(axis=0) * _P.sum(axis=0))[1], 0, atol=1e-9)


def _rare_column(f):
    """The conditionals differ in a column only that p almost never draws."""
    p = np.array([[0.5, 0.5e-9], [0.5, 0.5e-9]])
    q = np.array([[0.25, 0.4], [0.25, 0.1]])
    return f(p, q)[2] < 1e-6


def _one_nat(f):
    joint, _, conditional = f(np.array([[1.0], [0.0]]), np.array([[np.exp(-1)], [1 - np.exp(-1)]]))
    return np.isclose(joint, 1) and np.isclose(conditional, 1)


kl_parts = Check(
    "kl_parts", None, [(_P, _Q)],
    properties=[
        ("chain rule", lambda f: np.isclose(f(_P, _Q)[0], f(_P, _Q)[1] + f(_P, _Q)[2]), "the first result should be the sum of the "
        "other two"),
        ("same conditionals", _same_conditionals, "where p(z | x) = q(z | x) in every column, the third result should be 0: each column "
                                                  "of a table is one x"),
        ("same marginals", _same_marginals, "where p(x) = q(x), the second result should be 0: each column of a table is one x"),
        ("rare column", _rare_column, "an x that p almost never draws should hardly count in the third result"),
        ("one nat", _one_nat, "p is sure of one outcome, and q gives it the probability 1/e: that is exactly 1 nat; an outcome with p = "
                              "0 costs nothing"),
        ("no column", lambda f: np.all(np.isfinite(f(np.array([[0.0, 0.4], [0.0, 0.6]]), _Q[:, :2] / _Q[:, :2].sum()))),
         "an x that p never draws should cost nothing; look for 0 log 0 and for 0/0")])

# --- js_bits ---

_W = np.array([0.5, 0.3, 0.2])
_ROWS = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])


def _sure_weight(f):
    return f(_ROWS[:2], np.array([1 - 1e-9, 1e-9])) < 1e-6


def _merged(f):
    """Equal rows may be merged, if their weights are added."""
    return np.isclose(f(_ROWS[[0, 0, 1]], _W), f(_ROWS[:2], np.array([0.8, 0.2])))


js_bits = Check(
    "js_bits", None, [(_ROWS, _W)],
    properties=[
        ("equal rows", lambda f: np.isclose(f(_ROWS[[1, 1, 1]], _W), 0, atol=1e-9), "if all rows are equal, the divergence should be 0"),
        ("four corners", lambda f: np.isclose(f(np.eye(4), np.full(4, 0.25)), 2),
         "four rows without a common outcome: one draw tells which row it came from, and to name one of four takes 2 bits"),
        ("one sure row", _sure_weight, "if one row has nearly all the weight, there is nearly nothing to tell apart, so the divergence "
                                       "is near 0"),
        ("merged rows", _merged, "two equal rows may be merged by adding their weights, without changing the divergence"),
        ("bounded", lambda f: 0 < f(_ROWS, _W) < stats.entropy(_W, base=2), "the divergence should lie between 0 and the entropy of the "
        "weights")])

# --- project_gamma ---

_Z, _WZ = np.array([0.2, 0.7, 1.5, 6.0]), np.array([0.1, 0.4, 0.3, 0.2])


def _no_better_neighbour(f):
    a, b = f(_Z, _WZ)
    fit = [_WZ @ stats.gamma.logpdf(_Z, a * da, scale=1 / (b * db)) for da in (0.999, 1, 1.001) for db in (0.999, 1, 1.001)]
    return np.argmax(fit) == 4


project_gamma = Check(
    "project_gamma", None, [(_Z, _WZ)],
    properties=[
        ("units", lambda f: np.allclose(np.array(f(60 * _Z, _WZ)) * [1, 60], f(_Z, _WZ)), "in minutes instead of hours the shape a "
        "should stay, and the rate b be "
                                                                                       "divided by 60"),
        ("best", _no_better_neighbour, "a gamma density with slightly different a or b has a smaller KL(p ‖ q); set both derivatives of "
                                       "E_p[log q] to zero")])

# --- best_window ---


def _own_window(f):
    i, j, kl = f(np.array([0, 0, 0.25, 0.25, 0.25, 0.25, 0]))
    return (i, j) == (2, 5) and abs(kl) < 1e-9


def _small_tables(f):
    """Three outcomes: six windows, each compared by the definition."""
    for p in ([0.5, 0.3, 0.2], [0.6, 0.0, 0.4], [0.45, 0.1, 0.45], [0.1, 0.45, 0.45], [0.8, 0.15, 0.05]):
        q = [(i, j, (np.arange(3) >= i) * (np.arange(3) <= j) / (j - i + 1)) for i in range(3) for j in range(i, 3)]
        all_kl = {(i, j): rel_entr(w, np.array(p)).sum() for i, j, w in q}
        i, j, kl = f(np.array(p))
        if (i, j) not in all_kl or not np.isclose(kl, all_kl[i, j]) or kl > min(all_kl.values()) + 1e-9:
            return False
    return True


best_window = Check(
    "best_window", None, [(np.array([0.5, 0.3, 0.2]),)],
    properties=[
        ("its own window", _own_window, "if p itself is uniform from 2 to 5, the best window is i = 2, j = 5, both included, and the KL "
                                        "is 0"),
        ("three outcomes", _small_tables, "for some p of three outcomes another window has a smaller KL(q ‖ p), or your KL is not Σ q "
                                          "log(q/p): q is uniform in the "
                                          "window, and it is q that draws")])

# --- forward_from_q ---

_X = np.random.default_rng(9).standard_normal(100_000)
_LOG_Q, _LOG_P = stats.norm.logpdf(_X), stats.norm.logpdf(_X, 0.6, 0.8)


forward_from_q = Check(
    "forward_from_q", None, [(_LOG_P[:50], _LOG_Q[:50])],
    properties=[
        ("equal", lambda f: np.isclose(f(_LOG_Q[:99] + 2, _LOG_Q[:99]), 0, atol=1e-9), "if p̃ is a multiple of q, the KL is 0; look at "
        "Z and at the number of draws"),
        ("constant", lambda f: np.isclose(f(_LOG_P + 5, _LOG_Q), f(_LOG_P, _LOG_Q)), "a constant added to log p̃ should change nothing"),
        ("two Gaussians", lambda f: abs(f(_LOG_P, _LOG_Q) - kl_normal(0.6, 0.8, 0, 1)) < 0.01,
         "100,000 draws of N(0, 1) should give KL(N(0.6, 0.8²) ‖ N(0, 1)) to two digits; who draws in KL(p ‖ q)?"),
        ("far down", lambda f: np.isfinite(f(_LOG_P - 4000, _LOG_Q)), "a constant of −4000 gives nan or inf: subtract the largest log "
        "ratio before exp")])
