"""Checks of lesson 06: the rate, two likelihoods, probabilistic PCA, and which latents live."""

import numpy as np
import scipy.stats
import torch

from . import Check, Mutant

F, td = torch.nn.functional, torch.distributions


class _InTorch(Check):
    """A check that hands tensors to the student, made from the arrays of its cases; a tensor back deserves no note."""

    def __init__(self, name, oracle, cases, mutants, **kw):
        super().__init__(name, _tensors_for(oracle), [tuple(np.array(a, float) for a in case) for case in cases],
                         [m._replace(wrong=_tensors_for(m.wrong)) for m in mutants], **kw)

    def __call__(self, answer):
        return super().__call__(_tensors_for(answer) if callable(answer) else answer)

    def _judge(self, answer, got, tensor):
        return super()._judge(answer, got, False)


def _tensors_for(function):
    return lambda *arrays: function(*(torch.as_tensor(a) for a in arrays))


# --- 6.1

def _rate(mu, logvar):
    return td.kl_divergence(td.Normal(mu, torch.exp(logvar / 2)), td.Normal(torch.zeros_like(mu), 1.0)).sum(-1)


def _terms(mu, logvar, sd_log=1.0, sign=1.0):
    return 1 + sign * sd_log * logvar - mu**2 - torch.exp(sd_log * logvar)


vae_kl = _InTorch(
    "vae_kl", _rate,
    [([0.5, -1.0], [0.0, -1.0]), ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
     ([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], [[0.3, -2.0, 1.0], [-0.7, 0.5, 2.0]])],
    [Mutant("no half", lambda mu, lv: -_terms(mu, lv).sum(-1), "twice too much: the factor ½ in front is missing"),
     Mutant("logvar as log sd", lambda mu, lv: -0.5 * _terms(mu, lv, 2.0).sum(-1),
            "logvar is log σ², not log σ: it stands there once, and e^logvar is already the variance"),
     Mutant("mean", lambda mu, lv: -0.5 * _terms(mu, lv).mean(-1),
            "you averaged over the latents; the KLs of independent latents add up: sum"),
     Mutant("sign of logvar", lambda mu, lv: -0.5 * _terms(mu, lv, sign=-1.0).sum(-1),
            "logvar has the wrong sign: this can become negative, and a KL cannot"),
     Mutant("sign of all", lambda mu, lv: 0.5 * _terms(mu, lv).sum(-1), "the sign is turned round: a KL is never negative"),
     Mutant("no one", lambda mu, lv: -0.5 * (_terms(mu, lv) - 1).sum(-1), "at μ = 0 and logvar = 0 the rate must be 0: the 1 is missing"),
     Mutant("mu not squared", lambda mu, lv: -0.5 * (1 + lv - mu - torch.exp(lv)).sum(-1), "the mean enters squared, as μ²"),
     Mutant("reverse", lambda mu, lv: 0.5 * (lv + (1 + mu**2) / torch.exp(lv) - 1).sum(-1),
            "that is KL(prior || q); the encoder's q stands first"),
     Mutant("sum over all", lambda mu, lv: -0.5 * _terms(mu, lv).sum(), "sum over the last axis only: one number for each row"),
     Mutant("sd for variance", lambda mu, lv: -0.5 * (1 + lv - mu**2 - torch.exp(lv / 2)).sum(-1),
            "e^(logvar/2) is σ; the formula wants the variance σ² = e^logvar")])


# --- 6.2 and 6.3

def _bernoulli(logits, x):
    return td.Bernoulli(logits=logits).log_prob(x).sum(-1)


def _through_probabilities(logits, x):
    p = torch.sigmoid(logits)
    return (x * torch.log(p) + (1 - x) * torch.log(1 - p)).sum(-1)


_LOGITS = [[2.0, -1.0, 0.5], [0.0, 3.0, -2.5]]

bernoulli_loglik = _InTorch(
    "bernoulli_loglik", _bernoulli,
    [([2.0, -1.0, 0.5], [1.0, 0.0, 1.0]), (_LOGITS, [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]),
     ([200.0, -200.0, 1.0], [1.0, 0.0, 0.0])],
    [Mutant("saturates", _through_probabilities,
            "0 · log 0 is nan: at ℓ = 200 the probability is exactly 1. Never form p; use softplus of the logits"),
     Mutant("sign", lambda l, x: -_bernoulli(l, x), "that is the cross-entropy, a loss; the log-likelihood is minus that, never above 0"),
     Mutant("mean", lambda l, x: td.Bernoulli(logits=l).log_prob(x).mean(-1),
            "you averaged over the pixels; independent pixels' log-probabilities add up: sum"),
     Mutant("ones only", lambda l, x: (x * F.logsigmoid(l)).sum(-1), "the pixels with x = 0 count too: (1 − x) log(1 − p)"),
     Mutant("bits swapped", lambda l, x: _bernoulli(l, 1 - x), "p is the probability of a 1; you used it for the zeros"),
     Mutant("no softplus", lambda l, x: (x * l).sum(-1), "x·ℓ alone is not a log-probability: subtract log(1 + e^ℓ)"),
     Mutant("sum over all", lambda l, x: _bernoulli(l, x).sum(), "sum over the last axis only: one number for each image"),
     Mutant("softplus of x l", lambda l, x: (x * l - F.softplus(x * l)).sum(-1), "log(1 + e^ℓ) belongs to every pixel, whatever its x")])


