"""Table 1 of the IWAE paper (Burda, Grosse, Salakhutdinov 2016), one stochastic layer: our numbers beside theirs.

MNIST, pixels drawn anew from their grey levels at every step; 784-200-200-50 and back, tanh; Adam, batches of 20; k samples of
z per image, averaged outside the logarithm (VAE) or inside (IWAE). The paper made 3280 passes over the data. `--passes` says
how many are made here: with 3280 the paper's own ladder of learning rates, else 1e-3 falling evenly (in its logarithm) to 1e-4.
What has been trained and evaluated is kept in benchmarks/checkpoints: interrupt it, start it again, and it goes on.
"""
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from course_utils import datasets, training

CHECKPOINTS = Path(__file__).parent / "checkpoints"
# -log p(x) in nats of the paper's Table 1, and here the arms in the order in which they are trained: the quick ones first.
PAPER = {"VAE 1": 86.76, "VAE 5": 86.47, "IWAE 5": 85.54, "VAE 50": 86.35, "IWAE 50": 84.78}
LATENT, HIDDEN, BATCH = 50, 200, 20
SAMPLES = 5000       # of z for each image, when log p(x) is estimated
GROUP = 50           # steps whose pixels are gathered at once
EVERY = 60           # seconds between two checkpoints


class BernoulliLogLik(torch.autograd.Function):
    """Sum over pixels of log Bernoulli(x | logits), nats: (B, K, D), (B, D) -> (B, K).

    Written out because it costs as much as a layer: log σ((2x - 1) logit) in three passes over memory instead of seven.
    """

    @staticmethod
    def forward(ctx, logits, x):
        sign = (2 * x - 1)[:, None]
        right = torch.sigmoid(logits * sign).clamp_(min=1e-37)  # the probability of the pixel that is there
        ctx.save_for_backward(right, sign)
        return torch.log(right).sum(-1)

    @staticmethod
    def backward(ctx, grad):
        right, sign = ctx.saved_tensors
        return (1 - right).mul_(sign).mul_(grad[..., None]), None


class OneLayer(nn.Module):
    """q(z|x) and p(x|z) of the paper's model with one stochastic layer; the output starts at the mean picture."""

    def __init__(self, mean_pixels):
        super().__init__()
        stack = lambda a, b, c: nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, b), nn.Tanh(), nn.Linear(b, c))
        self.encoder = stack(784, HIDDEN, 2 * LATENT)
        self.decoder = stack(LATENT, HIDDEN, 784)
        for layer in (*self.encoder, *self.decoder):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.decoder[-1].bias.copy_(torch.logit(mean_pixels.clamp(0.001, 0.999)))

    def q(self, x):
        """mu, log sigma of q(z|x), each (B, LATENT)."""
        return self.encoder(x).chunk(2, dim=-1)

    def log_weights(self, x, k, generator=None):
        """log w = log p(x|z) + log p(z) - log q(z|x) for k samples z of q(z|x), nats, (B, k)."""
        mu, log_sigma = (a[:, None] for a in self.q(x))
        noise = torch.randn(len(x), k, LATENT, generator=generator, device=x.device)
        z = mu + log_sigma.exp() * noise
        log_ratio = (0.5 * noise**2 - 0.5 * z**2 + log_sigma).sum(-1)  # log p(z) - log q(z|x); the 2 pi cancel
        return BernoulliLogLik.apply(self.decoder(z), x) + log_ratio


def bound(log_w, kind):
    """The mean over the batch of what is maximised: the ELBO with k samples, or the importance weighted bound."""
    if kind == "VAE":
        return log_w.mean()
    return (torch.logsumexp(log_w, dim=1) - math.log(log_w.shape[1])).mean()


def learning_rate(done, passes):
    """Adam's step size when the fraction `done` of all passes is done."""
    if passes != 3280:
        return 1e-3 * 10 ** -done
    i = int(math.log(2 * done * passes + 1, 3) + 1e-9)   # the paper: 3^i passes at 1e-3 * 10^(-i/7), i = 0..7
    return 1e-3 * 10 ** (-min(i, 7) / 7)


def save(path, **state):
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(path, device):
    """The checkpoint, or nothing where there is none or it cannot be read."""
    try:
        return torch.load(path, map_location=device, weights_only=True) if path.exists() else None
    except Exception as error:  # whatever is wrong with the file: what it held can be trained again
        print(f"{path.name} cannot be read ({type(error).__name__}); starting this arm again")
        return None


