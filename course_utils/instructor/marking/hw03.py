"""Marking of homework 03: KL of gammas, of joint tables, Jensen-Shannon, the two projections, forward KL from draws of q."""

import numpy as np
from scipy import optimize, stats
from scipy.special import digamma, gammaln, logsumexp, rel_entr

from . import Group, Marking, Mutant

# --- kl_gamma: trapezoid rule over u = log z ---


def _on_log_grid(a1, b1, a2, b2):
    def one(a1, b1, a2, b2):
        u = np.log(a1 / b1) + np.linspace(-50, 5, 30_001)
        log_p, log_q = (stats.loggamma.logpdf(u + np.log(b), a) for a, b in ((a1, b1), (a2, b2)))
        p = np.exp(log_p)
        return np.trapezoid(np.where(p > 0, p * (log_p - log_q), 0.0), u)
    return np.vectorize(one)(a1, b1, a2, b2)


def _gamma_cases(rng):
    def some(n=None):
        return tuple(rng.uniform(low, high, n) for low, high in ((1, 4), (0.5, 3), (1, 4), (0.5, 3)))
    hint = "E[z] = a₁/b₁ and E[log z] = ψ(a₁) − log b₁, both under the first density"
    return [Group("numbers", [some(), some()], hint), Group("arrays", [some(5)], hint)]


def _kl_gamma(a1, b1, a2, b2, mean_log=lambda a, b: digamma(a) - np.log(b), constants=1.0, linear=1.0, mean=lambda a, b: a / b):
    normalisers = a1 * np.log(b1) - gammaln(a1) - a2 * np.log(b2) + gammaln(a2)
    return constants * normalisers + (a1 - a2) * mean_log(a1, b1) - linear * (b1 - b2) * mean(a1, b1)


kl_gamma = Marking(
    "kl_gamma", _on_log_grid, _gamma_cases,
    [Mutant("directions swapped", lambda a1, b1, a2, b2: _kl_gamma(a2, b2, a1, b1),
            "that is KL(second ‖ first): the first density draws, so both expectations are under it"),
     Mutant("log of the mean", lambda *c: _kl_gamma(*c, mean_log=lambda a, b: np.log(a / b)),
            "E[log z] is not log E[z] = log(a₁/b₁); it is ψ(a₁) − log b₁"),
     Mutant("scale for rate", lambda a1, b1, a2, b2: _kl_gamma(a1, 1 / b1, a2, 1 / b2), "b is a rate: the mean is a / b"),
     Mutant("constants forgotten", lambda *c: _kl_gamma(*c, constants=0.0),
            "the constants bᵃ / Γ(a) of the two densities do not cancel: their logarithms belong to the difference"),
     Mutant("exponentials forgotten", lambda *c: _kl_gamma(*c, linear=0.0), "the terms −b z of the two log-densities do not cancel "
     "unless b₁ = b₂"),
     Mutant("mean upside down", lambda *c: _kl_gamma(*c, mean=lambda a, b: b / a), "E[z] is a₁ / b₁, not b₁ / a₁"),
     Mutant("log b lost", lambda *c: _kl_gamma(*c, mean_log=lambda a, b: digamma(a)), "E[log z] is ψ(a₁) − log b₁; the −log b₁ is missing"),
     Mutant("bits", lambda *c: _kl_gamma(*c) / np.log(2), "the course counts in nats: use natural logarithms")],
    [lambda a1, b1, a2, b2: ((a1 - a2) * digamma(a1) - gammaln(a1) + gammaln(a2) + a2 * (np.log(b1) - np.log(b2)) + a1 * (b2 - b1) / b1)],
    rtol=1e-6)


# --- kl_parts: scipy's rel_entr, column by column ---


def _by_columns(p, q):
    px, qx = p.sum(axis=0), q.sum(axis=0)
    third = sum(px[x] * rel_entr(p[:, x] / px[x], q[:, x] / qx[x]).sum() for x in range(len(px)) if px[x] > 0)
    return rel_entr(p, q).sum(), rel_entr(px, qx).sum(), third


