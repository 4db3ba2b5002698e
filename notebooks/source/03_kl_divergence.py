# %% [markdown]
# # 03 · KL divergence
#
# **The question of this lesson: what does it cost to believe $q$ when the truth is $p$, and why does the answer change
# when the two change places?**
#
# After this lesson you will be able to
#
# 1. *compute* the KL divergence between two Gaussians, by hand and on a grid, in both directions;
# 2. *disprove* "KL is a distance" with three Gaussians;
# 3. *predict* from two supports which direction is infinite;
# 4. *derive* that the best Gaussian under forward KL has the mean and the variance of $p$;
# 5. *predict* when the best Gaussian under reverse KL covers two modes, when it sits on one of them, and on which;
# 6. *choose* among three ways to estimate KL from samples, by their bias and their spread.
#
# Needs lesson 00 (log densities, nats) and lesson 01 (integrals on a grid, the Bow).
#
# | section | minutes, with its exercises |
# |-|-|
# | 1 · The cost of a wrong belief | 10 |
# | 2 · Two Gaussians, two directions | 35 |
# | 3 · Not a distance; not a matter of units | 20 |
# | 4 · The best Gaussian depends on who comes first | 20, and 15 for the optional exercise |
# | 5 · Which mode? | 8 |
# | 6 · KL from samples | 20 |
# | Recap, cards, quiz, conversation | 12 |

# %%
import numpy as np
import torch
import torch.distributions as td
from matplotlib.colors import BoundaryNorm
from scipy.optimize import minimize

from course_utils import models, plots
from course_utils.checks import lesson_03 as check
from course_utils.explore import explore
from course_utils.models import log_normal
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
rng = np.random.default_rng(3)

# %% [markdown]
# ## 1 · The cost of a wrong belief
#
# A machine prints the letters A, B, C, D with probabilities $p = (\tfrac12, \tfrac14, \tfrac18, \tfrac18)$. You have never
# seen it at work and believe that all four are equally likely: $q = (\tfrac14, \tfrac14, \tfrac14, \tfrac14)$.
# Now it prints 400 letters. Look at them first.

# %%
p, q = np.array([1/2, 1/4, 1/8, 1/8]), np.full(4, 1/4)
letters = rng.choice(4, size=400, p=p)

fig = plots.figure(7, 2.8)
ax = fig.subplots()
ax.bar(range(4), p, width=0.7, color=plots.style("posterior")["color"], alpha=0.3)
ax.plot([-0.5, 3.5], [0.25, 0.25], **plots.style("q"))
ax.plot(range(4), np.bincount(letters) / len(letters), **plots.style("data", markersize=12))
plots.label(ax, 0.42, 0.45, "p, the truth", "posterior")
plots.label(ax, 2.6, 0.27, "q, your belief", "q")
plots.label(ax, 1.2, 0.33, "dots: share among the 400 letters", "data")
ax.set(xticks=range(4), xticklabels="ABCD", ylabel="probability", xlim=(-0.5, 3.5))
plots.show(fig, alt="Bars: p gives A one half, B one quarter, C and D one eighth; dots of the data lie near them; "
                    "q is flat at a quarter.")

# %% [markdown]
# How wrong are you? Let each belief be paid for what it said about the letter that came: its **score** is the logarithm of
# the probability it had given to that letter. Whoever knows $p$ scores $\log p(x)$, you score $\log q(x)$, and the difference
# $\log p(x) - \log q(x)$ is what your belief cost on that letter. Sometimes it is negative: when a C comes, you look
# better than the one who knows. The **Kullback–Leibler divergence** is the average cost, over letters that come from $p$:
#
# $$D_{\mathrm{KL}}(p\,\|\,q) \;=\; \mathbb{E}_{x\sim p}\big[\log p(x) - \log q(x)\big]
#   \;=\; \sum_x p(x)\,\log\frac{p(x)}{q(x)} .$$
#
# Read it as: **the first one draws, both are scored.** With natural logarithms the unit is the nat; divided by $\log 2$
# it is bits.
#
# The expectation is an average over draws, so data alone give an estimate of it, with a standard error:

# %%
def mean_log_ratio(log_a, log_b):
    """Estimate D_KL(a || b) from draws of a.

    log_a, log_b: (n,) log probabilities, nats, that a and b give to the same n draws from a.
    Returns the mean of log a - log b and its standard error, in nats.
    """
    cost = log_a - log_b
    return cost.mean(), cost.std(ddof=1) / np.sqrt(len(cost))

# %%
exact = np.sum(p * np.log(p / q))
estimate, error = mean_log_ratio(np.log(p)[letters], np.log(q)[letters])
print(f"the sum over four letters: {exact:.4f} nats = {exact / np.log(2):.2f} bits a letter")
print(f"400 letters:               {estimate:.2f} ± {error:.2f} nats")
print(f"cost of each letter A-D:   {np.round(np.log(p / q), 2)} nats")

# %% [markdown]
# A quarter of a bit a letter. That is what a file gets longer by if it is compressed with a code made for the
# wrong probabilities: two bits a letter, where 1.75 would do.
#
# **The average cost is never negative**, although single costs are. The reason is one line: $\log t \le t - 1$ for every
# $t > 0$, with equality only at $t=1$, so
#
# $$-D_{\mathrm{KL}}(p\,\|\,q) = \mathbb{E}_p\Big[\log\frac{q(x)}{p(x)}\Big] \le \mathbb{E}_p\Big[\frac{q(x)}{p(x)} - 1\Big]
#   = \sum_{x:\,p(x)>0} q(x) \;-\; 1 \;\le\; 0 ,$$
#
# and it is zero only if $p(x)=q(x)$ for all $x$. Nobody beats the truth on average.

# %% [markdown]
# ## 2 · Two Gaussians, two directions
#
# For densities the sum becomes an integral. In this course $p$ will be a posterior that we cannot write down and $q$ the
# simple density that we fit to it, so both orders matter, and they have names:
#
# $$\text{reverse:}\quad D_{\mathrm{KL}}(q\,\|\,p) = \int q(z)\,\log\frac{q(z)}{p(z)}\,dz
# \qquad\qquad
# \text{forward:}\quad D_{\mathrm{KL}}(p\,\|\,q) = \int p(z)\,\log\frac{p(z)}{q(z)}\,dz .$$
#
# Variational inference minimises the reverse one, because it needs averages over $q$ only. In code, for any pair $a$, $b$ of
# densities on a grid (the first one draws):

# %%
def kl_integrand(log_a, log_b):
    """a(z) [log a(z) - log b(z)], elementwise; where a is 0 it is 0, whatever b is there.

    log_a, log_b: (n,) log densities in nats, -inf where a density is zero.
    """
    difference = np.subtract(log_a, log_b, out=np.zeros_like(log_a), where=log_a > -np.inf)  # stays 0 where a is 0
    return np.exp(log_a) * difference


def kl_grid(log_a, log_b, z):
    """D_KL(a || b) in nats: the trapezoid rule for the integrand on the grid z (n,)."""
    return np.trapezoid(kl_integrand(log_a, log_b), z)

# %% [markdown]
# For two Gaussians there is also a formula, and you need only two facts to find it. With $z\sim\mathcal N(m_1, s_1^2)$,
#
# $$\mathbb{E}\big[(z-m_1)^2\big] = s_1^2, \qquad\qquad \mathbb{E}\big[(z-m_2)^2\big] = s_1^2 + (m_1-m_2)^2 .$$
#
# Write $\log\mathcal N(z\mid m,s^2) = -\tfrac12\log 2\pi - \log s - (z-m)^2/(2s^2)$ for both, subtract, and put in the two
# expectations. Doing this on paper is Exercise 3.1; here is what must come out for $\mathcal N(0,1)$ and $\mathcal N(1,2^2)$:

