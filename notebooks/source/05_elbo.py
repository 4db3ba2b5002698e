# %% [markdown]
# # 05 · The ELBO
#
# **The question of this lesson:** one ruler has been in every picture since lesson 00. Who are its parts, and what can and can't be read off it?
#
# After this lesson you will be able to
# 1. *derive* the ELBO in three ways, three lines each, and say which of them names the gap;
# 2. *compute* one ELBO from three different decompositions, and say what each of them is good for;
# 3. *tighten* the bound with $K$ draws, and predict how fast its gap shrinks; *close* it from above, and say when that fails;
# 4. *run* EM as a see-saw of two half steps on real data, and say why it never falls and where it may still end up wrong;
# 5. *split* the KL term of a data set into two parts, and say which of them must not vanish;
# 6. *give* an example of two models that the ELBO ranks the wrong way round.
#
# **Needs:** [lesson 01](01_latent_variables.ipynb) (the coins, the Bow), [lesson 03](03_kl_divergence.ipynb) (KL) and [lesson 04](04_variational_inference.ipynb) (the ELBO as a score for $q$).
# **Takes** about 140 minutes: three derivations 25 · one ruler 30 · many draws 30 · the see-saw 25 · surgery 15 · two models 10 · recap 10.

# %%
import numpy as np
from scipy.optimize import minimize
from scipy.special import entr, logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture

from course_utils import plots
from course_utils.checks import lesson_05 as check
from course_utils.explore import explore
from course_utils.models import bow_curve, bow_log_joint, bow_posterior, kl_normal, log_mean_exp, log_normal
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
rng = np.random.default_rng(5)

# %% [markdown]
# ## 1 · Two weights and a curve
#
# Somebody draws a fair or a bent coin from lesson 01's bag and tosses H H T H H. The joint has two entries. Their sum is the evidence, but suppose that you could not add them up (with two entries you can; with $2^{784}$ you could not).
# You have only a guess $q$, say 50 : 50, and can look at the **weight** of each coin,
#
# $$w(z) = \frac{p(x, z)}{q(z)} .$$

# %%
coins = np.array([0.5 * 0.5**5, 0.5 * 0.9**4 * 0.1])  # p(x, z) for z = fair, bent and x = H H T H H
guess = np.array([0.5, 0.5])
w = coins / guess
print(f"weights: fair {w[0]:.5f}, bent {w[1]:.5f};  log p(x) = {np.log(coins.sum()):.4f}")
print(f"log of the weights' mean under q: {np.log(guess @ w):.4f}")
print(f"mean under q of the weights' log: {guess @ np.log(w):.4f}")

# %% [markdown]
# The mean of the weights *is* the evidence, whatever the guess, because $q$ cancels. The mean of their logarithms is less. That second number is lesson 04's ELBO, and here are three ways to it.
#
# **First: a curve and its chord** (Jensen's inequality).
#
# $$\begin{aligned}
# \log p(x) &= \log \sum_z q(z)\,\frac{p(x, z)}{q(z)} && \text{multiply and divide by } q\\
# &= \log \mathbb E_q[w(z)] && \text{a mean, and then a logarithm}\\
# &\ge \mathbb E_q[\log w(z)] = \mathrm{ELBO} && \text{the logarithm bends down, so every chord lies below it}
# \end{aligned}$$
#
# **Second: Bayes' rule.** For *every* $z$, $p(x) = p(x, z)/p(z\mid x)$; so this ratio may be averaged over any $q$.
#
# $$\begin{aligned}
# \log p(x) &= \mathbb E_q\Big[\log\frac{p(x, z)}{p(z\mid x)}\Big] && \text{the mean of a constant}\\
# &= \mathbb E_q\Big[\log\frac{p(x, z)}{q(z)}\Big] + \mathbb E_q\Big[\log\frac{q(z)}{p(z\mid x)}\Big] && \text{multiply and divide by } q\\
# &= \mathrm{ELBO} + D_{\mathrm{KL}}\big(q\,\|\,p(z\mid x)\big) && \text{an equation, not a bound}
# \end{aligned}$$
#
# **Third: look for the best $q$ among all there are.** Maximise $\mathbb E_q[\log p(x, z)] + \mathrm H[q]$ subject to $\sum_z q(z) = 1$, with a multiplier $\lambda$.
#
# $$\begin{aligned}
# 0 &= \log p(x, z) - \log q(z) - 1 + \lambda && \text{derivative with respect to } q(z)\\
# q(z) &\propto p(x, z), \;\text{ that is }\; q(z) = p(z\mid x) && \text{solve, normalise}\\
# \mathrm{ELBO} &= \mathbb E\big[\log \tfrac{p(x, z)}{p(z\mid x)}\big] = \log p(x) && \text{put it in}
# \end{aligned}$$
#
# The first says *that* it is a bound. The second names the **gap**: a KL, lesson 03's, with $q$ first. The third says that the bound is reached and by whom, so that $\log p(x) = \max_q \mathrm{ELBO}$: **inference is a maximisation**, and an integral has become a search.
#
# In the picture the coins' two weights sit on the logarithm. The dots are as large as $q$ believes in them.

# %%
def two_weights(fig):
    above, below = fig.subplots(2, 1, height_ratios=(4, 1))
    grid = np.linspace(0.005, 0.19, 300)
    above.plot(grid, np.log(grid), color="0.4", linewidth=1.2)
    (chord,) = above.plot([], [], **plots.style("elbo"))
    above.plot([coins.sum()] * 2, [-5, np.log(coins.sum())], color="black", linestyle=":", linewidth=1.5)
    (gap,) = above.plot([], [], **plots.style("kl", linestyle="-", linewidth=5))
    dots = above.scatter([0, 0], [0, 0], s=[50, 50], color="black", zorder=4)
    plots.label(above, 0.05, -4.35, "p(x), the mean of the weights", "evidence")
    above.set(xlim=(0, 0.19), ylim=(-4.5, -1.5), xlabel="weight w", ylabel="log w")
    ruler = plots.ruler(below, -3.8, -2.8)
    below.set_xlabel("nats: ELBO filled, gap hatched, log p(x) the black end")

    def update(r=0.3):
        q = np.array([1 - r, r])
        w = coins / q
        elbo, log_px = q @ np.log(w), np.log(q @ w)
        chord.set_data(w, np.log(w))
        gap.set_data([q @ w] * 2, [elbo, log_px])
        dots.set_offsets(np.stack([w, np.log(w)], axis=1))
        dots.set_sizes(30 + 400 * q)
        ruler.set(log_px, elbo)
        return f"weights: fair {w[0]:.4f}, bent {w[1]:.4f}, mean {q @ w:.5f}      ELBO {elbo:.4f} = log p(x) {log_px:.4f} − gap {log_px - elbo:z.4f} nats"
    return update


explore(two_weights, r=(0.2, 0.9, 0.01), labels={"r": "r, q's belief in the bent coin"},
        alt="The logarithm with two dots and the chord between them; above the fixed mean of the weights the chord lies below the curve by the gap; a ruler shows the same")

# %% [markdown]
# Move $r$ and watch the dotted line: it does not. Then find the place where the chord shrinks to a point.
#
# <details><summary>What you should have seen</summary>
#
# Every $q$ has the same mean weight, and only the spread of the weights changes. Where $q$ is the posterior, $r \approx 0.68$, both weights *are* $p(x)$: no chord, no gap. So a gap has two faces: the KL from $q$ to the posterior, and the
# spread of the weights. The second face is the one that you can estimate from draws; section 3 uses it.
#
# </details>

# %%
exact = coins / coins.sum()
print(f"posterior of the bent coin {exact[1]:.4f}; weights at q = posterior: {coins[0] / exact[0]:.5f}, {coins[1] / exact[1]:.5f}; p(x) = {coins.sum():.5f}")
kl = guess @ np.log(guess / exact)
print(f"at 50 : 50 the gap is {np.log(coins.sum()) - guess @ np.log(w):.4f}, and KL(q||posterior) = {kl:.4f} nats")

# %% [markdown]
# ### Exercise 5.1 · The ELBO of two coins ●○○ · 6 min
#
# Write the ELBO of $q = (1 - r, r)$ as $\mathbb E_q[\log p(x, z)] + \mathrm H[q]$, from the table `coins`. It must work for arrays of $r$, and for the two guesses that are certain, $r = 0$ and $r = 1$ (remember what $0\log 0$ is).

# %% exercise="elbo_two_coins"
def elbo_two_coins(r):
    """ELBO in nats for H H T H H when q believes in the bent coin with probability r. r: number or array in [0, 1]; returns its shape."""
    ### BEGIN SOLUTION
    q = np.stack([1 - np.asarray(r, float), np.asarray(r, float)], axis=-1)
    return q @ np.log(coins) + entr(q).sum(axis=-1)
    ### END SOLUTION

