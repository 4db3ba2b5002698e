# %% [markdown]
# # 07 · Reparameterization
#
# **The question of this lesson: how do you follow the gradient of an average when the parameter decides what is drawn?**
#
# After this lesson you will be able to
#
# 1. *derive* the two gradients of $\mathbb E_{q_\varphi(z)}[f(z)]$ that need only samples, score function and pathwise, and *say* what each assumes;
# 2. *predict* which one is noisier, and *compute* the baseline that calms the score function most;
# 3. *show* a cost for which the pathwise gradient is wrong, and one for which it is right but noisier;
# 4. *implement* the gradient of the ELBO that has no noise at all when $q$ is the posterior, and *say* when it is the worse choice;
# 5. *relax* a discrete latent with Gumbel-softmax, and *measure* that its gradient can have the wrong sign;
# 6. *train* a variational autoencoder from samples, with both gradients, and explain the difference.
#
# Needs lessons 03 (KL), 05 (ELBO) and 06 (variational autoencoders).
#
# | section | minutes, with its exercises |
# |-|-|
# | 1 · A parameter inside the dice | 8 |
# | 2 · Move the weights: the score function | 8 |
# | 3 · Move the samples: reparameterise | 30 |
# | 4 · The race | 20 |
# | 5 · Calming the score function | 20 |
# | 6 · The gradient of the ELBO | 20 |
# | 7 · Latents that are switches | 20 |
# | 8 · The Bow, learned from samples | 15 |
# | Recap, cards, quiz, conversation | 12 |

# %%
import numpy as np
import torch
from torch import nn

from course_utils import datasets, models, plots
from course_utils.checks import lesson_07 as check
from course_utils.explore import explore
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
torch.set_num_threads(1)  # small networks: one thread is faster than two that wait for each other
rng = np.random.default_rng(17)

# %% [markdown]
# ## 1 · A parameter inside the dice
#
# A dart player aims at $\mu$; the dart lands at $z \sim \mathcal N(\mu, \sigma^2)$ on a line; a miss costs $f(z) = z^2$, for the bull's eye is at 0.
# She aims at $\mu = 1$ with spread $\sigma = 1$. Here are 100 of her throws.

# %%
throws = 1.0 + 1.0 * rng.standard_normal(100)

fig = plots.figure(7, 2.8)
ax = fig.subplots()
line = np.linspace(-2.2, 4.2, 300)
plots.curve(ax, line, 8 * np.exp(models.log_normal(line, 1.0, 1.0)), "q")
ax.plot(line, line**2, **plots.style("evidence", linewidth=1.5))
ax.plot(throws, throws**2, **plots.style("data", markersize=9))
plots.label(ax, 0.9, 9.5, "cost f(z) = z²", "evidence")
plots.label(ax, -1.5, 2.6, "aim: q(z)", "q")
ax.set(xlim=(-2.2, 4.2), ylim=(0, 12), xlabel="where the dart lands, z", ylabel="cost")
plots.show(fig, alt="A parabola of costs with a hundred throws on it, and the bell curve of the throws around 1")
print(f"mean cost of 100 throws: {np.mean(throws**2):.2f} ± {np.std(throws**2) / 10:.2f}; of all throws: mu² + sigma² = {1.0**2 + 1.0**2:.2f}")

# %% [markdown]
# Throws give the mean cost. But which way should the *aim* move, and how much would that save? We want
#
# $$\nabla_\varphi\, \mathbb E_{q_\varphi(z)}\big[f(z)\big] \;=\; \nabla_\varphi \int f(z)\, q_\varphi(z)\,dz \;=\; \int f(z)\, \nabla_\varphi q_\varphi(z)\,dz ,$$
#
# here with $\varphi = \mu$. Note what the last integral is **not**: an average over $q$. So we cannot estimate it by averaging over throws as it stands.
# On a grid we can compute it, and that is what lesson 06 did for its one latent. But a grid with 100 points for each latent has $100^{10}$ points for ten latents.
# This lesson keeps the grid only as the judge.

# %%
def grid_gradient(f, mu, sigma):
    """d/dmu of E[f(z)], z ~ N(mu, sigma²): the integral of f(z) dq/dmu by the trapezoid rule. In units of f per unit of mu."""
    z = np.linspace(-25, 25, 50_001)
    q = np.exp(models.log_normal(z, mu, sigma))
    return np.trapezoid(f(z) * q * (z - mu) / sigma**2, z)


print(f"d/dmu of the mean cost at mu = 1, sigma = 1: grid {grid_gradient(np.square, 1.0, 1.0):.4f}, by hand 2 mu = {2.0:.4f}")

# %% [markdown]
# What does PyTorch say if we just draw and call `backward()`? It has two ways to draw, `sample` and `rsample`:

# %%
mu = torch.tensor(1.0, requires_grad=True)
for draw in (torch.distributions.Normal(mu, 1.0).sample, torch.distributions.Normal(mu, 1.0).rsample):
    cost = (draw((1000,))**2).mean()
    print(f"{draw.__name__:>7}: the cost knows how it depends on mu: {cost.requires_grad}")

# %% [markdown]
# Same distribution, same costs. With `sample` the dart arrives as a bare number, and how it would have flown with another aim is forgotten.
# With `rsample` it is remembered. The two ways to a gradient in this lesson are these two: to work **without** that memory, or **with** it.
#
# ## 2 · Move the weights: the score function
#
# Turn the integral into an average by force. Since $\nabla \log q = \nabla q / q$,
#
# $$\nabla_\varphi \mathbb E_{q_\varphi}[f] = \int f\, \nabla_\varphi q_\varphi\,dz = \int q_\varphi\, f\, \nabla_\varphi \log q_\varphi\,dz
# = \mathbb E_{q_\varphi(z)}\big[\, f(z)\, \underbrace{\nabla_\varphi \log q_\varphi(z)}_{\text{score}} \,\big].$$
#
# Read it as: the throws stay where they are, and each throw votes on the aim. The score says which way the parameter must move to make
# *this* throw more probable; the cost is the weight of the vote. For a Gaussian and $\varphi=\mu$ the score is $(z-\mu)/\sigma^2$.
# (Lesson 02 called the gradient with respect to the *data* a score; here it is with respect to the *parameter*.)
#
# Needed: values of $f$, and $\log q_\varphi$ differentiable in $\varphi$. Not needed: anything about the inside of $f$. It may jump, or be a simulator, or a human.

# %%
def score_terms(f, mu, sigma, z):
    """One estimate of d/dmu E[f(z)] from each draw z ~ N(mu, sigma²), any shape: f(z) times the score of mu."""
    return f(z) * (z - mu) / sigma**2


z = 1.0 + 1.0 * rng.standard_normal(100_000)
terms = score_terms(np.square, 1.0, 1.0, z)
print(f"100,000 draws: {terms.mean():.2f} ± {terms.std() / np.sqrt(len(z)):.2f}   grid: {grid_gradient(np.square, 1.0, 1.0):.2f}")

# %% [markdown]
# The same in PyTorch takes a **surrogate**: `(f(z).detach() * q.log_prob(z)).mean()` with `z = q.sample()`. Its *value* means nothing, its *gradient* is the estimate.
#
# ## 3 · Move the samples: reparameterise
#
# The other way: split each draw into a part that is random and a part that depends on the parameter.
#
# $$z = g(\epsilon, \varphi), \qquad \epsilon \sim p(\epsilon) \text{ without any parameter.} \qquad\text{Gaussian: } z = \mu + \sigma\epsilon,\quad \epsilon\sim\mathcal N(0,1).$$
#
# The average is now over $\epsilon$, which does not listen to $\varphi$, so the gradient may go inside:
#
# $$\nabla_\varphi\, \mathbb E_{q_\varphi(z)}[f(z)] = \nabla_\varphi\, \mathbb E_{p(\epsilon)}\big[f(g(\epsilon,\varphi))\big]
# = \mathbb E_{p(\epsilon)}\Big[f'(z)\,\frac{\partial g}{\partial \varphi}(\epsilon,\varphi)\Big].$$
#
# This is the **pathwise** gradient. Each throw keeps its own wobble $\epsilon$ and slides along a rail when the aim moves. Needed: the derivative of $f$,
# which may have kinks but no jumps (section 4 shows why), and a differentiable $g$. For $\mu$ the rail has slope $\partial z/\partial\mu = 1$.

