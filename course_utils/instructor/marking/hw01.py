"""Marking of homework 01: raffle wheels, counts with an unknown rate, instruments, ancestral sampling, counting, a lighthouse."""

from fractions import Fraction
from math import log, pi, prod

import numpy as np
from scipy import stats
from scipy.integrate import simpson
from scipy.special import gammaln, logsumexp

from . import Group, Marking, Mutant

# --- which_die: by exact fractions, one roll after the other ---


def _roll_by_roll(rolls, sides, prior):
    belief, seen = [Fraction(p) for p in prior], Fraction(1)
    for roll in rolls:
        joint = [b / s if roll <= s else Fraction(0) for b, s in zip(belief, map(int, sides))]
        belief, seen = [j / sum(joint) for j in joint], seen * sum(joint)
        belief = [b.limit_denominator(10**30) for b in belief]
    return np.array([float(b) for b in belief]), log(seen.numerator) - log(seen.denominator)


def _dice_cases(rng):
    few = [(rng.integers(1, 5, n), np.array([4, 6, 8, 12, 20]), rng.dirichlet(np.full(5, 3.0))) for n in (3, 4)]
    few = [(np.append(rolls, 5 + i), sides, prior) for i, (rolls, sides, prior) in enumerate(few)]
    sides = int(rng.integers(900, 1100)) + np.array([0, 2, 4])
    many = np.append(rng.integers(1, sides[0], 200), sides[1])
    return [Group("a few rolls of one of five dice", few, "multiply prior and likelihood, add up, divide"),
            Group("hundreds of spins of a wheel with a thousand fields", [(many, sides, rng.dirichlet(np.full(3, 4.0)) * 0.7 + 0.1)],
                  "work with logarithms until the very end: the largest one is taken out before exp")]


def _dice_joint(rolls, sides, prior, power=None, keep=False):
    possible = np.max(rolls) <= np.asarray(sides)
    likelihood = -(len(rolls) if power is None else power) * np.log(sides)
    return np.log(prior) + (likelihood if keep else np.where(possible, likelihood, -np.inf))


def _dice(log_joint):
    return np.exp(log_joint - logsumexp(log_joint)), logsumexp(log_joint)


def _dice_underflow(rolls, sides, prior):
    joint = np.exp(_dice_joint(rolls, sides, prior))
    return joint / joint.sum(), np.log(joint.sum())


which_die = Marking(
    "which_die", _roll_by_roll, _dice_cases,
    [Mutant("prior forgotten", lambda r, s, p: _dice(_dice_joint(r, s, np.full(len(p), 1 / len(p)))),
            "the prior is not uniform here: the joint is prior[k] times the likelihood of die k"),
     Mutant("prior only in the evidence", lambda r, s, p:
            (_dice(_dice_joint(r, s, np.ones(len(p))))[0], _dice(_dice_joint(r, s, p))[1]),
            "the evidence is right, but the posterior ignores the prior: divide the joint, not the likelihood"),
     Mutant("impossible die kept", lambda r, s, p: _dice(_dice_joint(r, s, p, keep=True)),
            "a die with fewer sides than the highest roll is impossible: its likelihood is 0, so its log-joint is −inf"),
     Mutant("one roll only", lambda r, s, p: _dice(_dice_joint(r, s, p, power=1)),
            "n independent rolls have the likelihood (1 / sides[k]) to the power n"),
     Mutant("joint for posterior", lambda r, s, p: (np.exp(_dice_joint(r, s, p)), _dice(_dice_joint(r, s, p))[1]),
            "your first result is the joint; divide it by the evidence, so that it sums to 1"),
     Mutant("evidence for its logarithm", lambda r, s, p: (_dice(_dice_joint(r, s, p))[0], np.exp(_dice(_dice_joint(r, s, p))[1])),
            "the second result should be log p(x), not p(x)"),
     Mutant("bits", lambda r, s, p: (_dice(_dice_joint(r, s, p))[0], _dice(_dice_joint(r, s, p))[1] / np.log(2)),
            "the course counts in nats: use the natural logarithm"),
     Mutant("underflow", _dice_underflow,
            "right for a few rolls; for hundreds (1 / sides[k]) to the power n is rounded to 0, and 0/0 is left: keep logarithms, "
            "and take the largest out before exp")],
    [lambda r, s, p: _dice(np.log(p) + np.array([sum(-np.log(k) if v <= k else -np.inf for v in r) for k in s]))],
    partial={"underflow": 0.5}, rtol=1e-7)


