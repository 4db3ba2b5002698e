"""Lesson 03: its KL functions against quadrature, torch and enumeration, its explorers' invariants, its claims."""

import json
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
import torch
from scipy.integrate import dblquad, quad
from scipy.optimize import brentq, minimize_scalar

from course_utils.checks import lesson_03 as check
from course_utils.instructor import build

td = torch.distributions


def closed_form(m1, s1, m2, s2):
    return math.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5


def kl_quad(log_a, log_b, points, low, high):
    """The integral by scipy's adaptive rule, for scalar log densities."""
    return quad(lambda z: math.exp(log_a(z)) * (log_a(z) - log_b(z)), low, high, points=points, limit=400)[0]


def lnorm(z, m=0.0, s=1.0):
    """log N(z | m, s²), written out once more: scipy.stats is slow for single numbers."""
    return -0.5 * ((z - m) / s)**2 - math.log(s * math.sqrt(2 * math.pi))


def log_p(z, d):
    if isinstance(z, float):
        a, b = lnorm(z, -d), lnorm(z, d)
        return max(a, b) + math.log1p(math.exp(-abs(a - b))) - math.log(2)
    return np.logaddexp(scipy.stats.norm.logpdf(z, -d), scipy.stats.norm.logpdf(z, d)) - math.log(2)


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _by_torch(m1, s1, m2, s2):
    args = [torch.as_tensor(a, dtype=torch.float64) for a in (m1, s1, m2, s2)]
    return td.kl_divergence(td.Normal(*args[:2]), td.Normal(*args[2:]))


def _by_quad(m1, s1, m2, s2):
    return kl_quad(lambda z: lnorm(z, m1, s1), lambda z: lnorm(z, m2, s2), [m1], m1 - 12 * s1, m1 + 12 * s1)


def _mvn_by_torch(m1, S1, m2, S2):
    m1, S1, m2, S2 = (torch.as_tensor(a, dtype=torch.float64) for a in (m1, S1, m2, S2))
    return td.kl_divergence(td.MultivariateNormal(m1, S1), td.MultivariateNormal(m2, S2))


def _mvn_by_eigenvalues(m1, S1, m2, S2):
    values, shift = scipy.linalg.eigh(S1, S2, eigvals_only=True), np.subtract(m1, m2)
    return 0.5 * (np.sum(values - 1 - np.log(values)) + shift @ np.linalg.inv(S2) @ shift)


def _table_by_loop(p, q):
    total = 0.0
    for a, b in zip(p, q):
        if a > 0:
            total += a * math.log(a / b) if b > 0 else math.inf
    return total


def _estimators_by_loop(log_r):
    n, r = len(log_r), [math.exp(v) for v in log_r]
    return [-sum(log_r) / n, sum(v * v for v in log_r) / (2 * n), sum(a - 1 - v for a, v in zip(r, log_r)) / n]


def _switch_by_legendre(low=2.7, high=2.9):
    t, weights = np.polynomial.legendre.leggauss(200)
    t, weights = 8 * t, 8 * weights * np.exp(-32 * t**2) / math.sqrt(2 * math.pi)

    def cost(m, log_s, d):
        return -weights @ log_p(m + math.exp(log_s) * t, d) - log_s

    def difference(d):
        wide = minimize_scalar(lambda log_s: cost(0.0, log_s, d), bounds=(0, 1.6), method="bounded").fun
        inner = lambda m: minimize_scalar(lambda log_s: cost(m, log_s, d), bounds=(-0.5, 0.5), method="bounded").fun
        return wide - minimize_scalar(inner, bounds=(d - 0.5, d + 0.3), method="bounded").fun

    return brentq(difference, low, high, xtol=1e-4)


