# %% [markdown]
# # Homework 05 · The ELBO
#
# **20 points:** 16 for five exercises that are marked by a program, 4 for the written question. About 115 minutes. Needs [lesson 05](../05_elbo.ipynb).
#
# Solve an exercise by replacing the two lines under `# YOUR CODE HERE`. The line below it tries your function at once and says what does not hold; it knows some properties of the answer, not the answer. The marks come from other numbers, so write what is right, not what passes.
# **To hand in:** *Kernel → Restart and run all cells*, save, and upload this one file under the name it has.
#
# Nats throughout; $\log$ is natural. `rel_entr(a, b)` of SciPy is $a\log(a/b)$ with $0\log 0 = 0$; `entr(a)` is $-a\log a$.

# %%
import numpy as np
from scipy.special import entr, gammaln, logsumexp, rel_entr

from course_utils import plots
from course_utils.checks import homework_05 as check
from course_utils.models import kl_normal, log_mean_exp, log_normal

plots.set_style()

# %%
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · A bound from each side (3 points, 15 min)
#
# A latent $z$ has $K$ values, and a table holds $\log p(x, z)$ for the one $x$ that was seen. For a guess $q(z)$ the weight is $w(z) = p(x, z)/q(z)$, and lesson 05 averaged $\log w$ under $q$. Average the same logarithm under the *posterior* instead:
#
# $$\mathrm{ELBO} = \mathbb E_{q(z)}[\log w(z)] \;\le\; \log p(x) \;\le\; \mathbb E_{p(z\mid x)}[\log w(z)] = \mathrm{EUBO} .$$
#
# Derive first, as in the lesson's second derivation: which KL separates the EUBO from $\log p(x)$, and which way round does it stand? (So the upper bound costs draws from the posterior, which is what nobody has. On a table we have it.)
#
# Return all three numbers. Entries of $q$ may be 0: then the ELBO is still finite, but what does the EUBO do, and is that right? The log joints may be near $-1000$, as those of an image are.

# %% exercise="three_numbers" points=3
def three_numbers(log_joint, q):
    """(ELBO, log p(x), EUBO) in nats. log_joint: (K,) log p(x, z), finite; q: (K,) sums to 1, entries may be 0."""
    ### BEGIN SOLUTION
    log_px = logsumexp(log_joint)
    elbo = np.sum(q * log_joint) + entr(q).sum()
    return elbo, log_px, log_px + rel_entr(np.exp(log_joint - log_px), q).sum()
    ### END SOLUTION

# %% check="three_numbers"
check.three_numbers(three_numbers)

# %% [markdown]
# ## Counts with a hidden rate
#
# A ferry counts the cars that wait at each of its departures on one day. How busy the day is stays hidden: $z\sim\mathcal N(0, 1)$ is the *logarithm* of the day's rate, and each of the $N$ counts is $x_n\mid z\sim\mathrm{Poisson}(e^z)$, that is
# $\log p(x_n\mid z) = x_n z - e^z - \log x_n!\,$. No conjugate pair: the posterior has no name. But on a grid it can be drawn.

# %%
cars = rng.poisson(np.exp(0.8), size=6)
z = np.linspace(-2.5, 2.5, 501)
log_joint = log_normal(z, 0, 1) + (cars[:, None] * z - np.exp(z) - gammaln(cars + 1.0)[:, None]).sum(axis=0)
log_px = logsumexp(log_joint + np.log(z[1] - z[0]))

fig = plots.figure(7.5, 3)
left, right = fig.subplots(1, 2, width_ratios=(1, 1.6))
left.bar(np.arange(1, 7), cars, color="0.75", edgecolor="black")
left.set(xlabel="departure n", ylabel="cars waiting", title="the data")
plots.curve(right, z, np.exp(log_normal(z, 0, 1)), "prior")
plots.curve(right, z, np.exp(log_joint - log_px), "posterior")
plots.curve(right, z, np.exp(log_normal(z, 0.3, 0.4)), "q")
right.set(xlabel="z, log of the day's rate", ylim=(0, None), title="prior dotted, posterior filled, a guess q dashed")
plots.show(fig, alt="Six counts of cars; beside them the prior of the log rate, its much narrower posterior, and a Gaussian guess that is too wide")
print(f"log p(x) = {log_px:.4f} nats")

