# %% [markdown]
# # 01 · Latent variables
#
# **The question of this lesson:** why would anyone put a variable into a model that nobody can observe,
# and what does it cost?
#
# After this lesson you will be able to
# 1. write down $p(x, z)$, $p(x)$ and $p(z \mid x)$ for a story about how data arise, and compute each by hand;
# 2. count the parameters of a full table, a Boltzmann machine with and without hidden units, and a mixture, and say
#    *which quantity* explodes in which;
# 3. compute the evidence $p(x)$ of a continuous model on a grid, to four digits;
# 4. explain, with one formula, why averaging over guesses from the prior fails;
# 5. give two reasons why data cannot tell you what a latent variable is;
# 6. tell a local code from a distributed one by counting regions.
#
# **Needs:** [lesson 00](00_start_here.ipynb) (densities, logarithms in nats, log-mean-exp).
# **Takes** about 105 minutes: two coins 15 · the Bow 15 · summing out 25 · guessing 15 · what explodes 15 · codes 5 ·
# what data cannot tell 5 · recap 10.

# %%
from itertools import product
from math import comb

import numpy as np
from scipy.integrate import quad

from course_utils import datasets, plots
from course_utils.checks import lesson_01 as check
from course_utils.explore import explore
from course_utils.models import log_mean_exp, log_normal
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
rng = np.random.default_rng(1)

# %% [markdown]
# ## 1 · Two coins: everything by hand
#
# A bag holds two coins. One is fair; the other is bent and shows heads nine times in ten. Somebody draws a coin without
# looking, tosses it five times and tells you what came up. Which coin it was, nobody tells you.

# %%
heads, coin = datasets.two_coins(10, flips=5, p=(0.5, 0.9), rng=rng)
print("heads in five tosses, which you are told:", heads)
print("coin (0 fair, 1 bent), which you are not:", coin)

# %% [markdown]
# The tosses are the **data** $x$. The coin is a **latent variable** $z$: a part of the story that produced the data, but
# no part of the data. A story like this has two sentences, and each is a distribution:
#
# - first $z$ is drawn from the **prior** $p(z)$: here each coin with probability ½;
# - then $x$ is drawn from the **likelihood** $p(x \mid z)$. Let $p_z$ be the chance that coin $z$ shows heads. A certain
#   sequence of $n$ tosses with $h$ heads, say HHTHH, has $p(x \mid z) = p_z^h (1 - p_z)^{n-h}$.
#
# Everything else follows by three operations: *multiply*, *add up*, *divide*.
#
# $$\underbrace{p(x, z) = p(z)\,p(x \mid z)}_{\text{joint: multiply}} \qquad
# \underbrace{p(x) = \textstyle\sum_z p(x, z)}_{\text{evidence: add up over } z} \qquad
# \underbrace{p(z \mid x) = p(x, z) / p(x)}_{\text{posterior: divide}}$$
#
# The **evidence** $p(x)$ is a number: how probable the model finds the data when the coin is not known. The word never
# means the data themselves. The **posterior** is what the data say about the coin. Only the joint needs code:

