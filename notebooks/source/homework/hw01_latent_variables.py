# %% [markdown]
# # Homework 01 · Latent variables
#
# 20 points: 16 for six exercises, 4 for one written question. About 2 hours. Needs lesson 01.
#
# Fill in the functions, run the `check` line below each, and type your answer to the question at the end. Before you hand in,
# restart the kernel, run all cells, save, and upload this one file. The checks here try a few properties; the marks come from
# other cases. An exercise that you leave out costs its own points only.
#
# As in the lesson: $z$ is latent, $x$ is observed, logarithms are natural, and a number called sd is a standard deviation.

# %%
import numpy as np
from scipy.special import gammaln, logsumexp

from course_utils import plots
from course_utils.checks import homework_01 as check

plots.set_style()
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · Which die? (3 points, 15 min)
#
# A bag holds dice with different numbers of sides; a die with $s_k$ sides shows $1, \dots, s_k$ with equal probability. One is drawn with
# probability $p(z = k)$ and rolled $n$ times. You hear the rolls $x$, not which die it was. Return the posterior
# $p(z \mid x)$ and the logarithm of the evidence of this very sequence.
#
# Two things are different from the coins of the lesson. A roll can *rule out* a die. And raffle wheels are dice
# too: with a thousand fields and hundreds of spins, $p(x)$ is far below the smallest number that a computer can hold, so stay with logarithms
# (`logsumexp` is imported).

# %% exercise="which_die" points=3
def which_die(rolls, sides, prior):
    """Which die was it? Returns (posterior, log_evidence): p(z | x) of shape (K,), and the number log p(x) in nats.

    rolls: (n,) whole numbers from 1. sides: (K,) numbers of sides. prior: (K,) probabilities of the dice, all positive.
    At least one die can show all the rolls.
    """
    ### BEGIN SOLUTION
    possible = np.max(rolls) <= np.asarray(sides)
    log_joint = np.where(possible, np.log(prior) - len(rolls) * np.log(sides), -np.inf)
    log_evidence = logsumexp(log_joint)
    return np.exp(log_joint - log_evidence), log_evidence
    ### END SOLUTION

# %% check="which_die"
check.which_die(which_die)

# %% [markdown]
# ### 2 · Counts with an unknown rate (3 points, 25 min)
#
# A night watchman counts shooting stars, one number $x_n$ for each of $N$ hours. Nobody knows how busy the sky is tonight: the rate $z$ (stars an
# hour) is latent, and is the same for all hours of the night.
#
# $$z \sim \mathrm{Gamma}(a, b):\; p(z) = \frac{b^a}{\Gamma(a)}\, z^{a-1} e^{-bz}, \qquad x_n \mid z \sim \mathrm{Poisson}(z):\; p(x_n \mid z) = \frac{z^{x_n} e^{-z}}{x_n!} .$$
#
# Here are five nights with $a = 4$, $b = 0.5$. Within a night the counts are alike, from night to night they are not: that is what the latent does.

# %%
nights = [rng.poisson(z, size=8) for z in rng.gamma(4, size=5) / 0.5]
fig = plots.figure(8, 2.8)
ax = fig.subplots()
for i, counts in enumerate(nights):
    ax.plot(i + np.linspace(-0.3, 0.3, 8), counts, **plots.style("data", markersize=9))
    ax.plot([i - 0.35, i + 0.35], [counts.mean()] * 2, color="0.5", linewidth=1.5)
ax.set(xticks=range(5), xticklabels=[f"night {i + 1}" for i in range(5)], ylabel="shooting stars an hour", ylim=(-0.7, None))
plots.show(fig, alt="Counts of eight hours in each of five nights: within a night they scatter around a grey line, the night's mean, "
                    "and the lines lie at different heights")

# %% [markdown]
# *Add up over $z$.* Multiply the prior by all $N$ likelihoods, collect the powers of $z$ and the exponentials, and you will recognise
# the shape of another gamma density. Its integral is known, because every density has the integral 1. (Your formula must also survive large counts: `gammaln` is
# $\log\Gamma$, and $x! = \Gamma(x + 1)$.)