# %% check="elbo_two_coins"
check.elbo_two_coins(elbo_two_coins)

# %% [markdown]
# ## 2 · One ruler, three readings
#
# Now a latent number. $z\sim\mathcal N(0, 1)$, $x\mid z\sim\mathcal N(\theta z, 1)$, and you have seen $x = 1$. For this model everything is known:
#
# $$p(x) = \mathcal N(x\mid 0, 1 + \theta^2), \qquad p(z\mid x) = \mathcal N\Big(\frac{\theta x}{1+\theta^2}, \frac1{1+\theta^2}\Big).$$
#
# For a $q = \mathcal N(m, s^2)$ the same ELBO can be read in three ways. They differ in what they put beside it:
#
# | reading | says | use |
# |-|-|-|
# | $\log p(x) - D_{\mathrm{KL}}(q\,\|\,p(z\mid x))$ | what is missing to the end of the ruler | to understand; both terms are usually unknown |
# | $\mathbb E_q[\log p(x\mid z)] - D_{\mathrm{KL}}(q\,\|\,p(z))$ | how well $q$'s draws explain $x$ (*reconstruction*), minus what $q$ claims to know beyond the prior | to train: lesson 06's loss |
# | $\mathbb E_q[\log p(x, z)] + \mathrm H[q]$ | be where the joint is high, and be as undecided as you can | to derive: lesson 04's updates |
#
# Each term in code, each by its own sum over a grid, so that the three readings can *fail* to agree:

# %%
eps = np.linspace(-9, 9, 181)
weight = np.exp(log_normal(eps, 0, 1)) * (eps[1] - eps[0])  # sum(weight * f(m + s * eps)) is the mean of f under N(m, s²)


def readings(m, s, theta=1.0, x=1.0):
    """Six numbers in nats for q = N(m, s²): log p(x), gap, reconstruction, KL to the prior, E[log joint], entropy."""
    z = m + s * eps
    log_q, log_prior, log_likelihood = log_normal(z, m, s), log_normal(z, 0, 1), log_normal(x, theta * z, 1)
    variance = 1 / (1 + theta**2)
    log_posterior = log_normal(z, variance * theta * x, np.sqrt(variance))
    means = [weight @ f for f in (log_q - log_posterior, log_likelihood, log_q - log_prior, log_prior + log_likelihood, -log_q)]
    return log_normal(x, 0, np.sqrt(1 + theta**2)), *means


for m, s in ((0, 1), (0.2, 0.8), (0.5, np.sqrt(0.5))):
    log_px, gap, reconstruction, kl_prior, energy, entropy = readings(m, s)
    print(f"q = N({m}, {s:.4f}²): {log_px:.4f} - {gap:z.4f} = {log_px - gap:.4f}   {reconstruction:.4f} - {kl_prior:z.4f} = {reconstruction - kl_prior:.4f}"
          f"   {energy:.4f} + {entropy:.4f} = {energy + entropy:.4f}")

# %% [markdown]
# ### Predict before you move
#
# "Reconstruction minus something" sounds as if a good $q$ were one that reconstructs well. With $\theta = 1$, the $z$ that explains $x = 1$ best is $z = 1$. So put all of $q$ there.

# %%
gate_ruler = predict(r"$q = \mathcal N(1, 0.05^2)$ has nearly the best reconstruction there is, $-0.92$ nats; $\log p(x) = -1.52$. Where is its ELBO?",
                     {"at −0.92: reconstruction is what counts": -0.92, "at −1.52, the end of the ruler": -1.52,
                      "a bit short of the end, near −1.7": -1.7, "far to the left, near −3.9": -3.9})
gate_ruler

# %%
def the_ruler(fig):
    ax = fig.subplot_mosaic([["z", "missing"], ["z", "prior"], ["z", "entropy"]], width_ratios=(1, 1.35))
    z, start = np.linspace(-3, 3, 301), -7
    plots.curve(ax["z"], z, np.exp(log_normal(z, 0, 1)), "prior")
    posterior, q = plots.curve(ax["z"], z, 0 * z, "posterior"), plots.curve(ax["z"], z, 0 * z, "q")
    ax["z"].set(xlim=(-3, 3), ylim=(0, 2), xlabel="z", title="prior dotted, posterior filled, q dashed")
    rulers = {name: plots.ruler(ax[name], start, 0) for name in ("missing", "prior", "entropy")}
    for name, title in (("missing", "log p(x) = ELBO + KL(q‖posterior)"), ("prior", "reconstruction = ELBO + KL(q‖prior)"),
                        ("entropy", "E[log p(x, z)] = ELBO − entropy")):
        ax[name].set_title(title)
    rulers["entropy"].kl.set(edgecolor="0.35", hatch="....")
    rulers["prior"].kl.set_hatch("\\\\\\\\")
    mark = plots.prediction(ax["missing"])

    def update(mu=0.0, log_sigma=0.0, theta=1.0, prediction=None):
        log_px, gap, reconstruction, kl_prior, energy, entropy = readings(mu, np.exp(log_sigma), theta)
        elbo, variance = reconstruction - kl_prior, 1 / (1 + theta**2)
        posterior.set(np.exp(log_normal(z, variance * theta, np.sqrt(variance))))
        q.set(np.exp(log_normal(z, mu, np.exp(log_sigma))))
        for name, end in (("missing", log_px), ("prior", reconstruction), ("entropy", energy)):
            left, right = sorted((max(elbo, start), max(end, start)))
            rulers[name].elbo.set_width(max(elbo, start) - start)
            rulers[name].kl.set(x=left, width=right - left)
            rulers[name].end.set_xdata([end, end])
        mark.set(prediction, 0.0)
        return (f"log p(x) {log_px:.3f} − KL to posterior {gap:z.3f} = ELBO {elbo:.3f}\n"
                f"reconstruction {reconstruction:.3f} − KL to prior {kl_prior:z.3f}      E[log p(x, z)] {energy:.3f} + entropy {entropy:+.3f}   (σ = {np.exp(log_sigma):.2f})")
    return update


explore(the_ruler, mu=(-1.0, 2.0, 0.1), log_sigma=(-3.0, 0.5, 0.05), theta=(0.0, 2.0, 0.1), predict=gate_ruler, size=(8.5, 4.2),
        labels={"mu": "q: mean m", "log_sigma": "q: log s", "theta": "model: θ"},
        alt="Prior, posterior and q; beside them three rulers whose green parts end at the same ELBO: with the gap, with the KL to the prior, with the entropy")

# %% [markdown]
# In each ruler the black tick is the left side of its equation, green is the ELBO, and the hatched or dotted part is the rest. Go to $m = 1$, $\log s = -3$ and look for your diamond. Then find the best $q$ with all three rulers in view. Then leave $q$ alone and move $\theta$.
#
# <details><summary>What you should have seen</summary>
#
# - The three green parts always end at the same place. What stands beside them differs: the tick is $\log p(x)$ in the first, the reconstruction in the second, $\mathbb E_q[\log p(x, z)]$ in the third.
# - A $q$ squeezed onto $z = 1$ reconstructs best and has an ELBO of about $-3.92$: it claims to know $z$ to within 0.05, which the prior finds outrageous, and nothing in $x$ pays for that claim.
# - The best $q$ is the posterior, $m = 0.5$, $\log s = -0.35$; its reconstruction is far from the best. In the third ruler the entropy points to the right as long as it is positive and to the left when it is negative.
# - **$q$ cannot move the end of the first ruler.** $\theta$ can: another $\theta$ is another model.
#
# </details>

# %%
for m, s in ((1.0, 0.05), (1.0, np.exp(-3)), (0.5, np.sqrt(0.5))):
    log_px, gap, reconstruction, kl_prior, *_ = readings(m, s)
    print(f"q = N({m}, {s:.4f}²): reconstruction {reconstruction:.3f}, KL to the prior {kl_prior:.3f}, ELBO {reconstruction - kl_prior:.3f}, gap {gap:z.3f}")
print(f"log of the best s: {0.5 * np.log(0.5):.3f}")

# %% [markdown]
# ### Exercise 5.2 · The ELBO in closed form ●●○ · 10 min
#
# For $\theta = 1$ the second reading needs no grid: $\mathbb E_q[(x - z)^2]$ is one of the two facts of lesson 03, and so is the KL (`kl_normal` is at hand). Keep every constant.

