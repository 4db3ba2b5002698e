"""Lesson 05: its bounds against quadrature, sampling, closed forms and scikit-learn; its explorers' invariants; its claims."""

import json
import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize
from scipy.special import logsumexp

from course_utils.checks import lesson_05 as check
from course_utils.instructor import build

td = torch.distributions
norm = scipy.stats.norm
COINS = np.array([0.5**6, 0.5 * 0.9**4 * 0.1])
LOG_PX = norm.logpdf(1, 0, math.sqrt(2))


def number(text, after, nth=0):
    """The nth signed number that follows `after` in a readout."""
    return float(re.findall(re.escape(after) + r"\D*?([-+−]?\d+\.\d+)", text)[nth].replace("−", "-"))


def closed_kl(m1, s1, m2, s2):
    return math.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5


def closed_elbo(m, s, theta=1.0, x=1.0):
    v = 1 / (1 + theta**2)
    return norm.logpdf(x, 0, math.sqrt(1 + theta**2)) - closed_kl(m, s, v * theta * x, math.sqrt(v))


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _coins_by_loop(r):
    out = np.empty(np.shape(r))
    for i in np.ndindex(out.shape):
        q = (1 - np.asarray(r)[i], np.asarray(r)[i])
        out[i] = sum(b * (math.log(c) - math.log(b)) for b, c in zip(q, COINS) if b > 0)
    return out


def _coins_by_torch(r):
    r = torch.as_tensor(r, dtype=torch.float64)
    return r * math.log(COINS[1]) + (1 - r) * math.log(COINS[0]) + torch.special.entr(r) + torch.special.entr(1 - r)


def _toy_by_torch(m, s, x=1.0):
    m, s, x = (torch.as_tensor(a, dtype=torch.float64) for a in (m, s, x))
    q, prior = td.Normal(m, s), td.Normal(torch.zeros_like(m), torch.ones_like(s))
    return td.Normal(m, 1.0).log_prob(x) - s**2 / 2 - td.kl_divergence(q, prior)


def _toy_by_energy(m, s, x=1.0):
    energy = -np.log(2 * np.pi) - 0.5 * (m**2 + s**2) - 0.5 * ((x - m)**2 + s**2)
    return energy + norm(0, s).entropy()


def _iwae_by_torch(logw):
    logw = torch.as_tensor(np.asarray(logw), dtype=torch.float64)
    return torch.logsumexp(logw, dim=-1) - math.log(logw.shape[-1])


def _em_by_loops(X, weights, means, covs):
    table = np.stack([np.log(w) + scipy.stats.multivariate_normal(m, S).logpdf(X) for w, m, S in zip(weights, means, covs)], axis=1)
    r = np.exp(table - logsumexp(table, axis=1, keepdims=True))
    new = [np.average(X, axis=0, weights=k) for k in r.T]
    return r.mean(axis=0), np.array(new), [sum(a * np.outer(x - m, x - m) for a, x in zip(k, X)) / k.sum() for k, m in zip(r.T, new)]


def _surgery_by_loops(P, p0):
    def kl(a, b):
        return sum(x * math.log(x / y) for x, y in zip(a, b) if x > 0)
    bar = [sum(column) / len(P) for column in zip(*P)]
    return [sum(kl(row, p0) for row in P) / len(P), sum(kl(row, bar) for row in P) / len(P), kl(bar, p0)]


VARIANTS = {"elbo_two_coins": [_coins_by_loop, _coins_by_torch], "elbo_toy": [_toy_by_torch, _toy_by_energy],
            "iwae_from_logw": [_iwae_by_torch, lambda logw: logsumexp(np.asarray(logw) - math.log(np.shape(logw)[-1]), axis=-1)],
            "em_step": [_em_by_loops], "elbo_surgery": [_surgery_by_loops]}