# %%
z = np.linspace(-20, 20, 4001)
narrow, wide = log_normal(z, 0, 1), log_normal(z, 1, 2)
for name, a, b, pair in [("narrow || wide", narrow, wide, ((0., 1.), (1., 2.))),
                         ("wide || narrow", wide, narrow, ((1., 2.), (0., 1.)))]:
    torch_says = td.kl_divergence(td.Normal(*pair[0]), td.Normal(*pair[1])).item()
    x = rng.normal(*pair[0], size=10_000)
    estimate, error = mean_log_ratio(log_normal(x, *pair[0]), log_normal(x, *pair[1]))
    print(f"{name}: grid {kl_grid(a, b, z):.4f}   torch.distributions {torch_says:.4f}   "
          f"10,000 draws {estimate:.2f} ± {error:.2f}")

# %% [markdown]
# Three independent ways, one answer for each direction. The two directions differ by a factor of three: the wide density often draws
# points where the narrow one has almost nothing, and pays for each of them.
#
# ### Predict before you move
#
# In the picture below $p$ stays $\mathcal N(0,1)$, and you move $q = \mathcal N(\mu, \sigma^2)$. If you set $\mu=0$ and $\sigma=2$, the
# grid gives $D_{\mathrm{KL}}(q\,\|\,p) = 0.807$ nats: $q$ is too wide. What will the *other* direction be, for the same two curves?

# %%
print(f"KL(q||p) for q = N(0, 2²): {kl_grid(log_normal(z, 0, 2), log_normal(z, 0, 1), z):.3f} nats")
gate = predict(r"$p=\mathcal N(0,1)$, $q=\mathcal N(0,2^2)$ and $D_{\mathrm{KL}}(q\|p)=0.807$. "
               r"What is $D_{\mathrm{KL}}(p\|q)$?",
               {"about 2: p must pay for all the room that q wastes": 2.0,
                "0.807 again: they are the same two curves": 0.807,
                "about 0.3: p seldom draws a point that q finds impossible": 0.3})
gate

# %%
def signed_area(ax, z, title):
    """Prepare an integrand's picture: hatched where it adds, solid grey where it takes away. Returns its `draw(y)`."""
    color = plots.style("kl")["color"]
    adds = ax.fill_between(z, 0 * z, 0 * z, facecolor="none", edgecolor=color, hatch="////", linewidth=0)
    takes = ax.fill_between(z, 0 * z, 0 * z, color="0.55", linewidth=0)
    (line,) = ax.plot(z, 0 * z, color=color)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlim=(-5, 5), ylim=(-0.45, 1.3), title=title)

    def draw(y):
        adds.set_data(z, 0 * z, np.maximum(y, 0))
        takes.set_data(z, 0 * z, np.minimum(y, 0))
        line.set_ydata(y)
    return draw

# %%
def two_gaussians(fig):
    (top, reverse), (bars, forward) = fig.subplots(2, 2)
    log_p, near = log_normal(z, 0, 1), np.abs(z) <= 5
    x = z[near]
    plots.curve(top, x, np.exp(log_p[near]), "posterior")
    q_curve = plots.curve(top, x, 0 * x, "q")
    top.set(xlim=(-5, 5), ylim=(0, 1.05), title="p = N(0, 1) filled, q dashed")
    draw_reverse = signed_area(reverse, x, "reverse integrand: q log(q / p)")
    draw_forward = signed_area(forward, x, "forward integrand: p log(p / q)")
    purple = plots.style("kl")["color"]
    lengths = bars.barh([1, 0], [0, 0], height=0.5, facecolor="none", edgecolor=purple, hatch="////")
    mark = plots.prediction(bars)
    bars.set(xlim=(0, 4), ylim=(-0.5, 1.5), title="their areas, in nats", yticks=[1, 0], yticklabels=["KL(q‖p)", "KL(p‖q)"])

    def update(mu=1.0, sigma=1.0, prediction=None):
        log_q = log_normal(z, mu, sigma)
        kl_qp, kl_pq = kl_grid(log_q, log_p, z), kl_grid(log_p, log_q, z)
        q_curve.set(np.exp(log_q[near]))
        draw_reverse(kl_integrand(log_q, log_p)[near])
        draw_forward(kl_integrand(log_p, log_q)[near])
        for bar, kl in zip(lengths, (kl_qp, kl_pq)):
            bar.set_width(min(kl, 4))
        mark.set(prediction, 0)
        cut = "   (the bar is cut off at 4)" if max(kl_qp, kl_pq) > 4 else ""
        return f"KL(q||p) = {kl_qp:.3f} nats   KL(p||q) = {kl_pq:.3f} nats{cut}"
    return update


explore(two_gaussians, mu=(-2.0, 2.0, 0.05), sigma=(0.4, 2.5, 0.05), size=(8.5, 4.6), predict=gate,
        alt="p and q with the integrands of both KL directions, hatched where positive and grey where negative, "
            "and two bars for their areas")

# %% [markdown]
# The orange diamond is your prediction for the lower bar at $\mu=0$, $\sigma=2$. Go there; then make $q$ narrower than $p$; then move it aside.
#
# <details><summary>What you should have seen</summary>
#
# At $\sigma=2$ the forward bar is the shorter one, 0.318 nats. Who draws decides where we look: the wide $q$ draws points
# where $p$ is tiny and pays much; $p$ draws points near 0, where the wide $q$ is merely a bit low.
#
# Make $q$ narrow ($\sigma=0.5$) and the order turns round: now it is $p$ that draws points where $q$ is tiny.
#
# Every picture has a grey part: wherever the first density is the *lower* of the two, the integrand is negative.
# The hatched area always wins, as the inequality in section 1 says. A picture with no grey at all is possible only where the
# two curves lie on each other, and then there is no hatched area either.
#
# Move $q$ aside with $\sigma=1$: the two bars stay equal. Among Gaussians, only for pairs of equal width does it not matter who is first.
#
# </details>

# %%
for s in (2.0, 0.5):
    log_q = log_normal(z, 0, s)
    print(f"q = N(0, {s}²): KL(q||p) = {kl_grid(log_q, narrow, z):.3f}   KL(p||q) = {kl_grid(narrow, log_q, z):.3f}")

# %% [markdown]
# ### Exercise 3.1 · KL between two Gaussians ●○○ · 8 min
#
# Derive $D_{\mathrm{KL}}\big(\mathcal N(m_1,s_1^2)\,\|\,\mathcal N(m_2,s_2^2)\big)$ from the two facts in section 2 and write it down. It must work elementwise on arrays.

# %% exercise="kl_normal"
def kl_normal(m1, s1, m2, s2):
    """D_KL(N(m1, s1²) || N(m2, s2²)) in nats, elementwise; s1, s2 > 0 are standard deviations."""
    ### BEGIN SOLUTION
    return np.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5
    ### END SOLUTION

# %% check="kl_normal"
check.kl_normal(kl_normal)

# %% [markdown]
# ### Exercise 3.2 · KL between two Gaussians in D dimensions ●●○ · 12 min
#
# The two facts become, for $\mathbf z\sim\mathcal N(\mathbf m_1, S_1)$ in $D$ dimensions,
#
# $$\mathbb E\big[(\mathbf z-\mathbf m_1)^\top S_1^{-1}(\mathbf z-\mathbf m_1)\big] = D, \qquad
# \mathbb E\big[(\mathbf z-\mathbf m_2)^\top S_2^{-1}(\mathbf z-\mathbf m_2)\big] = \operatorname{tr}(S_2^{-1}S_1) + (\mathbf m_1-\mathbf m_2)^\top S_2^{-1}(\mathbf m_1-\mathbf m_2),$$
#
# and $\log\mathcal N(\mathbf z\mid\mathbf m,S) = -\tfrac12\log\det(2\pi S) - \tfrac12(\mathbf z-\mathbf m)^\top S^{-1}(\mathbf z-\mathbf m)$.
# If both covariances are diagonal, the result must be the sum of $D$ one-dimensional KLs.

