"""Checks of lesson 03: KL between Gaussians (one and many dimensions), between tables, from samples; where the best q jumps."""

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import rel_entr
from scipy.stats import multivariate_normal, norm

from . import Check, Mutant

BITS = "the value is in bits; in nats the logarithm is natural, with no division by log 2"


# ---- 3.1 -------------------------------------------------------------------------------------------------------------
@np.vectorize
def _kl_by_trapezoid(m1, s1, m2, s2):
    """The integral itself, on a grid of ±12 standard deviations of the density that draws."""
    z = m1 + s1 * np.linspace(-12, 12, 2401)
    log_1 = norm.logpdf(z, m1, s1)
    return np.trapezoid(np.exp(log_1) * (log_1 - norm.logpdf(z, m2, s2)), z)


def _kl_normal_oracle(m1, s1, m2, s2):
    return _kl_by_trapezoid(m1, s1, m2, s2)[()]


def _kl1(m1, s1, m2, s2):
    return np.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5


kl_normal = Check(
    "kl_normal", _kl_normal_oracle,
    [(0, 1, 1, 2), (1, 2, 0, 1), (0, 1, 3, 1), (1.0, 0.5, 0.0, 1.0), (0.3, 0.7, -0.4, 1.9),
     (np.zeros(3), np.ones(3), np.array([1.0, 2.0, 3.0]), np.full(3, 2.0)), (np.array([[0.0], [1.0]]), 0.5, np.array([0.0, 2.0]), 1.5)],
    [Mutant("squared twice", lambda m1, s1, m2, s2: _kl1(m1, s1**2, m2, s2**2),
            "s₁ and s₂ are standard deviations, but they enter as if you had squared them twice: σ⁴ where σ² belongs"),
     Mutant("variance for standard deviation", lambda m1, s1, m2, s2: _kl1(m1, np.sqrt(s1), m2, np.sqrt(s2)),
            "are you sure that s is σ and not σ²? Here s₁ and s₂ are standard deviations and are squared in the quotient"),
     Mutant("log of the variances", lambda m1, s1, m2, s2: _kl1(m1, s1, m2, s2) + np.log(s2 / s1),
            "log(s₂²/s₁²) is twice log(s₂/s₁): a factor ½ is missing in front of the logarithm, or the squares are too much"),
     Mutant("log sigma for sigma", lambda m1, s1, m2, s2: _kl1(m1, np.exp(s1), m2, np.exp(s2)),
            "you take s as log σ, but the arguments are σ itself: no exp is needed"),
     Mutant("lost the -1/2", lambda m1, s1, m2, s2: _kl1(m1, s1, m2, s2) + 0.5,
            "for two equal Gaussians it should give 0, yours gives ½: what is E[(z − m₁)²] / (2 s₁²)?"),
     Mutant("lost the 2 below", lambda m1, s1, m2, s2: np.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / s2**2 - 0.5,
            "the quotient should have 2 s₂² below, not s₂²: the exponent of a Gaussian is −(z − m)² / (2 s²)"),
     Mutant("missing half overall", lambda m1, s1, m2, s2: 2 * _kl1(m1, s1, m2, s2),
            "exactly twice too large: the factor ½ in front of everything is missing"),
     Mutant("wrong direction", lambda m1, s1, m2, s2: _kl1(m2, s2, m1, s1),
            "that is the other direction, D_KL(second || first): the average must be taken under N(m₁, s₁²), so s₂² is below"),
     Mutant("sign of the logarithm", lambda m1, s1, m2, s2: _kl1(m1, s1, m2, s2) - 2 * np.log(s2 / s1),
            "the logarithm is upside down: −log s₁ comes from log of the first density, +log s₂ from minus that of the second"),
     Mutant("means not squared", lambda m1, s1, m2, s2: np.log(s2 / s1) + (s1**2 + np.abs(m1 - m2)) / (2 * s2**2) - 0.5,
            "the distance of the means should enter squared, (m₁ − m₂)²"),
     Mutant("forgot the spread of the first", lambda m1, s1, m2, s2: np.log(s2 / s1) + (m1 - m2)**2 / (2 * s2**2),
            "E[(z − m₂)²] is not (m₁ − m₂)² alone: z itself scatters, which adds s₁²"),
     Mutant("bits", lambda m1, s1, m2, s2: _kl1(m1, s1, m2, s2) / np.log(2), BITS),
     Mutant("sum for elementwise", lambda m1, s1, m2, s2: np.sum(_kl1(m1, s1, m2, s2)),
            "for arrays it should return one KL for each element; yours adds them up"),
     Mutant("mean for elementwise", lambda m1, s1, m2, s2: np.mean(_kl1(m1, s1, m2, s2)),
            "for arrays it should return one KL for each element; yours averages them")])