# %%
def path_terms(df, mu, sigma, eps):
    """One estimate of d/dmu E[f(z)] from each eps ~ N(0, 1), any shape: f'(z) at z = mu + sigma eps, times dz/dmu = 1."""
    return df(mu + sigma * eps) * 1.0


terms = path_terms(lambda z: 2 * z, 1.0, 1.0, rng.standard_normal(100_000))
print(f"100,000 draws: {terms.mean():.2f} ± {terms.std() / np.sqrt(terms.size):.2f}   grid: {grid_gradient(np.square, 1.0, 1.0):.2f}")

# %% [markdown]
# Both are right, and they share nothing but the answer. Below, watch the rails. On the left, each particle's $z$ as the parameter moves from
# its left end to its right end; on the right, the mean cost $z^2$ of these 24 particles, and at the black dot the slope that the pathwise rule gives.
#
# The spread has three customary parameters: $\sigma$, $\sigma^2$ and $\log\sigma^2$ (the encoder's `logvar`). All three run over the same $\sigma$ from 0.1 to 2.
# Try each parameter; then set the draws to "detached" and to "fresh".

# %%
track = np.linspace(0, 1, 51)
RAILS = {                                   # parameter -> (its value on the track, then mu, sigma and dz/dparameter from it)
    "μ": (-1 + 4 * track, lambda v: v, lambda v: 1 + 0 * v, lambda eps, s: 1 + 0 * eps * s),
    "σ": (0.1 + 1.9 * track, lambda v: 1 + 0 * v, lambda v: v, lambda eps, s: eps + 0 * s),
    "σ²": (0.01 + 3.99 * track, lambda v: 1 + 0 * v, lambda v: np.sqrt(v), lambda eps, s: eps / (2 * s)),
    "log σ²": (np.log(0.01) + np.log(400) * track, lambda v: 1 + 0 * v, lambda v: np.exp(v / 2), lambda eps, s: eps * s / 2)}
EXACT_SLOPE = {"μ": lambda m, s: 2 * m, "σ": lambda m, s: 2 * s, "σ²": lambda m, s: 1.0, "log σ²": lambda m, s: s**2}
frozen, fresh = rng.standard_normal(24), rng.standard_normal((51, 24))


# %%
def particles_on_rails(fig):
    left, right = fig.subplots(1, 2)
    rails = [left.plot([], [], color=plots.SKY, linewidth=0.9)[0] for _ in frozen]
    particles, = left.plot([], [], **plots.style("data", markersize=9))
    left.set(xlim=(0, 1), ylim=(-4, 6), xlabel="parameter, from its left to its right end", ylabel="z of each particle")
    exact, = right.plot([], [], **plots.style("evidence", linewidth=1.5))
    average = plots.curve(right, track, 0 * track, "q")
    tangent, = right.plot([], [], color="black", linewidth=3.5)
    dot, = right.plot([], [], **plots.style("data", markersize=14))
    plots.label(right, 0.03, 11, "exact mean cost", "evidence")
    plots.label(right, 0.03, 9.8, "of the 24 particles", "q")
    right.set(xlim=(0, 1), ylim=(0, 12), xlabel="parameter, from its left to its right end", ylabel="cost")

    def update(parameter="μ", position=0.5, draws="frozen"):
        values, mean, spread, dz = RAILS[parameter]
        now = round(position * 50)
        m, s = mean(values)[:, None], spread(values)[:, None]
        eps = fresh if draws == "fresh" else frozen[None]
        z = m + s * eps
        if draws == "detached": z = np.tile(z[now], (51, 1))
        for rail, path in zip(rails, z.T): rail.set_data(track, path)
        particles.set_data(np.full(24, track[now]), z[now])
        exact.set_data(track, (m**2 + s**2)[:, 0])
        average.set((z**2).mean(axis=1))
        slope = 0.0 if draws == "detached" else np.mean(2 * z[now] * dz(eps[now if draws == "fresh" else 0], s[now]))
        cost, per_track = np.mean(z[now]**2), values[-1] - values[0]
        tangent.set_data(track[now] + np.array([-0.12, 0.12]), cost + slope * per_track * np.array([-0.12, 0.12]))
        dot.set_data([track[now]], [cost])
        return (f"{parameter} = {values[now]:.2f}   mean cost {cost:.2f}, exact {(m**2 + s**2)[now, 0]:.2f}   "
                f"d/d{parameter}: pathwise {slope:.2f}, exact {EXACT_SLOPE[parameter](m[now, 0], s[now, 0]):.2f}")
    return update


explore(particles_on_rails, parameter=list(RAILS), position=(0.0, 1.0, 0.02), draws=["frozen", "fresh", "detached"],
        labels={"parameter": "parameter", "draws": "draws ε"},
        alt="Left: 24 particles on their rails, z against the parameter. Right: mean cost of the particles and its exact value")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With frozen $\epsilon$ the particles' mean cost is a *smooth* curve, near the exact one but not on it; the black slope is its true tangent. For $\mu$ all rails are parallel. For the
# spread they fan out from a point; for $\sigma^2$ they are almost vertical at the left end ($\partial z/\partial\sigma^2 = \epsilon/2\sigma$ explodes as $\sigma\to0$), for $\log\sigma^2$ they leave it
# gently ($\partial z/\partial\log\sigma^2 = \sigma\epsilon/2$) and $\sigma$ can never become negative. That is why encoders output `logvar`.
#
# Detached, the rails are flat: nothing moves when the parameter does, and autograd reports slope 0 although the exact curve is steep. No error is raised. This is what `sample` in place of
# `rsample`, or one `.detach()` too many, does to an encoder.
#
# Fresh $\epsilon$ at every position make the mean cost jagged: differences between neighbours are noise, far larger than the slope. Yet the black tangent still points roughly
# the right way, because *within* one evaluation $\epsilon$ is held still. So training may draw a fresh $\epsilon$ at each step.
#
# </details>
#
# ### Misconception: "reparameterisation is a better way of sampling"
#
# The draws are exactly the same. What changes is where the parameter enters: in the density, or in the path.

# %%
torch.manual_seed(0)
by_sample = torch.distributions.Normal(1.0, 2.0).sample((5,))
torch.manual_seed(0)
by_rsample = torch.distributions.Normal(1.0, 2.0).rsample((5,))
print(f"largest difference between five draws by sample and by rsample: {(by_sample - by_rsample).abs().max().item():.1f}")

# %% [markdown]
# Nor is it only for Gaussians. Any density with an inverse distribution function has a rail: push a uniform $u$ through it. The exponential with rate $\lambda$ is $z = -\log(u)/\lambda$, with
# $\partial z/\partial\lambda = -z/\lambda$. Then $\mathbb E[z^2] = 2/\lambda^2$, whose derivative at $\lambda=2$ is $-4/\lambda^3 = -0.5$.

# %%
def exponential_path_terms(rate, u):
    """Pathwise estimates of d/drate E[z²] for z ~ Exponential(rate), one from each uniform u: 2z times dz/drate = -z/rate."""
    z = -np.log(u) / rate
    return 2 * z * (-z / rate)


terms = exponential_path_terms(2.0, rng.random(100_000))
print(f"pathwise {terms.mean():.3f} ± {terms.std() / np.sqrt(terms.size):.3f}, exact {-4 / 2**3:.3f}")

# %% [markdown]
# ### Exercise 7.1 · Reparameterise ●○○ · 4 min
#
# An encoder gives `mu` and `logvar` $=\log\sigma^2$. Turn noise into draws from $\mathcal N(\mu,\sigma^2)$, with torch tensors, so that gradients flow to both.

# %% exercise="reparameterise"
def reparameterise(mu, logvar, eps):
    """Draws from N(mu, sigma²), logvar = log sigma². mu, logvar, eps: tensors that broadcast; eps ~ N(0, 1)."""
    ### BEGIN SOLUTION
    return mu + (logvar / 2).exp() * eps
    ### END SOLUTION

# %% check="reparameterise"
check.reparameterise(reparameterise)

# %% [markdown]
# ### Exercise 7.2 · Pathwise, for both parameters ●●○ · 8 min
#
# Extend `path_terms` to the gradient with respect to $\mu$ **and** $\log\sigma$, averaged over the draws. What is $\partial z/\partial\log\sigma$? (None of the four rails in the picture, but near to one of them.)