VARIANTS = {
    "kl_normal": [_by_torch, np.vectorize(closed_form), np.vectorize(_by_quad),
                  lambda m1, s1, m2, s2: 0.5 * ((np.divide(s1, s2))**2 + (np.subtract(m1, m2) / s2)**2 - 1
                                                - 2 * np.log(s1) + 2 * np.log(s2))],
    "kl_mvn": [_mvn_by_torch, _mvn_by_eigenvalues,
               lambda m1, S1, m2, S2: 0.5 * (np.log(np.linalg.det(S2) / np.linalg.det(S1)) + np.sum(np.linalg.inv(S2).T * S1)
                                             + (m2 - m1).T @ np.linalg.inv(S2) @ (m2 - m1) - S1.shape[0])],
    "kl_categorical": [_table_by_loop, scipy.stats.entropy, lambda p, q: scipy.special.rel_entr(p, q).sum(),
                       lambda p, q: torch.special.xlogy(torch.as_tensor(p), torch.as_tensor(p) / torch.as_tensor(q)).nansum()],
    "kl_estimators": [_estimators_by_loop, lambda x: np.array([-x, x**2 / 2, np.expm1(x) - x]).mean(axis=1),
                      lambda x: tuple(k.mean() for k in (-torch.as_tensor(x), torch.as_tensor(x)**2 / 2,
                                                         torch.as_tensor(x).exp() - 1 - torch.as_tensor(x)))],
    "switch_separation": [_switch_by_legendre, lambda low, high: 2.8001],
}


# ---- what each explorer promises --------------------------------------------------------------------------------------
def number(text, before, nth=0):
    """The number that follows the nth `before` in a readout."""
    return float(text.split(before)[nth + 1].split()[0].rstrip("),%"))


def _two_gaussians(explorer):
    """Both areas are the closed form's; never negative; equal just when the widths are; the grey part exists unless q = p."""
    mu, sigma = explorer.values["mu"], explorer.values["sigma"]
    reverse, forward = number(explorer.text, "KL(q||p) ="), number(explorer.text, "KL(p||q) =")
    assert reverse == pytest.approx(closed_form(mu, sigma, 0, 1), abs=6e-4) and reverse >= 0
    assert forward == pytest.approx(closed_form(0, 1, mu, sigma), abs=6e-4) and forward >= 0
    assert (abs(closed_form(mu, sigma, 0, 1) - closed_form(0, 1, mu, sigma)) < 1e-9) == (abs(sigma - 1) < 1e-9)
    z = np.linspace(-9, 9, 3001)
    integrand = explorer._update.__globals__["kl_integrand"](lnorm(z, mu, sigma), lnorm(z))
    assert (integrand.min() < 0) == (abs(mu) > 1e-9 or abs(sigma - 1) > 1e-9)
    assert ("cut off" in explorer.text) == (max(closed_form(mu, sigma, 0, 1), closed_form(0, 1, mu, sigma)) > 4)
    bars = [p for ax in explorer.fig.axes for p in ax.patches if hasattr(p, "get_width")]
    assert sorted(b.get_width() for b in bars) == pytest.approx(sorted(min(v, 4) for v in (
        closed_form(mu, sigma, 0, 1), closed_form(0, 1, mu, sigma))), abs=1e-5)


def _change_of_units(explorer):
    """KL is the same on both axes; the entropy changes by E_q[log g'(z)]."""
    mu, sigma, g = explorer.values["mu"], explorer.values["sigma"], explorer.values["g"]
    q = scipy.stats.norm(mu, sigma)
    slope = {"x = exp(z)": lambda z: z, "x = sinh(z)": lambda z: math.log(math.cosh(z)),
             "x = 10 z (other units)": lambda z: math.log(10)}[g]
    shift = quad(lambda z: math.exp(lnorm(z, mu, sigma)) * slope(z), mu - 10 * sigma, mu + 10 * sigma)[0]
    kl, kl_x = number(explorer.text, "KL(q||p) ="), number(explorer.text, " on z,")
    h, h_x = number(explorer.text, "entropy of q ="), number(explorer.text, " on z,", 1)
    assert kl == pytest.approx(closed_form(mu, sigma, 0, 1), abs=6e-4) and kl_x == pytest.approx(kl, abs=1.1e-3)
    assert h == pytest.approx(q.entropy(), abs=6e-4) and h_x == pytest.approx(q.entropy() + shift, abs=1.1e-3)


