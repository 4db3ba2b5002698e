"""Lesson 06: its grid, its networks and its closed forms against independent computations, its explorers' invariants, its claims."""

import ast
import math
import re

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from scipy.integrate import quad
from sklearn.decomposition import PCA

from course_utils import datasets, models, training
from course_utils.checks import lesson_06 as check
from course_utils.instructor import build

td, F = torch.distributions, torch.nn.functional


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _kl_by_torch(mu, logvar):
    return td.kl_divergence(td.Normal(mu, (logvar / 2).exp()), td.Normal(0.0, 1.0)).sum(-1)


def _kl_by_numpy(mu, logvar):
    mu, logvar = np.asarray(mu), np.asarray(logvar)
    return 0.5 * np.sum(np.square(mu) + np.exp(logvar) - logvar - 1, axis=-1)


def _kl_from_lesson_03(mu, logvar):
    return models.kl_normal(np.asarray(mu), np.exp(np.asarray(logvar) / 2), 0.0, 1.0).sum(-1)


def _binomial_by_scipy(logits, x):
    return scipy.stats.binom.logpmf(np.asarray(x), 16, scipy.special.expit(np.asarray(logits))).sum(-1)


def _ppca_by_likelihood(X, k):
    """From the trace of the covariance, log det of C and the codes: no formula for the optimum."""
    pca = PCA(k, svd_solver="full").fit(X)
    scale = (len(X) - 1) / len(X)  # sklearn divides by N - 1
    lam = pca.explained_variance_ * scale
    s2 = (((X - X.mean(0))**2).sum() / len(X) - lam.sum()) / (X.shape[1] - k)
    W = pca.components_.T * np.sqrt(lam - s2)
    C = W @ W.T + s2 * np.eye(X.shape[1])
    log_lik = -0.5 * (np.linalg.slogdet(2 * np.pi * C)[1] + np.trace(np.linalg.solve(C, np.cov(X.T, bias=True))))
    return s2, log_lik, sum(math.log(math.sqrt(v / s2)) for v in lam)


VARIANTS = {
    "vae_kl": [_kl_by_torch, _kl_by_numpy, _kl_from_lesson_03],
    "bernoulli_loglik": [lambda l, x: -F.binary_cross_entropy_with_logits(l, x, reduction="none").sum(-1),
                         lambda l, x: F.logsigmoid(torch.where(x > 0, l, -l)).sum(-1),
                         lambda l, x: (np.asarray(x) * np.asarray(l) - np.logaddexp(0, np.asarray(l))).sum(-1)],
    "binomial_loglik": [_binomial_by_scipy, lambda l, x: td.Binomial(16, logits=l).log_prob(x).sum(-1)],
    "ppca_ml": [_ppca_by_likelihood, lambda X, k: np.array(_ppca_by_likelihood(X, k))],
    "active_latents": [lambda lam, sigma2, beta=1.0: sum(1 for v in lam if v / beta > sigma2),
                       lambda lam, sigma2, beta=1.0: torch.as_tensor(lam).gt(beta * sigma2).sum(),
                       lambda lam, sigma2, beta=1.0: np.count_nonzero(np.log(lam / (beta * sigma2)) > 0)],
}


# ---- what each explorer promises --------------------------------------------------------------------------------------
def number(text, before):
    """The number that follows `before` in a readout."""
    return float(re.split(r"[\s)]", text.split(before)[1].strip())[0])


def _what_it_has_learned(explorer):
    """ELBO <= log p <= -entropy, at every epoch of every model; the rate is never negative; the curves end at the epoch chosen."""
    elbo, log_p, ceiling = (number(explorer.text, k) for k in ("ELBO", "log p(x)", "ceiling"))
    assert elbo <= log_p + 0.011 and log_p <= ceiling + 0.011 and number(explorer.text, "rate") >= 0
    assert ceiling == pytest.approx({1.0: -1.46012, 1.5: -1.3282, 2.0: -1.08942}[explorer.values["w"]], abs=6e-3)
    assert len(explorer.fig.axes[1].lines[0].get_xdata()) == explorer.values["epoch"] // 3 + 1


def _two_gaps(explorer):
    """log p - ELBO is the sum of the two parts, and neither is negative."""
    log_p, elbo = number(explorer.text, "log p(x)"), number(explorer.text, "ELBO")
    parts = number(explorer.text, "approximation"), number(explorer.text, "amortisation")
    assert min(parts) >= 0 and sum(parts) == pytest.approx(log_p - elbo, abs=2.1e-3)


