"""Lesson 07: its gradients against quadrature, autograd and moments, its explorers' invariants, its claims."""

import json
import math
import re

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad

from course_utils import models
from course_utils.checks import lesson_07 as check
from course_utils.instructor import build

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)  # exact for polynomials of the noise
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def moments(term):
    """Mean and variance of term(eps), eps ~ N(0, 1), by Gauss-Hermite."""
    values = term(NODES)
    mean = WEIGHTS @ values
    return mean, WEIGHTS @ (values - mean)**2


@pytest.fixture
def n(lesson):
    return lesson("07").namespace


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _leaf(value):
    return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)


def _reparameterise_by_rail(mu, logvar, eps):
    return torch.addcmul(mu, torch.sqrt(torch.exp(logvar)), eps)


def _path_by_autograd(df, mu, sigma, eps):
    m, t = _leaf(mu), _leaf(math.log(sigma))
    z = m + t.exp() * torch.as_tensor(eps)
    slope = torch.as_tensor(np.asarray(df(z.detach().numpy())))
    return torch.autograd.grad((z * slope).mean(), (m, t))


def _score_by_loop(f, mu, sigma, eps):
    total = np.zeros(2)
    for e in eps:
        total += float(f(mu + sigma * e)) * np.array([e / sigma, e * e - 1])
    return list(total / len(eps))


def _baseline_by_weights(f, score):
    return np.average(f, weights=np.square(score))


def _rloo_by_scaling(f, mu, sigma, eps):
    cost = f(mu + sigma * eps)
    return np.sum((cost - cost.mean()) * eps) / sigma / (len(eps) - 1)


def _stl_by_hand(log_p, mu, log_sigma, eps):
    z = (mu + log_sigma.exp() * eps).detach().requires_grad_()
    slope = torch.autograd.grad(log_p(z).sum(), z)[0] + eps / log_sigma.detach().exp()
    return slope.mean().item(), (slope * log_sigma.detach().exp() * eps).mean().item()


def _stl_by_rebuilt_q(log_p, mu, log_sigma, eps):
    z = mu + log_sigma.exp() * eps
    log_q = -0.5 * ((z - mu.item()) / math.exp(log_sigma.item()))**2
    (log_p(z) - log_q).mean().backward()
    out = mu.grad.clone(), log_sigma.grad.clone()
    mu.grad, log_sigma.grad = None, None
    return out


VARIANTS = {
    "reparameterise": [_reparameterise_by_rail, lambda mu, logvar, eps: mu + torch.exp(0.5 * logvar) * eps,
                       lambda mu, logvar, eps: torch.distributions.Normal(mu, logvar.exp()**0.5).icdf(torch.special.ndtr(eps))],
    "pathwise_grad": [_path_by_autograd, lambda df, mu, sigma, eps: [np.mean([df(mu + sigma * e) * a for e, a in zip(eps, rail)])
                                                                     for rail in (np.ones(len(eps)), sigma * eps)]],
    "score_grad": [_score_by_loop, lambda f, mu, sigma, eps: np.mean(f(mu + sigma * eps) * np.array([eps / sigma, eps**2 - 1]), axis=1)],
    "optimal_baseline": [_baseline_by_weights, lambda f, score: np.dot(f * score, score) / np.dot(score, score)],
    "rloo_grad": [_rloo_by_scaling, lambda f, mu, sigma, eps: np.cov(f(mu + sigma * eps), eps)[0, 1] / sigma],
    "stl_grad": [_stl_by_hand, _stl_by_rebuilt_q],
    "gumbel_softmax": [lambda logits, g, tau: torch.softmax((torch.as_tensor(logits) + torch.as_tensor(g)) / tau, -1),
                       lambda logits, g, tau: np.exp(scipy.special.log_softmax((logits + g) / tau, axis=-1))],
}


# ---- explorers --------------------------------------------------------------------------------------------------------
def numbers(text):
    return [float(x) for x in re.findall(r"[-+]?\d+\.\d+", text)]


