# %% [markdown]
# # 08 · Deep VAEs on handwritten digits
#
# **The question of this lesson: you have a model, a bound and a gradient. Now train them on real scans: what has the model learned, how good is it, and which of its numbers may you believe?**
#
# After this lesson you will be able to
#
# 1. *train* a deep variational autoencoder on scanned digits in seconds, and *compare* three likelihoods on the same event instead of on their losses;
# 2. *read* a two-dimensional latent space: the walk through it, the codes over the prior, and what the prior gets wrong;
# 3. *place* a model on a rate–distortion curve, and *say* what $\beta$ buys and what it costs;
# 4. *count* the latents in use, and *explain* why warm-up changes the count;
# 5. *measure* both gaps of a digit's ruler, with $\log p(x)$ from importance samples and an error bar on it;
# 6. *fill in* the IWAE table (VAE and IWAE, $k = 1, 5, 50$) with standard errors, and *say* which of its columns may be compared, and why.
#
# **Needs:** lessons 05 (IWAE, surgery), 06 (variational autoencoders) and 07 (reparameterization).
#
# | section | minutes, with its exercises |
# |-|-|
# | 1 · Real scans, three claims about a pixel | 20 |
# | 2 · A walk in the plane | 10 |
# | 3 · All codes together | 10 |
# | 4 · The β dial | 25 |
# | 5 · Latents that sleep | 20 |
# | 6 · The ruler of one digit | 25 |
# | 7 · The table | 30 |
# | 8 · Reading the instruments | 5 |
# | Recap, cards, quiz, conversation | 12 |

# %%
import numpy as np
import torch
from scipy.special import binom, expit, ndtr, xlogy
from torch import distributions as td, nn
from torch.nn import functional as F

from course_utils import datasets, models, plots
from course_utils.cache import remember
from course_utils.checks import lesson_08 as check
from course_utils.explore import explore
from course_utils.quiz import dialogue, flash_cards, predict, quiz
from course_utils.training import fit

torch.set_num_threads(1)  # small networks: a second thread only gets in the way
plots.set_style()

# %% [markdown]
# All training in this lesson together takes less than a minute, the first time. `remember` keeps the results on disk, so that the second *Run All* takes a few seconds. Change a line of the code, a number or an image, and it trains anew.
#
# ## 1 · Real scans, three claims about a pixel
#
# 1,797 handwritten digits were scanned and cut into 8 × 8 blocks; a pixel counts the inked dots in its block, 0 to 16. We learn from 1,500 images and keep 297 for judging.

# %%
counts, labels = datasets.digits()
order = np.random.default_rng(0).permutation(len(counts))
learn, judge = order[:1500], order[1500:]
as_seen = {"Bernoulli": (counts >= 8) * 1.0, "Binomial": counts * 1.0, "Gaussian": counts / 16}
x_train = {kind: torch.tensor(x[learn], dtype=torch.float32) for kind, x in as_seen.items()}
x_test = {kind: torch.tensor(x[judge], dtype=torch.float32) for kind, x in as_seen.items()}


def sheet(images, rows=1):
    """(n, 64) images -> one picture with `rows` rows of them, each in a white frame."""
    framed = [np.pad(np.asarray(i).reshape(8, 8), 1) for i in images]
    return np.vstack([np.hstack(row) for row in np.array(framed).reshape(rows, -1, 10, 10)])


fig = plots.figure(8.5, 2.1)
for ax, x, title in zip(fig.subplots(2), (counts / 16, counts >= 8), ("counts", "bits")):
    ax.imshow(sheet(x[judge[:16]]), cmap="gray_r")
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(title, rotation=0, ha="right", va="center")
plots.show(fig, alt="Sixteen scanned digits: above as counts of ink in grey, below as bits, dark or light")

# %% [markdown]
# Lesson 06 met three likelihoods for such a pixel: **Bernoulli** (a bit: at least 8 dots), **Binomial** (16 dots, each inked with probability $p$), **Gaussian** (a grey value with noise $s$).

# %%
def log_likelihood(kind, out, x, log_s):
    """log p(x | z) in nats, summed over pixels: the decoder's output (..., 64) and images (B, 64) that broadcast -> (...)."""
    if kind == "Bernoulli":
        return (x * out - F.softplus(out)).sum(-1)
    if kind == "Binomial":
        log_choose = torch.lgamma(torch.tensor(17.0)) - torch.lgamma(x + 1) - torch.lgamma(17 - x)
        return (log_choose + x * out - 16 * F.softplus(out)).sum(-1)
    return -((x - out)**2).sum(-1) / (2 * torch.exp(2 * log_s)) - 64 * log_s - 32 * np.log(2 * np.pi)

# %% [markdown]
# Their losses cannot be compared: one is a density of grey values, one a probability of counts, one of bits. But each of them gives a probability to the same **event**: "this pixel is dark", the Gaussian for instance through
# $P(x/16>7.5/16)$. And two of them give one to "this count": let the Gaussian's grey value be rounded to the nearest sixteenth.

# %%
def probability_of_counts(out, s, counts):
    """The Gaussian's probability of a grey value that is rounded to counts/16; 0 and 16 take the tails. Broadcasts."""
    upper = np.where(counts == 16, 1.0, ndtr(((counts + 0.5) / 16 - out) / s))
    return upper - np.where(counts == 0, 0.0, ndtr(((counts - 0.5) / 16 - out) / s))

# %% [markdown]
# One pixel over all scans, before there is any code: the decoder may say one number $p$ for it, and the Gaussian has its $s$.

# %%
def one_pixel_many_scans(fig):
    left, right = fig.subplots(1, 2, width_ratios=[2.6, 1])
    n, looks = np.arange(17), {"rounded Gaussian": dict(color=plots.SKY, linestyle="-.", marker="s"), "Binomial": dict(color="black", marker="o")}
    bars = left.bar(n, 0 * n, width=0.9, facecolor="0.85", edgecolor="0.5", label="1,500 scans")
    lines = [left.plot(n, 0 * n, label=name, **look)[0] for name, look in looks.items()]
    left.set(xlim=(-0.6, 16.6), ylim=(0, 0.85), xticks=range(0, 17, 4), xlabel="dots in the pixel, 0 to 16", ylabel="share of scans, probability")
    left.legend(loc="upper center")
    right.imshow(counts[learn].mean(0).reshape(8, 8), cmap="gray_r")
    (frame,) = right.plot([], [], "s", markersize=17, markerfacecolor="none", markeredgecolor=plots.VERMILLION, markeredgewidth=3)
    right.set(xticks=[], yticks=[], title="mean scan, this pixel")

    def update(row=4, column=4, p=0.5, s=0.2):
        share = np.bincount(counts[learn, 8 * row + column - 9].astype(int), minlength=17) / len(learn)
        claims = np.maximum(probability_of_counts(p, s, n), 1e-300), binom(16, n) * p**n * (1 - p)**(16 - n)
        for bar, height in zip(bars, share):
            bar.set_height(height)
        for line, claim in zip(lines, claims):
            line.set_ydata(claim)
        frame.set_data([column - 1], [row - 1])
        on_counts = [np.log(claim) @ share for claim in claims]
        bits = [share[8:].sum() * np.log(q) + share[:8].sum() * np.log1p(-q) for q in np.clip([*(c[8:].sum() for c in claims), p], 1e-12, 1 - 1e-12)]
        return ("mean log p of the count: Gaussian {:.2f}, Binomial {:.2f}   of the bit: Gaussian {:.2f}, Binomial {:.2f}, Bernoulli {:.2f} nats"
                .format(*on_counts, *bits))
    return update


explore(one_pixel_many_scans, row=(1, 8), column=(1, 8), p=(0.02, 0.98, 0.02), s=(0.05, 0.6, 0.05), size=(8.5, 3.6),
        labels={"p": "decoder's p (or mean)", "s": "s (Gaussian)"},
        alt="Left: how often a pixel has 0 to 16 dots over the scans, with a rounded Gaussian's and a Binomial's claim; right: which pixel")

# %%
seen, p = counts[learn], counts[learn].mean(0) / 16
varies = seen.std(0) > 0
with np.errstate(divide="ignore"):
    best_binomial = td.Binomial(16, torch.tensor(p.clip(1e-9, 1))).log_prob(torch.tensor(seen)).mean(0).numpy()
    best_rounded = np.log(probability_of_counts(p, (seen.std(0) / 16).clip(0.01), seen)).mean(0)