def _binomial(logits, x):
    p = 1 / (1 + np.exp(-logits.numpy()))
    return scipy.stats.binom.logpmf(x.numpy(), 16, p).sum(-1)


def _choose(x):
    return torch.lgamma(torch.tensor(17.0, dtype=torch.float64)) - torch.lgamma(x + 1.0) - torch.lgamma(17.0 - x)


def _dots(logits, x):
    return x * logits - 16 * F.softplus(logits)


_ODDS = float(np.log(0.3 / 0.7))

binomial_loglik = _InTorch(
    "binomial_loglik", _binomial,
    [([_ODDS], [5.0]), ([_ODDS, 2.0, -1.0], [5.0, 16.0, 0.0]), (_LOGITS, [[3.0, 8.0, 15.0], [1.0, 12.0, 6.0]])],
    [Mutant("no binomial coefficient", lambda l, x: _dots(l, x).sum(-1),
            "the constant log C(16, x) is missing: without it the 17 probabilities of a pixel do not sum to 1"),
     Mutant("one dot", lambda l, x: (_choose(x) + x * l - F.softplus(l)).sum(-1), "there are 16 dots: 16 · log(1 + e^ℓ)"),
     Mutant("grey cross-entropy", lambda l, x: (x / 16 * l - F.softplus(l)).sum(-1),
            "that is the cross-entropy of the grey value x/16, a sixteenth of the truth: β = 16 in disguise"),
     Mutant("mean", lambda l, x: (_choose(x) + _dots(l, x)).mean(-1), "you averaged over the pixels; sum them"),
     Mutant("sign", lambda l, x: -(_choose(x) + _dots(l, x)).sum(-1),
            "the sign is turned round: the log of a probability is never above 0"),
     Mutant("inked only", lambda l, x: (_choose(x) + x * F.logsigmoid(l)).sum(-1),
            "the 16 − x dots without ink count too: (16 − x) log(1 − p)"),
     Mutant("lgamma without + 1", lambda l, x: (torch.lgamma(torch.tensor(17.0, dtype=torch.float64)) - torch.lgamma(x.clamp(min=1e-300))
                                                - torch.lgamma((16.0 - x).clamp(min=1e-300)) + _dots(l, x)).sum(-1),
            "lgamma(n) is log (n − 1)!: write lgamma(n + 1) for log n!"),
     Mutant("coefficient subtracted", lambda l, x: (_dots(l, x) - _choose(x)).sum(-1), "log C(16, x) is added, not subtracted")],
    rtol=1e-5, atol=1e-6)


# --- 6.4

def _ppca(X, k):
    """By singular values, scipy's density and every row's posterior; no formula for the value at the optimum."""
    centred = X - X.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    s2 = (centred**2).sum() / len(X) / (X.shape[1] - k) - (values[:k]**2).sum() / len(X) / (X.shape[1] - k)
    W = axes[:k].T * np.sqrt(values[:k]**2 / len(X) - s2)
    density = scipy.stats.multivariate_normal(X.mean(0), W @ W.T + s2 * np.eye(X.shape[1]))
    M = W.T @ W + s2 * np.eye(k)
    mu, S = centred @ W @ np.linalg.inv(M), s2 * np.linalg.inv(M)
    rate = 0.5 * ((mu**2).sum(1) + np.trace(S) - k - np.linalg.slogdet(S)[1])
    return s2, density.logpdf(X).mean(), rate.mean()


def _by_formula(X, k, *, ddof=0, centre=True, pool=np.mean, constant=True, half=0.5, lastk=True):
    D = X.shape[1]
    centred = X - X.mean(0) if centre else X
    lam = np.linalg.eigvalsh(centred.T @ centred / (len(X) - ddof))[::-1]
    s2 = pool(lam[k:])
    log_lik = -0.5 * (D * np.log(2 * np.pi) * constant + np.log(lam[:k]).sum() + (D - k) * np.log(s2) + D)
    return s2, log_lik, half * np.log((lam[:k] if lastk else lam) / s2).sum()


def _smallest_first(X, k):
    D, centred = X.shape[1], X - X.mean(0)
    lam = np.linalg.eigvalsh(centred.T @ centred / len(X))
    s2 = lam[k:].mean()
    return s2, -0.5 * (D * np.log(2 * np.pi) + np.log(lam[:k]).sum() + (D - k) * np.log(s2) + D), 0.5 * np.log(lam[:k] / s2).sum()


def _part(index, change):
    def wrong(X, k):
        parts = list(_by_formula(X, k))
        parts[index] = change(parts[index], X)
        return tuple(parts)
    return wrong


