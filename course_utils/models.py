"""Code that an earlier lesson has shown, word for word, so that a later lesson can use it without showing it again."""

import numpy as np


def log_normal(x, mu, sigma):
    """log N(x | mu, sigma²), elementwise with broadcasting, in nats; sigma > 0 is a standard deviation.

    Defined in lesson 00.
    """
    return -0.5 * ((x - mu) / sigma)**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


def log_mean_exp(a, axis=None):
    """log of the mean of exp(a) without overflow, in nats. `a`: array; averages over `axis` (all of it if None).

    Defined in lesson 00.
    """
    m = np.max(a, axis=axis, keepdims=True)
    return np.squeeze(m, axis=axis) + np.log(np.mean(np.exp(a - m), axis=axis))


def bow_curve(z, w):
    """The point f_w(z) on a wire of curvature w, a distance z along it.

    z: latents, any shape (...). w: curvature, a number. Returns (..., 2). Defined in lesson 01.
    """
    if w == 0:
        return np.stack([z, 0 * z], axis=-1)
    return np.stack([np.sin(w * z) / w, (1 - np.cos(w * z)) / w], axis=-1)


def bow_log_joint(x, z, w, s):
    """log p(x, z) of the Bow in nats: z ~ N(0, 1), x | z ~ N(f_w(z), s² I).

    x: a point (2,). z: latents, any shape. w: curvature. s: noise sd. Returns the shape of z. Defined in lesson 01.
    """
    squared_distance = ((x - bow_curve(z, w))**2).sum(axis=-1)
    log_prior = -z**2 / 2 - np.log(2 * np.pi) / 2
    log_likelihood = -squared_distance / (2 * s**2) - np.log(2 * np.pi * s**2)
    return log_prior + log_likelihood


def bow_posterior(x, z, w, s):
    """Posterior and evidence of the Bow by the trapezoid rule.

    x: a point (2,). z: a fine, wide grid (G,). w: curvature. s: noise sd.
    Returns the density p(z | x) on the grid (G,) and log p(x) in nats. Defined in lesson 01.
    """
    log_joint = bow_log_joint(x, z, w, s)
    top = log_joint.max()
    log_px = top + np.log(np.trapezoid(np.exp(log_joint - top), z))
    return np.exp(log_joint - log_px), log_px


def pca_recon_error(X, k):
    """Smallest squared error of a linear autoencoder with k code units on X (N, D): sum over D, mean over N.

    Defined in lesson 02.
    """
    centred = X - X.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(X))  # smallest first
    return eigenvalues[:X.shape[1] - k].sum()


def kl_normal(m1, s1, m2, s2):
    """D_KL(N(m1, s1²) || N(m2, s2²)) in nats, elementwise; s1, s2 > 0 are standard deviations.

    Defined in lesson 03.
    """
    return np.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5


def iwae_from_logw(logw):
    """log of the mean weight over the last axis, in nats. logw: (..., K) log weights log p(x, z) - log q(z). Returns (...).

    Defined in lesson 05.
    """
    return log_mean_exp(logw, axis=-1)


def vae_kl(mu, logvar):
    """D_KL(N(mu, diag e^logvar) || N(0, I)) in nats: mu, logvar (..., L) -> (...), summed over the L latents.

    For arrays and for tensors, gradients included. Defined in lesson 06.
    """
    return -0.5 * (1 + logvar - mu**2 - np.e**logvar).sum(-1)


def bernoulli_loglik(logits, x):
    """log p(x) of independent bits, nats: tensors logits, x (..., D) -> (...), summed over the D pixels; x is 0 or 1.

    Defined in lesson 06.
    """
    return (x * logits - logits.logaddexp(0 * logits)).sum(-1)  # log(e^ℓ + e^0) is the softplus


def ppca_ml(X, k):
    """Maximum likelihood of probabilistic PCA on X (N, D) with k latents, k < D.

    Returns sigma² (the noise variance), the mean log-likelihood of a row and the mean rate, both in nats.
    Defined in lesson 06.
    """
    centred, D = X - X.mean(axis=0), X.shape[1]
    lam = np.linalg.eigvalsh(centred.T @ centred / len(X))[::-1]  # largest first
    s2 = lam[k:].mean()
    log_lik = -0.5 * (D * np.log(2 * np.pi) + np.log(lam[:k]).sum() + (D - k) * np.log(s2) + D)
    return s2, log_lik, 0.5 * np.log(lam[:k] / s2).sum()


def reparameterise(mu, logvar, eps):
    """Draws from N(mu, sigma²), logvar = log sigma². mu, logvar, eps: tensors that broadcast; eps ~ N(0, 1).

    Defined in lesson 07.
    """
    return mu + (logvar / 2).exp() * eps