# --- log_evidence_counts: count by count, each predicted by a negative binomial from those before it ---


def _predict_each(x, a, b):
    total = 0.0
    for n, count in enumerate(x):
        rate = b + n
        total += stats.nbinom.logpmf(count, a + np.sum(x[:n]), rate / (rate + 1))
    return total


def _count_cases(rng):
    def one(n, a, b):
        return rng.poisson(rng.gamma(a) / b, n) + np.eye(n, dtype=int)[0], float(a), float(b)
    return [Group("a few small counts", [one(n, rng.uniform(1, 4), rng.uniform(0.3, 0.8)) for n in (3, 5)],
                  "collect the powers of z and the exponentials; what is left under the integral is a gamma density without its constant"),
            Group("many large counts", [one(60, rng.uniform(20, 30), rng.uniform(0.05, 0.1))],
                  "use gammaln for log Γ and for log x!; the numbers themselves are too large")]


def _counts(x, a, b, N=None, factorials=True, constant=True):
    x, N = np.asarray(x), len(x) if N is None else N
    total = gammaln(a + x.sum()) - (a + x.sum()) * np.log(b + N)
    return total + constant * (a * np.log(b) - gammaln(a)) - factorials * gammaln(x + 1).sum()


log_evidence_counts = Marking(
    "log_evidence_counts", _predict_each, _count_cases,
    [Mutant("factorials forgotten", lambda x, a, b: _counts(x, a, b, factorials=False),
            "each count brings a factor 1 / x_n!, which does not depend on z but belongs to the probability of the data"),
     Mutant("prior without constant", lambda x, a, b: _counts(x, a, b, constant=False),
            "the constant of the prior is missing: bᵃ / Γ(a)"),
     Mutant("one exponential", lambda x, a, b: _counts(x, a, b, N=1),
            "each of the N counts brings a factor exp(−z): together exp(−N z)"),
     Mutant("a rate for each count", lambda x, a, b: sum(_counts([v], a, b) for v in x),
            "you gave each count a z of its own and added log p(x_n) up; here one z is shared by all, so the counts are not independent"),
     Mutant("scale for rate", lambda x, a, b: _counts(x, a, 1 / b),
            "b is a rate, the prior mean of z is a / b; you used it as a scale"),
     Mutant("plug-in of the prior mean", lambda x, a, b: stats.poisson.logpmf(x, a / b).sum(),
            "that is log p(x | z) at one z, the prior mean; the evidence adds up over all z"),
     Mutant("plug-in of the best z", lambda x, a, b: stats.poisson.logpmf(x, np.mean(x)).sum(),
            "that is log p(x | z) at the best z; the evidence adds up over all z, weighted by the prior"),
     Mutant("mean over the counts", lambda x, a, b: _counts(x, a, b) / len(x),
            "you divided by N; asked is the logarithm of the probability of all N counts together"),
     Mutant("evidence for its logarithm", lambda x, a, b: np.exp(_counts(x, a, b)), "return log p(x), not p(x)")],
    [lambda x, a, b: (a * np.log(b / (b + len(x))) + gammaln(a + sum(x)) - gammaln(a)
                      - sum(gammaln(v + 1) + np.log(b + len(x)) * v for v in x))],
    rtol=1e-7)


# --- combine: moments of the posterior on a grid ---


def _combine_on_a_grid(x, s, m0, s0):
    z = np.linspace(min([m0, *x]) - 3, max([m0, *x]) + 3, 20_001)
    log_joint = stats.norm.logpdf(z, m0, s0) + sum(stats.norm.logpdf(v, z, sd) for v, sd in zip(x, s))
    weight = np.exp(log_joint - log_joint.max())
    mean = (weight * z).sum() / weight.sum()
    return mean, np.sqrt((weight * (z - mean)**2).sum() / weight.sum())


def _combine_cases(rng):
    def one(n):
        return rng.normal(20, 0.5, n).round(2), rng.uniform(0.05, 0.6, n).round(3), round(rng.normal(20, 0.5), 2), rng.uniform(0.2, 0.5)
    return [Group("two instruments", [one(2), one(2)], "add up precisions, 1/s²; the mean weighs each reading by its precision"),
            Group("many instruments", [one(6)], "add up precisions, 1/s²; the mean weighs each reading by its precision")]


def _weigh(x, s, m0, s0, power=2, prior=1.0):
    w = np.append(np.asarray(s, float), s0)**-float(power) * np.append(np.ones(len(x)), prior)
    return w @ np.append(x, m0) / w.sum(), w.sum()


