"""Marking of homework 06: rates, likelihoods and their reductions, the linear VAE, water-filling at a given rate."""

import math

import numpy as np
import scipy.optimize
import scipy.stats
from scipy.special import logsumexp

from . import Group, Marking, Mutant

RUBRIC = {"two_weights": [
    (1, "mean over 784 pixels: 784 · loss = ‖x − x̂‖² + 784 w · KL, so σ² = 784 w / 2: Ada 392, Ben 0.392, and Ben's number is no "
     "absurdity"),
    (1, "linear theory: latents with λ > σ² live; none for Ada, about 25 for Ben (at most as many as he has latents)"),
    (1, "warm-up would not save Ada: at w = 1 her likelihood itself calls everything noise, the code fades again; told apart by comparing "
     "the ELBOs (or final losses) with and without the code, or by changing σ²"),
    (1, "sum over pixels with a σ² that is learned (or known from the data), constants included, and weight 1")]}


# ---- 1 ---------------------------------------------------------------------------------------------------------------
def _rate_oracle(mu, logvar, mu0, logvar0):
    """Gauss–Hermite average of log q − log p, latent by latent, densities by scipy."""
    t, w = np.polynomial.hermite_e.hermegauss(5)
    s = np.exp(np.asarray(logvar) / 2)[..., None]
    z = np.asarray(mu)[..., None] + s * t
    q = scipy.stats.norm(np.asarray(mu)[..., None], s)
    p = scipy.stats.norm(np.asarray(mu0)[..., None], np.exp(np.asarray(logvar0) / 2)[..., None])
    return ((q.logpdf(z) - p.logpdf(z)) @ (w / w.sum())).sum(axis=-1)


def _rate_cases(rng):
    def gaussians(*shape):
        return rng.normal(0, 1.2, shape), rng.normal(0, 0.8, shape)
    return [Group("one prior for all rows", [(*gaussians(3, 4), *gaussians(4)), (*gaussians(2), *gaussians(2))],
                  "lesson 03's KL between two Gaussians, for each latent, then summed over the last axis"),
            Group("a prior for each row", [(*gaussians(5, 2), *gaussians(5, 2)), (*gaussians(2, 3, 2), *gaussians(2, 3, 2))],
                  "mu0 and logvar0 may have rows as well; sum over the last axis only")]


def _rate(mu, lv, mu0, lv0, log=1.0, var=np.exp, var0=np.exp, centre=None, one=1.0, half=0.5, pool=np.sum):
    centre = (mu - mu0)**2 if centre is None else centre
    return half * pool(log * (lv0 - lv) + (var(lv) + centre) / var0(lv0) - one, axis=-1)


rate_to_prior = Marking(
    "rate_to_prior", _rate_oracle, _rate_cases,
    [Mutant("prior ignored", lambda m, v, m0, v0: _rate(m, v, 0 * m0, 0 * v0), "that is the rate to N(0, I); mu0 and logvar0 do not enter"),
     Mutant("q and p exchanged", lambda m, v, m0, v0: _rate(m0, v0, m, v), "that is D_KL(prior || q); the encoder's q stands first"),
     Mutant("distance not divided", lambda m, v, m0, v0: _rate(m, v, m0, v0, centre=(m - m0)**2 * np.exp(v0)),
            "the squared distance of the means is measured in the prior's variance: divide it by e^logvar0"),
     Mutant("standard deviations for variances", lambda m, v, m0,
            v0: _rate(m, v, m0, v0, var=lambda a: np.exp(a / 2), var0=lambda a: np.exp(a / 2)),
            "e^(logvar/2) is σ; the ratio has variances, e^logvar"),
     Mutant("logvar as log sd", lambda m, v, m0, v0: _rate(m, 2 * v, m0, 2 * v0),
            "logvar is log σ², not log σ: e^logvar is already the variance"),
     Mutant("sign of the logarithms", lambda m, v, m0, v0: _rate(m, v, m0, v0, log=-1.0),
            "log σ0² − log σ², not the other way round: yours can become negative"),
     Mutant("no one", lambda m, v, m0, v0: _rate(m, v, m0, v0, one=0.0),
            "where q is the prior the rate is 0: the −1 of each latent is missing"),
     Mutant("no half", lambda m, v, m0, v0: _rate(m, v, m0, v0, half=1.0), "twice too much: the factor ½ is missing"),
     Mutant("mean over the latents", lambda m, v, m0, v0: _rate(m, v, m0, v0, pool=np.mean),
            "the KLs of independent latents add up: sum, do not average"),
     Mutant("sum over everything", lambda m, v, m0, v0: _rate(m, v, m0, v0).sum(), "sum over the last axis only: one rate for each row")],
    variants=[lambda m, v, m0, v0: (0.5 * (v0 - v) + 0.5 * np.expm1(v - v0) + 0.5 * ((m - m0) * np.exp(-v0 / 2))**2).sum(-1)])


