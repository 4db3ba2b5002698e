"""Checks of lesson 09: leapfrog, R-hat, the effective sample size of a chain, k-hat and its alarm, a step of SVI."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import f_oneway

from . import Check, Mutant

# ---- 9.1 -------------------------------------------------------------------------------------------------------------


def _bell(z):
    return -z


def _narrow(z):
    return -z / 0.5**2


def _quartic(z):
    return -z**3 + 0.5


def _by_three_places(z, v, slope, eps, L):
    """Stoermer's rule: each place from the two before it; the velocity from the places on both sides."""
    before, now = None, np.asarray(z, float)
    after = now + eps * v + eps**2 / 2 * slope(now)
    for _ in range(L):
        before, now = now, after
        after = 2 * now - before + eps**2 * slope(now)
    return now, (after - before) / (2 * eps)


def _hops(step):
    def run(z, v, slope, eps, L):
        for _ in range(L):
            z, v = step(z, v, slope, eps)
        return z, v
    return run


def _kick_drift(z, v, slope, eps):
    v = v + eps * slope(z)
    return z + eps * v, v


def _drift_kick(z, v, slope, eps):
    z = z + eps * v
    return z, v + eps * slope(z)


def _euler(z, v, slope, eps):
    return z + eps * v, v + eps * slope(z)


def _kicks(first, last, drift=1.0, sign=1.0, old=False):
    def step(z, v, slope, eps):
        w = v + sign * first * eps * slope(z)
        new = z + drift * eps * w
        return new, w + sign * last * eps * slope(z if old else new)
    return step


def _drift_kick_drift(z, v, slope, eps):
    z = z + eps / 2 * v
    v = v + eps * slope(z)
    return z + eps / 2 * v, v


_right = _hops(_kicks(0.5, 0.5))


def _runs_back(f):
    z, v = f(1.0, 0.5, _quartic, 0.3, 7)
    z, v = f(z, -v, _quartic, 0.3, 7)
    return np.allclose([z, v], [1.0, -0.5])


leapfrog = Check(
    "leapfrog", _by_three_places,
    [(1.0, 0.5, _bell, 0.7, 3), (np.array([0.3, -1.0]), np.array([0.2, 1.1]), _narrow, 0.2, 5), (-0.4, 1.3, _quartic, 0.3, 1),
     (0.8, -0.6, _quartic, 0.25, 8)],
    [Mutant("symplectic Euler", _hops(_kick_drift), "you give the whole kick before the drift; half of it belongs after"),
     Mutant("drift before kick", _hops(_drift_kick), "you drift first and then give the whole kick; leapfrog begins with half a kick"),
     Mutant("explicit Euler", _hops(_euler),
            "place and velocity are both moved from the old state; the drift must use the kicked velocity"),
     Mutant("drift in the middle swapped", _hops(_drift_kick_drift),
            "that is half a drift, a kick, half a drift; it is kick, drift, kick that is asked for"),
     Mutant("last kick forgotten", _hops(_kicks(0.5, 0.0)), "the second half kick, at the new place, is missing"),
     Mutant("first kick forgotten", _hops(_kicks(0.0, 0.5)), "the first half kick, at the old place, is missing"),
     Mutant("whole kicks", _hops(_kicks(1.0, 1.0)), "each of the two kicks is half as long: ε/2"),
     Mutant("half a drift", _hops(_kicks(0.5, 0.5, drift=0.5)), "the kicks are halves, the drift is a whole ε"),
     Mutant("downhill", _hops(_kicks(0.5, 0.5, sign=-1.0)),
            "the kick goes the wrong way: v grows by +ε/2 ∇log p, towards the probable places"),
     Mutant("both kicks at the old place", _hops(_kicks(0.5, 0.5, old=True)),
            "the second half kick uses the slope at the old place; take it at the new one"),
     Mutant("one step", lambda z, v, slope, eps, L: _right(z, v, slope, eps, 1), "only one step is taken: repeat it L times"),
     Mutant("one step too few", lambda z, v, slope, eps, L: _right(z, v, slope, eps, L - 1), "one step too few: L of them"),
     Mutant("turned round", lambda z, v, slope, eps, L: (lambda s: (s[0], -s[1]))(_right(z, v, slope, eps, L)),
            "the place is right, but the velocity is turned round at the end"),
     Mutant("order", lambda z, v, slope, eps, L: _right(z, v, slope, eps, L)[::-1], "return the place first, then the velocity")],
    properties=[("runs back", _runs_back, "turn the velocity round and run again: yours does not come home")])