def _particles_on_rails(explorer):
    """The exact mean cost and slope, by finite differences of mu² + sigma² in the parameter; detached particles have slope 0."""
    v = explorer.values
    t = round(v["position"] * 50) / 50
    lo, hi = {"μ": (-1, 3), "σ": (0.1, 2), "σ²": (0.01, 4), "log σ²": (math.log(0.01), math.log(4))}[v["parameter"]]
    value = lo + t * (hi - lo)

    def mean_cost(p):
        m = p if v["parameter"] == "μ" else 1.0
        variance = {"μ": 1.0, "σ": p * p, "σ²": p, "log σ²": math.exp(p)}[v["parameter"]]
        return m * m + variance

    shown, cost, exact, slope, exact_slope = numbers(explorer.text)
    assert shown == pytest.approx(value, abs=6e-3) and exact == pytest.approx(mean_cost(value), abs=6e-3)
    assert exact_slope == pytest.approx((mean_cost(value + 1e-6) - mean_cost(value - 1e-6)) / 2e-6, abs=6e-3)
    if v["draws"] == "detached":
        assert slope == 0
    else:  # 24 particles: right in sign and size, within five standard errors or so
        assert abs(slope - exact_slope) < 2.0 * (1 + abs(exact_slope))


def _estimator_race(explorer):
    """Exact gradient and single-draw variances by quadrature; a thousand repetitions are within their errors."""
    v = explorer.values
    mu, sigma, S = v["mu"], v["sigma"], v["S"]
    f = {"z²": np.square, "sin 10z": lambda z: np.sin(10 * z), "step: 1 if z > 0": lambda z: 1.0 * (z > 0)}[v["cost"]]
    q = scipy.stats.norm(mu, sigma)
    z = np.linspace(mu - 10 * sigma, mu + 10 * sigma, 20001)
    term = f(z) * (z - mu) / sigma**2
    truth = np.trapezoid(q.pdf(z) * term, z)
    variance = np.trapezoid(q.pdf(z) * term**2, z) - truth**2
    first, second = explorer.text.split("\n")
    got = numbers(first)
    variances = numbers(second)
    assert got[0] == pytest.approx(truth, abs=2e-3)
    assert variances[0] == pytest.approx(variance, rel=0.35, abs=0.02)
    error = math.sqrt(variance / S / 1000)
    assert all(abs(m - truth) < 5 * error + 0.02 for m in got[1:4])
    assert variances[2] <= variances[0] * 1.25 + 0.02  # the best constant does not hurt
    if v["cost"] == "z²":
        assert variances[3] == pytest.approx(4 * sigma**2, rel=0.2, abs=0.02)
    if v["cost"].startswith("step"):
        assert variances[3] == 0 and got[4] == 0


def _landing(explorer):
    """Means and sds of the estimates by Gauss-Hermite, within the error of 2,000 draws."""
    v = explorer.values
    m, s, c = v["m"], v["s"], v["log_px"]

    def log_w(e):
        z = m + s * e
        return c + scipy.stats.norm.logpdf(z) - scipy.stats.norm.logpdf(z, m, s)

    got = numbers(explorer.text)
    assert got[0] == pytest.approx(-m, abs=1e-9)
    for k, term in enumerate((lambda e: log_w(e) * e / s, lambda e: -(m + s * e), lambda e: -(m + s * e) + e / s)):
        mean, variance = moments(term)
        assert mean == pytest.approx(-m, abs=1e-9)  # unbiased, all of them
        assert abs(got[1 + 2 * k] - mean) < 5 * math.sqrt(variance / 2000) + 6e-3
        assert got[2 + 2 * k] == pytest.approx(math.sqrt(variance), rel=0.2, abs=6e-3)


def relaxed(theta, tau):
    """E[b], and the two gradients, by adaptive quadrature over the uniform."""
    logit = scipy.special.logit(theta)

    def soft(u):
        return scipy.special.expit((logit + scipy.special.logit(u)) / tau)

    def slope(u):
        return soft(u) * (1 - soft(u)) / tau

    def integral(g):
        return quad(g, 0, 1 - theta, limit=400, epsabs=1e-11)[0] + quad(g, 1 - theta, 1, limit=400, epsabs=1e-11)[0]

    return (integral(soft), integral(lambda u: 2 * (soft(u) - 0.45) * slope(u)),
            integral(lambda u: 2 * ((u > 1 - theta) - 0.45) * slope(u)))


def _temperature(explorer):
    theta, tau = explorer.values["theta"], explorer.values["tau"]
    mean, soft, through = relaxed(theta, tau)
    got = numbers(explorer.text)
    assert got[0] == pytest.approx(mean, abs=2e-4)
    assert got[2] == pytest.approx(theta * (1 - theta) * 0.1, abs=1e-4)
    assert got[3] == pytest.approx(soft, abs=3e-4) and got[4] == pytest.approx(through, abs=2e-3)
    assert ("WRONG SIGN" in explorer.text) == (got[3] < 0)


