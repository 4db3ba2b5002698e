# %% [markdown]
# # 00 · Start here: fit a posterior by hand
#
# **The question of this lesson:** can a simple curve stand in for a complicated one, and how would you know that it does?
#
# After this lesson you will be able to
# 1. move a simple distribution onto a posterior and say, in one number, how good the fit is;
# 2. read a density, a log-density and an entropy, and convert nats to bits;
# 3. explain why a density may be larger than 1 and an entropy smaller than 0;
# 4. average numbers that are too small for a computer, with the log-mean-exp trick;
# 5. get a gradient from PyTorch and check it with finite differences;
# 6. run an exercise check and use what it tells you.
#
# **Needs:** a little probability and Python. **Takes** about 30 minutes: by hand 8 · densities 8 · small numbers 8 · gradients 6.
#
# How to read: run a cell with <kbd>Shift</kbd>+<kbd>Enter</kbd>, or everything with *Run › Run All Cells*. No network, GPU or account is needed.

# %%
import numpy as np
from scipy.optimize import minimize

from course_utils import plots
from course_utils.checks import lesson_00 as check
from course_utils.explore import explore
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()

# %% [markdown]
# ## 1 · Sixty seconds of variational inference
#
# Players have a strength $z$ that nobody sees. In the whole population it follows a bell curve, $z \sim \mathcal N(0, 1)$. A player of
# strength $z$ wins a game with probability $1 / (1 + e^{-4z})$. You have seen one player win **one** game. What do you now believe about $z$?
#
# The answer is the **posterior** $p(z \mid x)$: blue in the picture, and not a bell curve, because a win all but rules out a weak player.
# We would like to work with a bell curve all the same. Drag the vermillion, dashed $q(z)$ until it fits.
# The purple, hatched end of the ruler is what your fit still misses. Make it as short as you can.

# %%
z = np.linspace(-10, 10, 4001)
log_joint = -z**2 / 2 - np.log(2 * np.pi) / 2 - np.logaddexp(0, -4 * z)  # log of: prior × probability to win
log_evidence = np.log(np.trapezoid(np.exp(log_joint), z))  # log of: how probable the win was
log_posterior = log_joint - log_evidence


def misfit(mu, log_sigma):
    """How far q = N(mu, sigma²) is from the posterior: the mean of log q − log p under q, in nats (a sum on a grid)."""
    log_q = -((z - mu) / np.exp(log_sigma))**2 / 2 - log_sigma - np.log(2 * np.pi) / 2
    return np.trapezoid(np.exp(log_q) * (log_q - log_posterior), z)


print(f"before the game, a win had probability {np.exp(log_evidence):.3f}; its logarithm is {log_evidence:.3f}")


# %%
def fit_by_hand(fig):
    above, below = fig.subplots(2, 1, height_ratios=[4, 1])
    plots.curve(above, z, np.exp(log_posterior), "posterior")
    plots.label(above, 1.45, 0.42, "posterior p(z | x)", "posterior")
    plots.label(above, -2.9, 0.95, "your q(z)", "q")
    q = plots.curve(above, z, 0 * z, "q")
    above.set(xlim=(-3, 4), ylim=(0, 1.1), xlabel="strength z", ylabel="density")
    ruler = plots.ruler(below, -2.2, -0.5)

    def update(mu=0.0, log_sigma=0.0):
        q.set(np.exp(-((z - mu) / np.exp(log_sigma))**2 / 2 - log_sigma) / np.sqrt(2 * np.pi))
        miss = misfit(mu, log_sigma)
        ruler.set(log_evidence, log_evidence - miss)
        return f"your q misses {miss:.3f} nats   (σ = {np.exp(log_sigma):.2f})"

    return update


explore(fit_by_hand, mu=(-2, 2, 0.05), log_sigma=(-1.5, 0.5, 0.05),
        alt="A lopsided posterior with a dashed bell curve q over it; below, a ruler whose hatched end shows what q misses")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Near $\mu = 0.7$, $\log\sigma = -0.4$ almost nothing is missing, yet the hatched end never quite vanishes: no bell curve has the posterior's steep
# left side. The right end of the ruler never moves, whatever you do to $q$. Both facts carry the whole course.
#
# </details>
#
# What you read off is the **Kullback–Leibler divergence** from your $q$ to the posterior (lesson 03). Making it small by moving $q$ is
# **variational inference** (lesson 04), the filled part of the ruler is the **ELBO** (lesson 05), and a network that guesses $\mu$ and
# $\sigma$ for every $x$ is half of a **variational autoencoder** (lesson 06). Now let the machine drag:

