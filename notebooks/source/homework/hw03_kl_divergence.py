# %% [markdown]
# # Homework 03 · KL divergence
#
# 20 points: 16 for six exercises, 4 for one written question. About 2 hours. Needs lesson 03.
#
# Fill in the functions, run the `check` line below each, and type your answer to the question at the end. Before you hand in,
# restart the kernel, run all cells, save, and upload this one file. The checks here try a few properties; the marks come from
# other cases. An exercise that you leave out costs its own points only.
#
# As in the lesson: in $D_{\mathrm{KL}}(p\,\|\,q)$ **the first one draws, both are scored**; logarithms are natural and the unit is the nat, unless bits are asked for.

# %%
import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, gammaln, logsumexp

from course_utils import plots
from course_utils.checks import homework_03 as check

plots.set_style()
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · KL between two gammas (3 points, 20 min)
#
# Waiting times, rates and precisions are positive, and the gamma density is their bell curve: $p(z) = \frac{b^a}{\Gamma(a)}\,z^{a-1}e^{-bz}$ with shape $a$ and *rate* $b$.
# For two Gaussians you needed two facts, and so here. If $z \sim \mathrm{Gamma}(a, b)$, then
#
# $$\mathbb E[z] = \frac ab, \qquad\qquad \mathbb E[\log z] = \psi(a) - \log b ,$$
#
# where $\psi = (\log\Gamma)'$ is `digamma`. Write down both log-densities, subtract, put in the two expectations. The function must work elementwise on arrays.

# %% exercise="kl_gamma" points=3
def kl_gamma(a1, b1, a2, b2):
    """D_KL(Gamma(a1, b1) || Gamma(a2, b2)) in nats, elementwise; a shapes, b rates, all positive."""
    ### BEGIN SOLUTION
    mean, mean_log = a1 / b1, digamma(a1) - np.log(b1)
    constants = a1 * np.log(b1) - gammaln(a1) - a2 * np.log(b2) + gammaln(a2)
    return constants + (a1 - a2) * mean_log - (b1 - b2) * mean
    ### END SOLUTION

# %% check="kl_gamma"
check.kl_gamma(kl_gamma)

# %% [markdown]
# ### 2 · Where does a wrong belief come from? (3 points, 20 min)
#
# In truth the weather $z$ (rows: sun, rain, fog) and the umbrellas in the street $x$ (columns: none, few, many) have the joint table $p(z, x)$; you believe in $q(z, x)$. How much of the KL between the two
# is because you expect the wrong *umbrellas*, and how much because you read the wrong *weather* from them? Start from $\log p(z,x) = \log p(x) + \log p(z \mid x)$, do
# the same for $q$, and show on paper that
#
# $$D_{\mathrm{KL}}\big(p(z,x)\,\|\,q(z,x)\big) = D_{\mathrm{KL}}\big(p(x)\,\|\,q(x)\big) + \sum_x p(x)\, D_{\mathrm{KL}}\big(p(z \mid x)\,\|\,q(z \mid x)\big) .$$
#
# Return all three numbers. (Lesson 05 uses this line in the other direction.) Some outcomes never come: $0\log 0 = 0$.

# %% exercise="kl_parts" points=3
def kl_parts(p, q):
    """(joint, marginal, conditional): the three terms of the equation above, in nats.

    p, q: (Z, X) joint tables, z along the rows and x along the columns, each with the total 1; p may hold zeros, q does not.
    """
    ### BEGIN SOLUTION
    def kl(p, q):
        return np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))

    joint, marginal = kl(p, q), kl(p.sum(axis=0), q.sum(axis=0))
    return joint, marginal, joint - marginal
    ### END SOLUTION

# %% check="kl_parts"
check.kl_parts(kl_parts)

# %% [markdown]
# ### 3 · One letter, which author? (2 points, 10 min)
#
# $K$ authors use the letters of an alphabet with the probabilities $p_1, \dots, p_K$. Author $k$ is picked with probability $w_k$, and one letter of theirs is shown to you.
# How much does it tell you about who wrote it? Whoever knows the author scores $\log p_k(x)$, you score $\log m(x)$ with $m = \sum_k w_k\,p_k$. The average cost of not knowing is the
# **Jensen–Shannon divergence** $\sum_k w_k\,D_{\mathrm{KL}}(p_k\,\|\,m)$. It is symmetric in the authors, and never infinite, even for authors without a common letter. (Why?) Return it in **bits**.

