# %% [markdown]
# # Homework 04 · Variational inference
#
# 20 points: 16 for six exercises, 4 for one written question. About 2 hours. Needs lesson 04.
#
# Fill in the functions, run the `check` line below each, and type your answer to the question at the end. Before you hand in,
# restart the kernel, run all cells, save, and upload this one file. The checks here try a few properties; the marks come from
# other cases. An exercise that you leave out costs its own points only.
#
# As in the lesson: $q$ is fitted to the posterior by making $D_{\mathrm{KL}}(q\,\|\,p)$ small, $\mathrm{ELBO} = \mathbb E_q[\log p(x, z) - \log q(z)]$, and all logarithms are natural.

# %%
from itertools import combinations

import numpy as np
from scipy.special import betaln, digamma, logsumexp, softmax

from course_utils import plots
from course_utils.checks import homework_04 as check

plots.set_style()
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · One ruler for a table (2 points, 10 min)
#
# A latent $z$ has $K$ values, and for the observed $x$ you know $\log p(x, z)$ for each of them. For any $q(z)$ return the ELBO and the gap
# $D_{\mathrm{KL}}(q\,\|\,p(z \mid x))$. $q$ may be zero in places, and the log-joint may be around $-2000$.

# %% exercise="elbo_and_gap" points=2
def elbo_and_gap(log_joint, q):
    """Returns (elbo, gap), two numbers in nats. log_joint: (K,) values of log p(x, z). q: (K,) probabilities, sum 1, zeros allowed."""
    ### BEGIN SOLUTION
    used = q > 0
    elbo = np.sum(q[used] * (log_joint[used] - np.log(q[used])))
    return elbo, logsumexp(log_joint) - elbo
    ### END SOLUTION

# %% check="elbo_and_gap"
check.elbo_and_gap(elbo_and_gap)

# %% [markdown]
# ### The day the cat moved in: exercises 2 to 4
#
# Every morning you count the birds at the feeder. One day, you suspect, a cat moved in next door. Which day?

# %%
birds = np.append(rng.poisson(8.5, 26), rng.poisson(5, 19))
fig = plots.figure(8.5, 2.8)
ax = fig.subplots()
ax.bar(np.arange(1, len(birds) + 1), birds, color="0.8", edgecolor="black", linewidth=0.8)
ax.set(xlabel="day n", ylabel="birds", xlim=(0.2, len(birds) + 0.8), yticks=range(0, max(birds) + 1, 4))
plots.show(fig, alt="Grey columns: birds on each of 45 days, mostly between 5 and 12 in the first half and between 2 and 8 in the second")

# %% [markdown]
# The story: day $n$ has $x_n \sim \mathrm{Poisson}(\lambda_1)$ birds up to and including day $\tau$, and $\mathrm{Poisson}(\lambda_2)$ after it. Both rates have the prior
# $\mathrm{Gamma}(a, b)$ ($b$ a rate), and $\tau$ is uniform on $1, \dots, N-1$. Three latents; the mean field is $q(\lambda_1)\,q(\lambda_2)\,q(\tau)$, and the boxed rule of the lesson says
# $q_j^* \propto \exp \mathbb E_{-j}[\log p(x, \lambda_1, \lambda_2, \tau)]$. Up to constants,
#
# $$\log p(x, \lambda_1, \lambda_2, \tau) = \sum_{n \le \tau}\big(x_n\log\lambda_1 - \lambda_1\big) + \sum_{n > \tau}\big(x_n\log\lambda_2 - \lambda_2\big)
#   + \sum_{k=1}^{2}\big((a-1)\log\lambda_k - b\lambda_k\big) .$$
#
# Nobody tells the factors what shape to have. Collect, on paper, what contains $\lambda_1$, and see which density comes out.
#
# ### 2 · The rates, given a belief about the day (3 points, 20 min)
#
# Given $q(\tau)$, return the shapes $\alpha = (\alpha_1, \alpha_2)$ and rates $\beta = (\beta_1, \beta_2)$ of $q(\lambda_k) = \mathrm{Gamma}(\alpha_k, \beta_k)$. With what probability does day $n$ lie before the change?