def _one_pixel(explorer):
    """What is lost is never negative, and is that of scipy's and torch's distributions; cross-entropy is 1/16 of the Binomial's loss."""
    x, p, sigma = explorer.values["x"], explorer.values["p_decoded"], math.exp(explorer.values["log_sigma"])
    gaussian, bernoulli, binomial = (number(explorer.text, k) for k in ("Gaussian", "Bernoulli", "Binomial"))
    assert gaussian == pytest.approx(scipy.stats.norm.logpdf(0, 0, sigma) - scipy.stats.norm.logpdf(x / 16, p, sigma), abs=6e-4)
    assert bernoulli == pytest.approx(-scipy.stats.bernoulli.logpmf(x >= 8, p), abs=6e-4)
    best = scipy.stats.binom.logpmf(x, 16, x / 16)
    assert binomial == pytest.approx(best - scipy.stats.binom.logpmf(x, 16, p), abs=6e-4) and binomial >= 0
    grey = number(explorer.text, "grey value")
    assert grey == pytest.approx(scipy.special.entr([x / 16, 1 - x / 16]).sum() + binomial / 16, abs=1e-3)


def _water(explorer):
    """Active are the eigenvalues above the water; rate and error are the minimum of the loss found axis by axis by scipy."""
    sigma2, beta = 10**explorer.values["log10_var"], explorer.values["beta"]
    lam = explorer._update.__globals__["lam"]
    assert number(explorer.text, "active") == np.sum(lam > beta * sigma2) == sum(p.get_height() > 0 for p in _hatched(explorer)) + max(
        0, np.sum(lam > beta * sigma2) - 20)
    r, e = best_axis(lam[0], sigma2, beta)
    rate, error = explorer._update.__globals__["water_filling"](lam, sigma2, beta)
    assert (rate[0], error[0]) == (pytest.approx(r, abs=1e-4), pytest.approx(e, abs=1e-4))
    assert number(explorer.text, "rate") == pytest.approx(rate.sum(), abs=6e-4)
    assert number(explorer.text, "error") == pytest.approx(np.minimum(lam, beta * sigma2).sum(), abs=6e-4)


def _hatched(explorer):
    return [p for p in explorer.fig.axes[0].patches if p.get_hatch()]


def best_axis(lam, sigma2, beta):
    """Rate and squared error on one axis at the numerical minimum over w of the β-loss with its best encoder."""
    def parts(log_w):
        w, noise = math.exp(log_w), beta * sigma2
        gain, v = w / (w * w + noise), noise / (w * w + noise)
        return 0.5 * (gain**2 * lam + v - 1 - math.log(v)), (1 - w * gain)**2 * lam + w * w * v

    def loss(log_w):
        rate, error = parts(log_w)
        return error / (2 * sigma2) + beta * rate
    best = scipy.optimize.minimize_scalar(loss, bounds=(-9, 2), method="bounded", options=dict(xatol=1e-9))
    return (0.0, lam) if loss(-20) <= best.fun + 1e-12 else parts(best.x)


INVARIANTS = {"what_it_has_learned": _what_it_has_learned, "two_gaps": _two_gaps, "one_pixel": _one_pixel, "water": _water}


# ---- the grid, the networks, the loss ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def n(lesson):
    return lesson("06").namespace


def test_the_loop_shown_is_the_loop_of_training(n, lesson):
    def body(tree, name):
        (node,) = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name == name]
        return ast.unparse(node.body[1:])

    shown = ast.parse("\n".join(c.source for c in lesson("06").notebook.cells if c.cell_type == "code"))
    with open(training.__file__, encoding="utf-8") as f:
        assert body(shown, "one_epoch") == body(ast.parse(f.read()), "one_epoch")


def test_the_models_module_repeats_the_lesson(n):
    mu, logvar = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    models.vae_kl(mu, logvar).sum().backward()
    assert torch.allclose(logvar.grad, 0.5 * (logvar.exp() - 1)) and torch.allclose(models.vae_kl(mu, logvar), _kl_by_torch(mu, logvar))