def _projection_lab(explorer):
    """Your KL is that of adaptive quadrature and never below the best one; the best is the moments', or switches at 2.80."""
    d, m, log_s, direction = (explorer.values[k] for k in ("d", "m", "log_s", "direction"))
    s = math.exp(log_s)

    def exact(m, s):
        log_q = lambda z: lnorm(z, m, s)
        if direction == "forward":
            return kl_quad(lambda z: log_p(z, d), log_q, [-d, d], -d - 9, d + 9)
        return kl_quad(log_q, lambda z: log_p(z, d), [m], m - 9 * s, m + 9 * s)

    yours, least = number(explorer.text, "KL ="), number(explorer.text, "KL =", 1)
    best_m = float(explorer.text.split("best q: m =")[1].split(",")[0].replace("±", ""))
    best_s = float(explorer.text.split("s =")[2].split(",")[0])
    assert yours == pytest.approx(exact(m, s), abs=6e-4) and yours >= least - 6e-4
    assert least == pytest.approx(exact(best_m, best_s), abs=1.1e-3)
    if direction == "forward":
        assert best_m == 0 and best_s == pytest.approx(math.sqrt(1 + d**2), abs=6e-3)
    else:
        assert (best_m > 1) == (d > 2.8001)


def _mass_or_height(explorer):
    """Both KLs are −log(mass) as long as the two bumps do not touch, whatever the height; q stands on the heavier one."""
    w, tau = explorer.values["w"], explorer.values["tau"]
    tall, broad = number(explorer.text, "q on the narrow one"), number(explorer.text, "q on the broad one")
    assert tall == pytest.approx(-math.log(w), abs=0.02) and broad == pytest.approx(-math.log(1 - w), abs=0.03)
    mix = lambda z: math.log(w * math.exp(lnorm(z, 0, tau)) + (1 - w) * math.exp(lnorm(z, 6, 1)))
    for value, m, s in ((tall, 0, tau), (broad, 6, 1)):
        exact = kl_quad(lambda z: lnorm(z, m, s), mix, [m], m - 8 * s, m + 8 * s)
        assert value == pytest.approx(exact, abs=6e-4)
    assert number(explorer.text, "p is") == pytest.approx(math.exp(mix(0)), abs=6e-3)
    if abs(w - 0.5) > 0.02:
        q_line = explorer.fig.axes[0].lines[1]
        assert (q_line.get_xdata()[np.argmax(q_line.get_ydata())] < 3) == (w > 0.5)


def _estimators(explorer):
    """The truth is the closed form's; at λ = 1 nothing is negative; λ = 0 is k1; every λ has the right mean (quadrature)."""
    m, s, lam, n = (explorer.values[k] for k in ("m", "s", "lam", "n"))
    truth = closed_form(0, 1, m, s)
    assert number(explorer.text, "true KL") == pytest.approx(truth, abs=6e-5)
    k1, kl = number(explorer.text, "k1"), number(explorer.text, "kλ")
    if lam == 0:
        assert k1 == kl
    if lam == 1:
        assert number(explorer.text, "kλ", 1) == 0
    names = explorer._update.__globals__
    log_r = lambda x: lnorm(x, m, s) - lnorm(x)
    mean = quad(lambda x: math.exp(lnorm(x)) * names["k_lambda"](log_r(x), lam), -25, 25, points=[0, m], limit=400)[0]
    assert mean == pytest.approx(truth, abs=1e-6)
    spread = math.sqrt(quad(lambda x: math.exp(lnorm(x)) * (-log_r(x) - truth)**2, -12, 12, limit=400)[0] / n) / truth
    assert k1 == pytest.approx(spread, rel=0.15, abs=0.006)


INVARIANTS = {"two_gaussians": _two_gaussians, "change_of_units": _change_of_units, "projection_lab": _projection_lab,
              "mass_or_height": _mass_or_height, "estimators": _estimators}


# ---- the functions shown in the lesson --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def n(lesson):
    return lesson("03").namespace


GRID = np.linspace(-40, 60, 40_001)


