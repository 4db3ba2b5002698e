"""Lesson 01: its formulas against independent computations, its explorers' invariants, its claims and its prose."""

import itertools
import json
import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import quad, trapezoid
from scipy.special import logsumexp

from course_utils import datasets, models
from course_utils.instructor import build

# --- correct answers in other styles, which the checks must accept ---


def _torch_curve(z, w):
    z = torch.as_tensor(z, dtype=torch.float64)
    return torch.stack([z, 0 * z] if w == 0 else [torch.sin(w * z) / w, (1 - torch.cos(w * z)) / w], dim=-1)


def _torch_joint(x, z, w, s):
    x, z = torch.as_tensor(np.array(x)), torch.as_tensor(z, dtype=torch.float64)
    likelihood = torch.distributions.Normal(_torch_curve(z, w), s).log_prob(x).sum(-1)
    return torch.distributions.Normal(0.0, 1.0).log_prob(z) + likelihood


def _joint_by_loops(x, z, w, s):
    def one(t):
        a, b = (t, 0.0) if w == 0 else (math.sin(w * t) / w, (1 - math.cos(w * t)) / w)
        prior = math.log(math.exp(-t * t / 2) / math.sqrt(2 * math.pi))
        return prior - ((x[0] - a)**2 + (x[1] - b)**2) / (2 * s * s) - 2 * math.log(s) - math.log(2 * math.pi)

    return one(z) if np.ndim(z) == 0 else np.array([one(t) for t in np.ravel(z)]).reshape(np.shape(z))