# %%
best = minimize(lambda v: misfit(*v), x0=[0.0, 0.0])
print(f"machine: mu = {best.x[0]:.2f}, log sigma = {best.x[1]:.2f}, sigma = {np.exp(best.x[1]):.2f}, misses {best.fun:.4f} nats")
print(f"by hand, at mu = 0.70 and log sigma = -0.40: misses {misfit(0.7, -0.4):.4f} nats")

# %% [markdown]
# ## 2 · Densities, logarithms and nats
#
# The normal density with mean $\mu$ and **standard deviation** $\sigma$ (in this course $\sigma$ is never a variance) is
#
# $$\mathcal N(x \mid \mu, \sigma^2) = \frac{1}{\sigma\sqrt{2\pi}} \exp\Big(-\frac{(x-\mu)^2}{2\sigma^2}\Big).$$
#
# We nearly always work with its natural logarithm; what it measures is then in **nats**. The same formula in code:

# %%
def log_normal(x, mu, sigma):
    """log N(x | mu, sigma²), elementwise with broadcasting, in nats; sigma > 0 is a standard deviation."""
    return -0.5 * ((x - mu) / sigma)**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)


grid = np.linspace(-8, 8, 100_001)
for sigma in (1.0, 0.1):
    area = np.trapezoid(np.exp(log_normal(grid, 0.0, sigma)), grid)
    print(f"sigma = {sigma}: highest density {np.exp(log_normal(0.0, 0.0, sigma)):.3f}, area {area:.3f}")

# %% [markdown]
# **Predict before you move.** Every lesson asks you to commit to an answer first; being wrong is how the picture becomes memorable.
# You will then find your answer in the picture as a hollow orange diamond. The sliders wait for you.

# %%
peak = predict(r"How high does the density of $\mathcal N(0, \sigma^2)$ rise at $\sigma = 0.05$?",
               {"to 0.05": 0.05, "to 0.4": 0.4, "to 1: no probability is larger": 1.0, "to about 8": 8.0})
peak


# %%
def one_area(fig):
    ax = fig.subplots()
    x = np.linspace(-3, 3, 1201)
    curve = plots.curve(ax, x, 0 * x, "posterior")
    mark = plots.prediction(ax)
    ax.axhline(1, color="0.4", linewidth=0.8)
    plots.label(ax, -2.95, 1.15, "density = 1", "prior")
    ax.set(xlim=(-3, 3), ylim=(0, 8.5), xlabel="x", ylabel="density", title="The filled area is 1 for every σ")

    def update(sigma=1.0, prediction=None):
        curve.set(np.exp(log_normal(x, 0.0, sigma)))
        mark.set(prediction and 0.0, prediction)
        entropy = 0.5 * np.log(2 * np.pi * np.e * sigma**2)
        return (f"highest density {np.exp(log_normal(0.0, 0.0, sigma)):.3f}   entropy {entropy:+.3f} nats = "
                f"{entropy / np.log(2):+.3f} bits")

    return update


explore(one_area, sigma=(0.05, 2.0, 0.05), predict=peak,
        alt="A normal density around zero with its area filled; a line marks density 1, which narrow densities exceed")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# At $\sigma = 0.05$ the density rises to about 8. Only areas are probabilities, and a narrow curve must be high to keep its area at 1.
# Its **entropy** $\tfrac12\log(2\pi e\sigma^2)$ is negative as soon as the curve is narrower than $\sigma \approx 0.242$.
#
# </details>
#
# **Two common misconceptions**, each refuted by a number: "a density is at most 1" and "an entropy is never negative".

# %%
def entropy_normal(sigma):
    """Differential entropy of N(mu, sigma²) in nats: the mean of −log density. Shape as sigma."""
    return 0.5 * np.log(2 * np.pi * np.e * sigma**2)


density = np.exp(log_normal(grid, 0.0, 0.1))
by_area = np.trapezoid(-density * log_normal(grid, 0.0, 0.1), grid)
print(f"density of N(0, 0.1²) at 0: {np.exp(log_normal(0.0, 0.0, 0.1)):.3f}, larger than 1")
print(f"entropy of N(0, 0.1²): formula {entropy_normal(0.1):.4f}, by area {by_area:.4f}, smaller than 0")
print(f"entropy is zero at sigma = {1 / np.sqrt(2 * np.pi * np.e):.3f}; 1 nat = {1 / np.log(2):.3f} bits")

# %% [markdown]
# ### Exercise 0.1 · Nats to bits ●○○ · 2 min
#
# Counting in nats uses $\log$, counting in bits uses $\log_2$. Write the conversion; it should work for arrays too.

# %% exercise="nats_to_bits"
def nats_to_bits(nats):
    """The same amount of information in bits. `nats`: number or array; returns the same shape."""
    ### BEGIN SOLUTION
    return nats / np.log(2)
    ### END SOLUTION

