"""Lesson 04: its functions against independent computations, its explorers' invariants, its claims."""

import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import quad
from scipy.linalg import solve_triangular
from scipy.optimize import minimize, minimize_scalar
from scipy.special import polygamma

Z = np.linspace(-9, 9, 7201)


def bow_log_joint(x, w, z):
    """log p(x, z) of the Bow with s = 0.25, by scipy's densities."""
    curve = (z, 0 * z) if w == 0 else (np.sin(w * z) / w, (1 - np.cos(w * z)) / w)
    return scipy.stats.norm.logpdf(z) + sum(scipy.stats.norm.logpdf(xi, fi, 0.25) for xi, fi in zip(x, curve))


def log_evidence(x, w=1.0):
    return math.log(np.trapezoid(np.exp(bow_log_joint(x, w, Z)), Z))


def gap(x, w, m, s):
    """KL of N(m, s²) from the Bow's posterior: the normalised posterior on q's own grid."""
    z = m + s * np.linspace(-9, 9, 3601)
    log_q = scipy.stats.norm.logpdf(z, m, s)
    return np.trapezoid(np.exp(log_q) * (log_q - bow_log_joint(x, w, z) + log_evidence(x, w)), z)


# ------------------------------------------------------------------------------------------- other correct answers

def _cavi_by_triangles(mu, Lambda, m0, n):
    m = np.array(m0, float)
    for _ in range(n):
        m = mu - solve_triangular(np.tril(Lambda), np.triu(Lambda, 1) @ (m - mu), lower=True)
    return m, 1 / np.diagonal(Lambda)


def _cavi_in_torch(mu, Lambda, m0, n):
    mu, Lambda, m = (torch.as_tensor(np.array(v, float)) for v in (mu, Lambda, m0))
    for _ in range(n):
        for j in range(len(m)):
            m[j] = mu[j] - (sum(Lambda[j, k] * (m[k] - mu[k]) for k in range(len(m)) if k != j)) / Lambda[j, j]
    return m, 1 / torch.diag(Lambda)