def _side_by_side(explorer):
    """No model is better than the true one, and the start is the same for both."""
    path, other, floor = (float(x) for x in re.findall(r"\d+\.\d+", explorer.text))
    assert path > floor and other > floor
    if explorer.values["step"] == 0:
        assert path == other


INVARIANTS = {"particles_on_rails": _particles_on_rails, "estimator_race": _estimator_race, "landing": _landing,
              "temperature": _temperature, "side_by_side": _side_by_side}


# ---- claims -----------------------------------------------------------------------------------------------------------
CLAIMS = {"L6.1": (2.0, 2.0), "L6.2": (30.0, 4.0), "L6.3": (114.15, 0.04), "L6.4": (18.0, 14.0, 4.0), "L6.5": (552.0, 4.0),
          "L6.7": (0.5, 50.0), "L6.9": (0.0, 1.0, 1.0, 0.0), "L6.9b": 25.0, "L6.10": -1.0, "L6.11": (0.2025, 0.64, 4.41, 0.16),
          "L6.13": (1.6903090292457295, 0.016279517568082325), "L6.16": 0.3620784417582047, "L6.18": 0.025, "L6.20": 1 / 60,
          "L6.23": -0.5, "L6.24": (0.016, -0.023127446394616044, -0.01880475055107735, 0.006529515440280324, -0.050101610370178226),
          "L6.25": (0.376977, 0.2402)}
EPS = np.random.default_rng(0).standard_normal(400_000)


def square_slope(z):
    return 2 * z


def test_both_gradients_of_the_square_are_unbiased(n):  # claim L6.1
    score, path = n["score_terms"](np.square, 1.0, 1.0, 1 + NODES), n["path_terms"](square_slope, 1.0, 1.0, NODES)
    assert (WEIGHTS @ score, WEIGHTS @ path) == pytest.approx(CLAIMS["L6.1"], abs=1e-9)
    assert n["grid_gradient"](np.square, 1.0, 1.0) == pytest.approx(2.0, abs=1e-9)


@pytest.mark.parametrize("mu, sigma, claim", [(1.0, 1.0, "L6.2"), (1.0, 0.1, "L6.3")])
def test_variances_of_the_square(n, mu, sigma, claim):  # claims L6.2, L6.3
    score = moments(lambda e: n["score_terms"](np.square, mu, sigma, mu + sigma * e))[1]
    path = moments(lambda e: n["path_terms"](square_slope, mu, sigma, e))[1]
    assert (score, path) == pytest.approx(CLAIMS[claim], rel=1e-9)
    assert n["score_variance"](mu, sigma) == pytest.approx(score, rel=1e-9)


def test_baselines(n):  # claim L6.4
    mean, least, best = CLAIMS["L6.4"]
    assert n["variance_with_baseline"](2.0, np.square, 1.0, 1.0) == pytest.approx(mean, abs=1e-6)
    assert n["variance_with_baseline"](4.0, np.square, 1.0, 1.0) == pytest.approx(least, abs=1e-6)
    assert n["best_constant"](np.square, 1.0, 1.0) == pytest.approx(best, abs=1e-6)
    assert moments(lambda e: ((1 + e)**2 - best) * e)[1] == pytest.approx(least, abs=1e-9)
    draws = np.sqrt(WEIGHTS)  # weights as draws: f stays, the score takes the root of the weight
    assert n["optimal_baseline"]((1 + NODES)**2, NODES * draws) == pytest.approx(best, abs=1e-9)
    assert n["optimal_baseline"]((2 + NODES)**2, NODES * draws) == pytest.approx(7.0, abs=1e-9)  # the quiz
    for mu, sigma in ((0.3, 0.5), (-2.0, 1.7)):
        assert n["best_constant"](np.square, mu, sigma) == pytest.approx(mu**2 + 3 * sigma**2, rel=1e-6)


def test_ten_dimensions(n):  # claim L6.5
    # E[f² e²] with f = (1 + e)² + R: R, the cost of the other nine, has mean 18 and variance 9 (E z⁴ - 4) = 54
    f, e = (1 + NODES)**2, NODES
    second = WEIGHTS @ (f**2 * e**2) + 2 * 18 * (WEIGHTS @ (f * e**2)) + (54 + 18**2)
    assert second - 2.0**2 == pytest.approx(CLAIMS["L6.5"][0], abs=1e-6) == pytest.approx(30 + 22 * 9 + 4 * 81)
    z = 1 + np.random.default_rng(1).standard_normal((300_000, 10))
    assert ((z**2).sum(axis=1) * (z[:, 0] - 1)).var() == pytest.approx(CLAIMS["L6.5"][0], rel=0.05)
    assert (2 * z[:, 0]).var() == pytest.approx(CLAIMS["L6.5"][1], rel=0.02)