# %% [markdown]
# Run the check before you write anything, and read its line. Then write your answer, run its cell, and run the check again.

# %% check="nats_to_bits"
check.nats_to_bits(nats_to_bits)

# %% [markdown]
# ## 3 · Numbers too small for a computer
#
# A picture of 784 pixels easily has probability $e^{-1000}$. A computer's smallest positive number is about $e^{-745}$; anything below **is** zero, and its
# logarithm is $-\infty$. The mean of such probabilities is still perfectly good, if we factor out the largest one first:
#
# $$\log \frac1n\sum_{i=1}^n e^{a_i} \;=\; m + \log\frac1n\sum_{i=1}^n e^{a_i - m}, \qquad m = \max_i a_i .$$

# %%
with np.errstate(divide="ignore", over="ignore"):
    for m in (-10.0, -1000.0, 1000.0):
        print(f"a = ({m:.0f}, {m - 1:.0f}): naive log mean exp = {np.log(np.mean(np.exp([m, m - 1.0]))):.4f}")

# %%
breaks = predict(r"Let $a = (m, m - 1)$ and move $m$ down from 0. Where does the naive $\log\frac12(e^{m} + e^{m-1})$ break first?",
                 {"near m = −16, at 16 digits": -16.0, "near m = −100": -100.0, "near m = −745": -745.0, "never": None})
breaks


# %%
def too_small(fig):
    ax = fig.subplots()
    all_m = np.arange(-1000.0, 1001.0, 5.0)
    with np.errstate(divide="ignore", over="ignore"):
        naive_line = np.log((np.exp(all_m) + np.exp(all_m - 1)) / 2)
    ax.plot(all_m, all_m + np.log((1 + np.exp(-1)) / 2), **plots.style("posterior"))
    (visited,) = ax.plot([], [], **plots.style("q", linewidth=4))
    plots.label(ax, -950, -480, "with the largest\nfactored out", "posterior")
    plots.label(ax, 100, -180, "naive, as far as you have been\nand where it exists", "q")
    (here,) = ax.plot([], [], marker="o", markersize=10, color="black")
    mark = plots.prediction(ax)
    ax.set(xlim=(-1050, 1050), ylim=(-1050, 1050), xlabel="m", ylabel="log mean exp of (m, m − 1)")

    def update(m=0, prediction=None):
        exact = m + np.log((1 + np.exp(-1)) / 2)
        here.set_data([m], [exact])
        seen = (np.abs(all_m) <= max(abs(m), 20)) & np.isfinite(naive_line)
        visited.set_data(all_m[seen], naive_line[seen])
        mark.set(prediction, prediction)
        with np.errstate(divide="ignore", over="ignore"):
            naive = np.log((np.exp(float(m)) + np.exp(m - 1.0)) / 2)
        return f"naive {naive:.3f}   with the largest factored out {exact:.3f}"

    return update


explore(too_small, m=(-1000, 1000, 5), predict=breaks,
        alt="Two straight lines that agree in the middle; the naive one ends near minus 745 and plus 710")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The naive line ends near $m = -745$ on the left and just below $m = 710$ on the right; the other one never ends.
#
# </details>

# %%
print(f"smallest positive number: e^{np.log(np.nextafter(0, 1)):.1f}; largest: e^{np.log(np.finfo(float).max):.1f}")

# %% [markdown]
# ### Exercise 0.2 · Log-mean-exp ●○○ · 5 min
#
# Write the right-hand side of the equation above. With `axis=None` it averages over everything, else over one axis.

# %% exercise="log_mean_exp"
def log_mean_exp(a, axis=None):
    """log of the mean of exp(a) without overflow, in nats. `a`: array; averages over `axis` (all of it if None)."""
    ### BEGIN SOLUTION
    m = np.max(a, axis=axis, keepdims=True)
    return np.squeeze(m, axis=axis) + np.log(np.mean(np.exp(a - m), axis=axis))
    ### END SOLUTION

# %% check="log_mean_exp"
check.log_mean_exp(log_mean_exp)

# %% [markdown]
# ## 4 · Gradients, and how to trust them
#
# Learning means following a gradient. PyTorch computes it from the code of the function; a **finite difference** needs only two values of the function:
#
# $$f'(x) \approx \frac{f(x + h) - f(x - h)}{2h}.$$
#
# Two independent ways to one number: this course checks everything like that. Here, $\frac{\partial}{\partial\mu}\log\mathcal N(x\mid\mu,\sigma^2) = (x-\mu)/\sigma^2$.

# %%
import torch