def _coins_by_loops(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    joint = [c * q**heads * (1 - q)**(flips - heads) for c, q in zip(prior, p)]
    return [j / sum(joint) for j in joint], sum(joint)


def _coins_in_logs(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    logs = np.log(prior) + heads * np.log(p) + (flips - heads) * np.log1p(-np.array(p))
    return np.exp(logs - logsumexp(logs)), np.exp(logsumexp(logs))


def _coins_in_torch(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    p, prior = torch.tensor(p, dtype=torch.float64), torch.tensor(prior, dtype=torch.float64)
    joint = prior * p**heads * (1 - p)**(flips - heads)
    return joint / joint.sum(), joint.sum()


def _evidence_by_rectangles(x, z, w=1.0, s=0.25):
    return logsumexp(models.bow_log_joint(np.asarray(x)[:, None], z, w, s), axis=1) + math.log(z[1] - z[0])


def _evidence_by_loop(x, z, w=1.0, s=0.25):
    return [models.bow_posterior(point, z, w, s)[1] for point in x]


def _evidence_in_torch(x, z, w=1.0, s=0.25):
    joint = torch.as_tensor(models.bow_log_joint(np.asarray(x)[:, None], z, w, s))
    return torch.logsumexp(joint, dim=1) + math.log(z[1] - z[0])


def _guess_by_logs(x, z, w=1.0, s=0.25):
    logs = models.log_normal(np.asarray(x), models.bow_curve(z, w), s).sum(axis=-1)
    first, second = models.log_mean_exp(logs), models.log_mean_exp(2 * logs)
    return first, np.sqrt(np.expm1(second - 2 * first) / len(z))


def _guess_with_unbiased_spread(x, z, w=1.0, s=0.25):
    logs = np.array([_joint_by_loops(x, t, w, s) + t * t / 2 + math.log(2 * math.pi) / 2 for t in z])
    terms = np.exp(logs - logs.max())
    return logs.max() + math.log(terms.mean()), terms.std(ddof=1) / terms.mean() / math.sqrt(len(z))


def _params_by_if(kind, D, K=10, H=10):
    if kind == "table":
        return 2.0**D - 1
    if kind == "fvbm":
        return np.triu(np.ones((D, D))).sum()
    return (D + 1) * (H + 1) - 1 if kind == "rbm" else K * (D + 1) - 1


VARIANTS = {
    "posterior_coins": [_coins_by_loops, _coins_in_logs, _coins_in_torch],
    "bow_log_joint": [_joint_by_loops, _torch_joint,
                      lambda x, z, w, s: models.log_normal(z, 0, 1)
                      + models.log_normal(np.array(x), models.bow_curve(z, w), s).sum(-1)],
    "log_evidence_grid": [_evidence_by_rectangles, _evidence_by_loop, _evidence_in_torch],
    "evidence_prior_mc": [_guess_by_logs, _guess_with_unbiased_spread],
    "n_params": [_params_by_if, lambda kind, D, K=10, H=10: torch.tensor(_params_by_if(kind, D, K, H))],
}

# --- the explorers' invariants ---


def number(text, before):
    """The number that follows `before` in a readout."""
    return float(re.match(r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?)", text.split(before, 1)[1]).group(1))


def evidence_by_quad(x, w, s):
    """log p(x) of the Bow: adaptive quadrature of scipy's densities, the wire walked by its heading."""
    def log_joint(t):
        curve = (t, 0.0) if w == 0 else (math.sin(w * t) / w, (1 - math.cos(w * t)) / w)
        d2 = (x[0] - curve[0])**2 + (x[1] - curve[1])**2
        return -t * t / 2 - d2 / (2 * s * s) - 1.5 * math.log(2 * math.pi) - 2 * math.log(s)

    coarse = np.linspace(-9, 9, 361)
    values = np.array([log_joint(t) for t in coarse])
    inner = (values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:])
    area = quad(lambda t: math.exp(log_joint(t) - values.max()), -9, 9, points=coarse[1:-1][inner], limit=400)[0]
    return values.max() + math.log(area)


def _bow(explorer):
    """The blue density is p(x, z)/p(x) and has area 1, and its even draws lie on the wire."""
    v, (left, right) = explorer.values, explorer.fig.axes
    z, density = left.lines[1].get_data()
    log_px = number(explorer.text, "log p(x) =")
    assert log_px == pytest.approx(evidence_by_quad((v["x1"], v["x2"]), v["w"], v["s"]), abs=6e-4)
    assert trapezoid(density, z) == pytest.approx(1, abs=1e-9)
    joint = np.array([_joint_by_loops((v["x1"], v["x2"]), t, v["w"], v["s"]) for t in z[::40]])
    assert np.allclose(density[::40], np.exp(joint - log_px), rtol=2e-3, atol=1e-12)
    assert density.max() < left.get_ylim()[1], "the posterior's peak is cut off"
    if v["w"] == 0:  # linear-Gaussian: mean x1/(1 + s²), sd s/√(1 + s²)
        assert number(explorer.text, "mean") == pytest.approx(v["x1"] / (1 + v["s"]**2), abs=6e-3)
        assert number(explorer.text, "sd") == pytest.approx(v["s"] / math.sqrt(1 + v["s"]**2), abs=6e-3)
    drawn = np.array(right.lines[2].get_data())
    if v["w"] > 0:  # a circle of radius 1/w around (0, 1/w)
        assert np.allclose(np.hypot(drawn[0], drawn[1] - 1 / v["w"]), 1 / v["w"])
    else:
        assert not drawn[1].any()
    assert np.array_equal(np.ravel(right.lines[3].get_data()), [v["x1"], v["x2"]])


def _guess_the_evidence(explorer):
    """All 200 repeats are in view; r is that of a quadrature; a mean of logs is not above the log of the mean."""
    v, (left, right) = explorer.values, explorer.fig.axes
    counts, edges = right.patches[0].get_data()[:2]
    assert counts.sum() == 200 and counts.max() < right.get_ylim()[1]
    assert edges[0] >= right.get_xlim()[0] and right.get_xlim()[1] <= edges[-1] * 1.06
    weight = lambda t, k: scipy.stats.norm.pdf(t) * scipy.stats.norm.pdf(2, t, v["s"])**k
    p, p2 = (quad(weight, -8, 8, args=(k,), points=[1.5, 2, 2.2], limit=200)[0] for k in (1, 2))
    assert number(explorer.text, "r =") == pytest.approx((p2 / p**2)**v["D"] - 1, rel=6e-3)
    assert number(explorer.text, "error") == pytest.approx(
        math.sqrt(number(explorer.text, "r =") / 10**v["log10_S"]), rel=6e-2)
    middle = (edges[1:] + edges[:-1]) / 2
    assert (counts * middle).sum() / 200 < 0.15
    assert len(left.lines[2].get_xdata()) == 10**v["log10_S"]
    z, density = left.lines[1].get_data()
    assert trapezoid(density, z) == pytest.approx(1, abs=1e-6) and density.max() < left.get_ylim()[1]


def _what_explodes(explorer):
    """The columns' heights are counts made by listing parameters, and numbers of states."""
    D, H, K = (explorer.values[k] for k in "DHK")
    heights = [bar.get_height() for bar in explorer.fig.axes[0].patches]
    pairs = sum(1 for _ in itertools.combinations(range(D), 2))
    stored = [2**D - 1, D + pairs, len(range(D)) * H + D + H, (K - 1) + K * D]
    assert heights == pytest.approx([*stored, 1, 2**D, min(2**D, 2**H), K], rel=1e-12)
    assert number(explorer.text, "Boltzmann") == stored[1] and number(explorer.text, "RBM") == stored[2]
    assert max(heights) < explorer.fig.axes[0].get_ylim()[1]


def _cut_the_plane(explorer):
    """Line k adds one region more than it has crossings with the lines before: count the crossings of the drawn lines."""
    v, (left, right) = explorer.values, explorer.fig.axes
    drawn = [np.array(line.get_data()).T for line in left.lines if len(line.get_xdata())]
    assert len(drawn) == v["n"]
    regions = 1
    for k, (a, b) in enumerate(drawn):
        crossings = set()
        for c, d in drawn[:k]:
            t, _ = np.linalg.solve(np.stack([b - a, c - d], axis=1), c - a)
            crossings.add(tuple(np.round(a + t * (b - a), 6) + 0.0))
            assert np.abs(a + t * (b - a)).max() < 3, "a crossing lies outside the picture"
        regions += 1 + len(crossings)
    assert number(explorer.text, "features:") == regions
    assert regions == (2 * v["n"] if v["through_one_point"] else 1 + v["n"] + v["n"] * (v["n"] - 1) // 2)
    assert right.lines[3].get_ydata()[0] == regions


INVARIANTS = {"bow": _bow, "guess_the_evidence": _guess_the_evidence, "what_explodes": _what_explodes,
              "cut_the_plane": _cut_the_plane}

# --- the lesson's functions against independent computations ---


@pytest.fixture
def n(lesson):
    return lesson("01").namespace


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.2, 0.8)])
def test_coins_joint_sums_over_all_sequences_to_the_prior(n, prior):
    total = sum(n["coins_joint"](sum(x), 6, prior=prior) for x in itertools.product((0, 1), repeat=6))
    assert np.allclose(total, prior, atol=1e-12)
    for heads in range(6):
        binomial = [c * scipy.stats.binom.pmf(heads, 5, p) for c, p in zip(prior, (0.5, 0.9))]
        assert np.allclose(math.comb(5, heads) * n["coins_joint"](heads, 5, prior=prior), binomial)


def test_two_coins_by_hand(n):
    posterior, evidence = n["posterior_coins"](4, 5)
    assert posterior == pytest.approx([0.3226306, 0.6773694], abs=5e-8) and evidence == pytest.approx(0.04843, abs=1e-8)


def test_the_simulation_agrees_with_the_posterior(n):
    assert abs(n["share"] - 0.6773694) < 4 * n["error"]


def test_mixture_moments(n):  # claim L1.8
    mean, left, explained = n["mixture_moments"]((0.3, 0.7), (-2, 1), (0.5, 1.5))
    theirs = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)),
        torch.distributions.Normal(torch.tensor([-2.0, 1.0], dtype=torch.float64),
                                   torch.tensor([0.5, 1.5], dtype=torch.float64)))
    assert mean == pytest.approx(0.1, abs=1e-12) == pytest.approx(float(theirs.mean), abs=1e-12)
    assert left + explained == pytest.approx(3.54, abs=1e-12) == pytest.approx(float(theirs.variance), abs=1e-12)
    assert (left, explained) == pytest.approx((1.65, 1.89), abs=1e-12)


