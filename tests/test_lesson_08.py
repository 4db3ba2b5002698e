"""Lesson 08: draws, densities and gaps against independent numbers, the orderings of its trained numbers, its explorers' invariants."""

import inspect
import math
import re

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from course_utils import models
from course_utils.checks import lesson_08 as check

td, F = torch.distributions, torch.nn.functional


# ---- correct answers in other styles ----------------------------------------------------------------------------------
def _rd_by_torch(log_lik, log_prior, log_q, beta):
    D, R = -torch.tensor(log_lik).mean(), (torch.tensor(log_q) - torch.tensor(log_prior)).mean()
    return D, R, D + beta * R


def _log_p_by_scipy(logw):
    log_p = scipy.special.logsumexp(logw) - math.log(len(logw))
    return log_p, np.sqrt((np.exp(2 * (logw - log_p)).mean() - 1).clip(0) / len(logw))


VARIANTS = {
    "rate_distortion": [_rd_by_torch, lambda ll, lp, lq, beta: np.array([-ll.mean(0).mean(), lq.mean() - lp.mean(),
                                                                         (beta * (lq - lp) - ll).mean()])],
    "active_units": [lambda mu, threshold=0.01: np.sum(np.asarray(mu).std(0)**2 > threshold),
                     lambda mu, threshold=0.01: torch.tensor(mu).var(0, correction=0).gt(threshold).sum()],
    "log_p_estimate": [_log_p_by_scipy, lambda w: (models.log_mean_exp(w),
                                                   np.std(np.exp(w - w.max())) / np.mean(np.exp(w - w.max())) / len(w)**0.5)],
    "iwae_loss": [lambda w: -(torch.log(torch.exp(w - w.max(0).values).mean(0)) + w.max(0).values).mean(),
                  lambda w: -sum(torch.logsumexp(w[:, b], 0) - math.log(w.shape[0]) for b in range(w.shape[1])) / w.shape[1]],
}


# ---- what each explorer promises --------------------------------------------------------------------------------------
def number(text, before):
    """The number that follows `before` in a readout."""
    return float(re.match(r"\s*(-?\d+\.?\d*)", text.split(before, 1)[1]).group(1))


def _names(explorer):
    return inspect.unwrap(explorer._update).__globals__


def _one_pixel_many_scans(explorer):
    """The five means are those of scipy's distributions over the 1,500 scans; no claim's curve sums to more than one."""
    v, n = explorer.values, _names(explorer)
    seen = n["counts"][n["learn"], 8 * (v["row"] - 1) + v["column"] - 1]
    normal, dots = scipy.stats.norm(v["p"], v["s"]), scipy.stats.binom(16, v["p"])
    low, high = np.where(seen == 0, -np.inf, (seen - 0.5) / 16), np.where(seen == 16, np.inf, (seen + 0.5) / 16)
    with np.errstate(divide="ignore"):
        counts = [np.log(normal.cdf(high) - normal.cdf(low)).clip(math.log(1e-300)).mean(), dots.logpmf(seen).mean()]
    dark = np.clip([normal.sf(7.5 / 16), dots.sf(7), v["p"]], 1e-12, 1 - 1e-12)
    bits = (seen >= 8).mean() * np.log(dark) + (seen < 8).mean() * np.log1p(-dark)
    got = [float(x) for x in re.findall(r"(?:Gaussian|Binomial|Bernoulli) (-?[\d.]+)", explorer.text)]
    assert got == pytest.approx([*counts, *bits], abs=0.0052, rel=1e-3)
    assert all(line.get_ydata().sum() <= 1 + 1e-9 for line in explorer.fig.axes[0].lines)


def _walk_in_the_plane(explorer):
    """The share of the prior further out is the chi-square tail; the nearest code is the nearest; the picture is the decoder's."""
    v, n = explorer.values, _names(explorer)
    z = np.array([v["z1"], v["z2"]])
    share = float(re.search(r"([\d.]+) % of draws", explorer.text).group(1))
    assert share == pytest.approx(100 * scipy.stats.chi2.sf((z**2).sum(), 2), abs=0.051)
    distances = np.linalg.norm(n["codes"][v["likelihood"]] - z, axis=1)
    assert number(explorer.text, ",") == pytest.approx(distances.min(), abs=0.0051)
    assert int(number(explorer.text, "a ")) == n["labels"][n["judge"]][distances.argmin()]
    drawn = np.asarray(explorer.fig.axes[1].images[0].get_array())
    out = n["planes"][v["likelihood"]].decoder(torch.tensor(z, dtype=torch.float32).reshape(1, 1, 1, 2)).detach().numpy().reshape(8, 8)
    assert drawn == pytest.approx(out if v["likelihood"] == "Gaussian" else 1 / (1 + np.exp(-out)), abs=1e-5)