# ---- 9.2 -------------------------------------------------------------------------------------------------------------
PRINTED = np.array([[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]])
_LOCAL = np.random.default_rng(92)
APART = _LOCAL.standard_normal((4, 25)) + np.array([[0.0], [0.5], [2.0], [-1.0]])
ALIKE = 10 + 3 * _LOCAL.standard_normal((3, 40))


def _by_anova(chains):
    """B / W is the F statistic of a one-way analysis of variance."""
    n = np.shape(chains)[1]
    return np.sqrt((n - 1 + f_oneway(*chains).statistic) / n)


def _parts(chains, ddof=1):
    chains = np.asarray(chains, float)
    return chains.shape[1], chains.var(axis=1, ddof=ddof).mean(), chains.shape[1] * chains.mean(axis=1).var(ddof=ddof)


def _rhat_with(f, ddof=1):
    return lambda chains: f(*_parts(chains, ddof))


rhat = Check(
    "rhat", _by_anova, [(PRINTED,), (APART,), (ALIKE,)],
    [Mutant("no root", _rhat_with(lambda n, W, B: ((n - 1) / n * W + B / n) / W), "that is R-hat squared: the root is missing"),
     Mutant("divided by the count", _rhat_with(lambda n, W, B: np.sqrt(((n - 1) / n * W + B / n) / W), ddof=0),
            "variances with −1 in the denominator are meant: ddof=1, within the chains and between their means"),
     Mutant("B without n", _rhat_with(lambda n, W, B: np.sqrt(((n - 1) / n * W + B / n**2) / W)),
            "B is n times the variance of the chains' means; the n is missing, or divided out twice"),
     Mutant("B not divided", _rhat_with(lambda n, W, B: np.sqrt(((n - 1) / n * W + B) / W)), "B is divided by n in the formula"),
     Mutant("W not shrunk", _rhat_with(lambda n, W, B: np.sqrt((W + B / n) / W)), "W counts (n − 1)/n in the numerator"),
     Mutant("plus for minus", _rhat_with(lambda n, W, B: np.sqrt(((n + 1) / n * W + B / n) / W)),
            "the factor of W is (n − 1)/n, with a minus"),
     Mutant("between over within", _rhat_with(lambda n, W, B: np.sqrt(B / W)),
            "that compares B with W alone; the numerator mixes both into one estimate of the variance"),
     Mutant("turned over", _rhat_with(lambda n, W, B: np.sqrt(W / ((n - 1) / n * W + B / n))),
            "the fraction stands on its head: W belongs below"),
     Mutant("wrong axis", lambda chains: _rhat_with(lambda n, W, B: np.sqrt(((n - 1) / n * W + B / n) / W))(np.asarray(chains).T),
            "a chain is a row: average and take variances along axis 1"),
     Mutant("all draws in one pot", lambda chains: np.sqrt(np.var(chains, ddof=1) / _parts(chains)[1]),
            "the numerator is not the variance of all draws in one pot, but (n − 1)/n W + B/n"),
     Mutant("sds averaged", lambda chains: np.sqrt(
        1 - 1 / np.shape(chains)[1] + np.mean(chains, axis=1).var(ddof=1) / np.std(chains, axis=1, ddof=1).mean()**2),
            "W averages the variances of the chains, not their standard deviations")])

