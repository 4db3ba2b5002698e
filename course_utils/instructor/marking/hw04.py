"""Marking of homework 04: ELBO and gap of a table, a change point by coordinate ascent, Laplace in logits, the pair to keep together."""

from itertools import combinations

import numpy as np
import torch
from scipy import optimize
from scipy.special import betaln, digamma, entr, logsumexp, polygamma, rel_entr, softmax
from torch.distributions import MultivariateNormal, kl_divergence

from . import Group, Marking, Mutant

# --- elbo_and_gap: the KL to the normalised posterior, taken off the log-evidence ---


def _from_posterior(log_joint, q):
    gap = rel_entr(q, softmax(log_joint)).sum()
    return logsumexp(log_joint) - gap, gap


def _table_cases(rng):
    def one(K, constant, zeros=0):
        q = rng.dirichlet(np.full(K, 2.0)) + 0.02
        q[:zeros] = 0
        return rng.normal(-3, 1.2, K) + constant, q / q.sum()
    return [Group("q positive", [one(3, 0.0), one(5, 1.0)], "ELBO = E_q[log p(x, z)] + H[q]; the gap is log p(x) minus that"),
            Group("q with zeros", [one(4, 0.0, 1), one(5, 0.0, 2)], "0 · log 0 counts as 0"),
            Group("log-joint far below zero", [one(4, -2000.0)], "use logsumexp for log p(x)")]


def _naive(log_joint, q):
    with np.errstate(all="ignore"):
        elbo = np.sum(q * (log_joint - np.log(q)))
    return elbo, logsumexp(log_joint) - elbo


def _elbo(log_joint, q, entropy=1.0):
    return q @ log_joint + entropy * entr(q).sum()


def _underflow(log_joint, q):
    with np.errstate(all="ignore"):
        return _elbo(log_joint, q), np.log(np.exp(log_joint).sum()) - _elbo(log_joint, q)


elbo_and_gap = Marking(
    "elbo_and_gap", _from_posterior, _table_cases,
    [Mutant("entropy forgotten", lambda l, q: (_elbo(l, q, 0), logsumexp(l) - _elbo(l, q, 0)), "the entropy of q is missing: −Σ q log q"),
     Mutant("sign of the entropy", lambda l, q: (_elbo(l, q, -1), logsumexp(l) - _elbo(l, q, -1)),
            "the entropy is added: −Σ q log q is positive, and a wide q is rewarded"),
     Mutant("forward KL", lambda l, q: (_elbo(l, q), rel_entr(softmax(l), q).sum()),
            "the gap is KL(q ‖ p(z | x)); yours is the KL in the other direction"),
     Mutant("sign of the gap", lambda l, q: (_elbo(l, q), _elbo(l, q) - logsumexp(l)), "the gap is log p(x) minus the ELBO, never "
     "negative"),
     Mutant("best z for the evidence", lambda l, q: (_elbo(l, q), np.max(l) - _elbo(l, q)),
            "log p(x) adds up over all z; the largest log-joint alone is not it"),
     Mutant("KL to the joint", lambda l, q: (_elbo(l, q), -_elbo(l, q)), "the joint is no distribution over z: divide it by p(x), or "
     "use log p(x) − ELBO"),
     Mutant("bits", lambda l, q: tuple(v / np.log(2) for v in _from_posterior(l, q)), "the course counts in nats: use natural logarithms"),
     Mutant("0 log 0", _naive, "0 · log 0 counts as 0, but NumPy makes nan of it: leave out the entries where q is zero"),
     Mutant("underflow", _underflow, "exp(−2000) is 0 to a computer, so log p(x) becomes −inf: use logsumexp")],
    [lambda l, q: (_elbo(l, q), logsumexp(l) - _elbo(l, q))], partial={"0 log 0": 2 / 3, "underflow": 2 / 3}, rtol=1e-7)


# --- rates_update: averaged over the days of change, one at a time ---