@pytest.mark.parametrize("w", [0, 0.5, 1.0, 2.0, 3.0])
def test_bow_curve_is_the_integral_of_its_heading_and_that_of_the_data(n, w):
    for z in (-2.5, 0.0, 0.7, 3.0):
        heading = [quad(lambda t: part(w * t), 0, z)[0] for part in (np.cos, np.sin)]
        assert n["bow_curve"](z, w) == pytest.approx(heading, abs=1e-12)
    x, z = datasets.bow(50, w=w, s=0, rng=np.random.default_rng(0))
    assert np.allclose(x, n["bow_curve"](z, w), atol=1e-12)
    assert n["bow_curve"](np.zeros((2, 3)), w).shape == (2, 3, 2)


def test_bow_log_joint_reference_values(n):
    assert n["bow_log_joint"]((1, 0.5), 0.8, 1, 0.25) == pytest.approx(-1.2528757, abs=1e-7)
    assert n["bow_log_joint"]((1, 0.5), 0.8, 0, 0.25) == pytest.approx(-2.6242269, abs=1e-7)


@pytest.mark.parametrize("x, expected", [((1, 0.5), -1.2191567), ((0, 2), -4.4166493), ((0, 1), -7.0652883)])
def test_evidence_reference_values(n, x, expected):
    z = np.linspace(-8, 8, 3201)
    density, log_px = n["bow_posterior"](x, z, 1, 0.25)
    assert log_px == pytest.approx(expected, abs=1e-7) == pytest.approx(evidence_by_quad(x, 1, 0.25), abs=1e-7)
    assert n["log_evidence_grid"](np.array([x]), z) == pytest.approx([expected], abs=1e-7)
    assert np.trapezoid(density, z) == pytest.approx(1, abs=1e-12)
    assert n["bow_posterior"](x, n["z"], 1, 0.25)[1] == pytest.approx(expected, abs=1e-5)  # the lesson's own grid