def _codes_over_the_prior(explorer):
    """Rate = told + away, neither negative; all codes together are a density."""
    rate, told, away = (number(explorer.text, k) for k in ("rate", "image", "prior"))
    assert rate == pytest.approx(told + away, abs=1.6e-3) and min(told, away) >= -0.001
    density = np.asarray(explorer.fig.axes[1].images[0].get_array())
    assert density.sum() * 0.05**2 == pytest.approx(1, abs=0.03)


def _beta_dial(explorer):
    """ELBO = -(D + R); the line has slope -beta and passes through the point."""
    beta, rate, distortion, elbo = (number(explorer.text, k) for k in ("β =", "rate", "distortion", "ELBO"))
    assert elbo == pytest.approx(-rate - distortion, abs=0.0151)
    (x0, x1), (y0, y1) = explorer.fig.axes[0].lines[1].get_data()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(-beta) and (y0 + y1) / 2 == pytest.approx(distortion, abs=0.0051)
    assert (x0 + x1) / 2 == pytest.approx(rate, abs=0.0051)


def _sleeping_latents(explorer):
    """The count is that of the bars above the dotted line, and the rates sum to the rate."""
    heights = np.array([b.get_height() for b in explorer.fig.axes[0].patches])
    assert int(number(explorer.text, "passes:")) == (heights > 0.1).sum() and heights.min() >= 0
    if heights.max() < 2.2:
        assert number(explorer.text, "rate") == pytest.approx(heights.sum(), abs=0.0051)


def _ruler_of_a_digit(explorer):
    """log p - ELBO is the sum of two gaps, neither negative; the estimate is the log-mean-exp of the first K weights."""
    log_p, elbo, best = (number(explorer.text, k) for k in ("from all", "ELBO", "of q*"))
    parts = number(explorer.text, "approximation"), number(explorer.text, "amortisation")
    assert min(parts) >= 0 and sum(parts) == pytest.approx(log_p - elbo, abs=0.021) and elbo <= best <= log_p
    K, i = 2**explorer.values["doublings"], explorer.values["digit"] - 1
    w = _names(explorer)["log_w"]["best"][:K, i]
    assert number(explorer.text, "log p") == pytest.approx(scipy.special.logsumexp(w) - math.log(K), abs=0.0051)


def _bound_and_likelihood(explorer):
    """Gap = log p - ELBO > 0, for the means and for each start's ruler."""
    log_p, elbo, gap = (number(explorer.text, k) for k in ("log p(x)", "ELBO", "gap"))
    assert gap == pytest.approx(log_p - elbo, abs=0.0151) and gap > 0
    for ax in explorer.fig.axes:
        green, hatched = ax.patches
        assert green.get_x() + green.get_width() == pytest.approx(hatched.get_x()) and hatched.get_width() > 0


INVARIANTS = {"one_pixel_many_scans": _one_pixel_many_scans, "walk_in_the_plane": _walk_in_the_plane,
              "codes_over_the_prior": _codes_over_the_prior, "beta_dial": _beta_dial, "sleeping_latents": _sleeping_latents,
              "ruler_of_a_digit": _ruler_of_a_digit, "bound_and_likelihood": _bound_and_likelihood}


@pytest.fixture(scope="module")
def n(lesson):
    return lesson("08").namespace


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the model --------------------------------------------------------------------------------------------------------
def test_likelihoods_are_those_of_torch(n):
    out, s = torch.randn(3, 5, 64, generator=generator()), torch.tensor(0.3)
    counts = torch.randint(0, 17, (5, 64), generator=generator()).float()
    bits = (counts >= 8).float()
    assert torch.allclose(n["log_likelihood"]("Bernoulli", out, bits, 0), td.Bernoulli(logits=out).log_prob(bits).sum(-1), atol=1e-3)
    assert torch.allclose(n["log_likelihood"]("Binomial", out, counts, 0), td.Binomial(16, logits=out).log_prob(counts).sum(-1), atol=1e-2)
    assert torch.allclose(n["log_likelihood"]("Gaussian", out, counts / 16, s.log()), td.Normal(out, s).log_prob(counts / 16).sum(-1),
                          rtol=1e-4)


