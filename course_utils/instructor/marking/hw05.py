"""Marking of homework 05: bounds from both sides, an ELBO for counts, EM for bits, the jackknife, two cuts of one KL."""

import itertools
import math

import numpy as np
import scipy.integrate
import scipy.stats
from scipy.special import entr, gammaln, logsumexp, rel_entr

from . import Code, Group, Marking, Mutant

LOG2 = math.log(2)

RUBRIC = {"which_model": [
    (1, "both numbers are lower bounds with unknown gaps, so neither conclusion follows; a difference of bounds is not a difference of "
     "log p(x)"),
    (1, "L_50 ≥ L_1 for the very same model and q, so K = 50 against K = 1 is no fair comparison and says nothing about q either"),
    (1, "a right example of a worse model with a higher ELBO (the ring and the collapsed model; q held at the prior and θ → 0), "
        "and why: the gap differs between models, the collapsed one has none"),
    (1, "asks for the same K for both, large K or an upper bound or annealed sampling as well, with errors over images or seeds; "
        "looks at the effective sample size or at a few huge weights")]}


def _table(rng, K, low=-9.0):
    return rng.uniform(low, -0.5, K)


def _share(rng, K):
    return rng.dirichlet(np.full(K, 2.0))


# ---- 1 ---------------------------------------------------------------------------------------------------------------
def _three_oracle(log_joint, q):
    """Entry by entry: the posterior from pairwise logaddexp, the bounds as log p(x) minus and plus a KL."""
    log_px = np.logaddexp.reduce(log_joint)
    post = [math.exp(v - log_px) for v in log_joint]
    lower = math.fsum(b * (math.log(b) - (v - log_px)) for b, v in zip(q, log_joint) if b > 0)
    upper = math.fsum(math.inf if b == 0 else a * (math.log(a) - math.log(b)) for a, b in zip(post, q) if a > 0)
    return log_px - lower, log_px, log_px + upper


def _three_cases(rng):
    zeros = _share(rng, 5)
    zeros[rng.integers(5)] = 0.0
    one = np.eye(4)[rng.integers(4)]
    return [Group("ELBO, log p(x) and EUBO where q is nowhere 0", [(_table(rng, K), _share(rng, K)) for K in (2, 4, 7)],
                  "average log p(x, z) − log q(z), once under q and once under the posterior"),
            Group("a guess q with zeros", [(_table(rng, 5), zeros / zeros.sum()), (_table(rng, 4), one)],
                  "0 log 0 counts as 0 in the ELBO; the EUBO averages under the posterior, which does not forgive a q of 0", 0.5),
            Group("log joints near −1000", [(_table(rng, 6) - rng.uniform(900, 1500), _share(rng, 6))],
                  "exp(−1000) is 0 to a computer: take the largest out first", 0.5)]


def _three(log_joint, q, entropy=1.0, upper=None):
    log_px = logsumexp(log_joint)
    post = np.exp(log_joint - log_px)
    high = log_px + rel_entr(post, q).sum() if upper is None else upper(log_joint, q, log_px, post)
    return q @ log_joint + entropy * entr(q).sum(), log_px, high


def _three_naive(log_joint, q):
    p = np.exp(log_joint)
    with np.errstate(all="ignore"):
        log_px = np.log(p.sum())
        return q @ log_joint + entr(q).sum(), log_px, log_px + rel_entr(p / p.sum(), q).sum()


def _three_nan(log_joint, q):
    return (q * (log_joint - np.log(q))).sum(), logsumexp(log_joint), _three(log_joint, q)[2]


def _three_variant(log_joint, q):
    log_joint, q = list(log_joint), list(q)
    top = max(log_joint)
    log_px = top + math.log(sum(math.exp(v - top) for v in log_joint))
    elbo = sum(b * (v - math.log(b)) for v, b in zip(log_joint, q) if b > 0)
    post = [math.exp(v - log_px) for v in log_joint]
    eubo = math.inf if any(b == 0 and a > 0 for a, b in zip(post, q)) else sum(
        a * (v - math.log(b)) for a, v, b in zip(post, log_joint, q) if b > 0)
    return [elbo, log_px, eubo]