# %% exercise="kl_mvn"
def kl_mvn(m1, S1, m2, S2):
    """D_KL(N(m1, S1) || N(m2, S2)) in nats; m1, m2: (D,) means, S1, S2: (D, D) covariances. Returns a number."""
    ### BEGIN SOLUTION
    shift = np.asarray(m1) - np.asarray(m2)
    log_dets = np.linalg.slogdet(S2)[1] - np.linalg.slogdet(S1)[1]
    return 0.5 * (log_dets + np.trace(np.linalg.solve(S2, S1)) + shift @ np.linalg.solve(S2, shift) - len(shift))
    ### END SOLUTION

# %% check="kl_mvn"
check.kl_mvn(kl_mvn)

# %% [markdown]
# Try yours on two correlated coordinates, $S=\begin{pmatrix}1&\rho\\\rho&1\end{pmatrix}$, against two independent ones, $I$. On paper, $D_{\mathrm{KL}}(\mathcal N(0,S)\,\|\,\mathcal N(0,I))$ is
# $-\tfrac12\log(1-\rho^2)$: the cost of believing that the coordinates have nothing to do with each other, also called their mutual information. PyTorch says:

# %%
rho = 0.8
correlated = td.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, rho], [rho, 1.0]]))
independent = td.MultivariateNormal(torch.zeros(2), torch.eye(2))
print(f"KL(correlated || independent) = {td.kl_divergence(correlated, independent):.4f} nats, "
      f"formula {-0.5 * np.log(1 - rho**2):.4f}")
print(f"KL(independent || correlated) = {td.kl_divergence(independent, correlated):.4f} nats")

# %% [markdown]
# ## 3 · Not a distance; not a matter of units
#
# ### Misconception: "KL is a metric, it measures the distance between two distributions"
#
# A metric must be symmetric (you have just seen that it is not) and obey the triangle inequality: going from A to C directly is never
# longer than going by way of B. Take three Gaussians of variance 1, at 0, 1 and 2.

# %%
at = {m: log_normal(z, m, 1) for m in (0, 1, 2)}
direct, first, second = kl_grid(at[0], at[2], z), kl_grid(at[0], at[1], z), kl_grid(at[1], at[2], z)
print(f"by way of 1: {first:.1f} + {second:.1f} = {first + second:.1f} nats")
print(f"directly:    {direct:.1f} nats, so the detour is shorter: {first + second < direct}")

# %% [markdown]
# KL is a **divergence**: at least zero, zero only if the two are equal, and directed. Always say which one comes first.
#
# ### Infinite in one direction
#
# The **support** of a density is where it is positive. Say $p$ is uniform on $(0,1)$ and $q$ is uniform on $(0,2)$. Before you read on: which of
# $D_{\mathrm{KL}}(p\,\|\,q)$, $D_{\mathrm{KL}}(q\,\|\,p)$ is infinite?

# %%
def log_uniform(z, low, high):
    """log density of the uniform distribution on [low, high], elementwise in nats; -inf outside."""
    return np.where((z >= low) & (z <= high), -np.log(high - low), -np.inf)


short, long = np.linspace(0, 1, 1001), np.linspace(0, 2, 1001)  # a grid on the support of the one that draws
p_from_p, q_from_p = log_uniform(short, 0, 1), log_uniform(short, 0, 2)
q_from_q, p_from_q = log_uniform(long, 0, 2), log_uniform(long, 0, 1)
print(f"KL(p || q) = {kl_grid(p_from_p, q_from_p, short):.3f} nats (log 2 = {np.log(2):.3f})")
print(f"KL(q || p) = {kl_grid(q_from_q, p_from_q, long):.3f} nats")

# %% [markdown]
# $D_{\mathrm{KL}}(a\,\|\,b)$ is infinite as soon as $a$ can draw a point that $b$ calls impossible: half of the draws from $U(0,2)$ are such points.
# The other way round nothing is impossible, only half as dense as it could be, and the cost is $\log 2$.
# Two conventions are built into `kl_integrand`: a point that $a$ never draws counts nothing ($0\log 0 = 0$, even where
# $b$ is 0 too), and a point that $a$ draws but $b$ forbids counts $+\infty$. Nothing else is right: adding a small number
# inside the logarithm turns an infinite cost into an arbitrary finite one.

# %% [markdown]
# ### Exercise 3.3 · KL between two tables ●○○ · 8 min
#
# $D_{\mathrm{KL}}(p\,\|\,q)=\sum_k p_k\log(p_k/q_k)$ for two probability tables that may contain zeros. Section 1 wrote it as `np.sum(p * np.log(p / q))`; try that with
# $p=(\tfrac12,\tfrac12,0)$ first. An outcome that never comes costs nothing; an outcome that comes although it was called impossible costs $\infty$.

# %% exercise="kl_categorical"
def kl_categorical(p, q):
    """D_KL(p || q) in nats; p, q: (K,) probabilities, each summing to 1, zeros allowed. A number, maybe np.inf."""
    ### BEGIN SOLUTION
    p, q = np.asarray(p, float), np.asarray(q, float)
    comes = p > 0
    if np.any(q[comes] == 0):
        return np.inf
    return np.sum(p[comes] * np.log(p[comes] / q[comes]))
    ### END SOLUTION

# %% check="kl_categorical"
check.kl_categorical(kl_categorical)

# %% [markdown]
# ### Misconception: "a small KL means nearly the same mean and variance"
#
# Replace one draw in a thousand of $\mathcal N(0,1)$ by a draw from $\mathcal N(0,100^2)$ and call the result $b$.

# %%
v = np.sinh(np.linspace(-8, 8, 8001))                         # fine near 0, and reaching beyond ±1,000
log_a = log_normal(v, 0, 1)
log_b = np.logaddexp(np.log(0.999) + log_a, np.log(0.001) + log_normal(v, 0, 100))
variances = [np.trapezoid(np.exp(log_density) * v**2, v) for log_density in (log_a, log_b)]
print(f"KL(a||b) = {kl_grid(log_a, log_b, v):.4f} nats, variance of a = {variances[0]:.1f}, of b = {variances[1]:.1f}")
print(f"KL(b||a) = {kl_grid(log_b, log_a, v):.2f} nats: the one with the heavy tail must draw for the tail to be noticed")

# %% [markdown]
# What a small KL does promise is about **probabilities of events**: Pinsker's inequality says that no event's probability differs by
# more than $\sqrt{D_{\mathrm{KL}}/2}$ between the two. That holds in either direction, so the smaller KL may be used. The largest such
# difference, $\tfrac12\int|a-b|\,dz$, is called total variation.

# %%
for name, log_1, log_2, grid in [("a and b above     ", log_a, log_b, v), ("N(0,1) and N(1,1) ", at[0], at[1], z)]:
    variation = 0.5 * np.trapezoid(np.abs(np.exp(log_1) - np.exp(log_2)), grid)
    bound = np.sqrt(kl_grid(log_1, log_2, grid) / 2)
    print(f"{name} largest difference in any event's probability: {variation:.4f} <= {bound:.4f}")

# %% [markdown]
# ### Misconception: "KL depends on the units"
#
# Entropy does: $\mathrm H[a] = -\int a\log a$ changes when metres become millimetres, and it can be negative. KL does not. If $x=g(z)$ with
# an increasing $g$, every density is divided by the same $g'(z)$; in the ratio $\log a/b$ that factor cancels, and a draw is a draw whatever it is called.
# The picture puts two Gaussians through a $g$ of your choice and computes everything again, on the axis of $x$.

