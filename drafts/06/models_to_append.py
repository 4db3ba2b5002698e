

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