# ---- 3.2 -------------------------------------------------------------------------------------------------------------
def _kl_mvn_oracle(m1, S1, m2, S2):
    """E[log ratio] by cubature: the log ratio is a quadratic, and 2 D points placed at ±√D columns of a root of S1
    average every quadratic exactly. No trace, determinant or inverse is written down."""
    D = len(m1)
    columns = np.sqrt(D) * np.linalg.cholesky(S1).T
    points = np.concatenate([m1 + columns, m1 - columns])
    ratio = multivariate_normal(m1, S1).logpdf(points) - multivariate_normal(m2, S2).logpdf(points)
    return np.mean(ratio)


def _klD(m1, S1, m2, S2, shift_with=None, half=0.5, D=None):
    shift = m1 - m2
    mahalanobis = shift @ np.linalg.solve(S2 if shift_with is None else shift_with, shift)
    log_dets = np.linalg.slogdet(S2)[1] - np.linalg.slogdet(S1)[1]
    return half * (log_dets + np.trace(np.linalg.solve(S2, S1)) + mahalanobis - (len(m1) if D is None else D))


def _dets(S1, S2):
    return np.linalg.slogdet(S2)[1] - np.linalg.slogdet(S1)[1]


_o, _I, _S = np.zeros(2), np.eye(2), np.array([[1.0, 0.8], [0.8, 1.0]])
_S3 = np.array([[2.0, 0.3, -0.2], [0.3, 1.0, 0.4], [-0.2, 0.4, 1.5]])
kl_mvn = Check(
    "kl_mvn", _kl_mvn_oracle,
    [(_o, _S, _o, _I), (_o, _I, _o, _S), (np.array([1.0, -1.0]), _S, np.array([0.0, 0.5]), np.array([[2.0, -0.5], [-0.5, 0.7]])),
     (np.array([0.5, 0.0, -1.0]), _S3, np.zeros(3), np.diag([1.0, 2.0, 0.5])),
     (np.array([0.0]), np.eye(1), np.array([1.0]), 4 * np.eye(1))],
    [Mutant("forgot the D", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2, D=0),
            "for two equal Gaussians it should give 0, yours gives D/2: the first expectation is D, and it is subtracted"),
     Mutant("1 for D", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2, D=1),
            "you subtract 1, as in one dimension; in D dimensions the first expectation is D"),
     Mutant("missing half", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2, half=1.0),
            "exactly twice too large: every term of log N has a factor ½"),
     Mutant("wrong direction", lambda m1, S1, m2, S2: _klD(m2, S2, m1, S1),
            "that is the other direction, D_KL(second || first): the first Gaussian draws, so S₂ is the one that is inverted"),
     Mutant("logarithm upside down", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2) - _dets(S1, S2),
            "the determinants are upside down: det S₂ is above, since minus the log of the second density is added"),
     Mutant("no determinants", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2) - 0.5 * _dets(S1, S2),
            "the determinants are missing: log N(z | m, S) begins with −½ log det(2πS)"),
     Mutant("determinant without ½", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2) + 0.5 * _dets(S1, S2),
            "the log determinants enter with a factor ½ (det S is like a variance, not like a standard deviation)"),
     Mutant("only the diagonals", lambda m1, S1, m2, S2: np.sum(_kl1(m1, np.sqrt(np.diag(S1)), m2, np.sqrt(np.diag(S2)))),
            "that is the sum of one-dimensional KLs: it ignores what stands beside the diagonals"),
     Mutant("elementwise product", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2) + 0.5 * (
         np.trace(np.linalg.inv(S2) * S1) - np.trace(np.linalg.inv(S2) @ S1)),
            "in the trace, * multiplies element by element; S₂⁻¹ S₁ is a matrix product, @"),
     Mutant("shift with S1", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2, shift_with=S1),
            "the distance of the means should be measured with S₂⁻¹, not with S₁⁻¹"),
     Mutant("shift not weighted", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2, shift_with=np.eye(len(m1))),
            "the distance of the means should be weighted: (m₁ − m₂)ᵀ S₂⁻¹ (m₁ − m₂)"),
     Mutant("covariance as root", lambda m1, S1, m2, S2: _klD(m1, S1 @ S1.T, m2, S2 @ S2.T),
            "S₁ and S₂ are covariances already; you have squared them"),
     Mutant("bits", lambda m1, S1, m2, S2: _klD(m1, S1, m2, S2) / np.log(2), BITS)])