# ---- 2 ---------------------------------------------------------------------------------------------------------------
def _ink_oracle(logits, x):
    """Pixel by pixel with pairwise logaddexp."""
    return np.array([math.fsum(ell[c] - np.logaddexp.reduce(ell) for ell, c in zip(image, row)) for image, row in zip(logits, x)])


def _ink_cases(rng):
    def case(N, D, C, scale=1.5):
        logits = rng.normal(0, scale, (N, D, C))
        return logits, rng.integers(C, size=(N, D))
    return [Group("inks of small images", [case(4, 6, 5), case(2, 3, 2), case(1, 7, 3)],
        "log-softmax over the inks, pick the ink that is there, sum over the pixels"),
            Group("a decoder that is very sure", [case(3, 4, 5, 500.0)], "exp(800) is infinite to a computer: subtract logsumexp", 0.5)]


def _ink(logits, x, axis=-1, pool=np.sum):
    log_p = logits - logsumexp(logits, axis=axis, keepdims=True)
    return pool(np.take_along_axis(log_p, x[..., None], axis=-1)[..., 0], axis=-1)


def _ink_naive(logits, x):
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return np.log(np.take_along_axis(p, x[..., None], axis=-1)[..., 0]).sum(axis=-1)


def _ink_differences(logits, x):
    n, d = np.indices(x.shape)
    return -np.logaddexp.reduce(logits - logits[n, d, x][..., None], axis=-1).sum(axis=1)


ink_loglik = Marking(
    "ink_loglik", _ink_oracle, _ink_cases,
    [Mutant("mean over the pixels", lambda l, x: _ink(l, x, pool=np.mean),
           "you averaged over the pixels; the log-probabilities of one image add up"),
     Mutant("softmax over the pixels", lambda l, x: _ink(l, x, axis=1),
            "each pixel has its own probabilities, which sum to 1 over the inks, the last axis"),
     Mutant("softmax over everything", lambda l, x: _ink(l, x, axis=(1, 2)),
            "the probabilities sum to 1 for each pixel; yours sum to 1 over the whole image"),
     Mutant("not normalised", lambda l, x: np.take_along_axis(l, x[..., None], -1)[..., 0].sum(-1),
            "a logit is no log-probability yet: subtract the logarithm of the sum over the inks"),
     Mutant("cross-entropy", lambda l, x: -_ink(l, x), "that is the cross-entropy, a loss; a log-probability is never above 0"),
     Mutant("probabilities added", lambda l, x: np.log(np.exp(l - logsumexp(l, axis=-1, keepdims=True))[
         np.arange(len(x))[:, None], np.arange(x.shape[1]), x].sum(-1)),
             "independent pixels: their probabilities are multiplied, so their logarithms are added"),
     Mutant("ink as a number", lambda l, x: (x * (l - logsumexp(l, axis=-1, keepdims=True)).max(axis=-1)).sum(-1),
            "an ink is a category: it picks an entry, it does not multiply anything"),
     Mutant("sum over everything", lambda l, x: np.full(len(x), _ink(l, x).sum()) if len(x) == 1 else _ink(l, x).sum(),
            "one number for each image; yours adds them up"),
     Mutant("overflow", _ink_naive, "right for small logits, but exp(800) is infinite to a computer: never form p, subtract logsumexp")],
    variants=[_ink_differences], partial={"overflow": 2 / 3})