@pytest.mark.parametrize("mu, sd", [(0.0, 1.0), (1.3, 0.25), (-2.0, 0.15), (0.37, 0.1)])
def test_the_grid_is_the_integral(n, mu, sd):
    """Rate and reconstruction of a Gaussian q on the 121 values equal the closed form, as long as sd is not below the spacing."""
    truth = n["TrueBow"](1.0)
    x = torch.tensor([[0.8, 0.4]])
    recon, rate = (v.item() for v in n["elbo_parts"](truth, x, torch.tensor([mu]), torch.tensor([2 * math.log(sd)])))
    assert rate == pytest.approx(models.kl_normal(mu, sd, 0, 1), abs=2e-4)
    exact = quad(lambda z: scipy.stats.norm.pdf(z, mu, sd) * (models.bow_log_joint(np.array([0.8, 0.4]), np.array(z), 1.0, 0.25)
                                                             - scipy.stats.norm.logpdf(z)), mu - 9 * sd, mu + 9 * sd, limit=200)[0]
    assert recon == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("x", [(1.0, 0.5), (0.0, 2.0), (0.0, 1.0), (-2.0, 0.3)])
@pytest.mark.parametrize("w", [1.0, 2.0])
def test_evidence_on_the_grid(n, x, w):
    exact = models.bow_posterior(np.array(x), np.linspace(-9, 9, 6001), w, 0.25)[1]
    assert n["log_evidence"](n["TrueBow"](w), torch.tensor([x])).item() == pytest.approx(exact, abs=1e-3)


def test_the_elbo_never_exceeds_the_evidence_whatever_the_encoder_says(n):
    """Even for a q far narrower than the grid's spacing, or far outside it: it stays a list of probabilities."""
    truth, x = n["TrueBow"](1.5), torch.tensor([[0.3, 1.1]])
    for mu, logvar in [(0.05, -20.0), (0.123, -8.0), (50.0, -3.0), (-7.0, 10.0), (0.0, 3.0)]:
        recon, rate = n["elbo_parts"](truth, x, torch.tensor([mu]), torch.tensor([logvar]))
        assert (recon - rate).item() <= n["log_evidence"](truth, x).item() + 1e-5 and rate.item() >= -1e-5


@pytest.mark.parametrize("w, value", [(0.0, 1.4818950), (1.0, 1.4601249), (2.0, 1.0894177)])
def test_entropies(n, w, value):  # claims B.1, B.2
    assert n["entropy"][w] == pytest.approx(value, abs=2e-4)


def test_entropy_on_another_mesh(n):  # claim B.2, w = 1.5 too, by scipy's adaptive rule in polar coordinates about the centre
    for w in (1.5, 2.0):
        z = np.linspace(-7, 7, 801)
        curve, prior = models.bow_curve(z, w), scipy.stats.norm.pdf(z) * (z[1] - z[0])

        def density(r, a):
            x = np.array([r * math.cos(a), 1 / w + r * math.sin(a)])
            return float(prior @ np.exp(-((x - curve)**2).sum(1) / 0.125)) / (2 * math.pi * 0.0625)

        def integrand(r, a):
            p = density(r, a)
            return -r * p * math.log(p + 1e-300)
        r, wr = np.polynomial.legendre.leggauss(60)
        r, wr = 1.25 * (r + 1), 1.25 * wr
        angles = np.linspace(0, 2 * math.pi, 80, endpoint=False)
        total = sum(wr[i] * integrand(r[i], a) for i in range(60) for a in angles) * 2 * math.pi / 80
        assert n["entropy"][w] == pytest.approx(total, abs=5e-4)


def test_warm_up_weighs_the_rate_alone(n):
    vae, x = n["untrained"], n["points"][:7]
    recon, rate = n["elbo_parts"](vae, x, *vae.encode(x))
    assert n["negative_elbo"](vae, x, 0.3).item() == pytest.approx((0.3 * rate - recon).mean().item(), abs=1e-6)
    assert n["negative_elbo"](vae, x).item() == pytest.approx(-(recon - rate).mean().item(), abs=1e-6)


# ---- trained Bow VAEs -------------------------------------------------------------------------------------------------
def test_rulers_of_all_snapshots(n):  # claim L7.18: no model beats the entropy, and the ELBO is below log p
    for (w, _), (_, snapshots) in n["trained"].items():
        assert len(snapshots) == 21
        for s in snapshots:
            assert s["elbo"] <= s["log_p"] + 1e-4 and s["log_p"] <= -n["entropy"][w] + 1e-4 and s["rate"] >= -1e-4


def test_gap_decomposition(n):  # claim L7.17: an identity, both parts >= 0
    with torch.no_grad():
        whole = (n["log_evidence"](n["vae"], n["some"]) - n["of_encoder"]).mean().item()
    assert n["approximation"].item() + n["amortisation"].item() == pytest.approx(whole, abs=1e-5)
    assert n["approximation"].item() > 0 and n["amortisation"].item() > 0