# %%
scales = {"x = exp(z)": (np.exp, lambda z: z, (0, 8)),         # g, log g', what to show
          "x = sinh(z)": (np.sinh, lambda z: np.log(np.cosh(z)), (-6, 6)),
          "x = 10 z (other units)": (lambda z: 10 * z, lambda z: np.log(10) + 0 * z, (-40, 40))}


def entropy_grid(log_a, z):
    """Differential entropy -∫ a log a dz in nats on the grid z (n,), which need not be even."""
    return -np.trapezoid(np.exp(log_a) * log_a, z)

# %%
def change_of_units(fig):
    left, right = fig.subplots(1, 2)
    fig.get_layout_engine().set(wspace=0.08)
    log_p = log_normal(z, 0, 1)
    plots.curve(left, z, np.exp(log_p), "posterior")
    curves = [plots.curve(ax, z, 0 * z, role) for ax, role in ((left, "q"), (right, "posterior"), (right, "q"))]
    left.set(xlim=(-4, 4), ylim=(0, 1.05), xlabel="z", title="p = N(0, 1) filled, q dashed")
    right.set(xlabel="x = g(z)", yticks=[], title="the same two, on the axis of x")
    shown = []

    def update(mu=1.0, sigma=0.5, g="x = exp(z)"):
        function, log_slope, limits = scales[g]
        log_q, x, shift = log_normal(z, mu, sigma), function(z), log_slope(z)
        heights = [np.exp(log_q), np.exp(log_p - shift), np.exp(log_q - shift)]
        for curve, y, grid in zip(curves, heights, (z, x, x)):
            curve.set(y, grid)
        if shown != [g]:                                       # other limits only when another g is chosen
            shown[:] = [g]
            right.set(xlim=limits, ylim=(0, 1.6 * np.exp(log_p - shift).max()))
        kl, kl_x = kl_grid(log_q, log_p, z), kl_grid(log_q - shift, log_p - shift, x)
        h, h_x = entropy_grid(log_q, z), entropy_grid(log_q - shift, x)
        return f"KL(q||p) = {kl:.3f} on z, {kl_x:.3f} on x      entropy of q = {h:.3f} on z, {h_x:.3f} on x   (nats)"
    return update


explore(change_of_units, mu=(-1.0, 1.5, 0.05), sigma=(0.3, 1.5, 0.05), g=list(scales),
        alt="Two densities on the axis of z and, pushed through an increasing function, on the axis of x")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The two KL values agree for every $g$, however much the curves are bent. The entropies do not: with $x=10z$ every entropy
# grows by $\log 10 = 2.303$, with $x=e^z$ that of $q$ grows by $\mathbb E_q[z]=\mu$. The next cell does it for the pair of section 2.
#
# </details>

# %%
fine = np.linspace(-12, 14, 16_001)
x, log_1, log_2 = np.exp(fine), log_normal(fine, 0, 1) - fine, log_normal(fine, 1, 2) - fine
print(f"KL of the two Gaussians {kl_grid(narrow, wide, z):.4f}, of exp of them {kl_grid(log_1, log_2, x):.4f} nats")
tenth = z / 10
print(f"entropy of N(0, 1) {entropy_grid(narrow, z):.4f}, of N(0, 0.1²) {entropy_grid(log_normal(tenth, 0, 0.1), tenth):.4f}"
      f" nats: ten times as narrow, log 10 = {np.log(10):.3f} less")

# %% [markdown]
# ## 4 · The best Gaussian depends on who comes first
#
# Variational inference replaces a complicated $p$ by the nearest member of a simple family. "Nearest" now has two meanings. Our
# $p$ has two modes of standard deviation 1, at $-d$ and $+d$; so $d$ is measured in standard deviations of a mode.
# The family: all Gaussians $q=\mathcal N(m,s^2)$.
#
# **Forward** (minimise $D_{\mathrm{KL}}(p\,\|\,q)$ over $q$; also called *moment matching*). Only $-\mathbb{E}_p[\log q]$ depends on $q$, and
#
# $$-\mathbb{E}_p[\log q(z)] = \tfrac12\log 2\pi + \log s + \frac{\operatorname{Var}_p[z] + (\mathbb{E}_p[z]-m)^2}{2s^2} .$$
#
# The square is smallest at $m=\mathbb{E}_p[z]$; then the derivative with respect to $s$, $\;1/s-\operatorname{Var}_p[z]/s^3$, is zero at $s^2=\operatorname{Var}_p[z]$.
# The best $q$ has the **mean and variance of $p$**, whatever the shape of $p$.
#
# With the data in place of $p$ this is maximum likelihood: the mean of $-\log q(x_n)$ over data is the same expectation, so
# **fitting by maximum likelihood is minimising the forward KL**, $D_{\mathrm{KL}}(\text{data}\,\|\,\text{model})$.
#
# **Reverse** (minimise $D_{\mathrm{KL}}(q\,\|\,p)$ over $q$). Now $q$ stands inside and outside the logarithm, and no formula comes out. We search.

# %%
def log_bimodal(z, d):
    """log p(z) of ½ N(-d, 1) + ½ N(d, 1), elementwise, nats."""
    return np.logaddexp(log_normal(z, -d, 1), log_normal(z, d, 1)) - np.log(2)


def forward_kl(m, s, d):
    """D_KL(p || N(m, s²)) in nats for scalars m, s, d: p draws."""
    return kl_grid(log_bimodal(z, d), log_normal(z, m, s), z)


def reverse_kl(m, s, d):
    """D_KL(N(m, s²) || p) in nats for scalars m, s, d: q draws, on a grid of ±8 of its own standard deviations."""
    own = m + s * np.linspace(-8, 8, 401)
    return kl_grid(log_normal(own, m, s), log_bimodal(own, d), own)

# %%
def optima(kl, d):
    """Local minima of kl(m, s, d) over (m, log s), from a start in the middle and one on the right mode.

    Returns rows (m, s, KL), the lowest first; what both starts reach stands there once.
    """
    rows = []
    for start in ([0.0, 0.5], [d, 0.0]):
        found = minimize(lambda v: kl(v[0], np.exp(v[1]), d), start, method="Nelder-Mead",
                         options=dict(xatol=1e-6, fatol=1e-10))
        row = abs(found.x[0]), np.exp(found.x[1]), found.fun
        if not rows or abs(row[0] - rows[0][0]) > 0.01:
            rows.append(row)
    return sorted(rows, key=lambda row: row[2])

# %% [markdown]
# First the forward formula against a search that knows nothing of it: for modes at $\pm 2$; for $\tfrac12\mathcal N(-2, 0.5^2)+\tfrac12\mathcal N(2,0.5^2)$, which is
# our $p$ with $d=4$ in other units (halve everything); and for maximum likelihood with the data 1, 2, 4.

# %%
(m, s, least), = optima(forward_kl, 2.0)
print(f"d = 2: mean {m:.3f}, variance {s**2:.3f}; the moments of p are 0 and 1 + d² = 5")
(m, s, least), = optima(forward_kl, 4.0)
print(f"d = 4, halved: mean {m / 2:.3f}, variance {(s / 2)**2:.3f}; the moments of p are 0 and 0.5² + 2² = 4.25")
x = np.array([1.0, 2.0, 4.0])
fit = minimize(lambda v: -log_normal(x, v[0], np.exp(v[1])).mean(), [0.0, 0.0])
print(f"maximum likelihood for 1, 2, 4: mean {fit.x[0]:.3f}, variance {np.exp(2 * fit.x[1]):.3f}; "
      f"moments of the data {x.mean():.3f}, {x.var():.3f}")