three_numbers = Marking(
    "three_numbers", _three_oracle, _three_cases,
    [Mutant("forgot the entropy", lambda lj, q: _three(lj, q, entropy=0.0),
            "your ELBO averages log p(x, z) alone; log w is log p(x, z) − log q(z)"),
     Mutant("entropy subtracted", lambda lj, q: _three(lj, q, entropy=-1.0), "the entropy is added: −log q(z) stands in log w"),
     Mutant("log of the mean weight", lambda lj, q: (logsumexp(lj), *_three(lj, q)[1:]),
            "your ELBO is the log of the mean weight, log p(x) itself; the mean of the log weights is asked for"),
     Mutant("EUBO with the other KL", lambda lj, q: _three(lj, q, upper=lambda lj, q, c, post: c + rel_entr(q, post).sum()),
            "the EUBO averages under the posterior, so its KL has the posterior in first place"),
     Mutant("EUBO without log q", lambda lj, q: _three(lj, q, upper=lambda lj, q, c, post: post @ lj),
            "your EUBO averages log p(x, z) under the posterior; divide by q inside the logarithm"),
     Mutant("bounds exchanged", lambda lj, q: _three(lj, q)[::-1], "the lower bound comes first, the upper one last"),
     Mutant("0 log 0", _three_nan, "right where no entry of q is 0, but nan where one is: 0 log 0 counts as 0"),
     Mutant("underflow", _three_naive, "right for large weights, but exp(−1000) is 0 to a computer: use logsumexp"),
     Mutant("bits", lambda lj, q: tuple(np.array(_three(lj, q)) / LOG2), "yours are bits; nats are asked for, the natural logarithm")],
    variants=[_three_variant], partial={"0 log 0": 0.75, "underflow": 0.75})


# ---- 2 ---------------------------------------------------------------------------------------------------------------
def _counts_oracle(x, m, s):
    """Quadrature of q (log p(x, z) − log q) over z; Poisson and normal by scipy.stats."""
    q = scipy.stats.norm(m, s)

    def inside(z):
        return q.pdf(z) * (scipy.stats.norm.logpdf(z) + scipy.stats.poisson.logpmf(x, math.exp(z)).sum() - q.logpdf(z))
    return scipy.integrate.quad(inside, m - 10 * s, m + 10 * s, epsabs=1e-10, epsrel=1e-10, limit=200)[0]


def _counts_cases(rng):
    def guess():
        return rng.uniform(-0.5, 1.2), rng.uniform(0.2, 0.9)
    return [Group("a single count", [(np.array([n]), *guess()) for n in (0, rng.integers(2, 5), rng.integers(5, 9))],
                  "check each term at x = 0 first: only the mean of e^z and the KL are left there"),
            Group("several counts that share one z", [(rng.poisson(2.0, n) + rng.integers(1, 3), *guess()) for n in (3, 6)],
                  "sum over the counts; the KL is paid once, for the one latent", 2.0)]


def _counts(x, m, s, mean_exp=None, factorial=1.0, kls=1.0, reduce=np.sum, kl_s=None):
    mean_exp = np.exp(m + s**2 / 2) if mean_exp is None else mean_exp
    t = s if kl_s is None else kl_s
    return reduce(x * m - mean_exp - factorial * gammaln(x + 1.0)) - kls * (-np.log(t) + (t**2 + m**2) / 2 - 0.5)


def _gamma_for_factorial(x, m, s):
    return _counts(x, m, s, factorial=0.0) - gammaln(np.asarray(x, float)).sum()  # infinite at x = 0, as for a student


def _counts_variant(x, m, s):
    return sum(n * m - math.exp(m + s * s / 2) - math.lgamma(n + 1) for n in x) - 0.5 * (s * s + m * m - 1) + math.log(s)