# %% exercise="elbo_toy"
def elbo_toy(m, s, x=1.0):
    """ELBO in nats of q = N(m, s²) for z ~ N(0, 1), x | z ~ N(z, 1); elementwise for arrays; s > 0 is a standard deviation."""
    ### BEGIN SOLUTION
    reconstruction = -0.5 * np.log(2 * np.pi) - 0.5 * ((x - m)**2 + s**2)
    return reconstruction - kl_normal(m, s, 0.0, 1.0)
    ### END SOLUTION

# %% check="elbo_toy"
check.elbo_toy(elbo_toy)

# %% [markdown]
# ### Misconception: "maximising the ELBO maximises the likelihood"
#
# Over $q$, it does not touch the likelihood at all. Over the *model*, it helps as long as the gap stays put, and nothing makes it stay. Take $x = 2$, $\theta = 1.3$ and hold $q$ at the prior. Which way do the two want $\theta$ to go?

# %%
def slopes(theta, x, m, s, h=1e-5):
    """d/dθ of the ELBO of a fixed q = N(m, s²), and of log p(x): finite differences, nats per unit of θ."""
    def elbo(t): return readings(m, s, t, x)[2] - readings(m, s, t, x)[3]
    def log_px(t): return readings(m, s, t, x)[0]
    return [(f(theta + h) - f(theta - h)) / (2 * h) for f in (elbo, log_px)]


for x in (2.0, 1.0):
    v = 1 / (1 + 1.3**2)
    for name, m, s in (("prior", 0.0, 1.0), ("posterior", 1.3 * x * v, np.sqrt(v))):
        elbo, log_px = slopes(1.3, x, m, s)
        print(f"x = {x:.0f}, q = {name:9s}: slope of the ELBO {elbo:+.4f}, slope of log p(x) {log_px:+.4f}")
for theta in (1.3, 0.0):
    log_px, gap, *_ = readings(0.0, 1.0, theta, 2.0)
    print(f"x = 2, q = prior, theta = {theta}: ELBO {log_px - gap:.3f}, log p(x) {log_px:.3f}")

# %% [markdown]
# With $q$ held at the prior, the highest ELBO is at $\theta = 0$: it *rises* by 0.845 nats on the way and the log-likelihood *falls* by 0.762. The gap closed because the model gave up on its latent, not because $q$ got better.
# Remember this when lesson 06 shows you a decoder that ignores $z$.

# %%
before, after = readings(0.0, 1.0, 1.3, 2.0), readings(0.0, 1.0, 0.0, 2.0)
print(f"ELBO {(after[0] - after[1]) - (before[0] - before[1]):+.3f}, log p(x) {after[0] - before[0]:+.3f} nats")

# %% [markdown]
# **One step harder (not checked): Fisher's identity.** In the rows with $q$ = posterior the two slopes agree, for $x = 1$ at $-0.3036$, where the prior gives $-1.3$. Show that this is no accident: for any model,
# $\;\nabla_\theta \log p_\theta(x) = \mathbb E_{p_\theta(z\mid x)}[\nabla_\theta \log p_\theta(x, z)]$. (Write $\nabla p(x)/p(x)$ and move the derivative under the sum.) Then explain with the ruler: two curves in $\theta$, one below the other, touching at one point. What do their slopes do there?
#
# ## 3 · Many draws: a ladder of bounds
#
# The gap is the spread of the weights, seen through a logarithm. Averages spread less. So draw $K$ latents from $q$ and average the weights *before* taking the logarithm:
#
# $$\mathcal L_K = \mathbb E_{z_1,\dots,z_K\sim q}\Big[\log\frac1K\sum_{k=1}^K \frac{p(x, z_k)}{q(z_k)}\Big] \;\le\; \log p(x).$$
#
# This is the **importance weighted** bound (IWAE). $\mathcal L_1$ is the ELBO. It can only rise with $K$: an average of $K$ weights is the average over its $K$ sub-averages with one weight left out, so by Jensen its log is at least the mean of *their* logs, and each of those has the
# expectation $\mathcal L_{K-1}$. For large $K$, expand the logarithm around the mean: the gap is half the relative variance $r$ of a weight, divided by $K$:
#
# $$\log p(x) - \mathcal L_K \;\approx\; \frac{r}{2K}, \qquad r = \frac{\mathrm{Var}_q[w]}{p(x)^2} .$$
#
# ### Exercise 5.3 · The bound from log weights ●○○ · 5 min
#
# Real weights are like $e^{-1000}$, so one works with $\log w$. Write one draw of $\log\frac1K\sum_k w_k$ for each row of an array. (Lesson 00 has what you need.)

# %% exercise="iwae_from_logw"
def iwae_from_logw(logw):
    """log of the mean weight over the last axis, in nats. logw: (..., K) log weights log p(x, z) - log q(z). Returns (...)."""
    ### BEGIN SOLUTION
    return log_mean_exp(logw, axis=-1)
    ### END SOLUTION

# %% check="iwae_from_logw"
check.iwae_from_logw(iwae_from_logw)

# %% [markdown]
# The *expectation* of that number, for any $K$, has a lovely exact form. From $\log a = \int_0^\infty (e^{-t} - e^{-at})\,\frac{dt}{t}$ (check it by differentiating with respect to $a$) and with $\varphi(t) = \mathbb E_q[e^{-t w}]$ for *one* weight, the $K$ independent draws turn into a power:
#
# $$\mathcal L_K = \int_0^\infty \big(e^{-Kt} - \varphi(t)^K\big)\,\frac{dt}{t} .$$
#
# Two one-dimensional sums, no sampling noise, every $K$ at once. (You may take the formula on trust: it is only the tool that draws the next picture, and the cell after it checks it by sampling.)

# %%
log_t = np.arange(-45, 60, 0.25)


def weight_table(log_w):
    """exp(-t w) for every t of the grid (T, 1) and every weight: (T, n). log_w: log weights (n,) at the points m + s * eps."""
    return np.exp(-np.exp(np.minimum(log_t[:, None] + log_w, 700)))


def iwae_exact(log_w, K):
    """The bound L_K in nats for one K or an array of them; same shape as K."""
    phi, K = weight_table(log_w) @ weight, np.asarray(K)[..., None]
    return np.trapezoid(np.exp(-K * np.exp(log_t)) - phi**K, log_t)


def toy_log_w(m, s, x=1.0):
    """log weights log p(x, z) - log q(z) of the toy (θ = 1) at the points z = m + s * eps, (181,)."""
    z = m + s * eps
    return log_normal(z, 0, 1) + log_normal(x, z, 1) - log_normal(z, m, s)

# %%
log_px, log_w = log_normal(1.0, 0, np.sqrt(2)), toy_log_w(0, 1)
r = weight @ np.exp(2 * log_w - 2 * log_px) - 1
print(f"q = prior: log p(x) = {log_px:.4f}, relative variance of a weight r = {r:.4f}")
for K in (1, 2):
    z = rng.standard_normal((50_000, K))
    draws = log_mean_exp(log_normal(z, 0, 1) + log_normal(1.0, z, 1) - log_normal(z, 0, 1), axis=1)
    print(f"K = {K}: exact {iwae_exact(log_w, K):.4f}, 50,000 draws {draws.mean():.3f} ± {draws.std() / np.sqrt(50_000):.3f}")

# %% [markdown]
# ### Predict before you move
#
# With $q$ = prior the ELBO ($K = 1$) misses 0.403 nats.

# %%
print(f"gap at K = 1: {log_px - iwae_exact(log_w, 1):.3f} nats")
gate_ladder = predict("How large is the gap with $K = 10$ draws?",
                      {"0.403 still: averaging removes noise, not a bias": 0.403, "0.127, smaller by the square root of ten": 0.127,
                       "0.040, a tenth": 0.040, "0.019, less than a tenth": 0.019})
gate_ladder

# %%
rungs = np.unique(np.round(np.geomspace(1, 500, 26)).astype(int))


def second_moment(m, s, x=1.0):
    """log E_q[w²] in nats for the toy, in closed form; infinite for s² ≤ 1/4 (the integrand p²/q is then no bell)."""
    A, B = 2 - 1 / (2 * s**2), 2 * x - m / s**2
    if A <= 1e-9:
        return np.inf
    return np.log(s) + 0.5 * np.log(2 * np.pi) - 2 * np.log(2 * np.pi) + 0.5 * np.log(np.pi / A) + B**2 / (4 * A) - x**2 + m**2 / (2 * s**2)


def effective_q(log_w, K):
    """Factor by which q's density at the points m + s * eps is multiplied when one of K draws is kept, chosen in proportion to its weight."""
    table = weight_table(log_w)
    t_phi = np.exp(log_t) * (table @ weight)**(K - 1)
    return K * np.exp(log_w) * (t_phi @ table) * (log_t[1] - log_t[0])