# %% [markdown]
# ### Predict before you move
#
# You will often read that reverse KL "collapses onto one mode". Take modes at $\pm 2$ standard deviations. Where does the best Gaussian under
# *reverse* KL have its mean?

# %%
gate = predict(r"$p=\frac12\mathcal N(-2,1)+\frac12\mathcal N(2,1)$. Where is the mean of the Gaussian $q$ with the "
               r"smallest $D_{\mathrm{KL}}(q\|p)$?",
               {"at 2 (or, just as good, at −2): on one mode": 2.0,
                "at 1 (or −1): pulled towards one mode": 1.0,
                "at 0: between the two, where p has a dip": 0.0})
gate

# %% [markdown]
# The map on the right shows the KL of every Gaussian: its mean $m$ across, its $\log s$ upwards, white where KL is small. We compute it for
# 12 separations before anything moves: 61 × 81 Gaussians on a grid of 801 points. That is cheap, because $\mathbb{E}_q[\log p]$ and $\mathbb{E}_p[\log q]$ are sums over the
# grid, products of two big tables; `einsum` does all of them at once (letters: $s$, $m$ of $q$; $d$ of $p$; $z$, which is summed over).

# %%
separations = np.arange(1.25, 4.01, 0.25)
means, log_sds = np.linspace(-5, 5, 81), np.linspace(-1, 1.6, 61)
coarse = np.linspace(-40, 40, 801)
dz = coarse[1] - coarse[0]

log_p = np.array([log_bimodal(coarse, d) for d in separations])                     # (12, 801)
log_q = log_normal(coarse, means[:, None], np.exp(log_sds)[:, None, None])          # (61, 81, 801)
entropy_p = -np.sum(np.exp(log_p) * log_p, axis=1)[:, None, None] * dz              # (12, 1, 1)
entropy_q = log_sds[:, None] + 0.5 * np.log(2 * np.pi * np.e)                       # (61, 1)
log_p_under_q = np.einsum("smz,dz->dsm", np.exp(log_q), log_p, optimize=True) * dz  # (12, 61, 81)
log_q_under_p = np.einsum("smz,dz->dsm", log_q, np.exp(log_p), optimize=True) * dz
surfaces = {"reverse": -entropy_q - log_p_under_q, "forward": -entropy_p - log_q_under_p}
minima = {name: [optima(kl, d) for d in separations] for name, kl in (("reverse", reverse_kl), ("forward", forward_kl))}
print("one value of the map against the grid:", f"{surfaces['reverse'][3, 30, 48]:.3f}",
      f"{reverse_kl(means[48], np.exp(log_sds[30]), 2.0):.3f}")

# %%
def landscape(ax):
    """Prepare the map of KL over (m, log s): the image, the stars (best), the rings (only local) and your q's mark."""
    edges = [0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.5, 2.5, 4, 8, 16, 32]
    image = ax.imshow(surfaces["reverse"][0], extent=(-5, 5, -1, 1.6), origin="lower", aspect="auto",
                      cmap=plots.colormap("kl"), norm=BoundaryNorm(edges, 256, clip=True), interpolation="bilinear")
    stars, = ax.plot([], [], "k*", markersize=13, markerfacecolor="white")
    rings, = ax.plot([], [], "ko", markersize=9, markerfacecolor="white", markeredgewidth=1.5)
    q_color = plots.style("q")["color"]
    yours, = ax.plot([], [], "X", color=q_color, markersize=12, markeredgecolor="white", clip_on=False)
    ax.set(xlabel="mean m of q", ylabel="log s", xlim=(-5, 5), ylim=(-1, 1.6))
    ax.figure.colorbar(image, ax=ax, ticks=[0, 0.1, 0.5, 1, 4, 16], format="%g", label="KL in nats")
    return image, stars, rings, yours

# %%
def projection_lab(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.15])
    x = np.linspace(-8, 8, 401)
    p_curve, q_curve = plots.curve(left, x, 0 * x, "posterior"), plots.curve(left, x, 0 * x, "q")
    (best_curve,) = left.plot(x, 0 * x, color="black", linewidth=1)
    mark = plots.prediction(left)
    left.set(xlim=(-8, 8), ylim=(0, 0.55), xticks=range(-6, 7, 3), yticks=[], xlabel="z",
             title="p filled, your q dashed, best q thin")
    image, stars, rings, yours = landscape(right)
    right.set_title("KL of every q: ★ best, ○ only local")

    def update(d=1.25, m=-3.0, log_s=0.5, direction="reverse", prediction=None):
        i, kl = np.argmin(np.abs(separations - d)), {"reverse": reverse_kl, "forward": forward_kl}[direction]
        best, *others = minima[direction][i]
        p_curve.set(np.exp(log_bimodal(x, d)))
        q_curve.set(np.exp(log_normal(x, m, np.exp(log_s))))
        best_curve.set_ydata(np.exp(log_normal(x, *best[:2])))
        image.set_data(surfaces[direction][i])
        for points, rows in ((stars, [best]), (rings, others)):
            both_signs = [(sign * row[0], np.log(row[1])) for row in rows for sign in (-1, 1)]
            points.set_data(*zip(*both_signs) if both_signs else ([], []))
        yours.set_data([m], [log_s])
        mark.set(prediction, 0)
        sign, kl_yours = "±" if best[0] > 0.01 else "", kl(m, np.exp(log_s), d)
        return (f"your q: m = {m:.2f}, s = {np.exp(log_s):.2f}, KL = {kl_yours:.3f} nats      "
                f"best q: m = {sign}{best[0]:.2f}, s = {best[1]:.2f}, KL = {best[2]:.3f} nats")
    return update


explore(projection_lab, d=(1.25, 4.0, 0.25), m=(-5.0, 5.0, 0.1), log_s=(-1.0, 1.6, 0.1),
        direction=["reverse", "forward"], predict=gate,
        alt="A density with two modes, a Gaussian q, and a map of the KL of every Gaussian with its lowest points marked")

# %% [markdown]
# First find the lowest point by hand, with $m$ and $\log s$: you are doing variational inference. Then set $d=2$ and compare with your diamond.
# Then move $d$ slowly up to 4, and at last choose *forward*.
#
# <details><summary>What you should have seen</summary>
#
# At $d=2$ the best reverse Gaussian is **wide and in the middle**: it covers both modes, and the dip between them too. It stays so up to $d=2.75$; at $d=3$ it sits
# on one mode. Nothing slides over: two separate valleys compete, the one on the mode exists before it wins (a ring at $d=2.5$), and the wide one remains as a ring afterwards.
# An optimiser that starts in the middle never learns of the better places.
#
# Forward, there is one valley, always in the middle, and it gets wider for ever: $s^2 = 1+d^2$. At $d=4$ this $q$ has its peak exactly where $p$ has next to nothing.
#
# </details>

# %%
rows = []
for d in (1.5, 2.0, 2.5, 2.75, 3.0, 4.0):
    (m, s, least), (_, forward_s, _) = optima(reverse_kl, d)[0], optima(forward_kl, d)[0]
    rows.append([f"{d:.2f}", f"{m:.3f}", f"{s:.3f}", f"{least:.3f}", "one mode" if m > 1 else "both", f"{forward_s:.3f}"])
plots.show_table(rows, ["d", "reverse: m", "s", "KL", "covers", "forward: s (m = 0)"])
for d in (2.5, 4.0):
    found = [f"({m:.2f}, {s:.2f}, {least:.3f})" for m, s, least in optima(reverse_kl, d)]
    print(f"reverse, d = {d}: local minima (m, s, KL):", *found)