mu = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
torch.distributions.Normal(mu, 2.0).log_prob(torch.tensor(3.0, dtype=torch.float64)).backward()
h = 1e-5
difference = (log_normal(3.0, 0.5 + h, 2.0) - log_normal(3.0, 0.5 - h, 2.0)) / (2 * h)
print(f"autograd {mu.grad:.6f}   finite difference {difference:.6f}   formula {(3.0 - 0.5) / 2.0**2:.6f}")

# %% [markdown]
# ### Exercise 0.3 · Finite difference ●○○ · 4 min
#
# Write the two-sided difference above. Why two-sided? Its error shrinks with $h^2$, that of the one-sided one only with $h$; the check can tell.

# %% exercise="finite_difference"
def finite_difference(f, x, h=1e-4):
    """Two-sided finite-difference derivative of the function `f` at the number `x`, with step `h`."""
    ### BEGIN SOLUTION
    return (f(x + h) - f(x - h)) / (2 * h)
    ### END SOLUTION

# %% check="finite_difference"
check.finite_difference(finite_difference)

# %% [markdown]
# **One step harder (not checked).** Turn `misfit` into a function of two numbers and follow its finite-difference gradient downhill in steps of 0.2, from
# $\mu = 0$, $\log\sigma = 0$. How many steps until it misses less than twice what the machine misses? You have then written a variational inference engine.
#
# ## Recap
#
# **Short.** A simple $q$ can stand in for a posterior, and one number, in nats, says how much it misses. We compute with logarithms, and check every number in a second way.
#
# **Standard.** Seeing data turns a prior into a posterior, which rarely has a handy shape. We choose $q$ from a handy family and move its parameters until the
# divergence from $q$ to the posterior is smallest. Densities are heights, not probabilities: they may exceed 1, and their entropy may be negative. Products of many small
# probabilities leave the range of a computer, so we add logarithms and average with log-mean-exp. Gradients come from autograd and are trusted after a finite-difference check.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $\log\mathcal N(x\mid\mu,\sigma^2) = -\tfrac12(\tfrac{x-\mu}{\sigma})^2 - \log\sigma - \tfrac12\log 2\pi$ | log-density; $\sigma$ is a standard deviation |
# | $\mathrm H[\mathcal N(\mu,\sigma^2)] = \tfrac12\log(2\pi e\sigma^2)$ | differential entropy in nats; any sign |
# | $\log\tfrac1n\sum_i e^{a_i} = m + \log\tfrac1n\sum_i e^{a_i-m}$ | log-mean-exp, $m = \max_i a_i$ |
# | $f'(x) \approx (f(x+h)-f(x-h))/2h$ | two-sided finite difference |
#
# **Memory aid.** *Area is probability, height is not.* And: *largest out first, then exp.*
#
# **Key terms.** prior · posterior · density · nat · entropy · log-mean-exp · finite difference · autograd

# %%
flash_cards(0)

# %%
quiz("00_start_here")

# %%
dialogue([
    ("Student", "I moved the dashed curve until the picture looked good. Is that already inference?"),
    ("Teacher", "It is, once you can say how good. What did the number under the sliders say?"),
    ("Student", "About two hundredths of a nat. I suppose with more patience I would reach zero."),
    ("Teacher", "Try. What would your curve have to look like at zero?"),
    ("Student", "Exactly like the blue one. But the blue one has a steep left side, and mine is a bell. So it cannot."),
    ("Teacher", "So two hundredths is not your lack of patience. It is the price of the family you chose."),
    ("Student", "And the right end of the ruler stayed where it was, all the time."),
    ("Teacher", "Keep that in mind. Lesson five is nothing but that sentence."),
])

# %% [markdown]
# ## How the notation works
#
# | symbol | meaning |
# |-|-|
# | $x$ · $z$ | what we observe (data) · what we do not (latent variable) |
# | $p(z)$, $p(x\mid z)$, $p(z\mid x)$, $p(x)$ | prior, likelihood, posterior, evidence |
# | $q(z)$ | the approximation to the posterior |
# | $\theta$ · $\varphi$ | parameters of the model (decoder) · of the approximation (encoder) |
# | $D_{\mathrm{KL}}(q\,\|\,p)$ | Kullback–Leibler divergence: the mean of $\log q - \log p$ under its first argument |
# | $\sigma$, $\log\sigma$, `logvar` | standard deviation, its logarithm, and $\log\sigma^2$ |
#
# **References.** D. Blei, A. Kucukelbir, J. McAuliffe, *Variational Inference: A Review for Statisticians*, JASA 2017. ·
# D. Kingma, M. Welling, *An Introduction to Variational Autoencoders*, Foundations and Trends in Machine Learning 2019.
#
# **Next:** [01 · Latent variables](01_latent_variables.ipynb), where the posterior comes from.

# %% [markdown] solutions
# ## Solutions