def test_a_step_has_no_path(n):  # claim L6.6 of the curriculum
    f, df, exact, _ = n["COSTS"]["step: 1 if z > 0"]
    assert exact(1.0, 1.0) == pytest.approx(0.2419707245191434, abs=1e-12)
    h = 1e-5
    above, below = scipy.stats.norm.cdf((0.4 + h) / 0.7), scipy.stats.norm.cdf((0.4 - h) / 0.7)
    assert exact(0.4, 0.7) == pytest.approx((above - below) / (2 * h), abs=1e-8)
    assert (n["path_terms"](df, 1.0, 1.0, EPS) == 0).all()
    assert n["score_terms"](f, 1.0, 1.0, 1 + EPS).mean() == pytest.approx(exact(1.0, 1.0), abs=5 * 0.75 / math.sqrt(len(EPS)))


def test_a_fast_sine_is_noisier_pathwise(n):  # claim L6.7
    f, df, exact, _ = n["COSTS"]["sin 10z"]
    for k, variance in enumerate(CLAIMS["L6.7"]):
        def term(e, k=k):
            return n["score_terms"](f, 0.0, 1.0, e) if k == 0 else n["path_terms"](df, 0.0, 1.0, e)

        mean = quad(lambda e: term(e) * scipy.stats.norm.pdf(e), -9, 9, limit=600)[0]
        assert mean == pytest.approx(exact(0.0, 1.0), abs=1e-8)
        got = quad(lambda e: (term(e) - mean)**2 * scipy.stats.norm.pdf(e), -9, 9, limit=600)[0]
        assert got == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("m, s, c", [(0.0, 1.0, 0.0), (0.0, 1.0, -5.0), (1.0, 0.8, 0.0), (1.0, 0.4, -2.0), (-1.5, 1.7, -3.0)])
def test_gradients_of_the_elbo(n, m, s, c):  # claims L6.9, L6.9b, L6.10, L6.11
    rows = [moments(lambda e, k=k: n["elbo_gradients"](m, s, c, e)[k]) for k in range(4)]
    assert [r[0] for r in rows] == pytest.approx([-m] * 4, abs=1e-9)  # claim L6.10
    assert n["elbo_gradient_sds"](m, s, c)**2 == pytest.approx([r[1] for r in rows], abs=1e-9)


def test_elbo_gradient_variances_that_the_lesson_names(n):
    sds = n["elbo_gradient_sds"]
    assert sds(0, 1, 0)**2 == pytest.approx(CLAIMS["L6.9"], abs=1e-12)  # claim L6.9
    assert sds(0, 1, -5)[0]**2 == pytest.approx(CLAIMS["L6.9b"], abs=1e-9)  # claim L6.9b
    off = [*sds(1, 0.8, 0)[[3, 2]]**2, *sds(1, 0.4, 0)[[3, 2]]**2]
    assert off == pytest.approx(CLAIMS["L6.11"], abs=1e-9)  # claim L6.11
    z = np.linspace(-12, 12, 100_001)  # and the ELBO itself, c - KL, has the slope -m

    def elbo(m):
        return np.trapezoid(np.exp(models.log_normal(z, m, 0.8)) * (models.log_normal(z, 0, 1) - models.log_normal(z, m, 0.8)), z)

    assert (elbo(1 + 1e-4) - elbo(1 - 1e-4)) / 2e-4 == pytest.approx(CLAIMS["L6.10"], abs=1e-6)


def test_stl_in_torch_is_the_formula(n):  # claim L6.12: detaching the parameters gives -z + eps/s, for many draws
    for m, s, e in ((1.0, 0.8, 0.3), (0.4, 1.3, -1.7), (-0.6, 0.5, 2.2)):
        got = n["stl_grad"](lambda z: -z**2 / 2, _leaf(m), _leaf(math.log(s)), torch.tensor([e], dtype=torch.float64))
        assert got[0].item() == pytest.approx(n["elbo_gradients"](m, s, 0.0, e)[3], abs=1e-12)