# %% [markdown]
# ### 2 · The ELBO of a busy day (3 points, 15 min)
#
# Write the ELBO of $q = \mathcal N(m, s^2)$ for all $N$ counts in closed form, as reconstruction minus KL to the prior. Needed: $\mathbb E_q[z]$, and $\mathbb E_q[e^z]$ (complete the square in the exponent; it is *not* $e^m$). How many latents has a day, and how many KLs are there to pay?

# %% exercise="elbo_counts" points=3
def elbo_counts(x, m, s):
    """ELBO in nats of q = N(m, s²) for z ~ N(0, 1), x_n | z ~ Poisson(e^z), one z for all. x: (N,) counts; s > 0 is a standard deviation."""
    ### BEGIN SOLUTION
    reconstruction = np.sum(x * m - np.exp(m + s**2 / 2) - gammaln(x + 1.0))
    return reconstruction - kl_normal(m, s, 0.0, 1.0)
    ### END SOLUTION

# %% check="elbo_counts"
check.elbo_counts(elbo_counts)

# %% [markdown]
# ## Coins in a bag, none of them labelled
#
# The bag of lesson 01 held two coins, and their chances were known. This bag holds three kinds. Sixty times somebody draws a coin, tosses it twelve times, and puts it back without a word about which one it was. Each row below is one record.

# %%
chances = np.array([0.15, 0.5, 0.85])
which = rng.choice(3, size=60, p=[0.5, 0.3, 0.2])
records = rng.binomial(1, chances[which][:, None], size=(60, 12))

fig = plots.figure(7.5, 3)
left, right = fig.subplots(1, 2)
left.imshow(records.T, cmap="gray_r", aspect="auto", interpolation="nearest")
left.set(xlabel="record n", ylabel="toss d", title="heads black")
right.hist(records.sum(axis=1), bins=np.arange(14) - 0.5, color="0.75", edgecolor="black")
right.set(xlabel="heads in a record", ylabel="records", title="how many groups do you see?")
plots.show(fig, alt="Sixty records of twelve tosses as black and white squares, and a histogram of the heads in each record, which is spread from none to twelve")

# %% [markdown]
# ### 3 · One round of EM for unlabelled coins (4 points, 25 min)
#
# The model: component $k$ with probability $\pi_k$; given $k$, position $d$ of a record is 1 with probability $P_{kd}$, independently (a *mixture of Bernoullis*; with 64 positions it is a model of black and white digits).
#
# **E:** $r_{nk} = p(k\mid x_n)$ under the old $\pi, P$. **M:** maximise $\sum_{nk} r_{nk}\big[\log\pi_k + \sum_d x_{nd}\log P_{kd} + (1-x_{nd})\log(1-P_{kd})\big]$ over $\pi$ and $P$: set the derivatives to zero yourself. Return the new $\pi$, the new $P$, and the log-likelihood $\sum_n\log p(x_n)$ of the
# *old* ones, which the E step has computed on its way. A record may have thousands of positions: work with logarithms until the ratio is safe.

# %% exercise="em_bits" points=4
def em_bits(X, weights, P):
    """One round of EM. X: (N, D) of 0 and 1; weights: (K,); P: (K, D), strictly between 0 and 1.

    Returns (new weights (K,), new P (K, D), log-likelihood of all records under the old ones, nats).
    """
    ### BEGIN SOLUTION
    log_joint = np.log(weights) + X @ np.log(P).T + (1 - X) @ np.log(1 - P).T
    log_px = logsumexp(log_joint, axis=1)
    r = np.exp(log_joint - log_px[:, None])
    counts = r.sum(axis=0)
    return counts / len(X), r.T @ X / counts[:, None], log_px.sum()
    ### END SOLUTION

# %% check="em_bits"
check.em_bits(em_bits)

# %% [markdown]
# ### 4 · Trading the bound for the truth (3 points, 20 min)
#
# The gap of the importance weighted bound is about $r/2K$ (lesson 05), with the same $r$ for each $K$. So two rungs of the ladder betray where it leads. Write $\hat L_K = \log\frac1K\sum_k w_k$ and look for $a, b$ with $a + b = 1$ such that in
#
# $$J = a\,\hat L_K + b\,\hat L_{K-1}$$
#
# the terms $r/2K$ and $r/2(K-1)$ cancel. For $\hat L_{K-1}$ leave out one of your $K$ weights; since any of them could be left out, take the **average** of the $K$ values of $\hat L_{K-1}$. This is the *jackknife*. What is left of the bias falls like $1/K^2$, and $J$ is no bound any more: it may lie on either side.
#
# The weights come as logarithms, near $-1000$ for an image. Each row of the last axis is one experiment.