@pytest.mark.parametrize("x, gap", [((0.9, 0.4), None), ((0.0, 2.0), 0.693408), ((0.0, 1.0), 0.0)])
def test_the_lattice_finds_the_best_gaussian(n, x, gap):  # claims B.4, B.5: gap log 2 at the top, 0 at the centre
    truth, point = n["TrueBow"](1.0), torch.tensor([x])
    best = n["best_gaussian"](truth, point)[0].item()
    z = np.linspace(-8, 8, 1601)
    joint = models.bow_log_joint(np.array(x), z, 1.0, 0.25)

    def minus(v):
        q = scipy.stats.norm.pdf(z, v[0], math.exp(v[1]))
        return -np.trapezoid(q * (joint - scipy.stats.norm.logpdf(z, v[0], math.exp(v[1]))), z)
    exact = -min(scipy.optimize.minimize(minus, start, method="Nelder-Mead", options=dict(xatol=1e-5, fatol=1e-8)).fun
                 for start in ([-2.5, -1.4], [2.5, -1.4], [0.0, 0.0], [1.0, -1.4]))
    assert best == pytest.approx(exact, abs=4e-3)
    if gap is not None:
        assert n["log_evidence"](truth, point).item() - best == pytest.approx(gap, abs=4e-3)


def test_the_elbo_ranks_the_collapsed_model_above_the_truth_on_the_ring(n):  # claim L7.19
    for w in (1.0, 1.5, 2.0):
        true, bound, blob = -n["entropy"][w], n["best_mean_elbo"](w), n["collapsed_elbo"](w)
        assert blob < true and bound < true + 1e-3
        assert (blob > bound) == (w == 2.0)
    x, _ = datasets.bow(200_000, w=2.0, rng=np.random.default_rng(0))
    by_samples = -math.log(2 * math.pi * math.e * x.var(0).mean())
    assert n["collapsed_elbo"](2.0) == pytest.approx(by_samples, abs=0.01)


def test_warm_up(n):  # claim L7.22: escapes collapse; on the ring with a worse ELBO; at w = 1.5 with more than 0.4 nats more rate
    ends = n["ends"]
    assert ends[2.0, True]["rate"] > 0.1 > ends[2.0, False]["rate"] and ends[2.0, True]["elbo"] < ends[2.0, False]["elbo"]
    assert ends[1.5, True]["rate"] > ends[1.5, False]["rate"] + 0.4 and ends[1.5, True]["elbo"] > ends[1.5, False]["elbo"]


def test_training_from_the_truth_leaves_it(n):  # the troubleshooting table's last row
    before, after = n["path"]
    assert after["elbo"] > before["elbo"] + 0.05 and after["log_p"] < before["log_p"] - 0.002
    assert before["log_p"] == pytest.approx(-n["entropy"][2.0], abs=1e-3)


# ---- likelihoods ------------------------------------------------------------------------------------------------------
def test_binomial_and_grey_cross_entropy(n):  # claim L7.14
    logit = torch.tensor([math.log(0.3 / 0.7)], dtype=torch.float64)
    assert n["binomial_loglik"](logit, torch.tensor([5.0], dtype=torch.float64)).item() == pytest.approx(-1.5612279, abs=1e-5)
    assert n["log_choose"] == pytest.approx(8.3820605, abs=1e-6) == pytest.approx(math.log(math.comb(16, 5)))
    assert n["cross"](0.3, 0.3) == pytest.approx(0.6108643, abs=1e-7)
    assert sum(math.exp(n["binomial_loglik"](logit, torch.tensor([float(k)])).item()) for k in range(17)) == pytest.approx(1, abs=1e-5)
    assert n["bernoulli_loglik"](torch.tensor([2.0, -1, 0.5]), torch.tensor([1.0, 0, 1])).item() == pytest.approx(-0.9142667, abs=1e-6)


@pytest.mark.parametrize("lam, C", [(0.2, 2.3104906), (0.4, None), (0.7, None)])
def test_continuous_bernoulli(n, lam, C):  # claim L7.13
    formula = 2 * math.atanh(1 - 2 * lam) / (1 - 2 * lam)
    area = quad(lambda x: math.exp(-n["cross"](x, lam)), 0, 1)[0]
    assert 1 / area == pytest.approx(formula, abs=1e-9)
    theirs = td.ContinuousBernoulli(torch.tensor(lam, dtype=torch.float64))._cont_bern_log_norm().item()
    assert math.log(formula) == pytest.approx(theirs, abs=1e-9)
    if C:
        assert formula == pytest.approx(C, abs=1e-7) and math.log(formula) == pytest.approx(0.8374599, abs=1e-7)