print(f"{varies.sum()} pixels vary; the median of their variances is {np.median((seen.var(0) / (16 * p * (1 - p)).clip(1e-9))[varies]):.1f} times a Binomial's of that mean")
print(f"with its own mean and s, the rounded Gaussian has the better mean log p of the counts in {(best_rounded > best_binomial)[varies].sum()} of them")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# In the middle of the picture the scans pile up at 0 and at 16. The Binomial, whatever its $p$, is sure of the count within a few dots, since 16 *independent* dots average out; the dots of one stroke do not. So it pays
# dearly for every scan that it did not expect. The Gaussian may widen $s$ and admit its ignorance. The Bernoulli says least, only dark or light, and cannot be wrong about what it does not say.
#
# With a code $z$ the decoder may say another $p$ for each scan. Whether that is enough, section 2 will show.
#
# </details>
#
# The networks: two hidden layers each way. One trick saves much time later: a layer holds the weights of $C$ networks **side by side**. They share nothing but the minibatches, and the loss is the sum of their losses,
# so each learns exactly what it would learn alone. With $C=1$ it is an ordinary layer.

# %%
class Layer(nn.Module):
    """C dense layers side by side: h (C, ..., n_in) -> (C, ..., n_out)."""

    def __init__(self, copies, n_in, n_out, g):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(copies, n_in, n_out, generator=g) / n_in**0.5)
        self.bias = nn.Parameter(torch.zeros(copies, 1, n_out))

    def forward(self, h):
        """A matrix product for each copy."""
        return torch.baddbmm(self.bias, h.flatten(1, -2), self.weight).unflatten(1, h.shape[1:-1])


def network(sizes, copies, g):
    """Dense layers of these sizes with tanh between them."""
    layers = [Layer(copies, a, b, g) for a, b in zip(sizes, sizes[1:])]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())][:-1])

# %%
class DeepVAE(nn.Module):
    """C VAEs side by side: 64 pixels -> hidden -> q(z | x) on L latents; z -> hidden -> 64 outputs of the likelihood `kind`."""

    def __init__(self, kind="Bernoulli", latents=10, hidden=(64, 64), copies=1, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.kind, self.copies = kind, copies
        self.encoder = network([64, *hidden, 2 * latents], copies, g)
        self.decoder = network([latents, *hidden, 64], copies, g)
        self.log_s = nn.Parameter(torch.full((copies, 1, 1), -1.0))  # for the Gaussian only

    def encode(self, x):
        """mu and logvar of q(z | x), each (C, B, L), for images x (B, 64)."""
        x = x / (16 if self.kind == "Binomial" else 1) - 0.5
        return self.encoder(x.expand(self.copies, *x.shape)).chunk(2, -1)

# %% [markdown]
# Lesson 07's reparameterised draws give every number of this lesson. From $K$ draws $z_k=\mu+\sigma\epsilon_k$ for each image we keep two logarithms, whose sum is the log weight $\log w_k=\log p(x,z_k)-\log q(z_k\mid x)$:

# %%
def draw(vae, x, K, g):
    """K draws z ~ q(z | x) for each of B images, by the generator g.

    Returns log p(x | z) and log p(z) - log q(z | x), each (C, K, B), and the rate in closed form (C, B). Nats.
    """
    mu, logvar = vae.encode(x)
    eps = torch.randn(vae.copies, K, *mu.shape[1:], generator=g)
    z = models.reparameterise(mu[:, None], logvar[:, None], eps)
    log_ratio = ((eps**2 + logvar[:, None] - z**2) / 2).sum(-1)  # the constants log 2 pi / 2 cancel
    return log_likelihood(vae.kind, vae.decoder(z), x, vae.log_s), log_ratio, models.vae_kl(mu, logvar)


def negative_elbo(vae, x, g, beta=1.0):
    """The loss from one draw, nats: beta · rate - log p(x | z), mean over images, sum over the copies. beta: number or (C, 1)."""
    reconstruction, _, rate = draw(vae, x, 1, g)
    return (beta * rate - reconstruction[:, 0]).mean(-1).sum()

# %% [markdown]
# Against independent numbers: an untrained VAE with two latents and one image, by draws, and by a grid of $101\times101$ values of $\epsilon$ with `torch.distributions`.

# %%
untrained, g = DeepVAE(latents=2, seed=1), torch.Generator().manual_seed(0)
with torch.no_grad():
    one = x_test["Bernoulli"][:1]
    recon, log_ratio, rate = (v.double() for v in draw(untrained, one, 20_000, g))
    q = td.Normal(*(f(v[0, 0]) for f, v in zip((lambda m: m, lambda lv: (lv / 2).exp()), untrained.encode(one))))
    axis = torch.linspace(-6, 6, 101)
    eps = torch.cartesian_prod(axis, axis)
    weight = torch.softmax(-(eps**2).sum(1) / 2, 0)
    logits = untrained.decoder((q.loc + q.scale * eps)[None, None])[0, 0]
    exact = (weight * td.Bernoulli(logits=logits).log_prob(one).sum(1)).sum()
print(f"reconstruction: draws {recon.mean():.2f} ± {recon.std() / 20_000**0.5:.2f}, grid {exact:.2f} nats")
print(f"rate: draws {-log_ratio.mean():.2f} ± {log_ratio.std() / 20_000**0.5:.2f}, torch {td.kl_divergence(q, td.Normal(0, 1)).sum():.2f} nats")

# %% [markdown]
# ## 2 · A walk in the plane
#
# First two latents only, so that the latent space can be looked at. One network for each likelihood.

# %%
def train(vae, x, epochs, beta, seed):
    """Adam on the β-ELBO, `epochs` passes in batches of 25; steps of 0.012, shrinking in the last third. Returns the mean losses, nats."""
    g, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    return {"loss": fit(lambda batch: negative_elbo(vae, batch, g, beta), vae.parameters(), x, epochs=epochs, batch_size=25,
                        lr=lambda done: 0.012 * min(1, 3 * (1 - done)), rng=rng)}

# %% tags=["nbval-ignore-output"]
planes = {kind: DeepVAE(kind, latents=2) for kind in as_seen}
for kind, vae in planes.items():
    losses = remember(train, vae, x_train[kind], 8, 1.0, 0)["loss"]
    print(f"{kind:>9}: loss {losses[0]:.1f} nats in the first pass, {losses[-1]:.1f} in the last")

# %%
with torch.no_grad():
    codes = {kind: vae.encode(x_test[kind])[0][0].numpy() for kind, vae in planes.items()}
    spread = {kind: (vae.encode(x_test[kind])[1] / 2).exp().median().item() for kind, vae in planes.items()}
print("the Binomial's posteriors are narrower than the Bernoulli's:", spread["Binomial"] < spread["Bernoulli"])


# %% tags=["nbval-ignore-output"]
def walk_in_the_plane(fig):
    plane, right, near = fig.subplots(1, 3, width_ratios=[2.1, 1, 1])
    turn = np.linspace(0, 2 * np.pi, 100)
    for r in (1, 2):
        plane.plot(r * np.cos(turn), r * np.sin(turn), **plots.style("prior", linewidth=1.5))
    numerals = [plane.plot([], [], linestyle="none", marker=f"${d}$", markersize=6, color=c)[0] for d, c in
                enumerate([plots.BLUE, plots.VERMILLION, plots.GREEN, plots.PURPLE, plots.ORANGE, plots.SKY, "0.35", "#7A4A12", "#004488", "black"])]
    (here,) = plane.plot([], [], "kX", markersize=13, markeredgecolor="white")
    plane.set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.6), aspect="equal", xlabel="z₁", ylabel="z₂", title="codes of test digits; dotted: prior, 1 and 2 sd")
    images = []
    for ax, title in ((right, "decoded"), (near, "nearest scan")):
        images.append(ax.imshow(np.zeros((8, 8)), cmap="gray_r", vmin=0, vmax=1))
        ax.set(xticks=[], yticks=[], title=title)

    @torch.no_grad()
    def update(likelihood="Binomial", z1=0.0, z2=0.0):
        z = np.array([z1, z2])
        for d, artist in enumerate(numerals):
            artist.set_data(*codes[likelihood][labels[judge] == d].T)
        here.set_data([z1], [z2])
        out = planes[likelihood].decoder(torch.tensor(z, dtype=torch.float32)[None, None, None]).numpy().reshape(8, 8)
        distance = np.hypot(*(codes[likelihood] - z).T)
        i = distance.argmin()
        images[0].set_data(out if likelihood == "Gaussian" else expit(out))
        images[1].set_data(as_seen[likelihood][judge[i]].reshape(8, 8) / (16 if likelihood == "Binomial" else 1))
        return (f"nearest code: a {labels[judge[i]]}, {distance[i]:.2f} away   {100 * np.exp(-(z**2).sum() / 2):.1f} % of draws from the prior lie further out")
    return update