elbo_counts = Marking(
    "elbo_counts", _counts_oracle, _counts_cases,
    [Mutant("forgot the spread in the rate", lambda x, m, s: _counts(x, m, s, np.exp(m)),
            "E_q[e^z] is not e^m: a bell's right half weighs more once it is exponentiated; complete the square"),
     Mutant("s for s² in the rate", lambda x, m, s: _counts(x, m, s, np.exp(m + s / 2)),
            "the mean of e^z contains half the variance s², yours half of s"),
     Mutant("lost the half in the rate", lambda x, m, s: _counts(x, m, s, np.exp(m + s**2)),
            "the mean of e^z contains half the variance; yours has all of it"),
     Mutant("lost log x!", lambda x, m, s: _counts(x, m, s, factorial=0.0),
            "log x_n! belongs to the Poisson probability; without it this bounds nothing"),
     Mutant("gamma for factorial", _gamma_for_factorial, "gammaln(x) is log (x − 1)!; log x! is gammaln(x + 1)"),
     Mutant("a KL for each count", lambda x, m, s: _counts(x, m, s, kls=len(x)),
            "right for one count, but you pay the KL once for each; the day has one latent"),
     Mutant("mean over the counts", lambda x, m, s: _counts(x, m, s, reduce=np.mean),
            "right for one count, but the log-probabilities of independent counts add up: sum, do not average"),
     Mutant("KL added", lambda x, m, s: _counts(x, m, s, kls=-1.0), "the KL to the prior is subtracted from the reconstruction"),
     Mutant("forgot the KL", lambda x, m, s: _counts(x, m, s, kls=0.0), "that is the reconstruction alone; the KL to the prior is missing"),
     Mutant("variance for standard deviation", lambda x, m, s: _counts(x, m, np.sqrt(s)), "s is a standard deviation and enters squared"),
     Mutant("variance into kl_normal", lambda x, m, s: _counts(x, m, s, kl_s=s**2), "kl_normal takes standard deviations; yours gets s²")],
    variants=[_counts_variant],
    partial={"a KL for each count": 1 / 3, "mean over the counts": 1 / 3}, rtol=1e-6, atol=1e-7)


# ---- 3 ---------------------------------------------------------------------------------------------------------------
def _em_oracle(X, weights, P):
    """Record by record, position by position, with scipy's Bernoulli and pairwise logaddexp."""
    r, total = [], 0.0
    for x in X:
        logs = [math.log(w) + math.fsum(scipy.stats.bernoulli.logpmf(x, p)) for w, p in zip(weights, P)]
        evidence = np.logaddexp.reduce(logs)
        total += evidence
        r.append([math.exp(v - evidence) for v in logs])
    r = np.array(r)
    return r.mean(axis=0), np.array([np.average(X, axis=0, weights=r_k) for r_k in r.T]), total


def _em_cases(rng):
    def short(N, D, K):
        return rng.integers(2, size=(N, D)), _share(rng, K), rng.uniform(0.15, 0.85, (K, D))
    s = int(rng.integers(10**6))
    many = (Code(f"np.random.default_rng({s}).integers(2, size=(5, 1500))"), _share(rng, 2),
            Code(f"np.random.default_rng({s + 1}).normal(0.5, 0.006, size=(2, 1500))"))
    return [Group("one round on short records", [short(9, 4, 2), short(14, 6, 3)],
                  "E: the posterior of each record's component, a row that sums to 1; M: shares and weighted means"),
            Group("records of 1,500 positions", [many],
                "a product of 1,500 probabilities is 0 to a computer: subtract the largest logarithm before exp", 1 / 3)]