def _tables(rng):
    def pair(Z, X, zeros=0):
        p, q = rng.uniform(0.2, 1, (Z, X)), rng.uniform(0.2, 1, (Z, X))
        p *= np.linspace(0.3, 2, X)
        if zeros:
            p[:, 0] = 0.0
            p[0, -1] = 0.0
        return p / p.sum(), q / q.sum()
    hint = "x is the column: p(x) sums over the rows; the last part weighs each column's KL by p(x)"
    return [Group("positive tables", [pair(2, 3), pair(3, 4)], hint), Group("tables with zeros", [pair(3, 3, 1), pair(2, 4, 1)], hint)]


def _kl(p, q):
    return rel_entr(p, q).sum()


def _parts(p, q, weights=lambda px, qx: px):
    px, qx = p.sum(axis=0), q.sum(axis=0)
    with np.errstate(all="ignore"):
        each = np.nan_to_num(rel_entr(p / px, q / qx).sum(axis=0))
    return _kl(p, q), _kl(px, qx), weights(px, qx) @ each


def _parts_naive(p, q):
    px, qx = p.sum(axis=0), q.sum(axis=0)
    with np.errstate(all="ignore"):
        joint, marginal = np.sum(p * np.log(p / q)), np.sum(px * np.log(px / qx))
    return joint, marginal, joint - marginal


kl_parts = Marking(
    "kl_parts", _by_columns, _tables,
    [Mutant("axes swapped", lambda p, q: _by_columns(p.T, q.T), "x is the column: p(x) is the sum over the rows z, axis 0; yours is p(z)"),
     Mutant("weights of q", lambda p, q: _parts(p, q, lambda px, qx: qx), "the KL of the conditionals is averaged with p(x), for p "
     "draws x; you weigh with q(x)"),
     Mutant("plain mean", lambda p, q: _parts(p, q, lambda px, qx: 0 * px + 1 / len(px)),
            "the KL of the conditionals is averaged with the weights p(x), not with equal ones"),
     Mutant("not weighted", lambda p, q: _parts(p, q, lambda px, qx: 0 * px + 1),
            "the KL of the conditionals is averaged with the weights p(x); you only added up over x"),
     Mutant("directions swapped", lambda p, q: tuple(_parts(q, p)), "that is KL(q ‖ p); here p draws"),
     Mutant("conditional not normalised", lambda p, q: (_kl(p, q), _kl(p.sum(axis=0), q.sum(axis=0)), _kl(p, q)),
            "the third part compares p(z | x) with q(z | x): divide each column by its sum before you compare"),
     Mutant("bits", lambda p, q: tuple(v / np.log(2) for v in _by_columns(p, q)), "the course counts in nats: use natural logarithms"),
     Mutant("0 log 0", _parts_naive, "0 · log 0 counts as 0 here, but NumPy makes nan of it: leave out the entries where p is zero")],
    [lambda p, q: (_kl(p, q), _kl(p.sum(0), q.sum(0)), _kl(p, q) - _kl(p.sum(0), q.sum(0)))], partial={"0 log 0": 0.5}, rtol=1e-7)


# --- js_bits: entropy of the mixture minus the mean entropy ---


def _by_entropies(P, w):
    return stats.entropy(w @ P, base=2) - sum(wk * stats.entropy(p, base=2) for wk, p in zip(w, P))


def _rows(rng):
    def one(K, D, zeros=0):
        P = rng.dirichlet(np.full(D, 1.5), K)
        P = 0.9 * P + 0.1 / D
        for k in range(zeros):
            P[k, k] = 0.0
        w = rng.permutation(np.arange(1.0, K + 1)) + rng.uniform(0, 0.3, K)
        return P / P.sum(axis=1, keepdims=True), w / w.sum()
    hint = "m is the weighted mean of the rows; the weighted mean of KL(p_k ‖ m), in bits"
    return [Group("positive tables", [one(2, 4), one(3, 5)], hint), Group("tables with zeros", [one(2, 3, 2), one(4, 5, 3)], hint)]