_RNG = np.random.default_rng(64)
_DATA = _RNG.standard_normal((60, 6)) @ np.diag([3.0, 2.0, 1.5, 0.7, 0.5, 0.4]) @ _RNG.standard_normal((6, 6)) + 2.0
_FLAT = _RNG.standard_normal((40, 4)) * [2.0, 1.0, 0.5, 0.3] - 1.0

ppca_ml = Check(
    "ppca_ml", _ppca, [(_DATA, 2), (_DATA, 4), (_FLAT, 1), (_FLAT, 3)],
    [Mutant("n - 1", lambda X, k: _by_formula(X, k, ddof=1), "the covariance has N − 1 below it; maximum likelihood divides by N"),
     Mutant("not centred", lambda X, k: _by_formula(X, k, centre=False), "subtract the mean row first: the model has one, too"),
     Mutant("summed noise", lambda X, k: _by_formula(X, k, pool=np.sum), "σ² is the mean of the discarded eigenvalues, not their sum"),
     Mutant("noise over D", lambda X, k: _by_formula(X, k, pool=lambda v: v.sum() / X.shape[1]),
            "only D − k eigenvalues are discarded: divide by D − k, not by D"),
     Mutant("sd for variance", _part(0, lambda v, X: np.sqrt(v)), "σ², not σ: do not take the root"),
     Mutant("no constant", lambda X, k: _by_formula(X, k, constant=False), "the log-likelihood lacks its constant −½ D log 2π"),
     Mutant("total", _part(1, lambda v, X: v * len(X)), "the log-likelihood of one row on average: do not multiply by N"),
     Mutant("per pixel", _part(1, lambda v, X: v / X.shape[1]), "the log-likelihood of a whole row: do not divide by D"),
     Mutant("rate without half", lambda X, k: _by_formula(X, k, half=1.0),
            "the rate is twice too large: ½ log(λ/σ²) for each latent"),
     Mutant("rate of all axes", lambda X, k: _by_formula(X, k, lastk=False),
            "the rate sums over the k latents only, not over all D axes"),
     Mutant("smallest kept", _smallest_first,
            "eigvalsh gives the smallest eigenvalue first: the k largest are kept, the others are noise")])


# --- 6.5

def _alive(lam, sigma2, beta=1.0):
    """Try decoder weights w on each axis, with the best encoder for each, and see whether the best one is 0."""
    w = np.concatenate([[0.0], np.geomspace(1e-4, 1e2, 4001)])
    alive = 0
    for variance in np.ravel(lam):
        noise = beta * sigma2
        gain, v = w / (w**2 + noise), noise / (w**2 + noise)  # minimise the loss in the encoder's gain and variance
        loss = ((1 - w * gain)**2 * variance + w**2 * v) / (2 * sigma2) + beta / 2 * (gain**2 * variance + v - 1 - np.log(v))
        alive += int(np.argmin(loss) > 0)
    return alive


_SPECTRUM = np.array([0.699, 0.639, 0.554, 0.395, 0.271, 0.191, 0.182, 0.170, 0.156, 0.138, 0.125, 0.111])

active_latents = Check(
    "active_latents", _alive,
    [(_SPECTRUM, 0.6), (_SPECTRUM, 0.3), (_SPECTRUM, 0.75), (_SPECTRUM, 0.1, 4.0), (_SPECTRUM, 0.25, 2.0),
     (_SPECTRUM[::-1].copy(), 0.12, 0.5),
     (np.array([9.0, 4.0, 0.25]), 2.0), (np.array([9.0, 4.0, 0.25]), 2.0, 3.0)],
    [Mutant("no beta", lambda lam, s2, beta=1.0: np.sum(lam > s2), "β is ignored: the water stands at βσ²"),
     Mutant("beta divides", lambda lam, s2, beta=1.0: np.sum(lam > s2 / beta), "a larger β raises the water: βσ², not σ²/β"),
     Mutant("dead ones", lambda lam, s2, beta=1.0: np.sum(lam <= beta * s2), "you counted the latents under water; the others live"),
     Mutant("sd squared again", lambda lam, s2, beta=1.0: np.sum(lam > beta * s2**2), "sigma2 is the variance already: do not square it"),
     Mutant("sd", lambda lam, s2, beta=1.0: np.sum(lam > beta * np.sqrt(s2)),
            "compare λ, a variance, with the variance σ², not with σ"),
     Mutant("root of lambda", lambda lam, s2, beta=1.0: np.sum(np.sqrt(lam) > beta * s2), "compare λ itself, not its root, with βσ²"),
     Mutant("half", lambda lam, s2, beta=1.0: np.sum(lam > beta * s2 / 2),
            "no ½ here: it belongs to the rate ½ log(λ/σ²), not to the threshold"),
     Mutant("mask", lambda lam, s2, beta=1.0: np.asarray(lam) > beta * s2, "return how many there are, not which: one number"),
     Mutant("sum of the live", lambda lam, s2, beta=1.0: lam[lam > beta * s2].sum(), "you added their variances; count them")])