# %%
def iwae_ladder(fig):
    left, right = fig.subplots(1, 2)
    z = np.linspace(-3, 4, 301)
    plots.curve(left, z, np.exp(log_normal(z, 0.5, np.sqrt(0.5))), "posterior")
    q = plots.curve(left, z, 0 * z, "q")
    (kept,) = left.plot([], [], color="black", linewidth=1.4)
    left.set(xlim=(-3, 4), ylim=(0, 1.25), xlabel="z", title="posterior filled, q dashed, kept draw thin")
    right.axhline(log_px, **plots.style("evidence", linewidth=2))
    plots.label(right, 1.1, log_px + 0.04, "log p(x)", "evidence")
    (climbed,) = right.plot([], [], **plots.style("elbo", marker="o", markersize=4))
    (gap,) = right.plot([], [], **plots.style("kl", linestyle="-", linewidth=5))
    mark = plots.prediction(right)
    right.set(xscale="log", xlim=(0.9, 600), ylim=(-3.0, -1.35), xlabel="draws K", title="the bound, up to your K, in nats",
              xticks=[1, 10, 100, 500], xticklabels=["1", "10", "100", "500"])

    def update(K=1, mu=0.0, log_sigma=0.0, prediction=None):
        s = np.exp(log_sigma)
        log_w, up_to = toy_log_w(mu, s), np.append(rungs[rungs < K], K)
        bounds = iwae_exact(log_w, up_to)
        q.set(np.exp(log_normal(z, mu, s)))
        kept.set_data(mu + s * eps, np.exp(log_normal(mu + s * eps, mu, s)) * effective_q(log_w, K))
        climbed.set_data(up_to, bounds)
        gap.set_data([K, K], [bounds[-1], log_px])
        mark.set(None if prediction is None else 10, None if prediction is None else log_px - prediction)
        rate = (np.exp(second_moment(mu, s) - 2 * log_px) - 1) / (2 * K)
        return f"L_{K} = {bounds[-1]:.4f}      gap {log_px - bounds[-1]:.4f} nats, r/2K = {rate:.4f}".replace("inf", "infinite: q is too narrow")
    return update


explore(iwae_ladder, K=(1, 500), mu=(-0.5, 1.5, 0.1), log_sigma=(-1.0, 0.4, 0.05), predict=gate_ladder,
        labels={"K": "draws K", "mu": "q: mean m", "log_sigma": "q: log s"},
        alt="Left: posterior, q, and the density of the draw that is kept out of K; right: the bound rises with K towards log p(x)")

# %% [markdown]
# Raise $K$ to 10 with $q$ = prior, then to 500. The thin curve on the left shows a draw that is *kept*: of $K$ draws from $q$, one, chosen in proportion to its weight. Then make $q$ narrow ($\log s = -1$) and try again.
#
# <details><summary>What you should have seen</summary>
#
# With $q$ = prior the gap falls even faster than $1/K$ at first, and then as $r/2K$. The thin curve walks from $q$ to the posterior: **$K$ draws and a choice are a better $q$**, and the bound profits, although every single draw still comes from the old one.
#
# A narrow $q$ off to the side climbs very slowly, and $r$ is infinite as soon as $s^2 \le \tfrac14$, half the posterior's variance: then rare draws have enormous weights, and no $1/K$ law holds. As a proposal, rather too wide than too narrow.
#
# </details>

# %%
for K in (1, 2, 3, 5, 10, 50, 500):
    print(f"K = {K:3d}: L_K = {iwae_exact(log_w, K):.4f}, gap {log_px - iwae_exact(log_w, K):.5f}, r/2K = {r / (2 * K):.5f}")
narrow = toy_log_w(1.0, 0.35)
z = rng.standard_normal((50_000, 10))
draws = log_mean_exp(log_normal(1.0, z, 1), axis=1)
print(f"K =  10: 50,000 draws {draws.mean():.4f} ± {draws.std() / np.sqrt(50_000):.4f}")
print("q = N(1, 0.35²):", ", ".join(f"L_{K} = {iwae_exact(narrow, K):.3f}" for K in (1, 10, 500)))

# %% [markdown]
# Now on the Bow, at lesson 04's observation $x = (1, 0.5)$. Its expectation over a Gaussian has a closed form, since $\mathbb E[\sin wz] = e^{-w^2s^2/2}\sin wm$, and likewise for the cosine; section 6 will need it for thousands of $x$.

# %%
def bow_elbo(x, m, s, w, noise=0.25):
    """ELBO of the Bow in nats for q = N(m, s²), exact. x: a point (2,), or many (2, n). m, s: numbers or arrays (n,). w > 0: curvature."""
    along = x[0] * np.sin(w * m) - (x[1] - 1 / w) * np.cos(w * m)
    squared_distance = x[0]**2 + (x[1] - 1 / w)**2 + 1 / w**2 - 2 / w * np.exp(-w**2 * s**2 / 2) * along
    return -squared_distance / (2 * noise**2) - np.log(2 * np.pi * noise**2) - kl_normal(m, s, 0.0, 1.0)


x, z = np.array([1.0, 0.5]), 0.9 + 0.25 * eps
log_w_bow = bow_log_joint(x, z, 1.0, 0.25) - log_normal(z, 0.9, 0.25)
found = minimize(lambda v: -bow_elbo(x, v[0], np.exp(v[1]), 1.0), [0.9, np.log(0.25)])
print(f"q = N(0.9, 0.25²): ELBO {bow_elbo(x, 0.9, 0.25, 1.0):.4f}, by the grid {weight @ log_w_bow:.4f}")
print("   " + ", ".join(f"L_{K} = {iwae_exact(log_w_bow, K):.4f}" for K in (1, 5, 50)))
print(f"best Gaussian N({found.x[0]:.3f}, {np.exp(found.x[1]):.3f}²): ELBO {-found.fun:.4f};  log p(x) = {bow_posterior(x, np.linspace(-6, 6, 1201), 1.0, 0.25)[1]:.4f}")

# %% [markdown]
# Two ways to tighten: fifty draws from a mediocre $q$, or one draw from a good one.
#
# ### Misconception: "the gap is a Monte Carlo error", and: "IWAE averages $K$ ELBOs"
#
# More draws of $\log w$, averaged, give a more precise estimate of *the ELBO*. What raises the bound is the average **inside** the logarithm. For three log weights $-1, -2, -3$:

# %%
def effective_sample_size(logw):
    """(Σw)² / Σw² over the last axis, between 1 and K: how many equal weights these are worth. logw: (..., K)."""
    return np.exp(2 * logsumexp(logw, axis=-1) - logsumexp(2 * np.asarray(logw), axis=-1))


three = np.array([-1.0, -2.0, -3.0])
print(f"average of the logs {three.mean():.3f}, log of the average {log_mean_exp(three):.3f}, effective sample size {effective_sample_size(three):.3f} of 3")
for n in (100, 10_000, 1_000_000):
    z = rng.standard_normal(n)
    logs = log_normal(1.0, z, 1)
    print(f"{n:9,d} draws: mean of the logs {logs.mean():.3f} ± {logs.std() / np.sqrt(n):.3f}, log of the mean {log_mean_exp(logs):.3f}")

# %% [markdown]
# A third belief, "a tighter bound is always better to learn from", sounds safe and is not: lesson 07 measures how the gradient for $q$ drowns in noise as $K$ grows.
#
# ### A lid on top
#
# All these bounds come from below. With squares one gets one from above (Jensen again, for $t\mapsto t^2$), known as **CUBO**:
#
# $$\mathrm{ELBO} = \mathbb E_q[\log w] \;\le\; \log p(x) \;\le\; \tfrac12\log\mathbb E_q[w^2] = \mathrm{CUBO} .$$
#
# In the picture you see both bounds over the width of $q$, from the widest down to where you are. The dots are estimates from draws of $q$.

# %%
noise = rng.standard_normal(10_000)