def test_the_posterior_at_the_centre_of_the_circle_is_the_prior(n):
    density, _ = n["bow_posterior"]((0, 1), n["z"], 1, 0.25)
    assert np.allclose(density, scipy.stats.norm.pdf(n["z"]), atol=1e-8)


def test_the_posterior_at_the_top_has_two_peaks_and_its_mean_lies_farthest_away(n):
    density, _ = n["bow_posterior"]((0, 2), n["z"], 1, 0.25)
    assert n["describe"](density) == "mean 0.00, sd 2.96, peaks at -2.96, 2.96"
    distance = np.linalg.norm(n["bow_curve"](n["z"], 1) - [0, 2], axis=-1)
    assert n["z"][distance.argmax()] == pytest.approx(0, abs=1e-9)


def test_the_posterior_of_a_straight_wire_does_not_see_x2(n):
    one, two = (n["bow_posterior"]((1, x2), n["z"], 0, 0.25)[0] for x2 in (-1, 2))
    assert np.allclose(one, two)
    assert np.allclose(one, scipy.stats.norm.pdf(n["z"], 1 / 1.0625, math.sqrt(0.0625 / 1.0625)), atol=1e-9)


def test_describe_and_even_draws_on_a_known_mixture(n):
    z = n["z"]
    density = 0.25 * scipy.stats.norm.pdf(z, -2, 0.3) + 0.75 * scipy.stats.norm.pdf(z, 1, 0.3)
    assert n["describe"](density) == f"mean 0.25, sd {math.sqrt(0.09 + 0.1875 * 9):.2f}, peaks at -2.00, 1.00"
    draws = n["even_draws"](density, 40)
    assert (draws < -0.5).sum() == 10 and np.all(np.diff(draws) > 0)


@pytest.mark.parametrize("s", [0.1, 0.25, 1.0])
def test_log_evidence_straight(n, s):
    theirs = scipy.stats.multivariate_normal(cov=np.diag([1 + s**2, s**2])).logpdf([0.7, -0.3])
    assert n["log_evidence_straight"]((0.7, -0.3), s) == pytest.approx(theirs, abs=1e-12)
    assert theirs == pytest.approx(evidence_by_quad((0.7, -0.3), 0, s), abs=1e-8)


