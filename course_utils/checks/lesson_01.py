"""Checks of lesson 01: the coins' posterior, the Bow's joint density and evidence, guessing, counting parameters."""

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from . import Check, Mutant

# --- posterior_coins: by exact fractions, one toss after the other ---

def _coins_by_tosses(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    belief, evidence = [Fraction(v) for v in prior], Fraction(1)
    for toss in range(flips):
        chance = [Fraction(v) if toss < heads else 1 - Fraction(v) for v in p]
        step = sum(b * c for b, c in zip(belief, chance))
        belief, evidence = [b * c / step for b, c in zip(belief, chance)], evidence * step
    return np.array([float(b) for b in belief]), float(evidence)


def _coins_likelihood(heads, flips, p=(0.5, 0.9)):
    p = np.array(p)
    return p**heads * (1 - p)**(flips - heads)


def _coins(joint, evidence=None):
    return joint / joint.sum(), joint.sum() if evidence is None else evidence


posterior_coins = Check(
    "posterior_coins", _coins_by_tosses,
    [(4, 5), (0, 3), (2, 6, (0.3, 0.6), (0.2, 0.8)), (7, 7, (0.25, 0.75), (0.9, 0.1))],
    [Mutant("prior forgotten", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5): _coins(_coins_likelihood(h, n, p)),
            "the prior p(z) is missing: the joint is p(z) times p(x | z), and the evidence adds joints up"),
     Mutant("prior only in the evidence", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            _coins(_coins_likelihood(h, n, p), (prior * _coins_likelihood(h, n, p)).sum()),
            "the evidence is right, but the posterior ignores the prior p(z); divide the joint, not the likelihood"),
     Mutant("not divided", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            (prior * _coins_likelihood(h, n, p), (prior * _coins_likelihood(h, n, p)).sum()),
            "your first result is the joint p(x, z); divide it by p(x), so that it sums to 1"),
     Mutant("heads and tails swapped", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            _coins(prior * _coins_likelihood(n - h, n, p)),
            "heads and tails are swapped: p_z has the exponent h, and 1 − p_z the exponent n − h"),
     Mutant("tails forgotten", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5): _coins(prior * np.array(p)**h),
            "the tails say something too: multiply by (1 − p_z) to the power n − h"),
     Mutant("number of sequences", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            _coins(prior * _coins_likelihood(h, n, p), comb(n, h) * (prior * _coins_likelihood(h, n, p)).sum()),
            "your evidence is that of any sequence with h heads; here x is one certain sequence, so leave the binomial "
            "coefficient out"),
     Mutant("logarithm", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            _coins(prior * _coins_likelihood(h, n, p), np.log((prior * _coins_likelihood(h, n, p)).sum())),
            "the second result should be p(x) itself, not its logarithm"),
     Mutant("mean for sum", lambda h, n, p=(0.5, 0.9), prior=(0.5, 0.5):
            _coins(prior * _coins_likelihood(h, n, p), (prior * _coins_likelihood(h, n, p)).mean()),
            "the evidence is the sum of the joints over z, not their mean: the prior has already weighted them")],
    rtol=1e-9)


# --- bow_log_joint: by scipy's densities and the curve as an arc of a circle around (0, 1/w) ---

def _arc(z, w):
    z = np.asarray(z, float)
    if w == 0:
        return np.stack([z, np.zeros_like(z)], axis=-1)
    turned = np.exp(1j * (w * z - np.pi / 2)) / w + 1j / w
    return np.stack([turned.real, turned.imag], axis=-1)


def _joint_by_scipy(x, z, w, s):
    return stats.norm.logpdf(z) + stats.norm.logpdf(x, _arc(z, w), s).sum(axis=-1)


def _distance2(x, z, w):
    return ((x - _arc(z, w))**2).sum(axis=-1)


_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

