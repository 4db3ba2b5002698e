# %% [markdown]
# # 06 · Variational autoencoders
#
# **The question of this lesson: what must an autoencoder become before its code is a random variable, its decoder a model, and its loss a bound on
# $\log p(x)$? And why does such a model sometimes decide to use no code at all?**
#
# After this lesson you will be able to
#
# 1. *write* the loss of a variational autoencoder with every constant in place, and check it against independent numbers;
# 2. *explain* amortisation, and split the gap below $\log p(x)$ into the part of the family and the part of the encoder;
# 3. *choose* among three likelihoods for the same image and say what each one claims about the pixels;
# 4. *show* that a linear VAE at its optimum reaches the likelihood of probabilistic PCA, with nothing missing;
# 5. *predict* from eigenvalues which latents die, and *recognise* the bug that kills them all;
# 6. *diagnose* a KL that is zero, negative or NaN, grey reconstructions, and an ELBO that rises while the model gets worse.
#
# **Needs:** lesson 02 (autoencoders, principal axes) and lesson 05 (the ELBO and its ruler).
#
# | section | minutes, with its exercises |
# |-|-|
# | 1 · Two networks and a line | 20 |
# | 2 · What the decoder's number means | 25 |
# | 3 · Train it, and read the ruler | 20 |
# | 4 · One encoder for everybody | 15 |
# | 5 · The linear VAE: everything in closed form | 35 |
# | 6 · Collapse: two causes, one symptom | 15 |
# | 7 · When it goes wrong | 20 |
# | 8 · Why this cannot last | 5 |
# | Recap, cards, quiz, conversation | 12 |

# %%
import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import xlogy
from scipy.stats import multivariate_normal
from torch import distributions as td, nn
from torch.nn import functional as F

from course_utils import datasets, models, plots
from course_utils.checks import lesson_06 as check
from course_utils.explore import explore
from course_utils.quiz import dialogue, flash_cards, predict, quiz
from course_utils.training import fit

torch.set_num_threads(1)  # small networks: a second thread only gets in the way
plots.set_style()

# %% [markdown]
# ## 1 · Two networks and a line
#
# Back to the Bow of lesson 01: a number $z\sim\mathcal N(0,1)$ says how far to walk along a bent wire, and a point $x$ is seen near that place. There you were given the wire and the
# noise. Now you get 1,000 points and nothing else.

# %%
def bow_points(w, n=1000):
    """n points of the Bow of curvature w as a float tensor (n, 2), the same at every call."""
    return torch.tensor(datasets.bow(n, w=w, rng=np.random.default_rng(6))[0], dtype=torch.float32)


points = bow_points(1.0)
fig = plots.figure(5.5, 2.9)
ax = fig.subplots()
ax.plot(*points.T, **plots.style("data", markersize=3))
ax.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", title="What is given: 1,000 points, no wire, no z")
plots.show(fig, alt="A cloud of points in the shape of a horseshoe that is open at the top")

# %% [markdown]
# A **variational autoencoder** puts a network at each of the two places where something is unknown:
#
# $$\underbrace{z \sim \mathcal N(0,1), \quad x\mid z \sim \mathcal N\big(f_\theta(z),\, s^2 I\big)}_{\text{the model: decoder } f_\theta \text{ and noise } s}
# \qquad\qquad
# \underbrace{q_\varphi(z\mid x) = \mathcal N\big(\mu_\varphi(x),\, \sigma_\varphi^2(x)\big)}_{\text{the guess at the posterior: the encoder}}$$
#
# The decoder is not a function that undoes the encoder, as in lesson 02. It is half of a probability model $p_\theta(x,z)$, and the encoder is the $q$ of variational inference:
# a guess at $p_\theta(z\mid x)$. Its two outputs are $\mu$ and `logvar` $=\log\sigma^2$: any number will do for a logarithm, while a variance would have to be kept positive.

# %%
class BowVAE(nn.Module):
    """x (B, 2) -> q(z | x) = N(mu, e^logvar) by the encoder; z -> the mean of p(x | z) = N(f(z), s² I) by the decoder."""

    def __init__(self, hidden=32):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.decoder = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.log_s = nn.Parameter(torch.zeros(()))

    def encode(self, x):
        """mu and logvar, each (B,)."""
        return self.encoder(x).unbind(-1)

    def decode(self, z):
        """The means f(z): z (G,) -> (G, 2)."""
        return self.decoder(z[:, None])

# %% [markdown]
# Both networks are trained by one number, the ELBO of lesson 05, averaged over the data:
#
# $$\mathcal L_{\theta,\varphi}(x) = \underbrace{\mathbb E_{q_\varphi(z\mid x)}\big[\log p_\theta(x\mid z)\big]}_{\text{reconstruction}}
#  - \underbrace{D_{\mathrm{KL}}\big(q_\varphi(z\mid x)\,\|\,p(z)\big)}_{\text{rate: what the code costs}}
#  \;=\; \log p_\theta(x) - D_{\mathrm{KL}}\big(q_\varphi(z\mid x)\,\|\,p_\theta(z\mid x)\big).$$
#
# The expectation looks like trouble: $f_\theta$ is a network, so there is no formula. But $z$ is **one** number. So lay 121 values along the line, from $-6$ to 6, decode them all,
# and let prior and $q$ be 121 probabilities that sum to one. Every expectation is then a sum. **Nothing is sampled in this lesson.**

# %%
grid = torch.linspace(-6, 6, 121)
log_prior = torch.log_softmax(-grid**2 / 2, 0)  # the softmax makes the 121 probabilities sum to one


def log_q(mu, logvar):
    """log q at every grid value, nats: N(mu, e^logvar) as 121 probabilities. mu, logvar (B,) -> (B, 121)."""
    return torch.log_softmax(-(grid - mu[:, None])**2 / (2 * logvar.exp()[:, None]), 1)


def log_likelihood(model, x):
    """log p(x | z) = log N(x | f(z), s² I) for every x (B, 2) and every grid value, nats: (B, 121)."""
    squared = ((x[:, None] - model.decode(grid))**2).sum(-1)
    return -squared / (2 * torch.exp(2 * model.log_s)) - 2 * model.log_s - np.log(2 * np.pi)


def elbo_parts(model, x, mu, logvar):
    """Reconstruction and rate of the ELBO, each (B,), nats, for q = N(mu, e^logvar): sums over the grid."""
    log_q_z = log_q(mu, logvar)
    q = log_q_z.exp()
    return (q * log_likelihood(model, x)).sum(1), (q * (log_q_z - log_prior)).sum(1)

# %% [markdown]
# The right-hand end of the ruler is a sum as well, so we can always see how far below it we are. The loss is minus the ELBO: summed over everything that belongs to one point, averaged over points.

# %%
def log_evidence(model, x):
    """log p(x) in nats, (B,): z summed out over the grid."""
    return torch.logsumexp(log_likelihood(model, x) + log_prior, 1)


def negative_elbo(model, x, beta=1.0):
    """The loss, nats: minus the ELBO, mean over the batch x (B, 2). beta weighs the rate; 1 is the bound."""
    reconstruction, rate = elbo_parts(model, x, *model.encode(x))
    return (beta * rate - reconstruction).mean()

# %% [markdown]
# Formula against an independent number: an untrained VAE at one point, once on the grid, once by adaptive integration with scipy and the KL of `torch.distributions`.

# %%
torch.manual_seed(0)
untrained = BowVAE()
with torch.no_grad():
    x = points[:1]
    mu, logvar = untrained.encode(x)
    reconstruction, rate = elbo_parts(untrained, x, mu, logvar)
    q = td.Normal(mu, torch.exp(logvar / 2))
    p_given = lambda z: td.Normal(untrained.decode(torch.tensor([z])), untrained.log_s.exp()).log_prob(x).sum().item()
    integral = quad(lambda z: q.log_prob(torch.tensor([z])).exp().item() * p_given(z), -7, 7, epsabs=1e-6)[0]
    print(f"reconstruction: grid {reconstruction.item():.4f}   scipy {integral:.4f} nats")
    print(f"rate:           grid {rate.item():.4f}   torch {td.kl_divergence(q, td.Normal(0, 1)).item():.4f} nats")