def grid_kl(n, a, b, z=GRID):
    """The lesson's kl_grid for two torch distributions."""
    with np.errstate(divide="ignore"):
        log_a, log_b = (d.log_prob(torch.as_tensor(z)).numpy() for d in (a, b))
    return n["kl_grid"](log_a, log_b, z)


PAIRS = {"Normal": (td.Normal(0.3, 1.2), td.Normal(-1.0, 0.8)), "Laplace": (td.Laplace(0.0, 1.0), td.Laplace(1.0, 2.0)),
         "Gumbel": (td.Gumbel(0.0, 1.0), td.Gumbel(0.5, 1.5)), "Laplace, Normal": (td.Laplace(0.0, 1.0), td.Normal(0.5, 2.0))}


@pytest.mark.parametrize("name", PAIRS)
def test_kl_grid_is_that_of_torch(n, name):
    a, b = PAIRS[name]
    assert grid_kl(n, a, b) == pytest.approx(td.kl_divergence(a, b).item(), abs=1e-5)


def test_kl_integrand_on_supports(n):
    log_a, log_b = np.log([0.5, 0.5]), np.array([0.0, -np.inf])
    assert np.array_equal(n["kl_integrand"](log_a, log_b), [0.5 * math.log(0.5), np.inf])
    nowhere = np.array([-np.inf, -np.inf])
    assert np.array_equal(n["kl_integrand"](nowhere, log_b), [0, 0])  # 0 log 0 = 0, even where b is 0 too


def test_mean_log_ratio(n):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200_000)
    mean, error = n["mean_log_ratio"](scipy.stats.norm.logpdf(x), scipy.stats.norm.logpdf(x, 1, 2))
    assert abs(mean - closed_form(0, 1, 1, 2)) < 5 * error
    exact = quad(lambda z: scipy.stats.norm.pdf(z) * (scipy.stats.norm.logpdf(z) - scipy.stats.norm.logpdf(z, 1, 2))**2, -12, 12)[0]
    assert error == pytest.approx(math.sqrt((exact - closed_form(0, 1, 1, 2)**2) / 200_000), rel=0.01)


@pytest.mark.parametrize("m, s, d", [(0.0, 2.0, 2.0), (2.5, 0.5, 3.0), (-4.0, 4.0, 4.0), (1.0, 1.0, 1.25)])
def test_both_directions_onto_the_bimodal_density(n, m, s, d):
    log_q = lambda z: scipy.stats.norm.logpdf(z, m, s)
    assert n["reverse_kl"](m, s, d) == pytest.approx(kl_quad(log_q, lambda z: log_p(z, d), [m], m - 9 * s, m + 9 * s), abs=1e-7)
    assert n["forward_kl"](m, s, d) == pytest.approx(kl_quad(lambda z: log_p(z, d), log_q, [-d, d], -d - 9, d + 9), abs=1e-7)


def test_densities_shown_are_densities(n):
    assert np.allclose(n["log_uniform"](np.array([0.5, 3.0]), 0, 2), [-math.log(2), -np.inf])
    assert quad(lambda z: math.exp(n["log_bimodal"](z, 2.5)), -12, 12)[0] == pytest.approx(1, abs=1e-9)
    assert quad(lambda z: math.exp(n["log_two_bumps"](z, 0.3, 0.1)), -2, 15, points=[0, 0.5, 6], limit=200)[0] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_the_map_is_the_kl_of_every_gaussian(n, direction):
    rng = np.random.default_rng(1)
    for _ in range(40):
        i, j, k = rng.integers(12), rng.integers(61), rng.integers(81)
        exact = n[f"{direction}_kl"](n["means"][k], np.exp(n["log_sds"][j]), n["separations"][i])
        assert n["surfaces"][direction][i, j, k] == pytest.approx(exact, abs=2e-5)
        assert n["surfaces"][direction][i].min() >= n["minima"][direction][i][0][2] - 1e-6


def test_local_minima_of_the_map_are_the_marked_ones(n):
    """A valley on the mode is there from about 2.42 on, beside the one in the middle, which never goes away."""
    for d, rows in zip(n["separations"], n["minima"]["reverse"]):
        assert len(rows) == (2 if d > 2.42 else 1)
        assert sorted(r[0] > 1 for r in rows) == ([False, True] if d > 2.42 else [False])
    assert all(len(rows) == 1 for rows in n["minima"]["forward"])