# %% [markdown]
# ### Misconception: "reverse KL is mode-seeking, it always collapses onto one mode"
#
# Not at $\pm 2$ standard deviations. What holds is this. Reverse KL charges $q$ for drawing where $p$ is small (**zero-forcing**), forward KL charges for $p$ drawing
# where $q$ is small (**zero-avoiding**). As long as the dip between the modes is shallow, it is cheaper for $q$ to cross it than to do without half of the mass.
# Leaving out one mode costs about $\log 2$, however far apart they are; covering both costs more with every step of $d$. Where the two prices meet, the best $q$ jumps.
# Exercise 3.4 asks for that $d$.

# %%
covering, one_mode = optima(reverse_kl, 2.0)[0][2], reverse_kl(2.0, 1.0, 2.0)
print(f"d = 2: covering both costs {covering:.4f}, sitting on one mode with s = 1 costs {one_mode:.4f} nats")
for d in (3.0, 3.5, 4.0):
    on_mode, in_middle = optima(reverse_kl, d)
    print(f"d = {d}: one mode {on_mode[2]:.4f}, covering both {in_middle[2]:.4f} nats   (log 2 = {np.log(2):.4f})")

# %% [markdown]
# The same happens to a real posterior. In lesson 01 an observation of the Bow at $x=(0,2)$, opposite the middle of the curve, left two
# explanations: $z$ near $3$ or near $-3$, walking round the circle one way or the other. Here are the best Gaussians in either direction.

# %%
grid = np.linspace(-6, 6, 2401)
posterior, log_evidence = models.bow_posterior(np.array([0.0, 2.0]), grid, 1.0, 0.25)
log_post = models.bow_log_joint(np.array([0.0, 2.0]), grid, 1.0, 0.25) - log_evidence


def bow_reverse_kl(v):
    """D_KL(N(m, s²) || p(z | x)) in nats for v = (m, log s)."""
    return kl_grid(log_normal(grid, v[0], np.exp(v[1])), log_post, grid)


on_mode = minimize(bow_reverse_kl, [2.5, -1.0], method="Nelder-Mead", options=dict(xatol=1e-7, fatol=1e-10))
spread = np.sqrt(np.trapezoid(posterior * grid**2, grid))
moment = log_normal(grid, 0, spread)
print(f"reverse: N({on_mode.x[0]:.2f}, {np.exp(on_mode.x[1]):.3f}²), KL(q||p) = {on_mode.fun:.4f} nats")
print(f"forward: N(0, {spread:.2f}²), KL(p||q) = {kl_grid(log_post, moment, grid):.3f} nats")

# %%
fig = plots.figure(8, 2.8)
ax = fig.subplots()
plots.curve(ax, grid, posterior, "posterior")
plots.curve(ax, grid, np.exp(log_normal(grid, on_mode.x[0], np.exp(on_mode.x[1]))), "q")
ax.plot(grid, np.exp(moment), **plots.style("q", linestyle=":"))
plots.label(ax, -2.6, 0.62, "posterior p(z | x) at x = (0, 2)", "posterior")
plots.label(ax, 2.5, 1.25, "best q, reverse", "q", ha="right")
plots.label(ax, -0.75, 0.2, "best q, forward", "q")
ax.set(xlabel="z", yticks=[], ylim=(0, 1.75), xlim=(-6, 6))
plots.show(fig, alt="The posterior has two narrow peaks near -3 and 3; the reverse q is one of them, "
                    "the forward q is wide and flat over both.")

# %% [markdown]
# Neither Gaussian is good. The reverse one is honest about one explanation and silent about the other, and that silence costs $\log 2$, the
# price of having missed half of the mass. The forward one mentions everything and says mostly things that are not so: at $z=0$, where the
# posterior is practically zero, it has its peak.

# %% [markdown]
# ### Exercise 3.4 · Optional: where the best q jumps ●●● · 15 min
#
# Find the separation $d^*$ at which covering both modes and sitting on one cost the same reverse KL, to $\pm 0.001$. Follow the two valleys separately (one optimisation from the
# middle with $m=0$, one from the mode), subtract, and give the difference and the bracket (low, high) to a root finder such as `scipy.optimize.brentq`. The check uses the bracket from 2.6 to 3.
# Use `reverse_kl`, that is the trapezoid rule. Gauss–Hermite quadrature, the usual rule for expectations under a Gaussian, converges so slowly for the logarithm of a mixture that
# even with 100 nodes the third decimal is wrong.

# %% exercise="switch_separation"
def switch_separation(low, high):
    """The d between low and high at which the two local minima of reverse_kl(m, s, d) are equally deep; a number."""
    ### BEGIN SOLUTION
    from scipy.optimize import brentq, minimize_scalar

    def difference(d):
        in_middle = minimize_scalar(lambda log_s: reverse_kl(0.0, np.exp(log_s), d), bounds=(0.0, 1.6))
        on_mode = minimize(lambda v: reverse_kl(v[0], np.exp(v[1]), d), [d, 0.0], method="Nelder-Mead",
                           options=dict(xatol=1e-6, fatol=1e-10))
        return in_middle.fun - on_mode.fun

    return brentq(difference, low, high, xtol=1e-4)
    ### END SOLUTION

# %% check="switch_separation"
check.switch_separation(switch_separation)

# %% [markdown]
# ## 5 · Which mode?
#
# If $q$ must choose, what does it choose: the tall peak, or the heavy one? Let one component be narrow and tall, the other broad and low:
# $p = w\,\mathcal N(0,\tau^2) + (1-w)\,\mathcal N(6,1)$.
#
# ### Predict before you move

# %%
heights = 0.3 * np.exp(log_normal(0, 0, 0.1)), 0.7 * np.exp(log_normal(6, 6, 1))
print(f"w = 0.3, τ = 0.1: the peaks have heights {heights[0]:.2f} and {heights[1]:.2f}")
gate = predict(r"$p=0.3\,\mathcal N(0,0.1^2)+0.7\,\mathcal N(6,1)$: the left peak is four times as tall as the right "
               r"one. Where is the Gaussian with the smallest $D_{\mathrm{KL}}(q\|p)$?",
               {"at 0, on the tall peak": 0.0, "at 6, on the low, broad bump": 6.0, "in between, near the mean 4.2": 4.2})
gate

# %%
u = np.sort(np.concatenate([np.linspace(-1, 1, 801), np.linspace(-12, 18, 1501)]))  # finer where the narrow component is


def log_two_bumps(z, w, tau):
    """log p(z) of w N(0, tau²) + (1 - w) N(6, 1), elementwise, nats."""
    return np.logaddexp(np.log(w) + log_normal(z, 0, tau), np.log(1 - w) + log_normal(z, 6, 1))


def mass_or_height(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1.6, 1])
    p_curve = plots.curve(left, u, 0 * u, "posterior")
    q_curve, mark = plots.curve(left, u, 0 * u, "q"), plots.prediction(left)
    left.set(xlim=(-4, 9), ylim=(0, 4.2), xlabel="z", title="p filled; the better of two q's dashed")
    mass = np.linspace(0.03, 0.97, 200)
    right.plot(mass, -np.log(mass), **plots.style("kl"))
    right.plot(mass, -np.log(1 - mass), **plots.style("kl", linestyle=":"))
    (on_tall,), (on_broad,) = right.plot([], [], "k^", markersize=9), right.plot([], [], "ks", markersize=8)
    right.set(xlim=(0, 1), ylim=(0, 3.2), xlabel="mass w of the narrow one", ylabel="nats",
              title="KL(q‖p): ▲ q narrow, ■ q broad")
    plots.label(right, 0.12, 2.6, "−log w", "kl")
    plots.label(right, 0.88, 2.6, "−log(1−w)", "kl", ha="right")

    def update(w=0.7, tau=0.1, prediction=None):
        log_p, tall, broad = log_two_bumps(u, w, tau), log_normal(u, 0, tau), log_normal(u, 6, 1)
        kl_tall, kl_broad = kl_grid(tall, log_p, u), kl_grid(broad, log_p, u)
        p_curve.set(np.exp(log_p))
        q_curve.set(np.exp(tall if kl_tall < kl_broad else broad))
        on_tall.set_data([w], [kl_tall])
        on_broad.set_data([w], [kl_broad])
        mark.set(prediction, 0)
        peaks = np.exp([log_two_bumps(0.0, w, tau), log_two_bumps(6.0, w, tau)])
        return (f"KL(q||p): q on the narrow one {kl_tall:.3f}, q on the broad one {kl_broad:.3f} nats      "
                f"p is {peaks[0]:.2f} and {peaks[1]:.2f} high there")
    return update