explore(walk_in_the_plane, likelihood=list(as_seen), z1=(-3.0, 3.0, 0.1), z2=(-3.0, 3.0, 0.1), size=(8.5, 3.9), labels={"z1": "z₁", "z2": "z₂"},
        alt="Left: codes of the test digits as numerals over the prior's circles, and a cross; right: what the decoder draws there, and the nearest scan")

# %%
for kind, z in codes.items():
    apart = np.hypot(*(z[:, None] - z).T) + 99 * np.eye(len(z))
    same = (labels[judge][apart.argmin(0)] == labels[judge]).mean()
    print(f"{kind}: for more than 4 in 10 test digits the nearest other code is the same digit (by chance 1 in 10): {same > 0.4}")

# %% [markdown]
# Walk from one group of numerals to a neighbouring one; then out to $(3, 3)$; then change the likelihood.
#
# <details><summary>What you should have seen</summary>
#
# Nobody told the networks what a digit's label is, yet equal digits lie together. Between two groups the strokes bend from one shape into the other; where two groups touch, the decoded picture is grey, because the decoder
# can only give the *mean* of what it would find there. Far outside the circles the decoder still draws something, with full confidence: the prior hardly ever asks it to.
#
# The three maps differ. The Binomial believes 16 dots in every pixel, the Bernoulli one bit: so the Binomial pays for a longer code (its $q$ is narrower, its map more spread out).
#
# </details>
#
# ### Which likelihood is best? Ask all of them the same question
#
# Not their losses, but section 1's two events: "**these 64 bits**", and "**these 64 counts**". Then all are in nats of the same thing. For $\log p$ we average $K=200$ importance weights of each
# image, as in lesson 05, with the model's own encoder as $q$.

# %%
def probability_of_dark(kind, out, s):
    """P(count >= 8) of each pixel, given the decoder's output (..., 64)."""
    if kind == "Bernoulli":
        return expit(out)
    if kind == "Gaussian":
        return ndtr((out - 7.5 / 16) / s)
    logits = torch.linspace(-12, 12, 961, dtype=torch.float64)  # a table: 17 terms for each pixel and draw would take long
    table = td.Binomial(16, logits=logits[:, None]).log_prob(torch.arange(8.0, 17.0)).exp().sum(1)
    return np.interp(out, logits, table)

# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def same_event(kind, K=200):
    """Mean log p of the test images' bits, and of their counts (None for the Bernoulli), nats, from K importance samples."""
    vae, x = planes[kind], x_test[kind]
    mu, logvar = vae.encode(x)
    eps = torch.randn(1, K, *mu.shape[1:], generator=torch.Generator().manual_seed(0))
    z = models.reparameterise(mu[:, None], logvar[:, None], eps)
    log_ratio = ((eps**2 + logvar[:, None] - z**2) / 2).sum(-1)[0].numpy()
    out, s, dark = vae.decoder(z)[0].double().numpy(), vae.log_s.exp().item(), counts[judge] >= 8
    p = np.clip(probability_of_dark(kind, out, s), 1e-12, 1 - 1e-12)
    log_bits = np.log(np.where(dark, p, 1 - p)).sum(-1)
    log_counts = None if kind == "Bernoulli" else log_likelihood(kind, torch.tensor(out), torch.tensor(counts[judge]), 0).numpy() \
        if kind == "Binomial" else np.log(np.maximum(probability_of_counts(out, s, counts[judge]), 1e-300)).sum(-1)
    return [None if v is None else models.log_mean_exp(v + log_ratio, axis=0).mean() for v in (log_bits, log_counts)]


fair = {kind: same_event(kind) for kind in planes}
plots.show_table([[kind] + ["—" if v is None else f"{v:.1f}" for v in values] for kind, values in fair.items()],
                 ["likelihood", "log p(64 bits)", "log p(64 counts)"])

# %%
p_dark = np.clip((counts[learn] >= 8).mean(0), 1e-3, 1 - 1e-3)
flat = (xlogy(counts[judge] >= 8, p_dark) + xlogy(counts[judge] < 8, 1 - p_dark)).sum(1).mean()
print(f"64 independent bits, no code: {flat:.2f} nats. On bits, better than that by more than 1 nat: "
      + ", ".join(f"{kind} {fair[kind][0] > flat + 1}" for kind in fair))
print(f"on counts the Gaussian beats the Binomial by more than 10 nats: {fair['Gaussian'][1] > fair['Binomial'][1] + 10}")

# %% [markdown]
# The Binomial has the most "proper" story and loses: on counts to a rounded Gaussian, on bits even to 64 independent bits without any code. Given $z$, it takes the 16 dots of a block for independent, so it is *sure* of the count within one or two dots.
# But two latents leave much unexplained, and neighbouring dots are inked together. A Gaussian with a learned $s$ may admit its ignorance; the Binomial has no such parameter, and is punished for each confident mistake.
# Judge a likelihood on images that it has not seen, and on the same event.
#
# And the estimate itself? With two latents a grid can judge it: 161 × 161 values of $z$, no encoder and no luck.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    vae, x, axis = planes["Bernoulli"], x_test["Bernoulli"], torch.linspace(-5, 5, 161)
    z = torch.cartesian_prod(axis, axis)
    out = vae.decoder(z[None, None])[0, 0]
    log_joint = x @ out.T - F.softplus(out).sum(1) + torch.log_softmax(-(z**2).sum(1) / 2, 0)  # (297, 25921)
    log_lik, log_ratio, _ = draw(vae, x, 200, torch.Generator().manual_seed(0))
    short = torch.logsumexp(log_joint, 1) - torch.logsumexp((log_lik + log_ratio)[0], 0) + np.log(200)
print(f"draws are short of the grid by {short.mean():.3f} nats on average; the worst image by {short.max():.1f} nats, and another is {-short.min():.1f} above it")

# %%
print(f"the means agree within 0.2 nats: {bool(short.mean().abs() < 0.2)}; some single image is off by more than 0.3 nats: {bool(short.abs().max() > 0.3)}")

# %% [markdown]
# Good on average, and never to be trusted blindly for one image. Where the encoder's $q$ is too narrow, or overlooks a second place in the plane from which the digit could also come, 200 draws usually miss it: the estimate is too low, and no error bar knows
# what was never drawn. Now and then one of them hits the place, and counts for too much. (Lesson 09 has a warning lamp for this.)
#
# From here on we use bits and the Bernoulli, as most published tables do.
#
# ## 3 · All codes together
#
# A sample from the model starts with $z\sim p(z)$. The decoder has only ever been trained where codes are. So look at all codes together, the **aggregate posterior** $q(z)=\frac1N\sum_n q_\varphi(z\mid x_n)$ of lesson 05, with its surgery:
#
# $$\underbrace{\tfrac1N\textstyle\sum_n D_{\mathrm{KL}}\big(q(z\mid x_n)\,\|\,p(z)\big)}_{\text{rate}} \;=\; \underbrace{I(n; z)}_{\text{what a code tells about its image, at most } \log N} \;+\; \underbrace{D_{\mathrm{KL}}\big(q(z)\,\|\,p(z)\big)}_{\text{how far all codes together are from the prior}}.$$
#
# Four VAEs side by side, with the weight $\beta$ on the rate:

# %%
axis = np.linspace(-5, 5, 201)


def aggregate(mu, logvar):
    """The density of all codes together on the grid axis × axis: mu, logvar (N, 2) -> (201, 201), rows z₂, columns z₁."""
    along = [np.exp(models.log_normal(axis[:, None], mu[:, i], np.exp(logvar[:, i] / 2))) for i in (0, 1)]
    return along[1] @ along[0].T / len(mu)