# ---- 3 ---------------------------------------------------------------------------------------------------------------
def _posterior_oracle(X, W, sigma2):
    """Condition the joint Gaussian of (z, x) on x."""
    k, D = W.shape[1], len(W)
    joint = np.block([[np.eye(k), W.T], [W, W @ W.T + sigma2 * np.eye(D)]])
    gain = np.linalg.solve(joint[k:, k:], joint[k:, :k])
    return X @ gain, joint[:k, :k] - joint[:k, k:] @ gain


def _posterior_cases(rng):
    def case(N, D, k):
        return rng.normal(0, 1.5, (N, D)), rng.normal(0, 1, (D, k)), rng.uniform(0.2, 0.8)
    return [Group("one latent", [case(3, 4, 1), case(2, 6, 1)],
        "precision = prior's + data's; the mean is covariance times what is linear in z"),
            Group("several latents whose columns of W are not orthogonal", [case(4, 5, 2), case(2, 8, 3)],
                  "W'W is a matrix: invert it with the prior's precision added, not entry by entry", 2.0)]


def _posterior(X, W, s2, prior=1.0, noise=None, cov=lambda M, s2: s2 * np.linalg.inv(M), mean=lambda M, X, W, s2: X @ W @ np.linalg.inv(M),
    diagonal=False):
    M = W.T @ W + prior * (s2 if noise is None else noise) * np.eye(W.shape[1])
    M = np.diag(np.diag(M)) if diagonal else M
    return mean(M, X, W, s2), cov(M, s2)


linear_posterior = Marking(
    "linear_posterior", _posterior_oracle, _posterior_cases,
    [Mutant("forgot the prior", lambda X, W, s2: _posterior(X, W, s2, prior=0.0),
            "that is least squares, which reads the code off the image alone; the prior N(0, I) adds a precision of 1 to each latent"),
     Mutant("prior not scaled", lambda X, W, s2: _posterior(X, W, s2, noise=1.0),
            "the precisions are W'W/σ² and I: if you multiply the one by σ², the other too"),
     Mutant("sigma for sigma²", lambda X, W, s2: _posterior(X, W, np.sqrt(s2)), "sigma2 is the variance already: no root"),
     Mutant("sigma² squared", lambda X, W, s2: _posterior(X, W, s2**2), "sigma2 is the variance already: do not square it"),
     Mutant("covariance without sigma²", lambda X, W, s2: _posterior(X, W, s2, cov=lambda M, s2: np.linalg.inv(M)),
            "the means are right; the covariance lacks the factor σ²"),
     Mutant("precision for covariance", lambda X, W, s2: _posterior(X, W, s2, cov=lambda M, s2: M / s2),
            "the means are right; the second result is the precision, the covariance is its inverse"),
     Mutant("mean divided by sigma²", lambda X, W, s2: _posterior(X, W, s2, mean=lambda M, X, W, s2: X @ W @ np.linalg.inv(M) / s2),
            "the covariance is right; in the mean the σ² of W'x/σ² and that of the covariance cancel"),
     Mutant("mean not shrunk", lambda X, W, s2: _posterior(X, W, s2, mean=lambda M, X, W, s2: X @ W),
            "the covariance is right; W'x is not yet the mean: multiply by the inverse"),
     Mutant("diagonal only", lambda X, W, s2: _posterior(X, W, s2, diagonal=True),
            "right for one latent, but only the diagonal of W'W enters: columns that overlap explain each other away")],
    variants=[_posterior_oracle, lambda X, W, s2: (np.linalg.solve(np.eye(W.shape[1]) + W.T @ W / s2, W.T @ X.T / s2).T,
                                                   np.linalg.inv(np.eye(W.shape[1]) + W.T @ W / s2))],
    partial={"diagonal only": 1 / 3}, rtol=1e-6)