def sandwich(fig):
    ax = fig.subplots()
    widths = np.arange(-1.4, 0.51, 0.05)
    ax.axhline(log_px, **plots.style("evidence", linewidth=2))
    plots.label(ax, -1.38, log_px + 0.05, "log p(x)", "evidence")
    (lower,), (upper,) = ax.plot([], [], **plots.style("elbo")), ax.plot([], [], **plots.style("kl"))
    (dots,) = ax.plot([], [], **plots.style("data", marker="o", markersize=9))
    plots.label(ax, -1.38, -3.4, "green: ELBO\npurple: upper bound\ndots: from draws of q", "evidence", fontweight="normal")
    ax.set(xlim=(-1.42, 0.52), ylim=(-3.5, 0.5), xlabel="log s, the width of q", ylabel="nats")

    def update(log_sigma=0.4, mu=0.5, draws=1000):
        s = np.exp(log_sigma)
        seen = np.append(log_sigma, widths[widths > log_sigma + 1e-9])
        tops = np.array([0.5 * second_moment(mu, np.exp(v)) for v in seen])
        lower.set_data(seen, [weight @ toy_log_w(mu, np.exp(v)) for v in seen])
        upper.set_data(seen[np.isfinite(tops)], tops[np.isfinite(tops)])
        z = mu + s * noise[:draws]
        logs = log_normal(z, 0, 1) + log_normal(1.0, z, 1) - log_normal(z, mu, s)
        dots.set_data([log_sigma] * 2, [logs.mean(), 0.5 * log_mean_exp(2 * logs)])
        top = f"{tops[0]:.4f}" if np.isfinite(tops[0]) else "infinite"
        return (f"s = {s:.3f}: ELBO {weight @ toy_log_w(mu, s):.4f} ≤ log p(x) {log_px:.4f} ≤ upper bound {top}\n"
                f"from {draws} draws: {logs.mean():.3f} and {0.5 * log_mean_exp(2 * logs):.3f}")
    return update


explore(sandwich, log_sigma=(-1.4, 0.4, 0.05), mu=(-0.5, 1.5, 0.1), draws=[10, 100, 1000, 10_000], labels={"log_sigma": "q: log s", "mu": "q: mean m", "draws": "draws of q"},
        alt="Over the width of q, the ELBO rises to log p(x) from below while the upper bound comes down to it, then escapes to infinity for narrow q")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Both bounds touch $\log p(x)$ at the posterior. At $q$ = prior the sandwich is $-1.9189 \le -1.5155 \le -1.3603$. But where $q$ has half the posterior's variance or less ($s \le 0.5$) the upper bound is **infinite**, and the estimate from draws does not tell you: it is finite whatever you do. With 10 draws it lies *below* $\log p(x)$ more often than not.
# An estimated ELBO is right on average; an estimated upper bound is a logarithm of an average, hence too low on average. The lid has a hole exactly where you would need it. That is why nearly everybody reports lower bounds.
#
# </details>

# %%
print(f"q = prior: {weight @ toy_log_w(0, 1):.4f} <= {log_px:.4f} <= {0.5 * second_moment(0, 1):.4f}; by the grid {0.5 * np.log(weight @ np.exp(2 * log_w)):.4f}")
for s in (0.6, 0.45, 0.3):
    z = 0.5 + s * noise
    logs = log_normal(z, 0, 1) + log_normal(1.0, z, 1) - log_normal(z, 0.5, s)
    few = 0.5 * log_mean_exp(2 * logs.reshape(1000, 10), axis=1)
    print(f"q = N(0.5, {s}²): upper bound {0.5 * second_moment(0.5, s):.4f}, from 10,000 draws {0.5 * log_mean_exp(2 * logs):.3f}; "
          f"estimates from 10 draws that lie below log p(x): {(few < log_px).mean():.0%}")

# %% [markdown]
# ## 4 · EM: the see-saw
#
# So far the model was given. Let us now learn one, from 150 iris flowers: length and width of their petals. The species are not told. The model is lesson 01's mixture, with two Gaussians: $z_n\in\{1, 2\}$ with weights $\pi_k$, and $x_n\mid z_n=k\sim\mathcal N(\mu_k, \Sigma_k)$.
# Each flower has its own $q_n$, a row of a table $r_{nk}$ (its *responsibilities*), and
#
# $$\mathrm{ELBO}(r, \theta) = \sum_n \Big(\sum_k r_{nk}\log\big[\pi_k\,\mathcal N(x_n\mid\mu_k,\Sigma_k)\big] + \mathrm H[r_n]\Big) \;=\; \log p_\theta(X) - \sum_n D_{\mathrm{KL}}\big(r_n\,\|\,p_\theta(z_n\mid x_n)\big).$$
#
# **EM** climbs it one argument at a time, as CAVI did in lesson 04.
#
# **E** (hold $\theta$, best $r$): $r_{nk} = p_\theta(z_n = k\mid x_n)$, the posterior. The gap is then 0: the floor has risen to the ceiling.
#
# **M** (hold $r$, best $\theta$): a weighted maximum likelihood fit for each $k$, so by lesson 03 the moments must match. With $N_k = \sum_n r_{nk}$:
#
# $$\pi_k = \frac{N_k}{N}, \qquad \mu_k = \frac1{N_k}\sum_n r_{nk}\,x_n, \qquad \Sigma_k = \frac1{N_k}\sum_n r_{nk}\,(x_n-\mu_k)(x_n-\mu_k)^\top \;\;\text{with the new } \mu_k .$$
#
# The floor rises again, and the ceiling with it, at least as much: a gap cannot be negative. So $\log p_\theta(X)$ **never falls**:
# $\;\log p_{\text{new}} \ge \mathrm{ELBO}(r, \text{new}) \ge \mathrm{ELBO}(r, \text{old}) = \log p_{\text{old}}$.
#
# ### Exercise 5.4 · One round of EM ●●● · 20 min
#
# Write E and then M from these formulas, for any number of components and dimensions. A flower may be so far from all components that every $\pi_k\mathcal N(x_n\mid\mu_k,\Sigma_k)$ is zero to a computer: work with logarithms until the ratio is safe.
# (Shapes that help: differences `(N, K, D)`; `np.einsum("nkd,kde,nke->nk", d, precisions, d)`; `np.linalg.slogdet`.)

# %% exercise="em_step"
def em_step(X, weights, means, covs):
    """One E and one M step. X: (N, D). weights: (K,), means: (K, D), covs: (K, D, D). Returns the new (weights, means, covs)."""
    ### BEGIN SOLUTION
    d = X[:, None, :] - means
    squares = np.einsum("nkd,kde,nke->nk", d, np.linalg.inv(covs), d)
    log_joint = np.log(weights) - 0.5 * (squares + np.linalg.slogdet(2 * np.pi * covs)[1])
    r = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    r /= r.sum(axis=1, keepdims=True)
    counts = r.sum(axis=0)
    means = r.T @ X / counts[:, None]
    d = X[:, None, :] - means
    covs = np.einsum("nk,nkd,nke->kde", r, d, d) / counts[:, None, None]
    return counts / len(X), means, covs
    ### END SOLUTION

# %% check="em_step"
check.em_step(em_step)

# %% [markdown]
# The lesson goes on whether or not you have solved that. Here are the half steps, put together from SciPy's density and NumPy's weighted covariance:

# %%
petals = load_iris().data[:, 2:]                                            # (150, 2): length and width in cm


def log_joint_table(X, theta):
    """log [π_k N(x_n | μ_k, Σ_k)] in nats, (N, K), for theta = (weights (K,), means (K, D), covs (K, D, D))."""
    return np.stack([np.log(pi) + multivariate_normal(mu, S).logpdf(X) for pi, mu, S in zip(*theta)], axis=1)


def e_step(X, theta):
    """Responsibilities (N, K): the posterior of each row's component."""
    table = log_joint_table(X, theta)
    return np.exp(table - logsumexp(table, axis=1, keepdims=True))


def m_step(X, r):
    """The best theta for given responsibilities r (N, K): weighted shares, means and covariances."""
    return r.mean(axis=0), r.T @ X / r.sum(axis=0)[:, None], np.array([np.cov(X.T, aweights=r_k, bias=True) for r_k in r.T])


def scores(X, r, theta):
    """ELBO(r, theta) and log p_theta(X), both summed over the rows of X, in nats."""
    table = log_joint_table(X, theta)
    return (r * table).sum() + entr(r).sum(), logsumexp(table, axis=1).sum()

# %%
def see_saw(means, cov, steps=60):
    """E, M, E, M, ...: a list of (r, theta, ELBO, log-likelihood) after 0, 1, ..., `steps` half steps, from equal weights and r = ½."""
    r, theta = np.full((len(petals), 2), 0.5), (np.full(2, 0.5), means, np.array([cov, cov]))
    path = [(r, theta, *scores(petals, r, theta))]
    for k in range(steps):
        if k % 2 == 0:
            r = e_step(petals, theta)
        else:
            theta = m_step(petals, r)
        path.append((r, theta, *scores(petals, r, theta)))
    return path


spread = np.cov(petals.T, bias=True)
paths = {"rows 0 and 100, wide": see_saw(petals[[0, 100]], spread), "rows 0 and 100, round": see_saw(petals[[0, 100]], np.eye(2)),
         "row 0 twice": see_saw(petals[[0, 0]], spread)}
