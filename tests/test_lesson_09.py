"""Lesson 09: chains and weights against ArviZ, closed forms and quadrature; its explorers' invariants; eight schools; SVI's floor."""

import json
import math
import re

import numpy as np
import pytest
import scipy.integrate
import scipy.signal
import scipy.special
import scipy.stats
import torch
from arviz_stats.base import array_stats as arviz
from sklearn.linear_model import LogisticRegression

from course_utils import models
from course_utils.checks import lesson_09 as check
from course_utils.instructor import build


@pytest.fixture
def n(lesson):
    return lesson("09").namespace


def numbers(text):
    return [float(x) for x in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", text)]


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _leapfrog_merged(z, v, slope, eps, L):
    v = v + eps / 2 * slope(z)
    for k in range(L):
        z = z + eps * v
        v = v + (eps if k < L - 1 else eps / 2) * slope(z)
    return z, v


def _leapfrog_listed(z, v, slope, eps, L):
    path = [(z, v)]
    while len(path) <= L:
        z, v = path[-1]
        half = v + slope(z) * eps * 0.5
        path.append((z + half * eps, half + slope(z + half * eps) * eps * 0.5))
    return list(path[-1])


def _rhat_in_torch(chains):
    c = torch.as_tensor(chains)
    return torch.sqrt(1 - 1 / c.shape[1] + c.mean(1).var() / c.var(1).mean())


def _khat_by_arviz(logw):
    """ArviZ rounds the number of tail draws down, not up: give it the fit and keep our tail."""
    order = np.argsort(logw)
    M = math.ceil(min(0.2 * len(logw), 3 * len(logw)**0.5))
    w = np.exp(logw - logw[order[-1]])
    return arviz._gpdfit(w[order[-M:]] - w[order[-M - 1]])[0]


def _svi_in_torch(eta, N, x, rho, prior_prec):
    x = torch.atleast_1d(torch.as_tensor(x, dtype=torch.float64))
    target = torch.stack([x.sum() * N / len(x), torch.tensor(-(N + prior_prec) / 2, dtype=torch.float64)])
    return torch.lerp(torch.as_tensor(eta, dtype=torch.float64), target, rho)


VARIANTS = {
    "leapfrog": [_leapfrog_merged, _leapfrog_listed],
    "rhat": [_rhat_in_torch, lambda chains: arviz.rhat(chains, method="identity").item()],
    "ess_ar1": [lambda phi, n: n / (1 + 2 * phi / (1 - phi)), lambda phi, n: torch.as_tensor(n * (2 / (1 + np.asarray(phi)) - 1))],
    "khat": [_khat_by_arviz],
    "khat_threshold": [lambda S: np.where(np.log10(S) < 1 / 0.3, 1 - np.log(10) / np.log(S), 0.7),
                       lambda S: np.clip(1 - 1 / np.log10(S), None, 0.7)],
    "svi_step": [_svi_in_torch, lambda eta, N, x, rho, prior_prec: [(1 - rho) * eta[0] + rho * N / np.size(x) * np.sum(x),
                                                                    eta[1] - rho * (eta[1] + (N + prior_prec) / 2)]],
}


# ---- explorers --------------------------------------------------------------------------------------------------------
def _phase_space(explorer):
    """The path by leapfrog steps one after the other; on it the shadow energy stands still; stable below 2 only."""
    eps, L = explorer.values["eps"], explorer.values["L"]
    path = [(1.0, 0.5)]
    for _ in range(L):
        path.append(_leapfrog_merged(*path[-1], lambda z: -z, eps, 1))
    z, v = np.array(path).T
    change = (z**2 + v**2) / 2 - 0.625
    time, end, largest, accepted, of_z, of_square = numbers(explorer.text)
    assert time == pytest.approx(eps * L, abs=6e-3)
    assert end == pytest.approx(change[-1], rel=6e-3, abs=1e-9) and largest == pytest.approx(np.abs(change).max(), rel=6e-3)
    shadow = z**2 * (1 - eps**2 / 4) + v**2
    assert shadow == pytest.approx(shadow[0], rel=1e-6, abs=1e-6 * (z**2).max())
    if eps < 1.99:
        assert accepted > 0.03 and largest < 5 / (1 - eps**2 / 4)
        turned = math.cos(2 * L * math.asin(eps / 2))
        if accepted > 0.995:
            assert of_z == pytest.approx(turned, abs=0.17) and of_square == pytest.approx(turned**2, abs=0.2)
    if eps > 2.04 and L > 20:
        assert accepted == 0 and of_z == 1


def _three_answers(explorer):
    """Mean, sd and mass by adaptive quadrature; HMC and VI never cross, runs near the wire agree with the truth."""
    values = explorer.values
    top = "top" in values["x"]
    x = np.array([0.0, 2.0] if top else [1.0, 0.5])

    def moment(k, low=-6):
        points = [p for p in (-2.95, 1.05, 2.95) if p > low]
        return scipy.integrate.quad(lambda z: z**k * np.exp(models.bow_log_joint(x, np.float64(z), 1.0, 0.25)), low, 6,
                                    points=points, limit=200)[0]

    total, first, second = (moment(k) for k in range(3))
    mean, sd, count, got_mean, got_sd, *shares, right = numbers(explorer.text.replace("right of 0 ", ""))
    assert mean == pytest.approx(first / total, abs=2e-3) and sd == pytest.approx(math.sqrt(second / total - (first / total)**2), abs=2e-3)
    assert right == pytest.approx(moment(0, 0.0) / total, abs=2e-3) and len(shares) == 4
    assert count == values["draws"] * (4 if values["run"] == "all" else 1) and got_sd > 0
    if top and "4" not in values["method"]:
        assert set(shares) == {0, 1}
    if not top and values["draws"] > 500:
        assert abs(got_mean - mean) < 0.35 * sd and min(shares) > 0.98


def _ringing(explorer):
    """k-hat of the ten sets as ArviZ has it, wherever its tail has as many draws as ours."""
    rho, S = explorer.values["rho"], explorer.values["S"]
    got = numbers(explorer.text)
    assert got[:2] == pytest.approx([abs(rho), min(1 - 1 / math.log10(S), 0.7)], abs=6e-4)
    if abs(rho) > 0.01 and S != 1000:
        a, b = np.random.default_rng(3).standard_normal((2, 10, 10_000))[:, :, :S]
        k = arviz.psislw(-rho * (a**2 - b**2) / 2)[1]
        assert got[2:4] == pytest.approx([k.min(), k.max()], abs=6e-3)
        w = np.exp(rho * (a[0]**2 - b[0]**2) / 2)
        assert got[4] == pytest.approx(w.sum()**2 / (w**2).sum(), abs=0.6)


def _blind_spot(explorer):
    """The three numbers anew, with scipy; far away half of the mass is missed in silence."""
    d, s = explorer.values["d"], explorer.values["s"]
    z = d + s * np.random.default_rng(4).standard_normal(4000)
    p = (scipy.stats.norm.pdf(z, -d) + scipy.stats.norm.pdf(z, d)) / 2
    w = p / scipy.stats.norm.pdf(z, d, s)
    k, share, _, mean, _ = numbers(explorer.text.replace("4,000", "4000"))
    assert mean == pytest.approx(w.mean(), abs=6e-4) and share == pytest.approx(100 * w.sum()**2 / (w**2).sum() / 4000, abs=0.06)
    if d > 4.2 and s == 1.1:
        assert k < 0.7 and share > 97 and mean == pytest.approx(0.5, abs=0.01)
    if d == 2.5:
        assert k > 0.7


def _svi_race(explorer):
    """The floor; steps 1/t are on it, and a constant step rests where its formula says."""
    N, B, step = 10**explorer.values["n"], 10**explorer.values["b"], explorer.values["step"]
    found, floor = numbers(explorer.text.replace("20,000", ""))[-2:]
    assert floor == pytest.approx(math.sqrt(N / 20_000), abs=6e-4) and found > 0.65 * floor
    if step == "1/t":
        assert found == pytest.approx(floor, rel=0.35)
    if step.startswith("constant"):
        rho, T = float(step.split()[1]), 20_000 // B
        rest = N * rho / ((2 - rho) * B) * (1 - (1 - rho)**(2 * T))
        start = math.sqrt(N) * 1.6 * (1 - rho)**T  # where q began, a good one and a half away
        assert 0.6 * math.sqrt(rest) < found < 1.5 * math.sqrt(rest) + start


INVARIANTS = {"phase_space": _phase_space, "three_answers": _three_answers, "ringing": _ringing, "blind_spot": _blind_spot,
              "svi_race": _svi_race}


# ---- ArviZ as the independent oracle -----------------------------------------------------------------------------------
def chains_of(phi, shift, C=4, draws=1000, seed=0):
    """C autoregressive chains with correlation phi of neighbours, each moved by its own multiple of shift."""
    noise = np.random.default_rng([seed, int(100 * abs(phi))]).standard_normal((C, draws)) * math.sqrt(1 - phi**2)
    return scipy.signal.lfilter([1], [1, -phi], noise, axis=1) + shift * np.arange(C)[:, None]


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("shift", [0.0, 0.3, 3.0])
def test_chains_agree_with_arviz(n, phi, shift):
    chains = chains_of(phi, shift)
    assert n["rhat"](chains) == pytest.approx(arviz.rhat(chains, method="identity").item(), rel=1e-12)
    assert check._by_anova(chains) == pytest.approx(arviz.rhat(chains, method="identity").item(), rel=1e-9)
    assert n["split_rhat"](chains) == pytest.approx(arviz.rhat(chains, method="split").item(), rel=1e-12)
    assert n["ess"](chains) == pytest.approx(arviz.ess(chains, method="identity").item(), rel=0.02, abs=0.2)


def test_one_chain_and_drifting_chains_agree_with_arviz(n):
    chain = chains_of(0.8, 0.0, C=1, draws=2000)
    assert n["ess"](chain) == pytest.approx(arviz.ess(chain, method="identity").item(), rel=0.02)
    assert n["ess"](chain) == pytest.approx(check._by_series(0.8, 2000), rel=0.3)
    drift = n["drift"]
    assert arviz.rhat(drift, method="identity") < 1.01 < 1.3 < arviz.rhat(drift, method="split")
    assert n["ess"](drift) == pytest.approx(arviz.ess(drift, method="identity").item(), rel=0.05)


@pytest.mark.parametrize("S", [100, 400, 10_000])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
def test_k_hat_agrees_with_arviz(n, S, rho):
    a, b = np.random.default_rng(S).standard_normal((2, 3, S))
    logw = rho * (a**2 - b**2) / 2 - 50
    theirs = arviz.psislw(-logw)[1]
    assert n["khats"](logw) == pytest.approx(theirs, rel=1e-6)
    assert [n["khat"](row) for row in logw] == pytest.approx(theirs, rel=1e-6)
    assert [check.khat.oracle(row) for row in logw] == pytest.approx(theirs, rel=1e-6)


def test_k_hat_rounds_the_tail_up_where_arviz_rounds_it_down(n):
    a, b = np.random.default_rng(5).standard_normal((2, 50, 4000))
    logw = 0.35 * (a**2 - b**2)
    assert np.abs(n["khats"](logw) - arviz.psislw(-logw)[1]).max() < 0.04


def test_what_practice_adds_sees_chains_that_differ_in_width(n):
    start = np.random.default_rng(1).standard_normal((4, 1))
    half_turn, _ = n["hmc"](n["bell"], lambda z: -z, start, 0.1, 31, 500, np.random.default_rng(2))
    chains = half_turn[..., 0].T
    assert n["split_rhat"](chains) < 1.01 < 1.1 < arviz.rhat(chains, method="folded")


# ---- walks -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sd", [0.5, 2.38, 6.0])
def test_acceptance_of_the_random_walk(n, sd):
    rng = np.random.default_rng(7)
    draws, rate = n["metropolis"](n["bell"], rng.standard_normal((200, 1)), sd, 500, rng)
    z = np.linspace(-7, 7, 1401)
    share = np.exp(-(z[:, None]**2 + z**2) / 2) * np.minimum(1, np.exp((z[:, None]**2 - (z[:, None] + sd * z)**2) / 2))
    by_quad = share.sum() * 0.01**2 / (2 * math.pi)
    assert 2 / math.pi * math.atan(2 / sd) == pytest.approx(by_quad, abs=1e-4)
    assert rate == pytest.approx(by_quad, abs=0.008)
    assert draws.mean() == pytest.approx(0, abs=0.06) and draws.var() == pytest.approx(1, abs=0.08)


def test_leapfrog_reference_values(n):
    z, v = n["leapfrog"](1.0, 0.5, lambda z: -z, 0.7, 3)
    assert (z, v) == pytest.approx((-0.0954895, -1.0580637), abs=1e-7)
    assert (z**2 + v**2) / 2 - 0.625 == pytest.approx(-0.0606915, abs=1e-7)
    assert check._hops(check._kick_drift)(1.0, 0.5, lambda z: -z, 0.7, 3) == pytest.approx((-0.4091140, -1.01102), abs=1e-6)
    assert check._hops(check._euler)(1.0, 0.5, lambda z: -z, 0.7, 3) == pytest.approx((0.4085, -1.992), abs=1e-6)


@pytest.mark.parametrize("eps", [0.1, 0.9, 1.9])
def test_leapfrog_against_an_accurate_integrator_and_its_matrix(n, eps):
    M = n["leapfrog_matrix"](eps)
    assert M @ [1.0, 0.5] == pytest.approx(n["leapfrog"](1.0, 0.5, lambda z: -z, eps, 1), abs=1e-14)
    assert np.linalg.det(M) == pytest.approx(1, abs=1e-12)
    fine = n["leapfrog"](1.0, 0.5, lambda z: -z**3, 0.001, 800)
    solved = scipy.integrate.solve_ivp(lambda t, s: [s[1], -s[0]**3], (0, 0.8), [1.0, 0.5], rtol=1e-10, atol=1e-12).y[:, -1]
    assert fine == pytest.approx(solved, abs=1e-6)
    S = np.diag([1 - eps**2 / 4, 1])  # the shadow energy
    assert M.T @ S @ M == pytest.approx(S, abs=1e-12)


def test_hmc_on_a_correlated_gaussian(n):
    Sigma = np.array([[1.0, 0.6], [0.6, 0.8]])
    Lambda, rng = np.linalg.inv(Sigma), np.random.default_rng(3)
    draws, rate = n["hmc"](lambda z: -0.5 * np.einsum("ci,ij,cj->c", z, Lambda, z), lambda z: -z @ Lambda,
                           rng.standard_normal((100, 2)), 0.3, 5, 300, rng)
    assert 0.9 < rate < 1
    assert np.cov(draws[50:].reshape(-1, 2).T) == pytest.approx(Sigma, abs=0.05)


@pytest.mark.parametrize("z", [-2.2, 0.3, 1.7])
def test_slope_of_the_bow(n, z):
    for x in n["places"].values():
        h = 1e-5
        above, below = (models.bow_log_joint(x, np.float64(z + d), 1.0, 0.25) for d in (h, -h))
        by_difference = (above - below) / (2 * h)
        assert n["bow_slope"](x, np.array([[z]]))[0, 0] == pytest.approx(by_difference, abs=1e-5)


def test_vi_finds_a_hump_and_the_gap_of_log_two(n):
    wire, top = (n["fits"][place] for place in n["places"])
    assert wire[:, 2] == pytest.approx([-1.2192366] * 4, abs=1e-5)  # as lesson 05 has it, gap 8e-5
    log_px = models.bow_posterior(np.array([0.0, 2.0]), n["z_grid"], 1.0, 0.25)[1]
    assert log_px - top[:, 2] == pytest.approx([math.log(2)] * 4, abs=0.01)
    assert (np.sign(top[:, 0]) == np.sign(n["starts"][:, 0])).all()


# ---- weights -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.9])
def test_the_weights_of_mean_field_have_tail_index_rho(n, rho):
    """log w = ρ x with x a product of two normals, whose density is K0(|x|)/π: the slope of the log survival tends to -1/ρ."""
    assert n["mean_field_tail_index"](np.array([[1, rho], [rho, 1]])) == pytest.approx(rho, abs=1e-12)

    def log_survival(t):  # of log w, without the factor e^-x, so that nothing underflows
        x = t / rho
        return -x + math.log(scipy.integrate.quad(lambda u: scipy.special.k0e(x + u) * math.exp(-u), 0, 60)[0] / math.pi)

    slope = (log_survival(2000.0) - log_survival(1000.0)) / 1000
    assert slope == pytest.approx(-1 / rho, rel=2e-3)
    a, b = np.random.default_rng(0).standard_normal((2, 4000))
    q_sd = math.sqrt(1 - rho**2)
    z = q_sd * np.stack([a + b, a - b], axis=1) / math.sqrt(2)
    direct = scipy.stats.multivariate_normal.logpdf(z, cov=[[1, rho], [rho, 1]]) - scipy.stats.norm.logpdf(z, scale=q_sd).sum(axis=1)
    assert np.ptp(direct - rho * (a**2 - b**2) / 2) < 1e-9


def test_traps_of_k_hat(n):
    k, share, log_mean = n["far"]
    assert np.median(k) < 0.5 and np.median(share) > 0.95 and np.median(log_mean) == pytest.approx(math.log(0.5), abs=0.01)
    assert n["share"].min() > 0.999 and np.median(n["k"]) != 0 and n["by_width"][1.1][0][9] > 0.7


# ---- eight schools -----------------------------------------------------------------------------------------------------
def test_exact_schools_by_joint_gaussians(n):
    """Given τ, (μ, θ, y) is one big Gaussian: condition it with matrices, and average over τ by the trapezoid rule."""
    y, s = n["y"], n["sigma"]
    log_tau, rows = np.linspace(-9, 7, 1601), []
    for tau in np.exp(log_tau):
        S_yy = 25 + np.diag(tau**2 + s**2)
        S_hy = np.vstack([np.full((1, 8), 25.0), 25 + tau**2 * np.eye(8)])
        S_hh = np.block([[np.full((1, 1), 25.0), np.full((1, 8), 25.0)], [np.full((8, 1), 25.0), 25 + tau**2 * np.eye(8)]])
        gain = np.linalg.solve(S_yy, S_hy.T).T
        mean, var = gain @ y, np.diag(S_hh - gain @ S_hy.T)
        log_p = scipy.stats.multivariate_normal.logpdf(y, cov=S_yy) + scipy.stats.halfcauchy.logpdf(tau, scale=5) + math.log(tau)
        rows.append([log_p, tau, *mean, *(var + mean**2)])
    rows = np.array(rows)
    p = np.exp(rows[:, 0] - rows[:, 0].max())
    p /= p.sum()
    first, second = p @ rows[:, 2:11], p @ rows[:, 11:]
    exact = n["exact"]
    assert exact[0, [0, *range(2, 10)]] == pytest.approx(first, abs=2e-3)
    assert exact[1, [0, *range(2, 10)]] == pytest.approx(np.sqrt(second - first**2), abs=2e-3)
    assert exact[0, 1] == pytest.approx(p @ rows[:, 1], abs=0.02)


def test_exact_schools_agree_with_the_published_reference(n):
    published = np.array([4.4105, 3.6021, 6.1505, 4.9396, 3.9059, 4.7960, 3.6144, 4.0511, 6.3172, 4.8840])
    exact = n["exact"]
    assert (np.abs(exact[0] - published) < 3 * exact[1] / 100).all()  # 10,000 draws
    assert exact[1, :2] == pytest.approx([3.309, 3.198], abs=0.05)


@pytest.mark.parametrize("centred", [False, True])
def test_joint_slope_and_elbo_of_the_schools(n, centred):
    rng = np.random.default_rng(5)
    u = rng.standard_normal((3, 10))
    log_p, theta = n["schools_log_joint"](u, centred)
    for row, got, t in zip(u, log_p, theta):
        tau = math.exp(row[1])
        h = scipy.stats.norm.logpdf(row[2:], row[0], tau) if centred else scipy.stats.norm.logpdf(row[2:])
        assert t == pytest.approx(row[2:] if centred else row[0] + tau * row[2:])
        assert got == pytest.approx(scipy.stats.norm.logpdf(row[0], 0, 5) + scipy.stats.halfcauchy.logpdf(tau, scale=5) + row[1] + h.sum()
                                    + scipy.stats.norm.logpdf(n["y"], t, n["sigma"]).sum())
    for j in range(10):
        e = np.zeros(10)
        e[j] = 1e-5
        difference = (n["schools_log_joint"](u + e, centred)[0] - n["schools_log_joint"](u - e, centred)[0]) / 2e-5
        assert n["schools_slope"](u, centred)[:, j] == pytest.approx(difference, rel=1e-5, abs=1e-5)
    v = np.r_[0.3 * rng.standard_normal(10) + 0.5, rng.uniform(-2, -0.7, 10)]
    draws = v[:10] + np.exp(v[10:]) * rng.standard_normal((40_000, 10))
    terms = n["schools_log_joint"](draws, centred)[0] - scipy.stats.norm.logpdf(draws, v[:10], np.exp(v[10:])).sum(axis=1)
    assert n["schools_elbo"](v, centred) == pytest.approx(terms.mean(), abs=5 * terms.std() / 200)


def test_the_fits_of_the_schools_are_maxima_and_the_table_says_what_the_text_says(n):
    rng = np.random.default_rng(6)
    for name, (m, s) in n["school_q"].items():
        best = np.r_[m, np.log(s)]
        top = n["schools_elbo"](best, name == "centred")
        assert all(n["schools_elbo"](best + 0.02 * rng.standard_normal(20), name == "centred") < top for _ in range(30))
    rows = {row[0]: row for row in n["school_rows"]}
    exact = n["exact"]
    for i in range(3):
        assert abs(float(rows["non-centred VI, weighted"][1 + i]) - exact[0, i]) < 0.35
    assert float(rows["centred VI, q itself"][2]) > 5.5 and float(rows["centred VI, q itself"][4]) < 2.2


# ---- SVI ---------------------------------------------------------------------------------------------------------------
def test_svi_step_reference_value(n):
    assert n["svi_step"](np.array([0, -0.005]), 1000, 2.0, 0.1, 0.01) == pytest.approx([200, -50.005], abs=1e-9)


def test_svi_means_take_the_steps_of_the_exercise(n):
    rng = np.random.default_rng(8)
    x, batches, steps = rng.standard_normal(50), rng.integers(50, size=(7, 5)), rng.uniform(0.1, 0.9, 7)
    eta, means = np.array([0.0, -0.005]), []
    for index, rho in zip(batches, steps):
        eta = n["svi_step"](eta, 50, x[index], rho, 0.01)
        means.append(-eta[0] / eta[1] / 2)
    assert n["svi_means"](x, batches, steps) == pytest.approx(means)


@pytest.mark.parametrize("step, rest", [("1/t", None), ("constant 0.1", 0.1)])
def test_the_race_ends_where_the_formulas_say(n, step, rest):
    k = list(n["SCHEDULES"]).index(step)
    seen, error = n["race"](2000, 10, points=500, repeats=2000)
    found = math.sqrt((error[-1, k]**2).mean())
    assert seen[-1] == 500
    if rest is None:
        assert found == pytest.approx(2.0, rel=0.06)
    else:
        T = 50
        start = math.sqrt(2000) * (1.5 - np.random.default_rng([2000, 10]).standard_normal(2000).mean()) * (1 - rest)**T
        assert found == pytest.approx(math.hypot(math.sqrt(2000 * rest / (1.9 * 10) * (1 - (1 - rest)**(2 * T))), start), rel=0.06)


def test_the_regressions_agree_with_sklearn_and_with_each_other(n):
    rng = np.random.default_rng(2)
    X, t = n["regression_data"](1000, rng)
    m, V = n["batch_fit"](X, t)
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(X, t)
    assert m == pytest.approx(theirs.coef_[0], abs=1e-5)
    sds = np.sqrt(np.diag(V))
    assert np.abs((n["svi_regression"](X, t, 1500, 128, rng) - m) / sds).max() < 0.35
    draws = n["hmc_regression"](X, t, m, V, 400, rng)
    assert np.abs(draws.mean(axis=0)).max() < 0.3 and draws.std(axis=0) == pytest.approx(np.ones(5), abs=0.15)


def test_quiz_answers():
    quiz = json.loads((build.ROOT / "quizzes/09_vi_versus_mcmc.json").read_text(encoding="utf-8"))["questions"]
    numeric = [q["answer"] for q in quiz if "options" not in q]
    assert numeric == pytest.approx([2 / math.pi * math.atan(2 / 2.38), 0.5**2, 1 - 0.3, math.sqrt(4)], abs=1e-4) and len(quiz) == 5