def test_k_lambda_and_its_moments(n):
    log_r = np.random.default_rng(2).normal(size=(3, 4))
    assert np.allclose(n["k_lambda"](log_r, 0), -log_r) and np.allclose(n["k_lambda"](log_r, 1), np.exp(log_r) - 1 - log_r)
    assert (n["k_lambda"](log_r, 1) >= 0).all()


def test_k3_has_a_finite_spread_only_below_twice_the_variance():
    """E_q[r²] for q = N(0, 1), p = N(0, s²) is the integral of exp(x²/2 − x²/s²): it settles for s² < 2 and not above."""
    second = lambda s, end: quad(lambda x: math.exp(x * x / 2 - x * x / s**2), 0, end, limit=400)[0]
    assert second(1.40, 80) == pytest.approx(second(1.40, 60), rel=1e-6)
    assert second(1.43, 80) > 1.5 * second(1.43, 60)


def test_the_five_solutions(n):
    S = np.array([[1.0, 0.8], [0.8, 1.0]])
    assert n["kl_normal"](0, 1, 3, 1) == pytest.approx(4.5)
    assert n["kl_mvn"](np.ones(2), np.diag([1.0, 4.0]), np.zeros(2), np.diag([9.0, 1.0])) == pytest.approx(
        n["kl_normal"](1, 1, 0, 3) + n["kl_normal"](1, 2, 0, 1))
    a, b = scipy.stats.multivariate_normal([0.5, 0], S), scipy.stats.multivariate_normal([0, 0.2], [[2, -0.5], [-0.5, 1]])
    exact = dblquad(lambda y, x: a.pdf([x, y]) * (a.logpdf([x, y]) - b.logpdf([x, y])), -6, 7, -6.5, 6.5, epsabs=1e-5)[0]
    assert n["kl_mvn"](a.mean, a.cov, b.mean, b.cov) == pytest.approx(exact, abs=1e-4)
    k = n["kl_estimators"]([0.1, -0.2, 0.3])
    assert np.allclose(k, (-0.0666667, 0.0233333, 0.0245868), atol=5e-8)


def test_models_repeats_the_solution(n):
    from course_utils import models
    assert models.kl_normal(0.2, 1.1, -1, 0.4) == n["kl_normal"](0.2, 1.1, -1, 0.4) == pytest.approx(closed_form(0.2, 1.1, -1, 0.4))


WRONG = [("kl_normal", "squared twice", 0.9487944), ("kl_normal", "lost the -1/2", 0.9431472), ("kl_normal", "bits", 0.6393263)]


@pytest.mark.parametrize("exercise, mutant, value", WRONG)
def test_wrong_answers_of_the_curriculum(exercise, mutant, value):
    (m,) = [m for m in getattr(check, exercise).mutants if m.name == mutant]
    assert m.wrong(0, 1, 1, 2) == pytest.approx(value, abs=1e-7)


def test_gauss_hermite_gives_the_third_digit_wrong():
    t, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / math.sqrt(2 * math.pi)

    def difference(d):
        cost = lambda m, log_s: -weights @ log_p(m + math.exp(log_s) * t, d) - log_s
        wide = minimize_scalar(lambda log_s: cost(0.0, log_s), bounds=(0, 1.6), method="bounded").fun
        inner = lambda m: minimize_scalar(lambda log_s: cost(m, log_s), bounds=(-0.5, 0.5), method="bounded").fun
        return wide - minimize_scalar(inner, bounds=(d - 0.5, d + 0.3), method="bounded").fun

    assert brentq(difference, 2.7, 2.9, xtol=1e-4) == pytest.approx(2.80497527, abs=2e-3)
    assert check.switch_separation(lambda low, high: 2.80497527).mark == "✗"