@pytest.mark.parametrize("w, entropy", [(0, 1.4818950), (0.5, 1.47837), (1, 1.4601249), (2, 1.0894177)])
def test_entropy_of_the_bow(n, w, entropy):  # claims B.1, B.2
    assert n["bow_entropy"](w, 0.25) == pytest.approx(entropy, abs=5e-6)
    if w == 0:
        normals = scipy.stats.norm(0, math.sqrt(1.0625)).entropy() + scipy.stats.norm(0, 0.25).entropy()
        assert n["bow_entropy"](0, 0.25) == pytest.approx(normals, abs=1e-6) == pytest.approx(sum(n["normal"]), abs=1e-6)


def test_score_of_the_true_model_is_the_entropy_within_its_error(n):  # claim B.3
    assert abs(n["scores"].mean() - 1.4601249) < 4 * n["scores"].std() / math.sqrt(len(n["scores"]))


@pytest.mark.parametrize("x, s, D", [(2.0, 0.1, 1), (0.0, 0.5, 1), (1.5, 1.0, 3), (2.0, 0.1, 10)])
def test_relative_variance(n, x, s, D):
    p, p2 = (quad(lambda t: scipy.stats.norm.pdf(t) * scipy.stats.norm.pdf(x, t, s)**k, -9, 9, points=[x],
                  limit=300)[0] for k in (1, 2))
    assert n["relative_variance"](x, s, D) == pytest.approx((p2 / p**2)**D - 1, rel=1e-7)


def test_relative_variance_claims(n):  # claims L1.13, L1.14
    assert n["relative_variance"](2.0, 0.1) == pytest.approx(50.10152556, abs=1e-7)
    assert n["relative_variance"](2.0, 0.1, 10) == pytest.approx(1.2143353994770192e17, rel=1e-6)
    assert np.ceil(n["relative_variance"](2.0, 0.1) / 1e-4) == 501016 == np.ceil(n["S"])
    guesses = np.exp(scipy.stats.norm.logpdf(2.0, np.random.default_rng(3).standard_normal(4_000_000), 0.1))
    assert guesses.var() / guesses.mean()**2 == pytest.approx(50.1015, abs=0.5)


@pytest.mark.parametrize("s, D, power", [(0.1, 1, 4), (0.3, 3, 2), (1.0, 10, 3)])
def test_repeated_guesses_are_what_they_say(n, s, D, power):
    rng = np.random.default_rng(7)
    z = np.stack([rng.standard_normal((200, 10_000)) for _ in range(D)], axis=-1)[:, :10**power]
    logs = scipy.stats.norm.logpdf(2.0, z, s).sum(axis=-1)
    log_true = D * scipy.stats.norm.logpdf(2.0, 0, math.sqrt(1 + s**2))
    assert np.allclose(n["errors"][s][D - 1, power], logsumexp(logs, axis=1) - math.log(10**power) - log_true)


def test_guessing_is_unbiased_where_one_can_see_it_and_hopeless_in_ten_dimensions(n):
    ratios = np.exp(n["errors"][1.0][0, 2])
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / math.sqrt(200)
    worst = n["errors"][0.1][9, 4]
    assert -1000 < worst.min() and worst.max() < -200
    assert n["means"].shape == (150,) and n["means"].max() < 0.02


def test_guess_of_the_bow_covers_the_true_evidence(n):
    z = np.random.default_rng(5).standard_normal(20_000)
    guess, error = n["evidence_prior_mc"]((1, 0.5), z)
    assert abs(math.expm1(guess + 1.2191567)) < 4 * error and error == pytest.approx(math.sqrt(4.418104 / 20_000), rel=0.1)