def train(arm, grey, passes, device, seed=0, folder=CHECKPOINTS):
    """Train one arm, or what is missing of it. Returns the model and the seconds spent on it in all runs together."""
    kind, k = arm.split()[0], int(arm.split()[1])
    path = folder / f"{arm.replace(' ', '-')}-{passes}-passes.pt"
    torch.manual_seed(seed)
    model = OneLayer(grey.mean(0)).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-4, fused=True)
    per_pass = -(-len(grey) // BATCH)
    step, seconds, state = 0, 0.0, load(path, device)
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, seconds = state["step"], state["seconds"]
    total, saved = passes * per_pass, time.monotonic()
    with tqdm(total=total, initial=step, desc=f"{arm:8}", unit="step", mininterval=1, disable=not sys.stderr.isatty()) as bar:
        while step < total:
            began = time.perf_counter()
            # Order and noise come from the step's number alone: a run that was interrupted ends where another would.
            rows = np.random.default_rng([seed, step // per_pass]).permutation(len(grey))
            start = (step % per_pass) * BATCH
            pixels = grey[torch.as_tensor(rows[start:start + GROUP * BATCH], device=device)]
            generator = torch.Generator(device).manual_seed(10_000_000 * seed + step)
            for batch in pixels.split(BATCH):
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(step / total, passes)
                x = torch.bernoulli(batch, generator=generator)
                loss = -bound(model.log_weights(x, k, generator), kind)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1
                bar.update()
            seconds += time.perf_counter() - began
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"{arm}: the loss is {loss.item()} after {step} steps")
            bar.set_postfix(loss=f"{loss.item():.1f}", refresh=False)
            if step == total or time.monotonic() - saved > EVERY:
                save(path, model=model.state_dict(), optimiser=optimiser.state_dict(), step=step, seconds=seconds)
                saved = time.monotonic()
    return model, seconds


@torch.no_grad()
def evaluate(model, x, samples=SAMPLES, seed=1, chunk=1000):
    """-log p(x) by importance sampling and the -ELBO for each image, nats, and the number of latents that are used.

    x: (N, 784) binary. A latent is used where the variance over images of its mean is above 0.01 (the paper's rule).
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    nll, negative_elbo = [], []
    for row in tqdm(x.split(1 if x.device.type == "cpu" else 20), desc="log p(x)", mininterval=1, disable=not sys.stderr.isatty()):
        log_w = torch.cat([model.log_weights(row, min(chunk, samples - s), generator) for s in range(0, samples, chunk)], dim=1)
        nll.append(math.log(samples) - torch.logsumexp(log_w, dim=1))
        negative_elbo.append(-log_w.mean(1))
    used = int((model.q(x)[0].var(0) > 0.01).sum())
    return torch.cat(nll).cpu().numpy(), torch.cat(negative_elbo).cpu().numpy(), used


def main(passes=20, images=2000, device="auto", folder=CHECKPOINTS):
    """Train what is missing, evaluate, print the table beside the paper's; returns what is written as JSON."""
    device = training.pick_device(device)
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    grey = torch.as_tensor(datasets.mnist("train")[0], device=device) / 255
    test = torch.as_tensor(datasets.mnist("test", images, rng=np.random.default_rng(0))[0]) / 255
    test = torch.bernoulli(test, generator=torch.Generator().manual_seed(0)).to(device)  # the same draw for every arm
    print(f"{passes} passes of the paper's 3280, {images} of 10000 test images, {SAMPLES} samples each, on {device.type}")
    rows, each = {}, {}
    for arm, paper in PAPER.items():
        model, seconds = train(arm, grey, passes, device, folder=folder)
        path = folder / f"{arm.replace(' ', '-')}-{passes}-passes-{images}-images.json"
        if not path.exists():
            nll, negative_elbo, used = evaluate(model, test)
            path.write_text(json.dumps({"nll": nll.tolist(), "negative_elbo": negative_elbo.tolist(), "used": used}))
        got = json.loads(path.read_text())
        nll = each[arm] = np.array(got["nll"])
        rows[arm] = {"nll": round(nll.mean(), 2), "standard_error": round(nll.std() / np.sqrt(len(nll)), 2), "paper": paper,
                     "negative_elbo": round(np.mean(got["negative_elbo"]), 2), "latents_used": got["used"],
                     "minutes": round(seconds / 60, 1)}
        print(f"  {arm:8} -log p(x) {rows[arm]['nll']:6.2f} ± {rows[arm]['standard_error']:.2f}   paper {paper:.2f}   "
              f"-ELBO {rows[arm]['negative_elbo']:6.2f}   {got['used']} latents used   {rows[arm]['minutes']:.1f} min", flush=True)
    print("difference to VAE 1 on the same images (negative is better):")
    against = {}
    for arm in list(PAPER)[1:]:
        d = each[arm] - each["VAE 1"]
        against[arm] = {"nll": round(d.mean(), 2), "standard_error": round(d.std() / np.sqrt(len(d)), 2),
                        "paper": round(PAPER[arm] - PAPER["VAE 1"], 2)}
        print(f"  {arm:8} {against[arm]['nll']:6.2f} ± {against[arm]['standard_error']:.2f}   paper {against[arm]['paper']:6.2f}")
    return {"passes": passes, "test_images": images, "samples": SAMPLES, "device": device.type, "table": rows, "against_vae_1": against}