def test_the_bow_at_the_top(n):
    """Reverse: one end, log 2 and a little; forward: the moments, 1.785 nats."""
    assert n["on_mode"].fun == pytest.approx(0.6934084, abs=1e-5)
    assert n["kl_grid"](n["log_post"], n["moment"], n["grid"]) == pytest.approx(1.7850739, abs=1e-5)
    assert np.trapezoid(np.exp(n["moment"]), n["grid"]) < 1  # its tails reach beyond the posterior's grid


def test_quiz_answers(n):
    questions = json.loads((build.ROOT / "quizzes/03_kl_divergence.json").read_text(encoding="utf-8"))["questions"]
    assert len(questions) == 5
    shift, far = (q for q in questions if "options" not in q)
    assert n["kl_normal"](0, 1, 2, 1) == shift["answer"]
    log_mix = lambda z: np.logaddexp(math.log(0.2) + scipy.stats.norm.logpdf(z, -6), math.log(0.8) + scipy.stats.norm.logpdf(z, 6))
    on_heavy = kl_quad(lambda z: scipy.stats.norm.logpdf(z, 6), log_mix, [6], -3, 15)
    assert abs(on_heavy - far["answer"]) < far["tolerance"] and abs(-math.log(0.8) - far["answer"]) < far["tolerance"]


# ---- claims, by their number, through the lesson's own functions -------------------------------------------------------
def normal(n, m, s):
    return n["log_normal"](n["z"], m, s)


CLAIMS = {
    "L3.1": lambda n: (n["kl_normal"](0, 1, 1, 2), 0.4431471805599453),
    "L3.1 on the grid": lambda n: (n["kl_grid"](normal(n, 0, 1), normal(n, 1, 2), n["z"]), 0.4431471805599453),
    "L3.1 turned": lambda n: (n["kl_normal"](1, 2, 0, 1), 1.3068528194400547),
    "L3.4": lambda n: ([n["first"], n["second"], n["direct"]], [0.5, 0.5, 2.0]),
    "L3.5": lambda n: (n["kl_normal"](1, 0.5, 0, 1), 0.8181471805599453),
    "L3.6": lambda n: (n["kl_mvn"](np.zeros(2), np.array([[1, 0.8], [0.8, 1]]), np.zeros(2), np.eye(2)), 0.5108256237659907),
    "L3.7": lambda n: (n["kl_mvn"](np.zeros(2), np.eye(2), np.zeros(2), np.array([[1, 0.8], [0.8, 1]])), 1.266952154011787),
    "L3.9": lambda n: ([n["entropy_grid"](normal(n, 0, 1), n["z"]),
                        n["entropy_grid"](n["log_normal"](n["tenth"], 0, 0.1), n["tenth"])], [1.4189385332, -0.8836465598]),
    "L3.10": lambda n: (n["kl_categorical"]([0.5, 0.25, 0.125, 0.125], [0.25] * 4), 0.25 * math.log(2)),
    "L3.11": lambda n: ([n["kl_categorical"]([0.1, 0.9], [0.5, 0.5]), n["kl_categorical"]([0.5, 0.5], [0.1, 0.9])],
                        [0.3680642071684971, 0.5108256237659907]),
    "L3.12": lambda n: (n["kl_grid"](n["p_from_p"], n["q_from_p"], n["short"]), math.log(2)),
    "L3.12b": lambda n: (n["kl_grid"](n["q_from_q"], n["p_from_q"], n["long"]), math.inf),
    "L3.24": lambda n: chain_rule(n),
}


def chain_rule(n):
    """KL of joints = KL of marginals + the average KL of the conditionals, for two random tables."""
    p, q = np.random.default_rng(4).dirichlet(np.ones(6), size=2).reshape(2, 2, 3)
    inside = sum(p[i].sum() * n["kl_categorical"](p[i] / p[i].sum(), q[i] / q[i].sum()) for i in range(2))
    return n["kl_categorical"](p.ravel(), q.ravel()), n["kl_categorical"](p.sum(1), q.sum(1)) + inside


@pytest.mark.parametrize("claim", CLAIMS)
def test_closed_forms(n, claim):
    value, reference = CLAIMS[claim](n)
    assert np.allclose(value, reference, rtol=0, atol=1e-9), (claim, value)