# ---- 3.3 -------------------------------------------------------------------------------------------------------------
def _safe(p, q):
    """p log(p / q) where both are positive, 0 elsewhere."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    both = (p > 0) & (q > 0)
    return np.where(both, p * np.log(np.where(both, p, 1) / np.where(both, q, 1)), 0.0)


def _right(p, q):
    return np.sum(rel_entr(p, q))


_half, _sure = np.array([0.5, 0.5]), np.array([1.0, 0.0])
kl_categorical = Check(
    "kl_categorical", _right,
    [(np.array([0.5, 0.25, 0.125, 0.125]), np.full(4, 0.25)), (np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])),
     (_half, _sure), (_sure, _half), (np.array([0.1, 0.9]), _half), (_half, np.array([0.1, 0.9])),
     (np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.8, 0.0])), (np.array([0.0, 0.3, 0.7]), np.array([0.6, 0.0, 0.4]))],
    [Mutant("0 log 0", lambda p, q: np.sum(p * np.log(p / q)),
            "right without zeros, but nan with them: 0 · log 0 counts as 0, so add only over outcomes with p > 0"),
     Mutant("drops what q forbids", lambda p, q: np.sum(_safe(p, q)),
            "an outcome with p > 0 and q = 0 costs ∞; yours leaves it out. Mask where p is zero, not where q is"),
     Mutant("masked, 0 for ∞", lambda p, q: 0.0 if np.any((p > 0) & (q == 0)) else np.sum(_safe(p, q)),
            "you return 0 where q calls possible outcomes impossible; that is the worst case, ∞, not the best"),
     Mutant("small number added", lambda p, q: np.sum(p * np.log((p + 1e-12) / (q + 1e-12))),
            "a small number inside the logarithm makes ∞ look finite; treat the zeros of p and of q by themselves"),
     Mutant("wrong direction", lambda p, q: _right(q, p), "that is the other direction, D_KL(q || p): the first one, p, gives the weights"),
     Mutant("sign", lambda p, q: -_right(p, q), "the sign is turned: a KL is never negative. Is it log(q/p) instead of log(p/q)?"),
     Mutant("no weights", lambda p, q: np.sum(np.where(p > 0, rel_entr(p, q) / np.where(p > 0, p, 1), 0.0)),
            "the log ratios are added without their weights: an average under p multiplies each by pₖ"),
     Mutant("mean for sum", lambda p, q: np.mean(rel_entr(p, q)),
            "the pₖ are the weights of the average already; add up, do not divide by K again"),
     Mutant("cross-entropy", lambda p, q: _right(p, q) - np.sum(_safe(p, np.ones_like(p))),
            "that is the cross-entropy −Σ pₖ log qₖ; the entropy of p must be subtracted from it"),
     Mutant("bits", lambda p, q: _right(p, q) / np.log(2), BITS),
     Mutant("not summed", lambda p, q: rel_entr(p, q), "these are the terms of the sum; their sum is the KL, one number")])


# ---- 3.4 -------------------------------------------------------------------------------------------------------------
def _log_p(z, d):
    return np.logaddexp(norm.logpdf(z, -d, 1), norm.logpdf(z, d, 1)) - np.log(2)


def _switch_oracle(low, high):
    """E_q[log p] by Gauss-Legendre on ±9 standard deviations; both valleys by the zeros of their gradients' own line
    searches, the crossing by brentq."""
    t, weights = np.polynomial.legendre.leggauss(240)
    t, weights = 9 * t, 9 * weights * norm.pdf(9 * t)

    def cost(m, log_s, d):
        return -weights @ _log_p(m + np.exp(log_s) * t, d) - log_s - 0.5 * np.log(2 * np.pi * np.e)

    def difference(d):
        wide = minimize(lambda v: cost(0.0, v[0], d), [0.9], tol=1e-10).fun
        return wide - minimize(lambda v: cost(v[0], v[1], d), [d, 0.0], tol=1e-10).fun

    return brentq(difference, low, high, xtol=1e-6)


switch_separation = Check(
    "switch_separation", _switch_oracle, [(2.6, 3.0)],
    [Mutant("Gauss-Hermite", lambda low, high: 2.80497527,
            "near, but this is what Gauss–Hermite with 100 nodes gives; its third decimal is wrong. Use reverse_kl, the trapezoid rule"),
     Mutant("distance of the modes", lambda low, high: 2 * 2.80008222,
            "that is the distance between the two modes; d is the distance of one mode from the middle"),
     Mutant("log 2 for the mode", lambda low, high: 2.81203961,
            "you took the valley on the mode to cost log 2; at this d it still costs a little less. Minimise there too"),
     Mutant("first ring", lambda low, high: 2.415,
            "there the valley on the mode first exists; asked is where it is as deep as the one in the middle"),
     Mutant("on the grid of the table", lambda low, high: 2.75,
            "2.75 and 3 are only the separations of the table; the jump is between them. Use a root finder")],
    rtol=0, atol=1.5e-3)


# ---- 3.5 -------------------------------------------------------------------------------------------------------------
def _estimators_oracle(log_r):
    """k2 from moments, k3 from the series of exp: neither is the formula asked for."""
    x = [float(v) for v in log_r]
    n = len(x)
    mean = sum(x) / n
    variance = sum((v - mean)**2 for v in x) / n
    k3 = 0.0
    for v in x:
        term, j = v * v / 2, 2
        while abs(term) > 1e-18 * (1 + abs(k3)):
            k3 += term
            j += 1
            term *= v / j
    return -mean, (variance + mean**2) / 2, k3 / n


def _ks(log_r):
    return -log_r, log_r**2 / 2, np.exp(log_r) - 1 - log_r


def _means(k):
    return tuple(np.mean(v) for v in k)


def _swap(i, f):
    """The three right averages, but with f(log_r) in place i."""
    def wrong(log_r):
        out = list(_means(_ks(log_r)))
        out[i] = f(log_r)
        return tuple(out)
    return wrong


kl_estimators = Check(
    "kl_estimators", _estimators_oracle,
    [(np.array([0.1, -0.2, 0.3]),), (np.array([0.0, 0.0]),), (np.random.default_rng(0).normal(-0.5, 1.0, 50),), (np.array([-1.5]),)],
    [Mutant("sign of k1", _swap(0, np.mean), "k₁ has the wrong sign: it is −log r, since r = p/q and the KL averages log q − log p"),
     Mutant("q/p for p/q", lambda log_r: _means(_ks(-log_r)), "r is upside down: log r = log p(x) − log q(x), as given; no further sign"),
     Mutant("k2 without 1/2", _swap(1, lambda x: np.mean(x**2)), "k₂ is twice too large: ½ (log r)²"),
     Mutant("k2 squares the mean", _swap(1, lambda x: np.mean(x)**2 / 2), "in k₂ square each log r first, then average"),
     Mutant("k2 is the variance", _swap(1, lambda x: np.var(x) / 2), "k₂ averages (log r)² itself; do not subtract the mean first"),
     Mutant("k3 without -1", _swap(2, lambda x: np.mean(np.exp(x) - x)),
            "where all log r are 0, k₃ should be 0, not 1: it is (r − 1) − log r"),
     Mutant("k3 with + log r", _swap(2, lambda x: np.mean(np.exp(x) - 1 + x)),
            "k₃ is (r − 1) MINUS log r: −log r is the estimate, r − 1 is added to it"),
     Mutant("k3 without exp", _swap(2, lambda x: np.mean((x - 1) - x)), "in k₃, r is the ratio itself: r = exp(log r)"),
     Mutant("k3 without -log r", _swap(2, lambda x: np.mean(np.exp(x) - 1)), "r − 1 alone has mean zero; k₃ is −log r plus that"),
     Mutant("k3 of the mean", _swap(2, lambda x: np.exp(np.mean(x)) - 1 - np.mean(x)), "in k₃ take exp of each log r first, then average"),
     Mutant("sums for averages", lambda log_r: tuple(np.sum(v) for v in _ks(log_r)), "these are sums; divide by the number of draws S"),
     Mutant("not averaged", _ks, "these are the terms of each draw; return their averages, three numbers"),
     Mutant("bits", lambda log_r: tuple(v / np.log(2) for v in _means(_ks(log_r))), BITS)])