# ---- 4 ---------------------------------------------------------------------------------------------------------------
def _noise_oracle(X, W, mu, v):
    """Gauss–Hermite average of the squared error over every code, then a numerical search over log σ²."""
    t, w = np.polynomial.hermite_e.hermegauss(3)
    grids = np.stack(np.meshgrid(*[t] * W.shape[1], indexing="ij"), -1).reshape(-1, W.shape[1])
    weights = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * W.shape[1], indexing="ij"), -1).reshape(-1, W.shape[1]), axis=1)
    squares = np.array([weights @ ((x - (m + np.sqrt(s) * grids) @ W.T)**2).sum(1) for x, m, s in zip(X, mu, v)])

    def loss(a):
        return -sum(-0.5 * e * math.exp(-a) - 0.5 * X.shape[1] * (a + math.log(2 * math.pi)) for e in squares)
    return math.exp(scipy.optimize.minimize_scalar(loss, bounds=(-8, 8), method="bounded", options={"xatol": 1e-10}).x)


def _noise_cases(rng):
    def case(N, D, k, near):
        W, mu = rng.normal(0, 1, (D, k)), rng.normal(0, 1, (N, k))
        X = mu @ W.T + rng.normal(0, 0.5, (N, D)) if near else rng.normal(0, 1.2, (N, D))
        return X, W, mu, rng.uniform(0.05, 0.9, (N, k))
    return [Group("good codes", [case(5, 4, 2, True), case(3, 6, 1, True)],
        "the average of the expected squared error over images and pixels"),
            Group("codes that have nothing to do with the images", [case(4, 3, 2, False), case(2, 5, 3, False)],
                "nothing in the derivation needs q to be the posterior")]


def _noise(X, W, mu, v, spread=None, size=None, root=False):
    spread = (v * (W**2).sum(0)).sum() if spread is None else spread
    value = (((X - mu @ W.T)**2).sum() + spread) / (size or X.size)
    return np.sqrt(value) if root else value


best_sigma2 = Marking(
    "best_sigma2", _noise_oracle, _noise_cases,
    [Mutant("means only", lambda X, W, mu, v: _noise(X, W, mu, v, spread=0.0),
            "that is the error of the decoded means; the draws scatter around them, and W carries their variance v to the pixels"),
     Mutant("spread not decoded", lambda X, W, mu, v: _noise(X, W, mu, v, spread=v.sum()),
            "the codes' variance is added as it stands; the decoder stretches it by ‖w_i‖²"),
     Mutant("standard deviations for variances", lambda X, W, mu, v: _noise(X, W, mu, v, spread=(np.sqrt(v) * (W**2).sum(0)).sum()),
            "v holds variances; yours takes roots of them"),
     Mutant("W not squared", lambda X, W, mu, v: _noise(X, W, mu, v, spread=(v * np.abs(W).sum(0)).sum()),
            "a variance is stretched by the square of W"),
     Mutant("spread once for all", lambda X, W, mu, v: _noise(X, W, mu, v, spread=(v.mean(0) * (W**2).sum(0)).sum()),
            "every image has its own scatter: sum it over the images, too"),
     Mutant("per image", lambda X, W, mu, v: _noise(X, W, mu, v, size=len(X)),
            "σ² is the variance of one pixel: divide by N·D, not by N alone"),
     Mutant("sigma", lambda X, W, mu, v: _noise(X, W, mu, v, root=True), "σ² is asked for: do not take the root"),
     Mutant("unbiased", lambda X, W, mu, v: _noise(X, W, mu, v, size=X.size - X.shape[1]),
            "no N − 1 here: the maximum of the ELBO divides by N·D"),
     Mutant("missing half", lambda X, W, mu, v: 0.5 * _noise(X, W, mu, v),
            "half of the truth: both −½ log σ² and the squared error carry a ½")],
    variants=[lambda X, W, mu, v: float(np.mean((X - mu @ W.T)**2 + v @ (W**2).T))], rtol=1e-5)


# ---- 5 ---------------------------------------------------------------------------------------------------------------
def _loss_oracle(x, x_hat, mu, logvar, sigma2, beta):
    """Image by image with scipy's densities; the KL by Gauss–Hermite."""
    rate = _rate_oracle(mu, logvar, np.zeros(mu.shape[1]), np.zeros(mu.shape[1]))
    recon = [np.mean([scipy.stats.norm(draw[b], math.sqrt(sigma2)).logpdf(x[b]).sum() for draw in x_hat]) for b in range(len(x))]
    return float(np.mean(beta * rate - np.array(recon)))