# %%
def coins_joint(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    """p(x, z) for z = fair, bent, where x is one sequence of `flips` tosses with `heads` heads. Returns shape (2,)."""
    p, prior = np.array(p), np.array(prior)
    return prior * p**heads * (1 - p)**(flips - heads)


fair, bent = coins_joint(heads=4, flips=5)
print(f"HHTHH: p(x, fair) = {fair:.6f}, p(x, bent) = {bent:.6f}")

# %% [markdown]
# Before you go on, take a pencil: *add up* those two numbers, then *divide* each by the sum. The exercise asks for just
# that, for any number of tosses and any prior.
#
# ### Exercise 1.1 · Posterior of the coins ●○○ · 6 min
#
# Return the posterior probabilities of the two coins and the evidence of the sequence. You may use `coins_joint`.

# %% exercise="posterior_coins"
def posterior_coins(heads, flips, p=(0.5, 0.9), prior=(0.5, 0.5)):
    """Which coin was it? Returns (posterior, evidence): p(z | x) of shape (2,), and the number p(x).

    x is one certain sequence of `flips` tosses, `heads` of them heads.
    """
    ### BEGIN SOLUTION
    joint = coins_joint(heads, flips, p, prior)
    evidence = joint.sum()
    return joint / evidence, evidence
    ### END SOLUTION

# %% check="posterior_coins"
check.posterior_coins(posterior_coins)

# %% [markdown]
# Formula against an independent number: empty the bag 200 000 times, and among the draws with four heads count how often
# it was the bent coin. (Five sequences have four heads, so four heads have five times the probability of HHTHH. In the
# posterior that factor cancels.)

# %%
heads, coin = datasets.two_coins(200_000, flips=5, p=(0.5, 0.9), rng=rng)
four = heads == 4
share = coin[four].mean()
error = np.sqrt(share * (1 - share) / four.sum())
print(f"share of the bent coin among draws with four heads: {share:.3f} ± {error:.3f}")
print(f"probability of HHTHH: {four.mean() / 5:.4f} ± {np.sqrt(four.mean() * (1 - four.mean()) / len(heads)) / 5:.4f}")
print(f"formula: posterior of the bent coin {bent / (fair + bent):.6f}, evidence {fair + bent:.6f}")

# %% [markdown]
# In a picture, for every number of heads: a column's height is its evidence, the hatched share of it is the posterior of
# the bent coin.

# %%
fig = plots.figure(8.5, 3)
ax = fig.subplots()
sequences = np.array([1, 5, 10, 10, 5, 1])                        # how many sequences have 0, 1, ..., 5 heads
fair_h, bent_h = (sequences[:, None] * [coins_joint(h, 5) for h in range(6)]).T
ax.bar(range(6), fair_h, color="white", edgecolor="black", label="fair coin: p(x, z = 0)")
ax.bar(range(6), bent_h, bottom=fair_h, color=plots.SKY, edgecolor="black", hatch="//", label="bent coin: p(x, z = 1)")
ax.set(xlabel="heads in five tosses", ylabel="probability", title="Height: the evidence. Hatched share: the posterior")
ax.legend(loc="upper left")
plots.show(fig, alt="Columns for 0 to 5 heads, each split into fair and bent; the bent coin takes over from four heads on")

# %% [markdown]
# **What the latent buys.** Each part of the story is simple; what comes out when $z$ is summed out is not. Take two bell
# curves, $z = 0$: $\mathcal N(-2, 0.5^2)$ with weight 0.3, and $z = 1$: $\mathcal N(1, 1.5^2)$ with weight 0.7. Their
# **mixture** $p(x) = \sum_z p(z)\,p(x\mid z)$ is no bell curve, has two peaks, and still needs just five numbers. Its
# mean and variance come from those of the parts:
#
# $$\mathbb E[x] = \mathbb E\big[\mathbb E[x \mid z]\big], \qquad
# \operatorname{Var}[x] = \underbrace{\mathbb E\big[\operatorname{Var}[x \mid z]\big]}_{\text{left when } z \text{ is known}}
# + \underbrace{\operatorname{Var}\big[\mathbb E[x \mid z]\big]}_{\text{explained by } z}.$$

# %%
def mixture_moments(weights, means, sds):
    """Mean, and the two parts of the variance (left, explained), of a mixture; all arguments (K,), sds are sigmas."""
    weights, means, sds = np.array(weights), np.array(means), np.array(sds)
    mean = (weights * means).sum()
    return mean, (weights * sds**2).sum(), (weights * (means - mean)**2).sum()


x, _ = datasets.gaussian_mixture(100_000, weights=(0.3, 0.7), means=(-2, 1), sds=(0.5, 1.5), rng=rng)
mean, left, explained = mixture_moments((0.3, 0.7), (-2, 1), (0.5, 1.5))
print(f"formula: mean {mean:.3f}, variance {left:.2f} + {explained:.2f} = {left + explained:.2f}")
print(f"samples: mean {x.mean():.3f} ± {x.std() / np.sqrt(len(x)):.3f}, variance {x.var():.2f}")

# %% [markdown]
# ## 2 · The Bow: a latent variable that is a number
#
# Here are 400 points, two numbers each. Look at them before you read on: how would you describe them to a friend?

# %%
x, hidden = datasets.bow(400, w=1.0, s=0.25, rng=rng)
fig = plots.figure(5.5, 3.4)
ax = fig.subplots()
ax.plot(*x.T, **plots.style("data"))
ax.set(xlim=(-2.2, 2.2), ylim=(-1, 2.8), xlabel="x₁", ylabel="x₂", aspect="equal")
plots.show(fig, alt="400 black points that scatter around a horseshoe, open at the top and densest at its lowest point")

# %% [markdown]
# "A horseshoe, a bit blurred, thinning out towards its ends." Two numbers for each point, but *one* number tells most of
# it: how far along the horseshoe. That number is not in the data. We **invent** it, and get a story with two sentences:
#
# $$z \sim \mathcal N(0, 1), \qquad x \mid z \sim \mathcal N\big(f_w(z),\, s^2 I\big), \qquad
# f_w(z) = \Big(\frac{\sin wz}{w},\; \frac{1 - \cos wz}{w}\Big), \quad f_0(z) = (z, 0).$$
#
# Walk the distance $z$ along a wire of curvature $w$ (backwards if $z$ is negative), then let noise with standard
# deviation $s$ in each direction push you off it. This model is **the Bow**. It stays with us through the whole course,
# because one number $w$ leads from a straight line ($w = 0$, all in closed form) over a horseshoe ($w = 1$) to a ring
# ($w = 2$).

# %%
def bow_curve(z, w):
    """The point f_w(z) on a wire of curvature w, a distance z along it.

    z: latents, any shape (...). w: curvature, a number. Returns (..., 2).
    """
    if w == 0:
        return np.stack([z, 0 * z], axis=-1)
    return np.stack([np.sin(w * z) / w, (1 - np.cos(w * z)) / w], axis=-1)


steps = np.linspace(-3, 3, 10_001)
walked = np.linalg.norm(np.diff(bow_curve(steps, 1.0), axis=0), axis=1).sum()
print(f"from z = -3 to z = 3 the wire is {walked:.3f} long: z is distance")
print(f"noise in the 400 points: sd {(x - bow_curve(hidden, 1.0)).std():.3f}")

# %% [markdown]
# ### Exercise 1.2 · The joint density of the Bow ●●○ · 10 min
#
# *Multiply*: write $\log p(x, z) = \log p(z) + \log p(x \mid z)$ for the Bow, with **all** constants. Two reminders:
# a normal density has the factor $1/\sqrt{2\pi}$ and a standard deviation; and $x$ has two coordinates, each with its own
# noise, so two such factors. Write the densities out, or use `log_normal` of lesson 00; `bow_curve` gives the mean of $x$.
# The function should work for one $z$ and for an array of them.

# %% exercise="bow_log_joint"
def bow_log_joint(x, z, w, s):
    """log p(x, z) of the Bow in nats: z ~ N(0, 1), x | z ~ N(f_w(z), s² I).

    x: a point (2,). z: latents, any shape. w: curvature. s: noise sd. Returns the shape of z.
    """
    ### BEGIN SOLUTION
    squared_distance = ((x - bow_curve(z, w))**2).sum(axis=-1)
    log_prior = -z**2 / 2 - np.log(2 * np.pi) / 2
    log_likelihood = -squared_distance / (2 * s**2) - np.log(2 * np.pi * s**2)
    return log_prior + log_likelihood
    ### END SOLUTION

# %% check="bow_log_joint"
check.bow_log_joint(bow_log_joint)

# %% [markdown]
# The lesson goes on whether or not you have solved that: the next line takes the course's own `bow_log_joint`, which is
# the solution of Exercise 1.2 (folded at the end).

# %%
from course_utils.models import bow_log_joint

print(f"log p(x, z) at x = (1, 0.5), z = 0.8: {bow_log_joint((1, 0.5), 0.8, w=1, s=0.25):.4f} nats")

# %% [markdown]
# ## 3 · Summing out $z$
#
# For a coin, *add up* had two terms. Now $z$ is a number, and the sum is an integral:
#
# $$p(x) = \int p(z)\,p(x \mid z)\,dz, \qquad p(z \mid x) = \frac{p(z)\,p(x \mid z)}{p(x)}.$$
#
# In one dimension we can do it on a grid: compute the joint at many $z$, join the points by straight lines, take the area
# (the trapezoid rule). As in lesson 00, the largest term is taken out before `exp`.

# %%
def bow_posterior(x, z, w, s):
    """Posterior and evidence of the Bow by the trapezoid rule.

    x: a point (2,). z: a fine, wide grid (G,). w: curvature. s: noise sd.
    Returns the density p(z | x) on the grid (G,) and log p(x) in nats.
    """
    log_joint = bow_log_joint(x, z, w, s)
    top = log_joint.max()
    log_px = top + np.log(np.trapezoid(np.exp(log_joint - top), z))
    return np.exp(log_joint - log_px), log_px

# %% [markdown]
# Can we trust it? For the straight wire, $w = 0$, the integral has a closed form. There $x_1 = z + \text{noise}$, a sum of
# two independent normal numbers with variances 1 and $s^2$, and $x_2$ is noise alone. So
# $p(x) = \mathcal N(x_1 \mid 0, 1 + s^2)\;\mathcal N(x_2 \mid 0, s^2)$. For $w = 1$ there is no closed form; we ask an
# adaptive integrator.

# %%
def log_evidence_straight(x, s):
    """log p(x) of the Bow with w = 0, in closed form, in nats. x: (2,), s: noise sd."""
    return log_normal(x[0], 0, np.sqrt(1 + s**2)) + log_normal(x[1], 0, s)


z = np.linspace(-6, 6, 1201)
point = (1, 0.5)
area, _ = quad(lambda t: np.exp(bow_log_joint(point, t, w=1, s=0.25)), -8, 8, limit=200)
print(f"w = 0: grid {bow_posterior(point, z, w=0, s=0.25)[1]:.4f}, closed form {log_evidence_straight(point, 0.25):.4f}")
print(f"w = 1: grid {bow_posterior(point, z, w=1, s=0.25)[1]:.4f}, adaptive integrator {np.log(area):.4f}")

# %% [markdown]
# How fine must the grid be? As fine as the noise: once the steps are no longer than $s$, these four digits stop changing.

# %%
for n in (13, 25, 49, 97, 193):
    grid = np.linspace(-6, 6, n)
    print(f"{n:4d} points, dz = {grid[1] - grid[0]:.3f} (s = 0.25): log p(x) = {bow_posterior(point, grid, 1, 0.25)[1]:.4f}")

# %% [markdown]
# Now the posterior. You will move the point $x$ and see where on the wire it may have come from. Commit to an answer
# first: the sliders wait for it, and you will find it in the picture as a hollow orange diamond.

# %%
gate_bow = predict(
    "The wire has curvature 1, so it is a circle of radius 1 around $(0, 1)$. The noise is $s = 0.25$. You observe "
    "$x = (0, 2)$, the top of the circle. Where does the posterior $p(z \\mid x)$ have its peaks?",
    {"one peak, at z = 0, where the prior has its own": 0.0, "two peaks, near z = −1 and z = 1": 1.0,
     "two peaks, near z = −3 and z = 3": 3.0, "one flat top from −2 to 2; x says nothing": 2.0})
gate_bow

# %%
prior = np.exp(log_normal(z, 0, 1))
drawn, noise = rng.standard_normal(300), rng.standard_normal((300, 2))


def even_draws(density, n=60):
    """n values of z that cut the density (on the grid z) into equal shares: crowded where it is high. Shape (n,)."""
    share = np.cumsum(density)
    return np.interp((np.arange(n) + 0.5) / n, share / share[-1], z)


def describe(density):
    """Mean, standard deviation and peaks of a density on the grid z, in words."""
    mean = np.trapezoid(z * density, z)
    sd = np.sqrt(np.trapezoid((z - mean)**2 * density, z))
    inner = density[1:-1]
    peaks = z[1:-1][(inner > density[:-2]) & (inner >= density[2:]) & (inner > 0.02 * density.max())]
    return f"mean {mean:z.2f}, sd {sd:.2f}, peaks at {', '.join(f'{p:z.2f}' for p in peaks)}"


# %%
def bow(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.2))
    plots.curve(left, z, prior, "prior")
    posterior = plots.curve(left, z, prior, "posterior")
    marks = plots.prediction(left), plots.prediction(left)
    left.set(xlim=(-5, 5), ylim=(0, 3.1), xlabel="latent z", ylabel="density")
    plots.label(left, -4.8, 2.8, "posterior p(z | x)", "posterior")
    plots.label(left, -4.8, 2.5, "prior p(z), dotted", "prior")
    (cloud,) = right.plot([], [], **plots.style("data", alpha=0.35))
    (wire,) = right.plot([], [], color="0.4", linewidth=1)
    (likely,) = right.plot([], [], **plots.style("posterior", linestyle="none", marker="o", markersize=8, alpha=0.3))
    (point,) = right.plot([], [], **plots.style("data", marker="X", markersize=13, markeredgecolor="white"))
    right.set(xlim=(-3, 3), ylim=(-1.3, 3.2), xlabel="x₁", ylabel="x₂", aspect="equal",
              title="✕ your x    ○ where it may come from")

    def update(w=1.0, s=0.25, x1=1.0, x2=0.5, prediction=None):
        density, log_px = bow_posterior((x1, x2), z, w, s)
        posterior.set(density)
        for mark, side in zip(marks, (-1, 1)):
            mark.set(None if prediction is None else side * prediction, 0.12)
        cloud.set_data(*(bow_curve(drawn, w) + s * noise).T)
        wire.set_data(*bow_curve(z, w).T)
        likely.set_data(*bow_curve(even_draws(density), w).T)
        point.set_data([x1], [x2])
        return f"log p(x) = {log_px:.3f} nats   posterior: {describe(density)}   (prior: mean 0, sd 1)"

    return update