def _em(X, weights, P, prior=True, tails=True, axis=1, hard=False, by_n=False, keep=False, total=None):
    table = np.log(weights) * prior + X @ np.log(P).T + tails * ((1 - X) @ np.log(1 - P).T)
    r = np.exp(table - logsumexp(table, axis=axis, keepdims=True))
    if hard:
        r = np.eye(len(weights))[r.argmax(axis=1)]
    counts = r.sum(axis=0)
    score = logsumexp(table, axis=1).sum() if total is None else total(table, r)
    return weights if keep else counts / counts.sum(), r.T @ X / (len(X) if by_n else counts[:, None]), score


def _em_naive(X, weights, P):
    table = weights * np.array([[np.prod(np.where(x == 1, p, 1 - p)) for p in P] for x in X])
    evidence = table.sum(axis=1)
    r = table / evidence[:, None]
    return r.mean(axis=0), r.T @ X / r.sum(axis=0)[:, None], np.log(evidence).sum()


def _em_loop(X, weights, P):
    logs = np.log(weights)[None] + np.where(X[:, None] == 1, np.log(P), np.log1p(-P)).sum(axis=2)
    top = logs.max(axis=1, keepdims=True)
    r = np.exp(logs - top)
    evidence = r.sum(axis=1, keepdims=True)
    r = r / evidence
    return [r.mean(axis=0), np.einsum("nk,nd->kd", r, X) / r.sum(axis=0)[:, None], float((np.log(evidence) + top).sum())]


em_bits = Marking(
    "em_bits", _em_oracle, _em_cases,
    [Mutant("forgot the weights", lambda X, w, P: _em(X, w, P, prior=False),
           "your E step forgets π_k: the posterior is prior times likelihood"),
     Mutant("heads only", lambda X, w, P: _em(X, w, P, tails=False), "the zeros of a record count too: (1 − x) log(1 − P)"),
     Mutant("normalised over the records", lambda X, w, P: _em(X, w, P, axis=0),
            "r is normalised over the records n; for each record it must sum to 1 over the components k"),
     Mutant("hard assignment", lambda X, w, P: _em(X, w, P, hard=True),
            "each record is given wholly to its likeliest component; r_nk are probabilities"),
     Mutant("divided by N", lambda X, w, P: _em(X, w, P, by_n=True),
            "the new P_kd is divided by N; component k owns only N_k = Σ_n r_nk of the records"),
     Mutant("old weights returned", lambda X, w, P: _em(X, w, P, keep=True),
            "P is new, but the weights are still the old ones: the M step has a share for each component"),
     Mutant("log-likelihood per record", lambda X, w, P: _em(X, w, P, total=lambda t, r: logsumexp(t, axis=1).mean()),
            "the third number is the log-likelihood of all records: a sum over n"),
     Mutant("expected log joint", lambda X, w, P: _em(X, w, P, total=lambda t, r: (r * t).sum()),
            "your third number is E[log p(x, k)] without the entropy of r; the log-likelihood is log Σ_k p(x, k)"),
     Mutant("underflow", _em_naive,
            "right for short records, but a product of 1,500 probabilities is 0 to a computer: stay with logarithms")],
    variants=[_em_loop], partial={"underflow": 0.75}, rtol=1e-6)


# ---- 4 ---------------------------------------------------------------------------------------------------------------
def _jack_oracle(logw):
    """Every subset of K − 1 weights by itself, in extended precision after taking the row's first weight out."""
    logw = np.asarray(logw, float)
    out = np.empty(logw.shape[:-1])
    for index in np.ndindex(out.shape):
        row = logw[index]
        w, K = [math.exp(v - row.max()) for v in row], len(row)
        rungs = [math.log(math.fsum(c) / (K - 1)) for c in itertools.combinations(w, K - 1)]
        out[index] = row.max() + K * math.log(math.fsum(w) / K) - (K - 1) * math.fsum(rungs) / K
    return out


def _jack_cases(rng):
    return [Group("rows of log weights", [(rng.normal(-2, 1.0, (3, 2)),), (rng.normal(-1, 1.5, (2, 5)),), (rng.normal(-3, 1.0,
        (2, 3, 4)),)],
                  "a + b = 1 and a/K + b/(K − 1) = 0 give both coefficients"),
            Group("log weights near −1000", [(rng.normal(-rng.uniform(900, 1500), 1.0, (2, 6)),)],
                "exp(−1000) is 0 to a computer: use log_mean_exp", 1 / 3)]