def test_the_best_coefficient_of_a_control_variate(n):  # claim L6.13: the baseline's formula for E[exp U] and U
    u = (np.arange(200_000) + 0.5) / 200_000
    control, target = u - 0.5, np.exp(u)
    beta = n["optimal_baseline"](target / control, control)  # estimate (f - b) s with f s = exp U and s = U - 1/2
    assert beta == pytest.approx(CLAIMS["L6.13"][0], abs=1e-8) == pytest.approx(6 * (3 - math.e), abs=1e-8)
    assert (target - beta * control).var() / target.var() == pytest.approx(CLAIMS["L6.13"][1], rel=1e-6)


def test_mean_of_the_relaxed_switch():  # claim L6.16, and the values of the curriculum
    r = 0.3 / 0.7
    assert relaxed(0.3, 1.0)[0] == pytest.approx(CLAIMS["L6.16"], abs=1e-8) == pytest.approx(r / (r - 1) - r * math.log(r) / (r - 1)**2)
    for tau, value in ((2, 0.41), (0.5, 0.3253), (0.2, 0.3052), (0.1, 0.3014)):
        assert relaxed(0.3, tau)[0] == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("theta, tau, claim, place", [
    (0.5, 1.0, "L6.20", None), (0.2, 1.0, "L6.24", 1), (0.2, 0.5, "L6.24", 2), (0.2, 0.1, "L6.24", 3)])
def test_gradients_of_the_switch(n, theta, tau, claim, place):  # claims L6.18, L6.20, L6.24
    soft, through = n["switch_gradients"](theta, tau, n["u"])
    _, by_quad, through_quad = relaxed(theta, tau)
    assert soft == pytest.approx(by_quad, abs=5e-5) and through == pytest.approx(through_quad, abs=1e-3)
    if place:
        assert soft == pytest.approx(CLAIMS[claim][place], abs=2e-4)
        assert n["switch_exact"](theta) == pytest.approx(CLAIMS["L6.24"][0], abs=1e-12)
        if tau == 1:
            assert through == pytest.approx(CLAIMS["L6.24"][4], abs=3e-4)
    else:
        assert through == pytest.approx(CLAIMS["L6.20"], abs=1e-4) and soft == pytest.approx(1 / 60, abs=1e-6)
        assert n["switch_exact"](theta) == pytest.approx(CLAIMS["L6.18"], abs=1e-12)  # claim L6.18


def test_descent_with_the_relaxed_gradient_stops_at_the_wrong_place(n):  # claim L6.25
    theta, cost = CLAIMS["L6.25"]
    assert n["stopped"] == pytest.approx(theta, abs=2e-5)
    assert 0.2025 + n["stopped"] * 0.1 == pytest.approx(cost, abs=1e-4)
    assert abs(relaxed(theta, 1.0)[1]) < 2e-6


def test_the_exponential_has_a_rail(n):  # claim L6.23
    got = quad(lambda u: n["exponential_path_terms"](2.0, u), 0, 1, limit=200)[0]
    assert got == pytest.approx(CLAIMS["L6.23"], abs=1e-6)
    rate = _leaf(2.0)
    torch.manual_seed(0)
    z = torch.distributions.Exponential(rate).rsample((1,))
    z.backward()
    assert rate.grad.item() == pytest.approx(-z.item() / 2.0, rel=1e-6)


def test_more_samples_drown_the_encoders_gradient(n):  # claim L6.26
    theta, m, dreg = n["slopes"]
    assert theta > 0.3 and -0.7 < m < -0.35 and dreg > 0.25


def test_the_doubly_reparameterised_gradient_is_unbiased(n):  # claim L6.27
    _, plain, doubly = n["iwae_gradients"](10, 200_000, np.random.default_rng(5))
    error = math.hypot(plain.std(), doubly.std()) / math.sqrt(200_000)
    assert abs(plain.mean() - doubly.mean()) < 5 * error
    assert abs(plain.mean()) > 5 * plain.std() / math.sqrt(200_000)  # and there is a gradient to be unbiased for
    x, theta, m, s = 1.0, 0.0, 0.2, 0.9  # K = 2, by a two-dimensional Gauss-Hermite sum and a finite difference in m

    def bound(m):
        z = m + s * NODES
        log_w = scipy.stats.norm.logpdf(z, theta) + scipy.stats.norm.logpdf(x, z) - scipy.stats.norm.logpdf(z, m, s)
        return WEIGHTS @ (np.logaddexp(log_w[:, None], log_w) - math.log(2)) @ WEIGHTS

    exact = (bound(m + 1e-4) - bound(m - 1e-4)) / 2e-4
    for row in n["iwae_gradients"](2, 400_000, np.random.default_rng(6))[1:]:
        assert abs(row.mean() - exact) < 5 * row.std() / math.sqrt(400_000)