explore(bow, w=(0.0, 3.0, 0.1), s=(0.25, 1.0, 0.05), x1=(-1.5, 1.5, 0.05), x2=(-0.5, 2.5, 0.05), predict=gate_bow,
        labels={"w": "curvature w", "s": "noise s"},
        alt="Left: prior and posterior of z. Right: the wire, points that it produces, the chosen x as a cross, and in "
            "blue the places on the wire that x may have come from")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# - At $x = (0, 2)$ there are **two** peaks, just inside $z = \pm 3$: walking left or right around the circle leads to the
#   same point. The posterior's mean, 0, is the one place on the wire that lies farthest from $x$.
# - At the centre of the circle, $x = (0, 1)$, the posterior **is** the prior. Every place on the wire is equally far away,
#   so this point says nothing about $z$. It still counts against the model, $\log p(x) = -7.07$: few walks end so far from the wire.
# - At $w = 0$ the posterior is a bell curve wherever you put $x$, and moving $x_2$ does not change it.
# - The more noise, the wider the posterior: $x$ then says less. With $w = 3$ the ring is walked around more than once: $x = (0, 0)$
#   then has three peaks.
#
# </details>

# %%
for w, x1, x2 in [(0, 1, 0.5), (1, 1, 0.5), (1, 0, 1), (1, 0, 2), (3, 0, 0)]:
    density, log_px = bow_posterior((x1, x2), z, w, 0.25)
    print(f"w = {w}, x = ({x1}, {x2}): log p(x) = {log_px:.4f}   {describe(density)}")

# %% [markdown]
# ### Exercise 1.3 · The evidence of many points ●●○ · 12 min
#
# `bow_posterior` takes one point. Data sets have thousands. Write the log-evidence of all rows of an array at once,
# without a loop, and keep it finite for points far from the wire (the check has one at a distance of 30).
# Hint: `x[:, None]` has shape `(N, 1, 2)`; what does `bow_log_joint(x[:, None], z, w, s)` return?

# %% exercise="log_evidence_grid"
def log_evidence_grid(x, z, w=1.0, s=0.25):
    """log p(x) of the Bow in nats for N points at once, by the trapezoid rule over z.

    x: points (N, 2). z: a fine, wide, even grid (G,). w: curvature. s: noise sd. Returns (N,).
    """
    ### BEGIN SOLUTION
    log_joint = bow_log_joint(x[:, None], z, w, s)                # (N, G): a row for each point
    top = log_joint.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.trapezoid(np.exp(log_joint - top), z, axis=1))
    ### END SOLUTION

# %% check="log_evidence_grid"
check.log_evidence_grid(log_evidence_grid)

# %% [markdown]
# **What is it good for?** The mean of $-\log p(x)$ over new data is the score by which models are compared. Nobody can beat
# the model that made the data (lesson 03 proves it), and *its* score is the entropy $-\int p(x)\log p(x)\,dx$: a floor, which
# we can compute here on a grid of $x$. In lessons 06 and 07 you will see how near to it a network gets that has to learn $w$ and $s$.