def _sd_right(x, s, m0, s0):
    return _weigh(x, s, m0, s0)[1]**-0.5


combine = Marking(
    "combine", _combine_on_a_grid, _combine_cases,
    [Mutant("sd taken for a variance", lambda *c: (_weigh(*c, power=1)[0], _weigh(*c, power=1)[1]**-0.5),
            "s and s0 are standard deviations: a precision is one over the square of one"),
     Mutant("weights 1/s", lambda *c: (_weigh(*c, power=1)[0], _sd_right(*c)),
            "the sd is right; in the mean each reading weighs 1/s², not 1/s"),
     Mutant("prior forgotten", lambda *c: (_weigh(*c, prior=0)[0], _weigh(*c, prior=0)[1]**-0.5),
            "the prior counts like one more reading, m0 with sd s0"),
     Mutant("all readings alike", lambda x, s, m0, s0: (np.mean(np.append(x, m0)), _sd_right(x, s, m0, s0)),
            "the plain mean trusts a bad instrument as much as a good one; weigh by precision"),
     Mutant("variance returned", lambda *c: (_weigh(*c)[0], 1 / _weigh(*c)[1]), "the second result should be the sd, the root of the "
     "variance"),
     Mutant("precision returned", lambda *c: _weigh(*c), "the second result should be the sd: one over the root of the summed precisions"),
     Mutant("mean of the precisions", lambda *c: (_weigh(*c)[0], (_weigh(*c)[1] / (len(c[0]) + 1))**-0.5),
            "precisions add up, they are not averaged: every reading makes the posterior narrower")],
    [lambda x, s, m0, s0: _one_after_the_other(x, s, m0, s0)], rtol=1e-5)


def _one_after_the_other(x, s, m0, s0):
    for value, sd in zip(x, s):
        gain = s0**2 / (s0**2 + sd**2)
        m0, s0 = m0 + gain * (value - m0), np.sqrt(1 - gain) * s0
    return m0, s0


# --- tell_story: point by point ---


def _point_by_point(u, e, weights, means, sds):
    z, x = [], []
    for un, en in zip(u, e):
        k, edge = 0, weights[0]
        while un >= edge and k < len(weights) - 1:
            k += 1
            edge += weights[k]
        z.append(k)
        x.append(means[k] + sds[k] * en)
    return np.array(z), np.array(x)


def _story_cases(rng):
    def one(n, K):
        u = rng.permutation((np.arange(n) + rng.uniform(0, 1, n)) / n)
        weights = rng.permutation(np.linspace(1, 3, K)) + rng.uniform(0, 0.3, K)
        return u, rng.standard_normal(n), weights / weights.sum(), rng.normal(0, 3, K), rng.uniform(0.2, 3, K)
    return [Group("three kinds", [one(30, 3)], "cut [0, 1) into stretches of lengths w_k and see which stretch holds u_n"),
            Group("many kinds", [one(40, 4), one(60, 6)], "cut [0, 1) into stretches of lengths w_k and see which stretch holds u_n")]


def _story(choose):
    def wrong(u, e, weights, means, sds):
        z = choose(u, np.asarray(weights))
        return z, np.asarray(means)[z] + np.asarray(sds)[z] * e
    return wrong


def _stretch(u, w):
    return (u[:, None] >= np.cumsum(w)[:-1]).sum(axis=1)


tell_story = Marking(
    "tell_story", _point_by_point, _story_cases,
    [Mutant("variance for sd", lambda u, e, w, m, s: (_stretch(u, w), m[_stretch(u, w)] + s[_stretch(u, w)]**2 * e),
            "sds are standard deviations: multiply e_n by σ_k itself"),
     Mutant("root of the sd", lambda u, e, w, m, s: (_stretch(u, w), m[_stretch(u, w)] + s[_stretch(u, w)]**0.5 * e),
            "sds are standard deviations already; take no root"),
     Mutant("sum instead of choice", lambda u, e, w, m, s: (_stretch(u, w), w @ m + (w @ s) * e),
            "a mixture chooses one kind for each point; it does not average the kinds' means and sds"),
     Mutant("weights ignored", _story(lambda u, w: np.floor(u * len(w)).astype(int)),
            "your stretches are all equally long; stretch k should have length w_k"),
     Mutant("heaviest kind always", _story(lambda u, w: np.full(len(u), np.argmax(w))),
            "every point gets the heaviest kind; each point draws its own, by its u_n"),
     Mutant("one kind for all", _story(lambda u, w: np.full(len(u), _stretch(u[:1], w)[0])),
            "all points share the first one's kind; each point draws its own, by its u_n"),
     Mutant("weights not cumulated", _story(lambda u, w: (u[:, None] >= w[:-1]).sum(axis=1)),
            "compare u_n with w_0, w_0 + w_1, …: the edges of the stretches are cumulated weights")],
    [lambda u, e, w, m, s: (np.minimum(np.searchsorted(np.cumsum(w), u, side="right"), len(w) - 1),
                            np.take(m, _stretch(u, w)) + np.take(s, _stretch(u, w)) * e)], rtol=1e-9)