def _js(P, w, kl=lambda p, m: rel_entr(p, m).sum(), inside=None, base=2.0):
    m = (w if inside is None else inside(w)) @ P
    return sum(wk * kl(p, m) for wk, p in zip(w, P)) / np.log(base)


def _js_naive(P, w):
    with np.errstate(all="ignore"):
        return _js(P, w, kl=lambda p, m: np.sum(p * np.log(p / m)))


js_bits = Marking(
    "js_bits", _by_entropies, _rows,
    [Mutant("nats", lambda P, w: _js(P, w, base=np.e), "asked is the value in bits: divide nats by log 2"),
     Mutant("mixture first", lambda P, w: _js(P, w, kl=lambda p, m: rel_entr(m, p).sum()),
            "the direction is turned: each p_k draws and the mixture m is the belief, KL(p_k ‖ m)"),
     Mutant("equal weights", lambda P, w: _js(P, np.full(len(w), 1 / len(w))), "the weights w are not used"),
     Mutant("plain mean for m", lambda P, w: _js(P, w, inside=lambda w: np.full(len(w), 1 / len(w))),
            "m is the weighted mean of the rows, with the same w"),
     Mutant("sum", lambda P, w: sum(rel_entr(p, w @ P).sum() for p in P) / np.log(2),
            "average the divergences with the weights w; yours adds them up"),
     Mutant("square root", lambda P, w: np.sqrt(_js(P, w)), "that is the square root, which scipy's jensenshannon returns; asked is the "
                                                            "divergence itself"),
     Mutant("to the other rows", lambda P, w: sum(wk * wj * rel_entr(p, r).sum() for wk, p in zip(w, P) for wj, r in zip(w, P)) / np.log(2),
            "compare each p_k with the mixture m, not with the other rows: that is what keeps the result finite"),
     Mutant("0 log 0", _js_naive, "0 · log 0 counts as 0 here, but NumPy makes nan of it: leave out the entries where p_k is zero")],
    [lambda P, w: _js(P, w)], partial={"0 log 0": 0.5}, rtol=1e-7)


# --- project_gamma: scipy's gamma density and a general optimiser ---


def _by_optimiser(z, w):
    def loss(v):
        return -w @ stats.gamma.logpdf(z, np.exp(v[0]), scale=np.exp(-v[1]))
    best = optimize.minimize(loss, [0.3, 0.0], method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-14, maxiter=4000, maxfev=4000))
    return tuple(np.exp(best.x))


def _points(rng):
    def one(n, spread):
        z = np.sort(np.exp(rng.normal(0.5, spread, n))).round(4)
        w = np.linspace(1, 3, n) + rng.uniform(0, 1, n)
        return z, w / w.sum()
    hint = "set both derivatives of E_p[log q] to zero: the mean and the mean of log z must agree with p's"
    return [Group("points close together", [one(6, 0.4), one(15, 0.5)], hint), Group("points far apart", [one(8, 1.2)], hint)]


def _gamma_fit(mean, gap):
    a = optimize.brentq(lambda a: np.log(a) - digamma(a) - gap, 1e-3, 1e6, xtol=1e-12)
    return a, a / mean


def _gap(z, w):
    return np.log(w @ z) - w @ np.log(z)


project_gamma = Marking(
    "project_gamma", _by_optimiser, _points,
    [Mutant("mean and variance", lambda z, w: ((w @ z)**2 / (w @ z**2 - (w @ z)**2), (w @ z) / (w @ z**2 - (w @ z)**2)),
            "you matched mean and variance, which is right for a Gaussian; the log of a gamma density contains z and log z, so match "
            "the means of these"),
     Mutant("weights ignored", lambda z, w: _gamma_fit(z.mean(), np.log(z.mean()) - np.log(z).mean()),
            "the weights w are not used: expectations are w @ …"),
     Mutant("scale for rate", lambda z, w: (_gamma_fit(w @ z, _gap(z, w))[0], (w @ z) / _gamma_fit(w @ z, _gap(z, w))[0]),
            "b is a rate: the mean is a / b"),
     Mutant("log for ψ", lambda z, w: (1 / (2 * _gap(z, w)), 1 / (2 * _gap(z, w)) / (w @ z)),
            "ψ(a) ≈ log a − 1/(2a) is only an approximation; solve for a with brentq"),
     Mutant("mean of the logarithm for the mean", lambda z, w: _gamma_fit(np.exp(w @ np.log(z)), _gap(z, w)),
            "the mean of the gamma, a / b, must be E_p[z], not exp E_p[log z]"),
     Mutant("a and b swapped", lambda z, w: _gamma_fit(w @ z, _gap(z, w))[::-1], "return a first, then b"),
     Mutant("exponential", lambda z, w: (1.0, 1 / (w @ z)), "you kept a = 1; the shape is free as well")],
    [lambda z, w: _gamma_fit(np.dot(w, z), np.log(np.dot(w, z)) - np.dot(w, np.log(z)))], rtol=1e-4)


