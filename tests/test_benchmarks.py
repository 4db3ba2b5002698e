"""The benchmarks of training: their objectives against the lessons' functions and closed forms; a long run that survives a stop."""

import json
import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from benchmarks import iwae, training
from course_utils import models

CPU = torch.device("cpu")


@pytest.fixture
def grey():
    """A few pictures: grey levels that have something to be learned, (400, 784) in [0, 1]."""
    rng = np.random.default_rng(0)
    shapes = rng.random((3, 784)) < 0.2
    return torch.as_tensor(0.9 * shapes[rng.integers(3, size=400)], dtype=torch.float32)


# --- the IWAE paper's table ---

def test_the_likelihood_in_few_passes_is_the_lessons():
    logits, x = torch.randn(3, 4, 7, dtype=torch.double, requires_grad=True), (torch.rand(3, 7) < 0.5).double()
    assert torch.autograd.gradcheck(iwae.BernoulliLogLik.apply, (logits, x))
    assert torch.allclose(iwae.BernoulliLogLik.apply(logits, x), models.bernoulli_loglik(logits, x[:, None]))
    far = torch.tensor([[[500.0, -500.0]]], requires_grad=True)  # a pixel that is as wrong as can be still has a gradient
    iwae.BernoulliLogLik.apply(far, torch.tensor([[0.0, 1.0]])).sum().backward()
    assert far.grad.tolist() == [[[-1.0, 1.0]]]


def test_log_weights_and_both_bounds():
    torch.manual_seed(0)
    model, x = iwae.OneLayer(torch.full((784,), 0.1)), (torch.rand(5, 784) < 0.1).float()
    log_w = model.log_weights(x, 7, torch.Generator().manual_seed(1))
    mu, log_sigma = model.q(x)
    q = Normal(mu[:, None], log_sigma.exp()[:, None])
    z = q.mean + q.stddev * torch.randn(5, 7, iwae.LATENT, generator=torch.Generator().manual_seed(1))
    independent = (Bernoulli(logits=model.decoder(z)).log_prob(x[:, None]).sum(-1) + Normal(0.0, 1.0).log_prob(z).sum(-1)
                   - q.log_prob(z).sum(-1))
    assert torch.allclose(log_w, independent, atol=1e-3)
    assert iwae.bound(log_w, "VAE").item() == pytest.approx(independent.mean().item(), abs=1e-3)
    by_lesson_05 = models.iwae_from_logw(independent.detach().double().numpy()).mean()
    assert iwae.bound(log_w, "IWAE").item() == pytest.approx(by_lesson_05, abs=1e-3)
    assert iwae.bound(log_w, "IWAE") > iwae.bound(log_w, "VAE")


def test_the_estimate_of_log_p_where_it_is_known(grey):
    model = iwae.OneLayer(grey.mean(0))
    with torch.no_grad():
        for net in (model.encoder, model.decoder):
            net[-1].weight.zero_()           # z means nothing, and q is the prior: p(x) is a product over pixels
    x = torch.bernoulli(grey[:4], generator=torch.Generator().manual_seed(0))
    nll, negative_elbo, used = iwae.evaluate(model, x, samples=20, chunk=8)
    exact = -Bernoulli(logits=model.decoder[-1].bias).log_prob(x).sum(-1).detach().numpy()
    assert nll == pytest.approx(exact, rel=1e-5) and negative_elbo == pytest.approx(exact, rel=1e-5) and used == 0


def test_the_paper_s_ladder_of_learning_rates_and_the_short_one():
    rates = np.array([iwae.learning_rate(p / 3280, 3280) for p in range(3280)])
    levels, passes = np.unique(-np.round(np.log10(rates) + 3, 6), return_counts=True)
    assert passes.tolist() == [3**i for i in range(8)] and levels == pytest.approx(np.arange(8) / 7, abs=1e-5)
    assert [iwae.learning_rate(d, 20) for d in (0, 0.5, 1)] == pytest.approx([1e-3, 10**-3.5, 1e-4])