# --- free_numbers: all entries of all rows, less one for each row that sums to 1 ---


def _listed(kind, V, T, K):
    rows = {"table": [(V,) * T], "chain": [(V,)] * (1 + V), "hidden": [(K,)] * (1 + K) + [(V,)] * K}[kind]
    return sum(prod(row) - 1 for row in rows)


def _free_cases(rng):
    def some(kind):
        return [(kind, int(rng.integers(3, 9)), int(rng.integers(3, 6)), int(rng.integers(3, 7))) for _ in range(3)]
    return [Group(f'kind "{kind}"', some(kind), hint) for kind, hint in [
        ("table", "one probability for each of the possible sequences; they sum to 1"),
        ("chain", "one table for the first letter, and one for the next letter after each letter"),
        ("hidden", "a chain over the K states, and one table of letters for each state")]]


def _count_as(**wrong):
    return lambda kind, V, T, K: wrong[kind](V, T, K) if kind in wrong else _listed(kind, V, T, K)


free_numbers = Marking(
    "free_numbers", _listed, _free_cases,
    [Mutant("nothing normalised", _count_as(table=lambda V, T, K: V**T, chain=lambda V, T, K: V + V * V,
                                             hidden=lambda V, T, K: K + K * K + K * V),
            "probabilities that sum to 1 leave one of them determined: count one fewer in every table"),
     Mutant("one less in all", _count_as(chain=lambda V, T, K: V + V * V - 1, hidden=lambda V, T, K: K + K * K + K * V - 1),
            "each table sums to 1 on its own, so each has one number that is not free, not just one of them all"),
     Mutant("start forgotten", _count_as(chain=lambda V, T, K: V * (V - 1), hidden=lambda V, T, K: K * (K - 1) + K * (V - 1)),
            "the first letter, or the first state, needs probabilities too"),
     Mutant("a table for each step", _count_as(chain=lambda V, T, K: V - 1 + (T - 1) * V * (V - 1),
                                               hidden=lambda V, T, K: K - 1 + (T - 1) * K * (K - 1) + T * K * (V - 1)),
            "the same tables serve at every step, so T does not matter for a chain"),
     Mutant("a number for each place", _count_as(table=lambda V, T, K: T * (V - 1)),
            "the table holds a probability for every possible sequence; one table for each place would make the letters independent"),
     Mutant("sequences miscounted", _count_as(table=lambda V, T, K: T**V - 1), "T places with V letters each: V · V · … · V sequences"),
     Mutant("letters of the states forgotten", _count_as(hidden=lambda V, T, K: K - 1 + K * (K - 1)),
            "hidden: each state has its own table of letters"),
     Mutant("letters shared by the states", _count_as(hidden=lambda V, T, K: K - 1 + K * (K - 1) + V - 1),
            "hidden: each state has its own table of letters; if they shared one, the states could not be told apart")],
    [lambda kind, V, T, K: V**T - 1 if kind == "table" else V * V - 1 if kind == "chain" else K * (K + V - 1) - 1],
    partial={"one less in all": 1 / 3, "start forgotten": 1 / 3, "a table for each step": 1 / 3, "a number for each place": 2 / 3,
             "sequences miscounted": 2 / 3, "letters of the states forgotten": 2 / 3, "letters shared by the states": 2 / 3}, rtol=1e-12)


# --- lighthouse: by scipy's Cauchy density and Simpson's rule ---


def _by_simpson(x, z, d):
    log_joint = stats.cauchy.logpdf(np.asarray(x)[:, None], z, d).sum(axis=0) - np.log(z[-1] - z[0])
    top = log_joint.max()
    area = simpson(np.exp(log_joint - top), x=z)
    return np.exp(log_joint - top) / area, top + np.log(area)