def _rates_by_days(x, r, a, b):
    alpha, beta = np.full(2, float(a)), np.full(2, float(b))
    for t, weight in enumerate(r, 1):
        alpha += weight * np.array([np.sum(x[:t]), np.sum(x[t:])])
        beta += weight * np.array([t, len(x) - t])
    return alpha, beta


def _series(rng, N, before=9.0, after=4.0):
    change = int(N * rng.uniform(0.3, 0.7))
    return np.append(rng.poisson(before, change), rng.poisson(after, N - change))


def _rates_cases(rng):
    def one(N):
        r = rng.dirichlet(np.full(N - 1, 0.7)) + 0.01
        return _series(rng, N), r / r.sum(), float(rng.uniform(0.5, 3)), float(rng.uniform(0.2, 1))
    hint = "day n belongs to the first rate with probability q(τ ≥ n); weigh both the counts and the days by it"
    return [Group("a week", [one(7), one(7)], hint), Group("a month", [one(30)], hint)]


def _rates(x, r, a, b, before=lambda r: np.append(np.cumsum(r[::-1])[::-1], 0.0), days=None):
    g = before(np.asarray(r))
    weights = np.array([g, 1 - g])
    return a + weights @ x, b + (weights.sum(axis=1) if days is None else days(weights))


rates_update = Marking(
    "rates_update", _rates_by_days, _rates_cases,
    [Mutant("before and after swapped", lambda x, r, a, b: tuple(v[::-1] for v in _rates(x, r, a, b)),
            "the first rate is that of the days up to τ, the second of the days after it"),
     Mutant("a day late", lambda x, r, a, b: _rates(x, r, a, b, before=lambda r: np.append(1.0, 1 - np.append(0, np.cumsum(r)[:-1]))),
            "day τ itself still has the first rate, and day τ + 1 has not: day n belongs to it with probability q(τ ≥ n)"),
     Mutant("a day early", lambda x, r, a, b: _rates(x, r, a, b, before=lambda r: np.append(np.cumsum(r[::-1])[::-1][1:], [0.0, 0.0])),
            "day τ itself still has the first rate: day n belongs to it if τ ≥ n, not only if τ > n"),
     Mutant("best day only", lambda x, r, a, b: _rates(x, np.eye(len(r))[np.argmax(r)], a, b),
            "you took the most probable day of change for certain; average over q(τ)"),
     Mutant("prior forgotten", lambda x, r, a, b: _rates(x, r, 0.0, 0.0), "the prior's a and b are missing: they are added to counts "
     "and days"),
     Mutant("all days for both", lambda x, r, a, b: _rates(x, r, a, b, days=lambda w: np.full(2, len(x))),
            "each rate has only its own days: the second results add up expected numbers of days, not N for both"),
     Mutant("weights of single days", lambda x, r, a, b: _rates(x, r, a, b, before=lambda r: np.append(r, 0.0)),
            "r[t − 1] is the probability that the change is after day t; that day n lies before the change has the probability of all τ "
            "≥ n together"),
     Mutant("scale for rate", lambda x, r, a, b: (_rates(x, r, a, b)[0], 1 / _rates(x, r, a, b)[1]),
            "the second results are rates β, not scales 1/β")],
    [lambda x, r, a, b: [_rates(x, r, a, b)[0].tolist(), _rates(x, r, a, b)[1].tolist()], lambda x, r, a, b: _rates(x, r, a, b)], rtol=1e-8)


# --- change_update: odds of neighbouring days, from quadrature of log lambda ---


def _mean_log(alpha, beta):
    """E[log lambda] as the derivative of log E[lambda^s] at s = 0, by torch."""
    s = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moment = torch.lgamma(torch.tensor(float(alpha), dtype=torch.float64) + s) - s * np.log(beta)
    return torch.autograd.grad(moment, s)[0].item()