# %%
def bow_entropy(w, s):
    """Entropy of p(x) of the Bow in nats: the integral of −p log p over a square of side 12, by the trapezoid rule."""
    side, z = np.linspace(-6, 6, 121), np.linspace(-6, 6, 241)
    points = np.stack(np.meshgrid(side, side), axis=-1)
    log_px = [np.log(np.trapezoid(np.exp(bow_log_joint(row[:, None], z, w, s)), z, axis=1)) for row in points]
    return np.trapezoid(np.trapezoid(-np.exp(log_px) * np.array(log_px), side), side)


for w in (0, 0.5, 1, 2):
    print(f"w = {w}: no model can score below {bow_entropy(w, 0.25):.4f} nats on average")
normal = [0.5 * np.log(2 * np.pi * np.e * variance) for variance in (1 + 0.25**2, 0.25**2)]
print(f"closed form for w = 0: {sum(normal):.4f}")

# %%
x, _ = datasets.bow(2000, w=1.0, s=0.25, rng=rng)
scores = np.array([-bow_posterior(point, z, 1.0, 0.25)[1] for point in x])
print(f"the true model on 2000 points, w = 1: {scores.mean():.3f} ± {scores.std() / np.sqrt(len(x)):.3f} nats")

# %% [markdown]
# ## 4 · Guessing $z$: unbiased and useless
#
# A grid needs $100$ points for one latent number, $100^{10}$ for ten. There is a tempting way out. The evidence is an
# average, $p(x) = \mathbb E_{p(z)}[p(x\mid z)]$, so *guess*: draw $z_1, \dots, z_S$ from the prior and average,
#
# $$\hat p(x) = \frac1S \sum_{i=1}^{S} p(x \mid z_i), \qquad z_i \sim p(z).$$
#
# That is unbiased: $\mathbb E[\hat p(x)] = p(x)$ for every $S$. How noisy is it? Let $r$ be the variance of a single term,
# relative to $p(x)^2$. With $S$ guesses the standard error is the fraction $\sqrt{r / S}$ of $p(x)$. For the simplest
# model, $z\sim\mathcal N(0,1)$ and $x \mid z\sim\mathcal N(z, s^2)$, and then for $D$ such coordinates side by side,
#
# $$1 + r = \frac{\mathbb E\big[p(x\mid z)^2\big]}{p(x)^2}
#         = \frac{\mathcal N\big(x \mid 0, 1 + \tfrac12 s^2\big)}{2 s\sqrt\pi\;\mathcal N(x \mid 0, 1 + s^2)^2},
# \qquad 1 + r_D = (1 + r)^D.$$
#
# (The square of a normal density is again one, up to a factor:
# $\mathcal N(x\mid z, s^2)^2 = \mathcal N(x \mid z, \tfrac12 s^2) / (2s\sqrt\pi)$. Averaging it over $z$ adds the prior's
# variance 1. For independent coordinates the averages multiply.)

# %%
def relative_variance(x, s, D=1):
    """Variance of p(x | z), z from the prior, over p(x)². x: each of the D coordinates, s: noise sd. No unit."""
    log_square = log_normal(x, 0, np.sqrt(1 + s**2 / 2)) - np.log(2 * s * np.sqrt(np.pi))
    return np.exp(D * (log_square - 2 * log_normal(x, 0, np.sqrt(1 + s**2)))) - 1


grid = np.linspace(-8, 8, 20_001)
likelihood, weight = np.exp(log_normal(2.0, grid, 0.1)), np.exp(log_normal(grid, 0, 1))
first, second = (np.trapezoid(weight * likelihood**k, grid) for k in (1, 2))
guessed = np.exp(log_normal(2.0, rng.standard_normal(1_000_000), 0.1))
print(f"x = 2, s = 0.1: r = {relative_variance(2.0, 0.1):.2f}, on a grid {second / first**2 - 1:.2f}")
print(f"the same from a million guesses: {guessed.var() / guessed.mean()**2:.1f}")
print(f"ten coordinates: r = {relative_variance(2.0, 0.1, D=10):.1e}")

# %% [markdown]
# The reason is plain in the left picture below: the prior knows nothing of $x$, so hardly any guess falls where the
# likelihood lives. In ten dimensions a guess must be lucky ten times at once.
#
# For the picture on the right each experiment is repeated 200 times beforehand. It shows where the 200 values of
# $\log\hat p(x)$ lie, as a distance from the true $\log p(x)$, in nats.

# %%
POWERS = range(5)                                                 # 1, 10, ..., 10 000 guesses


def repeat_guessing(s, x=2.0, repeats=200, dims=10):
    """log p̂(x) − log p(x) in nats, for 1 to `dims` coordinates and 10^0 to 10^4 guesses: shape (dims, 5, repeats)."""
    rng, log_likelihood, found = np.random.default_rng(7), 0.0, []
    for D in range(1, dims + 1):
        guesses = rng.standard_normal((repeats, 10**POWERS[-1]))
        log_likelihood = log_likelihood + log_normal(x, guesses, s)
        true = D * log_normal(x, 0, np.sqrt(1 + s**2))
        found.append([log_mean_exp(log_likelihood[:, :10**k], axis=1) - true for k in POWERS])
    return np.array(found)


errors = {s: repeat_guessing(s) for s in (0.1, 0.3, 1.0)}
print(f"{sum(e.size for e in errors.values())} experiments done")

# %%
gate_guess = predict(
    "Ten coordinates, $x = 2$ and $s = 0.1$ in each. You average $p(x\\mid z)$ over 10 000 guesses from the prior; the "
    "estimate is unbiased. Where do 200 such estimates $\\log\\hat p(x)$ lie, compared with the true $\\log p(x)$?",
    {"around it, half above and half below": 0.0, "about 2 nats too low": -2.0, "about 20 nats too low": -20.0,
     "hundreds of nats too low": -500.0})
gate_guess

# %%
edges = np.concatenate([-np.logspace(4, 0, 41)[:-1], np.linspace(-1, 1, 11), np.logspace(0, 1.5, 16)[1:]])
shown = np.random.default_rng(7).standard_normal((200, 10_000))[0]