# %% [markdown]
# The rate has a closed form, which you will need as soon as $z$ has more than one dimension: lesson 03's KL between two Gaussians, with $\mathcal N(0,1)$ in second place, summed over the latents.
#
# ### Exercise 6.1 · The rate of a Gaussian encoder ●○○ · 8 min
#
# For $q=\mathcal N(\mu,\operatorname{diag}\sigma^2)$ and prior $\mathcal N(0,I)$ write $D_{\mathrm{KL}}(q\,\|\,p)$ in terms of $\mu$ and `logvar` $=\log\sigma^2$, summed over the last axis.
# If you write $e^{\text{logvar}}$ as `np.e**logvar`, it works for arrays and for tensors that carry gradients.

# %% exercise="vae_kl"
def vae_kl(mu, logvar):
    """D_KL(N(mu, diag e^logvar) || N(0, I)) in nats: mu, logvar (..., L) -> (...), summed over the L latents."""
    ### BEGIN SOLUTION
    return -0.5 * (1 + logvar - mu**2 - np.e**logvar).sum(-1)
    ### END SOLUTION

# %% check="vae_kl"
check.vae_kl(vae_kl)

# %% [markdown]
# ## 2 · What the decoder's number means
#
# The reconstruction term is $\log p_\theta(x\mid z)$, so somebody has to say which distribution $x$ has around what the decoder puts out. That is a claim about the data, not a matter of taste in losses. The digits of
# lesson 02 offer three: a pixel counts the inked dots, 0 to 16, of a 4 × 4 block.
#
# | likelihood | a pixel is | decoder's output | $\log p(x\mid z)$, one pixel |
# |-|-|-|-|
# | Gaussian | a grey value $x/16$ with noise of standard deviation $\sigma$ | the mean | $-\frac{(x/16-\hat x)^2}{2\sigma^2}-\log\sigma-\frac12\log2\pi$ |
# | Bernoulli | a bit: $b=1$ if $x\ge8$ | a logit $\ell$, $p=1/(1+e^{-\ell})$ | $b\log p+(1-b)\log(1-p)$ |
# | Binomial(16) | 16 dots, each inked with probability $p$ | a logit $\ell$ | $\log\binom{16}{x}+x\log p+(16-x)\log(1-p)$ |
#
# All three are honest. Their numbers cannot be compared with each other: the first is a density of grey values, the others are probabilities of bits and of counts. Here is the mean $\log p$ of an image
# under the simplest "decoder", one number for each pixel and no code:

# %%
counts, labels = datasets.digits()
X = counts / 16
mean_pixel, bits = X.mean(0), counts >= 8
sigma2_flat = ((X - mean_pixel)**2).mean()
per_pixel = -xlogy(bits, bits.mean(0)) - xlogy(1 - bits, 1 - bits.mean(0))
dots = td.Binomial(16, torch.tensor(np.clip(mean_pixel, 1e-12, 1)))
print(f"Gaussian, sigma = {sigma2_flat**0.5:.3f}: {-32 * np.log(2 * np.pi * np.e * sigma2_flat):8.2f} nats an image (a density)")
print(f"Bernoulli of 64 bits:     {-per_pixel.sum(1).mean():8.2f} nats an image")
print(f"Binomial of 64 counts:    {dots.log_prob(torch.tensor(counts)).sum(1).mean():8.2f} nats an image")

# %% [markdown]
# A fourth is in wide use and is **not** a likelihood: the binary cross-entropy of a *grey value*, $-\tilde x\log p-(1-\tilde x)\log(1-p)$ with $\tilde x=x/16$.

# %%
grey = predict(r"A grey pixel $\tilde x = 5/16$, and the decoder says exactly $p = 5/16$. What is the binary cross-entropy?",
               {"0: the reconstruction is perfect": 0.0, "0.31: the grey value itself": 0.3125, "0.62": 0.6211})
grey