@pytest.mark.parametrize("arm", ["VAE 1", "IWAE 5"])
def test_a_run_that_was_stopped_ends_where_another_would(arm, grey, tmp_path, monkeypatch):
    monkeypatch.setattr(iwae, "GROUP", 5)   # 400 pictures are 20 steps: four groups a pass
    monkeypatch.setattr(iwae, "EVERY", 0)   # a checkpoint after each
    whole, _ = iwae.train(arm, grey, 3, CPU, folder=tmp_path / "whole")
    steps, log_weights = 0, iwae.OneLayer.log_weights

    def stops(self, *arguments):
        nonlocal steps
        steps += 1
        if steps in (13, 40):               # in the middle of a group, twice
            raise KeyboardInterrupt
        return log_weights(self, *arguments)
    monkeypatch.setattr(iwae.OneLayer, "log_weights", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            iwae.train(arm, grey, 3, CPU, folder=tmp_path / "stopped")
    assert not list((tmp_path / "stopped").glob("*.part"))
    model, seconds = iwae.train(arm, grey, 3, CPU, folder=tmp_path / "stopped")
    assert steps == 60 + 3 + 2 and seconds > 0  # 2 and 1 whole steps of the broken groups and the 2 that failed were made again
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), model.state_dict().values(), strict=True))
    again = steps
    assert iwae.train(arm, grey, 3, CPU, folder=tmp_path / "stopped")[1] == seconds and steps == again  # nothing is left to do


def test_a_damaged_checkpoint_is_trained_again(grey, tmp_path, capsys):
    one, _ = iwae.train("VAE 1", grey, 1, CPU, folder=tmp_path)
    path, = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:5000])
    two, _ = iwae.train("VAE 1", grey, 1, CPU, folder=tmp_path)
    assert "cannot be read" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_the_table(grey, tmp_path, monkeypatch, capsys):
    """All of it in small: what is printed and written, and that a second call only reads what the first has kept."""
    monkeypatch.setattr(iwae.datasets, "mnist", lambda split, n=None, rng=None: ((grey[:n] * 255).numpy().astype(np.uint8), None))
    monkeypatch.setattr(iwae, "SAMPLES", 10)
    first = iwae.main(passes=1, images=30, device="cpu", folder=tmp_path)
    assert [row["paper"] for row in first["table"].values()] == [86.76, 86.47, 85.54, 86.35, 84.78]
    assert all(math.isfinite(row["nll"]) and row["nll"] <= row["negative_elbo"] + 0.01 for row in first["table"].values())
    assert "paper 86.76" in capsys.readouterr().out
    monkeypatch.setattr(iwae, "evaluate", None)
    assert json.dumps(iwae.main(passes=1, images=30, device="cpu", folder=tmp_path)) == json.dumps(first)


# --- time to a given -ELBO ---

def test_one_ruler_for_all_three():
    torch.manual_seed(0)
    vae, x = training.VAE(), (torch.rand(2000, 784) < 0.3).float()
    with torch.no_grad():
        mu, logvar = vae.encode(x)
        q = Normal(mu, (logvar / 2).exp())
        draws = [(kl_divergence(q, Normal(0.0, 1.0)).sum(-1) - Bernoulli(logits=vae.decode(q.sample())).log_prob(x).sum(-1)).mean().item()
                 for _ in range(5)]
    assert training.negative_elbo(vae, x) == pytest.approx(np.mean(draws), abs=5 * float(np.std(draws)) + 0.05)


RECIPES = [training.pytorch_example, training.pyro_tutorial, training.ours]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.__name__)
def test_each_recipe_trains_the_same_network(recipe, grey):
    torch.manual_seed(0)
    x = torch.bernoulli(grey)
    clock = recipe(x, x, epochs=8)
    values = [v for _, v in clock.curve]
    assert len(values) == 8 and values[-1] < 0.75 * training.negative_elbo(training.VAE(), x) and values[-1] < values[0]
    assert all(a < b for (a, _), (b, _) in zip(clock.curve, clock.curve[1:]))
    assert clock.reached(values[0]) == (clock.curve[0][0], 1) and clock.reached(-1) == (None, None)


def test_the_rate_rises_and_falls():
    rates = [training.rise_and_fall(d) for d in np.linspace(0, 1, 1001)]
    assert rates[0] == pytest.approx(0.1 * training.OUR_RATE) and max(rates) == pytest.approx(training.OUR_RATE, rel=1e-3)
    assert rates[-1] == pytest.approx(0) and int(np.argmax(rates)) == pytest.approx(100, abs=1)


def test_the_shares_of_the_time_add_up(grey):
    parts = training.shares(training.ours, torch.bernoulli(grey))
    assert sum(parts.values()) == pytest.approx(1, abs=0.03) and parts["products"] > 0.05 and parts["Adam"] > 0.01
