"""How long a VAE takes to a given test -ELBO on MNIST: `course_utils.training.fit` against two recipes that people start from.

One network (784-400-20, ReLU, Bernoulli pixels, Adam, batches of 128) is trained three ways, in turns, in one process:
the plain PyTorch example's way (a DataLoader, sigmoid and binary cross-entropy, learning rate 1e-3), the way of Pyro's VAE
tutorial (model and guide, `SVI` with `Trace_ELBO`), and ours. Both recipes are written anew here. What they reach is compared
by one function, outside of the clock. The example stops after its ten epochs; where it stops is what the others have to reach.
"""
import statistics
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_utils import datasets, models, training

from .iwae import BernoulliLogLik

PIXELS, HIDDEN, LATENT, BATCH, EPOCHS = 784, 400, 20, 128, 10
BUDGET = {"PyTorch example / ours": 2.0, "Pyro / ours": 3.0}
OUR_EPOCHS, OUR_RATE = 5, 5e-3


class VAE(nn.Module):
    """The network that all three train: x (B, 784) -> mu, logvar (B, 20); z (B, 20) -> logits (B, 784)."""

    def __init__(self):
        super().__init__()
        self.hidden, self.mu, self.logvar = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.decoder_hidden, self.logits = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, PIXELS)

    def encode(self, x):
        h = torch.relu(self.hidden(x))
        return self.mu(h), self.logvar(h)

    def decode(self, z):
        return self.logits(torch.relu(self.decoder_hidden(z)))


def negative_elbo(vae, x):
    """The -ELBO of each image, nats, mean over the rows of x (N, 784) and one fixed draw of z each."""
    with torch.no_grad():
        mu, logvar = vae.encode(x)
        noise = torch.randn(mu.shape, generator=torch.Generator(x.device).manual_seed(0), device=x.device)
        logits = vae.decode(models.reparameterise(mu, logvar, noise))
        return (models.vae_kl(mu, logvar) - models.bernoulli_loglik(logits, x)).mean().item()


class Clock:
    """Seconds of training and the -ELBO after each epoch; what is measured in between costs nothing."""

    def __init__(self, vae, test):
        self.vae, self.test, self.curve, self.seconds = vae, test, [], 0.0
        self.began = time.perf_counter()

    def epoch(self, *_):
        if self.test.is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self.began
        self.curve.append((self.seconds, negative_elbo(self.vae, self.test)))
        self.began = time.perf_counter()

    def reached(self, target):
        """(seconds, epochs) at the end of the first epoch that is as good as `target`; (None, None) if none is."""
        return next(((s, i + 1) for i, (s, value) in enumerate(self.curve) if value <= target), (None, None))


def loader(x):
    """The data as both recipes feed them. Theirs decode every image anew as well; here it is a tensor already."""
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=BATCH, shuffle=True)


def pytorch_example(x, test, epochs=EPOCHS):
    """The plain PyTorch example's recipe."""
    vae = VAE().to(x.device)
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3)
    batches, clock = loader(x), Clock(vae, test)
    for _ in range(epochs):
        for (batch,) in batches:
            optimiser.zero_grad()
            mu, logvar = vae.encode(batch)
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
            bce = F.binary_cross_entropy(torch.sigmoid(vae.decode(z)), batch, reduction="sum")
            loss = bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss.backward()
            loss.item()  # the example adds it up for its report
            optimiser.step()
        clock.epoch()
    return clock


def pyro_tutorial(x, test, epochs=EPOCHS):
    """The recipe of Pyro's VAE tutorial, on the Pyro package."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO

    pyro.clear_param_store()
    pyro.distributions.enable_validation(False)  # as in the tutorial
    vae = VAE().to(x.device)

    def model(x):
        pyro.module("decode", vae)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), LATENT), x.new_ones(len(x), LATENT)).to_event(1))
            pyro.sample("x", dist.Bernoulli(torch.sigmoid(vae.decode(z)), validate_args=False).to_event(1), obs=x)

    def guide(x):
        pyro.module("encode", vae)
        with pyro.plate("data", len(x)):
            mu, logvar = vae.encode(x)
            pyro.sample("z", dist.Normal(mu, torch.exp(0.5 * logvar)).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss=Trace_ELBO())
    batches, clock = loader(x), Clock(vae, test)
    for _ in range(epochs):
        for (batch,) in batches:
            svi.step(batch)
        clock.epoch()
    return clock


def ours(x, test, epochs=OUR_EPOCHS, seed=0):
    """The course's `fit`: slices of one tensor, a fused Adam, a likelihood in few passes, a learning rate that rises and falls."""
    vae = VAE().to(x.device)

    def loss(x):
        mu, logvar = vae.encode(x)
        logits = vae.decode(models.reparameterise(mu, logvar, torch.randn_like(mu)))
        return (models.vae_kl(mu, logvar) - BernoulliLogLik.apply(logits[:, None], x)[:, 0]).mean()

    clock = Clock(vae, test)
    training.fit(loss, vae.parameters(), x, epochs=epochs, batch_size=BATCH, lr=rise_and_fall,
                 rng=np.random.default_rng(seed), report=clock.epoch, threads=torch.get_num_threads())
    return clock