def _lme(a, axis=-1, size=None):
    a = np.asarray(a, float)
    return logsumexp(a, axis=axis) - math.log(size or a.shape[axis])


def _jack(logw, a=None, b=None, rung=None, pool=np.mean):
    logw = np.asarray(logw, float)
    K = logw.shape[-1]
    rung = rung or _lme
    others = pool([rung(np.delete(logw, k, axis=-1)) for k in range(K)], axis=0)
    return (K if a is None else a(K)) * _lme(logw) - (K - 1 if b is None else b(K)) * others


def _jack_naive(logw):
    w = np.exp(np.asarray(logw, float))
    K = w.shape[-1]
    others = np.log((w.sum(axis=-1, keepdims=True) - w) / (K - 1)).mean(axis=-1)
    return K * np.log(w.mean(axis=-1)) - (K - 1) * others


def _jack_variant(logw):
    logw = np.asarray(logw, float)
    K = logw.shape[-1]
    without = np.where(np.eye(K, dtype=bool), -np.inf, logw[..., None, :])
    L_K, rungs = logsumexp(logw, axis=-1) - math.log(K), logsumexp(without, axis=-1) - math.log(K - 1)
    return L_K + (K - 1) * (L_K - rungs.mean(axis=-1))


jackknife = Marking(
    "jackknife", _jack_oracle, _jack_cases,
    [Mutant("no jackknife", lambda logw: _lme(logw),
           "that is the importance weighted bound L̂_K itself: either the second rung is not used, or its K values are averaged "
            "before the logarithm, which gives L̂_K back"),
     Mutant("coefficients exchanged", lambda logw: _jack(logw, lambda K: K - 1, lambda K: K),
            "your coefficients are exchanged: they must add up to 1"),
     Mutant("wrong sign", lambda logw: _jack(logw, b=lambda K: 1 - K), "L̂_{K−1} has the larger gap and is subtracted"),
     Mutant("divided by K", lambda logw: _jack(logw, rung=lambda a: _lme(a, size=np.shape(a)[-1] + 1)),
            "where one weight is left out, the mean is over K − 1 weights; you divide by K"),
     Mutant("sum of the rungs", lambda logw: _jack(logw, pool=np.sum), "the K values of L̂_{K−1} are averaged, not added up"),
     Mutant("only the last left out", lambda logw: _jack(logw, pool=lambda v, axis: v[-1]),
            "you always leave out the last weight; average over all K that could be left out"),
     Mutant("mean of the logs", lambda logw: _jack(logw, rung=lambda a: np.mean(a, axis=-1)),
            "right for K = 2 only: the remaining weights are averaged inside the logarithm"),
     Mutant("equal parts", lambda logw: _jack(logw, lambda K: 2, lambda K: 1),
            "2 and −1 do not cancel r/2K against r/2(K−1) unless K = 2: solve for a and b"),
     Mutant("underflow", _jack_naive, "right for large weights, but exp(−1000) is 0 to a computer: use log_mean_exp")],
    variants=[_jack_variant], partial={"underflow": 0.75}, rtol=1e-7)


# ---- 5 ---------------------------------------------------------------------------------------------------------------
def _cuts_oracle(d, P, joint):
    """Four expectations under q(n, z), entry by entry; conditionals by Bayes' rule."""
    N, K = P.shape
    bar = [math.fsum(d[n] * P[n, k] for n in range(N)) for k in range(K)]
    pn, pz = [math.fsum(row) for row in joint], [math.fsum(col) for col in joint.T]
    parts = [[], [], [], []]
    for n, k in itertools.product(range(N), range(K)):
        q = d[n] * P[n, k]
        if q > 0:
            parts[0].append(q * math.log(P[n, k] / (joint[n, k] / pn[n])))
            parts[1].append(q * math.log(d[n] / pn[n]))
            parts[2].append(q * math.log(bar[k] / pz[k]))
            parts[3].append(q * math.log((q / bar[k]) / (joint[n, k] / pz[k])))
    return tuple(math.fsum(p) for p in parts)