def _by_odds(x, alpha, beta):
    step = np.asarray(x) * (_mean_log(alpha[0], beta[0]) - _mean_log(alpha[1], beta[1])) - (alpha[0] / beta[0] - alpha[1] / beta[1])
    return softmax(np.cumsum(step[:-1]))  # moving day t from the second rate to the first multiplies the odds by exp(step[t])


def _change_cases(rng):
    def short(N):
        return _series(rng, N, 6.0, 4.5), rng.uniform(4, 8, 2).round(2), np.array([0.9, 1.3]) * rng.uniform(0.8, 1.2)

    def long(N):
        alpha = rng.uniform(6, 8, 2).round(2)
        beta = alpha / np.array([80.0, 60.0])
        even = (80.0 - 60.0) / (_mean_log(alpha[0], beta[0]) - _mean_log(alpha[1], beta[1]))
        return np.round(even + rng.normal(0, 1.0, N)).astype(int), alpha, beta
    hint = "log q(τ = t) adds x_n E[log λ] − E[λ] over the days, with the first rate up to day t and the second after it"
    return [Group("about two weeks", [short(12), short(16)], hint),
            Group("a year of large counts", [long(365)], hint + "; subtract the largest before exp")]


def _change(x, alpha, beta, mean_log=lambda a, b: digamma(a) - np.log(b), mean=lambda a, b: a / b, normalise=softmax, shift=0, linear=1.0):
    x, alpha, beta = np.asarray(x), np.asarray(alpha), np.asarray(beta)
    day = np.outer(x, mean_log(alpha, beta)) - linear * mean(alpha, beta)
    total = [day[:t + shift, 0].sum() + day[t + shift:, 1].sum() for t in range(1, len(x))]
    return normalise(np.array(total))


def _overflow(log_r):
    with np.errstate(all="ignore"):
        return np.exp(log_r) / np.exp(log_r).sum()


change_update = Marking(
    "change_update", _by_odds, _change_cases,
    [Mutant("log of the mean", lambda *c: _change(*c, mean_log=lambda a, b: np.log(a / b)),
            "the rule averages the logarithm: E[log λ] = ψ(α) − log β, which is below log E[λ] = log(α/β)"),
     Mutant("exponentials forgotten", lambda *c: _change(*c, linear=0.0), "each day also brings −E[λ], from the exp(−λ) of the Poisson"),
     Mutant("rates swapped", lambda x, a, b: _change(x, a[::-1], b[::-1]), "up to day t the first rate is at work, after it the second"),
     Mutant("a day early", lambda *c: _change(*c, shift=-1), "day t itself still has the first rate when τ = t"),
     Mutant("a day late", lambda *c: _change(*c, shift=1), "when τ = t, day t + 1 already has the second rate"),
     Mutant("not normalised", lambda *c: _change(*c, normalise=lambda v: np.exp(v - v.max())), "q(τ) should sum to 1"),
     Mutant("mean upside down", lambda *c: _change(*c, mean=lambda a, b: b / a), "E[λ] is α / β"),
     Mutant("logarithms returned", lambda *c: _change(*c, normalise=lambda v: v - logsumexp(v)), "return q(τ) itself, not its logarithm"),
     Mutant("overflow", lambda *c: _change(*c, normalise=_overflow),
            "right for a few days; for a year of large counts exp overflows: subtract the largest logarithm first, or use softmax")],
    [lambda *c: _change(*c)], partial={"overflow": 0.5}, rtol=1e-6, atol=1e-9)


# --- cavi_change ---


def _cavi(x, a, b, sweeps, rates=_rates_by_days, change=_by_odds):
    r = np.full(len(x) - 1, 1 / (len(x) - 1))
    for _ in range(sweeps):
        alpha, beta = rates(x, r, a, b)
        r = change(x, alpha, beta)
    return r, alpha, beta