def rise_and_fall(done):
    """Adam's step size when the fraction `done` is done: up to OUR_RATE in the first tenth, then down along a cosine."""
    return OUR_RATE * (min(1, 0.1 + 9 * done) if done < 0.1 else 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9)))


def matmul_seconds(x, repeats=30):
    """Seconds that an epoch's matrix products alone take: the least that any recipe for this network needs."""
    shapes = [(PIXELS, HIDDEN, 2), (HIDDEN, 2 * LATENT, 3), (LATENT, HIDDEN, 3), (HIDDEN, PIXELS, 3)]  # no gradient for the pixels
    total = 0.0
    for a, b, products in shapes:
        left, right = torch.randn(BATCH, a, device=x.device), torch.randn(a, b, device=x.device)
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            left @ right
            times.append(time.perf_counter() - began)
        total += products * statistics.median(times)
    return total * len(x) / BATCH


def feeding_seconds(x):
    """Seconds that an epoch's batches alone take: from a DataLoader, and cut out of the tensor as `fit` does."""
    began = time.perf_counter()
    for (batch,) in loader(x):
        batch.sum()
    middle = time.perf_counter()
    for rows in torch.as_tensor(np.random.default_rng(0).permutation(len(x))).split(BATCH):
        x[rows].sum()
    return middle - began, time.perf_counter() - middle


def shares(recipe, x):
    """Where a recipe's time goes, as shares of it, from torch's profiler over 100 batches: the network's matrix products, Adam's
    steps, everything else (activations, likelihood, feeding, Python)."""
    recipe(x[:BATCH * 4], x[:BATCH], epochs=1)  # the first steps set things up
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        began = time.perf_counter()
        recipe(x[:BATCH * 100], x[:BATCH], epochs=1)
        total = time.perf_counter() - began
    events = profile.key_averages()
    products = sum(e.self_cpu_time_total for e in events if e.key in ("aten::addmm", "aten::mm")) / 1e6 / total
    adam = sum(e.cpu_time_total for e in events if e.key.startswith("Optimizer.step#")) / 1e6 / total
    return {"products": round(products, 2), "Adam": round(adam, 2), "everything else": round(1 - products - adam, 2)}


def main(rounds=3, device="auto"):
    """Measure and print; returns what is written as JSON."""
    device = training.pick_device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x, test = (torch.as_tensor(datasets.mnist(s)[0] >= 128, dtype=torch.float32).to(device) for s in ("train", "test"))
        runs, rows = {"PyTorch example": pytorch_example, "Pyro": pyro_tutorial, "ours": ours}, []
        print(f"784-400-20, batch {BATCH}, {device.type}, one thread; pixels at least half inked; {len(x)} images; {rounds} rounds")
        for seed in range(rounds):
            clocks = {}
            for name in [*runs][seed % 3:] + [*runs][:seed % 3]:
                torch.manual_seed(seed)
                clocks[name] = runs[name](x, test)
            target = clocks["PyTorch example"].curve[-1][1]
            row = {"target": round(target, 2), "matmul_s_per_epoch": round(matmul_seconds(x), 2)}
            for name, clock in clocks.items():
                seconds, epochs = clock.reached(target)
                row[name] = {"seconds": seconds and round(seconds, 2), "epochs": epochs, "best": round(min(v for _, v in clock.curve), 2),
                             "s_per_epoch": round(clock.seconds / len(clock.curve), 2)}
            rows.append(row)
            print(f"  to a test -ELBO of {target:.2f} nats   (matrix products alone: {row['matmul_s_per_epoch']} s an epoch)")
            for name in runs:
                r = row[name]
                print(f"    {name:16}{r['seconds'] or 'never':>8} s   {r['epochs'] or '-':>3} epochs of {r['s_per_epoch']} s   "
                      f"best {r['best']}", flush=True)
        slow, fast = feeding_seconds(x)
        print(f"  the batches of an epoch alone: DataLoader {slow:.2f} s, slices {fast:.2f} s")
        where = {name: shares(recipe, x) for name, recipe in runs.items()} if device.type == "cpu" else {}
        for name, parts in where.items():
            print(f"  {name:16} " + ", ".join(f"{k} {v:.0%}" for k, v in parts.items()) + " of the time, under the profiler")
    finally:
        torch.set_num_threads(threads)
    ratios = {}
    for words, peer in (("PyTorch example / ours", "PyTorch example"), ("Pyro / ours", "Pyro")):
        # A recipe that has not got there in ten epochs took at least the time of those ten.
        each = [(r[peer]["seconds"] or r[peer]["s_per_epoch"] * EPOCHS) / r["ours"]["seconds"] for r in rows if r["ours"]["seconds"]]
        ratios[words] = round(statistics.median(each), 2) if len(each) == len(rows) else None
        miss = ratios[words] is None or ratios[words] < BUDGET[words]
        print(f"  {words:26} {ratios[words]}   aim {BUDGET[words]}{'   MISS' if miss else ''}")
    return {"rounds": rows, "ratios": ratios, "budget": BUDGET, "device": device.type,
            "feeding_s_per_epoch": {"DataLoader": round(slow, 2), "slices": round(fast, 2)}, "shares": where}