# ---- the rest ---------------------------------------------------------------------------------------------------------
def test_reference_values_of_the_exercises(n):
    eps = np.array([-1.0, 0.0, 1.0, 2.0])
    assert n["score_grad"](np.square, 1.0, 1.0, eps)[0] == pytest.approx(5.5)
    assert n["pathwise_grad"](square_slope, 1.0, 1.0, eps)[0] == pytest.approx(3.0)
    assert n["rloo_grad"](np.square, 1.0, 1.0, eps) == pytest.approx(5.0)
    logits, g = np.array([0.0, 1.0, 2.0]), np.array([0.5, -0.5, 0.0])
    assert n["gumbel_softmax"](logits, g, 1.0) == pytest.approx([0.1542808, 0.1542808, 0.6914385], abs=1e-7)
    assert n["gumbel_softmax"](logits, g, 0.5) == pytest.approx([0.0452785, 0.0452785, 0.909443], abs=1e-7)
    z = n["reparameterise"](*(torch.tensor(v, dtype=torch.float64) for v in ((0.5, -1.0), (0.0, -1.0), (1.0, -0.5))))
    assert z.tolist() == pytest.approx([1.5, -1.3032653], abs=1e-7)  # and exp(logvar) would give -1.1839397 for the second


def test_gradients_of_the_exercises_are_unbiased_for_both_parameters(n):
    path = n["pathwise_grad"](square_slope, 0.7, 0.6, EPS)
    score = n["score_grad"](np.square, 0.7, 0.6, EPS)
    for got in (path, score):
        assert got == pytest.approx((2 * 0.7, 2 * 0.6**2), abs=0.03)


def test_kl_to_the_prior_and_the_exact_elbo_of_the_trained_model(n):
    mu, logvar = torch.tensor([0.3, -1.2]), torch.tensor([-0.7, 0.4])
    theirs = torch.distributions.kl_divergence(torch.distributions.Normal(mu, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(n["kl_to_prior"](mu, logvar), theirs, atol=1e-6)
    torch.manual_seed(3)
    vae, x = n["BowVAE"](), n["test"][:50]
    with torch.no_grad():
        draws = n["surrogate"](vae, x, torch.randn(4000, 50), "pathwise").item()  # the ELBO itself, by Monte Carlo
    assert n["exact_negative_elbo"](vae, x) == pytest.approx(-draws, abs=0.02)


@pytest.mark.parametrize("kind", ["score", "leave-one-out"])
def test_the_surrogates_have_the_gradient_of_the_elbo(n, kind):
    """For one network, the average gradient of each surrogate is the pathwise one, encoder and decoder alike."""
    torch.manual_seed(4)
    vae, x = n["BowVAE"](), n["test"][:1].expand(20_000, 2)
    grads = {}
    for k in ("pathwise", kind):
        noise = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(9))
        grads[k] = torch.cat([g.flatten() for g in torch.autograd.grad(n["surrogate"](vae, x, noise, k), list(vae.parameters()))])
    assert torch.allclose(grads[kind], grads["pathwise"], atol=0.05)
    assert grads["pathwise"].abs().max() > 0.3


def test_the_two_common_lines_do_what_the_text_says():
    mu = torch.tensor(1.0, requires_grad=True)
    assert not torch.distributions.Normal(mu, 1.0).sample().requires_grad
    assert torch.distributions.Normal(mu, 1.0).rsample().requires_grad


def test_quiz_answers(n):
    quiz = json.loads((build.ROOT / "quizzes/07_reparameterization.json").read_text(encoding="utf-8"))["questions"]
    numeric = [q["answer"] for q in quiz if "options" not in q]
    assert numeric == [0, 7] and len(quiz) == 5
    assert n["path_terms"](lambda z: 3 + 0 * z, 1.0, 2.0, EPS).var() == 0


def test_the_check_sees_a_gradient_that_does_not_flow():
    verdict = check.reparameterise(lambda mu, logvar, eps: torch.as_tensor((mu + (logvar / 2).exp() * eps).detach().numpy()))
    assert not verdict and "no gradient reaches" in str(verdict)