def test_copies_side_by_side_are_separate_networks(n):
    """Copy i of three gives what a network with its weights alone gives, and a loss of one leaves the others' gradients 0."""
    three, one = n["DeepVAE"](copies=3, seed=2), n["DeepVAE"](copies=1)
    one.load_state_dict({k: v[1:2].clone() for k, v in three.state_dict().items()})
    x, z = n["x_test"]["Bernoulli"][:6], torch.randn(1, 4, 6, 10, generator=generator())
    assert torch.allclose(three.encode(x)[0][1], one.encode(x)[0][0], atol=1e-6)
    assert torch.allclose(three.decoder(z.expand(3, -1, -1, -1))[1], one.decoder(z)[0], atol=1e-5)
    log_lik, log_ratio, _ = n["draw"](three, x, 2, generator())
    (log_lik + log_ratio)[1].sum().backward()
    for p in three.parameters():
        if p.grad is not None:
            assert p.grad[[0, 2]].abs().sum() == 0
    assert sum(p.grad[1].abs().sum() for p in three.parameters() if p.grad is not None) > 0


def test_draws_have_the_right_log_weights(n):
    """log p(z) - log q(z | x) by torch.distributions, from the same noise."""
    vae, x = n["ten"], n["x_test"]["Bernoulli"][:3]
    with torch.no_grad():
        log_lik, log_ratio, rate = n["draw"](vae, x, 7, generator(3))
        mu, logvar = vae.encode(x)
        z = mu[:, None] + (logvar / 2).exp()[:, None] * torch.randn(1, 7, 3, 10, generator=generator(3))
        expected = td.Normal(0, 1).log_prob(z).sum(-1) - td.Normal(mu[:, None], (logvar / 2).exp()[:, None]).log_prob(z).sum(-1)
        assert torch.allclose(log_ratio, expected, atol=1e-3)
        assert torch.allclose(log_lik, td.Bernoulli(logits=vae.decoder(z)).log_prob(x).sum(-1), atol=1e-3)
        assert torch.allclose(rate, td.kl_divergence(td.Normal(mu, (logvar / 2).exp()), td.Normal(0, 1)).sum(-1), atol=1e-4)


def test_importance_sampling_against_a_grid(n):
    """Two latents, so log p(x) is a sum over a grid: no encoder, no draws."""
    vae, x = n["planes"]["Bernoulli"], n["x_test"]["Bernoulli"][:20]
    axis = torch.linspace(-5, 5, 161)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        out = vae.decoder(z[None, None])[0, 0].double()
        log_lik = x.double() @ F.logsigmoid(out).T + (1 - x.double()) @ F.logsigmoid(-out).T
        by_grid = torch.logsumexp(log_lik + torch.log_softmax(-(z.double()**2).sum(1) / 2, 0), 1)
        log_lik, log_ratio, _ = n["draw"](vae, x, 4000, generator())
        by_draws = torch.logsumexp((log_lik + log_ratio)[0].double(), 0) - math.log(4000)
    short = by_grid - by_draws  # a mode that q overlooks makes an estimate too low, never too high
    assert short.abs().median() < 0.1 and (short.abs() < 0.25).sum() >= 17 and short.min() > -0.25 and short.mean() < 0.2
    got = n["evaluate"](vae, x, 500, 0)
    assert got["log_p"].item() == pytest.approx(by_grid.mean().item(), abs=0.3) and got["elbo"].item() < got["log_p"].item()


def test_the_three_likelihoods_give_the_same_kind_of_probability(n):
    """P(dark) and P(count) by scipy; the probabilities of all counts sum to one."""
    out = np.linspace(-3, 3, 13)
    p = scipy.special.expit(out)
    assert n["probability_of_dark"]("Binomial", out, 0) == pytest.approx(scipy.stats.binom.sf(7, 16, p), abs=1e-4)
    assert n["probability_of_dark"]("Gaussian", p, 0.2) == pytest.approx(scipy.stats.norm.sf(7.5 / 16, p, 0.2))
    rows = n["probability_of_counts"](p[:, None], 0.2, np.arange(17))
    assert rows.sum(1) == pytest.approx(1) and rows.min() >= 0
    assert rows[:, 8:].sum(1) == pytest.approx(n["probability_of_dark"]("Gaussian", p, 0.2))