@pytest.mark.parametrize("kind, D, expected", [("table", 10, 1023), ("fvbm", 10, 55), ("mixture", 10, 109), ("rbm", 10, 120),
                                               ("table", 64, 2**64 - 1), ("fvbm", 64, 2080), ("fvbm", 784, 307720),
                                               ("mixture", 64, 649), ("mixture", 784, 7849), ("rbm", 64, 714)])
def test_parameter_counts(n, kind, D, expected):  # claims L1.1 to L1.4
    assert n["n_params"](kind, D) == expected
    stored = dict(zip(("table", "fvbm", "rbm", "mixture"), n["numbers_to_store"](D, 10, 10)))
    assert stored[kind] == pytest.approx(expected, rel=1e-15)


def test_a_century_of_terms(n):
    assert n["terms_to_add"](64, 10, 10) == pytest.approx([1, 2**64, 1024, 10])
    assert n["century"] == pytest.approx(3.156e18, rel=1e-3) and n["century"] < 2**64
    assert list(n["terms_to_add"](5, 7, 3)) == [1, 32, 8, 7] and n["terms_to_add"](3, 7, 9)[2] == 8


def test_rbm_layers_sum_by_formula(n):  # claim L1.5
    rng = np.random.default_rng(0)
    W, b, c = rng.normal(size=(6, 5)), rng.normal(size=6), rng.normal(size=5)
    for x in itertools.product((0, 1), repeat=6):
        x = np.array(x)
        total = logsumexp([b @ x + c @ h + x @ W @ h for h in map(np.array, itertools.product((0, 1), repeat=5))])
        assert n["rbm_log_numerator"](x, W, b, c) == pytest.approx(total, abs=1e-10)
    assert n["gap"] < 1e-12 and n["Z_images"] == pytest.approx(n["Z_units"], rel=1e-10)


def test_regions_by_recursion(n):  # claims L1.6, L1.7: a new hyperplane is itself cut in one dimension less
    def cut(k, L):
        return 1 if k == 0 or L == 0 else cut(k - 1, L) + cut(k - 1, L - 1)

    for k, L in itertools.product(range(9), range(6)):
        assert n["regions"](k, L) == cut(k, L)
    assert (n["regions"](5, 2), n["regions"](10, 2), n["regions"](10, 10), n["regions"](10, 12)) == (16, 56, 1024, 1024)


def test_count_patterns(n):
    features = np.random.default_rng(0).integers(0, 2, size=(300, 10))
    assert n["count_patterns"](features) == len({tuple(row) for row in features})
    counted = [n["count_patterns"]((n["heights"] > n["offsets"]).reshape(-1, 10)[:, :k]) for k in range(1, 11)]
    assert counted == [n["regions"](k, 2) for k in range(1, 11)]


def test_ppca(n):  # claims L1.11, L1.12
    x, W = np.array([1.0, 2.0]), np.array([[2.0], [1.0]])
    assert n["ppca_log_evidence"](x, W, 0.5) == pytest.approx(-5.878605828913071, abs=1e-10)
    mean, covariance = n["ppca_posterior"](x, W, 0.5)
    assert mean[0] == pytest.approx(0.7619048, abs=1e-7) and covariance[0, 0] == pytest.approx(0.0476190, abs=1e-7)
    rng = np.random.default_rng(2)
    W, x = rng.normal(size=(4, 2)), rng.normal(size=4)
    theirs = torch.distributions.LowRankMultivariateNormal(
        torch.zeros(4, dtype=torch.float64), torch.as_tensor(W), torch.full((4,), 0.49, dtype=torch.float64))
    assert n["ppca_log_evidence"](x, W, 0.7) == pytest.approx(float(theirs.log_prob(torch.as_tensor(x))), abs=1e-10)
    precision = np.linalg.inv(np.block([[np.eye(2), W.T], [W, W @ W.T + 0.49 * np.eye(4)]]))  # of (z, x) together
    mean, covariance = n["ppca_posterior"](x, W, 0.7)
    assert np.allclose(covariance, np.linalg.inv(precision[:2, :2]))
    assert np.allclose(mean, -covariance @ precision[:2, 2:] @ x)


