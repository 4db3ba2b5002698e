"""Checks of lesson 04: CAVI for a Gaussian, CAVI for mean and precision, the best Gaussian on log tau."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import digamma, gammaln, polygamma
from scipy.stats import loggamma, norm

from . import Check, Mutant


# ---- 4.1 -------------------------------------------------------------------------------------------------------------
def _gauss_seidel(mu, Lambda, m0, n):
    """The error after a sweep is M times the error before, M = -(lower triangle)^-1 (strict upper triangle); the variances are
    those of each coordinate given the others, from the covariance (a Schur complement)."""
    M = -np.linalg.solve(np.tril(Lambda), np.triu(Lambda, 1))
    S = np.linalg.inv(Lambda)
    variances = []
    for j in range(len(mu)):
        rest = np.delete(np.arange(len(mu)), j)
        variances.append(S[j, j] - S[j, rest] @ np.linalg.solve(S[np.ix_(rest, rest)], S[rest, j]))
    return mu + np.linalg.matrix_power(M, n) @ (m0 - mu), np.array(variances)


def _sweeps(update, order=lambda D: range(D), sweeps=lambda n: n, parallel=False):
    """CAVI with another formula for one mean, another order or number of sweeps; the variances are right."""
    def wrong(mu, Lambda, m0, n):
        m = np.array(m0, float)
        for _ in range(sweeps(n)):
            old = m.copy() if parallel else m
            for j in order(len(m)):
                m[j] = update(mu, Lambda, old, j)
        return m, 1 / np.diag(Lambda)
    return wrong


def _mean(mu, Lambda, m, j, sign=-1, divide=True, centre=True, keep_mu=True, own=False):
    others = np.ones(len(m), bool)
    others[j] = own
    total = Lambda[j, others] @ (m[others] - (mu[others] if centre else 0))
    return (mu[j] if keep_mu else 0) + sign * total / (Lambda[j, j] if divide else 1)


def _with(**kw):
    return _sweeps(lambda mu, Lambda, m, j: _mean(mu, Lambda, m, j, **kw))


def _variances(f):
    return lambda mu, Lambda, m0, n: (_gauss_seidel(mu, Lambda, m0, n)[0], f(Lambda))


def _one_factor_a_time(mu, Lambda, m0, n):
    m = np.array(m0, float)
    for k in range(n):
        m[k % len(m)] = _mean(mu, Lambda, m, k % len(m))
    return m, 1 / np.diag(Lambda)


def _all_swapped(mu, Lambda, m0, n):
    return _gauss_seidel(mu, np.linalg.inv(Lambda), m0, n)


_mu = np.array([1.0, -1.0])
_Lambda = np.linalg.inv(np.array([[1.0, 0.9], [0.9, 1.0]]))
_mu3 = np.array([0.5, -1.0, 2.0])
_Lambda3 = np.array([[2.0, -0.6, 0.3], [-0.6, 1.5, 0.5], [0.3, 0.5, 0.8]])

cavi_gaussian = Check(
    "cavi_gaussian", _gauss_seidel,
    [(_mu, _Lambda, np.zeros(2), 1), (_mu, _Lambda, np.zeros(2), 3), (_mu, _Lambda, np.zeros(2), 10),
     (_mu3, _Lambda3, np.array([1.0, 1.0, -1.0]), 1), (_mu3, _Lambda3, np.array([1.0, 1.0, -1.0]), 4), (_mu3, _Lambda3, np.ones(3), 0)],
    [Mutant("all at once", _sweeps(_mean, parallel=True),
            "you compute all new means from the old ones; coordinate ascent is sequential: an update uses the newest values of the others"),
     Mutant("sign", _with(sign=1), "the sign of the sum is turned: mⱼ is μⱼ MINUS the sum divided by Λⱼⱼ"),
     Mutant("Sigma for Lambda", _all_swapped,
            "you work with the covariance Σ = Λ⁻¹; the formula wants the entries of the precision matrix, which is what you are given"),
     Mutant("not divided", _with(divide=False), "the sum over the others should be divided by Λⱼⱼ"),
     Mutant("others not centred", _with(centre=False), "each of the others enters as mₖ − μₖ, its distance from μₖ; yours takes mₖ itself"),
     Mutant("mu left out", _with(keep_mu=False), "μⱼ in front is missing: with uncorrelated latents mⱼ should be μⱼ at once"),
     Mutant("own term in the sum", _with(own=True),
            "your sum runs over k = j too; leave that term out: a factor's own mean does not occur in its update"),
     Mutant("updates for sweeps", _one_factor_a_time, "n counts sweeps, not single updates: in one sweep every factor is updated once"),
     Mutant("one sweep only", _sweeps(_mean, sweeps=lambda n: min(n, 1)),
            "the first sweep is right, the later ones are missing: repeat the loop over j n times"),
     Mutant("last factor first", _sweeps(_mean, order=lambda D: range(D - 1, -1, -1)),
            "you update the last factor first; a sweep goes j = 1, …, D"),
     Mutant("marginal variances", _variances(lambda L: np.diag(np.linalg.inv(L))),
            "these are the variances of p's own coordinates, Σⱼⱼ; the factors of q are narrower: one over Lambda"),
     Mutant("precision for variance", _variances(lambda L: np.diag(L)), "Λⱼⱼ is the precision of the factor; its variance is 1 / Λⱼⱼ"),
     Mutant("sd for variance", _variances(lambda L: np.diag(L)**-0.5), "you return standard deviations; asked are variances, 1 / Λⱼⱼ"),
     Mutant("whole inverse", _variances(lambda L: 1 / L),
            "for the variances take the diagonal of Λ only: one number a factor")])


# ---- 4.2 -------------------------------------------------------------------------------------------------------------
def _entropies(lam, a, b):
    """Of N(., 1/lam) and of Gamma(a, b), added; nats."""
    return 0.5 * np.log(2 * np.pi * np.e / lam) + a - np.log(b) + gammaln(a) + (1 - a) * digamma(a)


def _elbo(x, m, lam, a, b, mu0, l0, a0, b0):
    """E_q[log p] + entropies. log p is a quadratic in mu, so that two points average it, and linear in tau and log tau."""
    t, log_t = a / b, digamma(a) - np.log(b)

    def log_p(mu):
        return (0.5 * (len(x) + 1) * (log_t - np.log(2 * np.pi)) + 0.5 * np.log(l0)
                - 0.5 * t * (np.sum((x - mu)**2) + l0 * (mu - mu0)**2))
    log_tau = a0 * np.log(b0) - gammaln(a0) + (a0 - 1) * log_t - b0 * t
    return 0.5 * (log_p(m + lam**-0.5) + log_p(m - lam**-0.5)) + log_tau + _entropies(lam, a, b)


def _best_by_optimiser(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """No update is written down: a general optimiser finds the four numbers."""
    def loss(v):
        return -_elbo(x, v[0], *np.exp(v[1:]), mu0, l0, a0, b0)
    start = np.array([np.mean(x), np.log(len(x) / np.var(x)), np.log(len(x) / 2), np.log(len(x) * np.var(x) / 2)])
    v = minimize(loss, start, method="BFGS", options=dict(gtol=1e-7)).x
    return v[0], *np.exp(v[1:]), -loss(v)


def _rested(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0, *, m=None, a=None, centre_prior=True, spread=1.0, half=0.5, lam=None, sweeps=200, t0=1.0):
    """The right iteration, of which one part may be replaced; returns (m, lam, a, b, ELBO)."""
    N, t = len(x), t0
    m = (l0 * mu0 + np.sum(x)) / (l0 + N) if m is None else m
    a = a0 + (N + 1) / 2 if a is None else a
    squares = np.sum((x - m)**2) + l0 * (m - mu0)**2 * centre_prior
    for _ in range(sweeps):
        precision = (l0 + N) * t if lam is None else lam(t, N, l0)
        b = b0 + half * (squares + spread * (N + l0) / precision)
        t = a / b
    return m, precision, a, b, _elbo(x, m, precision, a, b, mu0, l0, a0, b0)


def _rested_with(**parts):
    """`_rested` with parts that may be functions of (x, mu0, l0, a0, b0)."""
    def wrong(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
        given = {k: v(x, mu0, l0, a0, b0) if k in ("m", "a", "t0") else v for k, v in parts.items()}
        return _rested(x, mu0, l0, a0, b0, **given)
    return wrong


def _spread_once(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    return _rested(x, mu0, l0, a0, b0, spread=1 / (len(x) + l0))


def _tau_upside_down(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """E[tau] taken as b / a."""
    N, t = len(x), 1.0
    m, a = (l0 * mu0 + np.sum(x)) / (l0 + N), a0 + (N + 1) / 2
    for _ in range(200):
        precision = (l0 + N) * t
        b = b0 + 0.5 * (np.sum((x - m)**2) + l0 * (m - mu0)**2 + (N + l0) / precision)
        t = b / a
    return m, precision, a, b, _elbo(x, m, precision, a, b, mu0, l0, a0, b0)


def _swap_last(f):
    """The right four numbers, and f(all five) in place of the ELBO."""
    def wrong(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
        right = _rested(x, mu0, l0, a0, b0)
        return *right[:4], f(right, x, mu0, l0, a0, b0)
    return wrong


def _evidence(right, x, mu0, l0, a0, b0):
    N = len(x)
    b = b0 + 0.5 * np.sum((x - np.mean(x))**2) + l0 * N * (np.mean(x) - mu0)**2 / (2 * (l0 + N))
    return (gammaln(a0 + N / 2) - gammaln(a0) + a0 * np.log(b0) - (a0 + N / 2) * np.log(b) + 0.5 * np.log(l0 / (l0 + N))
            - N / 2 * np.log(2 * np.pi))


def _variance_of_mu(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    m, lam, *rest = _rested(x, mu0, l0, a0, b0)
    return m, 1 / lam, *rest


_x = np.array([2.1, 1.9, 3.2, 2.8, 0.5, 2.5, 1.7, 2.3])
cavi_normal_gamma = Check(
    "cavi_normal_gamma", _best_by_optimiser,
    [(_x,), (_x[:4], 1.0, 2.0, 1.5, 0.7), (np.array([-0.3, 0.4, 0.1, 5.0, -1.0]), -0.5, 0.5, 3.0, 2.0)],
    [Mutant("N/2 for (N+1)/2", _rested_with(a=lambda x, mu0, l0, a0, b0: a0 + len(x) / 2),
            "a is ½ too small: log p(μ | τ) contains ½ log τ as well, so a = a₀ + (N + 1)/2"),
     Mutant("N for N/2", _rested_with(a=lambda x, mu0, l0, a0, b0: a0 + len(x) + 0.5),
            "each log N(xₙ | μ, 1/τ) contains ½ log τ, not log τ: N data add N/2 to a"),
     Mutant("a0 forgotten", _rested_with(a=lambda x, mu0, l0, a0, b0: (len(x) + 1) / 2),
            "a₀ is missing in a: the prior of τ contributes (a₀ − 1) log τ"),
     Mutant("spread of mu forgotten", _rested_with(spread=0.0),
            "E[(xₙ − μ)²] is (xₙ − m)² + 1/λ: in b the variance of μ under q is missing"),
     Mutant("spread once", _spread_once,
            "each of the N squares (and the prior's) has its own 1/λ in b; yours adds it only once"),
     Mutant("prior of mu not in b", _rested_with(centre_prior=False),
            "in b the term λ₀ (m − μ₀)² is missing: the prior of μ contains τ, so it has a say on τ"),
     Mutant("half forgotten", _rested_with(half=1.0), "a factor ½ is missing in b: the exponents are −½ τ (xₙ − μ)²"),
     Mutant("lambda without E[tau]", _rested_with(lam=lambda t, N, l0: l0 + N),
            "λ should contain E[τ] = a/b: λ = (λ₀ + N) E[τ], so the two factors depend on each other and must be iterated"),
     Mutant("E[tau] upside down", _tau_upside_down, "E[τ] of Gamma(a, b) with rate b is a/b, not b/a"),
     Mutant("sample mean", _rested_with(m=lambda x, mu0, l0, a0, b0: np.mean(x)),
            "m is the plain mean of the data; the prior pulls it towards μ₀ with the weight of λ₀ data points"),
     Mutant("one sweep", _rested_with(sweeps=1, t0=lambda x, mu0, l0, a0, b0: a0 / b0),
            "that is the first sweep from E[τ] = a₀/b₀; go on until nothing changes"),
     Mutant("variance of mu", _variance_of_mu, "the second number should be λ, the precision of q(μ); you return its reciprocal"),
     Mutant("evidence for ELBO", _swap_last(_evidence), "the last number is the exact log evidence; the ELBO lies below it"),
     Mutant("sign of the ELBO", _swap_last(lambda right, *_: -right[4]), "the last number has the wrong sign: the ELBO, not the loss"),
     Mutant("no entropies", _swap_last(lambda right, *_: right[4] - _entropies(*right[1:4])),
            "the last number is E_q[log p] alone; the ELBO has the entropies of both factors too")],
    rtol=1e-4)


# ---- 4.3 -------------------------------------------------------------------------------------------------------------
def _kl_by_quadrature(m, s2, a, b):
    e = np.linspace(-9, 9, 721)
    weight = norm.pdf(e) * (e[1] - e[0])
    return weight @ (norm.logpdf(e) - 0.5 * np.log(s2) - loggamma.logpdf(m + np.sqrt(s2) * e + np.log(b), a))


def _fit_by_optimiser(a, b):
    v = minimize(lambda v: _kl_by_quadrature(v[0], np.exp(v[1]), a, b), [np.log(a / b), -np.log(a)], tol=1e-11).x
    return v[0], np.exp(v[1]), _kl_by_quadrature(v[0], np.exp(v[1]), a, b)


def _at(a, b, m, s2):
    """The gap at any (m, s²), in closed form."""
    return -(a * np.log(b) - gammaln(a) + a * m - b * np.exp(m + s2 / 2) + 0.5 * np.log(2 * np.pi * np.e * s2))


def _optimum(a, b):
    m, s2 = np.log(a / b) - 1 / (2 * a), 1 / a
    return m, s2, _at(a, b, m, s2)


def _moving(m, s2):
    """Another m and s² (functions of a, b), with the gap that belongs to them."""
    return lambda a, b: (m(a, b), s2(a, b), _at(a, b, m(a, b), s2(a, b)))


def _gap(f):
    """The right m and s², another gap f(a, b, right gap)."""
    def wrong(a, b):
        m, s2, gap = _optimum(a, b)
        return m, s2, f(a, b, gap)
    return wrong


def _no_jacobian(a, b):
    c = a - 1
    m, s2 = np.log(c / b) - 1 / (2 * c), 1 / c
    return m, s2, -(a * np.log(b) - gammaln(a) + c * m - b * np.exp(m + s2 / 2) + 0.5 * np.log(2 * np.pi * np.e * s2))


def _whole_s2(a, b):
    m, s2 = np.log(a / b) - 1 / (2 * a), 1 / (2 * a)
    return m, s2, -(a * np.log(b) - gammaln(a) + a * m - b * np.exp(m + s2) + 0.5 * np.log(2 * np.pi * np.e * s2))


gamma_advi = Check(
    "gamma_advi", _fit_by_optimiser, [(3.0, 2.0), (10.0, 1.0), (1.5, 0.7), (40.0, 9.0)],
    [Mutant("Laplace", _moving(lambda a, b: np.log(a / b), lambda a, b: 1 / a),
            "m = log(a/b) is the highest point of log p(u): that is Laplace. E[eᵘ] = exp(m + s²/2), so the slope in m is zero elsewhere"),
     Mutant("wrong way", _moving(lambda a, b: np.log(a / b) + 1 / (2 * a), lambda a, b: 1 / a),
            "m moves the wrong way from log(a/b): a = b exp(m + s²/2), so m = log(a/b) MINUS s²/2"),
     Mutant("moments of u", _moving(lambda a, b: digamma(a) - np.log(b), lambda a, b: polygamma(1, a)),
            "these are the mean and variance of the exact density of u: moment matching, the other direction of the KL"),
     Mutant("sd for variance", lambda a, b: (_optimum(a, b)[0], a**-0.5, _optimum(a, b)[2]),
            "the second number should be s², the variance; yours is s"),
     Mutant("precision for variance", lambda a, b: (_optimum(a, b)[0], a, _optimum(a, b)[2]),
            "the second number is 1/s²; asked is the variance s²"),
     Mutant("Jacobian forgotten", _no_jacobian,
            "it seems you took (a − 1) u in log p(u), from the density of τ; the factor dτ/du = eᵘ makes it a u"),
     Mutant("s² for s²/2", _whole_s2, "E[eᵘ] = exp(m + s²/2) for u ~ N(m, s²); in yours the s² is not halved"),
     Mutant("b as scale", lambda a, b: _optimum(a, 1 / b), "b is a rate: the mean of τ is a/b, not a b"),
     Mutant("ELBO for gap", _gap(lambda a, b, gap: -gap),
            "the gap is log evidence − ELBO = −ELBO, and never negative; the sign of your third number is turned"),
     Mutant("entropy forgotten", _gap(lambda a, b, gap: gap + 0.5 * np.log(2 * np.pi * np.e / a)),
            "in the gap the entropy of q, ½ log(2πe s²), is missing"),
     Mutant("not normalised", _gap(lambda a, b, gap: gap + a * np.log(b) - gammaln(a)),
            "in the gap the constant a log b − log Γ(a) of log p(u) is missing: without it log evidence is not 0"),
     Mutant("first term of the series", _gap(lambda a, b, gap: 1 / (12 * a)),
            "1/(12a) is near, but only the first term of a series; the gap has a closed form with gammaln"),
     Mutant("bits", _gap(lambda a, b, gap: gap / np.log(2)), "the gap is in bits; in nats there is no division by log 2")],
    rtol=1e-4)