def _flash_cases(rng):
    def one(n, G, widest):
        d, half, u = rng.uniform(0.8, 1.6), int(rng.integers(10, 13)), rng.uniform(-widest, widest, n)
        return rng.uniform(-3, 3) + d * np.tan(np.pi * u), np.linspace(-half, half, G), float(d)
    return [Group("a few flashes", [one(4, 401, 0.4), one(7, 501, 0.4)], "multiply the N likelihoods and the prior, take the area, divide"),
            Group("hundreds of flashes", [one(500, 801, 0.5)], "add logarithms, and take the largest out before exp")]


def _light(x, z, d, flash=None, prior=True, combine=np.sum):
    flash = stats.cauchy.logpdf if flash is None else flash
    return combine(flash(np.asarray(x)[:, None], z, d), axis=0) - prior * np.log(z[-1] - z[0])


def _area(log_joint, z, width=None):
    top = log_joint.max()
    log_px = top + np.log(np.trapezoid(np.exp(log_joint - top), z if width is None else None, dx=width or 1.0))
    return np.exp(log_joint - log_px), log_px


def _light_underflow(x, z, d):
    joint = np.exp(_light(x, z, d))
    return joint / np.trapezoid(joint, z), np.log(np.trapezoid(joint, z))


lighthouse = Marking(
    "lighthouse", _by_simpson, _flash_cases,
    [Mutant("uniform on the coast", lambda x, z, d: _area(_light(x, z, d, lambda x, z, d: 0 * (x + z) - log(pi)), z),
            "the angle is uniform, the place on the coast is not: p(x | z) = p(θ) · |dθ/dx| with θ = arctan((x − z) / d)"),
     Mutant("d in the numerator lost", lambda x, z, d: _area(_light(x, z, d, lambda x, z, d: -log(pi) - np.log(d**2 + (x - z)**2)), z),
            "the posterior is right; in the evidence a factor d is missing for every flash: dθ/dx = d / (d² + (x − z)²)"),
     Mutant("π lost", lambda x, z, d: _area(_light(x, z, d, lambda x, z, d: np.log(d) - np.log(d**2 + (x - z)**2)), z),
            "the posterior is right; in the evidence the density 1/π of the angle is missing for every flash"),
     Mutant("bell curve", lambda x, z, d: _area(_light(x, z, d, stats.norm.logpdf), z),
            "you took a normal density; a flash far along the coast is far more probable than that"),
     Mutant("prior lost", lambda x, z, d: _area(_light(x, z, d, prior=False), z),
            "the posterior is right; in the evidence the prior is missing: it is uniform on the grid's range and has a height"),
     Mutant("dz lost", lambda x, z, d: _area(_light(x, z, d), z, 1.0),
            "a sum over the grid becomes an area only when it is multiplied by dz; your posterior has not the area 1"),
     Mutant("mean for sum", lambda x, z, d: _area(_light(x, z, d, combine=np.mean), z),
            "the flashes are independent given z, so their log-densities add up; yours are averaged"),
     Mutant("likelihoods added", lambda x, z, d: _area(_light(x, z, d, combine=logsumexp), z),
            "you added the likelihoods of the flashes up; independent flashes multiply"),
     Mutant("evidence for its logarithm", lambda x, z, d: (_by_simpson(x, z, d)[0], np.exp(_by_simpson(x, z, d)[1])),
            "the second result should be log p(x), not p(x)"),
     Mutant("underflow", _light_underflow,
            "right for a few flashes; for hundreds the joint is rounded to 0 everywhere: add logarithms, and take the largest out "
            "before exp")],
    [lambda x, z, d: _by_rectangles(x, z, d)], partial={"underflow": 0.5}, rtol=1e-3, atol=1e-6)


def _by_rectangles(x, z, d):
    log_joint = sum(np.log(d / np.pi / (d**2 + (v - z)**2)) for v in x) - np.log(z[-1] - z[0]) + np.log(z[1] - z[0])
    return np.exp(log_joint - logsumexp(log_joint)) / (z[1] - z[0]), logsumexp(log_joint)


RUBRIC = {"what_is_a_segment": [
    (1, "says that the two fits are the same model with the segments renamed (or rotated), and that every p(x) is the same"),
    (1, "says that therefore no data, however many, can tell the two apart; the latent is not identifiable"),
    (1, "says what a segment is then: a variable invented to make p(x) out of simple parts, not a cause that was discovered"),
    (1, "names something from outside the fit that could give a segment a meaning (an experiment, an observed variable, prior knowledge), "
        "or something that both fits do agree on, such as which customers share a segment"),
]}