# ---- the explorers ----------------------------------------------------------------------------------------------------
def _two_weights(explorer):
    """The mean weight is the evidence for every q; the gap is the KL to the posterior; the chord's height there is the ELBO."""
    r, text = explorer.values["r"], explorer.text
    gap = scipy.stats.entropy([1 - r, r], COINS)
    assert number(text, "mean") == pytest.approx(COINS.sum(), abs=6e-6)
    assert number(text, "gap") == pytest.approx(gap, abs=6e-5)
    assert number(text, "ELBO") == pytest.approx(math.log(COINS.sum()) - gap, abs=6e-5)
    chord = explorer.fig.axes[0].lines[1]
    x, y = (np.sort(v) for v in chord.get_data())
    if x[1] - x[0] > 1e-3:
        assert np.interp(COINS.sum(), x, y) == pytest.approx(number(text, "ELBO"), abs=1e-4)


def _the_ruler(explorer):
    """Every part from torch or a closed form; all green parts end at the ELBO; q never moves the end."""
    m, log_s, theta = (explorer.values[k] for k in ("mu", "log_sigma", "theta"))
    s, text, v = math.exp(log_s), explorer.text, 1 / (1 + theta**2)
    elbo = closed_elbo(m, s, theta)
    end = norm.logpdf(1, 0, math.sqrt(1 + theta**2))
    q = td.Normal(m, s)
    kl = td.kl_divergence(q, td.Normal(v * theta, math.sqrt(v))).item()
    kl_prior = td.kl_divergence(q, td.Normal(0.0, 1.0)).item()
    expected = {"log p(x)": end, "KL to posterior": kl, "ELBO": elbo, "reconstruction": norm.logpdf(1, theta * m, 1) - theta**2 * s**2 / 2,
                "KL to prior": kl_prior, "E[log p(x, z)]": elbo - norm(m, s).entropy(), "entropy": norm(m, s).entropy()}
    for name, value in expected.items():
        assert number(text, name) == pytest.approx(value, abs=6e-4), name
    greens = [ax.patches[0].get_width() - 7 for ax in explorer.fig.axes[1:]]
    assert greens == pytest.approx([max(elbo, -7)] * 3, abs=1e-9)
    assert explorer.fig.axes[1].lines[0].get_xdata()[0] == pytest.approx(end)


def _iwae_ladder(explorer):
    """The rungs never go down and never pass log p(x); K = 1 is the ELBO; the kept draw has a density of area 1."""
    K, m, log_s = (explorer.values[k] for k in ("K", "mu", "log_sigma"))
    left, right = explorer.fig.axes
    bounds = right.lines[1].get_ydata()
    assert bounds[0] == pytest.approx(closed_elbo(m, math.exp(log_s)), abs=2e-5)
    assert (np.diff(bounds) > -1e-9).all() and bounds[-1] <= LOG_PX + 1e-9
    assert number(explorer.text, f"L_{K} =") == pytest.approx(bounds[-1], abs=6e-5)
    z, kept = left.lines[2].get_data()
    assert np.trapezoid(kept, z) == pytest.approx(1, abs=1e-3) and (kept >= 0).all()
    if K == 500 and log_s > -0.5:
        assert np.trapezoid(np.abs(kept - norm.pdf(z, 0.5, math.sqrt(0.5))), z) < 0.1
        assert number(explorer.text, "r/2K =") == pytest.approx(LOG_PX - bounds[-1], rel=0.2, abs=1e-4)


def _sandwich(explorer):
    """Lower <= log p <= upper; the upper one is infinite exactly for s <= 1/2 (the second moment by scipy's adaptive rule)."""
    m, s = explorer.values["mu"], math.exp(explorer.values["log_sigma"])
    assert number(explorer.text, "ELBO") == pytest.approx(closed_elbo(m, s), abs=6e-5)
    assert ("infinite" in explorer.text) == (s <= 0.5)
    if s > 0.55:
        log_ratio = lambda z: 2 * (norm.logpdf(z) + norm.logpdf(1, z)) - norm.logpdf(z, m, s)
        upper = 0.5 * math.log(quad(lambda z: math.exp(log_ratio(z)), -40, 40, points=[0, 1], limit=400)[0])
        assert number(explorer.text, "upper bound") == pytest.approx(upper, abs=6e-5) and upper >= LOG_PX - 1e-9