# %% exercise="pathwise_grad"
def pathwise_grad(df, mu, sigma, eps):
    """Pathwise gradient of E[f(z)], z = mu + sigma eps. df: the derivative of f; eps: (S,).

    Returns (d/dmu, d/dlog sigma), two numbers: averages over the S draws.
    """
    ### BEGIN SOLUTION
    slope = df(mu + sigma * eps)
    return np.mean(slope), np.mean(slope * sigma * eps)
    ### END SOLUTION

# %% check="pathwise_grad"
check.pathwise_grad(pathwise_grad)

# %% [markdown]
# ### Exercise 7.3 · Score function, for both parameters ●●○ · 8 min
#
# The same for the score function. Differentiate $\log q = -\log\sigma - (z-\mu)^2/2\sigma^2 + \text{const}$ with respect to $\mu$ and to $\log\sigma$, with $z$ **held fixed**.

# %% exercise="score_grad"
def score_grad(f, mu, sigma, eps):
    """Score-function gradient of E[f(z)], z = mu + sigma eps. f: the cost; eps: (S,).

    Returns (d/dmu, d/dlog sigma), two numbers: averages over the S draws.
    """
    ### BEGIN SOLUTION
    cost = f(mu + sigma * eps)
    return np.mean(cost * eps / sigma), np.mean(cost * (eps**2 - 1))
    ### END SOLUTION

# %% check="score_grad"
check.score_grad(score_grad)

# %% [markdown]
# ## 4 · The race
#
# Both are **unbiased**: right on average. A single estimate can still be far off, and how far is its variance. For $f=z^2$ one can work it out on paper, for one draw:
#
# $$\operatorname{Var}[\text{score}] = \frac{\mu^4}{\sigma^2} + 14\mu^2 + 15\sigma^2, \qquad\qquad \operatorname{Var}[\text{pathwise}] = 4\sigma^2 .$$

# %%
def score_variance(mu, sigma):
    """Variance of one score-function estimate of d/dmu E[z²]; from the moments of a Gaussian up to the sixth."""
    return mu**4 / sigma**2 + 14 * mu**2 + 15 * sigma**2


eps = rng.standard_normal(1_000_000)
print(f"mu = 1, sigma = 1: score function {score_variance(1, 1):.1f}, measured {score_terms(np.square, 1.0, 1.0, 1 + eps).var():.1f}")
print(f"                   pathwise        {4 * 1**2:.1f}, measured {path_terms(lambda z: 2 * z, 1.0, 1.0, eps).var():.1f}")

# %% [markdown]
# So the score function needs seven to eight times as many draws for the same accuracy. Now our player becomes ten times as precise, $\sigma = 0.1$, with the same aim $\mu = 1$. The pathwise variance falls from 4 to 0.04.

# %%
precise = predict(r"$\sigma$ goes from 1 to 0.1. Where does the score function's variance, 30 until now, go?",
                  {"to 0.3: a hundred times smaller, like the other": 0.3, "to 3": 3.0, "it stays near 30": 30.0,
                   "above 100: it rises": 114.0})
precise

# %%
COSTS = {                                     # name -> (f, its derivative where there is one, exact d/dmu, half width of the picture)
    "z²": (np.square, lambda z: 2 * z, lambda m, s: 2 * m, 9.0),
    "sin 10z": (lambda z: np.sin(10 * z), lambda z: 10 * np.cos(10 * z), lambda m, s: 10 * np.cos(10 * m) * np.exp(-50 * s**2), 9.0),
    "step: 1 if z > 0": (lambda z: (z > 0).astype(float), np.zeros_like, lambda m, s: np.exp(models.log_normal(0.0, m, s)), 1.8)}


def best_constant(f, mu, sigma):
    """The constant b that makes the variance of (f(z) - b) × score smallest, found on a grid of eps by fitting a parabola."""
    eps = np.linspace(-8, 8, 1601)
    weight = np.exp(-eps**2 / 2) * eps**2                        # q(z) score², up to a factor
    cost = f(mu + sigma * eps)
    at = [np.sum(weight * (cost - b)**2) for b in (-1.0, 0.0, 1.0)]
    return (at[0] - at[2]) / (2 * (at[0] - 2 * at[1] + at[2]))   # lowest point of the parabola through three points


def four_estimates(cost, mu, sigma, eps):
    """Four estimates of d/dmu E[f] from each row of eps (R, S): plain score, two baselines, pathwise. Returns (4, R)."""
    f, df = COSTS[cost][:2]
    value, score = f(mu + sigma * eps), eps / sigma
    others = (value.sum(axis=1, keepdims=True) - value) / (eps.shape[1] - 1)      # mean cost of the other draws in the row
    rows = value * score, (value - others) * score, (value - best_constant(f, mu, sigma)) * score, df(mu + sigma * eps)
    return np.array([r.mean(axis=1) for r in rows])

# %% [markdown]
# The picture repeats the estimate 1,000 times, each time from $S$ draws, and shows four histograms against the exact gradient (black). The two in the middle are the subject of section 5. On the right: the variance for one draw
# (the measured variance times $S$), on a logarithmic scale. Estimates too far out to be shown are counted at the picture's edges.

# %%
noise, edges = np.random.default_rng(70).standard_normal((1000, 32)), np.linspace(-1, 1, 91)
NAMES = ["score function", "score, minus the others' mean", "score, minus best constant", "pathwise"]
LOOKS = [(plots.VERMILLION, "///"), (plots.ORANGE, "..."), (plots.PURPLE, "\\\\\\"), (plots.BLUE, "")]


def estimator_race(fig):
    left, right = fig.subplots(1, 2, width_ratios=[2, 1], sharey=True)
    stairs = [left.stairs(np.full(90, 3.0 - k), edges, baseline=3.0 - k, fill=True, facecolor=(*plots.mpl.colors.to_rgb(c), 0.35),
                          edgecolor=c, hatch=h) for k, (c, h) in enumerate(LOOKS)]
    exact = left.axvline(0, color="black", linewidth=2)
    left.set(xlim=(-9, 9), ylim=(-0.1, 4), yticks=[3.3, 2.3, 1.3, 0.3], yticklabels=NAMES, xlabel="estimate of d/dμ; black: exact")
    dots = [right.plot([], [], "o", color=c, markersize=11)[0] for c, _ in LOOKS]
    for k in range(4): right.axhline(k + 0.3, color="0.85", linewidth=0.8, zorder=0)
    mark = plots.prediction(right)
    right.set(xscale="log", xlim=(0.01, 1000), xlabel="variance for one draw", xticks=[0.01, 0.1, 1, 10, 100, 1000])
    right.minorticks_off()

    def update(cost="z²", mu=1.0, sigma=1.0, S=8, prediction=None):
        half = COSTS[cost][3]
        if left.get_xlim()[1] != half: left.set_xlim(-half, half)
        estimates = four_estimates(cost, mu, sigma, noise[:, :S])
        for k, row in enumerate(estimates):
            counts = np.histogram(np.clip(row, -0.999 * half, 0.999 * half), half * edges)[0]
            stairs[k].set_data(3 - k + 0.9 * counts / counts.max(), half * edges, 3.0 - k)
        truth, variance = round(COSTS[cost][2](mu, sigma), 3) + 0.0, S * estimates.var(axis=1)
        exact.set_xdata([truth, truth])
        for k, v in enumerate(variance): dots[k].set_data([np.clip(v, 0.0105, 950)], [3.3 - k])
        mark.set(prediction, 3.3)
        means = ", ".join(f"{m:.2f}" for m in np.round(estimates.mean(axis=1), 2) + 0.0)
        return (f"exact {truth:.3f}   means, top to bottom: {means}\n"
                f"variances for one draw: {', '.join(f'{v:.2f}' for v in variance)}")
    return update


explore(estimator_race, cost=list(COSTS), mu=(-2.0, 2.0, 0.1), sigma=(0.1, 2.0, 0.1), S=[2, 8, 32], predict=precise,
        labels={"cost": "cost f(z)", "S": "draws S"}, size=(8.5, 4.2),
        alt="Four histograms of gradient estimates against the exact gradient, and their variances on a logarithmic axis")