def test_rotation_and_relabelling_change_no_evidence_but_every_latent(n):
    W, turn, x = n["W"], n["turn"], n["x"]
    assert np.allclose(turn @ turn.T, np.eye(2))
    assert n["ppca_log_evidence"](x, W, 0.5) == pytest.approx(n["ppca_log_evidence"](x, W @ turn, 0.5), abs=1e-12)
    one, two = (n["ppca_posterior"](x, weights, 0.5)[0] for weights in (W, W @ turn))
    assert np.abs(one - two).min() > 0.3 and np.allclose(one, turn @ two)
    fair, bent = n["coins_joint"](4, 5)
    assert np.allclose(n["coins_joint"](4, 5, p=(0.9, 0.5)), (bent, fair))


def test_autoregressive_model_is_a_product_of_conditionals_and_sums_to_one(n):
    rng = np.random.default_rng(1)
    A, b = np.tril(rng.normal(size=(4, 4)), -1), rng.normal(size=4)
    total = 0.0
    for x in itertools.product((0, 1), repeat=4):
        p = 1.0
        for d in range(4):
            on = 1 / (1 + math.exp(-(b[d] + sum(A[d, e] * x[e] for e in range(d)))))
            p *= on if x[d] else 1 - on
        assert n["autoregressive_log_p"](np.array(x), A, b) == pytest.approx(math.log(p), abs=1e-12)
        total += p
    assert total == pytest.approx(1)
    assert np.exp(n["autoregressive_log_p"](n["images"], n["A"], n["b"])).sum() == pytest.approx(1, abs=1e-10)
    states = list(itertools.product((0, 1), repeat=10))
    Z = sum(math.exp(sum(n["b"][d] * x[d] + sum(n["A"][d, e] * x[d] * x[e] for e in range(d)) for d in range(10)))
            for x in states)
    assert n["numerators"].sum() == pytest.approx(Z, rel=1e-9) and abs(Z - 1) > 100


# --- the prose ---


@pytest.fixture
def prose(lesson):
    return "\n".join(c.source for c in lesson("01").notebook.cells if c.cell_type == "markdown")


def test_counts_quoted_in_the_prose_are_those_of_the_functions(n, prose):
    store, add = n["numbers_to_store"](64, 10, 10), n["terms_to_add"](64, 10, 10)
    for sentence in (f"a Boltzmann machine on 64 pixels has {store[1]:.0f} parameters",
                     f"with 10 latent units has {store[2]:.0f}, the mixture with its latent class {store[3]:.0f}",
                     f"an RBM adds up $2^{{10}} = {add[2]:.0f}$ terms at $H = 10$",
                     f"Five lines make {n['regions'](5, 2)} regions, ten make {n['regions'](10, 2)}",
                     f"ten features all {n['regions'](10, 10)} do"):
        assert " ".join(sentence.split()) in " ".join(prose.split()), sentence
    assert n["relative_variance"](2.0, 0.1) == pytest.approx(float(re.search(r"\$r\$ is (\d+\.\d+)", prose).group(1)), abs=6e-3)


def test_the_gates_offer_the_truth(lesson):
    explorers = lesson("01").explorers
    truth = {"bow": 3.0, "guess_the_evidence": -500.0, "what_explodes": 2.0**64, "cut_the_plane": 16}
    for name, value in truth.items():
        assert value in explorers[name].gate._values
    n = lesson("01").namespace
    assert n["regions"](5, 2) == 16 and n["terms_to_add"](64, 10, 10)[1] == 2.0**64
    assert -1000 < np.median(n["errors"][0.1][9, 4]) < -100


def test_quiz_answers_follow_from_the_lessons_functions(n):
    questions = json.loads((build.ROOT / "quizzes/01_latent_variables.json").read_text(encoding="utf-8"))["questions"]
    assert f"{n['n_params']('fvbm', 784)}" in questions[0]["why"] and "Boltzmann" in questions[0]["options"][questions[0]["answer"]]
    assert questions[1]["options"][questions[1]["answer"]] == "exactly as wide"
    assert questions[2]["options"][questions[2]["answer"]] == "nothing"
    assert questions[4]["answer"] == pytest.approx(24 / 0.1**2)