# %% exercise="js_bits" points=2
def js_bits(P, w):
    """Jensen-Shannon divergence in bits. P: (K, D), each row a table that sums to 1, zeros allowed. w: (K,) weights, positive, sum 1."""
    ### BEGIN SOLUTION
    m = w @ P
    ratio = np.where(P > 0, P, 1) / np.where(P > 0, m, 1)
    return w @ np.sum(P * np.log2(ratio), axis=1)
    ### END SOLUTION

# %% check="js_bits"
check.js_bits(js_bits)

# %% [markdown]
# ### 4 · The forward projection onto gammas (3 points, 25 min)
#
# A bus is said to come every ten minutes. Here are 60 waiting times, and how much each passenger counts (those with season tickets were asked less often, so they count more).

# %%
minutes = np.where(rng.uniform(size=60) < 0.6, rng.gamma(6, size=60), 9 + rng.gamma(2, size=60) * 2).round(1) + 0.1
weight = np.where(rng.uniform(size=60) < 0.3, 3.0, 1.0)
weight = weight / weight.sum()
fig = plots.figure(8, 2.6)
ax = fig.subplots()
ax.vlines(minutes, 0, weight, color="black", linewidth=1.5)
ax.plot(minutes, weight, **plots.style("data", markersize=9))
ax.set(xlim=(0, None), ylim=(0, None), xlabel="minutes waited, z", ylabel="weight w")
plots.show(fig, alt="Sixty black pins at waiting times from one to about twenty minutes, of two heights: ordinary passengers and those who count three times")

# %% [markdown]
# Let $p$ be this cloud: the point $z_i$ has probability $w_i$. Which gamma density $q$ makes the forward $D_{\mathrm{KL}}(p\,\|\,q)$ smallest? Only $-\mathbb E_p[\log q(z)]$ depends
# on $q$. The lesson's Gaussians had to match mean and variance. **That was not a law**: it came from the shape of $\log q$. Set the derivatives by $a$ and by $b$ to zero and see
# which two averages a gamma must match. One equation can be solved by hand; for the other there is `brentq`.

# %% exercise="project_gamma" points=3
def project_gamma(z, w):
    """Shape a and rate b of the gamma density with the smallest D_KL(p || q): returns (a, b).

    z: (n,) positive points, not all equal. w: (n,) their probabilities under p, sum 1.
    """
    ### BEGIN SOLUTION
    mean, mean_log = w @ z, w @ np.log(z)
    a = brentq(lambda a: np.log(a) - digamma(a) - (np.log(mean) - mean_log), 1e-3, 1e6)  # where E_q[log z] = E_p[log z]
    return a, a / mean
    ### END SOLUTION

# %% check="project_gamma"
check.project_gamma(project_gamma)

# %% [markdown]
# ### 5 · The reverse projection onto windows (3 points, 20 min)
#
# Now the other direction, in a family so small that one can try everything. The table $p$ has outcomes $0, \dots, K-1$; the family holds the distributions $q_{ij}$ that are uniform on a window
# $i, i+1, \dots, j$ and zero outside.

# %%
p = np.concatenate([[0.01, 0.27, 0.002, 0.002, 0.002], rng.uniform(0.08, 0.12, 7), [0.01]])
p = p / p.sum()
fig = plots.figure(8, 2.6)
ax = fig.subplots()
ax.bar(range(len(p)), p, color=plots.style("posterior")["color"], alpha=0.35, edgecolor="black")
ax.set(xticks=range(len(p)), xlabel="outcome", ylabel="probability p")
plots.show(fig, alt="Thirteen columns: a single tall one at outcome 1, almost nothing at 2 to 4, seven of medium height from 5 to 11")