# %% [markdown]
# Go to $\sigma=0.1$. Then try the other two costs at $\mu=1$, $\sigma=1$.
#
# <details><summary>What you should have seen</summary>
#
# The score function gets *worse* as the throws get more precise: about 114. The costs hardly differ from each other any more, so their votes, each of a size about $\mu^2/\sigma$, must cancel almost exactly.
# With either baseline this disaster is gone.
#
# For $\sin 10z$ the pathwise histogram is by far the *widest*: $f'$ is ten times as large as $f$ and changes its sign all the time. For the step, the pathwise histogram is a single line at 0: no noise at all, and
# wrong. The derivative of a step is 0 wherever it exists, and the jump, which is all that matters, is never hit.
#
# </details>
#
# ### Misconception: "the pathwise gradient always has the lower variance"
#
# The next cell prints it for all three costs.

# %%
for cost, (f, df, exact, _) in COSTS.items():
    by_score, by_path = score_terms(f, 1.0, 1.0, 1 + eps), path_terms(df, 1.0, 1.0, eps)
    (score_mean, path_mean), truth = np.round([by_score.mean(), by_path.mean()], 2) + 0.0, abs(exact(1.0, 1.0))
    print(f"{cost:>16}: exact {truth:.4f}   score: mean {score_mean:.2f}, variance {by_score.var():.2f}   "
          f"pathwise: mean {path_mean:.2f}, variance {by_path.var():.2f}")
z, oscillating = eps, COSTS["sin 10z"]
print(f"sin 10z at mu = 0: variance {score_terms(oscillating[0], 0.0, 1.0, z).var():.2f} by score, {path_terms(oscillating[1], 0.0, 1.0, z).var():.1f} pathwise")
print(f"z² at sigma = 0.1: variance {score_variance(1, 0.1):.2f} by score, {4 * 0.1**2:.2f} pathwise")

# %% [markdown]
# And dimensions? With $f = \lVert z\rVert^2$ and $D$ independent latents, the score of $\mu_1$ is still multiplied by the *whole* cost, to which the other $D-1$ latents contribute nothing but noise. The pathwise gradient looks only at
# its own coordinate:

# %%
for D in (1, 2, 10):
    z = 1 + rng.standard_normal((200_000, D))
    by_score, by_path = (z**2).sum(axis=1) * (z[:, 0] - 1), 2 * z[:, 0]
    print(f"D = {D:2d}: score {30 + 22 * (D - 1) + 4 * (D - 1)**2}, measured {by_score.var():.0f}   pathwise 4, measured {by_path.var():.1f}")

# %% [markdown]
# ## 5 · Calming the score function
#
# The scores average to zero: $\mathbb E_q[\nabla\log q] = \int \nabla q = \nabla 1 = 0$. So any constant $b$ may be taken off the cost without changing the mean,
#
# $$\nabla_\varphi\mathbb E_q[f] = \mathbb E_q\big[(f(z) - b)\,\nabla_\varphi\log q_\varphi(z)\big] \qquad\text{for every } b .$$
#
# $b$ is called a **baseline**: votes are weighted by how much better or worse than $b$ a throw was. It is the control variate of lesson 03, with the score in the role of the quantity of known mean. The variance is a parabola in $b$.

# %%
def variance_with_baseline(b, f, mu, sigma):
    """Variance of one estimate (f(z) - b) × score of d/dmu E[f(z)], z ~ N(mu, sigma²), by the trapezoid rule."""
    eps = np.linspace(-12, 12, 4801)
    q, term = np.exp(models.log_normal(eps, 0.0, 1.0)), (f(mu + sigma * eps) - b) * eps / sigma
    return np.trapezoid(q * term**2, eps) - np.trapezoid(q * term, eps)**2


fig = plots.figure(7, 2.8)
ax, bs = fig.subplots(), np.linspace(-1, 9, 101)
ax.plot(bs, [variance_with_baseline(b, np.square, 1.0, 1.0) for b in bs], **plots.style("evidence", linewidth=2))
for b, name in (0, "none"), (2, "E[f]"), (4, "lowest"):
    v = variance_with_baseline(b, np.square, 1.0, 1.0)
    ax.plot([b], [v], **plots.style("data", markersize=14))
    ax.annotate(f"{name}: {v:.0f}", (b, v), xytext=(8, 8 if b < 4 else -16), textcoords="offset points")
    print(f"b = {b}: variance {v:.2f}")
ax.set(xlabel="baseline b", ylabel="variance, one draw", ylim=(0, 45), title="f = z², μ = σ = 1: the best baseline is not the mean cost")
plots.show(fig, alt="A parabola of variance against the baseline: 30 at 0, 18 at the mean cost 2, lowest, 14, at 4")

# %% [markdown]
# ### Misconception: "a baseline adds bias", and "the best baseline is the mean cost"
#
# The mean cost is $b=2$ and leaves variance 18; $b = 4$ leaves 14. What is special about 4? That is your next exercise. And the bias of a constant is zero:

# %%
for b in (0.0, 2.0, 4.0, -50.0):
    term = (np.square(1 + eps) - b) * eps
    print(f"b = {b:5.1f}: mean of a million estimates {term.mean():.3f} ± {term.std() / 1000:.3f}   exact 2")

# %% [markdown]
# ### Exercise 7.4 · The best baseline ●●○ · 8 min
#
# The variance is $\mathbb E[(f-b)^2 s^2] - (\nabla\mathbb E f)^2$, where $s$ is the score, and the second part does not depend on $b$. Set the derivative with respect to $b$ to zero, and replace expectations by averages over the draws.
# On paper, for $f=z^2$, it should give $\mu^2 + 3\sigma^2$.

# %% exercise="optimal_baseline"
def optimal_baseline(f, score):
    """The constant b that minimises the mean of (f - b)² score². f, score: (S,) costs and scores of the same draws."""
    ### BEGIN SOLUTION
    return np.mean(f * score**2) / np.mean(score**2)
    ### END SOLUTION

# %% check="optimal_baseline"
check.optimal_baseline(optimal_baseline)

# %% [markdown]
# In practice $\mathbb E[f]$ is unknown as well. With $S$ draws at hand, use for each draw the mean cost of the **other** $S-1$. (With its own cost included, the baseline would depend on the very draw that it judges, and *then* there is bias: a factor $(S-1)/S$.)
# The estimator is called leave-one-out, or RLOO.
#
# ### Exercise 7.5 · Leave one out ●●○ · 8 min
#
# Write it for $\mu$. One sum over all costs is enough; no loop is needed.

# %% exercise="rloo_grad"
def rloo_grad(f, mu, sigma, eps):
    """Score-function gradient d/dmu of E[f(z)], z = mu + sigma eps, with the mean of the other draws as each one's baseline.

    f: the cost; eps: (S,), S >= 2. Returns a number: the average over the S draws.
    """
    ### BEGIN SOLUTION
    cost = f(mu + sigma * eps)
    others = (cost.sum() - cost) / (len(cost) - 1)
    return np.mean((cost - others) * eps / sigma)
    ### END SOLUTION

# %% check="rloo_grad"
check.rloo_grad(rloo_grad)

# %% [markdown]
# ## 6 · The gradient of the ELBO
#
# What we really want to climb is the ELBO, and there $f$ itself contains $\varphi$:
#
# $$\mathcal L(\varphi) = \mathbb E_{q_\varphi(z)}\big[\log p(x,z) - \log q_\varphi(z)\big].$$
#
# Take the smallest case where everything is known: posterior $p(z\mid x)=\mathcal N(0,1)$, $q=\mathcal N(m, s^2)$, evidence $\log p(x) = c$. The ELBO is $c - D_{\mathrm{KL}}(q\,\|\,p)$, and its exact gradient with respect to $m$ is $-m$. Four estimates from one draw $z = m + s\epsilon$:
#
# | estimate | of $\partial\mathcal L/\partial m$ |
# |-|-|
# | score function | $\big(\log p(x,z)-\log q(z)\big)\,\epsilon/s$ |
# | total derivative: autograd through everything | $-z + \epsilon/s - \epsilon/s = -z$ |
# | closed-form entropy: $\mathrm H[q]$ does not depend on $m$ | $-z$ |
# | **sticking the landing** (STL): as the total derivative, without its last term | $-z + \epsilon/s$ |
#
# In the total derivative, $m$ enters $-\log q_\varphi(z)$ twice: through the path of $z$ ($+\epsilon/s$) and directly, as the parameter of $q$ ($-\epsilon/s$). The direct part is a score, so its average is zero, and it may be left out.
# In torch: `detach` the parameters inside $\log q$, but not the draw.