def test_the_confident_binomial_loses_on_both_events(n):
    fair, flat = n["fair"], n["flat"]
    assert fair["Bernoulli"][0] > flat + 1 and fair["Gaussian"][0] > flat + 1 and fair["Binomial"][0] < flat
    assert fair["Gaussian"][1] > fair["Binomial"][1] + 10


def test_surgery_of_the_codes(n):
    for (mu, lv), (rate, away), density in zip(n["encoded"], n["surgery"], n["together"]):
        assert -1e-3 <= away <= rate + 1e-3 and rate - away < math.log(1500)
        assert density.sum() * 0.05**2 == pytest.approx(1, abs=0.03)
        q = scipy.stats.norm.pdf(0.5, mu[:, 0], np.exp(lv[:, 0] / 2)) * scipy.stats.norm.pdf(-1.0, mu[:, 1], np.exp(lv[:, 1] / 2))
        assert density[80, 110] == pytest.approx(q.mean(), rel=1e-6)


# ---- trained numbers: orderings and bounds only -----------------------------------------------------------------------
def test_rate_distortion_curve(n):  # claim L7.21
    assert (np.diff(n["R"]) < 0).all() and (np.diff(n["D"]) > 0).all()
    assert n["each_rate"].sum(1) == pytest.approx(n["R"], abs=1e-3)
    assert n["R"][-1] < 0.5 and n["D"][-1] == pytest.approx(-n["flat"], abs=1)


def test_gaps_of_digits(n):  # claim L7.20: L[q_phi] < L[q*] < log p
    assert (n["elbos"]["encoder"] < n["elbos"]["best"]).all() and (n["elbos"]["best"] < n["log_p"]).all()
    assert n["error"].max() < 0.2 and (np.abs(n["by_encoder"] - n["log_p"]) < 0.5).all()


def test_the_best_gaussian_is_not_far_from_the_optimum(n):
    """Twice as many steps with more draws gain next to nothing."""
    x, best = n["some"][:3], {k: v[:, :3] for k, v in n["best"].items()}
    more = n["best_gaussians"](n["ten"], x, 600)
    with torch.no_grad():
        ours, longer = (n["log_weights"](n["ten"], x, q["mu"], q["logvar"], 4096, 1).mean(0) for q in (best, more))
    assert (longer - ours).abs().max() < 0.1


def test_error_of_log_p_by_groups_and_by_the_delta_method(n):
    by_delta = [check.log_p_estimate.oracle(w)[1] for w in n["log_w"]["best"].T]
    assert np.mean(by_delta) == pytest.approx(n["error"].mean(), rel=0.5)


def test_warm_up(n):
    assert n["in_use"][-1, 3:6].min() > n["in_use"][-1, :3].max() and n["gain"]["log_p"] > max(0, n["gain"]["elbo"] + 0.1)


def test_the_table(n):
    t = n["table"]
    assert (np.diff(t["VAE", 1]["log_p"]) != 0).all(), "three different starts"
    for cell in t.values():
        assert (cell["elbo"] < cell["log_p"]).all() and cell["log_p"].shape == (3,) and (cell["log_p"] > -25.21).all()
    assert (t["IWAE", 50]["log_p"] > t["VAE", 1]["log_p"] + 0.3).all() and (t["IWAE", 50]["elbo"] < t["VAE", 1]["elbo"] - 1).all()
    assert t["VAE", 50]["elbo"].mean() > t["VAE", 1]["elbo"].mean()


def test_the_surrogate_has_the_gradient_of_the_bound(n):
    for objective, share in (("VAE", 0.0), ("IWAE", 1.0), ("both", torch.tensor([0.0, 1.0])[:, None, None])):
        grads = []
        for direct in (False, True):
            vae, x = n["DeepVAE"](hidden=(16,), copies=2, seed=1), n["x_train"]["Bernoulli"][:8]
            if direct:
                log_lik, log_ratio, _ = n["draw"](vae, x, 5, generator(2))
                w = log_lik + log_ratio
                bounds = {"VAE": w.mean(1), "IWAE": torch.logsumexp(w, 1)}
                bounds["both"] = torch.stack([bounds["VAE"][0], bounds["IWAE"][1]])
                loss = -bounds[objective].mean(-1).sum()
            else:
                loss = n["weighted_loss"](vae, x, 5, share, generator(2))
            loss.backward()
            grads.append(torch.cat([p.grad.flatten() for p in vae.parameters() if p.grad is not None]))
        assert torch.allclose(*grads, atol=1e-5)