# %% [markdown]
# Guess first: which window is best for $D_{\mathrm{KL}}(q\,\|\,p)$: the tall column alone, the seven together, or all of them? Then write $D_{\mathrm{KL}}(q_{ij}\,\|\,p)$ for a window of
# $n = j - i + 1$ outcomes (two terms; the first one rewards wide windows, the second punishes improbable outcomes) and try all windows.

# %% exercise="best_window" points=3
def best_window(p):
    """The window with the smallest D_KL(q || p): returns (i, j, kl), first and last outcome inside, and that KL in nats.

    p: (K,) probabilities, sum 1, zeros allowed.
    """
    ### BEGIN SOLUTION
    best = (0, 0, np.inf)
    for i in range(len(p)):
        for j in range(i, len(p)):
            inside = np.asarray(p[i:j + 1])
            if np.all(inside > 0):
                kl = -np.log(len(inside)) - np.mean(np.log(inside))
                best = min(best, (i, j, kl), key=lambda window: window[2])
    return best
    ### END SOLUTION

# %% check="best_window"
check.best_window(best_window)

# %% [markdown]
# ### 6 · Forward KL from draws of the wrong one (2 points, 15 min)
#
# In practice one can draw from $q$, not from $p$, and knows $p$ only up to a constant: $p(x) = \tilde p(x)/Z$. (A posterior is the joint divided by an unknown evidence.) Still, the forward KL can be
# estimated. With draws $x_1,\dots,x_S \sim q$:
#
# $$\hat Z = \frac1S\sum_s \frac{\tilde p(x_s)}{q(x_s)}, \qquad w_s \propto \frac{\tilde p(x_s)}{q(x_s)},\ \sum_s w_s = 1, \qquad
# \widehat{D_{\mathrm{KL}}}(p\,\|\,q) = \sum_s w_s \big(\log \tilde p(x_s) - \log\hat Z - \log q(x_s)\big) .$$
#
# Here $\log\tilde p$ may be around $-3000$, so mind the lesson about `exp`. When you are done, simplify the estimate on paper until only the weights and $S$ are left in it: it
# can never be above $\log S$. If the true KL is 20 nats, how many draws would it take even to *say* so?

# %% exercise="forward_from_q" points=2
def forward_from_q(log_p, log_q):
    """Estimate of D_KL(p || q) in nats from draws of q, a number.

    log_p, log_q: (S,) log p̃ (p's density times an unknown constant) and log q at S draws of q, finite.
    """
    ### BEGIN SOLUTION
    ratio = log_p - log_q
    log_w = ratio - logsumexp(ratio)
    return np.sum(np.exp(log_w) * (log_w + np.log(len(log_w))))
    ### END SOLUTION

# %% check="forward_from_q"
check.forward_from_q(forward_from_q)

# %% [markdown] written="two_peaks" points=4
# ### 7 · Written: two peaks (4 points, 20 min)
#
# The posterior of a patient's drug clearance has two peaks far apart: a tall and narrow one with 20 % of the probability, and a low and broad one with 80 %. A colleague fits a single Gaussian $q$
# by minimising $D_{\mathrm{KL}}(q\,\|\,p)$, knowing $p$ only up to its constant, and reports from $q$ the probability that the clearance is in the region of the tall peak.
#
# In about twelve sentences: where does her $q$ end up, and about how large is its KL? Where would the $q$ of the forward direction be? What goes wrong with the probability she reports, in either direction? And will
# the value of the objective that she has minimised warn her?

# %% [markdown]
# ### Harder, without marks: a true distance
#
# The square root of the Jensen–Shannon divergence (with two equal weights) obeys the triangle inequality; the divergence itself does not. Find three tables over two outcomes for which the divergence from the first to the third is
# larger than the sum of the two steps, and draw, for $p = (t, 1-t)$, the curves of KL in both directions, of JS, and of $\sqrt{\mathrm{JS}}$ from $(\tfrac12,\tfrac12)$ as functions of $t$. Which of them are finite at the
# ends? Then try to prove that the root is a metric for two outcomes (hard), or read how it is done: D. Endres, J. Schindelin, *A New Metric for Probability Distributions*, 2003.

# %%