def _normal_gamma_without_iterating(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """The resting point in closed form; the ELBO from the entropies and moments of scipy.stats."""
    N = len(x)
    m = (l0 * mu0 + np.sum(x)) / (l0 + N)
    t = (a0 + N / 2) / (b0 + 0.5 * (np.sum((x - m)**2) + l0 * (m - mu0)**2))
    a, lam = a0 + (N + 1) / 2, (l0 + N) * t
    q_mu, q_tau = scipy.stats.norm(m, lam**-0.5), scipy.stats.gamma(a, scale=t / a)
    log_t = scipy.stats.loggamma(a).mean() + math.log(t / a)

    def per_tau(tau, log_tau):
        rows = [0.5 * (log_tau - math.log(2 * math.pi) - tau * ((v - m)**2 + 1 / lam)) for v in x]
        prior = 0.5 * (math.log(l0) + log_tau - math.log(2 * math.pi) - l0 * tau * ((m - mu0)**2 + 1 / lam))
        return sum(rows) + prior + scipy.stats.gamma.logpdf(tau, a0, scale=1 / b0) + (a0 - 1) * (log_tau - math.log(tau))

    return m, lam, a, a / t, per_tau(t, log_t) + q_mu.entropy() + q_tau.entropy()


def _by_stirling(a, b):
    return math.log(a / b) - 0.5 / a, 1 / a, math.lgamma(a) - (a - 0.5) * math.log(a) + a - 0.5 * math.log(2 * math.pi)


def _gamma_in_torch(a, b):
    a = torch.tensor(a, dtype=torch.float64)
    m, s2 = torch.log(a / b) - 1 / (2 * a), 1 / a
    u = torch.distributions.Normal(m, s2.sqrt())
    return m, s2, torch.lgamma(a) - a * math.log(b) - a * m + a - u.entropy()


VARIANTS = {
    "cavi_gaussian": [_cavi_by_triangles, _cavi_in_torch],
    "cavi_normal_gamma": [_normal_gamma_without_iterating],
    "gamma_advi": [_by_stirling, _gamma_in_torch],
}


# ------------------------------------------------------------------------------------------------------- explorers

def number(text, before):
    """The number that follows `before` in a readout."""
    return float(re.search(re.escape(before) + r"\s*\(?([-+]?\d+(\.\d+)?)", text).group(1))


def _drag_q(explorer):
    """The three numbers are the integrals they claim to be, and the optimiser never ends below its start."""
    x, m, s = explorer.values["x"], explorer.values["mu"], math.exp(explorer.values["log_sigma"])
    log_px, value = log_evidence(x), number(explorer.text, "ELBO")
    assert number(explorer.text, "log p(x)") == pytest.approx(log_px, abs=6e-4)
    assert value <= log_px + 6e-4 and number(explorer.text, "KL") == pytest.approx(log_px - value, abs=1.1e-3)
    start = log_px - gap(x, 1.0, m, s)
    if explorer.values["steps"] == 0:
        assert value == pytest.approx(start, abs=6e-4)
    assert value >= start - 6e-4


def _fit_independently(x, w, fit):
    """(m, s) by scipy, without a function of the lesson."""
    if fit == "Laplace":
        best = Z[np.argmax(bow_log_joint(x, w, Z))]
        mode = minimize_scalar(lambda z: -bow_log_joint(x, w, z), bracket=(best - 0.01, best + 0.01), tol=1e-12).x
        h = 1e-3
        return mode, (-(bow_log_joint(x, w, mode + h) - 2 * bow_log_joint(x, w, mode) + bow_log_joint(x, w, mode - h)) / h**2)**-0.5
    density = np.exp(bow_log_joint(x, w, Z) - log_evidence(x, w))
    mean = np.trapezoid(Z * density, Z)
    return mean, math.sqrt(np.trapezoid((Z - mean)**2 * density, Z))


def _bow_fitter(explorer):
    """The gap is that of an independent fit; and no Gaussian on a fine map has a smaller one than Gaussian VI."""
    v = explorer.values
    x, shown = (v["x1"], v["x2"]), number(explorer.text, "KL(q||p) =")
    assert shown >= 0 and number(explorer.text, "log p(x) =") == pytest.approx(log_evidence(x, v["w"]), abs=6e-4)
    if v["fit"] != "Gaussian VI":
        theirs = gap(x, v["w"], *_fit_independently(x, v["w"], v["fit"]))
        assert shown == pytest.approx(theirs, rel=5e-3, abs=2e-5)
        return
    m, s = np.meshgrid(np.linspace(-6, 6, 241), np.exp(np.linspace(-2.2, 1, 65)))
    z, weight = np.linspace(-8, 8, 65), scipy.stats.norm.pdf(np.linspace(-8, 8, 65)) / 4
    own = m[..., None] + s[..., None] * z
    elbo = bow_log_joint(x, v["w"], own) @ weight + np.log(s) + 0.5 * math.log(2 * math.pi * math.e)
    assert shown <= log_evidence(x, v["w"]) - elbo.max() + 2e-5
    best = np.unravel_index(np.argmax(elbo), elbo.shape)
    assert shown >= log_evidence(x, v["w"]) - elbo.max() - 0.05, (m[best], s[best])  # the map is coarse


def _staircase(explorer):
    """Means as powers of rho, KL by torch; it falls with every update and ends where the readout says."""
    rho, k, reverse = explorer.values["rho"], explorer.values["step"], explorer.values["direction"].startswith("reverse")
    if reverse:
        new, old = (rho**k, rho**(k - 1)) if k else (-1.0, 1.0)
        error = (new, old) if k % 2 or k == 0 else (old, new)
        sd = [math.sqrt(1 - rho**2) if k > i else 1.0 for i in (0, 1)]
    else:
        error, sd = [0.0 if k > 0 else -1.0, 0.0 if k > 1 else 1.0], [1.0, 1.0]
    q = torch.distributions.MultivariateNormal(torch.tensor([1.0 + error[0], -1.0 + error[1]], dtype=torch.float64),
                                               torch.diag(torch.tensor(sd, dtype=torch.float64)**2))
    p = torch.distributions.MultivariateNormal(torch.tensor([1.0, -1.0], dtype=torch.float64),
                                               torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
    kl = torch.distributions.kl_divergence(*((q, p) if reverse else (p, q))).item()
    shown = number(explorer.text, "p) =" if reverse else "q) =")
    assert shown == pytest.approx(kl, abs=6e-5, rel=1e-4)
    assert number(explorer.text, "mean") == pytest.approx(q.mean[0].item(), abs=6e-4)
    assert number(explorer.text, "sd") == pytest.approx(sd[0], abs=6e-4)
    end = number(explorer.text, "ends at")
    assert end == pytest.approx(-0.5 * math.log(1 - rho**2), abs=6e-5) and shown >= end - 1e-4
    if k >= 2 and (not reverse or rho < 0.7):
        assert shown == pytest.approx(end, abs=6e-5 + 30 * rho**(2 * k - 2) * reverse)


def _two_spins(explorer):
    """Gap and log Z over the four states, one by one; the gap never grows with the updates and q never leaves its side."""
    J, start, k = (explorer.values[c] for c in ("J", "m", "step"))
    m = start
    for _ in range(k):
        m = math.tanh(J * m)
    weights = {(i, j): math.exp(J * i * j) for i in (1, -1) for j in (1, -1)}
    Z = sum(weights.values())
    kl = 0.0
    for (i, j), weight in weights.items():
        q = (1 + i * m) / 2 * (1 + j * m) / 2
        kl += q * math.log(q / (weight / Z))
    assert number(explorer.text, "gap") == pytest.approx(kl, abs=6e-5)
    assert number(explorer.text, "log Z") == pytest.approx(math.log(Z), abs=6e-5)
    assert number(explorer.text, "m =") == pytest.approx(m, abs=6e-5)
    assert m * start >= 0


def _gamma_by_gaussian(explorer):
    a = explorer.values["a"]
    remainder = math.lgamma(a) - (a - 0.5) * math.log(a) + a - 0.5 * math.log(2 * math.pi)
    assert number(explorer.text, "gap") == pytest.approx(remainder, abs=6e-5)
    on_log = explorer.values["axis"] == "log τ"
    exact, ours = (polygamma(1, a), 1 / a) if on_log else (1 / a, math.expm1(1 / a))
    assert number(explorer.text, "exact") == pytest.approx(exact, abs=6e-5)
    assert number(explorer.text, "under q") == pytest.approx(ours, abs=1e-4)
    assert (number(explorer.text, "ratio") < 1) == on_log


INVARIANTS = {"drag_q": _drag_q, "bow_fitter": _bow_fitter, "staircase": _staircase, "two_spins": _two_spins,
              "gamma_by_gaussian": _gamma_by_gaussian}


# ---------------------------------------------------------------------------------------------------------- claims

CLAIMS = {
    "L4.1": (1.0, -1.0, 0.19, 0.19),        # best factorised q for rho = 0.9: means and variances
    "L4.2": 0.8303656034108255,             # its gap, nats
    "L4.4": 0.81,                           # contraction of the mean's error per sweep, rho²
    "L4.5": (1.9, -0.19),                   # means after the first sweep from (0, 0)
    "L4.6": (0.55, 0.722396737377561),      # equicorrelated, rho = 0.5, D = 10: variance and gap
    "L4.7": -13.642990449990695,            # normal-gamma evidence of the eight points
    "L4.9": 0.04916480787006705,            # its gap, by integrating KL
    "L4.11b": 0.581875,                     # 1/E[tau] when the conjugate prior fades: S/N
    "L4.12": (2.2417345321336875, 0.8585596),  # two spins, J = 1.5: log Z, and the mean-field mean
    "L4.13": 0.6250518332508075,            # their gap
    "L4.14[a=1]": (-0.5, 1.0),              # Gaussian VI on log tau, Gamma(1, 1): m, s²
    "L4.14[a=3]": (0.23879844144149773, 1 / 3),  # Gamma(3, 2)
    "L4.15[a=1]": 0.08106146679532733,      # gap, Stirling's remainder
    "L4.15[a=3]": 0.02767792568499816,
    "L4.15[a=10]": 0.008330563433360805,
    "L4.16[a=3]": (1.5, 0.8901279564437015),     # mean and variance of tau under q, Gamma(3, 2)
    "L4.16[a=10]": (10.0, 10.517091807564771),   # Gamma(10, 1)
    "L4.17": 2.3222450966615753,            # 1/s² = E_q[-curvature] on the player who won
    "L4.18": 0.5,                           # that player's evidence
    "L4.19": (-0.77282, -0.71371, -0.69315),     # Laplace's ELBO < VI's < log evidence
    "B.4[on-curve]": 0.000093,              # gaps of the best Gaussian on the Bow
    "B.4[top]": 0.693408,
    "B.4[gap]": 0.696977,
    "B.5[on-curve]": 9.306949117837693e-05,
    "B.5[centre]": 0.0,
    "B.5[gap]": 0.6969771708642711,
    "B.7": -1.6724832514919,                # w = 0: the best ELBO is log p(x)
}


@pytest.fixture(scope="module")
def n(lesson):
    return lesson("04").namespace


def kl_by_torch(m, v, rho):
    q = torch.distributions.MultivariateNormal(torch.as_tensor(m), torch.diag(torch.as_tensor(v)))
    p = torch.distributions.MultivariateNormal(torch.tensor([1.0, -1.0], dtype=torch.float64),
                                               torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
    return torch.distributions.kl_divergence(q, p).item(), torch.distributions.kl_divergence(p, q).item()


def test_mean_field_on_the_correlated_gaussian(n):  # claims L4.1, L4.2
    m, v = n["coordinate_updates"](0.9, 400)
    assert np.allclose([*m[-1], *v[-1]], CLAIMS["L4.1"], atol=1e-9)
    assert n["both_kls"](m[-1], v[-1], 0.9)[0] == pytest.approx(CLAIMS["L4.2"], abs=1e-9) == pytest.approx(-0.5 * math.log(0.19))
    found = minimize(lambda t: kl_by_torch(t[:2].copy(), np.exp(t[2:]), 0.9)[0], np.zeros(4))
    assert np.allclose([*found.x[:2], *np.exp(found.x[2:])], CLAIMS["L4.1"], atol=1e-4)
    assert found.fun == pytest.approx(CLAIMS["L4.2"], abs=1e-8)
    assert n["both_kls"](*(u[-1] for u in n["coordinate_updates"](0.9, 2, "forward")), 0.9)[1] == pytest.approx(CLAIMS["L4.2"], abs=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_both_kls_are_those_of_torch(n, rho):
    rng = np.random.default_rng(0)
    m, v = rng.normal(size=(7, 2)), np.exp(rng.normal(size=(7, 2)))
    ours = np.transpose(n["both_kls"](m, v, rho))
    assert np.allclose(ours, [kl_by_torch(a, b, rho) for a, b in zip(m, v)])


def test_the_staircase(n):  # claims L4.4, L4.5
    m, _ = n["coordinate_updates"](0.9, 12)
    assert np.allclose(m[2], CLAIMS["L4.5"], atol=1e-12)
    error = m[2::2] - [1.0, -1.0]
    assert np.allclose(error[1:] / error[:-1], CLAIMS["L4.4"], atol=1e-9)
    exact = n["cavi_gaussian"](np.array([1.0, -1.0]), np.linalg.inv([[1.0, 0.9], [0.9, 1.0]]), np.zeros(2), 10)[0]
    assert np.allclose(exact, (1.1350852, -0.8784233), atol=1e-7)


def test_equal_correlations(n):  # claim L4.6
    D, r = 10, 0.5
    S = np.full((D, D), r) + (1 - r) * np.eye(D)
    variances, gap_ = n["mean_field"](S)
    assert np.allclose(variances, CLAIMS["L4.6"][0], atol=1e-10) and gap_ == pytest.approx(CLAIMS["L4.6"][1], abs=1e-10)
    by_eigenvalues = (1 - r) * (1 + (D - 1) * r) / (1 + (D - 2) * r)
    assert variances[0] == pytest.approx(by_eigenvalues)
    log_det = (D - 1) * math.log(1 - r) + math.log(1 + (D - 1) * r)
    assert gap_ == pytest.approx(0.5 * (log_det - D * math.log(by_eigenvalues)))
    assert n["mean_field"](np.full((50, 50), r) + (1 - r) * np.eye(50))[1] == pytest.approx(1.47, abs=5e-3)


def test_normal_gamma_evidence_and_gap(n):  # claims L4.7, L4.9
    x = n["x"]
    (m, l, a, b), log_px = n["normal_gamma_exact"](x)
    assert log_px == pytest.approx(CLAIMS["L4.7"], abs=1e-9)
    area = quad(lambda t: scipy.stats.gamma.pdf(t, 1.0) * scipy.stats.multivariate_normal.pdf(
        x, np.zeros(8), (np.eye(8) + np.ones((8, 8))) / t), 0, 30, points=[0.3, 1, 3], limit=200, epsabs=1e-14)[0]
    assert math.log(area) == pytest.approx(CLAIMS["L4.7"], abs=1e-6)
    mine = n["cavi_normal_gamma"](x)
    assert np.allclose(mine[:4], (1.8888889, 8.4357426, 5.5, 5.8678889), atol=1e-6) and mine[4] == pytest.approx(-13.6921553, abs=1e-6)
    mu, tau = np.meshgrid(np.linspace(-4, 8, 1201), np.linspace(1e-4, 12, 2401))
    log_q = scipy.stats.norm.logpdf(mu, mine[0], mine[1]**-0.5) + scipy.stats.gamma.logpdf(tau, mine[2], scale=1 / mine[3])
    log_p = scipy.stats.norm.logpdf(mu, m, (l * tau)**-0.5) + scipy.stats.gamma.logpdf(tau, a, scale=1 / b)
    kl = np.trapezoid(np.trapezoid(np.exp(log_q) * (log_q - log_p), mu[0]), tau[:, 0])
    assert log_px - mine[4] == pytest.approx(CLAIMS["L4.9"], abs=1e-6) == pytest.approx(kl, abs=1e-5)


def test_normal_gamma_elbo_by_sampling(n):
    q_mu, q_tau = scipy.stats.norm(1.7, 0.4), scipy.stats.gamma(4.0, scale=1 / 3.0)
    rng = np.random.default_rng(1)
    mu, tau = q_mu.rvs(40_000, random_state=rng), q_tau.rvs(40_000, random_state=rng)
    terms = (scipy.stats.norm.logpdf(n["x"][:, None], mu, tau**-0.5).sum(axis=0) + scipy.stats.norm.logpdf(mu, 0.5, (2 * tau)**-0.5)
             + scipy.stats.gamma.logpdf(tau, 1.5, scale=1 / 0.7) - q_mu.logpdf(mu) - q_tau.logpdf(tau))
    ours = n["normal_gamma_elbo"](n["x"], 1.7, 1 / 0.16, 4.0, 3.0, mu0=0.5, l0=2.0, a0=1.5, b0=0.7)
    assert ours == pytest.approx(terms.mean(), abs=5 * terms.std() / 200)


def test_the_fading_prior(n):  # claim L4.11b
    x = n["x"]
    assert x.var() == pytest.approx(CLAIMS["L4.11b"], abs=1e-12) and x.var(ddof=1) == pytest.approx(0.665, abs=1e-12)
    _, _, a, b, _ = n["cavi_normal_gamma"](x, l0=1e-10, a0=1e-10, b0=1e-10)
    assert b / a == pytest.approx(CLAIMS["L4.11b"], abs=1e-8)
    (_, _, a, b), _ = n["normal_gamma_exact"](x, l0=1e-10, a0=1e-10, b0=1e-10)
    assert b / a == pytest.approx(CLAIMS["L4.11b"], abs=1e-8)


def test_two_spins(n):  # claims L4.12, L4.13
    log_Z, m = CLAIMS["L4.12"]
    assert math.log(sum(math.exp(1.5 * i * j) for i in (-1, 1) for j in (-1, 1))) == pytest.approx(log_Z, abs=1e-12)
    assert n["log_Z"] == pytest.approx(log_Z, abs=1e-12)
    ours = n["spin_updates"](1.5, 0.2, 300)[-1]
    assert ours == pytest.approx(m, abs=1e-6) and -n["spin_updates"](1.5, -0.2, 300)[-1] == pytest.approx(m, abs=1e-6)
    assert log_Z - n["spin_elbo"](ours, 1.5) == pytest.approx(CLAIMS["L4.13"], abs=1e-9)
    best = minimize(lambda t: -n["spin_elbo"](np.tanh(t[0]), 1.5), [0.5])
    assert math.tanh(abs(best.x[0])) == pytest.approx(m, abs=1e-4)


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (3.0, 2.0), (10.0, 1.0)])
def test_the_best_gaussian_on_log_tau(n, a, b):  # claims L4.14, L4.15, L4.16
    m, log_s = n["climb"](0.0, 0.0, lambda u: n["log_gamma_u"](u, a, b), 120)[-1]
    gap_ = -n["elbo"](m, log_s, lambda u: n["log_gamma_u"](u, a, b))
    name = f"[a={a:.0f}]"
    if "L4.14" + name in CLAIMS:
        assert np.allclose((m, math.exp(2 * log_s)), CLAIMS["L4.14" + name], atol=1e-7)
        assert np.allclose(n["gamma_advi"](a, b)[:2], CLAIMS["L4.14" + name], atol=1e-9)
    assert gap_ == pytest.approx(CLAIMS["L4.15" + name], abs=1e-9) == pytest.approx(_by_stirling(a, b)[2], abs=1e-9)
    assert gap_ == pytest.approx(n["fit_log_gamma"](a)[2], abs=1e-8)  # whatever the unit of tau
    if "L4.16" + name in CLAIMS:
        q = scipy.stats.lognorm(math.exp(log_s), scale=math.exp(m))
        assert np.allclose((q.mean(), q.var()), CLAIMS["L4.16" + name], atol=1e-6)
        assert q.var() > scipy.stats.gamma(a, scale=1 / b).var()
    assert quad(lambda u: math.exp(n["log_gamma_u"](u, a, b)), -30, 8, limit=200)[0] == pytest.approx(1.0, abs=1e-7)
    assert n["variances"](a, *n["fit_log_gamma"](a)[:2], "τ")[0] == pytest.approx(1 / a)


def test_the_player_who_won(n):  # claims L4.17, L4.18, L4.19
    z = np.linspace(-12, 12, 24_001)
    log_p = scipy.stats.norm.logpdf(z) - np.logaddexp(0, -4 * z)
    assert np.allclose(n["log_win"](z), log_p)
    assert np.trapezoid(np.exp(log_p), z) == pytest.approx(CLAIMS["L4.18"], abs=1e-10)
    m, s = n["best_gaussian"](n["log_win"], n["z"])
    assert 1 / s**2 == pytest.approx(CLAIMS["L4.17"], abs=1e-5)
    weight, win = scipy.stats.norm.pdf(z, m, s), scipy.special.expit(4 * z)
    assert np.trapezoid(weight * (-z + 4 * (1 - win)), z) == pytest.approx(0, abs=1e-6)
    assert np.trapezoid(weight * (1 + 16 * win * (1 - win)), z) == pytest.approx(CLAIMS["L4.17"], abs=1e-5)
    m_laplace, s_laplace = n["laplace"](n["log_win"], n["z"])
    of_laplace, of_vi, log_px = CLAIMS["L4.19"]
    assert n["elbo"](m_laplace, math.log(s_laplace), n["log_win"]) == pytest.approx(of_laplace, abs=1e-4)
    assert n["elbo"](m, math.log(s), n["log_win"]) == pytest.approx(of_vi, abs=1e-5)
    assert of_laplace < of_vi < log_px == pytest.approx(math.log(0.5), abs=1e-5)


BOW = {"on-curve": ((math.sin(1.0), 1 - math.cos(1.0)), 1.0),
       "centre": ((0.0, 1.0), 1.0), "top": ((0.0, 2.0), 1.0), "gap": ((0.0, 1.0), 2.0)}


@pytest.mark.parametrize("name", BOW)
def test_the_best_gaussian_on_the_bow(n, name):  # claims B.4, B.5
    x, w = BOW[name]
    log_joint = n["bow_at"](x, w)
    m, s = n["best_gaussian"](log_joint, n["z"])
    by_elbo, by_kl = log_evidence(x, w) - n["elbo"](m, math.log(s), log_joint), gap(x, w, m, s)
    assert by_elbo == pytest.approx(by_kl, abs=1e-8)
    if "B.4[" + name + "]" in CLAIMS:
        assert by_elbo == pytest.approx(CLAIMS[f"B.4[{name}]"], abs=1e-6)
    if "B.5[" + name + "]" in CLAIMS:
        assert by_kl == pytest.approx(CLAIMS[f"B.5[{name}]"], abs=1e-7)
    others = [(m + dm, s * factor) for dm in (-0.02, 0, 0.02) for factor in (0.97, 1, 1.03)]
    others += [_fit_independently(x, w, fit) for fit in ("Laplace", "moment match")]
    assert all(gap(x, w, *other) >= by_kl - 1e-9 for other in others)


def test_straight_wire_the_elbo_is_the_evidence(n):  # claim B.7
    x = (1.0, 0.3)
    m, s = n["best_gaussian"](n["bow_at"](x, 0.0), n["z"])
    assert n["elbo"](m, math.log(s), n["bow_at"](x, 0.0)) == pytest.approx(CLAIMS["B.7"], abs=1e-8)
    closed = scipy.stats.norm.logpdf(x[0], 0, math.sqrt(1 + 0.25**2)) + scipy.stats.norm.logpdf(x[1], 0, 0.25)
    assert closed == pytest.approx(CLAIMS["B.7"], abs=1e-12)


@pytest.mark.parametrize("x", [(1.0, 0.5), (0.2, 1.7)])
def test_elbo_and_its_slopes(n, x):
    """The ELBO by adaptive quadrature, and its slopes by torch's autograd on the same average."""
    m, log_s = 0.4, -0.7
    q = scipy.stats.norm(m, math.exp(log_s))
    exact = quad(lambda t: q.pdf(t) * (bow_log_joint(x, 1.0, t) - q.logpdf(t)), m - 5, m + 5, limit=200)[0]
    assert n["elbo"](m, log_s, n["bow_at"](x)) == pytest.approx(exact, abs=1e-7)
    t_m, t_s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (m, log_s))
    at = t_m + torch.exp(t_s) * torch.as_tensor(n["eps"])
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(at)
    log_p = log_p + torch.distributions.Normal(torch.sin(at), 0.25).log_prob(torch.tensor(x[0], dtype=torch.float64))
    log_p = log_p + torch.distributions.Normal(1 - torch.cos(at), 0.25).log_prob(torch.tensor(x[1], dtype=torch.float64))
    (log_p @ torch.as_tensor(n["weight"]) + t_s).backward()
    assert np.allclose(n["elbo_slopes"](m, log_s, n["bow_at"](x)), (t_m.grad.item(), t_s.grad.item()), atol=1e-6)


@pytest.mark.parametrize("x", [(1.0, 0.5), (0.2, 1.7), (0.0, 1.1)])
def test_the_optimiser_never_goes_down_and_comes_to_rest(n, x):
    for start in ((-2.0, 0.0), (2.0, 0.0), (-4.0, 1.0), (4.0, -2.0), (0.3, 0.5)):
        path = n["climb"](*start, n["bow_at"](x), 40)
        values = [n["elbo"](m, log_s, n["bow_at"](x)) for m, log_s in path]
        assert np.all(np.diff(values) > -2e-9) and values[-1] - values[-5] < 1e-4