explore(mass_or_height, w=(0.05, 0.95, 0.05), tau=(0.1, 1.0, 0.05), predict=gate,
        alt="A narrow tall and a broad low component of p with the better of two Gaussians, and the KL of both over the mass w")

# %% [markdown]
# Set $w=0.3$ and compare with your diamond. Then change only the width $\tau$, and so the height, and watch the triangle and the square.
#
# <details><summary>What you should have seen</summary>
#
# $\tau$ changes the height of the narrow peak by a factor of ten, and the triangle hardly moves. Only the mass counts: with $q$ equal to the
# narrow component, $p\approx w\,q$ wherever $q$ draws, so $D_{\mathrm{KL}}(q\,\|\,p)\approx\mathbb E_q[\log q/(w\,q)] = -\log w$. The choice turns at $w=\tfrac12$.
#
# </details>
#
# ### Misconception: "reverse KL finds the highest peak"

# %%
log_p = log_two_bumps(u, 0.3, 0.1)
for name, m, s, mass in (("tall peak ", 0, 0.1, 0.3), ("broad bump", 6, 1.0, 0.7)):
    print(f"q = the {name}: p is {np.exp(log_two_bumps(float(m), 0.3, 0.1)):.2f} high there, KL(q||p) = "
          f"{kl_grid(log_normal(u, m, s), log_p, u):.3f}, -log(mass) = {-np.log(mass):.3f} nats")

# %% [markdown]
# The tall peak loses: **mass, not height**. A point estimate (the maximum of $p$) would have taken the tall peak.
#
# ## 6 · KL from samples
#
# In many dimensions there is no grid. What is left is draws $x\sim q$ and the log ratio $\log r = \log p(x)-\log q(x)$ of each. The obvious estimate of
# $D_{\mathrm{KL}}(q\,\|\,p)$ is the mean of $k_1 = -\log r$. It is right on average, and it is noisy: often nearly half of its terms are negative although the KL is not.
#
# There is something to gain from a quantity whose mean we know. Because $\mathbb E_q[r]=\int q\,\tfrac pq\,dx=1$, the number $r-1$ has mean zero under $q$ (it is
# a **control variate**), and it tends to be low where $-\log r$ is high. So for every $\lambda$ this has the right mean too:
#
# $$k_\lambda = -\log r + \lambda\,(r-1).$$
#
# At $\lambda=0$ it is $k_1$. At $\lambda=1$ it is called $k_3$, and it is never negative, by the same line $\log t\le t-1$ as in section 1. A third estimate, $k_2=\tfrac12(\log r)^2$, is
# never negative either but has the wrong mean: it comes from the fact that close distributions have $D_{\mathrm{KL}}\approx\tfrac12\,\mathbb E_q[(\log r)^2]$.

# %%
def k_lambda(log_r, lam):
    """One term per draw x ~ q of an estimate of D_KL(q || p), nats; log_r = log p(x) - log q(x), any shape."""
    return -log_r + lam * np.expm1(log_r)


def mean_and_spread(k, log_q):
    """Mean and standard deviation under q of k (n,), both by the trapezoid rule on the grid z."""
    mean = np.trapezoid(np.exp(log_q) * k, z)
    return mean, np.sqrt(np.trapezoid(np.exp(log_q) * (k - mean)**2, z))

# %% [markdown]
# No sampling is needed to judge them: their mean and spread are integrals. Take $q=\mathcal N(0,1)$, and for $p$ first two Gaussians of the same width, then a
# wider one. All numbers are relative to the true KL.

# %%
rows = []
for m, s in ((0.1, 1.0), (1.0, 1.0), (1.0, 1.3)):
    log_q, log_p = log_normal(z, 0, 1), log_normal(z, m, s)
    truth = kl_grid(log_q, log_p, z)
    log_r = log_p - log_q
    for name, k in (("k1", k_lambda(log_r, 0)), ("k2", log_r**2 / 2), ("k3", k_lambda(log_r, 1))):
        mean, spread = mean_and_spread(k, log_q)
        bias = abs(mean / truth - 1)
        rows.append([f"N({m:g}, {s:g}²)", f"{truth:.4f}", name, f"{bias:.4f}", f"{spread / truth:.2f}"])
plots.show_table(rows, ["p", "true KL", "estimate", "size of the bias / KL", "spread of one term / KL"])

# %% [markdown]
# For the close pair, $k_1$ has a spread of 20 times what it estimates; $k_3$ has 1.42 times, with no bias. The last three rows are the warning. When $p$ is clearly
# wider than $q$, $r$ is very large now and then, and $k_3$ is far worse than $k_1$; its spread is finite only while the variance of $p$ is below twice that of $q$.
# The picture draws 1,000 estimates, each from $n$ draws. Find a setting where $\lambda=1$ helps most, and one where it does harm.

# %%
draws = rng.standard_normal((1000, 100))