def _cuts_cases(rng):
    def case(N, K, zeros=False):
        P, d = rng.dirichlet(np.full(K, 1.5), size=N), rng.dirichlet(np.full(N, 2.0))
        if zeros:
            P[0], P[1, 0], d[-1] = np.eye(K)[rng.integers(K)], 0.0, 0.0
            P, d = P / P.sum(axis=1, keepdims=True), d / d.sum()
        return d, P, rng.dirichlet(np.full(N * K, 1.5)).reshape(N, K)
    return [Group("the four parts where nothing is 0", [case(3, 2), case(4, 3), case(2, 5)],
                  "gap + fit must equal misfit + decoder; which of your four breaks it?"),
            Group("zeros among the data frequencies and the codes", [case(4, 3, True)], "0 log 0 counts as 0: rel_entr knows that", 1 / 3)]


def _cuts(d, P, joint, kl=rel_entr, weights=None, bar=None, average=True):
    pn, pz = joint.sum(axis=1), joint.sum(axis=0)
    qz = d @ P if bar is None else bar(d, P)
    w = d if weights is None else weights(d)
    rows = kl(P, joint / pn[:, None]).sum(axis=1)
    columns = kl(d[:, None] * P / (d @ P), joint / pz).sum(axis=0)
    return w @ rows, kl(d, pn).sum(), kl(qz, pz).sum(), (qz if average else np.ones(len(qz))) @ columns


two_cuts = Marking(
    "two_cuts", _cuts_oracle, _cuts_cases,
    [Mutant("reverse KLs", lambda d, P, J: _cuts(d, P, J, kl=lambda a, b: rel_entr(b, a)),
           "your KLs have their arguments exchanged: the data and the codes draw, so they come first"),
     Mutant("data not weighted", lambda d, P, J: _cuts(d, P, J, weights=lambda d: np.full(len(d), 1 / len(d))),
            "the gap is averaged with equal weights; observation n occurs with frequency d(n)"),
     Mutant("aggregate not weighted", lambda d, P, J: _cuts(d, P, J, bar=lambda d, P: P.mean(axis=0)),
            "the aggregate q̄(z) mixes the rows of P with the frequencies d(n), not equally"),
     Mutant("decoder not weighted", lambda d, P, J: _cuts(d, P, J, average=False),
            "the decoder's KL is averaged over the codes z with q̄(z); yours is added up over them"),
     Mutant("decoder under the prior", lambda d, P, J: (*_cuts(d, P, J)[:3],
            float(J.sum(axis=0) @ rel_entr(d[:, None] * P / (d @ P), J / J.sum(axis=0)).sum(axis=0))),
            "the decoder's KL is averaged with q̄(z), the codes in use, not with the prior p(z)"),
     Mutant("fit and misfit exchanged", lambda d, P, J: tuple(np.array(_cuts(d, P, J))[[0, 2, 1, 3]]),
            "fit compares observations, misfit compares codes; yours are exchanged"),
     Mutant("joint not divided", lambda d, P, J: (float(d @ rel_entr(P, J).sum(axis=1)), *_cuts(d, P, J)[1:]),
            "the gap compares q(z | x_n) with the posterior p(z | x_n); you compare it with the joint p(n, z)"),
     Mutant("0 log 0", lambda d, P, J: _cuts(d, P, J, kl=lambda a, b: a * np.log(a / b)),
            "right where nothing is 0, but nan where something is: 0 log 0 counts as 0")],
    variants=[lambda d, P, J: [_cuts_oracle(d, P, J)[k] for k in range(4)]], partial={"0 log 0": 0.75})