# %% exercise="jackknife" points=3
def jackknife(logw):
    """The jackknifed estimate J of log p(x), nats. logw: (..., K) log weights, K >= 2. Returns (...)."""
    ### BEGIN SOLUTION
    K = np.shape(logw)[-1]
    others = [log_mean_exp(np.delete(logw, k, axis=-1), axis=-1) for k in range(K)]
    return K * log_mean_exp(logw, axis=-1) - (K - 1) * np.mean(others, axis=0)
    ### END SOLUTION

# %% check="jackknife"
check.jackknife(jackknife)

# %% [markdown]
# ### 5 · Surgery with two cuts (3 points, 20 min)
#
# Encoder and data make a joint distribution, $q(n, z) = d(n)\,q(z\mid x_n)$, where $d(n)$ says how often observation $n$ occurs. The model has its own, $p(n, z)$. Everything that a variational autoencoder minimises is *one* number, $D_{\mathrm{KL}}\big(q(n, z)\,\|\,p(n, z)\big)$, and it can be cut in two ways:
#
# $$\underbrace{\mathbb E_{d(n)}\,D_{\mathrm{KL}}\big(q(z\mid x_n)\,\|\,p(z\mid x_n)\big)}_{\text{gap}} + \underbrace{D_{\mathrm{KL}}\big(d(n)\,\|\,p(n)\big)}_{\text{fit}}
# \;=\; \underbrace{D_{\mathrm{KL}}\big(\bar q(z)\,\|\,p(z)\big)}_{\text{misfit}} + \underbrace{\mathbb E_{\bar q(z)}\,D_{\mathrm{KL}}\big(q(n\mid z)\,\|\,p(n\mid z)\big)}_{\text{decoder}} .$$
#
# Show it on paper (the chain rule of KL, once along $n$ and once along $z$). Read it: a model with perfect fit and no gap has no misfit either, and its decoder is right on the codes that are in use. Then return all four numbers, each from its own definition.

# %% exercise="two_cuts" points=3
def two_cuts(d, P, joint):
    """(gap, fit, misfit, decoder) in nats. d: (N,) data frequencies; P: (N, K) rows q(z | x_n); zeros allowed in both.

    joint: (N, K) the model's p(n, z), > 0, all entries together sum to 1.
    """
    ### BEGIN SOLUTION
    q = d[:, None] * P                                        # q(n, z)
    p_n, p_z, q_z = joint.sum(axis=1), joint.sum(axis=0), q.sum(axis=0)
    gap = rel_entr(q, d[:, None] * joint / p_n[:, None]).sum()
    decoder = rel_entr(q, q_z * joint / p_z).sum()
    return gap, rel_entr(d, p_n).sum(), rel_entr(q_z, p_z).sum(), decoder
    ### END SOLUTION

# %% check="two_cuts"
check.two_cuts(two_cuts)

# %% [markdown] written="which_model" points=4
# ### 6 · Written: which model? (4 points, 20 min)
#
# From a report, on the same test images: "Model A reaches an ELBO of $-92.1$ nats. Model B, with the same kind of encoder, reaches $\mathcal L_{50} = -90.8$ nats. So B explains the data 1.3 nats better, and since its bound is higher, its posterior approximation is better too."
#
# In about ten sentences: (a) Which of the two conclusions follow, and why? (b) Give an example from the lesson, or one of your own, in which the model with the *worse* $\log p(x)$ has the *higher* ELBO, and say what makes that possible.
# (c) Which numbers would you ask the authors for, so that the models can be compared as far as that is possible, and which warning sign would you look at in the weights?

# %% [markdown]
# ### 7 · Harder, not marked: one family for all of them
#
# For $\alpha\ne1$ let $\mathcal L_\alpha = \frac1{1-\alpha}\log\mathbb E_q\big[w^{1-\alpha}\big]$. Show that $\alpha = 0$ gives $\log p(x)$, $\alpha\to1$ the ELBO and $\alpha=-1$ the lesson's CUBO, and that $\mathcal L_\alpha$ never rises with $\alpha$.
# What is the limit $\alpha\to\infty$, and what does a $q$ that maximises *that* look like? Draw $\mathcal L_\alpha$ for `log_joint` of the ferry on its grid and the dashed $q$, for $\alpha$ from $-2$ to 3. Where does it stop being finite if you make $q$ narrow, and where would an estimate from 1,000 draws tell you so?

# %%
