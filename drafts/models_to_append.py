

def iwae_from_logw(logw):
    """log of the mean weight over the last axis, in nats. logw: (..., K) log weights log p(x, z) - log q(z). Returns (...).

    Defined in lesson 05.
    """
    return log_mean_exp(logw, axis=-1)


def reparameterise(mu, logvar, eps):
    """Draws from N(mu, sigma²), logvar = log sigma². mu, logvar, eps: tensors that broadcast; eps ~ N(0, 1).

    Defined in lesson 07.
    """
    return mu + (logvar / 2).exp() * eps