values = np.array([step[2:] for step in paths["rows 0 and 100, wide"]])
for k in range(5):
    print(f"half step {k} ({['M', 'E'][k % 2] if k else 'start'}): ELBO {values[k, 0]:.2f}, log-likelihood {values[k, 1]:.2f}, gap {values[k, 1] - values[k, 0]:z.2f}")

# %% [markdown]
# Does it end where an independent program ends? And does the gap vanish after every E step, for all 150 flowers together?

# %%
other = GaussianMixture(2, weights_init=[0.5, 0.5], means_init=petals[[0, 100]], precisions_init=[np.linalg.inv(spread)] * 2, reg_covar=0, tol=1e-9, max_iter=500)
print(f"scikit-learn, same start: {other.fit(petals).score(petals) * 150:.4f};  ours after 60 half steps: {values[-1, 1]:.4f}")
print(f"largest gap after an E step: {np.abs(np.diff(values[1::2])).max():.4f};  the likelihood ever fell: {bool((np.diff(values[:, 1]) < -1e-9).any())}")

# %% [markdown]
# ### Predict before you move
#
# EM never falls, and you have just seen it end at $-218.7452$ nats. That start had components as wide as the whole cloud. Start again at the *same two flowers*, but with small round components ($\Sigma_k = I$).

# %%
gate_em = predict("Where does the log-likelihood end from the other start?",
                  {"at −218.7 too: EM maximises the likelihood": -218.7, "lower, near −270": -270.0, "higher, near −155": -155.0})
gate_em

# %%
circle = 2 * np.array([np.cos(np.linspace(0, 2 * np.pi, 61)), np.sin(np.linspace(0, 2 * np.pi, 61))])