def guess_the_evidence(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.3))
    plots.curve(left, z, prior, "prior")
    posterior = plots.curve(left, z, prior, "posterior")
    (ticks,) = left.plot([], [], **plots.style("data", marker="|", markersize=10))
    left.set(xlim=(-3.5, 3.5), ylim=(-0.25, 4.4), xlabel="one coordinate of z (ticks: guesses)", ylabel="density")
    plots.label(left, -3.3, 0.55, "prior p(z)", "prior")
    plots.label(left, -3.3, 4.0, "posterior p(z | x)", "posterior")
    bars = right.stairs(0 * edges[1:], edges, fill=True, color=plots.SKY)
    right.axvline(0, **plots.style("evidence"))
    mark = plots.prediction(right)
    right.set_xscale("symlog", linthresh=1)
    right.set(xlim=(-1e4, 30), ylim=(0, 130), xlabel="log p̂(x) − log p(x), nats", ylabel="of 200 repeats",
              xticks=[-1000, -100, -10, -1, 0, 1, 10], xticklabels=["−1000", "−100", "−10", "−1", "0", "1", "10"])
    plots.label(right, 1.3, 126, "true\nlog p(x)", "evidence", va="top")

    def update(log10_S=1, D=1, s=0.1, prediction=None):
        found, S = errors[s][D - 1, log10_S], 10**log10_S
        posterior.set(np.exp(log_normal(z, 2 / (1 + s**2), s / np.sqrt(1 + s**2))))
        ticks.set_data(shown[:S], 0 * shown[:S] - 0.12)
        bars.set_data(np.histogram(found, edges)[0])
        mark.set(prediction, 5)
        r = relative_variance(2.0, s, D)
        return (f"{S} guesses: {np.mean(found < 0):.0%} too low, median off by {np.median(found):+.2f} nats, mean of p̂/p "
                f"{np.exp(found).mean():.2f}   formula: r = {r:.3g}, standard error {np.sqrt(r / S):.2g} × p(x)")

    return update


explore(guess_the_evidence, log10_S=(0, 4), D=(1, 10), s=[0.1, 0.3, 1.0], predict=gate_guess,
        labels={"log10_S": "guesses, 10 to the", "D": "coordinates D", "s": "noise s"},
        alt="Left: prior, posterior and the guesses as ticks, few of which fall under the posterior. Right: a histogram of "
            "estimated minus true log evidence, on an axis that reaches far to the left")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# - One coordinate, $s = 0.1$: with 10 guesses most estimates are far too low, with 10 000 nearly all are right.
# - Each further coordinate pushes the histogram to the left. With ten, 10 000 guesses are **hundreds of nats** too low, all
#   200 times.
# - Unbiased, and always too low? No contradiction. The mean of $\hat p / p$ is 1, but it is made by experiments that are so
#   rare that you will never see one. "Unbiased" is a promise about the average over all repeats, not about yours.
# - However unlucky or lucky the setting, the mean of $\log\hat p(x)$ does not end up above $\log p(x)$, but for a little
#   chance. Remember that gap: it is the topic of lesson 05.
#
# </details>

# %%
found = errors[0.1][9, 4]
print(f"D = 10, 10 000 guesses: from {found.min():.0f} to {found.max():.0f} nats, median {np.median(found):.0f}")
means = np.concatenate([e.mean(axis=2).ravel() for e in errors.values()])
print(f"mean of log p̂ − log p in the {len(means)} settings: from {means.min():.0f} to {means.max():+.3f} nats")

# %% [markdown]
# The cure is not *more* guesses but *better* ones: draw $z$ where it could have produced this $x$, from a distribution
# $q(z)$ near the posterior. To find such a $q$ is what variational inference does.
#
# ### Exercise 1.4 · Guess, and know how far off ●●● · 12 min
#
# *Optional: nothing later needs it.* Guess the evidence of the Bow and say how good the guess is: return
# $\log\hat p(x)$ and the standard error of $\hat p(x)$ as a fraction of $\hat p(x)$, that is, the standard deviation of the
# terms over $\hat p(x)\sqrt S$. And predict, before you look at the cell after the check: how many guesses give an error of
# 1 % where $r$ is 50.10, as it was above?

# %% exercise="evidence_prior_mc"
def evidence_prior_mc(x, z, w=1.0, s=0.25):
    """Evidence of the Bow from guesses: (log p̂(x) in nats, standard error of p̂(x) as a fraction of p̂(x)).

    x: a point (2,). z: S guesses from the prior (S,). w: curvature. s: noise sd.
    """
    ### BEGIN SOLUTION
    log_likelihood = log_normal(np.array(x), bow_curve(z, w), s).sum(axis=1)
    log_px = log_mean_exp(log_likelihood)
    terms = np.exp(log_likelihood - log_px)                       # relative to their mean, which is then 1
    return log_px, terms.std() / np.sqrt(len(z))
    ### END SOLUTION

# %% check="evidence_prior_mc"
check.evidence_prior_mc(evidence_prior_mc)

# %%
S = relative_variance(2.0, 0.1) / 0.01**2
print(f"1 % error at x = 2, s = 0.1 takes r / 0.01² = {np.ceil(S):,.0f} guesses in one dimension")
print(f"and {relative_variance(2.0, 0.1, D=10) / 0.01**2:.1e} in ten")

# %% [markdown]
# ## 5 · What explodes, and what does not
#
# "Without latent variables the number of parameters explodes." You will read that often. It mixes up two things, so let
# us count. Our data are handwritten digits of $8\times 8$ pixels, made black and white: $D = 64$ zeros and ones.

# %%
counts, labels = datasets.digits(10)
fig = plots.figure(8.5, 1.2)
for ax, image in zip(fig.subplots(1, 10), counts):
    ax.imshow(image.reshape(8, 8) >= 8, cmap="Greys")
    ax.set_axis_off()
plots.show(fig, alt="The digits 0 to 9, eight by eight pixels, each pixel black or white")
print(f"{datasets.digits()[0].shape[0]} images; possible images: 2^64 = {2.0**64:.2g}")

# %% [markdown]
# Four ways to give each of the $2^D$ possible images a probability:
#
# - **Full table**: one number for each image. They must sum to 1.
# - **Boltzmann machine**: $p(x) = \frac1Z \exp\big(\sum_d b_d x_d + \sum_{d<e} W_{de}\,x_d x_e\big)$: a bias for each
#   pixel, a weight for each *pair* of pixels, and $Z$ so that all images together have probability 1. No latents.
# - **Restricted Boltzmann machine (RBM)**: $p(x, h) = \frac1Z\exp\big(\sum_d b_d x_d + \sum_j c_j h_j +
#   \sum_{d,j} x_d W_{dj} h_j\big)$ with $H$ latent units $h_j \in \{0, 1\}$; weights only between a pixel and a unit.
# - **Mixture**: a latent class $z \in \{1, \dots, K\}$ with probabilities $\pi_k$; given its class, each pixel is a coin
#   of its own, with chance $p_{kd}$ to be black.
#
# ### Exercise 1.5 · Count the free parameters ●○○ · 8 min
#
# *Free* means: leave out what the others determine, like the last entry of a table that must sum to 1.
# ($Z$ is no parameter: it follows from the others.)