# %%
def one_pixel(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
    p = np.linspace(0.01, 0.99, 197)
    looks = {"Gaussian": dict(color=plots.SKY, linestyle="-.", marker="s"), "Bernoulli": dict(color=plots.GREY, linestyle="--", marker="^"),
             "Binomial": dict(color="black", linestyle="-", marker="o")}
    curves = {k: left.plot([], [], linewidth=2, **{**v, "marker": ""})[0] for k, v in looks.items()}
    marks = {k: left.plot([], [], markersize=9, label=k, **v)[0] for k, v in looks.items()}
    fig.legend(loc="outside upper center", ncols=3)
    left.set(xlim=(0, 1), ylim=(-0.3, 12), xlabel="decoder's p (or mean)", title="nats lost against the best p")
    (bce_line,), (bce_mark,) = right.plot([], [], color="black"), right.plot([], [], "o", color="black", markersize=9)
    mark = plots.prediction(right)
    right.set(xlim=(0, 1), ylim=(-0.1, 2.5), xlabel="p", title="cross-entropy of the grey value")

    def costs(x, p, sigma):
        bit, cross = float(x >= 8), lambda t, p: -xlogy(t, p) - xlogy(1 - t, 1 - p)
        return {"Gaussian": (x / 16 - p)**2 / (2 * sigma**2), "Bernoulli": cross(bit, p),
                "Binomial": 16 * (cross(x / 16, p) - cross(x / 16, x / 16))}, cross(x / 16, p)

    def update(x=16, p_decoded=0.5, log_sigma=-1.4, prediction=None):
        lines, bce = costs(x, p, np.exp(log_sigma))
        at, bce_at = costs(x, p_decoded, np.exp(log_sigma))
        for k in looks:
            curves[k].set_data(p, np.minimum(lines[k], 13))
            marks[k].set_data([p_decoded], [min(at[k], 12)])
        bce_line.set_data(p, bce)
        bce_mark.set_data([p_decoded], [bce_at])
        mark.set(None if prediction is None else 5 / 16, prediction)
        lost = "   ".join(f"{k} {v:.3f}" for k, v in at.items())
        return f"lost: {lost} nats   |   cross-entropy of the grey value {bce_at:.3f}   (σ = {np.exp(log_sigma):.2f})"
    return update


explore(one_pixel, x=(0, 16), p_decoded=(0.02, 0.98, 0.02), log_sigma=(-3.0, 0.0, 0.1), predict=grey,
        labels={"x": "dots x of 16", "p_decoded": "decoder's p", "log_sigma": "log σ (Gaussian)"},
        alt="Left: the cost of the decoder's output under three likelihoods; right: the cross-entropy of a grey value, which is not 0 at its best")

# %% [markdown]
# Set $x=5$ and slide $p$; then change $\sigma$ until the Gaussian insists as strongly as the Binomial; then move $x$ from 7 to 8.
#
# <details><summary>What you should have seen</summary>
#
# The Binomial insists on $p=x/16$ with the weight of 16 dots; the Gaussian insists as strongly as its $\sigma$ says, everywhere equally; the Bernoulli only ever wants $p=0$ or $p=1$, and turns round between 7 and 8.
# The cross-entropy of a grey value has its minimum at the right place, but that minimum is not 0: it is the entropy of the grey value. It is also exactly $\frac1{16}$ of the Binomial, without the constant. So whoever trains with
# it has divided the reconstruction by 16 and kept the rate: the weight $\beta=16$ in disguise.
#
# </details>
#
# ### Misconception: "binary cross-entropy is just a loss; a perfect reconstruction costs nothing"

# %%
cross = lambda x, p: -x * np.log(p) - (1 - x) * np.log(1 - p)
log_binomial = td.Binomial(16, torch.tensor(0.3, dtype=torch.float64)).log_prob(torch.tensor(5.0, dtype=torch.float64)).item()
log_choose = np.log(4368)  # the number of ways to ink 5 of 16 dots
print(f"cross-entropy of grey 0.3 against itself: {cross(0.3, 0.3):.4f}")
print(f"Binomial, x = 5, p = 0.3: {log_binomial:.4f} = {log_choose:.4f} - 16 · {cross(5 / 16, 0.3):.4f}")
for lam in (0.2, 0.4):
    area = quad(lambda x: np.exp(-cross(x, lam)), 0, 1)[0]
    print(f"area of p^x (1-p)^(1-x) over grey values at p = {lam}: {area:.4f}, not 1; a proper density needs the factor {1 / area:.4f}")

# %% [markdown]
# (With that factor, $C(\lambda)=\frac{2\operatorname{artanh}(1-2\lambda)}{1-2\lambda}$, it is the *continuous Bernoulli*.)
#
# ### Exercise 6.2 · Bernoulli log-likelihood from logits ●●○ · 8 min
#
# Write $\sum_d \big[x_d\log p_d+(1-x_d)\log(1-p_d)\big]$ with $p=1/(1+e^{-\ell})$, in torch, so that nothing breaks at $\ell=\pm200$. Use $\log p=\ell-\log(1+e^{\ell})$, $\log(1-p)=-\log(1+e^\ell)$
# and `torch.nn.functional.softplus`, which is $\log(1+e^\ell)$ without overflow; or $\log(e^\ell+e^0)$, the tensor method `logaddexp`.

# %% exercise="bernoulli_loglik"
def bernoulli_loglik(logits, x):
    """log p(x) of independent bits, nats: tensors logits, x (..., D) -> (...), summed over the D pixels; x is 0 or 1."""
    ### BEGIN SOLUTION
    return (x * logits - logits.logaddexp(0 * logits)).sum(-1)  # log(e^ℓ + e^0) is the softplus
    ### END SOLUTION

# %% check="bernoulli_loglik"
check.bernoulli_loglik(bernoulli_loglik)

# %% [markdown]
# ### Exercise 6.3 · Binomial log-likelihood from logits ●●○ · 8 min
#
# The same for counts 0 to 16, with the constant $\log\binom{16}{x}$. `torch.lgamma(n + 1)` is $\log n!$.

# %% exercise="binomial_loglik"
def binomial_loglik(logits, x):
    """log p(x) of independent Binomial(16) counts, nats: tensors logits, x (..., D) -> (...), summed over the D pixels."""
    ### BEGIN SOLUTION
    log_choose = torch.lgamma(torch.tensor(17.0)) - torch.lgamma(x + 1.0) - torch.lgamma(17.0 - x)
    return (log_choose + x * logits - 16 * torch.nn.functional.softplus(logits)).sum(-1)
    ### END SOLUTION

# %% check="binomial_loglik"
check.binomial_loglik(binomial_loglik)

# %% [markdown]
# ## 3 · Train it, and read the ruler
#
# The training loop takes the data in random order, in slices, and makes one step of Adam for each. Here is one pass:

# %%
def one_epoch(loss, optimiser, data, batch_size, rng):
    """One pass over the data in random order, a gradient step for each batch. Returns the mean loss over the pass.

    loss: loss(*batch) -> a scalar tensor, a mean over the batch. data: tuple of tensors (N, ...), sliced alike.
    """
    total = 0.0
    for rows in torch.as_tensor(rng.permutation(len(data[0]))).split(batch_size):
        batch_loss = loss(*(d[rows] for d in data))
        optimiser.zero_grad()
        batch_loss.backward()
        optimiser.step()
        total += batch_loss.item() * len(rows)
    return total / len(data[0])

# %% [markdown]
# `fit` from `course_utils.training` runs this loop with a progress bar, and stops cleanly if you interrupt it (the black square): the model keeps what it has learned. After each epoch it calls our `report`,
# where we note how the model is doing. "How it is doing" can be exact as well: we know the true density $p^*(x)$ of the Bow, so averages over **all possible data** are sums over a fine mesh in the plane.

# %%
class TrueBow:
    """The generator itself, with the same two attributes as a BowVAE: the wire of curvature w and noise s = 0.25."""

    def __init__(self, w):
        self.w, self.log_s = w, torch.tensor(np.log(0.25))

    def decode(self, z):
        """The wire f_w(z): z (G,) -> (G, 2)."""
        return torch.tensor(models.bow_curve(z.numpy(), self.w), dtype=torch.float32)


mesh = torch.cartesian_prod(torch.linspace(-5, 5, 101), torch.linspace(-1.3, 3.3, 47))  # (4747, 2), 0.1 apart
true_weight = {w: log_evidence(TrueBow(w), mesh).exp() * 0.01 for w in (0.0, 1.0, 1.5, 2.0)}  # p*(x) times 0.1²


def expect(w, value):
    """The mean of `value` (4747,), given on the mesh, over the true Bow of curvature w."""
    return (true_weight[w] * value).sum().item()


entropy = {w: -expect(w, log_evidence(TrueBow(w), mesh)) for w in true_weight}
for w, h in entropy.items():
    print(f"w = {w}: entropy of the true density {h:.4f} nats; its mass on the mesh {true_weight[w].sum():.4f}")

# %% [markdown]
# No model can have a better mean $\log p_\theta(x)$ than minus this entropy (that is $D_{\mathrm{KL}}(p^*\,\|\,p_\theta)\ge0$, lesson 03). So the ruler of a trained model has a known ceiling:
#
# $$\mathbb E_{p^*}[\text{ELBO}] \;\le\; \mathbb E_{p^*}[\log p_\theta(x)] \;\le\; -\mathrm H[p^*].$$
#
# Now train: three curvatures, each once as it is and once with **warm-up**, where the weight of the rate rises from near 0 to 1 during the first 45 of 60 epochs. Every third epoch we keep a snapshot.

# %%
def look(vae, w):
    """A snapshot: the decoded line, p(x) on the mesh, and the exact means of ELBO, rate and log p(x), nats."""
    with torch.no_grad():
        reconstruction, rate = elbo_parts(vae, mesh, *vae.encode(mesh))
        log_p = log_evidence(vae, mesh)
        line = vae.decode(grid[30:91]).numpy()  # -3 <= z <= 3
    return dict(line=line, density=log_p.exp().numpy().reshape(101, 47).T, elbo=expect(w, reconstruction - rate),
                rate=expect(w, rate), log_p=expect(w, log_p), s=vae.log_s.exp().item())


def train(w, warm_up):
    """Train a BowVAE for 60 epochs on the Bow of curvature w: the model, and its snapshots at epochs 0, 3, … 60."""
    torch.manual_seed(1)
    vae, beta = BowVAE(), [0.02 if warm_up else 1.0]
    snapshots = [look(vae, w)]

    def report(epoch, _):
        beta[0] = min(1.0, epoch / 45) if warm_up else 1.0
        if epoch % 3 == 0:
            snapshots.append(look(vae, w))
    fit(lambda x: negative_elbo(vae, x, beta[0]), vae.parameters(), bow_points(w), epochs=60, batch_size=100, lr=0.01,
        rng=np.random.default_rng(0), report=report)
    return vae, snapshots

# %% tags=["nbval-ignore-output"]
trained = {(w, warm): train(w, warm) for w in (1.0, 1.5, 2.0) for warm in (False, True)}  # a quarter of a minute
for (w, warm), (_, snapshots) in trained.items():
    last = snapshots[-1]
    print(f"w = {w}, {'warm-up' if warm else 'plain':7}: ELBO {last['elbo']:.3f}   log p(x) {last['log_p']:.3f}   "
          f"ceiling {-entropy[w]:.3f}   rate {last['rate']:.2f} nats")

# %%
ends = {key: snapshots[-1] for key, (_, snapshots) in trained.items()}
ordered = all(e["elbo"] <= e["log_p"] <= -entropy[w] for (w, _), e in ends.items())
print(f"ELBO <= log p <= -entropy for all six models: {ordered}")
print(f"at w = 1 the encoder sends more than 1 nat a point: {ends[1.0, False]['rate'] > 1}")

# %% [markdown]
# **Predict before you move.** On the horseshoe ($w=1$) the trained encoder sends about 1.1 nats a point. At $w=2$ the wire closes to a ring, and both of its ends, $z\approx\pm\pi/2$, lie on the same place at the top.

# %%
ring = predict(r"At $w=2$, after 60 epochs without warm-up: how large is the rate $D_{\mathrm{KL}}(q(z\mid x)\,\|\,p(z))$, averaged over the data?",
               {"about 1.8 nats: a ring has more to tell": 1.8, "about 1.1 nats, as on the horseshoe": 1.1,
                "about 0.6 nats: where the ends meet, the code is ambiguous": 0.6, "0: it uses no code at all": 0.0})
ring


# %% tags=["nbval-ignore-output"]
def what_it_has_learned(fig):
    ax = fig.subplot_mosaic([["plane", "ruler"], ["plane", "rate"]], width_ratios=[1.5, 1])
    plane, ruler, rates = ax["plane"], ax["ruler"], ax["rate"]
    image = plane.imshow(np.zeros((47, 101)), extent=(-5.05, 5.05, -1.35, 3.35), origin="lower", vmin=0, vmax=0.55,
                         cmap=plots.colormap("posterior"), interpolation="bilinear")
    (dots,) = plane.plot([], [], **plots.style("data", markersize=2.5))
    (wire,) = plane.plot([], [], color="black", linewidth=1, linestyle=":")
    (line,) = plane.plot([], [], **plots.style("posterior", linewidth=3))
    plane.set(xlim=(-2.6, 2.6), ylim=(-1.3, 2.9), aspect="equal", title="model p(x) shaded, decoded line thick,\ntrue wire dotted")
    epochs, empty = np.arange(0, 61, 3), np.full(21, -9.0)
    gap = ruler.fill_between(epochs, empty, empty, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////", linewidth=0)
    (elbo_line,) = ruler.plot([], [], **plots.style("elbo", marker="."))
    (log_p_line,) = ruler.plot([], [], **plots.style("evidence", linewidth=2))
    (ceiling,) = ruler.plot([0, 60], [0, 0], color="black", linewidth=1, linestyle=":")
    ruler.set(xlim=(-2, 62), ylim=(-2.3, -0.9), title="log p(x) black, ELBO green,\nceiling dotted (nats)")
    (rate_line,) = rates.plot([], [], **plots.style("kl", marker="."))
    mark = plots.prediction(rates)
    rates.set(xlim=(-2, 62), ylim=(-0.1, 2.4), xlabel="epoch", title="rate KL(q‖prior), nats")
    shown = {w: bow_points(w)[:250].numpy() for w in (1.0, 1.5, 2.0)}
    walk = np.linspace(-3, 3, 121)

    def update(w=1.0, warm_up=False, epoch=30, prediction=None):
        path = trained[w, warm_up][1][:epoch // 3 + 1]
        now, so_far = path[-1], epochs[:len(path)]
        elbo, log_p, rate = ([s[k] for s in path] for k in ("elbo", "log_p", "rate"))
        image.set_data(now["density"])
        for artist, xy in ((dots, shown[w]), (wire, models.bow_curve(walk, w)), (line, now["line"])):
            artist.set_data(*xy.T)
        gap.set_data(so_far, elbo, log_p)
        for artist, y in ((elbo_line, elbo), (log_p_line, log_p), (rate_line, rate)):
            artist.set_data(so_far, y)
        ceiling.set_ydata([-entropy[w]] * 2)
        mark.set(60, prediction)
        return f"ELBO {elbo[-1]:.2f}   log p(x) {log_p[-1]:.2f}   ceiling {-entropy[w]:.2f}   rate {rate[-1]:.2f} nats   s = {now['s']:.2f}"
    return update


explore(what_it_has_learned, w=[1.0, 1.5, 2.0], warm_up=False, epoch=(0, 60, 3), predict=ring, size=(8.5, 4.4),
        labels={"w": "curvature w", "warm_up": "warm-up"},
        alt="Left the plane with the data, the true wire and what the model has learned; right ELBO, log p and rate over the epochs")

# %% [markdown]
# Drag `epoch` to 60 at $w=1$; then $w=2$; then tick *warm-up* at $w=1.5$ and $w=2$.
#
# <details><summary>What you should have seen</summary>
#
# At $w=1$ the model begins as one round blob, the thick line finds the horseshoe, and green climbs after black: the end of the ruler moves too, because $\theta$ learns. The hatched gap is what $q$ misses.
#
# At $w=2$ the thick line shrinks to a point, the model **is** a round blob, and the rate is 0: this is **posterior collapse**. $q(z\mid x)$ equals the prior for every $x$, so the gap is 0 as well: inference in a model
# that does not use $z$ is perfect.
#
# At $w=1.5$ the same happens, but with warm-up it does not, and then the ELBO is *higher*. At $w=2$ warm-up keeps the code in use, and then the ELBO is *lower*. Two collapses, two different causes: section 6.
#
# </details>

# %%
plain, warm = ends[2.0, False], ends[2.0, True]
print(f"w = 2, no warm-up: rate below 0.05 nats: {plain['rate'] < 0.05}; with warm-up: above 0.1 nats: {warm['rate'] > 0.1}")

# %% [markdown]
# ## 4 · One encoder for everybody
#
# In lesson 04 each data point had a $q$ of its own, fitted by its own optimisation. For 1,000 points that is 2,000 numbers, and a new point means a new optimisation. The encoder is **one** function for all of them. This
# is called **amortised inference**: like making the index of a book. It costs much once, then every look-up is cheap; and an entry may be a little off.
#
# How much off? Write $q^*$ for the best Gaussian for this very $x$. Then the gap of the ruler has two parts, neither of them negative:
#
# $$\log p_\theta(x) - \mathcal L[q_\varphi] \;=\; \underbrace{\log p_\theta(x) - \mathcal L[q^*]}_{\text{approximation gap: no Gaussian fits}}
#   \;+\; \underbrace{\mathcal L[q^*] - \mathcal L[q_\varphi]}_{\text{amortisation gap: the encoder is off}}.$$
#
# On a grid we can find $q^*$ by trying Gaussians, all 12,431 of a fine lattice at once: each one is a row of 121 probabilities, and its ELBO is a dot product.

# %%
means, sds = torch.linspace(-4, 4, 401), torch.exp(torch.linspace(np.log(0.1), np.log(1.1), 31))
all_mu, all_sd = (t.flatten() for t in torch.meshgrid(means, sds, indexing="ij"))
all_log_q = log_q(all_mu, 2 * all_sd.log())
all_q = all_log_q.exp()                                   # (12431, 121), one Gaussian a row
all_rate = (all_q * (all_log_q - log_prior)).sum(1)       # (12431,)


def best_gaussian(model, x):
    """The highest ELBO of all Gaussians on the lattice, nats, and its place in the lattice: x (B, 2) -> (B,), (B,)."""
    return (all_q @ log_likelihood(model, x).T - all_rate[:, None]).max(0)

# %% tags=["nbval-ignore-output"]
vae = trained[1.0, False][0]
with torch.no_grad():
    some = points[:500]
    reconstruction, rate = elbo_parts(vae, some, *vae.encode(some))
    of_encoder = reconstruction - rate
    of_best = torch.maximum(best_gaussian(vae, some)[0], of_encoder)  # the encoder's own q is one to try as well
    approximation, amortisation = (log_evidence(vae, some) - of_best).mean(), (of_best - of_encoder).mean()
print(f"approximation gap {approximation:.3f} + amortisation gap {amortisation:.3f} nats")

# %%
total = (log_evidence(vae, some) - of_encoder).mean().item()
print(f"the two parts sum to the whole gap: {abs(approximation + amortisation - total) < 1e-5}")
print(f"neither is negative: {approximation > -1e-5 and amortisation >= 0}; the encoder's is the larger: {amortisation > approximation}")


# %% tags=["nbval-ignore-output"]
def two_gaps(fig):
    ax = fig.subplot_mosaic([["plane", "z"], ["ruler", "ruler"]], height_ratios=[3.2, 1], width_ratios=[1, 1.3])
    ax["plane"].plot(*points[:400].T, **plots.style("data", markersize=2.5))
    (here,) = ax["plane"].plot([], [], "kX", markersize=11, markeredgecolor="white")
    ax["plane"].set(xlim=(-2.4, 2.4), ylim=(-0.9, 2.9), title="the point x (cross)\namong the data")
    z = grid.numpy()
    posterior = plots.curve(ax["z"], z, 0 * z, "posterior")
    (best_line,) = ax["z"].plot([], [], color="black", linewidth=1)
    q_curve = plots.curve(ax["z"], z, 0 * z, "q")
    ax["z"].set(xlim=(-4, 4), ylim=(0, 2.6), title="posterior filled, encoder's q dashed,\nbest Gaussian thin", xlabel="z")
    ruler = plots.ruler(ax["ruler"], -10, 0)
    (tick,) = ax["ruler"].plot([0, 0], [-0.4, 0.4], color="black", linewidth=1.5, linestyle="--")
    ax["ruler"].set_title("log p(x) = ELBO (green) + gap (hatched); dashed: ELBO of the best Gaussian")

    @torch.no_grad()
    def update(x1=1.0, x2=0.5):
        x = torch.tensor([[x1, x2]], dtype=torch.float32)
        mu, logvar = vae.encode(x)
        log_lik, log_p, lq = log_likelihood(vae, x), log_evidence(vae, x).item(), log_q(mu, logvar)
        elbo = (lq.exp() * (log_lik + log_prior - lq)).sum().item()
        highest, place = (all_q @ log_lik[0] - all_rate).max(0)
        best, row = (highest.item(), all_log_q[place]) if highest > elbo else (elbo, lq[0])
        here.set_data([x1], [x2])
        posterior.set((log_lik + log_prior - log_p).exp()[0].numpy() / 0.1)
        q_curve.set(lq.exp()[0].numpy() / 0.1)
        best_line.set_data(z, row.exp().numpy() / 0.1)
        ruler.set(log_p, elbo)
        tick.set_xdata([max(best, -10)] * 2)
        return (f"log p(x) {log_p:.3f}   ELBO {elbo:.3f}   gap: approximation {max(log_p - best, 0):.3f} + amortisation {best - elbo:.3f} nats")
    return update


explore(two_gaps, x1=(-1.5, 1.5, 0.05), x2=(-0.5, 2.0, 0.05), size=(8.5, 4.6), labels={"x1": "x₁", "x2": "x₂"},
        alt="A point among the data; its posterior, the encoder's q and the best Gaussian; the ruler with its gap in two parts")

# %%
with torch.no_grad():
    hollow, on_wire = torch.tensor([[0.0, 1.25]]), torch.tensor([[0.85, 0.45]])
    missed = [(log_evidence(vae, x) - best_gaussian(vae, x)[0]).item() for x in (hollow, on_wire)]
print(f"in the hollow, x = (0, 1.25), the best Gaussian misses more than 0.2 nats: {missed[0] > 0.2}")
print(f"on the wire, x = (0.85, 0.45), less than 0.02: {missed[1] < 0.02}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Along the horseshoe the bell curves nearly agree and the gap is small. In the hollow, at (0, 1.25), the point is as near to one arm of the wire as to the other and the posterior has humps: a Gaussian must choose one of them
# or stretch across both. That is the **approximation gap**: a better encoder does not help. Away from the data the encoder was never trained, and the **amortisation gap** grows quickly: here a better (or more) training would help, or a few steps of
# optimisation for this one point.
#
# </details>

# %% [markdown]
# ## 5 · The linear VAE: everything in closed form
#
# Make both networks linear, and nothing is left to a grid or to luck. For centred images $x$ (64 grey values) and $k$ latents:
#
# $$z\sim\mathcal N(0,I_k),\qquad x\mid z\sim\mathcal N(Wz,\sigma^2 I),\qquad q(z\mid x)=\mathcal N\big(A^\top x,\operatorname{diag}(v)\big).$$
#
# The reconstruction needs only $\mathbb E_q\|x-Wz\|^2=\|x-WA^\top x\|^2+\sum_i v_i\|w_i\|^2$: quadratic in $x$, so that the mean over all images needs no more than their covariance $S$. The model itself is **probabilistic PCA**: summing out $z$ gives
# $x\sim\mathcal N(0, WW^\top+\sigma^2I)$. With the eigenvalues $\lambda_1\ge\lambda_2\ge\dots$ and axes $u_i$ of the data's covariance (lesson 02), its maximum likelihood is known:
#
# $$\sigma^2=\frac1{D-k}\sum_{i>k}\lambda_i,\qquad W=\big(u_1\sqrt{\lambda_1-\sigma^2},\dots,u_k\sqrt{\lambda_k-\sigma^2}\big),$$
# $$\log p = -\tfrac12\Big[D\log2\pi+\sum_{i\le k}\log\lambda_i+(D-k)\log\sigma^2+D\Big] \quad\text{per image.}$$
#
# Does a VAE get there, although it never sees an eigenvalue and only pushes up a *bound*? Train one from a random start:

# %%
lam, axes = (a[..., ::-1].copy() for a in np.linalg.eigh(np.cov(X.T, bias=True)))
S = torch.tensor(np.cov(X.T, bias=True))  # float64: we want six decimals
D = len(S)


def linear_elbo_parts(A, logvar, W, log_s):
    """Exact reconstruction and rate of a linear VAE, mean over the images of covariance S, nats. A, W (D, k), logvar (k,)."""
    lost = torch.eye(D) - A @ W.T  # a row x comes out as x − x @ lost
    squared = ((S @ lost) * lost).sum() + (logvar.exp() * (W**2).sum(0)).sum()
    reconstruction = -squared / (2 * torch.exp(2 * log_s)) - D * log_s - D / 2 * np.log(2 * np.pi)
    rate = td.kl_divergence(td.Normal(0.0, torch.exp(logvar / 2)), td.Normal(0.0, 1.0)) + ((S @ A) * A).sum(0) / 2
    return reconstruction, rate.sum()

# %%
def train_linear(k, sigma2=None, beta=1.0, steps=300):
    """Train a linear VAE by L-BFGS from a random start; sigma2=None learns σ². Returns its parameters and its two parts, nats."""
    rng = np.random.default_rng(1)
    start = [0.1 * rng.standard_normal((D, k)), np.zeros(k), 0.1 * rng.standard_normal((D, k)), 0.5 * np.log(sigma2 or 0.1)]
    parameters = [torch.tensor(p, requires_grad=True) for p in start]
    free = parameters if sigma2 is None else parameters[:3]
    optimiser = torch.optim.LBFGS(free, max_iter=steps, history_size=20, tolerance_grad=1e-10,
                                  tolerance_change=1e-13, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        reconstruction, rate = linear_elbo_parts(*parameters)
        loss = beta * rate - reconstruction
        loss.backward()
        return loss
    optimiser.step(closure)
    return [p.detach() for p in parameters], [v.item() for v in linear_elbo_parts(*parameters)]

# %%
(A, logvar, W, log_s), (reconstruction, rate) = train_linear(k=2, steps=1200)
sigma2 = lam[2:].mean()
W_ml = axes[:, :2] * np.sqrt(lam[:2] - sigma2)
ppca = multivariate_normal(np.zeros(D), W_ml @ W_ml.T + sigma2 * np.eye(D)).logpdf(X - mean_pixel).mean()
print(f"ELBO of the trained linear VAE {reconstruction - rate:.6f} nats an image")
print(f"likelihood of pPCA by scipy    {ppca:.6f} nats an image; closer than 1e-6: {abs(reconstruction - rate - ppca) < 1e-6}")
print(f"sigma²: trained {torch.exp(2 * log_s).item():.4f}, mean of the discarded eigenvalues {sigma2:.4f}")

# %% [markdown]
# The bound is not below the likelihood: **it is the likelihood**. In a linear-Gaussian model the posterior is Gaussian, its mean is linear in $x$ and its covariance the same for all $x$: the family of $q$ contains it. One thing could still be
# in the way: $q$ has a *diagonal* covariance. The posterior's precision is $M/\sigma^2$ with $M=W^\top W+\sigma^2I$; so the gap of the best diagonal $q$ is $\frac12\big[\sum_i\log M_{ii}-\log\det M\big]$. Lesson 02 found that a linear
# autoencoder may turn its code as it likes. Turn this one, $W\to WR$: the model stays the same, and the diagonal $q$ notices.

# %%
def diagonal_gap(W, sigma2):
    """What the best diagonal Gaussian misses of a linear model's posterior, nats. W (D, k)."""
    M = W.T @ W + sigma2 * np.eye(W.shape[1])
    return 0.5 * (np.log(np.diag(M)).sum() - np.linalg.slogdet(M)[1])


W_turn = axes[:, :2] * np.sqrt(np.array([lam[0], lam[4]]) - sigma2)  # two axes of unlike variance show it better
for degrees in (0, 15, 45):
    a = np.radians(degrees)
    R = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    print(f"turned by {degrees:2d}°: gap {abs(diagonal_gap(W_turn @ R, sigma2)):.4f} nats")
print(f"the trained W: gap {abs(diagonal_gap(W.numpy(), torch.exp(2 * log_s).item())):.4f} nats")
aggregate = A.T @ S @ A + torch.diag(logvar.exp())
print(f"covariance of z over all images, its largest deviation from I: {(aggregate - torch.eye(2)).abs().max():.4f}")

# %% [markdown]
# So the diagonal encoder **chooses the axes**: only the PCA directions cost nothing. And the codes of all images together have covariance $I$, as the prior promised: no holes as in lesson 02.
#
# ### Exercise 6.4 · Probabilistic PCA in closed form ●●○ · 12 min
#
# From the formulas above, for any data and any $k$: $\sigma^2$, the log-likelihood per row, and the rate at that optimum, which is $\sum_{i\le k}\frac12\log(\lambda_i/\sigma^2)$.

# %% exercise="ppca_ml"
def ppca_ml(X, k):
    """Maximum likelihood of probabilistic PCA on X (N, D) with k latents, k < D.

    Returns sigma² (the noise variance), the mean log-likelihood of a row and the mean rate, both in nats.
    """
    ### BEGIN SOLUTION
    centred, D = X - X.mean(axis=0), X.shape[1]
    lam = np.linalg.eigvalsh(centred.T @ centred / len(X))[::-1]  # largest first
    s2 = lam[k:].mean()
    log_lik = -0.5 * (D * np.log(2 * np.pi) + np.log(lam[:k]).sum() + (D - k) * np.log(s2) + D)
    return s2, log_lik, 0.5 * np.log(lam[:k] / s2).sum()
    ### END SOLUTION

# %% check="ppca_ml"
check.ppca_ml(ppca_ml)

# %% [markdown]
# ### Now hold $\sigma^2$ fixed
#
# Much code does not learn $\sigma^2$. It writes "squared error, plus KL". Since $\|x-\hat x\|^2 = \frac{\|x-\hat x\|^2}{2\sigma^2}$ at $\sigma^2=\frac12$, that *is* a Gaussian likelihood, with a noise that nobody chose. The largest
# eigenvalues of the digits say how much there is to tell along each axis:

# %%
print("the first eight eigenvalues:", *(f"{v:.3f}" for v in lam[:8]))

# %%
alive = predict(r"A linear VAE with 20 latents on the digits, loss = squared error (summed over pixels) + KL. How many of its latents does it use in the end?",
                {"all 20": 20, "about half of them": 10, "3": 3, "none": 0})
alive


# %%
def water_filling(lam, sigma2, beta=1.0):
    """The best linear VAE at fixed σ² and weight β, axis by axis of variance lam: rate (nats) and squared error, shape of lam."""
    level = beta * sigma2
    return 0.5 * np.log(np.maximum(lam / level, 1)), np.minimum(lam, level)


def water(fig):
    ax = fig.subplot_mosaic([["bars", "x"], ["bars", "x_hat"]], width_ratios=[1.6, 1])
    bars, n = ax["bars"], 20
    place, bottom = np.arange(1, n + 1), 1e-2
    bars.bar(place, lam[:n] - bottom, bottom=bottom, width=0.8, color="0.85")
    above = bars.bar(place, np.zeros(n), width=0.8, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    (line,) = bars.plot([0.4, n + 0.6], [1, 1], **plots.style("evidence", linewidth=2))
    mark = plots.prediction(bars)
    bars.set(yscale="log", ylim=(bottom, 60), xlim=(0.4, n + 0.6), xticks=[1, 5, 10, 15, 20], xlabel="principal axis (the first 20)",
             title="variance λ; water at βσ²; hatched: above water")
    strip = lambda images: np.vstack([np.hstack([np.pad(i.reshape(8, 8), 1) for i in row]) for row in (images[:5], images[5:])])
    chosen = np.arange(10)
    for name, title in (("x", "x"), ("x_hat", "decoded mean of the code")):
        ax[name].set(xticks=[], yticks=[], title=title)
    ax["x"].imshow(strip(X[chosen]), cmap="gray_r", vmin=0, vmax=1)
    decoded = ax["x_hat"].imshow(strip(X[chosen]), cmap="gray_r", vmin=0, vmax=1)
    codes = (X[chosen] - mean_pixel) @ axes

    def update(log10_var=-1.0, beta=1, prediction=None):
        level = beta * 10**log10_var
        rate, error = water_filling(lam, 10**log10_var, beta)
        for bar, top in zip(above, lam):
            bar.set_y(min(level, 50))
            bar.set_height(max(top - level, 0))
        line.set_ydata([min(level, 50)] * 2)
        mark.set(prediction, 0.5)
        decoded.set_data(strip(mean_pixel + codes * np.maximum(1 - level / np.maximum(lam, 1e-12), 0) @ axes.T))
        return (f"σ² = {10**log10_var:.3f}   water {level:.3f}   active {np.sum(lam > level)}   rate {rate.sum():.3f} nats   "
                f"squared error {error.sum():.3f}")
    return update


explore(water, log10_var=(-1.5, 1.5, 0.05), beta=[1, 2, 4, 8], predict=alive, labels={"log10_var": "log₁₀ σ²", "beta": "weight β"},
        alt="Bars of the eigenvalues on a logarithmic scale with a water line; what stands above it is the rate; below, digits and their reconstructions")

# %% [markdown]
# $\sigma^2=\frac12$ is at $\log_{10}\sigma^2=-0.3$. Go there, then to the right end.
#
# <details><summary>What you should have seen</summary>
#
# Three bars stand above the water: three latents live, the other seventeen are dead. On a logarithmic scale the picture is literal: the height above water is twice the rate of that latent.
# An axis whose variance is drowned by the noise is not worth a single nat of code. Raising $\beta$ moves the same water line: $\beta$ and $\sigma^2$ are one knob here. At the right end everything is under water, and every
# reconstruction is the same grey mean image.
#
# </details>
#
# **Why exactly there.** Along one axis of variance $\lambda$ the model has variance $w^2+\sigma^2$, and the ELBO (which is the likelihood) is best when the two agree: $w^2=\lambda-\sigma^2$. If $\lambda\le\sigma^2$ that is
# impossible, and the best $w$ is 0. Nothing has gone wrong then, no optimisation has failed: *the model says that what you see there is noise.* Where $w>0$, the code costs $\frac12\log(\lambda/\sigma^2)$ nats and leaves the squared error
# $\sigma^2$; where $w=0$ it costs nothing and leaves $\lambda$. A weight $\beta$ replaces $\sigma^2$ by $\beta\sigma^2$ in both. This is the **reverse water-filling** of rate–distortion theory. Against training:

# %%
rows = []
for s2, beta in ((0.3, 1.0), (0.25, 2.0), (0.65, 1.0)):
    (_, logvar, W, _), (recon, rate) = train_linear(8, s2, beta)
    r, e = water_filling(lam, s2, beta)
    closed = -0.5 * (D * np.log(2 * np.pi * s2) + e.sum() / s2)
    used = (logvar < -1e-3).sum().item()  # a dead latent keeps the prior's variance: logvar = 0
    rows.append([s2, beta, used, (lam > beta * s2).sum(), f"{abs(rate):.3f}", f"{r.sum():.3f}", f"{recon:.2f}", f"{closed:.2f}"])
plots.show_table(rows, ["σ²", "β", "used, trained", "λ > βσ²", "rate, trained", "rate, formula", "reconstruction, trained", "formula"])

# %% [markdown]
# ### Exercise 6.5 · Who is alive? ●○○ · 4 min
#
# Return how many latents the best linear VAE uses, for eigenvalues `lam` (in any order), noise *variance* `sigma2` and weight `beta`.

# %% exercise="active_latents"
def active_latents(lam, sigma2, beta=1.0):
    """Number of latents that a linear VAE uses at its optimum: lam (D,) eigenvalues, sigma2 the decoder's variance, beta the rate's weight."""
    ### BEGIN SOLUTION
    return np.sum(np.asarray(lam) > beta * sigma2)
    ### END SOLUTION

# %% check="active_latents"
check.active_latents(active_latents)

# %% [markdown]
# ## 6 · Collapse: two causes, one symptom
#
# At $w=1.5$ and at $w=2$ the Bow VAE of section 3 ended with a rate near 0. Is that a failure of the optimiser, or did we get what we asked for? Ask the objective itself, exactly and without any training. Candidate one: the **true
# generator** with the best Gaussian $q$ for each $x$. Candidate two: the **collapsed** model, one round Gaussian with the variance of the data.

# %%
def best_mean_elbo(w):
    """Mean over the true Bow of the ELBO of the true generator with the best Gaussian for each x, nats."""
    likely = true_weight[w] > 1e-7
    elbo = torch.cat([best_gaussian(TrueBow(w), x)[0] for x in mesh[likely].split(250)])
    return (true_weight[w][likely] * elbo).sum().item()


def collapsed_elbo(w):
    """Mean log-density, nats, of the round Gaussian with the Bow's mean and mean variance: its ELBO too, as q is the prior."""
    mean = (true_weight[w][:, None] * mesh).sum(0)
    variance = expect(w, ((mesh - mean)**2).sum(1)) / 2
    return -np.log(2 * np.pi * np.e * variance)


rows = [[w, f"{-entropy[w]:.3f}", f"{best_mean_elbo(w):.3f}", f"{collapsed_elbo(w):.3f}"] for w in (1.0, 1.5, 2.0)]
plots.show_table(rows, ["w", "log p(x) of the true generator", "its ELBO, best Gaussian q", "log p(x) = ELBO of the collapsed model"])

# %% [markdown]
# Read the rows. In $\log p(x)$ the true generator wins everywhere, of course. But training sees only the last two columns:
#
# * $w=1$: the code is worth it, by far.
# * $w=1.5$: the code is worth it ($-1.381$ against $-1.496$). The plain run collapsed **although the objective disagrees**: an optimisation failure. At the start the encoder says nothing useful, the rate is a cost and no gain, so the
#   code is switched off before the decoder has learned to use it. Warm-up makes the code cheap in that phase, and cures it.
# * $w=2$: the objective **prefers the blob** ($-1.152$) to the truth ($-1.245$), because no Gaussian fits the posteriors of a ring. Warm-up leads to a code, and to a worse ELBO; train on and it fades away. The cure is a richer $q$ (lesson 11).
#
# In the linear model there is a third reading: section 5's dead latents are neither; there the likelihood itself says so.
#
# ### Misconceptions: "collapse is always an optimisation failure", "collapse is always the ELBO's fault"

# %%
for w in (1.5, 2.0):
    plain, warm = ends[w, False], ends[w, True]
    print(f"w = {w}: warm-up keeps the code (rate more than 0.1 nats higher): {warm['rate'] - plain['rate'] > 0.1};  "
          f"the ELBO is better with the code: {warm['elbo'] > plain['elbo']}")

# %% [markdown]
# **Harder, if you like.** The encoder decides nothing about $p_\theta(x)$. Freeze the decoder of `trained[2.0, True]` and train a *new* encoder alone, for 30 epochs: does the rate go to 0 as well? Predict first, from the row $w=2$ above.
#
# <details><summary>A way to do it, and what comes out</summary>
#
# ```python
# frozen = trained[2.0, True][0]
# fresh = BowVAE()
# fresh.decoder, fresh.log_s = frozen.decoder, frozen.log_s
# fit(lambda x: negative_elbo(fresh, x), fresh.encoder.parameters(), bow_points(2.0), epochs=30, batch_size=100, lr=0.01,
#     rng=np.random.default_rng(1))
# print(look(fresh, 2.0)["rate"])
# ```
#
# It does not. With the decoder held fixed, the encoder only has the gap to close, and the posteriors of this decoder are not the prior. Collapse needs both: the decoder gives up a little of its line wherever that makes its posteriors
# easier for a Gaussian, and the encoder follows.
#
# </details>
#
# ## 7 · When it goes wrong
#
# | symptom | usual cause | test, two lines | cure | shown in |
# |-|-|-|-|-|
# | KL is 0 for all latents, from the first epochs on | mean over pixels, sum over latents: $\sigma^2=D/2$ | compare the loss with `log_prob(x).sum()` of the likelihood you mean | sum over pixels, mean over images | A |
# | KL is 0 for some | $\lambda\le\beta\sigma^2$, or the objective prefers it (section 6) | count $\lambda>\beta\sigma^2$; retrain with warm-up and compare ELBOs | learn $\sigma$; warm-up; richer $q$; or accept it | section 5, 6 |
# | KL is negative, or the ELBO is above $\log p(x)$ | sign of `logvar`; `logvar` read as $\log\sigma$; a $q$ that does not sum to 1 | compare with `td.kl_divergence` at random $\mu$, `logvar`, not at 0 | fix the formula | B |
# | loss or KL is NaN | log of a saturated probability; $e^{\text{logvar}}$ overflows | `torch.isfinite` on the loss, then on every gradient | logits instead of probabilities; smaller steps; bound `logvar` | C |
# | reconstructions are grey, all alike | noise or $\beta$ too large for the data: water too high | variance of $\hat x$ over images / variance of $x$ | learn $\sigma$; the right likelihood | D |
# | ELBO rises, samples get worse | the bound tightens at the model's cost; or overfitting | track $\log p(x)$ beside the ELBO on data not trained on | richer $q$; early stopping | E |
#
# Every row happens below.
#
# **A · KL is 0.** The commonest bug of all: `F.mse_loss` averages over images *and* pixels. Averaging over $D=64$ pixels makes it $\frac{\|x-\hat x\|^2}{64}=\frac{\|x-\hat x\|^2}{2\sigma^2}$ with $\sigma^2=32$. The highest eigenvalue is 0.699.

# %%
x = torch.tensor(X - mean_pixel)[:100]
x_hat = 0.5 * x
meant = -td.Normal(x_hat, np.sqrt(0.5)).log_prob(x).sum(1).mean() - D / 2 * np.log(np.pi)  # test: σ² = 1/2, without its constant
print(f"test: F.mse_loss {F.mse_loss(x_hat, x):.4f}, but summed over pixels {meant:.4f}: a factor of {meant / F.mse_loss(x_hat, x):.0f}")
_, (_, rate) = train_linear(8, sigma2=D / 2)
print(f"mean over pixels, sigma² = {D / 2:.0f}: rate after training {abs(rate):.4f} nats")
print(f"sum over pixels, sigma² = 0.5: water-filling gives a rate of {water_filling(lam, 0.5)[0].sum():.4f} nats")

# %% [markdown]
# **B · KL is negative.** A KL of two distributions is never negative. A wrong formula is, and the optimiser will find out: the loss then falls for ever. (A *single-sample estimate* may be negative, lesson 03; from lesson 07 on you will see that.)

# %%
mu, logvar = torch.tensor([0.5, -1.0]), torch.tensor([0.0, -1.0])
right = td.kl_divergence(td.Normal(mu, torch.exp(logvar / 2)), td.Normal(0.0, 1.0)).sum()
sign = -0.5 * (1 - logvar - mu**2 - logvar.exp()).sum()       # the sign of logvar
as_log_sd = -0.5 * (1 + 2 * logvar - mu**2 - (2 * logvar).exp()).sum()  # logvar read as log σ
print(f"test: torch {right:.4f}   wrong sign {sign:.4f}   read as log σ {as_log_sd:.4f}")
for value in (0.0, -5.0, -50.0):  # at mu = logvar = 0 nothing shows: test elsewhere
    print(f"wrong sign, logvar = {value:5.1f}: 'KL' = {0.5 * (np.exp(value) + value - 1):.2f}")

# %% [markdown]
# **C · NaN.** In 32 bits a sigmoid is exactly 1 from a logit of about 17 on, and $0\cdot\log 0$ is NaN. From logits nothing happens.

# %%
logits, bit = torch.tensor([20.0, -3.0], requires_grad=True), torch.tensor([1.0, 0.0])
p = torch.sigmoid(logits)
naive = -(bit * p.log() + (1 - bit) * (1 - p).log()).sum()
naive.backward()
print(f"through probabilities: loss {naive.item()}, gradient finite: {logits.grad.isfinite().all().item()}")
logits.grad = None
stable = F.binary_cross_entropy_with_logits(logits, bit, reduction="sum")
stable.backward()
print(f"from logits:           loss {stable.item():.4f}, gradient finite: {logits.grad.isfinite().all().item()}")
huge = torch.tensor(100.0)
print(f"exp(logvar) at logvar = 100 in 32 bits: {huge.exp().item()}; clamped to 10: {huge.clamp(-10, 10).exp().item():.0f}")
try:
    fit(lambda x: x.mean() * torch.log(-weight**2), [weight := torch.ones(1, requires_grad=True)], points, epochs=3, batch_size=100, lr=0.1,
        rng=np.random.default_rng(0))
except FloatingPointError as e:
    print("fit stops by itself:", str(e).split(";")[0])

# %% [markdown]
# **D · Grey reconstructions.** The decoded mean of axis $i$ is the truth times $1-\sigma^2/\lambda_i$, or 0 below water. One ratio says how grey it is.

# %%
fig = plots.figure(8.5, 2.7)
for ax, s2 in zip(fig.subplots(3), (32.0, 0.5, 0.05)):
    shrink = np.maximum(1 - s2 / np.maximum(lam, 1e-12), 0)
    x_hat = mean_pixel + (X - mean_pixel) @ axes * shrink @ axes.T
    ax.imshow(np.hstack([np.pad(i.reshape(8, 8), 1) for i in x_hat[:16]]), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(f"σ² = {s2:g}", rotation=0, ha="right", va="center")
    print(f"sigma² = {s2:5.2f}: variance of the reconstructions / variance of the images = {x_hat.var(0).sum() / X.var(0).sum():.2f}")
plots.show(fig, alt="Reconstructions of sixteen digits at three noise levels: all the same grey image, grey ghosts, clear digits")

# %% [markdown]
# **E · The ELBO rises, the samples get worse.** Start **at the truth**: the decoder is the true ring plus a network that begins at zero. First train the encoder alone, then everything, always on the ELBO.

# %%
class FromTruth(BowVAE):
    """A BowVAE of the ring, w = 2, whose decoder starts as the true wire, and whose s starts at the true 0.25."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.decoder[-1].weight)
        nn.init.zeros_(self.decoder[-1].bias)
        self.log_s.data.fill_(np.log(0.25))

    def decode(self, z):
        """The true wire plus a network: z (G,) -> (G, 2)."""
        return TrueBow(2.0).decode(z) + self.decoder(z[:, None])

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
ring_vae, path = FromTruth(), []
for parameters in (ring_vae.encoder.parameters(), ring_vae.parameters()):
    fit(lambda x: negative_elbo(ring_vae, x), parameters, bow_points(2.0), epochs=25, batch_size=100, lr=0.01, rng=np.random.default_rng(0))
    path.append(look(ring_vae, 2.0))
for name, now in zip(("the true model, encoder trained", "after training all of it    "), path):
    print(f"{name}: ELBO {now['elbo']:.3f}   log p(x) {now['log_p']:.3f}   rate {now['rate']:.2f} nats")

# %%
print(f"the ELBO rose by more than 0.05 nats: {path[1]['elbo'] > path[0]['elbo'] + 0.05}")
print(f"log p(x) fell:                        {path[1]['log_p'] < path[0]['log_p'] - 0.002}")

# %% [markdown]
# Every step was a step up, and the model moved **away** from the true one: the bound rises faster by making the posteriors Gaussian than by explaining the data. Only $\log p(x)$ beside the ELBO shows it; on real data lesson 08 estimates it
# with the IWAE bound of lesson 05.
#
# ## 8 · Why this cannot last
#
# Everything here was exact because $z$ was one number. The grid has 121 values on one axis:

# %%
for latents in (1, 2, 3, 10):
    print(f"{latents:2d} latents: 121^{latents} = {121**latents:,} grid points to decode at every step")

# %% [markdown]
# Ten latents are few, and the grid is impossible; the linear model escaped only because its integrals have formulas. What is left is to *draw* a few $z$ from $q_\varphi(z\mid x)$. But look at how the gradient came to the encoder here: the grid points
# stayed where they were, and $\varphi$ changed their **weights** $q$. A drawn $z$ has no such weight: it is a number, and its dependence on $\varphi$ is hidden in the act of drawing. How to differentiate through that is the next lesson.
#
# ## Recap
#
# **Short.** A VAE is a latent-variable model whose likelihood is a network, trained together with an encoder that guesses its posterior, by one bound. A latent that explains less variance than the decoder calls noise dies.
#
# **Standard.** The decoder defines $p_\theta(x\mid z)$, and so a claim about pixels: Gaussian, Bernoulli or Binomial. The encoder amortises inference: one function gives $q_\varphi(z\mid x)$ for every $x$. The loss is minus the ELBO, summed over pixels
# and latents, averaged over images. Its gap below $\log p(x)$ has two parts: no Gaussian fits (approximation), and the encoder is off (amortisation). With linear networks the gap vanishes: the ELBO is the likelihood of probabilistic PCA, the
# axes are the principal ones, and at fixed noise exactly the latents with $\lambda_i>\beta\sigma^2$ live. A code that is not used may be the likelihood's judgement, the objective's preference, or a failed optimisation; only comparing the numbers tells which.
#
# **Detailed.**
#
# | what | equation |
# |-|-|
# | model, encoder | $p_\theta(x,z)=p(z)\,p_\theta(x\mid z)$, $q_\varphi(z\mid x)=\mathcal N(\mu_\varphi(x),\operatorname{diag}\sigma_\varphi^2(x))$ |
# | ELBO | $\mathbb E_q[\log p_\theta(x\mid z)]-D_{\mathrm{KL}}(q_\varphi(z\mid x)\,\Vert\,p(z))\le\log p_\theta(x)$ |
# | rate | $-\frac12\sum_i(1+\log\sigma_i^2-\mu_i^2-\sigma_i^2)$ |
# | two gaps | $\log p-\mathcal L[q_\varphi]=(\log p-\mathcal L[q^*])+(\mathcal L[q^*]-\mathcal L[q_\varphi])$ |
# | Bernoulli, Binomial | $\sum_d x\ell-\log(1+e^\ell)$; $\sum_d\log\binom{16}{x}+x\ell-16\log(1+e^\ell)$ |
# | pPCA | $\sigma^2=\frac1{D-k}\sum_{i>k}\lambda_i$, $\ W=U_k(\Lambda_k-\sigma^2I)^{1/2}$ |
# | water-filling | rate $\sum_i\frac12\log^+\frac{\lambda_i}{\beta\sigma^2}$, squared error $\sum_i\min(\lambda_i,\beta\sigma^2)$ |
# | mean over pixels | $\sigma^2=D/2$ |
#
# **Memory aid.** *Above water, active.* And: *sum over what makes one image, mean over images.*
#
# **Key terms.** variational autoencoder · encoder, decoder · amortised inference · approximation gap · amortisation gap · rate · probabilistic PCA · reverse water-filling · posterior collapse · warm-up

# %%
flash_cards(6)

# %%
quiz("06_variational_autoencoders")

# %% [markdown]
# ## A conversation

# %%
dialogue([
    ("Student", "So a VAE is an autoencoder with a bit of noise, and the KL term is a regulariser that somebody added."),
    ("Teacher", "Which of the two terms would you have to leave out to keep a lower bound on log p?"),
    ("Student", "Neither. Without the KL it is no bound on anything. So it was not added, it was there from the start."),
    ("Teacher", "Good. Now my latents are all dead, the KL is zero. What do you ask me first?"),
    ("Student", "Whether your optimiser is broken?"),
    ("Teacher", "Ask about my loss. I take the mean squared error over all pixels and add the KL."),
    ("Student", "The mean over sixty-four pixels. That is a Gaussian with variance thirty-two, and no direction in the digits has a variance above one. Everything is under water."),
    ("Teacher", "And if I sum over the pixels, and three latents out of twenty are alive?"),
    ("Student", "Then the others explain less than the noise you assumed. Let the noise be learned, and the water goes down."),
    ("Teacher", "On the ring you let it be learned, and the code died all the same."),
    ("Student", "Because the bound punishes a posterior that is not Gaussian, and the ring makes one. It gave up the ring rather than the bound."),
    ("Teacher", "So a higher bound is not always a better model. Keep both numbers in sight. And next time you will have to work without the grid."),
])

# %% [markdown]
# ## References
#
# - D. Kingma, M. Welling (2014), *Auto-Encoding Variational Bayes*, ICLR; and (2019) *An Introduction to Variational Autoencoders*, Foundations and Trends in Machine Learning 12.
# - D. Rezende, S. Mohamed, D. Wierstra (2014), *Stochastic Backpropagation and Approximate Inference in Deep Generative Models*, ICML.
# - M. Tipping, C. Bishop (1999), *Probabilistic Principal Component Analysis*, Journal of the Royal Statistical Society B 61.
# - J. Lucas, G. Tucker, R. Grosse, M. Norouzi (2019), *Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse*, NeurIPS: section 5.
# - C. Cremer, X. Li, D. Duvenaud (2018), *Inference Suboptimality in Variational Autoencoders*, ICML: the two gaps.
# - G. Loaiza-Ganem, J. Cunningham (2019), *The Continuous Bernoulli: Fixing a Pervasive Error in Variational Autoencoders*, NeurIPS.
#
# **Next:** [07 · Reparameterization](07_reparameterization.ipynb), where $z$ is drawn and the gradient goes through all the same.

# %% [markdown] solutions
# ## Solutions