def test_images_under_three_likelihoods(n):
    flat = math.sqrt(n["sigma2_flat"])
    gaussian = scipy.stats.norm.logpdf(n["X"], n["mean_pixel"], flat).sum(1).mean()
    assert gaussian == pytest.approx(-32 * math.log(2 * math.pi * math.e * n["sigma2_flat"]), abs=1e-9)
    p = n["bits"].mean(0)
    bernoulli = scipy.stats.bernoulli.logpmf(n["bits"], p).sum(1).mean()
    assert -n["per_pixel"].sum(1).mean() == pytest.approx(bernoulli, abs=1e-9)


# ---- the linear VAE ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def X():
    return datasets.digits()[0] / 16


REFERENCE = {1: (0.0634035, -3.7484636, 1.1999634), 2: (0.0541170, 0.0057067, 2.5136573), 5: (0.0361968, 8.9076367, 6.4813926),
             10: (0.0227514, 17.4519470, 12.7961409), 20: (0.0112742, 27.2773, 25.4382690)}


@pytest.mark.parametrize("k", REFERENCE)
def test_ppca(n, X, k):  # claims L7.1, L7.4, L7.12: closed form against scipy's density, and the reference values
    s2, log_lik, rate = n["ppca_ml"](X, k)
    assert (s2, rate) == (pytest.approx(REFERENCE[k][0], abs=1e-7), pytest.approx(REFERENCE[k][2], abs=1e-6))
    assert log_lik == pytest.approx(REFERENCE[k][1], abs=1e-4) == pytest.approx(check._ppca(X, k)[1], abs=1e-6)
    assert PCA(k, svd_solver="full").fit(X).score(X) == pytest.approx(log_lik, abs=0.02)  # claim L7.3


@pytest.mark.parametrize("k", [2, 10])
def test_the_elbo_of_the_linear_vae_is_the_likelihood(n, X, k):  # claims L7.2, L7.5, and L7.4 through the lesson's own functions
    s2, log_lik, rate = models.ppca_ml(X, k)
    W = n["axes"][:, :k] * np.sqrt(n["lam"][:k] - s2)
    M = np.diag(W.T @ W) + s2
    A, logvar = torch.tensor(W / M), torch.tensor(np.log(s2 / M))
    log_s = torch.tensor(0.5 * math.log(s2), dtype=torch.float64)
    recon, kl = (v.item() for v in n["linear_elbo_parts"](A, logvar, torch.tensor(W), log_s))
    assert recon - kl == pytest.approx(log_lik, abs=1e-8) and kl == pytest.approx(rate, abs=1e-8)
    aggregate = A.T @ n["S"] @ A + torch.diag(logvar.exp())
    assert torch.allclose(aggregate, torch.eye(k, dtype=torch.float64), atol=1e-10)


def test_linear_elbo_is_the_mean_over_images(n, X):
    rng = np.random.default_rng(0)
    A, W, logvar = rng.normal(size=(64, 3)) / 9, rng.normal(size=(64, 3)) / 9, rng.normal(size=3)
    centred, s2 = X - X.mean(0), 0.3
    mu, v = centred @ A, np.exp(logvar)
    squared = ((centred - mu @ W.T)**2).sum(1) + (v * (W**2).sum(0)).sum()
    recon, rate = n["linear_elbo_parts"](*(torch.tensor(t) for t in (A, logvar, W)), torch.tensor(0.5 * math.log(s2), dtype=torch.float64))
    assert recon.item() == pytest.approx((-squared / (2 * s2) - 32 * math.log(2 * math.pi * s2)).mean(), abs=1e-9)
    assert rate.item() == pytest.approx(_kl_by_numpy(mu, np.broadcast_to(logvar, mu.shape)).mean(), abs=1e-9)


def test_trained_linear_vae_reaches_ppca(n):  # claim L7.2, trained
    (_, _, W, log_s), (recon, rate) = n["train_linear"](2, steps=1200)
    assert recon - rate == pytest.approx(0.0057067, abs=1e-6) and math.exp(2 * log_s) == pytest.approx(0.054117, abs=1e-5)