# %% exercise="n_params"
def n_params(kind, D, K=10, H=10):
    """How many free parameters has a model of D binary pixels?

    kind: "table", "fvbm" (Boltzmann machine, all units visible), "rbm" (H latent units) or "mixture" (K classes).
    """
    ### BEGIN SOLUTION
    return {"table": 2**D - 1, "fvbm": D + D * (D - 1) // 2, "rbm": D + H + D * H, "mixture": K - 1 + K * D}[kind]
    ### END SOLUTION

# %% check="n_params"
check.n_params(n_params)

# %% [markdown]
# The other thing to count is **work**: how many terms must be added up to get *one* $p(x)$?

# %%
gate_explosion = predict(
    "A Boltzmann machine without latent units on $D = 64$ pixels has 2080 parameters. How many terms have to be added up "
    "to get one $p(x)$?",
    {"64, one for each pixel": 64.0, "2080, one for each parameter": 2080.0, "about a million": 1e6,
     "2⁶⁴, one for each possible image": 2.0**64})
gate_explosion

# %% [markdown]
# A table is looked up. A mixture adds up $K$ classes. A Boltzmann machine needs $Z$, a sum over all images. In an RBM either
# layer can be summed by a formula (we come to that), which leaves the smaller of $2^D$ and $2^H$.

# %%
def numbers_to_store(D, K, H):
    """Free parameters of table, Boltzmann machine, RBM and mixture: the answers of Exercise 1.5. Shape (4,)."""
    return np.array([2.0**D - 1, D * (D + 1) / 2, D * H + D + H, K - 1 + K * D])


def terms_to_add(D, K, H):
    """How many terms each of the four adds up for one p(x). Shape (4,)."""
    return np.array([1.0, 2.0**D, 2.0**min(D, H), K])


century = 1e9 * 100 * 365.25 * 24 * 3600
print(f"a billion terms a second, for a century: {century:.1e} terms")

# %%
def what_explodes(fig):
    ax = fig.subplots()
    place = np.arange(4.0)
    stored = ax.bar(place - 0.2, 1, 0.36, color=plots.SKY, edgecolor="black", label="numbers to store")
    added = ax.bar(place + 0.2, 1, 0.36, color="white", edgecolor="black", hatch="///", label="terms to add up\nfor one p(x)")
    mark = plots.prediction(ax)
    ax.axhline(century, color="0.4", linewidth=0.8, linestyle="--")
    ax.text(5.4, century / 2, "a century, at a\nbillion terms a second", ha="right", va="top", color="0.3")
    ax.set(yscale="log", ylim=(0.7, 1e20), xlim=(-0.55, 5.4), xticks=place, ylabel="how many")
    ax.set_xticklabels(["full table", "Boltzmann\nmachine", "RBM\n(H latent units)", "mixture\n(K latent classes)"])
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.4))

    def update(D=8, H=10, K=10, prediction=None):
        store, add = numbers_to_store(D, K, H), terms_to_add(D, K, H)
        for bar, height in zip([*stored, *added], [*store, *add]):
            bar.set_height(height)
        mark.set(1.2, prediction)
        return (f"to store: table {store[0]:.4g}, Boltzmann {store[1]:.0f}, RBM {store[2]:.0f}, mixture {store[3]:.0f}   "
                f"to add up: 1, {add[1]:.4g}, {add[2]:.4g}, {add[3]:.0f}")

    return update


explore(what_explodes, D=(1, 64), H=(1, 64), K=(1, 64), predict=gate_explosion,
        labels={"D": "pixels D", "H": "latent units H", "K": "latent classes K"},
        alt="On a logarithmic axis, two columns for each of four models: numbers to store, and terms to add up for one p(x)")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# - Only the table's *storage* explodes. The Boltzmann machine stores 2080 numbers for 64 pixels.
# - What explodes there is the *work*: $Z$ has $2^{64}$ terms. The weights fit on a page, but no single $p(x)$ can be computed.
# - Latent units help only while there are few: an RBM adds up $2^{10} = 1024$ terms at $H = 10$, and $2^{64}$ at $H = 64$.
# - The mixture has neither problem: its latent class makes both columns grow in proportion to $K$.
#
# </details>

# %%
for name, store, add in zip(("table", "Boltzmann", "RBM", "mixture"), numbers_to_store(64, 10, 10), terms_to_add(64, 10, 10)):
    print(f"D = 64   {name:10s} stores {store:.4g}, adds up {add:.4g}")
print(f"D = 784  Boltzmann stores {numbers_to_store(784, 10, 10)[1]:.0f}, mixture stores {numbers_to_store(784, 10, 10)[3]:.0f}")

# %% [markdown]
# **Summing a layer by a formula.** Given the image, an RBM's latent units do not influence each other, so the sum over all
# $2^H$ of their states is a product with $H$ factors:
#
# $$\sum_{h} \exp\Big(\sum_d b_d x_d + \sum_j c_j h_j + \sum_{d,j} x_d W_{dj} h_j\Big)
# = e^{\sum_d b_d x_d} \prod_{j=1}^H \Big(1 + e^{\,c_j + \sum_d x_d W_{dj}}\Big).$$
#
# The numerator of $p(x)$ is therefore easy. $Z$ still is not: it sums this over all images. The roles of the layers may be
# swapped, which is where the smaller of $2^D$ and $2^H$ comes from.

# %%
def rbm_log_numerator(x, W, b, c):
    """log of Z p(x) of an RBM, latent units summed out, in nats. x: (..., D), W: (D, H), b: (D,), c: (H,). Returns (...)."""
    return x @ b + np.logaddexp(0, c + x @ W).sum(axis=-1)


images, units = (np.array(list(product((0, 1), repeat=n))) for n in (10, 4))
W, b, c = rng.standard_normal((10, 4)), rng.standard_normal(10), rng.standard_normal(4)
every_state = np.exp((images @ b)[:, None] + units @ c + images @ W @ units.T)
gap = np.abs(np.log(every_state.sum(axis=1)) - rbm_log_numerator(images, W, b, c)).max()
print(f"formula and enumeration of 16 latent states agree for all {len(images)} images: {gap < 1e-12}")
Z_images, Z_units = np.exp(rbm_log_numerator(images, W, b, c)).sum(), np.exp(rbm_log_numerator(units, W.T, c, b)).sum()
print(f"log Z from {len(images)} images {np.log(Z_images):.4f}, from {len(units)} latent states {np.log(Z_units):.4f}")

# %% [markdown]
# ## 6 · Codes: one unit for each thing, or many units together
#
# A latent class is a **local** code: to tell 20 kinds of data apart you need 20 classes. Several binary latents together
# are a **distributed** code: each takes part in describing many kinds, each kind is described by many. To see how far that
# goes, let each latent be a *feature* that looks at the plane and is on at one side of a straight line. Each region between
# the lines has its own pattern of on and off.

# %%
gate_lines = predict(
    "Five features: five straight lines, no two of them parallel and no three through one point. How many regions of the "
    "plane do they tell apart?", {"5": 5, "10": 10, "16": 16, "32, all patterns of five bits": 32})
gate_lines

# %% [markdown]
# With $n$ lines (planes, hyperplanes) in general position in $L$ dimensions there are
#
# $$R(n, L) = \sum_{i=0}^{L} \binom{n}{i} \text{ regions;} \qquad R(n, 2) = 1 + n + \tfrac{n(n-1)}{2}, \qquad
# R(n, L) = 2^n \text{ if } L \ge n.$$

# %%
def regions(n, L):
    """Number of regions that n hyperplanes in general position cut L dimensions into."""
    return sum(comb(n, i) for i in range(L + 1))