# --- best_window: enumeration with scipy's rel_entr ---


def _enumerate(p, score=None):
    K = len(p)
    windows = [(i, j) for i in range(K) for j in range(i, K)]

    def uniform(i, j):
        return (np.arange(K) >= i) * (np.arange(K) <= j) / (j - i + 1)
    score = score or (lambda p, q: rel_entr(q, p).sum())
    values = [score(np.asarray(p), uniform(*window)) for window in windows]
    best = int(np.argmin(values))
    return (*windows[best], values[best])


def _islands(rng):
    def one(gap):
        bump = rng.uniform(0.08, 0.12, int(rng.integers(6, 9)))
        peak = np.array([rng.uniform(0.2, 0.25)])
        edge = [rng.uniform(0.004, 0.008)]
        p = np.concatenate([edge, peak, np.full(int(rng.integers(2, 4)), gap), bump, edge])
        return (p / p.sum(),)
    hint = "of all windows i ≤ j take the one with the smallest Σ q log(q/p), where q is 1/n inside"
    return [Group("a valley between two groups", [one(0.002), one(0.001)], hint),
            Group("zeros between two groups", [one(0.0), one(0.0)], hint)]


def _inside(p, q):
    with np.errstate(all="ignore"):
        return np.where((q > 0) & (p > 0), np.log(p), 0.0)


best_window = Marking(
    "best_window", _enumerate, _islands,
    [Mutant("forward", lambda p: _enumerate(p, lambda p, q: rel_entr(p, q).sum()),
            "that is the window for KL(p ‖ q), which must cover everything; asked is KL(q ‖ p)"),
     Mutant("entropy forgotten", lambda p: _enumerate(p, lambda p, q: -(q * np.log(np.maximum(p, 1e-300))).sum()),
            "you minimised −E_q[log p] alone, so the window shrinks to the tallest outcome; the entropy of q, log n, belongs to the KL"),
     Mutant("p cut off", lambda p: _enumerate(p, lambda p, q: -np.log(p[q > 0].sum())),
            "q is uniform inside the window; yours is p, cut off and normalised, and the best of those is p itself"),
     Mutant("end excluded", lambda p: (lambda i, j, kl: (i, j + 1, kl))(*_enumerate(p)), "j is the last outcome inside the window, not "
     "the first one after it"),
     Mutant("bits", lambda p: (lambda i, j, kl: (i, j, kl / np.log(2)))(*_enumerate(p)), "the course counts in nats: use natural "
     "logarithms"),
     Mutant("zeros left out", lambda p: _enumerate(p, lambda p, q: -np.log((q > 0).sum()) - (q * _inside(p, q)).sum()),
            "inside the window q is positive, so an outcome with p = 0 costs ∞; it is p's zeros outside the window that cost nothing")],
    [lambda p: min(((i, j, -np.log(j - i + 1) - np.mean(np.log(p[i:j + 1]))) for i in range(len(p)) for j in range(i, len(p))
                    if np.all(p[i:j + 1] > 0)), key=lambda t: t[2])], partial={"zeros left out": 0.5}, rtol=1e-7)


# --- forward_from_q: with Z estimated first, in long double ---


def _in_two_steps(log_p, log_q):
    ratio = np.asarray(log_p, np.longdouble) - np.asarray(log_q, np.longdouble)
    weight = np.exp(ratio - ratio.max())
    log_Z = ratio.max() + np.log(weight.mean())
    return float((weight / weight.sum() * (ratio - log_Z)).sum())