def test_the_diagonal_encoder_selects_the_axes(n):  # claim L7.6
    W, s2 = n["W_turn"], n["lam"][2:].mean()
    rng = np.random.default_rng(0)
    assert n["diagonal_gap"](W, s2) == pytest.approx(0, abs=1e-10)
    R = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    covariance = s2 * np.linalg.inv(R.T @ W.T @ W @ R + s2 * np.eye(2))
    precision = np.linalg.inv(covariance)
    best = td.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.tensor(np.diag(1 / np.diag(precision))))
    exact = td.kl_divergence(best, td.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.tensor(covariance))).item()
    assert n["diagonal_gap"](W @ R, s2) == pytest.approx(exact, abs=1e-9) and exact > 0.005


@pytest.mark.parametrize("sigma2, beta, active, rate, recon", [
    (0.3, 1.0, 4, 1.2444866, -26.2965974), (0.65, 1.0, 1, 0.0362367, -48.5996433), (0.75, 1.0, 0, 0.0, None),
    (0.25, 2.0, 3, 0.3410719, -23.0540469), (32.0, 1.0, 0, 0.0, None)])
def test_trained_linear_vaes_fill_the_water(n, sigma2, beta, active, rate, recon):  # claims L7.7, L7.8, L7.9, L7.10, L7.11
    (_, logvar, W, _), (r, k) = n["train_linear"](8, sigma2, beta)
    assert int((logvar < -1e-3).sum()) == active == n["active_latents"](n["lam"], sigma2, beta)
    closed_rate, error = n["water_filling"](n["lam"], sigma2, beta)
    assert k == pytest.approx(closed_rate.sum(), abs=2e-3) == pytest.approx(rate, abs=2e-3)
    assert r == pytest.approx(-0.5 * (64 * math.log(2 * math.pi * sigma2) + error.sum() / sigma2), abs=2e-3)
    assert recon is None or r == pytest.approx(recon, abs=2e-3)


@pytest.mark.parametrize("sigma2, beta, active", [(0.05, 1, 18), (0.1, 1, 12), (0.3, 1, 4), (0.5, 1, 3), (0.65, 1, 1), (0.75, 1, 0),
                                                  (0.1, 2, 7), (0.1, 4, 3), (0.1, 8, 0), (0.6, 1, 2)])
def test_how_many_live_on_the_digits(n, sigma2, beta, active):  # claims L7.7, L7.9, L7.12 and the curriculum's table
    assert n["active_latents"](n["lam"], sigma2, beta) == active


@pytest.mark.parametrize("lam, sigma2, beta", [(0.7, 0.3, 1), (0.7, 0.1, 4), (0.2, 0.5, 1), (3.0, 0.7, 2), (0.5, 0.5, 1)])
def test_water_filling_is_the_minimum(n, lam, sigma2, beta):  # claims L7.8, L7.9
    rate, error = n["water_filling"](np.array([lam]), sigma2, beta)
    r, e = best_axis(lam, sigma2, beta)
    assert rate[0] == pytest.approx(r, abs=1e-5) and error[0] == pytest.approx(e, abs=1e-5)


def test_mean_over_pixels_is_a_noise_of_half_the_pixels(n):  # claim L7.10
    x, x_hat = torch.rand(5, 64), torch.rand(5, 64)
    expected = -td.Normal(x_hat, math.sqrt(32)).log_prob(x).sum(1).mean() - 32 * math.log(2 * math.pi * 32)
    assert F.mse_loss(x_hat, x).item() == pytest.approx(expected.item(), abs=1e-3)
    assert n["lam"][0] < 0.7 < 32


def test_vae_kl_reference_values(n):  # claim L7.16
    assert n["vae_kl"](np.array([0.5, -1.0]), np.array([0.0, -1.0])) == pytest.approx(0.8089397205857212, abs=1e-12)
    assert n["vae_kl"](np.zeros(4), np.zeros(4)) == 0
    wrong = {m.name: float(m.wrong(*check.vae_kl.cases[0])) for m in check.vae_kl.mutants}
    table = {"no half": 1.6178794, "logvar as log sd": 1.1926676, "mean": 0.4044699, "sign of logvar": -0.1910603}
    for name, value in table.items():
        assert wrong[name] == pytest.approx(value, abs=1e-6)


def test_no_solution_is_used_by_the_lesson(lesson):
    """The student's copy has stubs: nothing outside an exercise's own cell and check may call them."""
    nb, _ = build.read(lesson("06").path)
    for cell in nb.cells:
        if cell.cell_type == "code" and "NotImplementedError" not in cell.source and not cell.source.startswith("check."):
            for name in VARIANTS:
                assert not re.search(rf"(?<![\w.]){name}\(", cell.source), f"{name} in\n{cell.source}"