# %%
def elbo_gradients(m, s, log_px, eps):
    """Four estimates of d ELBO/dm from each eps, for p(z|x) = N(0, 1), q = N(m, s²), evidence log_px (nats).

    Returns (4, ...): score function, total derivative, closed-form entropy, sticking the landing. Roeder et al. (2017).
    """
    z = m + s * eps
    log_w = log_px + models.log_normal(z, 0.0, 1.0) - models.log_normal(z, m, s)
    return np.array([log_w * eps / s, -z, -z, -z + eps / s])


def elbo_gradient_sds(m, s, log_px):
    """Standard deviations of the four, exactly: log_w = a + b eps + d eps², and moments of eps up to the sixth. (4, ...)"""
    a, b, d = log_px - m**2 / 2 + np.log(s), -m * s, (1 - s**2) / 2
    score = np.sqrt(a**2 + 2 * b**2 + 15 * d**2 + 6 * a * d) / s
    return np.array([score, s + 0 * m, s + 0 * m, np.abs(1 / s - s)])

# %% [markdown]
# Now let $q$ *be* the posterior: $m=0$, $s=1$. Nothing is left to improve. If $\log p(x) = 0$, the score-function estimate is zero for every single draw, because $\log w = 0$.

# %%
landing_noise = predict(r"$q$ is the posterior, but now $\log p(x) = -5$. What is the standard deviation of the score-function estimate of $\partial\mathcal L/\partial m$?",
                        {"0: at the optimum there is nothing to estimate": 0.0, "1, like the total derivative": 1.0, "5": 5.0})
landing_noise

# %%
def landing(fig):
    ax = fig.subplots()
    all_s = np.linspace(0.2, 2.0, 91)
    looks = [(plots.VERMILLION, "--", "score function"), (plots.BLUE, "-", "total derivative"), None, (plots.GREEN, "-.", "sticking the landing")]
    lines = {k: ax.plot([], [], color=v[0], linestyle=v[1], linewidth=2.2, label=v[2])[0] for k, v in enumerate(looks) if v}
    dots = {k: ax.plot([], [], marker, color=looks[k][0], markersize=9)[0] for k, marker in ((0, "s"), (1, "o"), (3, "^"))}
    here = ax.axvline(1, color="0.5", linewidth=1)
    mark = plots.prediction(ax)
    ax.set(xlim=(0.2, 2), ylim=(-0.15, 6), xlabel="s, the spread of q (the posterior has 1)", ylabel="sd of one estimate")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    eps = np.random.default_rng(71).standard_normal(2000)

    def update(m=0.0, s=1.0, log_px=0.0, prediction=None):
        sds, drawn = elbo_gradient_sds(m, all_s, log_px), elbo_gradients(m, s, log_px, eps)
        for k, line in lines.items(): line.set_data(all_s, np.minimum(sds[k], 7))
        for k, dot in dots.items(): dot.set_data([s], [drawn[k].std()])
        here.set_xdata([s, s])
        mark.set(1.0, prediction)
        shown = [f"{np.round(drawn[k].mean(), 2) + 0.0:.2f} ± {drawn[k].std():.2f}" for k in (0, 1, 3)]
        return f"exact {-m + 0:.2f}   score function {shown[0]}   total derivative {shown[1]}   sticking the landing {shown[2]}"
    return update


explore(landing, m=(-2.0, 2.0, 0.1), s=(0.2, 2.0, 0.05), log_px=(-5.0, 0.0, 0.5), predict=landing_noise,
        labels={"m": "mean m", "s": "spread s", "log_px": "log p(x)"},
        alt="Standard deviation of three estimates of the ELBO's gradient against the spread s of q; squares, dots and triangles: 2,000 draws")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# At $s=1$, $m=0$ the score function's curve stands at $\lvert\log p(x)\rvert$, so at 5: each vote is weighted with the same $\log w = \log p(x) = -5$, and equal votes cancel only on average. (A baseline of $-5$ removes it.)
# The total derivative keeps the noise $s$ even there. Only STL comes down to exactly 0: it *sticks the landing*.
#
# Make $s$ small: now STL is the *noisier* one, $1/s - s$ against $s$. It is the right choice near the optimum, not everywhere. And $m$ does not matter to the two pathwise estimates.
#
# </details>

# %%
for m, s, log_px in ((0, 1, 0), (0, 1, -5), (1, 0.8, 0), (1, 0.4, 0)):
    mean, var = elbo_gradients(m, s, log_px, eps).mean(axis=1), elbo_gradient_sds(m, s, log_px)**2
    print(f"m={m}, s={s}, log p(x)={log_px}: exact {-m}; means {', '.join(f'{v:.2f}' for v in np.round(mean, 2) + 0.0)}; "
          f"variances: score {var[0]:.2f}, total {var[1]:.2f}, entropy {var[2]:.2f}, STL {var[3]:.4f}")

# %% [markdown]
# ### Exercise 7.6 · Stick the landing ●●● · 12 min
#
# Write it with torch for any $\log p(x,z)$ and both parameters, $\mu$ and $\log\sigma$. Build $z$ from the parameters, use *detached* copies of them inside $\log q$, and let `torch.autograd.grad` do the rest.

# %% exercise="stl_grad"
def stl_grad(log_p, mu, log_sigma, eps):
    """Gradient of the ELBO, averaged over eps (S,), without the score of q. Returns (d/dmu, d/dlog sigma), two tensors.

    log_p: function of a tensor z, log p(x, z) elementwise. mu, log_sigma: scalar tensors with requires_grad=True.
    """
    ### BEGIN SOLUTION
    z = mu + log_sigma.exp() * eps
    q = torch.distributions.Normal(mu.detach(), log_sigma.detach().exp())
    elbo = (log_p(z) - q.log_prob(z)).mean()
    return torch.autograd.grad(elbo, (mu, log_sigma))
    ### END SOLUTION

# %% check="stl_grad"
check.stl_grad(stl_grad)

# %% [markdown]
# ## 7 · Latents that are switches
#
# A switch $b\in\{0,1\}$ is on with probability $\theta$, and $f(b) = (b - 0.45)^2$: "off" costs 0.2025, "on" 0.3025. The best $\theta$ is 0. No rail leads from 0 to 1, and what can be drawn with frozen noise jumps:
# $b = 1$ if $\ell + g > 0$, with the logit $\ell = \log\frac{\theta}{1-\theta}$ and logistic noise $g = \log\frac{u}{1-u}$, $u$ uniform. With $K$ choices in place of two, the draw is $\arg\max_k (\ell_k + g_k)$ with Gumbel noise $g_k = -\log(-\log u_k)$: the **Gumbel-max** trick, an exact draw from
# the softmax of $\ell$ (for two choices the difference of their noises is logistic), and piecewise constant, so its pathwise gradient is 0 like that of the step.
#
# The **Gumbel-softmax** (or concrete) relaxation replaces the maximum by a softmax at temperature $\tau$:
#
# $$\tilde b = \operatorname{softmax}\Big(\frac{\ell + g}{\tau}\Big), \qquad\text{for a switch: } \tilde b = \operatorname{sigmoid}\Big(\frac{\ell + g}{\tau}\Big).$$
#
# Now there is a rail, but it belongs to another cost: $\mathbb E[f(\tilde b)]$ is not $\mathbb E[f(b)]$. **Straight-through** goes half way: evaluate $f'$ at the hard $b$, and use the soft slope for the rest.

# %%
def switch_gradients(theta, tau, u):
    """Means over uniforms u (N,) of two estimates of d/dlogit E[f(b)], f(b) = (b - 0.45)²: Gumbel-softmax, straight-through.

    theta: chance of b = 1, tau > 0 the temperature; arrays of shape (...). Returns two of shape (...).
    """
    theta, tau = np.asarray(theta)[..., None], np.asarray(tau)[..., None]
    pre = np.log(theta / (1 - theta)) + np.log(u / (1 - u))
    soft, hard = 1 / (1 + np.exp(-pre / tau)), pre > 0
    slope = soft * (1 - soft) / tau                                  # d soft / d logit
    return (2 * (soft - 0.45) * slope).mean(axis=-1), (2 * (hard - 0.45) * slope).mean(axis=-1)