def test_triangle_inequality_fails(n):  # claim L3.4b
    assert n["direct"] > n["first"] + n["second"]


def test_log_normals(n):  # claim L3.8
    fine = np.linspace(-12, 14, 100_001)
    x = np.exp(fine)
    value = n["kl_grid"](scipy.stats.lognorm.logpdf(x, 1), scipy.stats.lognorm.logpdf(x, 2, scale=math.e), x)
    assert value == pytest.approx(0.4431471805599453, abs=1e-6)


def test_pinsker(n):  # claim L3.13
    variation = 0.5 * np.trapezoid(np.abs(np.exp(n["at"][0]) - np.exp(n["at"][1])), n["z"])
    assert variation == pytest.approx(0.38292492254802624, abs=1e-5)
    assert variation <= math.sqrt(n["first"] / 2) == pytest.approx(0.5)


def test_forward_projection_matches_moments(n):  # claim L3.14, in units of half a standard deviation
    ((m, s, _),) = n["optima"](n["forward_kl"], 4.0)
    assert m / 2 == pytest.approx(0, abs=2e-5) and (s / 2)**2 == pytest.approx(4.25, abs=2e-4)


def test_reverse_projection_sits_on_a_mode_when_far(n):  # claim L3.15
    m, s, kl = n["optima"](n["reverse_kl"], 4.0)[0]
    assert (m / 2, s / 2, kl) == pytest.approx((1.9998, 0.5004, 0.693053), abs=2e-4)


def test_reverse_projection_covers_both_when_near_and_switches(n):  # claims L3.16, L3.16b
    m, s, kl = n["optima"](n["reverse_kl"], 2.0)[0]
    assert (m, s, kl) == pytest.approx((0, 2.0470, 0.22651), abs=1e-4)
    assert n["switch_separation"](2.5, 3.2) == pytest.approx(2.8001, abs=5e-4)
    assert _switch_by_legendre() == pytest.approx(2.8001, abs=5e-4)


def test_reverse_projection_ranks_by_mass(n):  # claim L3.17
    mix = n["log_two_bumps"](n["u"], 0.3, 0.1)
    tall, broad = (n["kl_grid"](n["log_normal"](n["u"], m, s), mix, n["u"]) for m, s in ((0, 0.1), (6, 1.0)))
    assert (tall, broad) == pytest.approx((1.2039728, 0.3566749), abs=2e-5)
    assert np.exp(n["log_two_bumps"](np.array([0.0, 6.0]), 0.3, 0.1)) == pytest.approx([1.1968, 0.2793], abs=1e-4)
    assert tall > broad  # the peak that is four times as high loses


@pytest.mark.parametrize("m, spreads, bias", [(0.1, (20.0, 1.42, 1.42), 0.0025), (1.0, (2.0, 1.73, 1.70), 0.25)])
def test_three_estimators(n, m, spreads, bias):  # claims L3.18, L3.19
    q = normal(n, 0, 1)
    log_r = normal(n, m, 1) - q
    found = [n["mean_and_spread"](k, q) for k in (n["k_lambda"](log_r, 0), log_r**2 / 2, n["k_lambda"](log_r, 1))]
    assert [s / (m**2 / 2) for _, s in found] == pytest.approx(spreads, abs=0.006)
    assert [mean / (m**2 / 2) - 1 for mean, _ in found] == pytest.approx([0, bias, 0], abs=1e-6)


def test_gammas(n):  # claim L3.20
    x = np.linspace(1e-9, 60, 200_001)
    a, b = (td.Gamma(torch.tensor(s, dtype=torch.float64), torch.tensor(r, dtype=torch.float64)) for s, r in ((2.0, 1.0), (3.0, 2.0)))
    assert grid_kl(n, a, b, x) == pytest.approx(0.1909213038, abs=1e-6) == pytest.approx(td.kl_divergence(a, b).item(), abs=1e-6)


def test_maximum_likelihood_is_forward_kl(n):  # claim L3.23
    assert n["fit"].x[0] == pytest.approx(7 / 3, abs=1e-4) and np.exp(2 * n["fit"].x[1]) == pytest.approx(14 / 9, abs=1e-3)