# ---- 9.3 -------------------------------------------------------------------------------------------------------------


def _by_series(phi, n):
    t = np.arange(1, 4001)
    return n / (1 + 2 * (np.asarray(phi, float)[..., None]**t).sum(axis=-1))


ess_ar1 = Check(
    "ess_ar1", _by_series, [(0.81, 1000), (np.array([-0.9, -0.3, 0.0, 0.5, 0.99]), 4000), (0.25, 10)],
    [Mutant("turned over", lambda phi, n: n * (1 + phi) / (1 - phi), "turned over: memory (φ > 0) must make the ESS smaller"),
     Mutant("squared", lambda phi, n: n * (1 - phi**2) / (1 + phi**2),
            "φ is the correlation of neighbours itself; it need not be squared again"),
     Mutant("factor two", lambda phi, n: n * (1 - phi), "the sum counts twice, for the lags before and after: 1 + 2Σ, not 1 + Σ"),
     Mutant("one lag", lambda phi, n: n / (1 + 2 * phi), "only the first lag is counted; the series goes on: φ + φ² + φ³ + …"),
     Mutant("lag zero counted", lambda phi, n: n / (1 + 2 / (1 - phi)), "the series begins at t = 1, with φ; yours begins with 1"),
     Mutant("share", lambda phi, n: (1 - phi) / (1 + phi) + 0 * n, "that is the share per draw; multiply by n"),
     Mutant("absolute", lambda phi, n: n * (1 - np.abs(phi)) / (1 + np.abs(phi)), "a negative φ helps: the sign counts"),
     Mutant("capped", lambda phi, n: np.minimum(n * (1 - phi) / (1 + phi), n), "an ESS above n is possible: with φ < 0 errors cancel"),
     Mutant("root", lambda phi, n: n * np.sqrt((1 - phi) / (1 + phi)),
            "that root is the factor for the standard error; the ESS goes without")])

# ---- 9.4 -------------------------------------------------------------------------------------------------------------


def _zhang_stephens(y):
    """Zhang and Stephens' estimate by its definition, one candidate after the other; y: sorted excesses."""
    n, m = len(y), 30 + int(np.sqrt(len(y)))
    thetas, log_lik = [], []
    for j in range(1, m + 1):
        theta = 1 / y[-1] + (1 - np.sqrt(m / (j - 0.5))) / (3 * y[int(n / 4 + 0.5) - 1])
        k = np.mean(np.log(1 - theta * y))
        thetas.append(theta)
        log_lik.append(n * (np.log(-theta / k) - k - 1))
    best = np.dot(thetas, np.exp(log_lik - logsumexp(log_lik)))
    return np.mean(np.log(1 - best * y))


def _khat_with(tail=lambda S: int(np.ceil(min(S / 5, 3 * np.sqrt(S)))), weights=np.exp, cut=True,
               pull=lambda k, M: (M * k + 5) / (M + 10)):
    def khat(logw):
        logw = np.sort(np.asarray(logw, float))
        M = tail(len(logw))
        w = weights(logw[-M - 1:] - logw[-1])
        return pull(_zhang_stephens(w[1:] - (w[0] if cut else 0)), M)
    return khat


def _threshold_among_them(logw):
    logw = np.sort(np.asarray(logw, float))
    M = int(np.ceil(min(len(logw) / 5, 3 * np.sqrt(len(logw)))))
    w = np.exp(logw[-M:] - logw[-1])
    return ((M - 1) * _zhang_stephens(w[1:] - w[0]) + 5) / (M + 9)


def _smallest(logw):
    return _khat_with()(-np.asarray(logw))


def _naive(logw):
    w = np.sort(np.exp(logw))
    M = int(np.ceil(min(len(w) / 5, 3 * np.sqrt(len(w)))))
    return (M * _zhang_stephens(w[-M:] - w[-M - 1]) + 5) / (M + 10)