def switch_exact(theta):
    """d/dlogit of E[f(b)] = (1 - theta) f(0) + theta f(1); any shape."""
    return theta * (1 - theta) * ((1 - 0.45)**2 - 0.45**2)


u = (np.arange(4000) + 0.5) / 4000                                   # every quantile of the noise once: an average without luck
print(f"off costs {0.45**2:.4f}, on costs {(1 - 0.45)**2:.4f}")
print(f"theta = 0.5, tau = 1: exact {switch_exact(0.5):.4f}, Gumbel-softmax {switch_gradients(0.5, 1.0, u)[0]:.4f}")

# %% [markdown]
# At $\theta = 0.5$ the relaxed gradient has the right sign and two thirds of the size. Descent follows signs, so that sounds harmless. The way to the optimum leads through smaller $\theta$:

# %%
sign = predict(r"At $\theta=0.2$ the exact gradient is $+0.016$: less $\theta$ is better. What does Gumbel-softmax at $\tau=1$ say, on average?",
               {"+0.016: it is unbiased": 0.016, "about +0.01: too small, as before": 0.01, "0": 0.0, "below −0.02: more θ is better": -0.023})
sign

# %%
def temperature(fig):
    left, right = fig.subplots(1, 2)
    edges, taus, coarse = np.linspace(0, 1, 41), np.linspace(0.1, 2.0, 39), u[::4]
    bars = left.stairs(np.zeros(40), edges, baseline=0, fill=True, facecolor=(*plots.mpl.colors.to_rgb(plots.SKY), 0.5), edgecolor=plots.BLUE)
    exact_mean = left.axvline(0.5, **plots.style("evidence", linewidth=2))
    soft_mean = left.axvline(0.5, **plots.style("q"))
    left.set(xlim=(0, 1), ylim=(0, 0.4), xlabel="relaxed switch (black: θ, dashed: its mean)", ylabel="share of draws")
    exact = right.axhline(0, **plots.style("evidence", linewidth=2))
    soft = plots.curve(right, taus, 0 * taus, "q")
    through, = right.plot([], [], color=plots.PURPLE, linestyle="-.", linewidth=2)
    right.axhline(0, color="0.6", linewidth=0.8)
    dot, = right.plot([], [], "o", color=plots.VERMILLION, markersize=10)
    mark = plots.prediction(right)
    right.set(xlim=(0, 2), ylim=(-0.1, 0.06), xlabel="temperature τ", ylabel="gradient by the logit")
    for y, text, role in (0.05, "exact", "evidence"), (-0.082, "Gumbel-softmax", "q"), (-0.094, "straight-through", "kl"):
        plots.label(right, 0.08, y, text, role)

    def update(theta=0.5, tau=1.0, prediction=None):
        relaxed = 1 / (1 + np.exp(-(np.log(theta / (1 - theta)) + np.log(u / (1 - u))) / tau))
        bars.set_data(np.histogram(relaxed, edges)[0] / len(u))
        exact_mean.set_xdata([theta, theta])
        soft_mean.set_xdata([relaxed.mean()] * 2)
        by_soft, by_through = switch_gradients(theta, taus, coarse)
        soft.set(by_soft)
        through.set_data(taus, by_through)
        exact.set_ydata([switch_exact(theta)] * 2)
        now = switch_gradients(theta, tau, u)
        dot.set_data([tau], [now[0]])
        mark.set(1.0, prediction)
        wrong = "   WRONG SIGN" if now[0] < -5e-5 else ""
        return (f"mean of the relaxed switch {relaxed.mean():.4f}, of the switch {theta:.2f}\n"
                f"gradient: exact {switch_exact(theta):+.4f}, Gumbel-softmax {now[0]:+.4f}, straight-through {now[1]:+.4f}{wrong}")
    return update


explore(temperature, theta=(0.05, 0.95, 0.05), tau=(0.1, 2.0, 0.05), predict=sign, labels={"theta": "θ", "tau": "temperature τ"},
        alt="Left: histogram of the relaxed switch. Right: exact, Gumbel-softmax and straight-through gradients against the temperature")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# At $\theta=0.2$ and $\tau = 1$ the gradient is $-0.0231$: wrong sign. Cooling down helps: at $\tau=0.1$ it is positive at last, but the histogram has all its mass at the ends and the few draws between
# them carry slopes up to $1/4\tau$: the colder, the noisier. Straight-through is worse here, $-0.0501$.
#
# </details>
#
# ### Misconception: "Gumbel-softmax is biased, but that is only a matter of size"

# %%
for tau in (1.0, 0.5, 0.1):
    soft, through = switch_gradients(0.2, tau, u)
    print(f"theta = 0.2, tau = {tau}: exact {switch_exact(0.2):+.4f}, Gumbel-softmax {soft:+.4f}, straight-through {through:+.4f}")
logit = 0.0
for _ in range(2000):
    logit -= 5.0 * switch_gradients(1 / (1 + np.exp(-logit)), 1.0, u)[0]
stopped = 1 / (1 + np.exp(-logit))
print(f"descent with it at tau = 1, without noise, stops at theta = {stopped:.4f}, cost {0.45**2 + stopped * (0.55**2 - 0.45**2):.4f}; best: theta = 0, cost {0.45**2:.4f}")

# %% [markdown]
# Not noise: the descent above has none. It solves another problem, and solves it well. With $K$ discrete latents the score function with a good baseline stays the honest choice; Gumbel-softmax is the quiet one, whose result must be checked at low temperature.
#
# ### Exercise 7.7 · Gumbel-softmax ●○○ · 6 min
#
# Write the relaxation for $K$ choices. It must survive small $\tau$ (largest out first, then exp) and work for rows of choices.

# %% exercise="gumbel_softmax"
def gumbel_softmax(logits, g, tau):
    """softmax((logits + g) / tau) over the last axis. logits, g: arrays (..., K), g Gumbel noise; tau > 0. Shape (..., K)."""
    ### BEGIN SOLUTION
    a = (np.asarray(logits) + g) / tau
    a = np.exp(a - a.max(axis=-1, keepdims=True))
    return a / a.sum(axis=-1, keepdims=True)
    ### END SOLUTION

# %% check="gumbel_softmax"
check.gumbel_softmax(gumbel_softmax)

# %% [markdown]
# ## 8 · The Bow, learned from samples
#
# Lesson 06 trained its autoencoder on the Bow with exact averages over a grid of $z$. Now without the grid: a network for the encoder ($x \to \mu, \log\sigma^2$), one for the decoder ($z \to$ mean of $x$, plus one number for the noise, $\log s$), four draws of $z$ for each $x$ in the batch.
# The KL to the prior needs no draws: $D_{\mathrm{KL}}(\mathcal N(\mu,\sigma^2)\,\|\,\mathcal N(0,1)) = \tfrac12(\mu^2 + \sigma^2 - 1 - \log\sigma^2)$.

# %%
data = torch.tensor(datasets.bow(1000, w=1.0, s=0.25, rng=rng)[0], dtype=torch.float32)
test = torch.tensor(datasets.bow(500, w=1.0, s=0.25, rng=rng)[0], dtype=torch.float32)