def count_patterns(features):
    """Number of different rows of an array of zeros and ones (points, n)."""
    return len(np.unique(features @ 2**np.arange(features.shape[1])))


angles, offsets = 2.5 * np.arange(10), 0.3 + 0.03 * np.arange(10)
normals = np.stack([np.cos(angles), np.sin(angles)])              # line k: all points with normal_k · point = offset_k
side = np.linspace(-3, 3, 240)
heights = np.stack(np.meshgrid(side, side), axis=-1) @ normals    # (240, 240, 10)
print("formula: ", [regions(n, 2) for n in range(1, 11)])
print("counted: ", [count_patterns((heights > offsets).reshape(-1, 10)[:, :n]) for n in range(1, 11)])
print(f"ten features: {regions(10, 2)} regions in 2 dimensions, {regions(10, 10)} in 10; ten classes: 10")

# %%
def cut_the_plane(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.15))
    picture = left.imshow(0 * heights[..., 0], extent=(-3, 3, -3, 3), origin="lower", cmap="cividis", vmin=0, vmax=1)
    lines = [left.plot([], [], color="white", linewidth=1.5)[0] for _ in range(10)]
    left.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], title="Lighter: more features are on")
    n_axis = np.arange(1, 11)
    right.plot(n_axis, 2.0**n_axis, color=plots.PURPLE, linestyle="-.", linewidth=2)
    right.plot(n_axis, [regions(n, 2) for n in n_axis], color=plots.BLUE, linewidth=2)
    right.plot(n_axis, n_axis, color="0.4", linestyle=":", linewidth=2)
    for x, y, text, colour in [(8.3, 450, "in n dimensions: 2ⁿ", plots.PURPLE), (9.6, 22, "in the plane", plots.BLUE),
                               (9.6, 5, "n classes", "0.35")]:
        right.text(x, y, text, ha="right", color=colour, fontweight="bold")
    (here,) = right.plot([], [], "o", color="black", markersize=9)
    mark = plots.prediction(right)
    right.set(yscale="log", ylim=(0.8, 1300), xlim=(0.5, 10.3), xlabel="features n", ylabel="kinds told apart",
              yticks=[1, 10, 100, 1000], yticklabels=["1", "10", "100", "1000"])

    def update(n=3, through_one_point=False, prediction=None):
        shift = 0 * offsets if through_one_point else offsets
        on = heights[..., :n] > shift[:n]
        picture.set_data(on.mean(axis=-1))
        for k, line in enumerate(lines):
            ends = shift[k] * normals[:, [k]] + 6 * np.array([[-normals[1, k]], [normals[0, k]]]) * [-1, 1]
            line.set_data(*ends if k < n else ([], []))
        counted = count_patterns(on.reshape(-1, n))
        here.set_data([n], [counted])
        mark.set(prediction and 5, prediction)
        return (f"{n} features: {counted} regions counted in the picture, formula {regions(n, 2)}   "
                f"with as many classes: {n}, with as many dimensions: {regions(n, n)}")

    return update


explore(cut_the_plane, n=(1, 10), through_one_point=False, predict=gate_lines, labels={"n": "features n"},
        alt="Left: the plane cut by straight lines into regions of different shades. Right: how many regions n features tell "
            "apart, against n classes and 2 to the n")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Five lines make 16 regions, ten make 56; with a local code you would need 16 and 56 units. In the plane not all $2^n$
# patterns occur; with ten latent dimensions and ten features all 1024 do. If all lines go through one point, they make just
# $2n$ regions: a distributed code is only as rich as its features are different.
#
# </details>
#
# ## 7 · What data cannot tell you about $z$
#
# We *invented* $z$. Could another inventor, with the same data, have invented another one? Yes, for two reasons.
#
# **Relabelling.** Call the bent coin 0 and the fair one 1: every $p(x)$ stays the same. With $K$ classes there are $K!$ such
# namings.
#
# **Rotation.** Let $z\sim\mathcal N(0, I)$ and $x\mid z\sim\mathcal N(Wz, s^2 I)$: a flat sheet in place of the wire, called
# **probabilistic PCA**. Summing out $z$ gives $x\sim\mathcal N(0, WW^\top + s^2 I)$. Turn the latent space by an orthogonal
# matrix $R$, and $W$ becomes $WR$; but $(WR)(WR)^\top = WW^\top$, so $p(x)$ does not notice.

# %%
def ppca_log_evidence(x, W, s):
    """log p(x) in nats for z ~ N(0, I), x | z ~ N(W z, s² I). x: (D,), W: (D, L), s: noise sd."""
    covariance = W @ W.T + s**2 * np.eye(len(x))
    log_volume = np.linalg.slogdet(covariance)[1]
    return -0.5 * (len(x) * np.log(2 * np.pi) + log_volume + x @ np.linalg.solve(covariance, x))


def ppca_posterior(x, W, s):
    """Mean (L,) and covariance (L, L) of the normal p(z | x) of the same model."""
    covariance = s**2 * np.linalg.inv(W.T @ W + s**2 * np.eye(W.shape[1]))
    return covariance @ W.T @ x / s**2, covariance


x, W = np.array([1.0, 2.0]), np.array([[2.0], [1.0]])
joint = np.exp(log_normal(z, 0, 1) + log_normal(x, z[:, None] * W.T, 0.5).sum(axis=1))
(mean,), ((variance,),) = ppca_posterior(x, W, 0.5)
print(f"one latent: formula {ppca_log_evidence(x, W, 0.5):.4f}, on a grid {np.log(np.trapezoid(joint, z)):.4f}")
print(f"posterior mean: formula {mean:.4f}, on a grid {np.trapezoid(z * joint, z) / np.trapezoid(joint, z):.4f}")

# %%
W, x = np.array([[1.0, 0.5], [0.2, 1.5], [-0.7, 0.3]]), np.array([1.0, 2.0, -0.5])
turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
for name, weights in [("W ", W), ("WR", W @ turn)]:
    found, _ = ppca_posterior(x, weights, 0.5)
    print(f"{name}: log p(x) = {ppca_log_evidence(x, weights, 0.5):.4f}, z is about ({found[0]:+.3f}, {found[1]:+.3f})")
for p in [(0.5, 0.9), (0.9, 0.5)]:
    joint = coins_joint(4, 5, p=p)
    print(f"coins {p}: p(HHTHH) = {joint.sum():.6f}, p(z = 1 | HHTHH) = {joint[1] / joint.sum():.3f}")

# %% [markdown]
# Two models that agree on every data point, and disagree about every latent. What a latent *means* is therefore never
# settled by the fit alone; it takes knowledge from outside, or a look at what the latent does when you change it.
#
# ## 8 · Four common misconceptions
#
# 1. **"Latent variables are the real, hidden causes."** They are auxiliary variables that make $p(x)$ easy to write.
#    The two models just printed have the same $\log p(x)$ and different $z$.
# 2. **"More latents, more parameters."** With no latent unit a Boltzmann machine on 64 pixels has 2080 parameters; the RBM
#    with 10 latent units has 714, the mixture with its latent class 649. The Bow's latent has infinitely many values, and the
#    model two numbers, $w$ and $s$.
# 3. **"Hidden units make a Boltzmann machine tractable."** One layer can be summed by a formula; $Z$ keeps
#    $2^{\min(D, H)}$ terms, for $D = H = 64$ as many as without.
# 4. **"Without latents $p(x)$ is intractable."** Write it as a product of conditionals,
#    $p(x) = \prod_d p(x_d \mid x_1, \dots, x_{d-1})$, each a logistic regression. Such an **autoregressive** model has no
#    latents, exactly as many parameters as the Boltzmann machine, and no $Z$: it sums to 1 by construction.