def _em_see_saw(explorer):
    """ELBO + gap = log-likelihood, by another formula; gap 0 after E; nothing ever falls; the bars are the gaps."""
    start, step = explorer.values["start"], explorer.values["step"]
    n = explorer._update.__globals__
    X, (r, (pi, means, covs), elbo, log_px) = n["petals"], n["paths"][start][step]
    table = np.stack([w * scipy.stats.multivariate_normal(m, S).pdf(X) for w, m, S in zip(pi, means, covs)], axis=1)
    posterior = table / table.sum(axis=1, keepdims=True)
    gap = scipy.special.rel_entr(r, posterior).sum()
    assert log_px == pytest.approx(np.log(table.sum(axis=1)).sum(), abs=1e-8) and elbo == pytest.approx(log_px - gap, abs=1e-7)
    assert number(explorer.text, "log-likelihood") == pytest.approx(log_px, abs=6e-4)
    if step % 2:
        assert number(explorer.text, "gap") == 0
    elbos, logliks = np.array([p[2:] for p in n["paths"][start][:step + 1]]).T
    assert (np.diff(elbos) > -1e-8).all() and (np.diff(logliks) > -1e-8).all()
    heights = [bar.get_height() for bar in explorer.fig.axes[2].patches]
    assert heights[step] == pytest.approx(min(gap, 13), abs=1e-6) and not any(heights[step + 1:])


def _operation(explorer):
    """The two parts add up to the average KL of the closed form; the information is at most log 8."""
    spread, s = explorer.values["spread"], math.exp(explorer.values["log_sigma"])
    parts = [number(explorer.text, w) for w in ("average KL", "information", "misfit")]
    centres = spread * norm.ppf((np.arange(8) + 0.5) / 8)
    assert parts[0] == pytest.approx(np.mean([closed_kl(m, s, 0, 1) for m in centres]), abs=6e-4)
    assert parts[1] + parts[2] == pytest.approx(parts[0], abs=1.6e-3)
    assert 0 <= parts[1] <= math.log(8) + 6e-4 and parts[2] >= 0
    if spread == 0:
        assert parts[1] == 0


def _wrong_model(explorer):
    """−log p below both others; the winner named is the lower one; it turns round between w = 1.75 and w = 2."""
    w, text = explorer.values["w"], explorer.text
    nll, bound, collapsed = number(text, "−log p"), number(text, "−ELBO"), number(text, "collapsed:")
    assert nll <= bound and nll < collapsed
    assert ("COLLAPSED" in text) == (bound > collapsed) == (w > 1.8)


INVARIANTS = {"two_weights": _two_weights, "the_ruler": _the_ruler, "iwae_ladder": _iwae_ladder, "sandwich": _sandwich,
              "em_see_saw": _em_see_saw, "operation": _operation, "wrong_model": _wrong_model}