bow_log_joint = Check(
    "bow_log_joint", _joint_by_scipy,
    [((1.0, 0.5), 0.8, 1, 0.25), ((1.0, 0.5), 0.8, 0, 0.25),
     (np.array([0.3, 1.7]), np.array([-2.0, 0.1, 3.0]), 2.0, 0.4),
     (np.array([-1.0, 0.2]), np.linspace(-1, 1, 6).reshape(2, 3), 0.5, 1.5)],
    [Mutant("likelihood constant lost", lambda x, z, w, s: _joint_by_scipy(x, z, w, s) + np.log(2 * np.pi * s**2),
            "the constant of p(x | z) is missing: −log(2π s²) for the two coordinates together"),
     Mutant("prior constant lost", lambda x, z, w, s: _joint_by_scipy(x, z, w, s) + _HALF_LOG_2PI,
            "the constant of the prior is missing: −½ log 2π"),
     Mutant("both constants lost", lambda x, z, w, s: -z**2 / 2 - _distance2(x, z, w) / (2 * s**2),
            "the exponents are right, but both constants are missing: −½ log 2π of p(z), and −log(2π s²) of p(x | z)"),
     Mutant("constant of one coordinate", lambda x, z, w, s:
            _joint_by_scipy(x, z, w, s) + 0.5 * np.log(2 * np.pi * s**2),
            "x has two coordinates, and each brings a factor 1/(s √(2π)); yours has one of them"),
     Mutant("s for s² in the constant", lambda x, z, w, s: _joint_by_scipy(x, z, w, s) + np.log(s),
            "look at the constant of p(x | z): two coordinates give 1/(2π s²), not 1/(2π s)"),
     Mutant("s for s² in the exponent", lambda x, z, w, s:
            stats.norm.logpdf(z) - _distance2(x, z, w) / (2 * s) - np.log(2 * np.pi * s**2),
            "in the exponent the squared distance is divided by 2 s², not by 2 s"),
     Mutant("s taken for a variance", lambda x, z, w, s: _joint_by_scipy(x, z, w, np.sqrt(s)),
            "you used s as a variance; here s is a standard deviation, so the variance is s²"),
     Mutant("½ of the likelihood lost", lambda x, z, w, s:
            _joint_by_scipy(x, z, w, s) - _distance2(x, z, w) / (2 * s**2),
            "a ½ is missing in the exponent of p(x | z): squared distance over 2 s²"),
     Mutant("½ of the prior lost", lambda x, z, w, s: _joint_by_scipy(x, z, w, s) - z**2 / 2,
            "a ½ is missing in the exponent of the prior: −z²/2"),
     Mutant("no prior", lambda x, z, w, s: stats.norm.logpdf(x, _arc(z, w), s).sum(axis=-1),
            "that is log p(x | z) alone; the joint has the prior's log p(z) as well"),
     Mutant("no likelihood", lambda x, z, w, s: stats.norm.logpdf(z) + 0 * z,
            "that is log p(z) alone; the joint has log p(x | z) as well"),
     Mutant("sign", lambda x, z, w, s: _joint_by_scipy(x, z, w, s) + _distance2(x, z, w) / s**2,
            "the sign of the squared distance is turned: far from the wire the density must be small"),
     Mutant("mean over the coordinates", lambda x, z, w, s:
            stats.norm.logpdf(z) + stats.norm.logpdf(x, _arc(z, w), s).mean(axis=-1),
            "the two coordinates are independent given z, so their log-densities add; yours are averaged"),
     Mutant("summed over everything", lambda x, z, w, s:
            stats.norm.logpdf(z) + stats.norm.logpdf(x, _arc(z, w), s).sum(),
            "you summed over all z as well; sum over the two coordinates only, with axis=-1"),
     Mutant("always straight", lambda x, z, w, s: _joint_by_scipy(x, z, 0, s),
            "the wire is always straight in yours; use bow_curve(z, w) for the mean of x"),
     Mutant("density", lambda x, z, w, s: np.exp(_joint_by_scipy(x, z, w, s)),
            "that is the density p(x, z) itself; the exercise asks for its logarithm")],
    rtol=1e-8)


# --- log_evidence_grid: by Gauss-Legendre quadrature with 20 nodes in each of 180 short intervals ---

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_LATENTS = (np.arange(-9, 9, 0.1)[:, None] + 0.05 * (1 + _NODES)).ravel()
_LOG_WEIGHTS = np.log(np.tile(0.05 * _WEIGHTS, 180))


def _evidence_by_gauss(x, z, w=1.0, s=0.25):
    return logsumexp(_joint_by_scipy(np.asarray(x)[:, None], _LATENTS, w, s) + _LOG_WEIGHTS, axis=1)


def _grid(x, z, w, s):
    return _joint_by_scipy(np.asarray(x)[:, None], z, w, s)


def _spacing(z):
    return np.log(z[1] - z[0])