def _loss_cases(rng):
    def case(S, B, D, L, beta):
        x = rng.normal(0, 1, (B, D))
        return x, x + rng.normal(0, 0.6, (S, B, D)), rng.normal(0, 1, (B, L)), rng.normal(-0.5, 0.7, (B, L)), rng.uniform(0.2, 0.8), beta
    return [Group("one draw for each image, β = 1", [case(1, 3, 5, 2, 1.0), case(1, 2, 4, 3, 1.0)],
        "sum over pixels and latents, mean over images, all constants"),
            Group("several draws, another β", [case(3, 4, 3, 2, rng.uniform(2, 4)), case(2, 3, 6, 4, rng.uniform(0.1, 0.6))],
                "mean over the draws; β weighs the KL and nothing else")]


def _loss(x, x_hat, mu, lv, s2, beta, pixels=np.sum, latents=np.sum, images=np.mean, draws=np.mean, constant=1.0, half=0.5, recon=1.0):
    log_lik = -half * pixels((x - x_hat)**2 / s2, axis=-1) - 0.5 * constant * pixels(np.log(2 * np.pi * s2) + 0 * x_hat, axis=-1)
    kl = 0.5 * latents(mu**2 + np.exp(lv) - 1 - lv, axis=-1)
    return images(beta * kl - recon * draws(log_lik, axis=0))


batch_loss = Marking(
    "batch_loss", _loss_oracle, _loss_cases,
    [Mutant("mean over the pixels", lambda *a: _loss(*a, pixels=np.mean),
           "the pixels of one image are averaged: the KL is then D times too heavy, and every latent drowns"),
     Mutant("mean over the latents", lambda *a: _loss(*a, latents=np.mean),
            "the KL is averaged over the latents; those of independent latents add up"),
     Mutant("sum over the images", lambda *a: _loss(*a, images=np.sum),
            "images are averaged, not added up: the loss would grow with the batch"),
     Mutant("mean over everything", lambda *a: _loss(*a, pixels=np.mean, latents=np.mean),
            "pixels and latents are averaged; only images and draws are"),
     Mutant("no constant", lambda *a: _loss(*a, constant=0.0), "½ log 2πσ² for each pixel is missing: without it the loss bounds nothing"),
     Mutant("no half", lambda *a: _loss(*a, half=1.0), "the squared error is divided by 2σ²; yours by σ²"),
     Mutant("sigma for sigma²", lambda x, h, mu, lv, s2, b: _loss(x, h, mu, lv, s2**2, b),
            "sigma2 is the variance already: do not square it"),
     Mutant("ELBO for loss", lambda *a: -_loss(*a), "the sign is turned: a loss falls when the images get more probable"),
     Mutant("KL subtracted", lambda x, h, mu, lv, s2, b: _loss(x, h, mu, lv, s2, -b), "the loss grows with the KL; yours falls"),
     Mutant("logvar as log sd", lambda x, h, mu, lv, s2, b: _loss(x, h, mu, 2 * lv, s2, b),
            "logvar is log σ², not log σ: e^logvar is already the variance"),
     Mutant("beta forgotten", lambda x, h, mu, lv, s2, b: _loss(x, h, mu, lv, s2, 1.0), "right for β = 1, but β is not used"),
     Mutant("beta on the reconstruction", lambda x, h, mu, lv, s2, b: _loss(x, h, mu, lv, s2, 1.0, recon=b),
            "right for β = 1, but β weighs the KL, not the reconstruction"),
     Mutant("draws added up", lambda *a: _loss(*a, draws=np.sum), "right for one draw, but the draws of an image are averaged")],
    variants=[lambda x, h, mu, lv, s2, b: b * np.mean(_rate_oracle(mu, lv, 0 * mu, 0 * lv)) + 0.5 * (
        np.mean(np.sum((x[None] - h)**2, -1)) / s2 + x.shape[1] * np.log(2 * np.pi * s2))],
    partial={"beta forgotten": 0.5, "beta on the reconstruction": 0.5, "draws added up": 0.5})