def estimators(fig):
    ax = fig.subplots()
    edges = np.linspace(-1.5, 4, 67)
    flat = np.zeros(len(edges) - 1)
    chosen = ax.stairs(flat, edges, fill=True, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    first = ax.stairs(flat, edges, color="black", linewidth=2)
    second = ax.stairs(flat, edges, color="0.45", linewidth=2, linestyle=":")
    ax.axvline(1, **plots.style("evidence"))
    ax.set(xlim=(-1.5, 4), ylim=(0, 260), ylabel="of 1,000 estimates",
           xlabel="estimate / true KL (the outermost bins hold all beyond)",
           title=r"$k_1$ black, $k_2$ grey dotted, $k_\lambda$ hatched; the truth is at 1")

    def update(m=0.5, s=1.0, lam=0.0, n=10):
        x = draws[:, :n]
        log_r = log_normal(x, m, s) - log_normal(x, 0, 1)
        truth = kl_grid(log_normal(z, 0, 1), log_normal(z, m, s), z)
        found = [k.mean(axis=1) / truth for k in (k_lambda(log_r, lam), -log_r, log_r**2 / 2)]
        for stairs, estimates in zip((chosen, first, second), found):
            stairs.set_data(np.histogram(np.clip(estimates, -1.499, 3.999), edges)[0])
        spread = [f"{e.std():.2f}" for e in found]
        return (f"true KL {truth:.4f} nats      spread / KL: k1 {spread[1]}, k2 {spread[2]}, kλ {spread[0]}      "
                f"negative estimates: k1 {np.mean(found[1] < 0):.0%}, kλ {np.mean(found[0] < 0):.0%}")
    return update


explore(estimators, alt="Histograms of 1,000 estimates of a KL by k1, k2 and k lambda, relative to the truth at 1",
        m=(0.1, 2.0, 0.05), s=(0.6, 1.6, 0.05), lam=(0.0, 1.5, 0.05), n=[1, 10, 100],
        labels={"m": "mean of p", "s": "sd of p", "lam": "λ", "n": "draws n"})

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# At $m=0.1$, $s=1$ the histogram of $k_1$ hardly fits into the picture; at $\lambda=1$ it shrinks to a peak at the truth, and no estimate is negative.
# At $m=2$ the grey histogram of $k_2$ stands in the wrong place, and more draws do not help: that is bias. There $\lambda=1$ is too much, too: the
# best $\lambda$ is smaller. With $p$ of standard deviation 1.6 and $\lambda=1$ the true spread is
# infinite, although the picture shows a finite one: a thousand estimates simply have not yet met the rare huge $r$.
#
# **So:** $k_3$ for a small KL between close distributions; $k_1$ whenever $p$ may have the wider tails; $k_2$ only when the two are known to be close and a bias does not matter.
#
# </details>

# %%
log_q = log_normal(z, 0, 1)
for m in (0.1, 1.0, 2.0):
    log_r = log_normal(z, m, 1) - log_q
    spread = {lam: mean_and_spread(k_lambda(log_r, lam), log_q)[1] for lam in np.arange(0, 1.51, 0.05)}
    best, k2 = min(spread, key=spread.get), mean_and_spread(log_r**2 / 2, log_q)[0]
    print(f"m = {m}: the spread is smallest at λ = {best:.2f}; the mean of k2 is {k2 / (m**2 / 2):.2f} times the true KL")

# %% [markdown]
# ### Exercise 3.5 · Three estimates from the same draws ●○○ · 6 min
#
# Return the averages of $k_1$, $k_2$ and $k_3$ (section 6) over the draws.

# %% exercise="kl_estimators"
def kl_estimators(log_r):
    """Three estimates of D_KL(q || p) in nats from log_r (S,) = log p(x) - log q(x) at draws x ~ q.

    Returns (k1, k2, k3), three numbers: averages over the S draws.
    """
    ### BEGIN SOLUTION
    log_r = np.asarray(log_r, float)
    k1 = -log_r
    k2 = log_r**2 / 2
    k3 = np.exp(log_r) - 1 - log_r
    return k1.mean(), k2.mean(), k3.mean()
    ### END SOLUTION

# %% check="kl_estimators"
check.kl_estimators(kl_estimators)

# %% [markdown]
# ## Recap
#
# **Short.** $D_{\mathrm{KL}}(a\,\|\,b)$ is the average of $\log a-\log b$ over draws from $a$: what it costs to believe $b$ when $a$ is true. It is never negative, it is
# not symmetric, and which of the two is fitted, the first or the second, decides what the best fit looks like.
#
# **Standard.** KL is an average of log ratios; single terms may be negative, the average never. It is no metric: the two directions differ, a detour can be shorter, and one direction is
# infinite as soon as the first density draws what the second calls impossible. It does not depend on units, unlike entropy. A small KL bounds the probabilities of events, not the variance.
# Forward KL, $p$ first, is maximum likelihood; its best Gaussian has the mean and variance of $p$. Reverse KL, $q$ first, is what variational inference minimises; its best Gaussian
# covers two modes as long as they are near, sits on one when they are far, and then on the one with more mass. From draws of $q$ alone, $k_1$ is unbiased and noisy, $k_3$ unbiased,
# never negative and quiet when the two are close, but wild when $p$ has the wider tails.
#
# **Detailed.**
#
# | what | equation |
# |-|-|
# | definition | $D_{\mathrm{KL}}(a\,\Vert\,b)=\mathbb E_a[\log a-\log b]\ge 0$ |
# | reverse, forward | $D_{\mathrm{KL}}(q\,\Vert\,p)$, minimised by variational inference; $D_{\mathrm{KL}}(p\,\Vert\,q)$, by maximum likelihood |
# | two Gaussians | $\log\frac{s_2}{s_1}+\frac{s_1^2+(m_1-m_2)^2}{2s_2^2}-\frac12$ |
# | in $D$ dimensions | $\frac12\big[\log\frac{\det S_2}{\det S_1}+\operatorname{tr}(S_2^{-1}S_1)+(\mathbf m_1-\mathbf m_2)^\top S_2^{-1}(\mathbf m_1-\mathbf m_2)-D\big]$ |
# | cross-entropy | $-\mathbb E_p[\log q]=\mathrm H[p]+D_{\mathrm{KL}}(p\,\Vert\,q)$ |
# | change of variable | $D_{\mathrm{KL}}$ is the same for $x=g(z)$; $\mathrm H[x]=\mathrm H[z]+\mathbb E[\log g'(z)]$ for increasing $g$ |
# | Pinsker | $\tfrac12\int\lvert a-b\rvert\,dz\le\sqrt{D_{\mathrm{KL}}(a\,\Vert\,b)/2}$ |
# | forward projection | $m=\mathbb E_p[z],\; s^2=\operatorname{Var}_p[z]$ |
# | reverse, far modes | $D_{\mathrm{KL}}\approx-\log(\text{mass of the mode})$ |
# | estimates, $x\sim q$, $r=p/q$ | $k_1=-\log r,\quad k_2=\frac12(\log r)^2,\quad k_3=r-1-\log r$ |
#
# **Memory aid.** *The first one draws, both are scored.* If $q$ is first, $q$ fears places where $p$ is small. If $p$ is first, $q$ must be wherever $p$ goes.
#
# **Key terms.** KL divergence · reverse and forward KL · cross-entropy · support · moment matching · zero-forcing, zero-avoiding · total variation · control variate

# %%
flash_cards(3)

# %%
quiz("03_kl_divergence")

# %% [markdown]
# ## A conversation

# %%
dialogue([
    ("Student", "So the KL divergence is the distance between two distributions. I make it small, and they are the same."),
    ("Teacher", "Zero means the same. But a distance? Tell me how far it is from a narrow Gaussian to one twice as wide, and back again."),
    ("Student", "The way back must be just as far. Oh. It was not: in one direction it cost more than twice as much."),
    ("Teacher", "Which direction was the expensive one?"),
    ("Student", "When the wide one came first. The wide one draws, and it often draws points that the narrow one finds almost impossible."),
    ("Teacher", "Good. Now p has two bumps and q has one. We minimise the KL with q first. What will q do?"),
    ("Student", "I read that somewhere. It collapses onto one bump, always."),
    ("Teacher", "And what did you see when the bumps were two standard deviations from the middle?"),
    ("Student", "It lay across both of them. The dip was shallow, so it was cheaper to cross it than to lose half of the mass."),
    ("Teacher", "And losing half of the mass costs about the logarithm of two, however far away that half is. When q must choose, which bump does it take?"),
    ("Student", "The highest. No, wait: height did not matter. The heaviest."),
    ("Teacher", "Then you have it: the first one draws, both are scored. In the next lesson you will minimise this without ever knowing p completely."),
])

# %% [markdown]
# ## References
#
# - S. Kullback and R. A. Leibler (1951), *On information and sufficiency*, Annals of Mathematical Statistics 22. Where it comes from.
# - T. M. Cover and J. A. Thomas (2006), *Elements of Information Theory*, chapter 2: the inequality of section 1 and its relatives.
# - C. M. Bishop (2006), *Pattern Recognition and Machine Learning*, section 1.6.1, and figures 10.2 and 10.3 for the two directions.
# - T. Minka (2005), *Divergence measures and message passing*, Microsoft Research TR-2005-173: zero-forcing and zero-avoiding.
# - J. Schulman (2020), *Approximating KL divergence*, joschu.net/blog/kl-approx.html: the three estimates and the first six rows of our table in section 6.
#
# **Next: lesson 04, variational inference.** There $p$ is a posterior known only up to a constant, and the reverse KL is minimised all the same.

# %% [markdown] solutions
# ## Solutions