def _cavi_cases(rng):
    def one(N, sweeps):
        change = int(N * rng.uniform(0.3, 0.7))
        x = np.append(rng.poisson(7, change), rng.poisson(4, N - change))
        return x, float(rng.uniform(1, 3)), float(rng.uniform(0.2, 0.6)), sweeps
    hint = "start with q(τ) uniform; a sweep updates the rates from q(τ), then q(τ) from the new rates"
    return [Group("two and three sweeps", [one(10, 2), one(14, 3)], hint), Group("more sweeps", [one(25, 6)], hint)]


def _cavi_hard(x, a, b, sweeps):
    return _cavi(x, a, b, sweeps, change=lambda *c: np.eye(len(x) - 1)[np.argmax(_by_odds(*c))])


def _cavi_short(x, a, b, sweeps):
    return _cavi(x, a, b, sweeps - 1) if sweeps > 1 else (np.full(len(x) - 1, 1 / (len(x) - 1)), np.full(2, a), np.full(2, b))


def _cavi_piling(x, a, b, sweeps):
    r = np.full(len(x) - 1, 1 / (len(x) - 1))
    for _ in range(sweeps):
        a, b = _rates(x, r, a, b)
        r = _by_odds(x, a, b)
    return r, a, b


def _cavi_half_more(x, a, b, sweeps):
    r, _, _ = _cavi(x, a, b, sweeps)
    return (r, *_rates_by_days(x, r, a, b))


def _cavi_parallel(x, a, b, sweeps):
    r = np.full(len(x) - 1, 1 / (len(x) - 1))
    alpha, beta = _rates_by_days(x, r, a, b)
    for _ in range(sweeps):
        (alpha, beta), r = _rates_by_days(x, r, a, b), _by_odds(x, alpha, beta)
    return r, alpha, beta


cavi_change = Marking(
    "cavi_change", _cavi, _cavi_cases,
    [Mutant("best day only", _cavi_hard, "you keep only the most probable day after each sweep; hand the whole q(τ) on"),
     Mutant("one sweep too few", _cavi_short, "one sweep is missing: n sweeps update everything n times"),
     Mutant("prior piles up", _cavi_piling,
            "you use the last sweep's α, β as the prior of the next, so the same data count again and again; a and b stay what they are"),
     Mutant("half a sweep more", _cavi_half_more, "you update the rates once more at the end; the last update of a sweep is that of q(τ)"),
     Mutant("always from the start", lambda x, a, b, n: _cavi(x, a, b, 1), "each sweep starts again from the uniform q(τ); it should go "
     "on from the last one"),
     Mutant("all at once", _cavi_parallel, "you compute both updates from the old values; q(τ) should use the newest α and β")],
    [lambda x, a, b, n: _cavi(np.asarray(x), a, b, n, rates=_rates, change=_change)], needs=("rates_update",
    "change_update"), rtol=1e-6, atol=1e-9)


# --- laplace_logit: by torch's autograd and a root finder ---