# %%
def autoregressive_log_p(x, A, b):
    """log p(x) in nats: pixel d is on with odds exp(b_d + Σ_{e<d} A_de x_e). x: (..., D), A: strictly lower triangular."""
    log_odds = b + x @ A.T
    return (x * log_odds - np.logaddexp(0, log_odds)).sum(axis=-1)


A, b = np.tril(rng.standard_normal((10, 10)), -1), rng.standard_normal(10)
numerators = np.exp(images @ b + ((images @ A) * images).sum(axis=1))
print(f"parameters of either model: {np.count_nonzero(A) + len(b)}, images: {len(images)}")
print(f"autoregressive: all p(x) together {np.exp(autoregressive_log_p(images, A, b)).sum():.4f}")
print(f"Boltzmann machine: all numerators together, Z = {numerators.sum():.0f}")
print(f"latent units 0, 10, 64 on 64 pixels: Z has {2.0**64:.3g}, {2.0**10:.0f}, {2.0**64:.3g} terms")

# %% [markdown]
# ## Recap
#
# **Short.** A latent variable is invented to make a complicated $p(x)$ out of simple parts. The price is an integral: to get
# $p(x)$ you must add up over everything you cannot see.
#
# **Standard.** A story "first $z$, then $x$" gives a prior and a likelihood; multiply them for the joint, add up over $z$ for
# the evidence, divide for the posterior. With few values of $z$, or one dimension, the sum can be done. In ten dimensions a
# grid is hopeless and guesses from the prior never hit: unbiased, and hundreds of nats too low. What explodes differs from
# model to model: the storage of a table, the normaliser of a Boltzmann machine, the variance of guessing. A distributed code
# tells many more kinds apart than a local one of the same size. And since relabelling or rotating the latents changes no
# $p(x)$, the data alone never say what they mean.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $p(x, z) = p(z)\,p(x\mid z)$ | joint: multiply |
# | $p(x) = \sum_z p(x, z)$ or $\int p(x, z)\,dz$ | evidence: add up |
# | $p(z\mid x) = p(x, z)/p(x)$ | posterior: divide |
# | $\operatorname{Var}[x] = \mathbb E[\operatorname{Var}[x\mid z]] + \operatorname{Var}[\mathbb E[x\mid z]]$ | what is left when $z$ is known, and what $z$ explains |
# | $f_w(z) = \big(\tfrac{\sin wz}{w}, \tfrac{1-\cos wz}{w}\big)$, $z\sim\mathcal N(0,1)$, $x\mid z\sim\mathcal N(f_w(z), s^2I)$ | the Bow |
# | $\hat p(x) = \tfrac1S\sum_i p(x\mid z_i)$, standard error $\sqrt{r/S}\;p(x)$, $1 + r_D = (1+r)^D$ | guessing from the prior; no use in many dimensions |
# | $2^D - 1$; $\tfrac{D(D+1)}{2}$; $DH+D+H$; $K-1+KD$ | parameters of table, Boltzmann machine, RBM, mixture |
# | $1$; $2^D$; $2^{\min(D,H)}$; $K$ | terms to add up for one $p(x)$ |
# | $R(n, L) = \sum_{i\le L}\binom ni$ | regions told apart by $n$ features in $L$ dimensions |
# | $(WR)(WR)^\top = WW^\top$ | rotated latents, same $p(x)$ |
#
# **Memory aid.** *Multiply, add up, divide*: joint, evidence, posterior. And: *the table explodes in storage, the Boltzmann
# machine in work, the guesser in luck.*
#
# **Key terms.** latent variable · prior · likelihood · joint · evidence · posterior · mixture · Bow · Boltzmann machine · RBM ·
# partition function · local and distributed code · identifiability · probabilistic PCA

# %%
flash_cards(1)

# %%
quiz("01_latent_variables")

# %%
dialogue([
    ("Student", "A latent variable is the hidden cause of the data. We just have to find out which one it is."),
    ("Teacher", "Suppose I rename the two coins: the bent one is now called fair, and the fair one bent. Does any probability "
                "of any sequence of tosses change?"),
    ("Student", "No. But those are only names. In the Bow, the distance along the wire is surely real."),
    ("Teacher", "I hand you the points, not the walk. Somebody else measures from the other end. Her points are the same, and "
                "her latent is minus yours. Who is right?"),
    ("Student", "Nobody can tell from the points. So a latent is a device. Why pay for it, then? I could just store a "
                "probability for every picture."),
    ("Teacher", "How many pictures of sixty-four black or white pixels are there?"),
    ("Student", "Two to the sixty-four. All right, then a Boltzmann machine. It needs only two thousand and eighty weights."),
    ("Teacher", "And what is the probability of this one picture?"),
    ("Student", "I would need the normaliser. That is a sum with two to the sixty-four terms. So the number of parameters was "
                "never the point; the sum is."),
    ("Teacher", "Latents have their own sum. To get the evidence, you add up over everything that you did not see."),
    ("Student", "Then I guess latents from the prior and average. That is unbiased, so it must work."),
    ("Teacher", "In ten dimensions you guessed ten thousand times, and did the whole thing two hundred times over. How often "
                "was your estimate too high?"),
    ("Student", "Never. It was hundreds of nats too low, every time. I should guess near the posterior instead."),
    ("Teacher", "That sentence is the rest of the course."),
])

# %% [markdown]
# **References.**
# C. Bishop, *Pattern Recognition and Machine Learning*, 2006, chapters 9 (mixtures) and 12 (continuous latent variables). ·
# M. Tipping, C. Bishop, *Probabilistic Principal Component Analysis*, Journal of the Royal Statistical Society B, 1999. ·
# D. Ackley, G. Hinton, T. Sejnowski, *A Learning Algorithm for Boltzmann Machines*, Cognitive Science 1985. ·
# G. Hinton, J. McClelland, D. Rumelhart, *Distributed Representations*, in Parallel Distributed Processing, vol. 1, 1986. ·
# C. Doersch, *Tutorial on Variational Autoencoders*, 2016 (why guesses from the prior do not work). ·
# D. Kingma, M. Welling, *An Introduction to Variational Autoencoders*, Foundations and Trends in Machine Learning 2019.
#
# **Next:** [02 · Autoencoders](02_autoencoders.ipynb) find a code for the data without any probability, and you will see what
# is missing then; or straight to [03 · KL divergence](03_kl_divergence.ipynb), which measures how far one distribution is
# from another.

# %% [markdown] solutions
# ## Solutions