def _unchanged_by_order(f):
    logw = np.random.default_rng(7).standard_normal(500)**2
    return np.allclose(f(logw), f(logw[::-1] + 3.0))


_A, _B = np.random.default_rng(94).standard_normal((2, 1500))
khat = Check(
    "khat", _khat_with(),
    [(0.4 * (_A**2 - _B**2),), (0.3 * _A[:1000]**2 - 2000.0,), (0.45 * (_B[:100]**2 - _A[:100]**2),), (np.abs(_A[:400]),)],
    [Mutant("logarithms fitted", _khat_with(weights=lambda a: a),
            "the excesses are those of the weights, not of their logarithms: exp is missing"),
     Mutant("exp without a shift", _naive,
            "exp of −1000 is 0: subtract the largest log weight first; k-hat does not mind a constant factor"),
     Mutant("no threshold", _khat_with(cut=False), "fit the excesses: the threshold must be taken off the weights"),
     Mutant("threshold among them", _threshold_among_them,
            "the threshold is the largest weight that is not among the M, so M + 1 weights are needed"),
     Mutant("not pulled", _khat_with(pull=lambda k, M: k), "the pull towards ½ is missing: (M k + 5)/(M + 10)"),
     Mutant("pulled to zero", _khat_with(pull=lambda k, M: M * k / (M + 10)),
            "pulled to 0 instead of ½: ten draws with k = ½ add 5 in the numerator"),
     Mutant("pulled to one", _khat_with(pull=lambda k, M: (M * k + 10) / (M + 10)), "pulled to 1 instead of ½: 10 · ½ is 5"),
     Mutant("a fifth, always", _khat_with(tail=lambda S: int(np.ceil(S / 5))), "M is the smaller of S/5 and 3√S; you always take S/5"),
     Mutant("three roots, always", _khat_with(tail=lambda S: int(np.ceil(3 * np.sqrt(S)))),
            "M is the smaller of S/5 and 3√S; you always take 3√S"),
     Mutant("the larger", _khat_with(tail=lambda S: int(np.ceil(max(S / 5, 3 * np.sqrt(S))))),
            "M is the smaller of S/5 and 3√S; you take the larger"),
     Mutant("all weights", _khat_with(tail=lambda S: S - 1), "only the M largest weights are fitted; you take all of them"),
     Mutant("the smallest", _smallest, "those are the smallest weights; the giants are at the other end"),
     Mutant("sign", _khat_with(pull=lambda k, M: (-M * k + 5) / (M + 10)), "the sign of the shape is turned: heavy tails have k > 0")],
    properties=[("order and factor", _unchanged_by_order,
                 "the order of the weights, or a constant factor, changes your k-hat; neither should")], rtol=1e-4)

# ---- 9.5 -------------------------------------------------------------------------------------------------------------


def _by_root(S):
    """The k at which 10^(1/(1-k)) draws are needed, found as a root; never more than 0.7."""
    def one(s):
        return min(brentq(lambda k: 1 / (1 - k) - np.log(s) / np.log(10), -2, 0.999), 0.7)
    return np.vectorize(one)(S)


khat_threshold = Check(
    "khat_threshold", _by_root, [(200,), (1000,), (4000,), (np.array([11, 15, 50, 2154, 2155, 100_000]),)],
    [Mutant("natural logarithm", lambda S: np.minimum(1 - 1 / np.log(S), 0.7), "the logarithm is to the base 10 here"),
     Mutant("maximum", lambda S: np.maximum(1 - 1 / np.log10(S), 0.7), "the smaller of the two counts, not the larger"),
     Mutant("no cap", lambda S: 1 - 1 / np.log10(S), "above about 2,000 draws the limit stays at 0.7"),
     Mutant("always 0.7", lambda S: 0.7 + 0 * np.log10(S), "with few draws the limit is lower than 0.7"),
     Mutant("one minus forgotten", lambda S: np.minimum(1 / np.log10(S), 0.7), "1 − is missing: more draws must allow a larger k"),
     Mutant("root of S", lambda S: np.minimum(1 - 1 / np.sqrt(S), 0.7), "it is the logarithm of S that counts, not its root")])