def em_see_saw(fig):
    ax = fig.subplot_mosaic([["x", "scores"], ["x", "gap"]], height_ratios=(1.7, 1))
    left, right = ax["x"], ax["scores"]
    dots = left.scatter(*petals.T, c=np.full(150, 0.5), cmap="cividis", vmin=0, vmax=1, s=34, edgecolor="black", linewidth=0.5)
    ovals = [left.plot([], [], color=color, linestyle=line, linewidth=2)[0] for color, line in ((plots.VERMILLION, "--"), (plots.PURPLE, "-."))]
    left.set(xlim=(0, 7.6), ylim=(-0.6, 3.2), xlabel="petal length, cm", ylabel="petal width, cm", title="colour: r; ovals: 2 sd of a component")
    bars = ax["gap"].bar(np.arange(31), np.zeros(31), width=0.8, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    ax["gap"].set(xlim=(-0.7, 30.7), ylim=(0, 13), xlabel="half steps: start, E, M, E, M, …", ylabel="gap")
    (ceiling,), (floor,) = right.plot([], [], **plots.style("evidence", marker="o", markersize=4, linewidth=2)), right.plot([], [], **plots.style("elbo", marker="o", markersize=4))
    mark = plots.prediction(right)
    right.set(xlim=(-0.7, 30.7), ylim=(-420, -140), ylabel="nats", title="log-likelihood black, ELBO green")

    def update(start="rows 0 and 100, wide", step=0, prediction=None):
        path = paths[start][:step + 1]
        r, (pi, means, covs), elbo, log_px = path[-1]
        dots.set(array=r[:, 1])
        for oval, mean, cov in zip(ovals, means, covs):
            oval.set_data(*(mean[:, None] + np.linalg.cholesky(cov) @ circle))
        low, high = np.array([p[2:] for p in path]).T
        for line, heights in ((ceiling, high), (floor, low)):
            line.set_data(np.arange(step + 1), heights)
        for bar, height in zip(bars, np.append(np.minimum(high - low, 13), np.zeros(30 - step))):
            bar.set_height(max(height, 0))
        mark.set(None if prediction is None else 30, prediction)
        name = "start" if step == 0 else "after an E step" if step % 2 else "after an M step"
        return f"{name}: log-likelihood {log_px:.3f} = ELBO {elbo:.3f} + gap {log_px - elbo:z.3f} nats      weights {pi[0]:.2f}, {pi[1]:.2f}"
    return update


explore(em_see_saw, start=list(paths), step=(0, 30), predict=gate_em, labels={"step": "half steps"}, size=(8.5, 4.4),
        alt="Iris petals coloured by responsibility with the two components as ovals; beside them log-likelihood and ELBO, and the gap between them, which is zero after every E step")

# %% [markdown]
# Step slowly at first (the first purple bar, 145 nats, is cut off): E closes the gap and moves no oval, only colours; M moves the ovals and opens the gap again. Go on to 30. Then the second start, and at last the third.
#
# <details><summary>What you should have seen</summary>
#
# The same flowers, another width, another hill: small round components end at $-154.7313$, 64 nats higher, with the 50 flowers of one species alone in one oval. The first answer was no failure of arithmetic; scikit-learn confirmed it to four decimals. It is a **local** maximum.
# Two components that start alike stay alike for ever: at $-272.7915$ EM rests on a saddle, as lesson 04's spins did. *Never falls* does not mean *gets to the top*. Start more than once, keep the best.
#
# </details>

# %%
for name, path in paths.items():
    print(f"{name:22s}: ends at {path[-1][3]:.4f}, weights {path[-1][1][0][0]:.3f}, {path[-1][1][0][1]:.3f}")
print(f"difference of the first two: {paths['rows 0 and 100, round'][-1][3] - values[-1, 1]:.1f} nats")

# %% [markdown]
# EM needs the exact posterior in its E step. If we can only afford a family, the floor is raised as high as the family allows and stops short of the ceiling. The M step then pushes the floor, not the ceiling, and the misconception of section 2 can bite.
# That is the situation of a variational autoencoder, where a network plays E and another plays M.
#
# ## 5 · Surgery on the KL term
#
# A data set has $N$ observations, each with its own $q(z\mid x_n)$, and one prior for all. The second reading charges each of them $D_{\mathrm{KL}}(q(z\mid x_n)\,\|\,p(z))$. What does the average charge consist of? Mix all the $q$'s into the **aggregate posterior** $\bar q(z) = \frac1N\sum_n q(z\mid x_n)$:
#
# $$\begin{aligned}
# \frac1N\sum_n D_{\mathrm{KL}}\big(q(z\mid x_n)\,\|\,p(z)\big) &= \frac1N\sum_n\mathbb E_{q(z\mid x_n)}\Big[\log\frac{q(z\mid x_n)}{\bar q(z)} + \log\frac{\bar q(z)}{p(z)}\Big] && \text{multiply and divide by } \bar q\\
# &= \frac1N\sum_n D_{\mathrm{KL}}\big(q(z\mid x_n)\,\|\,\bar q\big) + \mathbb E_{\bar q}\Big[\log\frac{\bar q(z)}{p(z)}\Big] && \text{the second does not depend on } n\\
# &= \underbrace{I_q(n; z)}_{\text{what a code tells about its data point}} + \underbrace{D_{\mathrm{KL}}\big(\bar q\,\|\,p\big)}_{\text{how badly all codes together fit the prior}} && \text{the first is a mutual information}
# \end{aligned}$$
#
# The two parts could not be more different. The second is pure waste: at zero, a draw from the prior looks like a code. The first is the *point* of having codes. It lies between 0 and $\log N$ (there are only $N$ data points to tell apart); at 0 the code says nothing about $x$, and a decoder can do nothing with it.
#
# Eight observations with Gaussian codes, whose centres are spread like a sample of the prior:

# %%
N, z_axis = 8, np.linspace(-8, 8, 641)
centres = norm.ppf((np.arange(N) + 0.5) / N)


def surgery(means, s):
    """Average KL to the prior N(0, 1), mutual information, and KL of the aggregate to the prior; nats, each by its own sum. means: (N,)."""
    log_q = log_normal(z_axis, means[:, None], s)
    log_bar = log_mean_exp(log_q, axis=0)
    average = kl_normal(means, s, 0.0, 1.0).mean()
    information = np.trapezoid(np.exp(log_q) * (log_q - log_bar), z_axis, axis=1).mean()
    misfit = np.trapezoid(np.exp(log_bar) * (log_bar - log_normal(z_axis, 0, 1)), z_axis)
    return average, information, misfit


def operation(fig):
    above, below = fig.subplots(2, 1, height_ratios=(3, 1))
    plots.curve(above, z_axis, np.exp(log_normal(z_axis, 0, 1)), "prior")
    single = [above.plot(z_axis, 0 * z_axis, **plots.style("q", linewidth=1, alpha=0.8))[0] for _ in range(N)]
    (total,) = above.plot(z_axis, 0 * z_axis, color="black", linewidth=2)
    above.set(xlim=(-4, 4), ylim=(0, 1.05), xlabel="z", title="the eight codes, each ÷ 8, dashed; all together black; prior dotted")
    (useful,) = below.barh([0], [0], height=0.5, color=plots.SKY, edgecolor="black", hatch="..")
    (waste,) = below.barh([0], [0], height=0.5, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    (end,) = below.plot([0, 0], [-0.4, 0.4], **plots.style("evidence"))
    below.axvline(np.log(N), **plots.style("prior"))
    below.set(xlim=(0, 5.5), ylim=(-0.45, 0.45), yticks=[], xlabel="nats: information (dots) + misfit (hatched) = average KL (black); dotted: log 8")

    def update(spread=1.0, log_sigma=-1.0):
        s = np.exp(log_sigma)
        heights = np.exp(log_normal(z_axis, (spread * centres)[:, None], s)) / N
        for line, y in zip(single, heights):
            line.set_ydata(y)
        total.set_ydata(heights.sum(axis=0))
        average, information, misfit = surgery(spread * centres, s)
        useful.set_width(information)
        waste.set(x=information, width=misfit)
        end.set_xdata([average, average])
        return f"average KL {average:.3f} = information {information:z.3f} + misfit {misfit:z.3f} nats      (s = {s:.2f}, log 8 = {np.log(N):.3f})"
    return update


explore(operation, spread=(0.0, 2.0, 0.05), log_sigma=(-3.0, 0.2, 0.05), labels={"spread": "spread of the centres", "log_sigma": "log s of each code"},
        alt="Eight Gaussian codes and their mixture against the prior; below, the average KL split into information and misfit, with a mark at log 8")

# %% [markdown]
# Make the codes sharper; then gather them all at 0 with $\log s = 0$; then look for a place with as much information and as little misfit as you can.
#
# <details><summary>What you should have seen</summary>
#
# Sharp codes: the information stops at $\log 8$, the misfit grows for ever. All codes equal to the prior: both parts vanish, a KL of 0 and a code that knows nothing. In between, near spread 1 and $\log s = -1$, more than a nat of information costs a misfit of a few hundredths: overlapping codes tile the prior.
# So "KL to the prior = 0" is never the goal. The part that may vanish is the misfit.
#
# </details>

# %%
for name, spread_, s in (("sharp", 1.0, 0.05), ("tiling", 1.0, np.exp(-1)), ("collapsed", 0.0, 1.0)):
    average, information, misfit = surgery(spread_ * centres, s)
    print(f"{name:9s}: average KL {average:.3f} = information {information:z.3f} + misfit {misfit:z.3f}   (log 8 = {np.log(8):.3f})")

# %% [markdown]
# ### Exercise 5.5 · ELBO surgery on a table ●●○ · 10 min
#
# The same for a latent class: row $n$ of $P$ is $q(z\mid x_n)$. Return all three numbers, each computed from its own definition; then *average = information + misfit* is a check on yourself. Zeros may occur.

# %% exercise="elbo_surgery"
def elbo_surgery(P, p0):
    """(average KL to the prior, mutual information, KL of the aggregate to the prior), nats. P: (N, K) rows q(z | x_n), zeros allowed; p0: (K,) prior, > 0."""
    ### BEGIN SOLUTION
    def kl(a, b):                                    # over the last axis, with 0 log 0 = 0
        return (-entr(a) - a * np.log(np.where(a > 0, b, 1))).sum(axis=-1)

    P = np.asarray(P, float)
    aggregate = P.mean(axis=0)
    return kl(P, np.asarray(p0)).mean(), kl(P, aggregate).mean(), kl(aggregate, np.asarray(p0))
    ### END SOLUTION

# %% check="elbo_surgery"
check.elbo_surgery(elbo_surgery)

# %% [markdown]
# ## 6 · Two models for a ring
#
# A gap is a nuisance as long as it is the same for every model. It is not. Bend the Bow from a horseshoe to a ring ($w = 2$): its codes become ambiguous, since different $z$ lead to the same place, and a Gaussian $q$ can cover one of them only. Compare two models of the data that the Bow makes:
#
# - the **true** one, the very Bow that made the data, scored with the *best* Gaussian $q$ for every single $x$;
# - a **collapsed** one, $p(x\mid z) = \mathcal N(x\mid\mu, vI)$, which ignores $z$. Its posterior is the prior, its gap 0.
#
# The averages over data are sums over a grid of $z$ and of the noise, and `bow_elbo` is written as a product of two tables, $x$ by $q$, to find the best of 1,717 Gaussians for every $x$ at once; ten steps towards zero slope in $m$ and in $s$ then polish the winner.

# %%
def bow_data(w, noise=0.25):
    """Points x (n, 2) with probabilities (n,) that stand for data from the Bow: a grid of z, Gauss-Hermite points for the noise."""
    z, (t, p) = np.linspace(-4.5, 4.5, 61), np.polynomial.hermite_e.hermegauss(7)
    Z, A, B = np.meshgrid(z, t, t, indexing="ij")
    share = np.exp(log_normal(z, 0, 1))[:, None, None] * p[:, None] * p
    return (bow_curve(Z, w) + noise * np.stack([A, B], axis=-1)).reshape(-1, 2), share.ravel() / share.sum()

# %%
def best_elbo(x, w, noise=0.25):
    """For every x (n, 2) the highest ELBO of the Bow over all q = N(m, s²), in nats, (n,): the best of a table, then polished."""
    m, s = np.meshgrid(np.linspace(-5, 5, 101), np.exp(np.linspace(-2, 0.08, 17)))
    m, s, d = m.ravel(), s.ravel(), x - np.array([0, 1 / w])
    pull = np.exp(-w**2 * s**2 / 2) / (w * noise**2)
    of_q = np.stack([pull * np.sin(w * m), -pull * np.cos(w * m), -kl_normal(m, s, 0.0, 1.0)])         # (3, 1717)
    of_x = np.column_stack([d, np.ones(len(x))])                                                       # (n, 3)
    winner = np.concatenate([(part @ of_q).argmax(axis=1) for part in np.array_split(of_x, 20)])
    m, s = m[winner], s[winner]
    first = bow_elbo(x.T, m, s, w, noise)
    for _ in range(10):                                              # slope in m = 0 (Newton), slope in s = 0 (solved for s)
        pull, sin, cos = np.exp(-w**2 * s**2 / 2) / (w * noise**2), np.sin(w * m), np.cos(w * m)
        precision = np.maximum(1 + w**2 * pull * (d[:, 0] * sin - d[:, 1] * cos), 0.5)
        m, s = m + (w * pull * (d[:, 0] * cos + d[:, 1] * sin) - m) / precision, precision**-0.5
    return np.maximum(first, bow_elbo(x.T, m, s, w, noise))

# %%
def compare(w, noise=0.25, z=np.linspace(-6, 6, 241)):
    """Nats per observation, lower is better: -log p and -ELBO of the true model, -ELBO (= -log p) of the collapsed one."""
    x, share = bow_data(w, noise)
    log_px = np.concatenate([logsumexp(bow_log_joint(part[:, None], z, w, noise), axis=1) for part in np.array_split(x, 20)]) + np.log(z[1] - z[0])
    v = share @ ((x - share @ x)**2).mean(axis=1)
    return -share @ log_px, -share @ best_elbo(x, w, noise), np.log(2 * np.pi * np.e * v)


point, q_of_it = np.array([[1.0, 0.5]]), minimize(lambda v: -bow_elbo((1.0, 0.5), v[0], np.exp(v[1]), 1.0), [1.0, -1.4])
print(f"one x, table and polish against a general optimiser: {best_elbo(point, 1.0)[0]:.4f}, {-q_of_it.fun:.4f}")
curvatures = np.arange(0.5, 2.51, 0.25)
table = np.array([compare(w) for w in curvatures])
print(f"w = 2, -log p(x) on average: true model {table[6, 0]:.3f}, collapsed model {table[6, 2]:.3f}: the true one explains the data better")

# %%
gate_wrong = predict("At $w = 2$ the negative log-likelihoods are 1.090 for the true model and 1.152 for the collapsed one. What negative **ELBO** does the true model get?",
                     {"1.09: with the best q for every x the gap is negligible": 1.09, "about 1.12: worse, but it still wins": 1.12, "about 1.25: it loses": 1.25})
gate_wrong

# %%
ring_z, ring_noise = rng.standard_normal(500), rng.standard_normal((500, 2))


def wrong_model(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.3))
    (cloud,), (wire,) = left.plot([], [], **plots.style("data", alpha=0.4)), left.plot([], [], color=plots.BLUE, linewidth=2)
    (blob,) = left.plot([], [], **plots.style("prior", linewidth=3.5, zorder=5))
    left.set(xlim=(-2.4, 2.4), ylim=(-1.6, 3.2), aspect="equal", xlabel="x₁", ylabel="x₂", title="data; true: wire; collapsed: blob")
    lines = [right.plot([], [], **plots.style(role, marker="o", markersize=5))[0] for role in ("evidence", "elbo", "prior")]
    mark = plots.prediction(right)
    right.set(xlim=(0.4, 2.6), ylim=(0.8, 2.2), xlabel="curvature w", ylabel="nats per observation, low is good", title="the scores, up to your w")
    plots.label(right, 0.45, 0.93, "black: −log p, true model\ngreen: −ELBO, true model\ndotted: both, collapsed model", "evidence", fontweight="normal", fontsize=10)

    def update(w=0.5, prediction=None):
        i = int(np.argmin(np.abs(curvatures - w)))
        x = bow_curve(ring_z, w) + 0.25 * ring_noise
        cloud.set_data(*x.T)
        wire.set_data(*bow_curve(np.linspace(-3, 3, 200), w).T)
        blob.set_data(*(x.mean(axis=0)[:, None] + np.sqrt(np.exp(table[i, 2]) / (2 * np.pi * np.e)) * circle))
        for line, column in zip(lines, table.T):
            line.set_data(curvatures[:i + 1], column[:i + 1])
        mark.set(None if prediction is None else 2.0, prediction)
        winner = "true" if table[i, 1] < table[i, 2] else "COLLAPSED"
        return (f"true model: −log p {table[i, 0]:.3f}, −ELBO {table[i, 1]:.3f} (gap {table[i, 1] - table[i, 0]:.3f})      "
                f"collapsed: {table[i, 2]:.3f}      the ELBO prefers the {winner} model")
    return update


explore(wrong_model, w=(0.5, 2.5, 0.25), predict=gate_wrong, labels={"w": "curvature w"},
        alt="Data from the Bow with the wire and a round blob; beside them, over the curvature, the scores of the true and the collapsed model, whose order turns round for the ELBO")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The black line stays below the dotted one at every curvature: the true model always explains the data better. The green line crosses the dotted one just above $w = 1.75$. At $w = 2$ the true model pays a gap of 0.154 nats, more than the 0.062 nats by which it is better, and the ELBO crowns the model that ignores its latent.
#
# </details>

# %%
for i in (2, 4, 5, 6):
    nll, bound, collapsed = table[i]
    print(f"w = {curvatures[i]:.2f}: true -log p {nll:.3f}, -ELBO {bound:.3f}, collapsed {collapsed:.3f}; gap {bound - nll:.3f}, advantage {collapsed - nll:.3f}; "
          f"ELBO prefers the {'true' if bound < collapsed else 'collapsed'} model")

# %% [markdown]
# ### Misconception: "the model with the higher ELBO is the better model"
#
# No optimiser has failed here, no network was too small, nothing was sampled: the objective itself prefers the wrong model. The cure is a richer $q$ (two humps would do) or a tighter bound, not more training. Keep the number: at $w = 2$, 1.244 against 1.152.
#
# ## Recap
#
# **Short.** $\log p(x) = \mathrm{ELBO} + D_{\mathrm{KL}}(q\,\|\,p(z\mid x))$: $q$ moves the mark on the ruler, never its end. So over $q$ the ELBO is a perfect score, and over models it is a score with an unknown handicap.
#
# **Standard.** The ELBO is the mean of the log weights $\log p(x, z)/q(z)$; the evidence is the log of their mean. The difference is the KL from $q$ to the posterior and vanishes when all weights are equal. One number has three readings: evidence minus gap, reconstruction minus KL to the prior, energy
# plus entropy. Averaging $K$ weights inside the logarithm raises the bound, with a gap of about $r/2K$. EM alternates: E makes the gap zero, M raises floor and ceiling; it never falls, and may rest on a low hill. Over a data set the KL to the prior is information plus misfit, and only the misfit is
# waste. Because the gap differs from model to model, the ELBO can prefer a model that ignores its latent to the one that made the data.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $\log p(x) = \log\mathbb E_q[w] \ge \mathbb E_q[\log w]$, $\;w = p(x, z)/q(z)$ | Jensen: it is a bound |
# | $\log p(x) = \mathrm{ELBO} + D_{\mathrm{KL}}(q\,\|\,p(z\mid x))$ | the gap has a name |
# | $\mathrm{ELBO} = \mathbb E_q[\log p(x\mid z)] - D_{\mathrm{KL}}(q\,\|\,p(z)) = \mathbb E_q[\log p(x, z)] + \mathrm H[q]$ | to train; to derive |
# | $\nabla_\theta\log p_\theta(x) = \nabla_\theta\,\mathrm{ELBO}$ only at $q$ = posterior | Fisher's identity |
# | $\mathcal L_K = \mathbb E[\log\frac1K\sum_k w_k]$, $\;\mathcal L_{K-1}\le\mathcal L_K\le\log p(x)$, gap $\approx r/2K$ | the ladder |
# | $\mathcal L_K = \int_0^\infty(e^{-Kt} - \varphi(t)^K)\,dt/t$, $\;\varphi(t) = \mathbb E_q[e^{-tw}]$ | the ladder, exactly |
# | $\log p(x) \le \frac12\log\mathbb E_q[w^2]$ | the lid; infinite for a narrow $q$ |
# | E: $r_{nk} = p_\theta(k\mid x_n)$; M: $\pi_k, \mu_k, \Sigma_k$ = weighted share, mean, covariance | the see-saw |
# | $\frac1N\sum_n D_{\mathrm{KL}}(q(z\mid x_n)\,\|\,p) = I_q(n; z) + D_{\mathrm{KL}}(\bar q\,\|\,p)$, $\;I_q\le\log N$ | surgery |
#
# **Memory aid.** *Log of the mean is the truth, mean of the log is the bound.* And for EM: *E lifts the floor to the ceiling, M lifts them both.*
#
# **Key terms.** weight · ELBO · gap · Jensen's inequality · reconstruction term · IWAE bound · effective sample size · CUBO · EM · responsibility · Fisher's identity · aggregate posterior · ELBO surgery

# %%
flash_cards(5)

# %%
quiz("05_elbo")

# %%
dialogue([
    ("Student", "My ELBO went up by five nats last night. So the model explains the data five nats better."),
    ("Teacher", "Which end of the ruler went up, the black one or the green one?"),
    ("Student", "The green one. I never see the black one."),
    ("Teacher", "Then what are the two things that may have happened?"),
    ("Student", "Either the black end moved to the right and took the green along. Or the black end stayed, and the gap got shorter."),
    ("Teacher", "There is a third."),
    ("Student", "You mean the black end moved to the left, and the gap shrank by even more? That would be a worse model with a better score."),
    ("Teacher", "Section two did that to you, with one parameter. And section six, with the ring."),
    ("Student", "Then I take more draws, until the gap is averaged away."),
    ("Teacher", "Where do you put the average?"),
    ("Student", "I average the logs. Oh. That gives me the same ELBO, only more precisely. I have to average inside the logarithm."),
    ("Teacher", "Good. And when is there nothing to average?"),
    ("Student", "When all weights are equal. Then one draw tells me the evidence, and my q is the posterior."),
    ("Teacher", "One more. A colleague is proud that the KL term of his network is zero."),
    ("Student", "That means every code looks like the prior. So a code says nothing about its own data point, and he has built a very expensive average."),
])

# %% [markdown]
# **References.**
# R. Neal, G. Hinton, *A View of the EM Algorithm that Justifies Incremental, Sparse, and Other Variants*, in Learning in Graphical Models, 1998. ·
# C. Bishop, *Pattern Recognition and Machine Learning*, 2006, section 9.4 (EM in general). ·
# M. Jordan, Z. Ghahramani, T. Jaakkola, L. Saul, *An Introduction to Variational Methods for Graphical Models*, Machine Learning 1999. ·
# Y. Burda, R. Grosse, R. Salakhutdinov, *Importance Weighted Autoencoders*, ICLR 2016. ·
# C. Cremer, Q. Morris, D. Duvenaud, *Reinterpreting Importance-Weighted Autoencoders*, 2017 (the kept draw). ·
# A. Dieng, D. Tran, R. Ranganath, J. Paisley, D. Blei, *Variational Inference via χ Upper Bound Minimization*, NeurIPS 2017 (CUBO). ·
# M. Hoffman, M. Johnson, *ELBO Surgery: Yet Another Way to Carve Up the Variational Evidence Lower Bound*, 2016. ·
# R. Fisher's iris measurements, 1936, as shipped with scikit-learn.
#
# **Next:** [06 · Variational autoencoders](06_variational_autoencoders.ipynb), where networks learn to play E and M for every $x$ at once.

# %% [markdown] solutions
# ## Solutions