_POINTS = np.array([[1.0, 0.5], [0.0, 2.0], [0.0, 1.0]])
log_evidence_grid = Check(
    "log_evidence_grid", _evidence_by_gauss,
    [(_POINTS, np.linspace(-8, 8, 1601)), (np.array([[30.0, 0.0], [0.5, -0.2]]), np.linspace(-9, 9, 3601)),
     (np.array([[30.0, 0.0], [27.0, 0.0]]), np.linspace(-9, 9, 3601)),
     (np.array([[0.3, 0.3], [1.0, 0.5], [-0.4, 0.9], [0.0, 1.0]]), np.linspace(-7, 7, 701), 2.0, 0.4),
     (np.array([[0.7, 0.1]]), np.linspace(-7, 7, 401), 0, 0.5)],
    [Mutant("dz forgotten", lambda x, z, w=1.0, s=0.25: logsumexp(_grid(x, z, w, s), axis=1),
            "your answer changes with the number of grid points: a sum becomes an area only when multiplied by dz"),
     Mutant("mean over the grid", lambda x, z, w=1.0, s=0.25: logsumexp(_grid(x, z, w, s), axis=1) - np.log(len(z)),
            "the mean over the grid is not the area: multiply it by the length of the grid, or the sum by dz"),
     Mutant("underflow", lambda x, z, w=1.0, s=0.25: np.log(np.trapezoid(np.exp(_grid(x, z, w, s)), z, axis=1)),
            "right near the wire, but −inf far from it: exp underflows to 0; take the largest term of each row out before "
            "exp, and add it back after log"),
     Mutant("one largest term for all rows", lambda x, z, w=1.0, s=0.25: _grid(x, z, w, s).max() + np.log(
         np.trapezoid(np.exp(_grid(x, z, w, s) - _grid(x, z, w, s).max()), z, axis=1)),
            "you took one largest term out of all rows together, and far points still underflow; take out each row's own"),
     Mutant("largest term not put back", lambda x, z, w=1.0, s=0.25: np.log(np.trapezoid(
         np.exp(_grid(x, z, w, s) - _grid(x, z, w, s).max(axis=1, keepdims=True)), z, axis=1)),
            "you took the largest term of each row out, but did not add it back after the logarithm"),
     Mutant("likelihood only", lambda x, z, w=1.0, s=0.25:
            logsumexp(_grid(x, z, w, s) - stats.norm.logpdf(z), axis=1) + _spacing(z),
            "you integrated p(x | z) alone; the evidence integrates the joint, with the prior p(z) in it"),
     Mutant("log inside the integral", lambda x, z, w=1.0, s=0.25: np.trapezoid(_grid(x, z, w, s), z, axis=1),
            "you integrated the logarithm; take exp first, then the area, then log"),
     Mutant("best z", lambda x, z, w=1.0, s=0.25: _grid(x, z, w, s).max(axis=1),
            "that is the joint at the best z; the evidence adds up over all z"),
     Mutant("density", lambda x, z, w=1.0, s=0.25: np.exp(_evidence_by_gauss(x, z, w, s)),
            "that is p(x) itself; the exercise asks for its logarithm"),
     Mutant("integrated over x", lambda x, z, w=1.0, s=0.25: logsumexp(_grid(x, z, w, s), axis=0) + _spacing(z),
            "you added up over the points instead of over z: the grid is the last axis, and one number a point is left"),
     Mutant("all points together", lambda x, z, w=1.0, s=0.25: _evidence_by_gauss(x, z, w, s).sum(),
            "that is the log-evidence of all points together; return one number for each point, shape (N,)")],
    rtol=1e-6)


# --- evidence_prior_mc: the sample mean and its error, term by term with scipy ---

def _terms(x, z, w, s):
    return stats.multivariate_normal(cov=s**2 * np.eye(2)).logpdf(np.asarray(x) - _arc(z, w))


def _guess_by_terms(x, z, w=1.0, s=0.25):
    logs = _terms(x, z, w, s)
    ratio = np.exp(logs - logs.max())
    return logs.max() + np.log(ratio.mean()), stats.sem(ratio, ddof=0) / ratio.mean()


def _guess(change):
    """A wrong answer: `change(logs, right)` gives another pair."""
    return lambda x, z, w=1.0, s=0.25: change(_terms(x, z, w, s), _guess_by_terms(x, z, w, s))


_Z = np.random.default_rng(11).standard_normal(1500)
evidence_prior_mc = Check(
    "evidence_prior_mc", _guess_by_terms,
    [((1.0, 0.5), _Z), ((0.0, 1.8), _Z, 1.0, 0.4), ((25.0, 0.0), _Z), (np.array([0.4, -0.1]), _Z, 0, 0.5)],
    [Mutant("mean of the logs", _guess(lambda logs, right: (logs.mean(), right[1])),
            "you averaged log p(x | z); the guess of p(x) averages p(x | z), and the logarithm comes last"),
     Mutant("sum for mean", _guess(lambda logs, right: (right[0] + np.log(len(logs)), right[1])),
            "you added the terms up without dividing by S"),
     Mutant("prior twice", lambda x, z, w=1.0, s=0.25: _joint_guess(x, z, w, s),
            "you averaged the joint p(x, z); the guesses already come from the prior, so average p(x | z)"),
     Mutant("underflow", _guess(lambda logs, right: (np.log(np.exp(logs).mean()),
                                                     np.exp(logs).std() / np.sqrt(len(logs)) / np.exp(logs).mean())),
            "−inf or nan for the point far from the wire: exp underflows; use log_mean_exp, and divide the terms by their "
            "mean before exp"),
     Mutant("spread of one term", _guess(lambda logs, right: (right[0], right[1] * np.sqrt(len(logs)))),
            "that is the spread of a single term; the mean of S terms is √S times more precise"),
     Mutant("S for √S", _guess(lambda logs, right: (right[0], right[1] / np.sqrt(len(logs)))),
            "the standard error falls with √S, not with S"),
     Mutant("variance for standard deviation", _guess(lambda logs, right: (right[0], right[1]**2)),
            "that is the squared standard error; take the square root"),
     Mutant("not relative", _guess(lambda logs, right: (right[0], right[1] * np.exp(right[0]))),
            "the error is asked as a fraction of p̂(x): divide it by p̂(x)"),
     Mutant("density", _guess(lambda logs, right: (np.exp(right[0]), right[1])),
            "the first result should be log p̂(x), not p̂(x)")],
    rtol=1e-3)