class BowVAE(nn.Module):
    """Encoder 2-20-2 (mu, logvar), decoder 1-20-2 (mean of x) and log s; one latent."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 2))
        self.decoder = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 2))
        self.log_s = nn.Parameter(torch.tensor(0.0))

    def log_likelihood(self, x, z):
        """log p(x | z) in nats. x: (B, 2), z: (S, B). Returns (S, B), summed over the two coordinates of x."""
        squared = ((x - self.decoder(z[..., None]))**2).sum(dim=-1)
        return -squared / 2 * torch.exp(-2 * self.log_s) - 2 * self.log_s - np.log(2 * np.pi)


def kl_to_prior(mu, logvar):
    """KL(N(mu, sigma²) || N(0, 1)) in nats, elementwise; logvar = log sigma²."""
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)

# %% [markdown]
# The three estimates differ in a few lines, and only in what the *encoder* gets to know. The decoder's gradient is the same ordinary one in each: its parameters do not decide what is drawn.

# %%
def surrogate(vae, x, eps, kind):
    """Something whose gradient estimates that of the ELBO, mean over the batch; for "pathwise" it is the ELBO itself.

    x: (B, 2); eps: (S, B) noise; kind: "pathwise", "score" or "leave-one-out".
    """
    mu, logvar = vae.encoder(x).unbind(dim=-1)
    z = mu + (logvar / 2).exp() * eps
    if kind == "pathwise":
        return (vae.log_likelihood(x, z) - kl_to_prior(mu, logvar)).mean()
    z = z.detach()                                       # the draws stay where they are
    log_q = -0.5 * (z - mu)**2 * torch.exp(-logvar) - logvar / 2
    f = vae.log_likelihood(x, z)
    weight = f.detach()
    if kind == "leave-one-out":
        weight = weight - (weight.sum(dim=0) - weight) / (len(eps) - 1)
    return (f + weight * log_q - kl_to_prior(mu, logvar)).mean()

# %% [markdown]
# First a look at the noise itself: for one untrained network and one $x$, the variance of the gradient of $\mathbb E_q[\log p(x\mid z)]$ with respect to the encoder's $\mu(x)$, from single draws.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
vae, x = BowVAE(), torch.tensor([[1.0, 0.5]])
with torch.no_grad():
    vae.log_s.fill_(np.log(0.25))                          # as sharp as the true noise
noise_z = torch.randn(20_000, 1)
m, lv = vae.encoder(x).detach().unbind(dim=-1)
z = (m + (lv / 2).exp() * noise_z).requires_grad_()
f = vae.log_likelihood(x, z)
by_path = torch.autograd.grad(f.sum(), z)[0]
by_score = (f * noise_z / (lv / 2).exp()).detach()
by_baseline = ((f - f.mean()) * noise_z / (lv / 2).exp()).detach()
print(f"means      pathwise {by_path.mean():.2f}, score {by_score.mean():.2f}, score minus mean {by_baseline.mean():.2f}")
print(f"variances  pathwise {by_path.var():.1f}, score {by_score.var():.1f}, score minus mean {by_baseline.var():.1f}")

# %%
print(f"the score function is more than 5 times as noisy: {bool(by_score.var() > 5 * by_path.var())}; "
      f"a baseline helps: {bool(by_baseline.var() < by_score.var())}")

# %% [markdown]
# The training loop, in the open: draw a batch, draw $\epsilon$, go uphill. The judge is an exact one: the negative ELBO on the 500 test points with a fine grid of $\epsilon$ in place of draws, the same for all three.

# %%
def exact_negative_elbo(vae, x):
    """-ELBO in nats, mean over x (N, 2), with the average over eps ~ N(0, 1) by a sum over 61 grid points."""
    eps = torch.linspace(-5, 5, 61)[:, None]
    weight = torch.softmax(-eps**2 / 2, dim=0)
    with torch.no_grad():
        mu, logvar = vae.encoder(x).unbind(dim=-1)
        recon = (weight * vae.log_likelihood(x, mu + (logvar / 2).exp() * eps)).sum(dim=0)
        return (kl_to_prior(mu, logvar) - recon).mean().item()

# %%
def learn(kind, steps=800, draws=4, batch=100, every=50):
    """Train a BowVAE by Adam on one kind of gradient. Returns -ELBO (nats) and decoded curve (81, 2) every 50 steps, and s."""
    torch.manual_seed(5)                                   # the same start, batches and noise for every kind
    vae, codes = BowVAE(), torch.linspace(-3, 3, 81)[:, None]
    optimiser = torch.optim.Adam(vae.parameters(), lr=1e-2)
    losses, curves = [], []
    for step in range(steps + 1):
        if step % every == 0:
            losses.append(exact_negative_elbo(vae, test))
            curves.append(vae.decoder(codes).detach().numpy())
        x = data[torch.randint(len(data), (batch,))]
        loss = -surrogate(vae, x, torch.randn(draws, batch), kind)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return np.array(losses), np.array(curves), vae.log_s.exp().item()

# %% tags=["nbval-ignore-output"]
learned = {kind: learn(kind) for kind in ("pathwise", "leave-one-out", "score")}
for kind, (losses, _, s) in learned.items():
    print(f"{kind:>14}: -ELBO after 0, 200, 400, 800 steps: {', '.join(f'{v:.3f}' for v in losses[[0, 4, 8, 16]])} nats; decoder's s = {s:.2f}")

# %%
z_grid = np.linspace(-6, 6, 1201)
floor = np.mean([-models.bow_posterior(x, z_grid, 1.0, 0.25)[1] for x in test.numpy().astype(float)])
end = {kind: losses[-5:].mean() for kind, (losses, _, _) in learned.items()}    # over the last five looks
print(f"the true model's -log p(x) on the test points: {floor:.3f} nats, and nobody is below: {min(end.values()) > floor}")
print(f"the plain score function is behind leave-one-out: {end['leave-one-out'] < end['score']}, and that behind pathwise: {end['pathwise'] < end['leave-one-out']}")

# %% [markdown]
# Side by side, with the training steps on a slider, which stands at the end; move it back to the start and watch. The curve is what each decoder has learned: the mean of $x$ for $z$ from $-3$ to 3.

# %% tags=["nbval-ignore-output"]
def side_by_side(fig):
    panels = fig.subplots(1, 3, width_ratios=[1, 1, 1.1])
    drawn = []
    for ax, title in zip(panels, ("pathwise", "score function")):
        ax.plot(*data[:300].numpy().T, **plots.style("data", alpha=0.25))
        drawn.append(ax.plot([], [], **plots.style("q", linewidth=3))[0])
        ax.set(xlim=(-2, 2), ylim=(-1, 3), aspect="equal", xlabel="x₁", title=title)
    right, steps = panels[2], 50 * np.arange(17)
    for kind, color, line in zip(learned, (plots.BLUE, plots.ORANGE, plots.VERMILLION), ("-", "-.", "--")):
        right.plot(steps, learned[kind][0], color=color, linestyle=line, linewidth=2.2, label=kind)
    right.axhline(floor, **plots.style("evidence", linewidth=1.5))
    now = right.axvline(0, color="0.5")
    right.set(xlabel="step", ylabel="−ELBO, nats; black: true model", ylim=(1.35, 2.05))
    right.legend(loc="upper right")

    def update(step=800, baseline=False):
        other = "leave-one-out" if baseline else "score"
        for line, kind in zip(drawn, ("pathwise", other)): line.set_data(*learned[kind][1][step // 50].T)
        now.set_xdata([step, step])
        return (f"after {step} steps: -ELBO {learned['pathwise'][0][step // 50]:.3f} pathwise, "
                f"{learned[other][0][step // 50]:.3f} {other}, true model {floor:.3f} nats")
    return update


explore(side_by_side, step=(0, 800, 50), baseline=False, size=(8.5, 3.4),
        labels={"step": "training steps", "baseline": "middle: with baseline"},
        alt="The data of the Bow with the curve learned by the pathwise gradient, that learned by the score function, and both losses")

# %%
ahead = learned["pathwise"][0] < learned["score"][0]
print(f"from step 400 on, pathwise is ahead of the plain score function at every look: {bool(ahead[8:].all())}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With the pathwise gradient the curve soon bends along the data; with the score function it lags behind. The encoder, fed with noise, learns slowly to tell the points apart; a decoder that gets blurred codes learns a curve too flat and a noise $s$ too large.
# Nothing is *wrong* with the score function: it climbs the same hill, only with more noise in each step. The leave-one-out baseline costs one line and wins back part of the difference (for most starts: try other seeds in `learn`). All three stay above the black line, and none has finished learning.
#
# </details>
#
# For a decoder with ten latents and 64 pixels the gap is far wider (think of 552 against 4), and the score function without strong baselines becomes hopeless. That is why variational autoencoders appeared together with reparameterisation.

# %% [markdown]
# **One step harder, not checked: REBAR in a toy.** For the switch of section 7 at $\theta=0.2$, the score function for the logit is $f(b)\,(b-\theta)$. Take the relaxed cost as its control variate, and put back by the pathwise gradient what that takes away:
#
# $$\big[f(b)-\eta f(\tilde b')\big](b-\theta) + \eta\,\partial_\ell f(\tilde b) - \eta\,\partial_\ell f(\tilde b').$$
#
# Here $b$ and $\tilde b$ come from the same $u$, and $\tilde b'$ from a second one, uniform on the part of $(0,1)$ that leads to the *same* $b$: $u' = (1-\theta) + \theta v$ if $b = 1$, else $u' = (1-\theta)\,v$, with a fresh uniform $v$; note that $u'$ moves with $\ell$.
# Show on paper that this is unbiased for every $\tau$ and $\eta$, check on $10^6$ draws that its mean is $+0.016$, and look for the $\tau$ and $\eta$ with the smallest variance. (With $\eta=1$ it is noisier here than the plain score function, at each $\tau$ that we tried. REBAR learns $\eta$.)
#
# **Another step harder, shown: a better bound can be a worse teacher.** The IWAE bound of lesson 05 rises with $K$. Take $z\sim\mathcal N(\theta,1)$, $x\mid z\sim\mathcal N(z,1)$, $q=\mathcal N(m,s^2)$, and look at the signal-to-noise ratio, mean over standard deviation, of its gradients by $\theta$ and by $m$.

# %%
def iwae_gradients(K, n, rng, x=1.0, theta=0.0, m=0.2, s=0.9):
    """n estimates of the K-sample bound's gradient: by theta, by m (pathwise), and by m doubly reparameterised. Returns (3, n)."""
    eps = rng.standard_normal((n, K))
    z = m + s * eps
    log_w = models.log_normal(z, theta, 1.0) + models.log_normal(x, z, 1.0) - models.log_normal(z, m, s)
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    w /= w.sum(axis=1, keepdims=True)
    along_path = (theta - z) + (x - z)                     # d log w/dm with z moving; log q(z) stays the same on its rail
    sticking = along_path + eps / s                        # the same with the parameters inside log q detached
    return np.array([(w * (z - theta)).sum(axis=1), (w * along_path).sum(axis=1), (w**2 * sticking).sum(axis=1)])