# ---- 6 ---------------------------------------------------------------------------------------------------------------
def _fill_oracle(lam, R):
    """A root search for the logarithm of the level."""
    lam = np.asarray(lam, float)

    def too_much(a):
        return 0.5 * np.maximum(np.log(lam) - a, 0).sum() - R
    level = math.exp(scipy.optimize.brentq(too_much, math.log(lam.min()) - 2 * R - 1, math.log(lam.max()), xtol=1e-13))
    return level, math.fsum(min(v, level) for v in lam)


def _fill_cases(rng):
    def case(D, shuffled=False):
        lam = np.sort(np.exp(np.cumsum(rng.uniform(0.3, 0.9, D)) - 2))[::-1]
        j = rng.integers(1, D - 1)                            # j + 1 axes above water, the others below
        level = math.exp(np.interp(rng.uniform(0.2, 0.8), [0, 1], np.log([lam[j + 1], lam[j]])))
        return rng.permutation(lam)[::1] if shuffled else lam, 0.5 * np.log(lam[:j + 1] / level).sum()
    mixed = case(6, True)
    while (np.diff(mixed[0]) < 0).all():
        mixed = case(6, True)
    return [Group("the largest variance first", [case(4), case(6), case(9)],
        "only the axes above water pay: check that your level lies below the smallest of them"),
            Group("variances in another order", [(np.sort(mixed[0]), mixed[1]), mixed], "sort first", 0.5)]


def _fill(lam, R, every=False, double=2.0, error=None, ordered=True):
    lam = np.sort(lam)[::-1] if ordered else np.asarray(lam)
    for n in range(len(lam), 0, -1):
        level = np.exp((np.log(lam[:n]).sum() - double * R) / n)
        if every or level <= lam[n - 1]:
            break
    return level, np.minimum(lam, level).sum() if error is None else error(lam, level, n)


def _fill_bisect(lam, R):
    low, high = 1e-12, float(np.max(lam))
    for _ in range(200):
        level = math.sqrt(low * high)
        if 0.5 * np.log(np.maximum(np.asarray(lam) / level, 1)).sum() > R:
            low = level
        else:
            high = level
    return np.array([level, np.minimum(lam, level).sum()])


fill_to_rate = Marking(
    "fill_to_rate", _fill_oracle, _fill_cases,
    [Mutant("every axis pays", lambda lam, R: _fill(lam, R, every=True),
           "you spread R over all axes; those under water cost nothing and must be left out"),
     Mutant("half forgotten", lambda lam, R: _fill(lam, R, double=1.0), "an axis costs ½ log(λ/level): the ½ is missing"),
     Mutant("bits", lambda lam, R: _fill(lam, R * math.log(2)), "R is in nats; you took bits"),
     Mutant("error of the axes above only", lambda lam, R: _fill(lam, R, error=lambda lam, level, n: n * level),
            "the level is right; the axes under water keep all their variance as error, and it counts"),
     Mutant("error of the axes below only", lambda lam, R: _fill(lam, R, error=lambda lam, level, n: lam[n:].sum()),
            "the level is right; an axis above water still has an error, the level itself"),
     Mutant("mean error", lambda lam, R: _fill(lam, R, error=lambda lam, level, n: np.minimum(lam, level).mean()),
            "the level is right; the squared error of an image is a sum over its axes"),
     Mutant("what is above water", lambda lam, R: _fill(lam, R, error=lambda lam, level, n: np.maximum(lam - level, 0).sum()),
            "the level is right; what stands above water is sent, what is below is lost"),
     Mutant("root of the level", lambda lam, R: (np.sqrt(_fill(lam, R)[0]), _fill(lam, R)[1]), "the level is a variance, like λ: no root"),
     Mutant("not sorted", lambda lam, R: _fill(lam, R, ordered=False),
            "right where the largest variance comes first; sort them, any order may come")],
    variants=[_fill_bisect], partial={"not sorted": 2 / 3}, rtol=1e-6)