# %% exercise="rates_update" points=3
def rates_update(x, r, a, b):
    """Returns (alpha, beta), each of shape (2,): shapes and rates of q(λ₁), q(λ₂).

    x: (N,) counts. r: (N - 1,); r[t - 1] is q(τ = t). a, b: shape and rate of the prior.
    """
    ### BEGIN SOLUTION
    before = np.append(np.cumsum(r[::-1])[::-1], 0.0)       # q(τ >= n) for n = 1, ..., N
    weights = np.array([before, 1 - before])
    return a + weights @ x, b + weights.sum(axis=1)
    ### END SOLUTION

# %% check="rates_update"
check.rates_update(rates_update)

# %% [markdown]
# ### 3 · The day, given beliefs about the rates (3 points, 20 min)
#
# Now the other factor: given $q(\lambda_1)$ and $q(\lambda_2)$, return $q(\tau)$. For $\lambda \sim \mathrm{Gamma}(\alpha, \beta)$ there are two averages to know: $\mathbb E[\lambda] = \alpha/\beta$ and
# $\mathbb E[\log\lambda] = \psi(\alpha) - \log\beta$, with $\psi$ = `digamma`. A year of large counts must not overflow.

# %% exercise="change_update" points=3
def change_update(x, alpha, beta):
    """q(τ = 1), ..., q(τ = N - 1), shape (N - 1,). x: (N,) counts. alpha, beta: (2,) shapes and rates of q(λ₁), q(λ₂)."""
    ### BEGIN SOLUTION
    mean, mean_log = alpha / beta, digamma(alpha) - np.log(beta)
    first, second = (np.cumsum(x * mean_log[k] - mean[k]) for k in (0, 1))
    log_r = first[:-1] + (second[-1] - second[:-1])
    return softmax(log_r)
    ### END SOLUTION

# %% check="change_update"
check.change_update(change_update)

# %% [markdown]
# ### 4 · Round and round (3 points, 15 min)
#
# Start with $q(\tau)$ uniform. One sweep updates the rates from $q(\tau)$, then $q(\tau)$ from the new rates. Return all three after the given number of sweeps.
#
# You may call `rates_update` and `change_update`. If yours are not right, the marker puts the right ones in their place, so you lose nothing twice; the check below, though, runs on yours.

# %% exercise="cavi_change" points=3
def cavi_change(x, a, b, sweeps):
    """Returns (r, alpha, beta) after `sweeps` >= 1 sweeps: q(τ) of shape (N - 1,), and shapes and rates (2,) as above.

    x: (N,) counts. a, b: shape and rate of the prior.
    """
    ### BEGIN SOLUTION
    r = np.full(len(x) - 1, 1 / (len(x) - 1))
    for _ in range(sweeps):
        alpha, beta = rates_update(x, r, a, b)
        r = change_update(x, alpha, beta)
    return r, alpha, beta
    ### END SOLUTION

# %% check="cavi_change"
check.cavi_change(cavi_change)

# %% [markdown]
# Once the check is content, try it on `birds`, say with $a = 2$, $b = 0.25$ and 50 sweeps, in a new cell, and draw $q(\tau)$. The cat came after day 26.
#
# ### 5 · A bell curve on the log-odds (3 points, 20 min)
#
# A coin shows heads with probability $z$, $z \sim \mathrm{Beta}(a, b)$: $p(z) = z^{a-1}(1-z)^{b-1}/B(a, b)$. A certain sequence of tosses had $h$ heads and $t$ tails. A Gaussian on $z$ would
# leave the interval $(0, 1)$, so we put it on $u = \log\frac{z}{1-z}$, as variational packages do. Find Laplace's approximation $\mathcal N(m, s^2)$ of the posterior of $u$. Two steps:
#
# - the density of $u$ is $p(z)\,\frac{dz}{du}$, and you need $\frac{dz}{du}$ in terms of $z$;
# - the mode of the log-joint in $u$ is $m$, and $s^2$ is one over minus its second derivative there.
#
# The area under the bell that Laplace lays over the joint is an approximate evidence: return its logarithm too. (`betaln` is $\log B$.) The result is surprisingly neat.

# %% exercise="laplace_logit" points=3
def laplace_logit(heads, tails, a, b):
    """Returns (m, s2, log_evidence): mean and variance of the Gaussian on u = log(z / (1 - z)), and the approximate log p(x), nats."""
    ### BEGIN SOLUTION
    A, B = a + heads, b + tails
    m, s2 = np.log(A / B), 1 / A + 1 / B
    log_peak = A * np.log(A / (A + B)) + B * np.log(B / (A + B)) - betaln(a, b)
    return m, s2, log_peak + 0.5 * np.log(2 * np.pi * s2)
    ### END SOLUTION