# ---- 9.6 -------------------------------------------------------------------------------------------------------------
START = np.array([0.0, -0.005])
BATCH = np.array([1.2, -0.3, 2.5, 0.9])


def _by_parabola(eta, N, x, rho, prior_prec):
    """log posterior of mu for N copies of the minibatch's average datum: a parabola, whose coefficients are fitted."""
    mu = np.linspace(-1, 1, 5)
    log_p = -prior_prec * mu**2 / 2 + N * np.mean([-(v - mu)**2 / 2 for v in np.atleast_1d(x)], axis=0)
    quadratic, linear, _ = np.polyfit(mu, log_p, 2)
    eta = np.asarray(eta, float)
    return eta + rho * (np.array([linear, quadratic]) - eta)


def _svi(target, mix=lambda eta, hat, rho: (1 - rho) * eta + rho * hat):
    return lambda eta, N, x, rho, prior_prec: mix(np.asarray(eta, float), np.array(target(N, np.atleast_1d(x), prior_prec)), rho)


def _hat(N, x, p):
    return [N * x.mean(), -0.5 * (N + p)]


svi_step = Check(
    "svi_step", _by_parabola,
    [(START, 1000, 2.0, 0.1, 0.01), (np.array([700.0, -300.0]), 1000, BATCH, 0.3, 1.0), (np.array([5.0, -2.0]), 4, BATCH, 1.0, 0.5)],
    [Mutant("batch not scaled up", _svi(lambda N, x, p: [x.sum(), -0.5 * (len(x) + p)]),
            "the minibatch stands for all N data: multiply its sum by N/B"),
     Mutant("only the sum not scaled", _svi(lambda N, x, p: [x.sum(), -0.5 * (N + p)]),
            "η̂₁ is the minibatch's sum times N/B; the factor is missing there"),
     Mutant("sum for mean", _svi(lambda N, x, p: [N * x.sum(), -0.5 * (N + p)]),
            "N times the sum is B times too much: N/B times the sum, or N times the mean"),
     Mutant("prior forgotten", _svi(lambda N, x, p: [N * x.mean(), -0.5 * N]), "the prior's precision belongs to η₂"),
     Mutant("prior scaled up", _svi(lambda N, x, p: [N * x.mean(), -0.5 * N * (1 + p)]), "the prior counts once, not N times"),
     Mutant("precision", _svi(lambda N, x, p: [N * x.mean(), N + p]), "η₂ is −½ times the precision; yours is the precision"),
     Mutant("half forgotten", _svi(lambda N, x, p: [N * x.mean(), -(N + p)]), "η₂ is −½ times the precision; the half is missing"),
     Mutant("mean", _svi(lambda N, x, p: [N * x.mean() / (N + p), -0.5 * (N + p)]),
            "η₁ is precision times mean, the sum of the data; yours is the mean"),
     Mutant("weights swapped", _svi(_hat, lambda eta, hat, rho: rho * eta + (1 - rho) * hat),
            "ρ and 1 − ρ are swapped: with ρ = 1 the target is reached"),
     Mutant("added", _svi(_hat, lambda eta, hat, rho: eta + rho * hat), "step by ρ(η̂ − η), not by ρ η̂: the old η must shrink"),
     Mutant("away", _svi(_hat, lambda eta, hat, rho: eta - rho * (hat - eta)), "that steps away from the target: the ELBO is maximised"),
     Mutant("no step", _svi(_hat, lambda eta, hat, rho: hat), "that jumps to the target at once; take a share ρ of the way"),
     Mutant("order", lambda eta, N, x, rho, prior_prec: _by_parabola(eta, N, x, rho, prior_prec)[::-1], "the order is η₁, then η₂")])