def distance_to_prior(density):
    """D_KL(q(z) || p(z)) in nats, by the sum over the grid."""
    log_prior = models.log_normal(axis, 0, 1)[:, None] + models.log_normal(axis, 0, 1)
    return (xlogy(density, density) - density * log_prior).sum() * (axis[1] - axis[0])**2

# %% tags=["nbval-ignore-output"]
flat_betas = [0.1, 0.3, 1.0, 3.0]
maps = DeepVAE(latents=2, copies=4, seed=3)
remember(train, maps, x_train["Bernoulli"], 8, torch.tensor(flat_betas)[:, None], 3)
with torch.no_grad():
    encoded = [(mu.double().numpy(), lv.double().numpy()) for mu, lv in zip(*maps.encode(x_train["Bernoulli"]))]
together = [aggregate(mu, lv) for mu, lv in encoded]
surgery = [(models.vae_kl(mu, lv).mean(), distance_to_prior(density)) for (mu, lv), density in zip(encoded, together)]
for beta, (rate, away) in zip(flat_betas, surgery):
    print(f"β = {beta}: rate {rate:.2f} = told about the image {rate - away:.2f} + codes away from the prior {away:.2f} nats")

# %%
rng = np.random.default_rng(0)
mu, lv = encoded[2]
z = mu + np.exp(lv / 2) * rng.standard_normal(mu.shape)
log_each = models.log_normal(z[:, None], mu[None], np.exp(lv[None] / 2)).sum(-1)  # log q(z_n | x_m), (1500, 1500)
told = np.diag(log_each) - models.log_mean_exp(log_each, axis=1)
by_grid = surgery[2][0] - surgery[2][1]
print(f"β = 1, told about the image: grid and draws agree within 4 standard errors: {abs(told.mean() - by_grid) < 4 * told.std() / 1500**0.5}")
print(f"told is below log 1500 = {np.log(1500):.2f} nats for every β: {all(r - a < np.log(1500) for r, a in surgery)}")


# %% tags=["nbval-ignore-output"]
def codes_over_the_prior(fig):
    left, right = fig.subplots(1, 2)
    turn = np.linspace(0, 2 * np.pi, 100)
    (dots,) = left.plot([], [], **plots.style("data", markersize=3))
    cloud = right.imshow(np.zeros((201, 201)), extent=(-5, 5, -5, 5), origin="lower", vmin=0, vmax=0.25, cmap=plots.colormap("q"))
    for ax, title in ((left, "means μ(x) of 1,500 codes"), (right, "aggregate posterior q(z)")):
        for r in (1, 2):
            ax.plot(r * np.cos(turn), r * np.sin(turn), **plots.style("prior", linewidth=1.5))
        ax.set(xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), aspect="equal", xlabel="z₁", ylabel="z₂", title=title)
    ellipses = [left.plot([], [], **plots.style("q", linewidth=1.2))[0] for _ in range(12)]

    def update(beta=1.0, spread=True):
        i = flat_betas.index(beta)
        mu, lv = encoded[i]
        dots.set_data(*mu.T)
        for n, line in enumerate(ellipses):
            sd = 2 * np.exp(lv[n] / 2) * spread
            line.set_data(mu[n, 0] + sd[0] * np.cos(turn), mu[n, 1] + sd[1] * np.sin(turn))
        cloud.set_data(together[i])
        rate, away = surgery[i]
        return f"rate {rate:.3f} = told about the image {rate - away:.3f} + codes away from the prior {away:.3f} nats"
    return update


explore(codes_over_the_prior, beta=flat_betas, spread=True, labels={"spread": "2σ ellipses of 12 codes"},
        alt="Left: the codes' means over the prior's circles, twelve with their ellipses; right: the density of all codes together")

# %%
print(f"with β = 0.1 the codes are further from the prior than with β = 1: {surgery[0][1] > surgery[2][1]}, and tell more: {surgery[0][0] > surgery[2][0] + 1}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The mean codes are *not* distributed as the prior, and need not be: each stands for an ellipse, and the ellipses together make $q(z)$. At $\beta=1$ they roughly fill the circles, with thinner and thicker places. At $\beta=0.1$ the ellipses are small, the code tells
# more, and all codes together spread beyond the circles and leave bare patches inside, as in lesson 02's autoencoder: a draw from the prior may land where no image ever was. At $\beta=3$ the code tells little, and the fit to the prior is best.
#
# </details>
#
# ## 4 · The β dial
#
# Now ten latents. Call $D=-\mathbb E\log p_\theta(x\mid z)$ the **distortion** and $R$ the rate; minus the ELBO is $D+R$. Training on $D+\beta R$ buys less distortion for more rate at an exchange rate of $\beta$: if the network can reach every
# point of a curve $D(R)$, it stops where one more nat of rate would save just $\beta$ nats of distortion, $\frac{dD}{dR}=-\beta$.
#
# ### Exercise 8.1 · Rate and distortion from draws ●○○ · 8 min
#
# Given are the three logarithms at the draws $z_k\sim q(z\mid x_n)$. Estimate the distortion, the rate, and the objective $D+\beta R$ that is minimised, each averaged over draws and images.

# %% exercise="rate_distortion"
def rate_distortion(log_lik, log_prior, log_q, beta):
    """Distortion D, rate R and D + beta R, three numbers in nats, from log p(x|z), log p(z), log q(z|x), arrays (K, N) each."""
    ### BEGIN SOLUTION
    D = -np.mean(log_lik)
    R = np.mean(log_q - log_prior)
    return D, R, D + beta * R
    ### END SOLUTION

# %% check="rate_distortion"
check.rate_distortion(rate_distortion)

# %% [markdown]
# Nine VAEs, nine values of $\beta$, one training:

# %%
betas = [0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]
dials = DeepVAE(copies=9, seed=4)
remember(train, dials, x_train["Bernoulli"], 12, torch.tensor(betas)[:, None], 4)
with torch.no_grad():
    recon, _, rate = draw(dials, x_test["Bernoulli"], 20, torch.Generator().manual_seed(0))
    mu, logvar = dials.encode(x_test["Bernoulli"])
    D, R = -recon.mean((1, 2)).double().numpy(), rate.mean(1).double().numpy()
    each_rate = ((mu**2 + logvar.exp() - 1 - logvar) / 2).mean(1).numpy()  # (9, 10): the rate of each latent
    again = torch.sigmoid(dials.decoder(mu[:, None, :8]))[:, 0].numpy()
    fresh = torch.sigmoid(dials.decoder(torch.randn(8, 10, generator=torch.Generator().manual_seed(1)).expand(9, 1, 8, 10)))[:, 0].numpy()
print(f"the larger β, the smaller the rate: {bool((np.diff(R) < 0).all())}; the larger the distortion: {bool((np.diff(D) > 0).all())}")
print(f"D + R is smallest for β between 0.4 and 1.5: {0.4 <= betas[int(np.argmin(D + R))] <= 1.5}")

# %% [markdown]
# **Predict before you move.** At $\beta=1$ the code of a test image has a rate of about 4.5 nats.

# %%
dial_gate = predict(r"Train with $\beta=5$ instead: how many nats of rate are left?",
                    {"about 9: twice as many": 9.0, "about 2.3: half of it": 2.3, "about 0.9: a fifth": 0.9, "next to nothing": 0.03})
dial_gate


# %% tags=["nbval-ignore-output"]
def beta_dial(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.25])
    (trace,) = left.plot([], [], color="0.6", linewidth=1.5, marker=".", markersize=6)
    (tangent,) = left.plot([], [], **plots.style("kl"))
    (dot,) = left.plot([], [], "o", color="black", markersize=9)
    mark = plots.prediction(left)
    left.set(xlim=(-0.6, 20), ylim=(5, 28), xlabel="rate R, nats", ylabel="distortion D, nats", title="black: this β, grey: smaller ones;\nviolet: slope −β")
    picture = right.imshow(np.zeros((30, 80)), cmap="gray_r", vmin=0, vmax=1)
    right.set(xticks=[], yticks=[4.5, 14.5, 24.5], yticklabels=["scans", "decoded", "drawn"])
    right.spines[:].set_visible(False)

    def update(dial=4, prediction=None):
        beta = betas[dial]
        reach = min(6, 6 / beta)
        trace.set_data(R[:dial + 1], D[:dial + 1])
        tangent.set_data(R[dial] + np.array([-reach, reach]), D[dial] + beta * np.array([reach, -reach]))
        dot.set_data([R[dial]], [D[dial]])
        picture.set_data(sheet(np.concatenate([x_test["Bernoulli"][:8].numpy(), again[dial], fresh[dial]]), 3))
        mark.set(prediction, 5.6)
        return (f"β = {beta}   rate {R[dial]:.2f}   distortion {D[dial]:.2f}   ELBO {-D[dial] - R[dial]:.2f} nats   "
                f"latents with more than 0.1 nats: {(each_rate[dial] > 0.1).sum()}")
    return update