def _by_newton(heads, tails, a, b):
    def log_joint(u):
        log_z, log_1z = torch.nn.functional.logsigmoid(u), torch.nn.functional.logsigmoid(-u)
        slope_of_z = log_z + log_1z                                   # dz/du = z (1 − z)
        return (a - 1 + heads) * log_z + (b - 1 + tails) * log_1z + slope_of_z - betaln(a, b)

    def slope(u, graph=False):
        u = torch.tensor(float(u), dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(log_joint(u), u, create_graph=True)[0]
        return torch.autograd.grad(first, u)[0].item() if graph else first.item()
    m = optimize.brentq(slope, -20, 20, xtol=1e-12)
    s2 = -1 / slope(m, graph=True)
    return m, s2, log_joint(torch.tensor(m, dtype=torch.float64)).item() + 0.5 * np.log(2 * np.pi * s2)


def _toss_cases(rng):
    def one(low, high):
        heads, tails = rng.integers(low, high, 2)
        return int(heads), int(tails) + high, round(rng.uniform(1.5, 4), 2), round(rng.uniform(1.5, 4), 2)
    hint = "the density of u is p(z) · dz/du with dz/du = z (1 − z); the variance is −1 over the second derivative at the mode"
    return [Group("a few tosses", [one(1, 4), one(2, 6)], hint), Group("many tosses", [one(30, 60)], hint)]


def _logit(heads, tails, a, b, jacobian=0, prior=1.0, s2=lambda v: v, norm=1.0, half=1.0,
           m=lambda A, B: np.log(A / B), var=lambda A, B: 1 / A + 1 / B):
    A, B = prior * a + heads - jacobian, prior * b + tails - jacobian
    peak = A * np.log(A / (A + B)) + B * np.log(B / (A + B)) - norm * betaln(a, b)
    return m(A, B), s2(var(A, B)), peak + half * 0.5 * np.log(2 * np.pi * var(A, B))


laplace_logit = Marking(
    "laplace_logit", _by_newton, _toss_cases,
    [Mutant("slope of z forgotten", lambda *c: _logit(*c, jacobian=1),
            "a density changes with its variable: that of u is p(z) · dz/du, and dz/du = z (1 − z) adds one to each exponent"),
     Mutant("precision for variance", lambda *c: _logit(*c, s2=lambda v: 1 / v), "s² is one over minus the second derivative, not that "
     "derivative"),
     Mutant("sd for variance", lambda *c: _logit(*c, s2=np.sqrt), "the second result should be the variance s²"),
     Mutant("prior forgotten", lambda h, t, a, b: _logit(h, t, a, b, prior=0.0), "the prior adds a − 1 and b − 1 to the exponents of z "
     "and 1 − z"),
     Mutant("constant of the prior", lambda *c: _logit(*c, norm=0.0), "m and s² are right; the prior's constant 1/B(a, b) belongs to "
     "the evidence"),
     Mutant("width forgotten", lambda *c: _logit(*c, half=0.0), "that is the height of the peak; its area is the height times s √(2π)"),
     Mutant("s for s²", lambda *c: _logit(*c)[:2] + (_logit(*c)[2] + 0.25 * np.log(_logit(*c)[1]) - 0.5 * np.log(_logit(*c)[1]),),
            "the area under a bell of height h is h · s √(2π), in logarithms + ½ log(2π s²)"),
     Mutant("mean for mode", lambda *c: _logit(
        *c, m=lambda A, B: digamma(A) - digamma(B), var=lambda A, B: polygamma(1, A) + polygamma(1, B)),
            "those are the exact mean and variance of u; Laplace takes the mode, and the curvature there"),
     Mutant("mode of z", lambda *c: (1 / (1 + np.exp(-_logit(*c)[0])), *_logit(*c)[1:]), "the first result should be the mode of u, the "
     "log-odds, not the z there")],
    [lambda h, t, a, b: _logit(h, t, a, b)], rtol=1e-6)


# --- best_pair: torch's KL of multivariate normals, pair by pair ---


def _kept(precision, pair):
    mask = np.eye(len(precision))
    mask[pair] = mask[pair[::-1]] = 1
    return precision * mask


def _gap(Lambda, pair):
    zero = torch.zeros(len(Lambda), dtype=torch.float64)
    q, p = (MultivariateNormal(zero, precision_matrix=torch.tensor(m)) for m in (_kept(Lambda, pair), Lambda))
    return kl_divergence(q, p).item()


def _by_pairs(Lambda, gap=_gap):
    pair = min(combinations(range(len(Lambda)), 2), key=lambda pair: gap(Lambda, pair))
    return (*pair, gap(Lambda, pair))


def _half_log_dets(M, pair):
    return 0.5 * (np.linalg.slogdet(_kept(M, pair))[1] - np.linalg.slogdet(M)[1])


def _with_gap(Lambda, pair):
    return (*pair, _half_log_dets(Lambda, pair))


def _best(Lambda):
    return _by_pairs(Lambda, _half_log_dets)


def _all_apart(Lambda):
    return 0.5 * (np.log(np.diag(Lambda)).sum() - np.linalg.slogdet(Lambda)[1])


def _strongest(M):
    off = np.abs(M - np.diag(np.diag(M)))
    return min(divmod(int(np.argmax(off)), len(M)), divmod(int(np.argmax(off.T)), len(M)))


def _correlations(M):
    sd = np.sqrt(np.diag(M))
    return M / np.outer(sd, sd)


def _pair_cases(rng):
    def one(D):
        while True:
            mix = rng.standard_normal((D, D + 2))
            scale = np.exp(rng.normal(0, 0.7, D))
            Lambda = (mix @ mix.T / D + 0.2 * np.eye(D)) * np.outer(scale, scale)
            pairs = [_strongest(m) for m in (_correlations(Lambda), _correlations(np.linalg.inv(Lambda)), Lambda)]
            if len(set(pairs)) == 3:
                return (Lambda,)
    hint = "for each pair: KL(q ‖ p), where q's factors have the blocks of Λ as their precision matrices"
    return [Group("four latents", [one(4), one(4)], hint), Group("five latents", [one(5)], hint)]


best_pair = Marking(
    "best_pair", _by_pairs, _pair_cases,
    [Mutant("blocks of the covariance", lambda L: _by_pairs(np.linalg.inv(L), _half_log_dets),
            "you kept the blocks of Σ = Λ⁻¹, which is the answer for the forward KL; for KL(q ‖ p) a factor keeps its block of Λ"),
     Mutant("largest correlation", lambda L: _with_gap(L, _strongest(_correlations(np.linalg.inv(L)))),
            "you chose the pair with the largest correlation; what counts is how two latents depend on each other when the others are "
            "known"),
     Mutant("largest entry", lambda L: _with_gap(L, _strongest(L)),
            "you chose the largest entry of Λ; it depends on the units of the latents: divide by √(Λᵢᵢ Λⱼⱼ), or compare the gaps"),
     Mutant("½ forgotten", lambda L: (*_best(L)[:2], 2 * _best(L)[2]), "log det comes with a ½ in the logarithm of a normal "
     "density"),
     Mutant("sign", lambda L: (*_best(L)[:2], -_best(L)[2]), "a KL is never negative; which log det is the larger?"),
     Mutant("gap without the pair", lambda L: (*_best(L)[:2], _all_apart(L)),
            "that is the gap of the full mean field; asked is the gap that is left when the pair shares a factor"),
     Mutant("what the pair saves", lambda L: (*_best(L)[:2], _all_apart(L) - _best(L)[2]),
            "that is what the pair saves; asked is the gap that is left"),
     Mutant("worst pair", lambda L: _with_gap(L, max(combinations(range(len(L)), 2), key=lambda pair: _half_log_dets(L, pair))),
            "you chose the pair that leaves the largest gap; take the smallest")],
    [_best], rtol=1e-6)


RUBRIC = {"it_has_converged": [
    (1, "says that the change of the ELBO measures how far the optimisation still has to go, not how far q is from the posterior: the "
        "gap KL(q‖p) stays, "
        "however many sweeps"),
    (1, "says that a factor of mean field has the variance 1/Λ_jj, which is the variance with the other coefficients known: too narrow "
        "for each of two "
        "strongly correlated ones, so the intervals are not 95 % intervals (full marks also for the sum or difference, which may come "
        "out too wide)"),
    (1, "says that a higher ELBO may come from a higher evidence or from a smaller gap, since ELBO = log p(x) − KL, so it does not rank "
        "the models"),
    (1, "names a check that would help, with its reason: a q with covariance (or the pair in one factor), MCMC or exact results on a "
        "smaller problem, "
        "simulated data whose truth is known, several starts"),
]}