Ks, snr = np.array([1, 10, 100]), []
for K in Ks:
    g = iwae_gradients(K, 20_000, rng)
    snr.append(np.abs(g.mean(axis=1)) / g.std(axis=1))
    print(f"K = {K:3d}: signal/noise for theta {snr[-1][0]:5.2f}, for m {snr[-1][1]:.3f}, for m doubly reparameterised {snr[-1][2]:.2f}")
slopes = np.polyfit(np.log(Ks), np.log(np.array(snr)), 1)[0]
print(f"slopes on logarithmic axes: theta {slopes[0]:+.1f}, m {slopes[1]:+.1f}, doubly reparameterised {slopes[2]:+.1f}")

# %% [markdown]
# For large $K$ the slopes tend to $+\tfrac12$ and $-\tfrac12$. More samples help the decoder ($\theta$) and *drown* the encoder's gradient in noise: its mean shrinks faster than its spread. Removing the score of $q$ as in STL, but with squared weights ("doubly reparameterised"), is unbiased as well and turns the slope round.
#
# ## Recap
#
# **Short.** A gradient of an average over $q_\varphi$ can move the weights of fixed samples (score function) or move the samples with fixed noise (pathwise). The first works for any cost and is noisy; the second is usually quiet and needs a differentiable cost.
#
# **Standard.** $\nabla\int f q_\varphi$ is no average over $q_\varphi$. The log-derivative makes it one: cost times score, unbiased for any $f$, but its variance grows with the size of the cost, with the number of latents, and as $q$ gets narrow. Baselines take off what all draws have in common; the best one is
# the mean cost weighted by squared scores. Reparameterising, $z=g(\epsilon,\varphi)$, puts the parameter into the path, so that autograd sees it; it fails for jumps and is noisy for fast oscillations. In the ELBO, leaving out the score inside $\log q$ removes all noise at the optimum.
# Discrete latents have no path; Gumbel-softmax gives them one for another problem, whose gradient may point the wrong way. With the pathwise gradient a VAE trains from a few draws.
#
# **Detailed.**
#
# | what | equation |
# |-|-|
# | score function | $\nabla_\varphi\mathbb E_q[f]=\mathbb E_q[(f(z)-b)\,\nabla_\varphi\log q_\varphi(z)]$, any constant $b$ |
# | best baseline | minimises $\mathbb E[(f-b)^2 s^2]$, $s$ the score; Exercise 7.4 |
# | pathwise | $\nabla_\varphi\mathbb E_q[f]=\mathbb E_\epsilon[f'(z)\,\partial_\varphi g(\epsilon,\varphi)]$, $z=g(\epsilon,\varphi)$ |
# | rails of a Gaussian | $\partial_\mu z=1,\quad \partial_\sigma z=\epsilon,\quad \partial_{\sigma^2}z=\epsilon/2\sigma,\quad \partial_{\log\sigma^2}z=\sigma\epsilon/2$ |
# | variances for $z^2$ | $\mu^4/\sigma^2+14\mu^2+15\sigma^2$ (score), $4\sigma^2$ (pathwise) |
# | STL | $\mathbb E_\epsilon\big[\partial_z(\log p(x,z)-\log q_\varphi(z))\,\partial_\varphi g\big]$ |
# | Gumbel-max, Gumbel-softmax | $\arg\max_k(\ell_k+g_k)$, $\operatorname{softmax}((\ell+g)/\tau)$ |
#
# **Memory aid.** *Path moves the sample, score moves the weight.* Or: the score function only tastes the dish; the pathwise gradient knows the recipe and can say what each ingredient does to the taste.
#
# **Key terms.** score-function estimator · pathwise gradient · reparameterisation · baseline · leave-one-out (RLOO) · sticking the landing · Gumbel-max · Gumbel-softmax · straight-through · surrogate loss

# %%
flash_cards(7)

# %%
quiz("07_reparameterization")

# %% [markdown]
# ## A conversation

# %%
dialogue([
    ("Student", "My encoder does not learn. The loss goes down a little, then stays, and no error is raised."),
    ("Teacher", "How do you draw the latent?"),
    ("Student", "I call sample on a normal distribution with the encoder's mean and spread. That is what the equation says."),
    ("Teacher", "And if the mean moved a little, what would happen to the numbers you have already drawn?"),
    ("Student", "Nothing. They are numbers. Oh. So autograd sees no way from the cost back to the mean. Only the decoder learns."),
    ("Teacher", "Give them a rail. Draw noise that knows no parameter, then shift and stretch it."),
    ("Student", "So reparameterising gives better samples."),
    ("Teacher", "Compare them. They are the very same numbers. What is different?"),
    ("Student", "Only that the parameter is now in the path and no longer in the dice. Then I shall always use it, it has less noise."),
    ("Teacher", "Always? Let the cost be a fast sine wave, or a step."),
    ("Student", "For the sine it was a hundred times noisier. For the step it was perfectly quiet, and wrong. Quiet is not the same as right."),
    ("Teacher", "The same goes for a switch that you soften. It may lead you, without any noise, to the wrong place. Path moves the sample, score moves the weight. Ask first whether there is a path."),
])

# %% [markdown]
# ## References
#
# - D. P. Kingma and M. Welling (2014), *Auto-Encoding Variational Bayes*, and D. J. Rezende, S. Mohamed and D. Wierstra (2014), *Stochastic Backpropagation*: reparameterisation enters variational autoencoders.
# - R. J. Williams (1992), *Simple statistical gradient-following algorithms for connectionist reinforcement learning*, Machine Learning 8: the score function, as REINFORCE, with baselines.
# - S. Mohamed, M. Rosca, M. Figurnov and A. Mnih (2020), *Monte Carlo Gradient Estimation in Machine Learning*, JMLR 21: all of it, side by side.
# - G. Roeder, Y. Wu and D. Duvenaud (2017), *Sticking the Landing*, NeurIPS.
# - E. Jang, S. Gu and B. Poole (2017), *Categorical Reparameterization with Gumbel-Softmax*; C. J. Maddison, A. Mnih and Y. W. Teh (2017), *The Concrete Distribution*; both ICLR.
# - G. Tucker et al. (2017), *REBAR*, NeurIPS, whose toy is our switch. W. Kool, H. van Hoof and M. Welling (2019), *Buy 4 REINFORCE Samples, Get a Baseline for Free!*: leave-one-out.
# - T. Rainforth et al. (2018), *Tighter Variational Bounds are Not Necessarily Better*, ICML; G. Tucker et al. (2019), *Doubly Reparameterized Gradient Estimators*, ICLR.
#
# **Next: lesson 08, deep VAEs on handwritten digits.** You have a model, a bound and a gradient. Next they meet real images, and you will learn to read how they fail.

# %% [markdown] solutions
# ## Solutions