# %% check="laplace_logit"
check.laplace_logit(laplace_logit)

# %% [markdown]
# ### 6 · Which two should share a factor? (2 points, 15 min)
#
# Mean field breaks every tie between the latents. Suppose you may keep *one*: two latents $i < j$ share a factor $q(z_i, z_j)$, all others have their own. The posterior is $\mathcal N(\mu, \Lambda^{-1})$.
# Here is one with four latents. Would you keep the tie with the largest number in the left picture, or in the right one? (It is neither.)

# %%
precision = np.array([[1, -0.6, -0.2, -0.3], [-0.6, 4, 0.6, -0.8], [-0.2, 0.6, 0.25, -0.15], [-0.3, -0.8, -0.15, 1]])
covariance = np.linalg.inv(precision)
sd = np.sqrt(np.diag(covariance))
fig = plots.figure(7, 3)
for ax, table, name in zip(fig.subplots(1, 2), (covariance / np.outer(sd, sd), precision), ("correlations", "precision matrix Λ")):
    ax.imshow(table, cmap="PuOr", vmin=-np.abs(table).max(), vmax=np.abs(table).max(), alpha=0.6)
    for i in range(4):
        for j in range(4):
            ax.text(j, i, f"{table[i, j]:z.2f}", ha="center", va="center")
    ax.set(xticks=range(4), yticks=range(4), title=name)
plots.show(fig, alt="Two tables of 4 by 4 numbers: the correlations of four latents with ones on the diagonal, and their precision matrix")

# %% [markdown]
# The lesson's derivation goes through with a pair in place of a single latent: the best factor of a pair has the $2\times2$ block of $\Lambda$ as its precision matrix, and
# the means are right. Put such a $q$ into $D_{\mathrm{KL}}(q\,\|\,p)$, find what is left of it (only log-determinants), and choose the pair that leaves the smallest gap.

# %% exercise="best_pair" points=2
def best_pair(Lambda):
    """Returns (i, j, gap): the pair i < j, counted from 0, that should share a factor, and the gap KL(q || p) that is left, in nats.

    Lambda: (D, D) precision matrix of the posterior, D >= 2.
    """
    ### BEGIN SOLUTION
    def saved(pair):
        i, j = pair
        return -0.5 * np.log(1 - Lambda[i, j]**2 / (Lambda[i, i] * Lambda[j, j]))

    i, j = max(combinations(range(len(Lambda)), 2), key=saved)
    all_apart = 0.5 * (np.log(np.diag(Lambda)).sum() - np.linalg.slogdet(Lambda)[1])
    return i, j, all_apart - saved((i, j))
    ### END SOLUTION

# %% check="best_pair"
check.best_pair(best_pair)

# %% [markdown] written="it_has_converged" points=4
# ### 7 · Written: "it has converged" (4 points, 20 min)
#
# From a report: "We fitted the Bayesian regression by mean-field CAVI. After 500 sweeps the ELBO changed by less than $10^{-10}$, so our posterior is exact to ten digits. The effects of income and of education,
# which are strongly correlated under the posterior, have the 95 % intervals given in Table 2. A second model without education reached a higher ELBO; hence the data prefer it."
#
# In about twelve sentences: what does the $10^{-10}$ measure and what not? Are the two intervals to be trusted, and in which way are they wrong? What may be concluded from the two ELBOs? And which one check would you ask for before
# the report is printed, and why that one?

# %% [markdown]
# ### Harder, without marks: how sure may one be of the day?
#
# In this model the rates can be integrated out exactly (homework 01, exercise 2, once for the days before $\tau$ and once for those after), so the exact posterior of $\tau$ is a table with $N-1$ entries. Compute it
# for `birds` and lay it over the $q(\tau)$ of exercise 4. Which one is narrower, and why? Compute the ELBO of the mean field and the exact log-evidence, and draw the gap against the size of the
# drop (say from 8.5 birds to 8, 7, 6, …, 1). Is it largest for a small drop, for a large one, or in between?

# %%