explore(beta_dial, dial=(0, 8), predict=dial_gate, labels={"dial": "β, from 0.1 to 5"}, size=(8.5, 3.8),
        alt="Left: distortion against rate for nine weights β, with the slope −β; right: scans, their decoded codes, and draws from the prior")

# %%
print(f"β = 5: rate below 0.5 nats, distortion within 1 nat of 64 independent bits: {bool(R[-1] < 0.5 and abs(D[-1] + flat) < 1)}")
print(f"β = 0.1: rate more than twice that of β = 1: {bool(R[0] > 2 * R[4])}, and an ELBO lower by more than 2 nats: {bool(D[0] + R[0] > D[4] + R[4] + 2)}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# One curve. Turning the dial down moves right: sharper decoded digits, longer codes, and *worse draws*, because the codes leave the prior (section 3). Turning it up moves left: draws and decoded digits become the same blurred
# mean digit; at $\beta=5$ there is no code, and the distortion is that of 64 independent bits. The violet line touches the curve about where its slope fits: a nat of rate that does not pay for itself at the price $\beta$ is not bought.
#
# Only at $\beta=1$ is $D+R$ what is trained. With $\beta>1$ the objective is still a lower bound on $\log p(x)$, only a looser one, and it makes *another model*.
#
# </details>
#
# ## 5 · Latents that sleep
#
# Give the model twenty latents. It will not use them all; but which, and how many, depends on the road. Three schedules for the weight of the rate, three starts each, nine VAEs side by side:
#
# * **plain**: $\beta=1$ throughout;
# * **warm-up**: $\beta$ rises from near 0 to 1 over the first eight passes;
# * **heavy first**: $\beta=4$ for six passes, then 1.

# %%
SCHEDULES = {"plain": lambda epoch: 1.0, "warm-up": lambda epoch: min(1.0, 0.02 + epoch / 8), "heavy first": lambda epoch: 4.0 if epoch < 6 else 1.0}


def train_schedules(vae, x, x_judge, epochs, seed):
    """Copies 0-2 plain, 3-5 with warm-up, 6-8 heavy first, from the same three starts. Returns each latent's rate after every pass."""
    with torch.no_grad():
        for p in vae.parameters():
            p[3:6] = p[6:] = p[:3]
    g, history = torch.Generator().manual_seed(seed), []
    beta = lambda epoch: torch.tensor([[schedule(epoch)] for schedule in SCHEDULES.values() for _ in range(3)])

    def report(epoch, _):
        with torch.no_grad():
            mu, logvar = vae.encode(x_judge)
            history.append(((mu**2 + logvar.exp() - 1 - logvar) / 2).mean(1).numpy())
    fit(lambda batch: negative_elbo(vae, batch, g, beta(len(history))), vae.parameters(), x, epochs=epochs, batch_size=25, lr=5e-3,
        rng=np.random.default_rng(seed), report=report)
    return {"rates": np.array(history)}

# %% [markdown]
# To judge them we need $\log p(x)$: the log of the mean of $S$ importance weights (lesson 05), in slices of 100 draws. It is $\mathcal L_S$, so it is itself a lower bound in expectation; a close one for some hundreds of draws.

# %%
def evaluate(vae, x, S, seed):
    """ELBO and log p of each copy, means over images x, nats, from S draws (a multiple of 100) for each image. Changes nothing."""
    g, log_w = torch.Generator().manual_seed(seed), []
    with torch.no_grad():
        for _ in range(S // 100):
            log_lik, log_ratio, _ = draw(vae, x, 100, g)
            log_w.append(log_lik + log_ratio)
    log_w = torch.cat(log_w, 1)
    return {"elbo": log_w.mean((1, 2)), "log_p": (torch.logsumexp(log_w, 1) - np.log(S)).mean(1)}

# %% tags=["nbval-ignore-output"]
twenty = DeepVAE(latents=20, copies=9, seed=0)
rates = remember(train_schedules, twenty, x_train["Bernoulli"], x_test["Bernoulli"], 16, 0)["rates"]  # (16 passes, 9, 20)
sleepers = remember(evaluate, twenty, x_test["Bernoulli"], 200, 0)
in_use = (rates > 0.1).sum(-1)                                        # (16, 9)
for i, name in enumerate(SCHEDULES):
    own = slice(3 * i, 3 * i + 3)
    print(f"{name:>11}: latents in use {in_use[-1, own].tolist()}, rate {rates[-1, own].sum(-1).mean():.1f}, "
          f"ELBO {sleepers['elbo'][own].mean():.2f}, log p(x) {sleepers['log_p'][own].mean():.2f} nats")

# %%
print(f"each warm-up run has more latents in use than each plain run: {in_use[-1, 3:6].min() > in_use[-1, :3].max()}")
gain = {name: sleepers[name][3:6].mean() - sleepers[name][:3].mean() for name in ("log_p", "elbo")}
print(f"warm-up has the better log p(x) on average: {gain['log_p'] > 0}; log p(x) gains over 0.1 nats more than the ELBO does: {gain['log_p'] > gain['elbo'] + 0.1}")


# %% tags=["nbval-ignore-output"]
def sleeping_latents(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1.3, 1])
    bars = left.bar(np.arange(1, 21), np.zeros(20), facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    left.axhline(0.1, color="black", linewidth=1, linestyle=":")
    left.set(ylim=(0, 2.2), xlim=(0.3, 20.7), xticks=[1, 5, 10, 15, 20], xlabel="latent, sorted by its rate at the end", ylabel="rate, nats")
    passes = np.arange(1, 17)
    for i, (name, look) in enumerate(zip(SCHEDULES, (("black", "-"), (plots.GREEN, "--"), (plots.BLUE, ":")))):
        right.plot(passes, in_use[:, 3 * i:3 * i + 3].mean(1), color=look[0], linestyle=look[1], linewidth=2, label=name)
    (dot,) = right.plot([], [], "o", color=plots.VERMILLION, markersize=10)
    right.legend(loc="upper right")
    right.set(ylim=(0, 24), xticks=[1, 4, 8, 12, 16], xlabel="passes over the data", title="latents above 0.1 nats, mean of 3")

    def update(schedule="plain", start=1, passes=16):
        copy = 3 * list(SCHEDULES).index(schedule) + start - 1
        now = rates[passes - 1, copy][np.argsort(-rates[-1, copy])]
        for bar, height in zip(bars, now):
            bar.set_height(min(height, 2.2))
        dot.set_data([passes], [in_use[passes - 1, copy]])
        return f"after {passes} passes: {in_use[passes - 1, copy]} latents above 0.1 nats, rate {now.sum():.2f} nats"
    return update


explore(sleeping_latents, schedule=list(SCHEDULES), start=[1, 2, 3], passes=(1, 16), labels={"start": "start (seed)", "passes": "passes over the data"},
        alt="Left: the rate of each of twenty latents; right: how many are in use over the training, for three schedules")

# %%
print(f"heavy first: at most 2 latents are awake after five passes: {in_use[4, 6:].max() <= 2}; at least 3 in the end: {in_use[-1, 6:].min() >= 3}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Plain training decides early: the price of a latent is due before the decoder has learned what it is good for, so most are shut within a few passes, and five or six carry everything. Warm-up lets all twenty work while they cost little, and then shuts them one by one; a few more survive. Heavy first
# kills all, and then *they come back*, as soon as the price is 1: in this model a code pays, so the collapse was the schedule's fault and is not for ever. (On the ring of lesson 06 it was the objective's own wish.)
#
# </details>
#
# Did warm-up help? $\log p(x)$ says clearly yes. The ELBO hardly sees it: the additional latents make posteriors that the Gaussian $q$ fits less well, and most of the gain goes into the gap. Keep this in mind for section 7.
#
# The usual count is another one (Burda and others, 2016): a latent is **active** if its posterior mean moves with the image, $\operatorname{Var}_x\big[\mu_i(x)\big]>0.01$. After long training both counts agree; after sixteen passes some sleepers still twitch above 0.01.
#
# ### Exercise 8.2 · Active units ●○○ · 6 min

# %% exercise="active_units"
def active_units(mu, threshold=0.01):
    """How many latents are active: mu (N, L), posterior means of N images. A whole number."""
    ### BEGIN SOLUTION
    return int((np.var(mu, axis=0) > threshold).sum())
    ### END SOLUTION

# %% check="active_units"
check.active_units(active_units)

# %% [markdown]
# ## 6 · The ruler of one digit
#
# For a trained model and one digit, lesson 06's two gaps:
#
# $$\log p_\theta(x)-\mathcal L[q_\varphi] = \underbrace{\log p_\theta(x)-\mathcal L[q^*]}_{\text{approximation}} + \underbrace{\mathcal L[q^*]-\mathcal L[q_\varphi]}_{\text{amortisation}}.$$
#
# We take the dial's fifth network, $\beta=1$. No grid this time: it has ten latents. $q^*$ comes from optimising $\mu$ and `logvar` for this very image, with the decoder held fixed; $\log p_\theta(x)$ from many importance samples. Both have errors, so we say how large.

# %%
def log_weights(vae, x, mu, logvar, K, seed):
    """log w of K draws from N(mu, e^logvar) for each image, (K, B), nats. mu, logvar (1, B, L). The same seed gives the same noise."""
    eps = torch.randn(1, K, *mu.shape[1:], generator=torch.Generator().manual_seed(seed))
    z = models.reparameterise(mu[:, None], logvar[:, None], eps)
    return (log_likelihood(vae.kind, vae.decoder(z), x, vae.log_s) + ((eps**2 + logvar[:, None] - z**2) / 2).sum(-1))[0]


def best_gaussians(vae, x, steps):
    """Optimise a diagonal Gaussian for each image x (B, 64) by Adam on 32 draws, from the encoder's. Returns mu, logvar (1, B, L)."""
    q = [v.detach().clone().requires_grad_() for v in vae.encode(x)]
    optimiser = torch.optim.Adam(q, lr=0.03)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        loss = -log_weights(vae, x, *q, 32, step).mean(0).sum()
        optimiser.zero_grad()
        q_grad = torch.autograd.grad(loss, q)
        for v, grad in zip(q, q_grad): v.grad = grad
        optimiser.step()
        slower.step()
    return {"mu": q[0].detach(), "logvar": q[1].detach()}

# %%
ten = DeepVAE()
ten.load_state_dict({name: weights[4:5] for name, weights in dials.state_dict().items()})  # number five of the nine
some = x_test["Bernoulli"][:10]
best = {k: torch.tensor(v) for k, v in remember(best_gaussians, ten, some, 200).items()}
with torch.no_grad():
    own = {"encoder": ten.encode(some), "best": (best["mu"], best["logvar"])}
    log_w = {name: log_weights(ten, some, mu, lv, 4096, 99).double().numpy() for name, (mu, lv) in own.items()}
elbos = {name: w.mean(0) for name, w in log_w.items()}               # (10,) each
log_p = models.log_mean_exp(log_w["best"], axis=0)
by_encoder = models.log_mean_exp(log_w["encoder"], axis=0)
print(f"ten digits: the ELBO of q* is above the encoder's for every one: {bool((elbos['best'] > elbos['encoder']).all())}")
print(f"log p is above the ELBO of q* for every one: {bool((log_p > elbos['best']).all())}")
print(f"both proposals agree on the mean log p within 0.1 nats: {abs(log_p.mean() - by_encoder.mean()) < 0.1}")

# %% tags=["nbval-ignore-output"]
groups = models.log_mean_exp(log_w["best"].reshape(16, 256, 10), axis=1)  # 16 estimates from 256 draws each
error = groups.std(0, ddof=1) / 4
print(f"mean of ten digits: ELBO {elbos['encoder'].mean():.2f} < ELBO of q* {elbos['best'].mean():.2f} < log p {log_p.mean():.2f} nats")
print(f"approximation gap {(log_p - elbos['best']).mean():.2f} + amortisation gap {(elbos['best'] - elbos['encoder']).mean():.2f} nats")
print(f"error of one digit's log p: about {error.max():.3f} nats at most; of its ELBO: {log_w['encoder'].std(0).max() / 64:.3f}")

# %%
gaps = (log_p - elbos["best"]).mean(), (elbos["best"] - elbos["encoder"]).mean()
print(f"each gap is more than five times the error of the mean: {bool(min(gaps) > 5 * error.max() / 10**0.5)}")


# %% tags=["nbval-ignore-output"]
def ruler_of_a_digit(fig):
    ax = fig.subplot_mosaic([["scan", "run"], ["ruler", "ruler"]], height_ratios=[2.4, 1], width_ratios=[1, 2.6])
    scan = ax["scan"].imshow(np.zeros((8, 18)), cmap="gray_r", vmin=0, vmax=1)
    ax["scan"].set(xticks=[], yticks=[], title="scan · decoded")
    drawn = np.unique(np.geomspace(1, 4096, 60).astype(int))
    lines = [ax["run"].plot([], [], label=label, **plots.style(role, linewidth=2))[0] for role, label in (("q", "weights of the encoder's q"), ("posterior", "of the best Gaussian"))]
    (now,) = ax["run"].plot([], [], "o", color="black", markersize=8)
    ax["run"].legend(loc="lower right")
    ax["run"].set(xscale="log", xlim=(0.9, 5000), ylim=(-6, 3), xlabel="importance samples K", title="log of the mean of K weights, minus the last")
    start = np.floor(elbos["encoder"].min() - 3)
    ruler = plots.ruler(ax["ruler"], start, np.ceil(log_p.max() + 1))
    (tick,) = ax["ruler"].plot([0, 0], [-0.45, 0.45], color="black", linewidth=1.5, linestyle="--")
    ax["ruler"].set_title("log p(x) = ELBO (green) + gap (hatched); dashed: ELBO of the best Gaussian")
    with torch.no_grad():
        decoded = torch.sigmoid(ten.decoder(own["encoder"][0][:, None]))[0, 0].numpy()
    running = {name: np.logaddexp.accumulate(w, axis=0) - np.log(np.arange(1, 4097))[:, None] for name, w in log_w.items()}

    def update(digit=1, doublings=12):
        i, K = digit - 1, 2**doublings
        scan.set_data(np.hstack([some[i].numpy().reshape(8, 8), np.zeros((8, 2)), decoded[i].reshape(8, 8)]))
        for line, name in zip(lines, ("encoder", "best")):
            line.set_data(drawn, np.clip(running[name][drawn - 1, i] - log_p[i], -6, 3))
        estimate = running["best"][K - 1, i]
        now.set_data([K], [np.clip(estimate - log_p[i], -6, 3)])
        ruler.set(max(estimate, start), elbos["encoder"][i])
        tick.set_xdata([elbos["best"][i]] * 2)
        return (f"K = {K}: log p {estimate:.2f}   from all {log_p[i]:.2f} ± {error[i]:.2f}   ELBO {elbos['encoder'][i]:.2f}, of q* {elbos['best'][i]:.2f}   "
                f"gaps: approximation {log_p[i] - elbos['best'][i]:.2f}, amortisation {elbos['best'][i] - elbos['encoder'][i]:.2f} nats")
    return update


explore(ruler_of_a_digit, digit=(1, 10), doublings=(0, 12), size=(8.5, 4.4), labels={"digit": "test digit", "doublings": "log₂ of samples K"},
        alt="A scan and its decoded code; the running estimates of log p from two sets of weights; the ruler with ELBO, best ELBO and log p")

# %%
scatter = {name: w.std(0).mean() for name, w in log_w.items()}
print(f"the log weights of q* scatter less than the encoder's, mean over ten digits: {scatter['best'] < scatter['encoder']}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With $K=1$ the end of the ruler is one log weight, whose *mean* is the ELBO of $q^*$. With more draws it settles from below, up to some luck; from a few hundred draws on nothing much happens. The two running curves meet: $\log p$ is a property
# of the model, whichever $q$ supplies the draws. The better $q$ gets there sooner.
#
# Digits differ. Where the amortisation gap is wide, the encoder is off for this hand, and a few steps of optimisation for this image would help; where the approximation gap is wide, no diagonal Gaussian fits.
#
# </details>
#
# ### Exercise 8.3 · log p with its error ●●○ · 12 min
#
# From $K$ log weights of one image return $\widehat{\log p}=\log\frac1K\sum_k w_k$ and its standard error. The weights are around $e^{-20}$ here, around $e^{-800}$ for larger images: never form them. For the error use the *relative* weights
# $r_k=w_k/\bar w$, whose mean is 1: the relative error of the mean is $\operatorname{sd}(r)/\sqrt K$, and that is the error of its logarithm to first order (sd with `np.std`, dividing by $K$).

# %% exercise="log_p_estimate"
def log_p_estimate(logw):
    """Estimate of log p(x) and its standard error, two numbers in nats, from log weights (K,)."""
    ### BEGIN SOLUTION
    log_p = models.log_mean_exp(logw)
    return log_p, np.std(np.exp(logw - log_p)) / np.sqrt(len(logw))
    ### END SOLUTION

# %% check="log_p_estimate"
check.log_p_estimate(log_p_estimate)

# %% [markdown]
# ## 7 · The table
#
# Lesson 05's bound with $k$ weights, $\mathcal L_k=\mathbb E\log\frac1k\sum_j w_j$, can be trained on as well: the **importance weighted autoencoder**. Both objectives average the same log weights; they differ in *who teaches*:
#
# $$\nabla\,\frac1k\sum_j\log w_j=\sum_j\tfrac1k\,\nabla\log w_j,\qquad\qquad \nabla\log\frac1k\sum_j w_j=\sum_j\tilde w_j\,\nabla\log w_j,\quad \tilde w_j=\frac{w_j}{\sum_i w_i}.$$
#
# In the VAE each draw has the same say; in the IWAE a draw that explains the image well has more. A bad draw is punished in the one and ignored in the other.

# %%
def weighted_loss(vae, x, k, share, g):
    """A loss whose gradient is that of the bound with k draws: the VAE's (share 0) or the IWAE's (share 1); share: number or (C, 1, 1).

    Mean over images, sum over copies.
    """
    log_lik, log_ratio, _ = draw(vae, x, k, g)
    log_w = log_lik + log_ratio                          # (C, k, B)
    say = torch.softmax(share * log_w.detach(), 1)       # 1/k each, or the normalised weights
    return -(say * log_w).sum(1).mean(-1).sum()


def train_table(vae, x, k, share, seed):
    """Eight passes, batches of 20, steps of 0.016, shrinking in the last third; equal starts for both. Returns the mean losses."""
    with torch.no_grad():
        for p in vae.parameters():
            p[3:] = p[:len(p) - 3]
    g, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    return {"loss": fit(lambda batch: weighted_loss(vae, batch, k, share, g), vae.parameters(), x, epochs=8, batch_size=20,
                        lr=lambda done: 0.016 * min(1, 3 * (1 - done)), rng=rng)}

# %% [markdown]
# ### Exercise 8.4 · The IWAE loss ●●○ · 10 min
#
# `weighted_loss` has the right gradient but a meaningless value. Write the loss itself, $-\mathcal L_k$: the negative log of the mean weight over the $k$ draws, **then** averaged over the images. In torch, so that gradients flow, and so that $e^{-800}$ does not harm.

# %% exercise="iwae_loss"
def iwae_loss(logw):
    """Minus the IWAE bound, a scalar tensor in nats: logw (k, B), log weights of k draws for each of B images."""
    ### BEGIN SOLUTION
    return -(torch.logsumexp(logw, dim=0) - np.log(len(logw))).mean()
    ### END SOLUTION

# %% check="iwae_loss"
check.iwae_loss(iwae_loss)

# %% [markdown]
# Now the table: both objectives, $k=1,5,50$ (for $k=1$ they are the same), **three starts each**, side by side. To stay below half a minute the networks have one hidden layer of 64 and train for eight passes, and $\log p(x)$ is judged by 300 importance samples for each of the 297 test images. (The published table: 3,280 passes on MNIST.)

# %%
table = {}
for k in (1, 5, 50):
    share = torch.tensor([0.0] * 3 if k == 1 else [0.0] * 3 + [1.0] * 3)[:, None, None]
    vae = DeepVAE(hidden=(64,), copies=len(share), seed=6)
    remember(train_table, vae, x_train["Bernoulli"], k, share, 6)
    judged = remember(evaluate, vae, x_test["Bernoulli"], 300, 1)
    table["VAE", k], table["IWAE", k] = ({name: v[own] for name, v in judged.items()} for own in (slice(3), slice(3, 6)))
table["IWAE", 1] = table["VAE", 1]
better = all((table[a]["log_p"].mean() > table[b]["log_p"].mean()) for a, b in
             ((("VAE", 5), ("VAE", 1)), (("IWAE", 5), ("VAE", 1)), (("IWAE", 50), ("IWAE", 5)), (("IWAE", 50), ("VAE", 50))))
print(f"log p(x): more draws are better, and IWAE with 50 is better than the VAE with 50: {better}")
print(f"IWAE with k = 50 is better than the VAE with k = 1 by more than 0.3 nats for each start: "
      f"{bool((table['IWAE', 50]['log_p'] > table['VAE', 1]['log_p'] + 0.3).all())}")

# %% [markdown]
# So the published order, on other data and in less than half a minute; only at $k=5$ are VAE and IWAE still close after so short a training. Now the other number. **Predict before you move.** The VAE with $k=1$ has an ELBO of about $-19.3$ nats on the test digits, and a $\log p(x)$ of about $-18.6$.

# %%
table_gate = predict(r"The IWAE with $k=50$ has a better $\log p(x)$, about $-17.8$. Where is **its** ELBO?",
                     {"about −18.5: it has moved up with log p": -18.5, "about −19.3: unchanged": -19.3, "about −20.5: a little lower": -20.5,
                      "about −23: much lower": -23.0})
table_gate


# %% tags=["nbval-ignore-output"]
def bound_and_likelihood(fig):
    axes = fig.subplots(3, 1, sharex=True)
    rulers = [plots.ruler(ax, -25, -17) for ax in axes]
    mark = plots.prediction(axes[0])
    for i, ax in enumerate(axes):
        ax.set_ylabel(f"start {i + 1}", rotation=0, ha="right", va="center")
    axes[0].set_title("test digits: ELBO (green) and log p(x) (black end); gap hatched")
    axes[2].set_xlabel("nats")

    def update(objective="VAE", k=5, prediction=None):
        elbo, log_p = table[objective, k]["elbo"], table[objective, k]["log_p"]
        for ruler, *ends in zip(rulers, log_p, elbo):
            ruler.set(*ends)
        mark.set(prediction, 0)
        return (f"{objective}, k = {k}: log p(x) {log_p.mean():.2f}   ELBO {elbo.mean():.2f}   gap {np.mean(log_p - elbo):.2f} nats (means of three starts)")
    return update


explore(bound_and_likelihood, objective=["VAE", "IWAE"], k=[1, 5, 50], predict=table_gate, size=(8.5, 3.4), labels={"k": "draws k in training"},
        alt="Three rulers, one for each start: the ELBO in green, the gap hatched, log p as the black end")

# %%
widest = {key: (value["log_p"] - value["elbo"]) for key, value in table.items()}
print(f"k = 50: the gap of each VAE is below 1 nat: {bool((widest['VAE', 50] < 1).all())}; of each IWAE above 2.5 nats: {bool((widest['IWAE', 50] > 2.5).all())}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With the VAE objective more draws push black and green to the right together. With the IWAE objective black goes further right, and green goes **left**: the gap opens to about five nats. The model is the best of all, and its ELBO the worst.
#
# Why? The IWAE's $q$ is not asked to be the posterior. It is asked to *propose*, so that among 50 draws some are good; the bad ones have no say. Such a $q$ is broad, and the posterior may have a shape that no Gaussian fits. The ELBO is the mean log weight, and it counts the bad
# draws. So never compare an IWAE and a VAE by the ELBO. Compare $\log p(x)$, estimated in the same way.
#
# </details>
#
# Here is the table as it is usually printed, **negative** log-likelihoods (smaller is better) with standard errors over the starts, and beside it what is usually left out. The published column is MNIST, 784 pixels: compare the order, not the numbers.

# %% tags=["nbval-ignore-output"]
published = {("VAE", 1): 86.76, ("VAE", 5): 86.47, ("VAE", 50): 86.35, ("IWAE", 1): 86.76, ("IWAE", 5): 85.54, ("IWAE", 50): 84.78}


def with_error(values):
    """Mean ± standard error over the starts, as text."""
    return f"{values.mean():.2f} ± {values.std(ddof=1) / len(values)**0.5:.2f}"


plots.show_table([[o, k, with_error(-table[o, k]["log_p"]), with_error(-table[o, k]["elbo"]), f"{published[o, k]:.2f}"] for o, k in published],
                 ["objective", "k", "−log p(x), digits", "−ELBO of the same model", "−log p(x), published, MNIST"])
print(f"best: {-table['IWAE', 50]['log_p'].mean() / (64 * np.log(2)):.3f} bits a pixel; 64 independent bits: {-flat / (64 * np.log(2)):.3f}")

# %% [markdown]
# ### Misconception: "the model with the higher ELBO is the better model"

# %%
for objective in ("VAE", "IWAE"):
    change = {name: table[objective, 50][name].mean() - table["VAE", 1][name].mean() for name in ("log_p", "elbo")}
    print(f"{objective:>4}, k = 50 against k = 1: log p(x) is higher: {change['log_p'] > 0.2}; the ELBO is higher: {change['elbo'] > 0}; "
          f"it is lower by more than 1 nat: {change['elbo'] < -1}")
print(f"true for every start: {bool((table['IWAE', 50]['elbo'] < table['VAE', 1]['elbo'] - 1).all())}")

# %% [markdown]
# **Harder, not checked.** (a) Take the IWAE with $k=50$, freeze its decoder and train a *new* encoder on the ELBO. How much of the gap is the encoder's choice, and how much is the family's?
# (b) Let `best_gaussians` optimise a full covariance: $z=\mu+A\epsilon$ with a lower-triangular $A$. How much of the approximation gap is left? (c) Count latents with `active_units` in all cells of the table.
#
# ## 8 · Reading the instruments
#
# | what you see | what it can mean | look at |
# |-|-|-|
# | two models, two losses, other likelihoods | nothing yet | the same event for both (section 2) |
# | sharp decoded scans, poor draws | codes away from the prior; $\beta$ too small | $D_{\mathrm{KL}}(q(z)\Vert p(z))$ (section 3), the dial (section 4) |
# | draws and decoded scans alike and grey | no code; $\beta$ too large | rate near 0, distortion of independent pixels (section 4) |
# | few latents in use | the road, or the objective's wish | warm-up, then compare $\log p(x)$, not only the ELBO (section 5) |
# | ELBO far below $\log p(x)$ | encoder off, or $q$'s family too small | optimise $q$ for a few images (section 6) |
# | a better model with a worse ELBO | it was trained to propose, not to approximate | $\log p(x)$ with many samples and its error (sections 6, 7) |
# | train ELBO rises, test ELBO falls | 1,500 images are few | stop earlier; always print the test number |
#
# ## Recap
#
# **Short.** A deep VAE on real digits trains in seconds; reading it takes longer. Its loss is a sum of two prices, its codes need not fill the prior, and its ELBO is not its likelihood.
#
# **Standard.** Likelihoods can be compared only on the same event. The aggregate posterior shows where draws from the prior will land; the weight $\beta$ moves a model along a curve of distortion against rate, with slope $-\beta$. How many latents are used depends on the schedule as well as on the objective, and
# latents that sleep can wake if a code pays. $\log p(x)$ is estimated by many importance samples, with an error bar; optimising $q$ for single images splits the gap into approximation and amortisation. Training on the IWAE bound gives better likelihoods with worse ELBOs, since its $q$ only has to propose.
#
# **Detailed.**
#
# | what | equation |
# |-|-|
# | log weight | $\log w_k=\log p(x\mid z_k)+\log p(z_k)-\log q(z_k\mid x)$, $z_k=\mu+\sigma\epsilon_k$ |
# | ELBO, IWAE bound | $\mathbb E\,\frac1k\sum\log w_j\le\mathbb E\log\frac1k\sum w_j\le\log p(x)$ |
# | their gradients | $\sum_j\frac1k\nabla\log w_j$; $\sum_j\tilde w_j\nabla\log w_j$ |
# | rate, distortion | $R=\mathbb E\log\frac{q(z\mid x)}{p(z)}$, $D=-\mathbb E\log p(x\mid z)$; $-\text{ELBO}=D+R$; on the curve $\frac{dD}{dR}=-\beta$ |
# | surgery | $R=I(n;z)+D_{\mathrm{KL}}(q(z)\Vert p(z))$ |
# | error of $\log p$ | $\operatorname{sd}(w/\bar w)/\sqrt K$ |
# | active unit | $\operatorname{Var}_x[\mu_i(x)]>0.01$ |
# | bits per pixel | nats $/(D\log2)$, here $D=64$ pixels |
#
# **Memory aid.** *A VAE's encoder must be right on average; an IWAE's must be right once.*
#
# **Key terms.** distortion · rate–distortion curve · β-VAE · active unit · importance weighted autoencoder (IWAE) · negative log-likelihood (NLL) · bits per pixel · latent traversal

# %%
flash_cards(8)

# %%
quiz("08_deep_vaes")

# %% [markdown]
# ## A conversation

# %%
dialogue([
    ("Student", "I have trained two models on the digits. The first has an ELBO of minus nineteen, the second of minus twenty-three. I throw the second away."),
    ("Teacher", "How was the second one trained?"),
    ("Student", "With fifty importance samples. It even took longer, and it is worse by four nats."),
    ("Teacher", "What is the ELBO the average of?"),
    ("Student", "Of log weights of single draws from the encoder. So if the encoder draws many useless codes, it goes down."),
    ("Teacher", "And does the decoder, the model itself, get worse by a useless code?"),
    ("Student", "No. The decoder has not heard of the encoder. Then I must compare log p itself. But I cannot compute it, there are ten latents."),
    ("Teacher", "Estimate it. Draw some hundred codes, average the weights, not their logarithms, and say how large the error is."),
    ("Student", "Now the second is better, by more than half a nat. So its encoder was not trained to be the posterior, only to hit it once in fifty draws."),
    ("Teacher", "Good. And if your decoded digits are all alike and grey?"),
    ("Student", "Then I look at the rate. If it is zero there is no code, and I turn beta down, or warm it up."),
    ("Teacher", "And you will judge the cure by what?"),
    ("Student", "By log p on digits that it has never seen, with the same likelihood, and by more than one start."),
])

# %% [markdown]
# ## References
#
# - Y. Burda, R. Grosse, R. Salakhutdinov (2016), *Importance Weighted Autoencoders*, ICLR: section 7's table is its Table 1; active units.
# - I. Higgins and others (2017), *beta-VAE*, ICLR; A. Alemi and others (2018), *Fixing a Broken ELBO*, ICML: rate and distortion.
# - M. Hoffman, M. Johnson (2016), *ELBO surgery*, workshop at NIPS: the aggregate posterior.
# - S. Bowman and others (2016), *Generating Sentences from a Continuous Space*, CoNLL; C. Sønderby and others (2016), *Ladder Variational Autoencoders*, NIPS: warm-up.
# - C. Cremer, X. Li, D. Duvenaud (2018), *Inference Suboptimality in Variational Autoencoders*, ICML: the two gaps.
# - T. Rainforth and others (2018), *Tighter Variational Bounds are Not Necessarily Better*, ICML: what many samples do to the encoder.
# - E. Alpaydin, C. Kaynak (1998), *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository: the scans.
#
# **Next: lesson 09, VI versus MCMC, and scale.** Here the judge was an importance sample. Next comes another one, which is slower and asks for nothing but time.

# %% [markdown] solutions
# ## Solutions