def _joint_guess(x, z, w, s):
    logs = _terms(x, z, w, s) + stats.norm.logpdf(z)
    ratio = np.exp(logs - logs.max())
    return logs.max() + np.log(ratio.mean()), ratio.std() / ratio.mean() / np.sqrt(len(z))


# --- n_params: by listing the parameters one by one ---

def _listed(kind, D, K=10, H=10):
    pixels = range(D)
    if kind == "table":
        return 2**D - 1 if D > 12 else sum(1 for image in product((0, 1), repeat=D) if any(image))
    if kind == "fvbm":
        return sum(1 for _ in pixels) + sum(1 for _ in combinations(pixels, 2))
    if kind == "rbm":
        return sum(1 for _ in product(pixels, range(H))) + len(pixels) + len(range(H))
    return len(range(K)[1:]) + sum(1 for _ in product(range(K), pixels))


def _except(**wrong):
    """A wrong answer: right but for the kinds given, each by a function of (D, K, H)."""
    return lambda kind, D, K=10, H=10: wrong[kind](D, K, H) if kind in wrong else _listed(kind, D, K, H)


n_params = Check(
    "n_params", _listed,
    [("table", 10), ("fvbm", 10), ("mixture", 10), ("rbm", 10), ("table", 3), ("table", 40), ("fvbm", 64), ("fvbm", 1),
     ("mixture", 64, 3), ("rbm", 64, 10, 5), ("mixture", 7, 1), {"kind": "rbm", "D": 12, "H": 30}],
    [Mutant("table not normalised", _except(table=lambda D, K, H: 2**D),
            "table: the entries must sum to 1, so the last one is not free"),
     Mutant("table with one number a pixel", _except(table=lambda D, K, H: D),
            "table: it has an entry for every possible image, not for every pixel"),
     Mutant("mixture weights not normalised", _except(mixture=lambda D, K, H: K + K * D),
            "mixture: the K probabilities π_k must sum to 1, so the last one is not free"),
     Mutant("both not normalised", _except(table=lambda D, K, H: 2**D, mixture=lambda D, K, H: K + K * D),
            "table and mixture: probabilities that sum to 1 leave one of them determined; count the free ones"),
     Mutant("mixture weights forgotten", _except(mixture=lambda D, K, H: K * D),
            "mixture: the probabilities π_k of the classes are parameters too"),
     Mutant("mixture shares its coins", _except(mixture=lambda D, K, H: K - 1 + D),
            "mixture: every class has its own D chances p_kd"),
     Mutant("each pair twice", _except(fvbm=lambda D, K, H: D + D * (D - 1)),
            "fvbm: W_de and W_ed are one weight, so each pair of pixels counts once"),
     Mutant("full matrix", _except(fvbm=lambda D, K, H: D + D**2),
            "fvbm: a pixel has no weight with itself, and each pair counts once"),
     Mutant("no biases", _except(fvbm=lambda D, K, H: D * (D - 1) // 2),
            "fvbm: besides the weights of the pairs there is a bias b_d for each pixel"),
     Mutant("Z counted", _except(fvbm=lambda D, K, H: D * (D + 1) // 2 + 1, rbm=lambda D, K, H: D * H + D + H + 1),
            "Z is no parameter: it follows from the weights and biases"),
     Mutant("rbm without biases", _except(rbm=lambda D, K, H: D * H),
            "rbm: the biases are missing, b_d of the pixels and c_j of the latent units"),
     Mutant("rbm without latent biases", _except(rbm=lambda D, K, H: D * H + D),
            "rbm: the biases c_j of the latent units are missing"),
     Mutant("rbm without pixel biases", _except(rbm=lambda D, K, H: D * H + H),
            "rbm: the biases b_d of the pixels are missing"),
     Mutant("rbm fully connected", _except(rbm=lambda D, K, H: (D + H) * (D + H + 1) // 2),
            "rbm: restricted means no weights within a layer, only between a pixel and a latent unit")],
    rtol=1e-6)
