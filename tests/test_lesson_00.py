"""Lesson 00: its formulas against independent computations, its explorers' invariants, its claims."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad


def torch_log_mean_exp(a, axis=None):
    a = torch.as_tensor(a)
    a, axis = (a.reshape(-1), 0) if axis is None else (a, axis)
    return torch.logsumexp(a, axis) - math.log(a.shape[axis])


VARIANTS = {
    "nats_to_bits": [lambda nats: np.log2(np.exp(nats)), lambda nats: nats * 1.4426950408889634,
                     lambda nats: torch.as_tensor(nats) / math.log(2)],
    "log_mean_exp": [torch_log_mean_exp, lambda a, axis=None: scipy.special.logsumexp(a, axis=axis, b=1 / (
        np.size(a) if axis is None else a.shape[axis]))],
    "finite_difference": [lambda f, x, h=1e-4: f(x + h) / (2 * h) - f(x - h) / (2 * h),
                          lambda f, x, h=1e-4: (f(x + h / 2) - f(x - h / 2)) / h],
}


def number(text, before):
    """The number that follows `before` in a readout."""
    return float(text.split(before)[1].split()[0].rstrip("),"))


def _fit_by_hand(explorer):
    """The readout is the divergence by adaptive quadrature, and no bell curve beats the machine's 0.0206 nats."""
    mu, sigma = explorer.values["mu"], math.exp(explorer.values["log_sigma"])
    q = scipy.stats.norm(mu, sigma)

    def integrand(z):
        log_p = scipy.stats.norm.logpdf(z) + scipy.special.log_expit(4 * z) - math.log(0.5)
        return q.pdf(z) * (q.logpdf(z) - log_p)

    exact = quad(integrand, mu - 9 * sigma, mu + 9 * sigma, points=[0, mu], limit=200)[0]
    assert number(explorer.text, "misses") == pytest.approx(exact, abs=6e-4)
    assert exact > 0.0205


def _one_area(explorer):
    sigma = explorer.values["sigma"]
    assert number(explorer.text, "density") == pytest.approx(scipy.stats.norm(0, sigma).pdf(0), abs=6e-4)
    assert number(explorer.text, "entropy") == pytest.approx(scipy.stats.norm(0, sigma).entropy(), abs=6e-4)
    assert number(explorer.text, "=") == pytest.approx(scipy.stats.norm(0, sigma).entropy() / math.log(2), abs=6e-4)


def _too_small(explorer):
    m = explorer.values["m"]
    assert number(explorer.text, "out") == pytest.approx(scipy.special.logsumexp([m, m - 1]) - math.log(2), abs=6e-4)
    assert math.isfinite(number(explorer.text, "naive")) == (-745 < m < 710)


INVARIANTS = {"fit_by_hand": _fit_by_hand, "one_area": _one_area, "too_small": _too_small}


def test_evidence_is_one_half_and_the_machine_finds_the_known_optimum(lesson):
    n = lesson("00").namespace
    assert n["log_evidence"] == pytest.approx(math.log(0.5), abs=1e-9)  # claim L4.18: by symmetry, exactly 1/2
    assert n["log_evidence"] - n["best"].fun == pytest.approx(-0.71371, abs=1e-4)  # claim L4.18: best Gaussian's bound


def test_log_normal_is_that_of_torch(lesson):
    x, mu, sigma = np.random.default_rng(0).normal(size=(3, 50))
    sigma = np.exp(sigma)
    theirs = torch.distributions.Normal(torch.as_tensor(mu), torch.as_tensor(sigma)).log_prob(torch.as_tensor(x))
    assert np.allclose(lesson("00").namespace["log_normal"](x, mu, sigma), theirs)


@pytest.mark.parametrize("sigma, entropy", [(1.0, 1.4189385332046727), (0.1, -0.8836465597893728)])
def test_entropy(lesson, sigma, entropy):  # claim L3.9
    ours = lesson("00").namespace["entropy_normal"](sigma)
    assert ours == pytest.approx(entropy, abs=1e-12) == pytest.approx(scipy.stats.norm(0, sigma).entropy(), abs=1e-12)


def test_reference_values(lesson):
    n = lesson("00").namespace
    assert n["log_mean_exp"](np.array([-1000.0, -1001.0])) == pytest.approx(-1000.3798854930417, abs=1e-9)
    assert n["nats_to_bits"](0.4431472) == pytest.approx(0.6393263, abs=1e-7)
    assert np.exp(n["log_normal"](0.0, 0.0, 0.1)) == pytest.approx(3.989, abs=5e-4)