def _draws(rng):
    def one(n, constant):
        x = rng.standard_normal(n).round(5)
        log_q = stats.norm.logpdf(x)
        return stats.norm.logpdf(x, rng.uniform(0.4, 1.2), rng.uniform(0.6, 1.2)) + constant, log_q
    hint = "weights proportional to p̃/q that sum to 1; log Ẑ is the logarithm of the mean of p̃/q"
    return [Group("moderate constants", [one(40, rng.uniform(1, 3)), one(300, rng.uniform(-3, -1))], hint),
            Group("a constant of −3000", [one(100, -3000 + rng.uniform(0, 50))], "subtract the largest log ratio before exp")]


def _weights(log_p, log_q):
    ratio = np.asarray(log_p) - log_q
    return ratio, np.exp(ratio - logsumexp(ratio))


def _underflow(log_p, log_q):
    with np.errstate(all="ignore"):
        r = np.exp(np.asarray(log_p) - log_q)
        w = r / r.sum()
        return w @ (log_p - log_q) - np.log(r.mean())


forward_from_q = Marking(
    "forward_from_q", _in_two_steps, _draws,
    [Mutant("log S forgotten", lambda log_p, log_q: (lambda r, w: w @ r - logsumexp(r))(*_weights(log_p, log_q)),
            "Ẑ is the mean of p̃/q over the S draws, not the sum: log S is missing"),
     Mutant("Z forgotten", lambda log_p, log_q: (lambda r, w: w @ r)(*_weights(log_p, log_q)),
            "log p = log p̃ − log Z: your answer changes when a constant is added to log p̃"),
     Mutant("not weighted", lambda log_p, log_q: (lambda r, w: r.mean() - logsumexp(r) + np.log(len(r)))(*_weights(log_p, log_q)),
            "the draws come from q, but p should draw: weigh them by p/q"),
     Mutant("reverse", lambda log_p, log_q: (lambda r, w: -r.mean() + logsumexp(r) - np.log(len(r)))(*_weights(log_p, log_q)),
            "that is KL(q ‖ p), the plain mean of log(q/p); asked is KL(p ‖ q), for which the draws are weighed by p/q"),
     Mutant("sign", lambda log_p, log_q: -_in_two_steps(log_p, log_q), "the sign is turned: this estimate is never negative"),
     Mutant("weights turned", lambda log_p, log_q: (
         lambda r, w: np.exp(-r - logsumexp(-r)) @ r - logsumexp(r) + np.log(len(r)))(*_weights(log_p, log_q)),
            "the weights are upside down: a draw that p likes more than q weighs more, p̃/q"),
     Mutant("bits", lambda log_p, log_q: _in_two_steps(log_p, log_q) / np.log(2), "the course counts in nats: use natural logarithms"),
     Mutant("underflow", _underflow, "right unless the constant is large: exp(−3000) is 0 to a computer; subtract the largest log ratio "
                                     "before exp")],
    [lambda log_p, log_q: (lambda w: (w * np.log(len(w) * w)).sum())(_weights(log_p, log_q)[1])], partial={"underflow": 0.5}, rtol=1e-7)


RUBRIC = {"two_peaks": [
    (1, "reverse: q settles on one peak, here the broad one (for KL(q‖p) it is mass that counts, not height), with a KL of about −log "
        "0.8 = 0.22 nats; "
        "a poor start may end on the tall one, at about −log 0.2 = 1.6"),
    (1, "forward: q takes the mean and the variance of the whole mixture, is wide, and puts much of its mass between the peaks, where p "
        "has almost none"),
    (1, "says what goes wrong for her question: reverse gives a probability near 0 to the region of the tall peak, although it has 20 "
        "%; forward covers it, "
        "at the price of inventing probability in the gap"),
    (1, "says that the ELBO or the converged loss does not reveal it, since log Z is unknown (all terms come from where q is), and "
        "names something that "
        "might: several starts, a mixture for q, draws from another method"),
]}