# %% exercise="log_evidence_counts" points=3
def log_evidence_counts(x, a, b):
    """log p(x_1, ..., x_N) in nats of N counts that share one latent rate. A number.

    x: (N,) whole numbers from 0. a, b: shape and rate of the gamma prior, positive (its mean is a / b).
    """
    ### BEGIN SOLUTION
    x = np.asarray(x)
    a_new, b_new = a + x.sum(), b + len(x)
    log_gamma_integral = gammaln(a_new) - a_new * np.log(b_new)
    return a * np.log(b) - gammaln(a) + log_gamma_integral - gammaln(x + 1).sum()
    ### END SOLUTION

# %% check="log_evidence_counts"
check.log_evidence_counts(log_evidence_counts)

# %% [markdown]
# ### 3 · Several thermometers (3 points, 15 min)
#
# The temperature $z$ of a room is latent. Beforehand you believe $z \sim \mathcal N(m_0, s_0^2)$. Thermometer $n$ is read once, and thermometers differ in quality:
# $x_n \mid z \sim \mathcal N(z, s_n^2)$, independent given $z$. The posterior is a normal density again. Write the exponent of the joint as a quadratic in $z$,
# read off its mean and its sd, and return them.

# %% exercise="combine" points=3
def combine(x, s, m0, s0):
    """Posterior of z: returns (mean, sd), two numbers in the unit of x.

    x: (N,) readings. s: (N,) their sds. m0, s0: mean and sd of the prior.
    """
    ### BEGIN SOLUTION
    x, precisions = np.asarray(x), 1 / np.asarray(s)**2
    precision = 1 / s0**2 + precisions.sum()
    return (m0 / s0**2 + precisions @ x) / precision, precision**-0.5
    ### END SOLUTION

# %% check="combine"
check.combine(combine)

# %% [markdown]
# ### 4 · Tell the story (2 points, 10 min)
#
# A latent variable model is a story: *first $z$, then $x$*. A computer tells it forwards, which is called **ancestral sampling**. For a mixture of $K$
# normal densities with weights $w_k$, means $\mu_k$ and sds $\sigma_k$:
#
# - $u_n$ is uniform on $[0, 1)$. Cut $[0, 1)$ from left to right into $K$ stretches of lengths $w_0, w_1, \dots$; then $z_n$ is the number of the stretch that holds $u_n$
#   (a stretch owns its left end, not its right one);
# - $e_n$ is standard normal, and $x_n = \mu_{z_n} + \sigma_{z_n} e_n$.
#
# The random numbers are given to you, so that everybody can agree on the answer.

# %% exercise="tell_story" points=2
def tell_story(u, e, weights, means, sds):
    """Turn random numbers into a mixture's draws. Returns (z, x), each (N,); z holds whole numbers from 0.

    u: (N,) in [0, 1). e: (N,) standard normal. weights (sum to 1), means, sds: (K,).
    """
    ### BEGIN SOLUTION
    right_ends = np.cumsum(weights)[:-1]
    z = (np.asarray(u)[:, None] >= right_ends).sum(axis=1)
    return z, np.asarray(means)[z] + np.asarray(sds)[z] * e
    ### END SOLUTION

# %% check="tell_story"
check.tell_story(tell_story)

# %% [markdown]
# ### 5 · Count the free numbers (2 points, 10 min)
#
# Sequences of $T$ letters (or notes, or amino acids) from an alphabet of $V$. How many free numbers does each of these models have?
#
# - `"table"`: a probability for every possible sequence;
# - `"chain"`: probabilities of the first letter, and probabilities of the next letter given the one before, the same at every step;
# - `"hidden"`: nobody sees a chain of $K$ latent states that moves in that same way; at every step the state, and it alone, draws the letter. Each state has its own
#   probabilities of letters, the same at every step.

# %% exercise="free_numbers" points=2
def free_numbers(kind, V, T, K):
    """How many numbers can be chosen freely? kind: "table", "chain" or "hidden". V letters, length T >= 1, K states. A whole number."""
    ### BEGIN SOLUTION
    if kind == "table":
        return V**T - 1
    if kind == "chain":
        return (V - 1) + V * (V - 1)
    return (K - 1) + K * (K - 1) + K * (V - 1)
    ### END SOLUTION

# %% check="free_numbers"
check.free_numbers(free_numbers)

# %% [markdown]
# ### 6 · The lighthouse (3 points, 25 min)
#
# Somewhere off a straight coast, $d$ kilometres out at sea, a lighthouse turns and flashes at random moments. Detectors along the coast note where
# each flash lands, $x_n$, but not from which direction. Where along the coast, $z$, does the lighthouse stand? (The puzzle is due to Stephen Gull.)