def test_an_e_step_recolours_the_dots(lesson):
    """The left half of the picture changes with E, although no oval moves."""
    explorer = lesson("05").explorers["em_see_saw"]
    pictures = []
    for step in (0, 1):
        explorer._update(step=step)
        pixels = explorer._picture.draw()
        pictures.append(pixels[:, :pixels.shape[1] // 2 - 60].copy())
    explorer._update(step=0)
    assert (pictures[0] != pictures[1]).any()


# ---- the functions shown in the lesson --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def n(lesson):
    return lesson("05").namespace


@pytest.mark.parametrize("m, s, theta, x", [(0, 1, 1, 1), (0.2, 0.8, 1.3, 2.0), (-1.0, 0.05, 0.5, -0.7), (2.0, 1.6, 2.0, 1.0)])
def test_three_readings_agree(n, m, s, theta, x):  # claim L5.4
    log_px, gap, reconstruction, kl_prior, energy, entropy = n["readings"](m, s, theta, x)
    exact = closed_elbo(m, s, theta, x)
    assert [log_px - gap, reconstruction - kl_prior, energy + entropy] == pytest.approx([exact] * 3, abs=1e-8)
    assert entropy == pytest.approx(norm(m, s).entropy(), abs=1e-9) and kl_prior == pytest.approx(closed_kl(m, s, 0, 1), abs=1e-8)


def test_iwae_exact_for_two_and_three_draws_by_cubature(n):
    """The Laplace-transform formula against the integral over all draws."""
    w = lambda z: norm.pdf(1, z, 1)
    two = dblquad(lambda a, b: norm.pdf(a) * norm.pdf(b) * math.log((w(a) + w(b)) / 2), -8, 8, -8, 8, epsabs=1e-7)[0]
    assert n["iwae_exact"](n["toy_log_w"](0, 1), 2) == pytest.approx(two, abs=1e-6)
    t, p = np.polynomial.legendre.leggauss(80)
    z, p = 7 * t, 7 * p * norm.pdf(7 * t)
    v = w(z)
    three = np.einsum("i,j,k,ijk->", p, p, p, np.log((v[:, None, None] + v[:, None] + v) / 3), optimize=False)
    assert n["iwae_exact"](n["toy_log_w"](0, 1), 3) == pytest.approx(three, abs=1e-6)


@pytest.mark.parametrize("m, s", [(0.0, 1.0), (1.0, 0.4), (-0.5, 1.4)])
def test_iwae_exact_against_draws(n, m, s):
    rng = np.random.default_rng(7)
    z = rng.normal(m, s, (40_000, 50))
    log_w = norm.logpdf(z) + norm.logpdf(1, z, 1) - norm.logpdf(z, m, s)
    for K in (1, 5, 50):
        draws = logsumexp(log_w[:, :K], axis=1) - math.log(K)
        assert n["iwae_exact"](n["toy_log_w"](m, s), K) == pytest.approx(draws.mean(), abs=5 * draws.std() / 200)
    assert n["iwae_exact"](n["toy_log_w"](m, s), np.array([[1, 2], [3, 4]])).shape == (2, 2)


def test_the_kept_draw_has_the_density_shown(n):
    """Sampling importance resampling, K = 4: mean and variance of the kept draw."""
    rng = np.random.default_rng(8)
    z = rng.standard_normal((200_000, 4))
    w = norm.pdf(1, z, 1)
    pick = (w.cumsum(axis=1) < (rng.random(200_000) * w.sum(axis=1))[:, None]).sum(axis=1)
    kept = z[np.arange(200_000), pick]
    density = norm.pdf(n["eps"]) * n["effective_q"](n["toy_log_w"](0, 1), 4)
    mean = np.trapezoid(density * n["eps"], n["eps"])
    assert mean == pytest.approx(kept.mean(), abs=0.01)
    assert np.trapezoid(density * (n["eps"] - mean)**2, n["eps"]) == pytest.approx(kept.var(), abs=0.01)


@pytest.mark.parametrize("m, s, w", [(0.9, 0.25, 1.0), (-1.3, 0.8, 2.0), (2.0, 0.5, 0.5)])
def test_bow_elbo_is_the_quadrature(n, m, s, w):
    x = np.array([0.7, 0.4])
    integrand = lambda z: norm.pdf(z, m, s) * (n["bow_log_joint"](x, z, w, 0.25) - norm.logpdf(z, m, s))
    assert n["bow_elbo"](x, m, s, w) == pytest.approx(quad(integrand, m - 9 * s, m + 9 * s, limit=400)[0], abs=1e-6)


@pytest.mark.parametrize("w", [1.0, 2.0])
def test_best_elbo_is_that_of_a_general_optimiser(n, w):
    from course_utils import datasets
    x, _ = datasets.bow(40, w=w, s=0.25, rng=np.random.default_rng(9))
    starts, general = [(m, s) for m in np.linspace(-4, 4, 7) for s in (-1.4, 0.0)], []
    for point in x:
        general.append(max(-minimize(lambda v: -n["bow_elbo"](point, v[0], np.exp(v[1]), w), start).fun for start in starts))
    short = np.array(general) - n["best_elbo"](x, w)
    assert short.min() > -1e-6 and short.mean() < 1e-4 and short.max() < 3e-3


def test_the_grid_of_data_is_fine_enough(n):
    """Four times as many z and noise on an even grid move the ELBO of the true model by less than a rounding."""
    z, t = np.linspace(-4.5, 4.5, 91), np.linspace(-4.5, 4.5, 13)
    Z, A, B = np.meshgrid(z, t, t, indexing="ij")
    x = (n["bow_curve"](Z, 2.0) + 0.25 * np.stack([A, B], axis=-1)).reshape(-1, 2)
    share = (np.exp(-z**2 / 2)[:, None, None] * np.exp(-t**2 / 2)[:, None] * np.exp(-t**2 / 2)).ravel()
    assert -(share / share.sum()) @ n["best_elbo"](x, 2.0) == pytest.approx(n["table"][6, 1], abs=6e-4)
    mean_x, share = n["bow_data"](2.0)
    assert share @ mean_x == pytest.approx([0, (1 - math.exp(-2)) / 2], abs=1e-5) and share.sum() == pytest.approx(1)


def test_collapsed_model_is_the_best_round_blob(n):
    x, share = n["bow_data"](2.0)
    blob = lambda v: -share @ (norm.logpdf(x[:, 0], 0, np.exp(v[1])) + norm.logpdf(x[:, 1], v[0], np.exp(v[1])))
    assert minimize(blob, [0.0, 0.0]).fun == pytest.approx(n["table"][6, 2], abs=1e-6)


def test_effective_sample_size(n):
    assert n["effective_sample_size"](np.zeros((2, 7))) == pytest.approx([7, 7])
    w = np.exp([-1.0, -2, -3])
    assert n["effective_sample_size"](np.array([-1.0, -2, -3])) == pytest.approx(w.sum()**2 / (w**2).sum())
    assert n["effective_sample_size"](np.array([-1.0, -2, -3])) == pytest.approx(1.9586987, abs=1e-7)


def test_surgery_of_gaussian_codes(n):
    average, information, misfit = n["surgery"](np.array([-1.0, 0.5, 2.0]), 0.3)
    assert average == pytest.approx(information + misfit, abs=1e-9)
    rng, means = np.random.default_rng(3), np.array([-1.0, 0.5, 2.0])
    k = rng.integers(3, size=200_000)
    z = rng.normal(means[k], 0.3)
    terms = norm.logpdf(z, means[k], 0.3) - logsumexp(norm.logpdf(z[:, None], means, 0.3), axis=1) + math.log(3)
    assert information == pytest.approx(terms.mean(), abs=5 * terms.std() / math.sqrt(200_000))


def test_the_better_hill_holds_one_species_alone(n):
    from sklearn.datasets import load_iris
    r = n["paths"]["rows 0 and 100, round"][-1][0]
    assert (r.argmax(axis=1) == (load_iris().target > 0)).all()


def test_sklearn_finds_the_higher_hill_too(n):
    from sklearn.mixture import GaussianMixture
    other = GaussianMixture(2, n_init=5, random_state=0, reg_covar=0, tol=1e-9, max_iter=500).fit(n["petals"])
    assert other.score(n["petals"]) * 150 == pytest.approx(n["paths"]["rows 0 and 100, round"][-1][3], abs=1e-3)


def test_frullani_behind_the_ladder():
    for a in (0.2, 3.0):
        f = lambda t: (math.exp(-t) - math.exp(-a * t)) / t
        assert quad(f, 0, 1)[0] + quad(f, 1, np.inf)[0] == pytest.approx(math.log(a), abs=1e-7)


def test_models_repeats_the_solution(n):
    from course_utils import models
    logw = np.random.default_rng(1).normal(size=(3, 4)) - 1000
    assert np.array_equal(models.iwae_from_logw(logw), n["iwae_from_logw"](logw))
    assert models.iwae_from_logw(logw) == pytest.approx(logsumexp(logw, axis=-1) - math.log(4))


WRONG = [("iwae_from_logw", "forgot −log K", ((-1, -2, -3),), -0.5923940), ("iwae_from_logw", "mean of the logs", ((-1, -2, -3),), -2.0)]


@pytest.mark.parametrize("exercise, mutant, arguments, value", WRONG)
def test_wrong_answers_of_the_curriculum(exercise, mutant, arguments, value):
    (m,) = [m for m in getattr(check, exercise).mutants if m.name == mutant]
    assert m.wrong(*arguments) == pytest.approx(value, abs=1e-7)


def test_right_answers_of_the_curriculum(n):
    assert n["elbo_toy"](0.2, 0.8) == pytest.approx(-1.6220821, abs=1e-7)
    assert n["iwae_from_logw"]((-1, -2, -3)) == pytest.approx(-1.6910063, abs=1e-7)
    x = np.array([1.0, 0.5])
    assert n["bow_elbo"](x, 0.9, 0.25, 1.0) == pytest.approx(-1.4203288, abs=1e-6)
    assert (n["found"].x[0], np.exp(n["found"].x[1]), -n["found"].fun) == pytest.approx((1.0469707, 0.2332728, -1.2192366), abs=2e-5)
    assert n["bow_posterior"](x, np.linspace(-6, 6, 1201), 1.0, 0.25)[1] == pytest.approx(-1.2191567, abs=1e-6)
    assert n["iwae_exact"](n["log_w_bow"], np.array([5, 50])) == pytest.approx([-1.256, -1.2226], abs=2e-3)  # those were sampled


def test_quiz_answers(n):
    questions = json.loads((build.ROOT / "quizzes/05_elbo.json").read_text(encoding="utf-8"))["questions"]
    assert len(questions) == 5
    zero, e_step = (q for q in questions if "options" not in q)
    assert abs(n["readings"](0.5, math.sqrt(0.5))[1] - zero["answer"]) < zero["tolerance"]
    assert n["values"][3] == pytest.approx([e_step["answer"]] * 2, abs=e_step["tolerance"])
    assert n["iwae_exact"](n["toy_log_w"](0, 1), 50) > n["iwae_exact"](n["toy_log_w"](0, 1), 5)
    narrow = td.Normal(0.0, 0.01)  # a model of densities far above 1: p(x) at the mean of N(0, 0.01²) exceeds 1, its log 0
    assert narrow.log_prob(torch.tensor(0.0)) > 0


# ---- claims, by their number, through the lesson's own functions -------------------------------------------------------
POSTERIOR = COINS[1] / COINS.sum()
CLAIMS = {
    "L5.1": lambda n: (n["readings"](0, 1)[0], -1.5155121234846454, 1e-9),
    "L5.2": lambda n: ([n["elbo_toy"](0, 1), n["readings"](0, 1)[1]], [-1.9189385332046727, 0.40342640972002736], 1e-8),
    "L5.3": lambda n: (n["elbo_toy"](0.5, math.sqrt(0.5)), -1.5155121234846454, 1e-9),
    "L5.4": lambda n: (n["elbo_toy"](0.2, 0.8), closed_elbo(0.2, 0.8), 1e-9),
    "L5.5": lambda n: (n["r"], 0.3641175, 1e-6),
    "L5.6": lambda n: (n["iwae_exact"](n["toy_log_w"](0, 1), np.array([1, 2, 3])), [-1.9189385, -1.6534738, -1.5940666], 2e-7),
    "L5.9": lambda n: (n["toy_log_w"](0.5, math.sqrt(0.5)), -1.5155121234846454, 1e-10),
    "L5.10": lambda n: (0.5 * n["second_moment"](0, 1), -1.360258272038367, 1e-8),
    "L5.11": lambda n: (n["elbo_two_coins"](np.array([POSTERIOR, 0.5])), [-3.0276358225669995, -3.0948815292125387], 1e-9),
    "L5.12": lambda n: (np.diff(n["values"][1::2])[:, 0], 0.0, 1e-9),
    "L5.19": lambda n: ([n["slopes"](1.3, 1.0, 1.3 / 2.69, 2.69**-0.5), n["slopes"](1.3, 1.0, 0.0, 1.0)],
                        [[-0.3036165890479836] * 2, [-1.3, -0.3036165890479836]], 1e-8),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_closed_forms(n, claim):
    value, reference, tol = CLAIMS[claim](n)
    assert np.allclose(value, reference, rtol=0, atol=tol), (claim, value)


def test_ladder_is_monotone_and_approaches(n):  # claim L5.7; from K = 5 on the reference was sampled, so two standard errors
    K = np.array([1, 2, 3, 5, 10, 50, 500, 5000])
    bounds = n["iwae_exact"](n["toy_log_w"](0, 1), K)
    assert (np.diff(bounds) > 0).all() and bounds[-1] < LOG_PX < bounds[-1] + 1e-4
    assert bounds[:7] == pytest.approx([-1.91894, -1.65347, -1.59407, -1.5571, -1.53587, -1.51935, -1.51605], abs=1e-3)


def test_large_K_bias(n):  # claim L5.8
    bias = LOG_PX - n["iwae_exact"](n["toy_log_w"](0, 1), 50)
    assert bias == pytest.approx(0.003641175, rel=0.02) and bias == pytest.approx(0.00384, abs=0.0017)


def test_sandwich(n):  # claim L5.10b
    assert closed_elbo(0, 1) < LOG_PX < 0.5 * n["second_moment"](0, 1)
    relvar = n["r"]
    assert 0.5 * n["second_moment"](0, 1) == pytest.approx(LOG_PX + 0.5 * math.log(1 + relvar), abs=1e-8)


def test_em_climbs_to_sklearns_answer(n):  # claims L5.13, L5.14
    logliks = n["values"][:, 1]
    assert (np.diff(logliks) > -1e-9).all()
    assert logliks[0] == pytest.approx(-377.3201, abs=1e-4) and logliks[-1] == pytest.approx(-218.7452403, abs=1e-3)
    assert n["other"].score(n["petals"]) * 150 == pytest.approx(-218.74524035122585, abs=1e-4)


def test_elbo_surgery_is_an_identity(n):  # claim L5.15 (the table behind its value is not recorded; the identity is, for any table)
    rng = np.random.default_rng(15)
    for N, K in ((2, 3), (7, 4), (30, 2)):
        P, p0 = rng.dirichlet(np.ones(K), N), rng.dirichlet(np.ones(K))
        average, information, misfit = n["elbo_surgery"](P, p0)
        assert average == pytest.approx(information + misfit, abs=1e-12) and 0 <= information <= math.log(N)
    assert 0.4320765995887957 == pytest.approx(0.3818579 + 0.0502187, abs=1e-7)


def test_finite_variance_needs_half_the_variance(n):  # claim L5.18, for the target N(0, 1); the toy's posterior has variance 1/2
    s2 = 0.6
    f = lambda z: math.exp(2 * norm.logpdf(z) - norm.logpdf(z, 0, math.sqrt(s2)))
    assert quad(f, -40, 40, points=[0])[0] == pytest.approx(s2 / math.sqrt(2 * s2 - 1), abs=1e-6)
    # the toy with q = N(1/2, s²): z = 1/2 + u/√2 turns the posterior into N(0, 1) and q's variance into 2 s²
    second = n["second_moment"](0.5, math.sqrt(s2 / 2)) - 2 * LOG_PX
    assert math.exp(second) == pytest.approx(1.341640786499874, abs=1e-6)
    assert n["second_moment"](0.5, 0.5) == math.inf and np.isfinite(n["second_moment"](0.5, 0.501))


def test_elbo_prefers_the_collapsed_model_on_the_ring(n):  # claim L7.19
    """The reference values are averages over one sample of x: their differences are compared closely, they themselves roughly."""
    for w, reference in ((1.0, (1.4754, 1.4782, 1.8838)), (2.0, (1.1104, 1.2626, 1.1719))):
        nll, bound, collapsed = n["table"][np.argmin(np.abs(n["curvatures"] - w))]
        assert (bound < collapsed) == (w == 1.0) and nll < min(bound, collapsed)
        assert bound - nll == pytest.approx(reference[1] - reference[0], abs=3e-3)
        assert collapsed - nll == pytest.approx(reference[2] - reference[0], abs=3e-3)
        assert (nll, bound, collapsed) == pytest.approx(reference, abs=0.03)
    assert n["table"][2, 0] == pytest.approx(1.46012, abs=2e-4)  # the entropy of the Bow at w = 1 (curriculum, D)