# %%
z_true, d_true = rng.uniform(-4, 4), 1.5
angle = rng.uniform(-np.pi / 2, np.pi / 2, size=2000)
flashes = z_true + d_true * np.tan(angle)
n = np.arange(1, len(flashes) + 1)

fig = plots.figure(8.5, 3.2)
left, right = fig.subplots(1, 2, width_ratios=(1.3, 1))
for x in flashes[:40]:
    left.plot([z_true, x], [d_true, 0], color=plots.ORANGE, linewidth=0.7)
left.plot(flashes[:40], 0 * flashes[:40], **plots.style("data", markersize=8))
left.plot(z_true, d_true, "^", color="black", markersize=12)
left.set(xlim=(-12, 12), ylim=(-0.2, 2), xlabel="along the coast, km", ylabel="out at sea, km", title="Forty flashes")
right.plot(n, np.cumsum(flashes) / n, color=plots.BLUE, linewidth=2)
right.axhline(z_true, **plots.style("evidence", linewidth=1.5))
right.set(xscale="log", ylim=(-12, 12), xlabel="number of flashes", ylabel="km", title="Their mean never settles")
plots.show(fig, alt="Left: rays from a lighthouse to black dots along the coast, crowded near its foot, some far away. Right: the mean of the "
                    "first n flashes jumps again and again, while a black line marks the lighthouse")

# %% [markdown]
# The mean of the flashes is useless, even of 2000: every now and then a flash goes almost along the coast and lands kilometres away, and the mean jumps. The
# posterior has no such trouble. The angle $\theta$ of a flash that hits the coast is uniform on $(-\tfrac\pi2, \tfrac\pi2)$, so it has the density $1/\pi$, and the flash lands at
# $x = z + d\tan\theta$. A density moves from $\theta$ to $x$ by
#
# $$p(x \mid z) = p(\theta)\,\left|\frac{d\theta}{dx}\right|, \qquad \theta = \arctan\frac{x - z}{d} .$$
#
# Work that derivative out. The prior is uniform over the range of the grid. Given $z$ and the known $d$, flashes are independent. Return the posterior density on the grid
# and the log-evidence, by the trapezoid rule as `bow_posterior` did in the lesson; hundreds of flashes must not underflow.

# %% exercise="lighthouse" points=3
def lighthouse(x, z, d):
    """Where is it? Returns (posterior, log_evidence): the density p(z | x) on the grid, shape (G,), and log p(x), a number.

    x: (N,) where the flashes landed, km. z: (G,) evenly spaced grid, km; the prior is uniform from z[0] to z[-1]. d: km, positive.
    """
    ### BEGIN SOLUTION
    x = np.asarray(x)[:, None]
    log_likelihood = (np.log(d / np.pi) - np.log(d**2 + (x - z)**2)).sum(axis=0)
    log_joint = log_likelihood - np.log(z[-1] - z[0])
    top = log_joint.max()
    log_evidence = top + np.log(np.trapezoid(np.exp(log_joint - top), z))
    return np.exp(log_joint - log_evidence), log_evidence
    ### END SOLUTION

# %% check="lighthouse"
check.lighthouse(lighthouse)

# %% [markdown] written="what_is_a_segment" points=4
# ### 7 · Written: what is a segment? (4 points, 20 min)
#
# Two analysts fit the same latent class model with $K = 4$ to the same purchases of 50 000 customers. Both reach the same $\log p(x)$ for every customer, to all digits. The first
# reports: "We have discovered the four kinds of customers that exist. Kind 1 is the bargain hunter." The second finds the same customers
# in her class 3, and says that with more data one of the two would turn out to be right.
#
# In about ten sentences: what is wrong with each statement, could any amount of such data settle it, what may the analysts truthfully say that their $z$ is, and what (in the fits or outside them)
# could give a class a meaning?

# %% [markdown]
# ### Harder, without marks: how far out?
#
# Let $d$ be unknown as well, with a uniform prior from 0.2 to 5 km. Compute the joint posterior of $(z, d)$ on a two-dimensional grid for the first 5, 20 and 100 of `flashes`, and
# draw it with `plots.contours`. For very few flashes the posterior of $d$ has a surprise: with a single one, where does it push $d$, and
# why? Then sum out $d$ and compare the posterior of $z$ with the one for the known $d$. What did not knowing $d$ cost?

# %%
