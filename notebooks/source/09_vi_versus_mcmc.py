# %% [markdown]
# # 09 · VI versus MCMC, and scale
#
# **The question of this lesson:** a posterior can be walked through, or stood in for. What does each way get wrong, what would tell you, and what becomes of both when there are very many data?
#
# After this lesson you will be able to
# 1. *implement* leapfrog steps, *show* what they conserve, and *predict* the step size at which they blow up;
# 2. *compute* R-hat and the effective sample size of chains, and *give* a chain that each of them trusts wrongly;
# 3. *show* that Gibbs sampling and coordinate ascent are slow for the same reason, with the same number;
# 4. *compute* k-hat from importance weights, and *name* two things that it does not see;
# 5. *judge* variational answers to the eight schools against an exact one and against published reference values;
# 6. *implement* stochastic variational inference, and *predict* the accuracy that it cannot beat.
#
# **Needs:** [lesson 04](04_variational_inference.ipynb) (mean field, coordinate ascent) and [lesson 05](05_elbo.ipynb) (weights, effective sample size); the Bow is from [lesson 01](01_latent_variables.ipynb).
# **Takes** about 170 minutes: walking 15 · the puck 30 · three answers 20 · diagnosing chains 25 · diagnosing a fit 25 · eight schools 20 · minibatches 25 · recap 10.

# %%
import time

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import genpareto, norm
from threadpoolctl import threadpool_limits

from course_utils import plots
from course_utils.checks import lesson_09 as check
from course_utils.explore import explore
from course_utils.models import bow_curve, bow_log_joint, bow_posterior, log_normal
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
threadpool_limits(1)  # small matrices: one thread is faster than two that wait for each other
rng = np.random.default_rng(9)

# %% [markdown]
# ## 1 · Walking through a posterior
#
# Lessons 04 to 07 answered every posterior in the same way: choose a family, maximise the ELBO, *assess*. This lesson is about the last word, and about the other great way, **Markov chain Monte Carlo** (MCMC): take a walk whose steps are chosen such
# that, in the long run, it visits every place as often as the posterior says. It needs no family at all.
#
# The oldest recipe is thirty words long. From $z$, propose $z' = z + \text{noise}$. Go there with probability $\min(1, p(x, z')/p(x, z))$, else stay and count $z$ once more. Only a *ratio* of joints is needed: the unknown evidence cancels.
# This is **random-walk Metropolis**. All our walks take `C` chains at once, in rows.

# %%
def metropolis(log_p, z, sd, n, rng):
    """Random-walk Metropolis: n draws of C chains, and the share of accepted proposals.

    log_p: (C, D) -> (C,), log density up to a constant, nats. z: starts (C, D). sd: of the proposal. Returns (n, C, D) and a number.
    """
    draws, accepted, log_now = np.empty((n, *z.shape)), 0.0, log_p(z)
    for t in range(n):
        new = z + sd * rng.standard_normal(z.shape)
        log_new = log_p(new)
        ok = np.log(rng.random(len(z))) < log_new - log_now
        z, log_now = np.where(ok[:, None], new, z), np.where(ok, log_new, log_now)
        draws[t], accepted = z, accepted + ok.mean() / n
    return draws, accepted


def bell(z):
    """log density of N(0, I) up to a constant: (C, D) -> (C,), nats."""
    return -(z**2).sum(axis=-1) / 2

# %% [markdown]
# How long should the steps be? Tiny ones are nearly always accepted and lead nowhere; huge ones are nearly always refused. On $\mathcal N(0, 1)$ the acceptance can be computed: with proposals of standard deviation $\sigma$ it is $\frac2\pi\arctan\frac2\sigma$.

# %%
rows = []
for sd in (0.2, 2.38, 20.0):
    draws, rate = metropolis(bell, rng.standard_normal((100, 1)), sd, 1000, rng)
    start, end = draws[:-1, :, 0].ravel(), draws[1:, :, 0].ravel()
    rows.append([sd, f"{rate:.3f}", f"{2 / np.pi * np.arctan(2 / sd):.4f}", f"{np.corrcoef(start, end)[0, 1]:.2f}"])
plots.show_table(rows, ["proposal sd", "accepted", "formula", "correlation of a draw with the next"])

# %% [markdown]
# The last column is what costs: neighbours in the chain are nearly copies. You can see it:

# %%
fig = plots.figure(8.5, 2.2)
for ax, sd in zip(fig.subplots(1, 3, sharey=True), (0.2, 2.38, 20.0)):
    ax.plot(metropolis(bell, np.zeros((1, 1)), sd, 300, np.random.default_rng(0))[0].ravel(), color="black", linewidth=0.9)
    ax.set(xlabel="draw", ylim=(-3.4, 3.4), title=f"proposal sd {sd:g}")
fig.axes[0].set_ylabel("z")
plots.show(fig, alt="Three walks of 300 draws: with small steps a slow drift, with medium ones a restless line, with huge ones long level stretches")

# %% [markdown]
# Even at the best step a draw has most of the last one in it, and in $D$ dimensions the best step shrinks like $1/\sqrt D$. Can one go far *and* be accepted?
#
# ## 2 · A puck instead of a walk
#
# Let $U(z) = -\log p(x, z)$ be a landscape: probable places are valleys. Put a frictionless puck at $z$, kick it with a random velocity $v\sim\mathcal N(0, I)$, let it glide for a while, and take the place where it is then as the proposal.
# The puck keeps its **energy** $H(z, v) = U(z) + \tfrac12|v|^2$, so it may end far away and still be accepted: the rule is $\min(1, e^{H_{\text{before}} - H_{\text{after}}})$. This is **Hamiltonian Monte Carlo** (HMC).
#
# A computer glides in steps of length $\epsilon$. The **leapfrog** step is half a kick, a drift, half a kick:
#
# $$v \leftarrow v + \tfrac\epsilon2\,\nabla\log p(z), \qquad z \leftarrow z + \epsilon\, v, \qquad v \leftarrow v + \tfrac\epsilon2\,\nabla\log p(z).$$
#
# Why not the obvious $z \leftarrow z + \epsilon v$ together with $v \leftarrow v + \epsilon\nabla\log p(z)$? Because the acceptance rule is right only for moves that **can be run backwards** (turn $v$ round and you come home) and that **keep areas** in the plane of $z$ and $v$. Leapfrog does both exactly, at any $\epsilon$. It is wrong only about the energy, and a little.
#
# ### Exercise 9.1 · Leapfrog ●●○ · 12 min
#
# Take $L$ leapfrog steps and return where the puck is and how fast. (Two half kicks in a row are one kick, but you need not use that.)

# %% exercise="leapfrog"
def leapfrog(z, v, slope, eps, L):
    """L leapfrog steps of length eps from place z and velocity v (same shape). slope: z -> gradient of log p at z. Returns (z, v)."""
    ### BEGIN SOLUTION
    for _ in range(L):
        v = v + eps / 2 * slope(z)
        z = z + eps * v
        v = v + eps / 2 * slope(z)
    return z, v
    ### END SOLUTION

# %% check="leapfrog"
check.leapfrog(leapfrog)

# %% [markdown]
# ### Predict before you move
#
# On $\mathcal N(0, 1)$ the true puck runs round a circle in the plane of $z$ and $v$, once in a time $2\pi$. The leapfrog puck hops. Longer hops save work. (The picture also has a dashed ellipse; find out what it is for.)

# %%
gate_eps = predict(r"The target is $\mathcal N(0, 1)$. From which step length $\epsilon$ on does the puck's energy grow without limit, the more so the more steps you take?",
                   {"0.1: steps must be small beside the sd": 0.1, "0.5": 0.5, "1, one sd": 1.0, "2, two sds": 2.0})
gate_eps

# %%
def leapfrog_matrix(eps):
    """One leapfrog step on N(0, 1) as a matrix that acts on (z, v): (..., 2, 2) for eps (...)."""
    e = np.asarray(eps, float)
    return np.stack([np.stack([1 - e**2 / 2, e], -1), np.stack([-e * (1 - e**2 / 4), 1 - e**2 / 2], -1)], -2)


some_z, some_v = np.random.default_rng(1).standard_normal((2, 300))        # where pucks stand, and how they are kicked
luck = np.log(np.random.default_rng(2).random(300))


def glide(eps, L):
    """300 pucks after L leapfrog steps on N(0, 1): next places (..., 300) and which moves are accepted. eps: (...)."""
    M = np.linalg.matrix_power(leapfrog_matrix(eps), L)
    z, v = (M[..., i, 0, None] * some_z + M[..., i, 1, None] * some_v for i in (0, 1))
    ok = luck < (some_z**2 + some_v**2 - z**2 - v**2) / 2
    return np.where(ok, z, some_z), ok

# %%
turn, all_eps = np.linspace(0, 2 * np.pi, 181), np.round(np.arange(0.05, 2.2501, 0.05), 2)


def phase_space(fig):
    ax = fig.subplot_mosaic([["plane", "next"], ["rate", "rate"]], height_ratios=(2.6, 1), width_ratios=(1.35, 1))
    ax["plane"].plot(np.sqrt(1.25) * np.cos(turn), np.sqrt(1.25) * np.sin(turn), **plots.style("posterior"))
    (shadow,) = ax["plane"].plot([], [], **plots.style("q"))
    (path,) = ax["plane"].plot([], [], color="black", marker="o", markersize=4, linewidth=0.8)
    ax["plane"].plot([1], [0.5], color="black", marker="s", markersize=9, linestyle="none")
    ax["plane"].set(xlim=(-2.7, 2.7), ylim=(-1.75, 1.75), aspect="equal", xlabel="place z", ylabel="velocity v", title="■ start, ● hops; circle: truth; dashed: shadow")
    (pairs,) = ax["next"].plot([], [], **plots.style("data", alpha=0.6))
    ax["next"].set(xlim=(-3.3, 3.3), ylim=(-3.3, 3.3), aspect="equal", xlabel="z", ylabel="next z", title="300 draws and their next ones")
    (curve,) = ax["rate"].plot([], [], color="black", linewidth=2)
    (here,) = ax["rate"].plot([], [], color="black", marker="o", markersize=10)
    mark = plots.prediction(ax["rate"])
    ax["rate"].set(xlim=(0, 2.3), ylim=(-0.08, 1.12), yticks=[0, 0.5, 1], xlabel="step length ε (up to yours)", ylabel="accepted")

    def update(eps=0.1, L=5, prediction=None):
        states = np.array([np.linalg.matrix_power(leapfrog_matrix(eps), k) @ [1, 0.5] for k in range(L + 1)])
        path.set_data(*np.clip(states, -99, 99).T)
        inside = 1 - eps**2 / 4
        radius = np.sqrt(max(inside + 0.25, 0))                    # z² (1 - ε²/4) + v² at the start (1, 0.5)
        shadow.set_data(*((radius / np.sqrt(inside) * np.cos(turn), radius * np.sin(turn)) if inside > 1e-9 else ([], [])))
        z, ok = glide(eps, L)
        pairs.set_data(some_z, z)
        seen = all_eps[all_eps <= eps + 1e-9]
        curve.set_data(seen, glide(seen, L)[1].mean(axis=-1))
        here.set_data([eps], [ok.mean()])
        mark.set(prediction, 0.5)
        change = (states**2).sum(axis=1) / 2 - 0.625
        return (f"time εL = {eps * L:.2f}   energy error at the end {change[-1]:+.3g}, largest on the way {np.abs(change).max():.3g}   accepted {ok.mean():.2f}\n"
                f"correlation with the next draw: of z {np.corrcoef(some_z, z)[0, 1]:+.2f}, of z² {np.corrcoef(some_z**2, z**2)[0, 1]:+.2f}")
    return update


explore(phase_space, eps=(0.05, 2.25, 0.05), L=(1, 60), predict=gate_eps, size=(8.5, 5.2), labels={"eps": "step length ε", "L": "steps L"},
        alt="A leapfrog path in the plane of place and velocity between a circle and a dashed ellipse; draws against next draws; the acceptance over the step length")

# %% [markdown]
# First raise $\epsilon$ at $L = 5$ until it breaks. Then take $\epsilon = 0.1$ and count up $L$: stop at $L = 16$, at $31$, at $60$, and read the second line of numbers each time.
#
# <details><summary>What you should have seen</summary>
#
# - The hops lie on the dashed ellipse, exactly: leapfrog keeps a **shadow energy** $z^2(1-\epsilon^2/4) + v^2$ instead of the true one. The error does not pile up; it swings. The ellipse stretches as $\epsilon\to2$ and is gone at 2, and then every hop multiplies the energy.
# - At $\epsilon = 0.1$ everything is accepted, at any $L$. But look at the cloud: at $L = 16$, a quarter of a turn, it is round and the next draw has forgotten the last. At $L = 31$, half a turn, it is a line: the next draw is **minus** the last. At $L = 60$, nearly a whole turn, the puck is almost home again.
#
# </details>
#
# The matrix `leapfrog_matrix` says it all: its determinant is 1 (areas are kept) and half its trace is $1-\epsilon^2/2$. While that lies between $-1$ and $1$ the matrix is a rotation of the ellipse; below $-1$, that is for $\epsilon > 2$, it stretches. For a posterior of standard deviation $\sigma$: $\epsilon < 2\sigma$, and the *narrowest* direction decides.

# %%
for eps in (0.1, 1.0, 1.99, 2.01):
    M = leapfrog_matrix(eps)
    far = np.abs(np.linalg.matrix_power(M, 1000) @ [1, 0.5]).max()
    print(f"eps = {eps}: determinant {np.linalg.det(M):.4f}, half the trace {np.trace(M) / 2:+.4f}, after 1,000 steps {'within 15' if far < 15 else 'beyond a million' if far > 1e6 else 'lost'}")

# %% [markdown]
# ### Misconception: "99 % accepted, so the sampler is fine"
#
# Here is the whole algorithm, and a chain with half a turn between kicks.

# %%
def hmc(log_p, slope, z, eps, L, n, rng):
    """Hamiltonian Monte Carlo: n draws of C chains (n, C, D), and the share of accepted moves. slope: gradient of log_p, (C, D) -> (C, D)."""
    draws, accepted, log_now = np.empty((n, *z.shape)), 0.0, log_p(z)
    for t in range(n):
        v = rng.standard_normal(z.shape)
        new, w = z, v + eps / 2 * slope(z)
        for k in range(L):
            new = new + eps * w
            w = w + (eps if k < L - 1 else eps / 2) * slope(new)   # the last kick is a half one
        log_new = log_p(new)
        ok = np.log(rng.random(len(z))) < log_new - log_now + ((v**2).sum(axis=-1) - (w**2).sum(axis=-1)) / 2
        z, log_now = np.where(ok[:, None], new, z), np.where(ok, log_new, log_now)
        draws[t], accepted = z, accepted + ok.mean() / n
    return draws, accepted

# %%
rows = []
for name, L in (("a quarter turn", 16), ("half a turn", 31), ("three quarters", 47), ("nearly a whole turn", 62)):
    draws, rate = hmc(bell, lambda z: -z, rng.standard_normal((4, 1)), 0.1, L, 500, rng)
    z = draws[..., 0]
    rows.append([name, L, f"{rate:.3f}", f"{z.mean():+.2f}", " ".join(f"{s:.2f}" for s in z.std(axis=0)),
                 f"{np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]:+.2f}", f"{np.corrcoef(z[:-1].ravel()**2, z[1:].ravel()**2)[0, 1]:+.2f}"])
plots.show_table(rows, ["turn between kicks", "L", "accepted", "mean of all", "sd of each of four chains", "correlation of z", "of z²"])

# %% [markdown]
# All four accept everything. With half a turn the mean is perfect, better than with independent draws, because each draw cancels the last; yet each chain stays on its own ring $|z|$, and the four standard deviations disagree wildly about a truth of 1.
# So: a quarter of a turn where the scales are known, a *random* number of steps where they are not. (The sampler NUTS, in Stan and PyMC, stops when the puck begins to turn back.)
#
# ## 3 · The same posterior, three answers
#
# The Bow, curvature 1, noise 0.25, and two observations: $x = (1, 0.5)$ near the wire, whose posterior is one narrow hump, and $x = (0, 2)$ at the top, where two humps hold half of the mass each. A grid knows the answer. Against it: HMC, two random walks (a careful step of 0.6 and a wild one of 4),
# and Gaussian VI. Every machine runs four times, from four scattered places (quantiles of the prior); the first 100 draws of each chain are warm-up and thrown away. HMC glides about a quarter of a turn.

# %%
z_grid = np.linspace(-6, 6, 1201)
places = {"(1, 0.5), near the wire": np.array([1.0, 0.5]), "(0, 2), at the top": np.array([0.0, 2.0])}


def bow_slope(x, z):
    """d/dz log p(x, z) of the Bow with w = 1, s = 0.25, for chains z (C, 1); same shape."""
    tangent = np.concatenate([np.cos(z), np.sin(z)], axis=-1)
    return -z + ((x - bow_curve(z[:, 0], 1.0)) * tangent).sum(axis=-1, keepdims=True) / 0.25**2


eps_grid = np.linspace(-7, 7, 141)
eps_weight = np.exp(log_normal(eps_grid, 0, 1)) * (eps_grid[1] - eps_grid[0])


def bow_negative_elbo(x, m, log_s):
    """-ELBO in nats of q = N(m, s²) for the Bow, by a sum over a grid."""
    return -eps_weight @ bow_log_joint(x, m + np.exp(log_s) * eps_grid, 1.0, 0.25) - log_s - 0.5 * np.log(2 * np.pi * np.e)

# %%
starts = norm.ppf([[0.125], [0.375], [0.625], [0.875]])
answers, fits = {}, {}
for place, x in places.items():
    log_p = lambda z, x=x: bow_log_joint(x, z[:, 0], 1.0, 0.25)
    answers[place, "HMC"] = hmc(log_p, lambda z, x=x: bow_slope(x, z), starts, 0.12, 3, 1100, rng)[0][100:, :, 0].T
    for sd in (0.6, 4.0):
        answers[place, f"random walk, step {sd:g}"] = metropolis(log_p, starts, sd, 1100, rng)[0][100:, :, 0].T
    found = [minimize(lambda v, x=x: bow_negative_elbo(x, *v), [start, -1.0]) for start in starts[:, 0]]
    fits[place] = np.array([[f.x[0], np.exp(f.x[1]), -f.fun] for f in found])
    answers[place, "Gaussian VI"] = fits[place][:, :1] + fits[place][:, 1:2] * rng.standard_normal((4, 1000))
print(f"the four starts: {np.round(starts[:, 0], 2)}")
for place, fit in fits.items():
    print(f"{place}: means of the four fits {np.round(fit[:, 0], 3)}, their ELBOs {np.round(fit[:, 2], 3)}, log p(x) = {bow_posterior(places[place], z_grid, 1.0, 0.25)[1]:.3f}")

# %%
gate_share = predict("At the top, half of the posterior's mass lies right of 0. What share of 1,000 HMC draws of **one** chain will lie right of 0?",
                     {"about 0.5: that is what MCMC guarantees": 0.5, "somewhere about 0.8: it mixes slowly": 0.8, "0 or 1": 1.0})
gate_share

# %%
def three_answers(fig):
    ax = fig.subplot_mosaic([["z", "trace"], ["share", "trace"]], height_ratios=(2.4, 1))
    posterior, edges = plots.curve(ax["z"], z_grid, 0 * z_grid, "posterior"), np.linspace(-5, 5, 81)
    bars = ax["z"].stairs(np.zeros(80), edges, color="black", linewidth=1.3)
    (q,) = ax["z"].plot([], [], **plots.style("q"))
    ax["z"].set(xlim=(-4.5, 4.5), ylim=(0, 2.1), xlabel="z", title="posterior filled, draws as steps, q dashed")
    runs = [ax["trace"].plot([], [], color=c, linestyle="none", marker=m, markersize=3)[0]
            for c, m in zip((plots.BLACK, plots.GREEN, plots.PURPLE, plots.SKY), "osv^")]
    ax["trace"].set(xlim=(0, 1000), ylim=(-4.5, 4.5), xlabel="draw", ylabel="z", title="the four runs")
    (dots,) = ax["share"].plot([], [], **plots.style("data", markersize=13))
    (truth,) = ax["share"].plot([], [], **plots.style("posterior", linewidth=4))
    mark = plots.prediction(ax["share"])
    ax["share"].set(xlim=(-0.04, 1.04), ylim=(0.3, 4.7), yticks=[1, 2, 3, 4], ylabel="run", xlabel="share right of 0 (line: exact)")

    def update(x="(1, 0.5), near the wire", method="HMC", draws=200, run="all", prediction=None):
        density = bow_posterior(places[x], z_grid, 1.0, 0.25)[0]
        posterior.set(density)
        truth.set_data([density[600:].sum() / density.sum()] * 2, [0.3, 4.7])
        got, shown = answers[x, method][:, :draws], range(4) if run == "all" else [int(run) - 1]
        bars.set_data(np.histogram(got[list(shown)], edges)[0] / (len(shown) * draws * 0.125))
        m, s, _ = fits[x][shown[0] if run != "all" else np.argmax(fits[x][:, 2])]
        q.set_data(*((z_grid, np.exp(log_normal(z_grid, m, s))) if method == "Gaussian VI" else ([], [])))
        for k, line in enumerate(runs):
            line.set_data(*((np.arange(draws), got[k]) if k in shown else ([], [])))
        share = (got > 0).mean(axis=1)
        dots.set_data(share, [1, 2, 3, 4])
        mark.set(prediction, 2.5)
        mean = density @ z_grid / density.sum()
        sd = np.sqrt(density @ (z_grid - mean)**2 / density.sum())
        z = got[list(shown)]
        return (f"exact: mean {mean:+.3f}, sd {sd:.3f}      these {z.size} draws: mean {z.mean():+.3f}, sd {z.std():.3f}\n"
                f"share right of 0 in the four runs: {', '.join(f'{s:.3f}' for s in share)}      exact {truth.get_xdata()[0]:.3f}")
    return update


explore(three_answers, x=list(places), method=["HMC", "random walk, step 0.6", "random walk, step 4", "Gaussian VI"], draws=(50, 1000, 50), run=["all", "1", "2", "3", "4"],
        predict=gate_share, size=(8.5, 4.8), labels={"x": "observation x"},
        alt="The exact posterior of the Bow with a histogram of draws; the traces of four runs; for each run the share of draws right of zero")

# %% [markdown]
# Near the wire, let all methods run to 1,000 draws. Then go to the top, and look at one run at a time before you look at all four.
#
# <details><summary>What you should have seen</summary>
#
# - Near the wire all agree, and VI needed no draws at all: its curve is the posterior's to the eye.
# - At the top **HMC is stuck in one hump as VI is**: every run says 0 or 1. The puck cannot climb the ridge between the humps. Nothing in a single run betrays it: a beautiful histogram, a restless trace.
# - The wild random walk, which wastes most of its proposals, is the only one that crosses: a step of 4 can land on the other side. That is luck with one dimension and two known humps, not a recipe.
# - Four starts show the trouble at once, for HMC and for VI alike.
#
# </details>
#
# ### Misconception: "MCMC is exact, VI is wrong"
#
# What is exact is the limit. Here is one run of each machine, the first, with the error of its mean in posterior standard deviations, and its distance in mass.

# %%
rows = []
for place, x in places.items():
    density = bow_posterior(x, z_grid, 1.0, 0.25)[0]
    mean = density @ z_grid / density.sum()
    sd = np.sqrt(density @ (z_grid - mean)**2 / density.sum())
    for method in ("HMC", "random walk, step 0.6", "random walk, step 4", "Gaussian VI"):
        z = fits[place][0, 0] if method == "Gaussian VI" else answers[place, method][0]
        share = (answers[place, method][0] > 0).mean()
        rows.append([place, method, f"{np.abs(np.mean(z) - mean) / sd:.3f}", f"{abs(share - density[600:].sum() / density.sum()):.3f}"])
plots.show_table(rows, ["x", "machine, run 1", "error of the mean, in posterior sds", "error of the mass right of 0"])

# %% [markdown]
# Near the wire, the "wrong" method has the *smallest* error of all: its bias is smaller than the noise of 1,000 draws. At the top, the "exact" method is off by half of the mass, as VI is. More draws cure the first line. Nothing that you are likely to wait for cures the other.
#
# ## 4 · How would you notice? R-hat and ESS
#
# Nobody has a grid in earnest. What can chains tell about themselves? Compare them. With $C$ chains of $n$ draws let $W$ be the average of the chains' variances, and $B$ be $n$ times the variance of the chains' means (both with $-1$ in the denominator). If all chains have seen the same distribution, both estimate its variance. Then
#
# $$\widehat R = \sqrt{\frac{\frac{n-1}n W + \frac1n B}{W}} \approx 1 ,$$
#
# and if they sit in different places $B$ is far too large and $\widehat R > 1$. A customary limit is 1.01.
#
# ### Exercise 9.2 · R-hat ●○○ · 8 min
#
# Write it. For the two chains $(0,1,2,3)$ and $(2,3,4,5)$ you can do it on paper first: $W = \tfrac53$, $B = 8$.

# %% exercise="rhat"
def rhat(chains):
    """R-hat of chains (C, n): the root of the pooled variance estimate over the variance within the chains. A number."""
    ### BEGIN SOLUTION
    chains = np.asarray(chains, float)
    n = chains.shape[1]
    W = chains.var(axis=1, ddof=1).mean()
    B = n * chains.mean(axis=1).var(ddof=1)
    return np.sqrt(((n - 1) / n * W + B / n) / W)
    ### END SOLUTION

# %% check="rhat"
check.rhat(rhat)

# %% [markdown]
# $\widehat R$ in this form compares chains, not times. Four chains that drift in company agree with each other all the way. The cure is to cut every chain into halves first (**split** $\widehat R$), and to look at the *second* number, too: how many independent draws the chain is worth.
# With $\rho_t$ the correlation of draws $t$ steps apart,
#
# $$\mathrm{ESS} = \frac{N}{1 + 2\sum_{t\ge1}\rho_t},$$
#
# which is the number of independent draws whose mean would be as noisy. (Lesson 05 had an ESS of *weights*; this is one of *time*.) The far $\rho_t$ are noise, so the sum is cut where two neighbours $\rho_{2k}+\rho_{2k+1}$ are no longer positive together.

# %%
def split_rhat(chains):
    """R-hat of the 2C halves of chains (C, n), n even: sees drifts that all chains share."""
    halves = np.asarray(chains, float).reshape(2 * len(chains), -1)
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    return np.sqrt(1 - 1 / halves.shape[1] + between / within)


def ess(chains):
    """Effective sample size of chains (C, n) for their common mean (Geyer's sum over pairs)."""
    C, n = chains.shape
    wave = np.fft.rfft(chains - chains.mean(axis=1, keepdims=True), 2 * n)
    cov = np.fft.irfft(np.abs(wave)**2)[:, :n].mean(axis=0) / n                   # autocovariance at lags 0 to n - 1
    pooled = cov[0] + (chains.mean(axis=1).var(ddof=1) if C > 1 else 0)
    rho = 1 - (cov[0] * n / (n - 1) - cov) / pooled
    pairs = rho[:n - n % 2:2] + rho[1::2][:n // 2]
    pairs = pairs[:np.argmax(np.append(pairs, -1.0) < 0)]                         # up to the first negative pair
    return C * n / max(2 * np.minimum.accumulate(pairs).sum() - 1, 1 / np.log10(C * n))

# %%
drift = np.linspace(0, 3, 500) + 0.5 * rng.standard_normal((4, 500))              # four chains on their way, in company
heads = drift.mean(axis=1)
W, B = drift.var(axis=1, ddof=1).mean(), 500 * heads.var(ddof=1)
print(f"four chains that drift in company: R-hat {np.sqrt((499 / 500 * W + B / 500) / W):.3f}, of their halves {split_rhat(drift):.3f}, ESS {ess(drift):.0f} of 2000")
rows = []
for (place, method), chains in answers.items():
    if method != "Gaussian VI":
        rows.append([place, method, f"{split_rhat(chains[:1]):.2f}", f"{ess(chains[:1]):.0f}", f"{split_rhat(chains):.2f}", f"{ess(chains):.0f}"])
top = places["(0, 2), at the top"]
company = hmc(lambda z: bow_log_joint(top, z[:, 0], 1.0, 0.25), lambda z: bow_slope(top, z), np.abs(starts), 0.12, 3, 1100, rng)[0][100:, :, 0].T
rows.append(["(0, 2), at the top", "HMC, all four starts right of 0", f"{split_rhat(company[:1]):.2f}", f"{ess(company[:1]):.0f}", f"{split_rhat(company):.2f}", f"{ess(company):.0f}"])
plots.show_table(rows, ["x", "method", "run 1: split R-hat", "run 1: ESS of 1,000", "four runs: split R-hat", "four runs: ESS of 4,000"])

# %% [markdown]
# Read the line of HMC at the top. **One run is given a clean bill** by both numbers: it *has* converged, to one hump. Only the four runs together raise the alarm, because their starts were scattered to both sides. The last line starts all four on the right, and nothing is seen: $\widehat R$ can only compare places that somebody has visited.
#
# What practice adds today (Vehtari and others, 2021): split chains, as here; draws replaced by their *ranks* first, so that a posterior without a variance is no exception; once more for the distance to the median, so that chains that differ in *width* are seen, like those with half a turn in section 2; and an ESS for the tails beside that for the mean.
#
# ### Exercise 9.3 · A chain that remembers ●○○ · 6 min
#
# If $\rho_t = \varphi^t$, the sum is a geometric series. Write the ESS of $n$ draws of such a chain, for $\varphi$ between $-1$ and $1$. What does a *negative* $\varphi$ do, and where have you met it?

# %% exercise="ess_ar1"
def ess_ar1(phi, n):
    """Effective sample size of n draws whose correlation at lag t is phi**t; elementwise for arrays of phi, -1 < phi < 1."""
    ### BEGIN SOLUTION
    return n * (1 - phi) / (1 + phi)
    ### END SOLUTION

# %% check="ess_ar1"
check.ess_ar1(ess_ar1)

# %% [markdown]
# ### One number, twice
#
# **Gibbs sampling** draws one latent at a time from its conditional, with the others held fixed. Lesson 04's coordinate ascent *fits* one factor at a time, with the others held fixed. On the correlated Gaussian with $z_1\mid z_2\sim\mathcal N(\rho z_2, 1-\rho^2)$ both take the same step: multiply by $\rho$, then by $\rho$ again.

# %%
def gibbs(rho, n, rng):
    """n sweeps of Gibbs sampling on the Gaussian with unit variances and correlation rho; the first coordinate (n,), in balance from the start."""
    a, noise, out = rng.standard_normal(), np.sqrt(1 - rho**2) * rng.standard_normal((n, 2)), np.empty(n)
    for t in range(n):
        out[t] = a = rho * (rho * a + noise[t, 0]) + noise[t, 1]
    return out


def cavi_means(rho, n):
    """Mean-field coordinate ascent on the same Gaussian from m1 = 1: the first mean after each of n sweeps (n,)."""
    return np.cumprod(np.full((n, 2), rho).prod(axis=1))           # m2 = rho m1, then m1 = rho m2


for rho in (0.5, 0.9, 0.99):
    z, m = gibbs(rho, 100_000, rng), cavi_means(rho, 3)
    print(f"rho = {rho}: correlation of neighbours in Gibbs {np.corrcoef(z[:-1], z[1:])[0, 1]:.2f}, contraction of CAVI {m[1] / m[0]:.4f}, rho² = {rho**2:.4f};"
          f"  ESS a draw {ess(z[None]) / z.size:.4f}, (1 - rho²)/(1 + rho²) = {(1 - rho**2) / (1 + rho**2):.4f}")

# %% [markdown]
# Slow mixing and slow convergence are one disease, and it sits in the posterior: take one at a time, and strong dependence makes small steps. The difference is in what remains at the end. Coordinate ascent arrives, at a $q$ whose variance is $1-\rho^2$ for ever; Gibbs never arrives, and its average is right in the limit.
#
# ## 5 · How would you notice? k-hat
#
# And VI? It leaves a $q$ and an ELBO. Lesson 05 says what else can be had: draw $z_s\sim q$ and look at the **weights** $w_s = p(x, z_s)/q(z_s)$. Equal weights mean that $q$ is the posterior. Few giants mean that $q$ hardly ever draws where it should, and the size of the giants can be measured *before* the largest one has been met.
#
# Take $p = \mathcal N(0, 1)$ and a $q=\mathcal N(0, s^2)$ that is too narrow, so $z = s\,\epsilon$:
#
# $$\log w = \tfrac12(1 - s^2)\,\epsilon^2 + \text{const},\qquad P(w > t) = P\Big(\epsilon^2 > \frac{2\log t}{1-s^2} + \dots\Big) \approx t^{-1/(1-s^2)} .$$
#
# A **power law**. Its exponent is written $1/k$, so the **tail index** is $k = 1-s^2$. From $k = \tfrac12$ on, the weights have no variance; from 1 on, no mean. For $q = \mathcal N(0, 0.3)$ ($s^2 = 0.3$) it is 0.7.
#
# The power law can be found without formulas, from the weights alone: $\widehat k$ fits a **generalised Pareto** distribution, the law of all excesses over a high threshold, to the largest weights. Zhang and Stephens' fit is an average over a list of candidates, and takes ten lines:

# %%
def gpd_shape(excess):
    """Shape k of a generalised Pareto distribution fitted to excesses over a threshold (..., M), M >= 5 (Zhang and Stephens 2009). Returns (...)."""
    y = np.sort(excess, axis=-1)
    M = y.shape[-1]
    m = 30 + int(np.sqrt(M))
    quartile = y[..., int(M / 4 + 0.5) - 1, None]
    theta = 1 / y[..., -1:] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)      # candidates (..., m)
    k = np.log1p(-theta[..., None] * y[..., None, :]).mean(axis=-1)
    log_lik = M * (np.log(-theta / k) - k - 1)
    weight = np.exp(log_lik - log_lik.max(axis=-1, keepdims=True))
    best = (weight * theta).sum(axis=-1, keepdims=True) / weight.sum(axis=-1, keepdims=True)
    return np.log1p(-best * y).mean(axis=-1)


sample = genpareto.rvs(0.6, size=4000, random_state=1)
print(f"4,000 draws with shape 0.6: ten lines say {gpd_shape(sample):.3f}, scipy's maximum likelihood {genpareto.fit(sample, floc=0)[0]:.3f}")

# %% [markdown]
# ### Exercise 9.4 · k-hat ●●● · 15 min
#
# From $S$ log weights: take the $M = \lceil\min(S/5,\, 3\sqrt S)\rceil$ largest; the threshold is the largest weight that is *not* among them; fit `gpd_shape` to the excesses of the *weights* (not of their logarithms); and pull a little towards $\tfrac12$, as ten extra draws would: $\widehat k = (M k + 10\cdot\tfrac12)/(M + 10)$.
# The weights may be off by any constant factor, and their logarithms may be $-1000$.

# %% exercise="khat"
def khat(logw):
    """k-hat of log weights (S,), S >= 25, known up to a constant. A number; uses gpd_shape."""
    ### BEGIN SOLUTION
    logw = np.sort(logw)
    M = int(np.ceil(min(len(logw) / 5, 3 * np.sqrt(len(logw)))))
    w = np.exp(logw[-M - 1:] - logw[-1])
    return (M * gpd_shape(w[1:] - w[0]) + 5) / (M + 10)
    ### END SOLUTION

# %% check="khat"
check.khat(khat)

# %% [markdown]
# How large may $\widehat k$ be? The number of draws that tames weights of index $k$ grows like $S = 10^{1/(1-k)}$: 100 draws at $k = 0.5$, more than 2,000 at 0.7, ten billion at 0.9. Hence the rule in use: trust up to $\min(1 - 1/\log_{10}S,\; 0.7)$.
#
# ### Exercise 9.5 · The alarm ●○○ · 3 min

# %% exercise="khat_threshold"
def khat_threshold(S):
    """The largest k-hat to be trusted with S draws; elementwise for arrays, S > 10."""
    ### BEGIN SOLUTION
    return np.minimum(1 - 1 / np.log10(S), 0.7)
    ### END SOLUTION

# %% check="khat_threshold"
check.khat_threshold(khat_threshold)

# %%
gate_rho = predict(r"Mean field on two latents with correlation $\rho$ gets both means right and both variances too small by the factor $1-\rho^2$. From which $\rho$ on should the alarm, $k > 0.7$, ring?",
                   {"from 0.3: it is wrong from the beginning": 0.3, "from 0.5": 0.5, "from 0.7": 0.7, "from 0.95: the means are right, after all": 0.95})
gate_rho

# %%
def khats(logw):
    """k-hat of each row of log weights (..., S): exercise 9.4 for many sets of draws at once. Returns (...)."""
    S = logw.shape[-1]
    M = int(np.ceil(min(S / 5, 3 * np.sqrt(S))))
    top = np.sort(np.partition(logw, S - M - 1, axis=-1)[..., S - M - 1:], axis=-1)
    w = np.exp(top - top[..., -1:])
    return (M * gpd_shape(w[..., 1:] - w[..., :1]) + 5) / (M + 10)


sets = np.random.default_rng(3).standard_normal((2, 10, 10_000))       # ten sets of draws of (a, b)


def ringing(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.5))
    (p_line,), (q_line,) = left.plot([], [], **plots.style("posterior")), left.plot([], [], **plots.style("q"))
    (dots,) = left.plot([], [], **plots.style("data", alpha=0.5, markersize=4))
    left.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal", xlabel="z₁", ylabel="z₂", title="p solid, q dashed (2 sd)")
    (exact,) = right.plot([], [], **plots.style("evidence"))
    (alarm,) = right.plot([], [], **plots.style("kl"))
    (found,) = right.plot([], [], color=plots.VERMILLION, marker="o", markersize=7, markerfacecolor="none", linestyle="none")
    mark = plots.prediction(right)
    plots.label(right, 0.4, 0.1, "exact tail index, up to your ρ", "evidence")
    plots.label(right, 0.03, 0.73, "alarm", "kl")
    right.set(xlim=(0, 1), ylim=(-0.25, 1.45), xlabel="|ρ|", ylabel="k", title="○ k-hat from ten sets of S draws")

    def update(rho=0.0, S=1000, prediction=None):
        a, b = sets[:, :, :S]
        logw = rho * (a**2 - b**2) / 2
        for line, m in ((p_line, (1 + rho, 1 - rho)), (q_line, (1 - rho**2, 1 - rho**2))):
            u, v = 2 * np.sqrt(m[0]) * np.cos(turn), 2 * np.sqrt(m[1]) * np.sin(turn)
            line.set_data((u + v) / np.sqrt(2), (u - v) / np.sqrt(2))
        u, v = np.sqrt(1 - rho**2) * sets[:, 0, :300]
        dots.set_data((u + v) / np.sqrt(2), (u - v) / np.sqrt(2))
        limit = min(1 - 1 / np.log10(S), 0.7)
        alarm.set_data([0, 1], [limit, limit])
        exact.set_data([0, abs(rho)], [0, abs(rho)])
        k = khats(logw) if rho else np.full(10, np.inf)
        found.set_data(np.full(10, abs(rho)), k)
        mark.set(prediction, 0.7)
        w = np.exp(logw[0] - logw[0].max())
        seen = f"k-hat of ten sets {k.min():.2f} to {k.max():.2f}" if rho else "k-hat undefined: all weights equal"
        return f"exact k = {abs(rho):.2f}, alarm at {limit:.3f}      {seen}      first set: ESS {w.sum()**2 / (w @ w):.0f} of {S}"
    return update


explore(ringing, rho=(-0.95, 0.95, 0.05), S=[100, 1000, 10000], predict=gate_rho, labels={"rho": "correlation ρ", "S": "draws S"},
        alt="Ellipses of a correlated Gaussian and its mean field; beside them k-hat of ten sets of draws about the exact tail index, with the alarm line")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The exact tail index is the correlation itself, so the alarm rings at 0.7. And $\widehat k$ is a noisy instrument: with 100 draws it says nearly anything, with 10,000 it is still off by two tenths now and then, mostly to the low side. Read it as a traffic light, not as a number.
#
# </details>
#
# Why the correlation itself? In mean field $q$ has variances $1-\rho^2$, and in the axes $a, b$ of the two eigenvectors $\log w = \tfrac12\rho\,(a^2 - b^2) + \text{const}$ with $a, b\sim\mathcal N(0, 1)$ under $q$: too narrow along one axis, too wide along the other. The narrow one decides: $k = |\rho|$. In $D$ dimensions it is the largest eigenvalue of a matrix:

# %%
def mean_field_tail_index(Sigma):
    """Exact tail index k of the weights p/q for p = N(0, Sigma) (D, D) and its best factorised q, whose variances are 1/Lambda_jj."""
    Lambda = np.linalg.inv(Sigma)
    v = 1 / np.diag(Lambda)
    return np.linalg.eigvalsh(np.eye(len(v)) - np.sqrt(v)[:, None] * Lambda * np.sqrt(v)).max()


for D in (2, 3, 10, 100):
    print(f"{D:3d} latents, all correlations 0.5: k = {mean_field_tail_index(np.full((D, D), 0.5) + 0.5 * np.eye(D)):.4f},"
          f"  formula (D - 1)ρ/(1 + (D - 2)ρ) = {(D - 1) * 0.5 / (1 + (D - 2) * 0.5):.4f}")

# %% [markdown]
# The same harmless-looking correlation gets worse with every latent that shares it.
#
# ### Misconception: "k-hat below 0.7, so the posterior is good"
#
# The weights come from $q$'s own draws. What $q$ never visits has no weight. Here $p$ has two humps, at $-d$ and $d$, and $q$ sits on the right one, a little wider than the hump. Move the other hump away.

# %%
def weights_of_one_hump(d, s, eps):
    """log p/q at z = d + s eps for p = N(-d, 1)/2 + N(d, 1)/2 and q = N(d, s²), in nats. eps: (S,); d: number or (n, 1). Returns (..., S)."""
    z = d + s * eps
    return np.logaddexp(log_normal(z, -d, 1), log_normal(z, d, 1)) - np.log(2) - log_normal(z, d, s)


def quality(logw):
    """k-hat, ESS as a share of the draws, and the log of the mean weight, of log weights (..., S); three arrays (...)."""
    w = np.exp(logw - logw.max(axis=-1, keepdims=True))
    return khats(logw), w.sum(axis=-1)**2 / (w**2).sum(axis=-1) / w.shape[-1], np.log(w.mean(axis=-1)) + logw.max(axis=-1)


hump_eps = np.random.default_rng(4).standard_normal(4000)
distances = np.arange(0, 5.01, 0.25)
by_width = {s: quality(weights_of_one_hump(distances[:, None], s, hump_eps)) for s in (0.8, 0.9, 1.1, 1.3, 1.5)}


# %%
def blind_spot(fig):
    left, right = fig.subplots(1, 2)
    z = np.linspace(-9, 9, 361)
    p, q = plots.curve(left, z, 0 * z, "posterior"), plots.curve(left, z, 0 * z, "q")
    (dots,) = left.plot([], [], **plots.style("data", alpha=0.3))
    left.set(xlim=(-8.5, 8.5), ylim=(-0.03, 0.62), xlabel="z", title="p filled, q dashed, its draws below")
    (ks,) = right.plot([], [], color="black", linewidth=2, marker="o", markersize=4)
    (mass,) = right.plot([], [], **plots.style("elbo", linewidth=3))
    right.axhline(0.7, color="black", linestyle=":", linewidth=1.5)
    (here,) = right.plot([], [], color="black", marker="s", markersize=10, linestyle="none")
    plots.label(right, 4.25, 0.78, "alarm", "evidence", fontweight="normal")
    right.set(xlim=(-0.1, 5.1), ylim=(-2.2, 4.2), xlabel="half distance d (up to yours)", title="k-hat black dots, mean weight green")

    def update(d=1.0, s=1.1):
        upto = round(d / 0.25) + 1
        k, share, log_mean = (a[:upto] for a in by_width[s])
        p.set((np.exp(log_normal(z, -d, 1)) + np.exp(log_normal(z, d, 1))) / 2)
        q.set(np.exp(log_normal(z, d, s)))
        dots.set_data(d + s * hump_eps, np.full(4000, -0.015))
        ks.set_data(distances[:upto], np.clip(k, -2.1, 4.1))
        mass.set_data(distances[:upto], np.exp(log_mean))
        here.set_data([d], [np.clip(k[-1], -2.1, 4.1)])
        return f"k-hat {k[-1]:.2f}      ESS {share[-1]:.1%} of 4,000      mean weight {np.exp(log_mean[-1]):.3f} (right: 1)"
    return update


explore(blind_spot, d=(0.0, 5.0, 0.25), s=[0.8, 0.9, 1.1, 1.3, 1.5], labels={"d": "half distance d", "s": "sd of q"},
        alt="Two humps with a dashed q on the right one; beside them, over the distance, k-hat, which rises and falls again, and the mean weight, which ends at one half")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The alarm rings in between, where a few draws stray towards the other hump and meet giant weights (the mean weight jumps about there: it is an average over a few of them). From $d = 4$ on no draw gets there, and **the alarm falls silent while half of the mass is missing**: ESS near 98 %, $\widehat k$ low, everything green. Only the mean weight knows: it is $\tfrac12$. But that was a lesson with a normalised $p$; in earnest the right value would be $p(x)$, which nobody has.
#
# </details>
#
# ### Misconception: "k-hat above 0.7, so the fit is useless"
#
# Now the reverse, on the Bow near the wire, with the best Gaussian of section 3: lesson 04 found a gap of a ten-thousandth of a nat.

# %%
m, s, _ = fits["(1, 0.5), near the wire"][0]
z = m + s * rng.standard_normal((20, 4000))
k, share, log_mean = quality(bow_log_joint(places["(1, 0.5), near the wire"], z, 1.0, 0.25) - log_normal(z, m, s))
print(f"Bow near the wire, 20 sets of 4,000 weights: smallest ESS {share.min():.2%}, log mean weight {log_mean.min():.3f} to {log_mean.max():.3f}, k-hat {k.min():.1f} to {k.max():.1f}, median {np.median(k):.1f}")
far = quality(weights_of_one_hump(4.0, 1.1, rng.standard_normal((20, 4000))))
print(f"missed hump, 20 sets of 4,000 weights:       median ESS {np.median(far[1]):.2%}, median log mean weight {np.median(far[2]):.3f} (log 1/2 = {np.log(0.5):.3f}), median k-hat {np.median(far[0]):.1f}")

# %% [markdown]
# The weights are equal to within a few per cent, and $\widehat k$, which looks at the *shape* of the last few per mille, screams. A tail index says nothing about how much the tail weighs. So print three numbers, always together: $\widehat k$, the ESS of the weights, and log mean weight minus ELBO (lesson 05's bound with $K = S$ draws, minus that with one: what weighting gains). And start $q$ from more than one place.
#
# ## 6 · Eight schools
#
# Eight schools tested a coaching programme. Each reports an effect $y_j$ with a known standard error $\sigma_j$. How much do the true effects $\theta_j$ differ?
#
# $$\mu\sim\mathcal N(0, 5^2),\qquad \tau\sim\text{half-Cauchy}(5),\qquad \theta_j\sim\mathcal N(\mu, \tau^2),\qquad y_j\sim\mathcal N(\theta_j, \sigma_j^2).$$
#
# Ten latents, and a classic trap: where $\tau$ is small, all $\theta_j$ are squeezed together, and the posterior is a **funnel**. The same model can be written without it, with $\theta_j = \mu + \tau\eta_j$ and $\eta_j\sim\mathcal N(0, 1)$: lesson 07's reparameterisation, applied to a model. The first way is called **centred**, the second **non-centred**.
#
# An exact answer exists. Given $\tau$ everything is Gaussian, and $\tau$ is a grid. And there are published reference draws (posteriordb), so that we can check the exact answer against somebody else's long run.

# %%
y = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
sigma = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
reference = {"μ": (4.4105, 3.309), "τ": (3.6021, 3.198), "θ₁": (6.1505, None)}     # posteriordb, eight_schools_noncentered: mean, sd of 10,000 draws


def exact_schools(log_tau=np.linspace(-14, 8, 8001)):
    """Posterior means and sds of (mu, tau, theta_1 .. theta_8), (2, 10): Gaussian given tau, and a grid over log tau."""
    tau = np.exp(log_tau)[:, None]
    v = tau**2 + sigma**2                                                          # y_j ~ N(mu, v_j) given tau
    precision = 1 / 25 + (1 / v).sum(axis=1)
    mean = (y / v).sum(axis=1) / precision
    log_p = -0.5 * (np.log(v) + y**2 / v).sum(axis=1) - 0.5 * np.log(precision) + 0.5 * precision * mean**2 - np.log1p(tau[:, 0]**2 / 25) + log_tau
    p = np.exp(log_p - log_p.max()) / np.exp(log_p - log_p.max()).sum()
    pull = tau**2 / v
    theta, spread = pull * y + (1 - pull) * mean[:, None], pull * sigma**2 + (1 - pull)**2 / precision[:, None]
    first = p @ np.column_stack([mean, tau, theta])
    second = p @ np.column_stack([mean**2 + 1 / precision, tau**2, theta**2 + spread])
    return np.stack([first, np.sqrt(second - first**2)])


exact = exact_schools()
for i, (name, (mean, sd)) in enumerate(reference.items()):
    print(f"{name}: exact mean {exact[0, i]:.3f}, sd {exact[1, i]:.3f}; reference mean {mean:.3f} ± {exact[1, i] / 100:.3f}" + (f", sd {sd:.3f}" if sd else ""))

# %% [markdown]
# The reference agrees with the exact answer to about one standard error of its 10,000 draws. Now VI: a factorised Gaussian on $(\mu, \log\tau, \theta)$ or on $(\mu, \log\tau, \eta)$. Everything in these ELBOs is closed form but one one-dimensional integral, so nothing is sampled and the optimiser is the only moving part.

# %%
def schools_log_joint(u, centred):
    """log p(y, u) in nats and theta: u (S, 10) = (mu, log tau, theta or eta). Returns (S,) and (S, 8)."""
    mu, log_tau, h = u[:, :1], u[:, 1:2], u[:, 2:]
    tau = np.exp(log_tau)
    theta = h if centred else mu + tau * h
    log_h = log_normal(h, mu, tau) if centred else log_normal(h, 0, 1)
    log_tau_prior = np.log(2 / (5 * np.pi)) - np.log1p(tau**2 / 25) + log_tau
    return (log_normal(mu, 0, 5) + log_tau_prior)[:, 0] + (log_h + log_normal(y, theta, sigma)).sum(axis=1), theta


def schools_elbo(v, centred):
    """ELBO in nats of the factorised Gaussian with means v[:10] and log sds v[10:]; no sampling."""
    m, s = v[:10], np.exp(v[10:])
    (mu, a), h, (var_mu, var_a), var_h = m[:2], m[2:], s[:2]**2, s[2:]**2
    prior = log_normal(mu, 0, 5) - var_mu / 50 + eps_weight @ (a + s[1] * eps_grid - np.log1p(np.exp(2 * (a + s[1] * eps_grid)) / 25)) + np.log(2 / (5 * np.pi))
    if centred:
        log_h = log_normal(0, 0, 1) - a - np.exp(-2 * a + 2 * var_a) * ((h - mu)**2 + var_h + var_mu) / 2
        misfit = (y - h)**2 + var_h
    else:
        log_h = log_normal(0, 0, 1) - (h**2 + var_h) / 2
        misfit = (y - mu)**2 + var_mu - 2 * (y - mu) * np.exp(a + var_a / 2) * h + np.exp(2 * a + 2 * var_a) * (h**2 + var_h)
    return prior + (log_h + log_normal(0, 0, sigma) - misfit / (2 * sigma**2)).sum() + np.log(s).sum() + 5 * np.log(2 * np.pi * np.e)

# %%
school_q, school_rows = {}, [["exact", *(f"{v:.2f}" for v in exact[0, :3]), f"{exact[1, 0]:.2f}", "", "", ""],
                             ["reference, posteriordb", *(f"{m:.2f} ± {s / 100:.2f}" for (m, _), s in zip(reference.values(), exact[1])), f"{reference['μ'][1]:.2f}", "", "", ""]]
for name, centred in (("non-centred", False), ("centred", True)):
    best = minimize(lambda v: -schools_elbo(v, centred), np.r_[4, 1, np.full(8, 4.0 * centred), 1, np.zeros(9)])
    m, s = school_q[name] = best.x[:10], np.exp(best.x[10:])
    eps = np.random.default_rng(2).standard_normal((20_000, 10))
    log_p, theta = schools_log_joint(m + s * eps, centred)
    logw = log_p - log_normal(m + s * eps, m, s).sum(axis=1)
    w = np.exp(logw - logw.max()) / np.exp(logw - logw.max()).sum()
    values = np.column_stack([m[0] + s[0] * eps[:, 0], np.exp(m[1] + s[1] * eps[:, 1]), theta[:, 0]])
    for label, weight in (("q itself", np.full(20_000, 1 / 20_000)), ("weighted", w)):
        means = weight @ values
        extra = [f"{-best.fun:.2f}", "", ""] if label == "q itself" else ["", f"{khats(logw):.2f}", f"{1 / (w**2).sum():.0f}"]
        school_rows.append([f"{name} VI, {label}", *(f"{v:.2f}" for v in means), f"{np.sqrt(weight @ (values[:, 0] - means[0])**2):.2f}", *extra])
print(f"ELBO of the non-centred fit minus that of the centred one: {float(school_rows[2][5]) - float(school_rows[4][5]):.2f} nats")

# %% [markdown]
# The ELBO already prefers the non-centred writing: the same model, the same family of $q$, another posterior. For HMC we need the gradients, and it is no surprise by now that the funnel is a trap for it, too.

# %%
def schools_slope(u, centred):
    """Gradient of the log joint of the eight schools at u (C, 10); same shape."""
    mu, tau, h = u[:, :1], np.exp(u[:, 1:2]), u[:, 2:]
    common = 1 - 2 * tau**2 / (25 + tau**2)
    if centred:
        t = (h - mu) / tau**2
        parts = t.sum(axis=1, keepdims=True), common - 8 + tau**2 * (t**2).sum(axis=1, keepdims=True), (y - h) / sigma**2 - t
    else:
        r = (y - mu - tau * h) / sigma**2
        parts = r.sum(axis=1, keepdims=True), common + tau * (r * h).sum(axis=1, keepdims=True), tau * r - h
    return np.concatenate([parts[0] - mu / 25, *parts[1:]], axis=1)

# %%
for name, centred in (("non-centred", False), ("centred", True)):
    m, s = school_q[name]
    with np.errstate(over="ignore", invalid="ignore"):             # a puck that flies off has no energy, and is refused
        chains, rate = hmc(lambda u: schools_log_joint(u, centred)[0], lambda u: schools_slope(u, centred), m + s * rng.standard_normal((4, 10)), 0.35, 6, 1200, rng)
    chains = chains[200:]
    theta1 = chains[:, :, 2] if centred else chains[:, :, 0] + np.exp(chains[:, :, 1]) * chains[:, :, 2]
    school_rows.append([f"{name} HMC, 4 × 1,000", f"{chains[:, :, 0].mean():.1f}", f"{np.exp(chains[:, :, 1]).mean():.1f}", f"{theta1.mean():.1f}",
                        f"{chains[:, :, 0].std():.1f}", "", "", f"{ess(chains[:, :, 1].T):.0f}"])
    print(f"{name} HMC: accepted {rate:.2f}, split R-hat of log τ {split_rhat(chains[:, :, 1].T):.2f}")
plots.show_table(school_rows, ["", "mean of μ", "mean of τ", "mean of θ₁", "sd of μ", "ELBO", "k-hat", "ESS (weights, or chain of log τ)"])

# %% [markdown]
# Read it from the top. Non-centred VI has $\tau$ too small; its importance weights are usable, and weighting brings *every* column next to the exact answer. Centred VI has run away from the neck of the funnel: $\tau$ too large, $\mu$ far too certain; and its 20,000 weights are worth about a hundred draws, so weighting repairs little. $\widehat k$ sees it coming. Centred HMC suffers in its own way: R-hat and ESS see that.
#
# How reliable is the light? Thirty repetitions:

# %%
rows = []
for name, (m, s) in school_q.items():
    for S in (1000, 4000, 20_000):
        u = m + s * rng.standard_normal((30, S, 10))
        k = np.array([khats(schools_log_joint(part, name == "centred")[0] - log_normal(part, m, s).sum(axis=1)) for part in u])
        rows.append([name, S, f"{np.median(k):.2f}", f"{k.min():.2f} to {k.max():.2f}", f"{np.mean(k > min(0.7, 1 - 1 / np.log10(S))):.0%}"])
plots.show_table(rows, ["VI", "draws", "median k-hat", "range", "alarms"])

# %% [markdown]
# On average the two are clearly apart; a single run of 4,000 draws can be mistaken. Repeat it.
#
# ## 7 · Very many data: minibatches
#
# All this touched every datum at every step. With $N$ in the millions, **stochastic variational inference** (SVI) looks at a **minibatch** of $B$ of them and pretends that the others look the same. Take the plainest conjugate model, $\mu\sim\mathcal N(0, 1/\lambda_0)$ and $x_n\mid\mu\sim\mathcal N(\mu, 1)$. The posterior is
# $\propto e^{\eta_1\mu + \eta_2\mu^2}$ with **natural parameters**
#
# $$\eta_1 = \sum_n x_n, \qquad \eta_2 = -\tfrac12(N + \lambda_0),$$
#
# a *sum* over data. From a minibatch, $\hat\eta_1 = \frac NB\sum_{n\in\text{batch}} x_n$ is right on average, so take a step towards it:
#
# $$\eta \leftarrow (1-\rho_t)\,\eta + \rho_t\,\hat\eta .$$
#
# (The difference $\hat\eta - \eta$ is the **natural gradient** of the ELBO: its gradient with respect to the *mean* parameters, no matrix to invert.) With the full batch and $\rho = 1$ this is one coordinate update of lesson 04.
#
# ### Exercise 9.6 · A step of SVI ●●○ · 8 min

# %% exercise="svi_step"
def svi_step(eta, N, x, rho, prior_prec):
    """One SVI step. eta: (2,) natural parameters; x: the minibatch, (B,) or a number; N: size of the data; rho: step. Returns the new (2,)."""
    ### BEGIN SOLUTION
    target = np.array([N * np.mean(x), -0.5 * (N + prior_prec)])
    return (1 - rho) * np.asarray(eta, float) + rho * target
    ### END SOLUTION

# %% check="svi_step"
check.svi_step(svi_step)

# %%
def svi_means(x, batches, steps, prior_prec=0.01):
    """SVI's posterior mean after each minibatch. x: data (N,); batches: indices (T, B); steps: rho_t (T,). Returns (T,)."""
    eta, means = np.array([0.0, -prior_prec / 2]), []
    for index, rho in zip(batches, steps):
        target = np.array([len(x) * x[index].mean(), -(len(x) + prior_prec) / 2])
        eta = eta + rho * (target - eta)
        means.append(-eta[0] / (2 * eta[1]))
    return np.array(means)


x = 1.5 + rng.standard_normal(1000)
exact_mean, in_sds = x.sum() / 1000.01, np.sqrt(1000.01)
once = rng.permutation(1000)
for name, batches, steps in (("one step of length 1 with all data", [np.arange(1000)], [1.0]), ("one pass, single points, steps 1/t   ", once[:, None], 1 / np.arange(1, 1001))):
    print(f"{name}: off by {abs(svi_means(x, batches, steps)[-1] - exact_mean) * in_sds:.4f} posterior sds")
off = [svi_means(x, rng.permutation(1000)[:, None], np.full(1000, 0.01))[-1] - exact_mean for _ in range(30)]
print(f"one pass, single points, steps 0.01, 30 orders: off by {np.sqrt(np.mean(np.square(off))) * in_sds:.1f} posterior sds (root mean square)")

# %% [markdown]
# With steps $1/t$ the average of the targets so far is kept, and after one pass that *is* the posterior. Constant steps forget: they average over the last $1/\rho$ minibatches or so, pass after pass.
#
# Usually a pass is too long to finish, or points are drawn at random. Then after $T$ steps we know the mean of $TB$ random points, whose error is $1/\sqrt{TB}$, and the posterior's standard deviation is $1/\sqrt N$. In posterior standard deviations the error is therefore at least about
#
# $$\textbf{the floor}\qquad \sqrt{N/(TB)} .$$
#
# With a constant step it comes to rest at about $\sqrt{N\rho/((2-\rho)B)}$ and stays there, however long you wait.

# %%
gate_floor = predict(r"$N = 10{,}000$ data, minibatches of $B = 10$, constant steps $\rho = 0.1$. After 20,000 points seen (two passes), how far from the exact mean is SVI, in posterior standard deviations?",
                     {"about 0.07": 0.07, "about 0.7, the floor": 0.7, "about 7": 7.0, "about 70": 70.0})
gate_floor

# %%
SCHEDULES = {"1/t": lambda t: 1 / t, "t^-0.6": lambda t: t**-0.6, "constant 0.1": lambda t: 0.1 + 0 * t, "constant 0.01": lambda t: 0.01 + 0 * t}


def race(N, B, points=20_000, repeats=40):
    """Errors of SVI in posterior sds: points seen (T,) and errors (T, schedule, repeat), thinned to about 60 times."""
    local = np.random.default_rng([N, B])
    x = local.standard_normal(N)
    batch_means = x[local.integers(N, size=(points // B, repeats, B))].mean(axis=-1)
    T = len(batch_means)
    rho = np.stack([f(np.arange(1.0, T + 1)) for f in SCHEDULES.values()], axis=1)[..., None]
    error, keep, m = [], set(np.unique(np.geomspace(1, T, 60).round().astype(int))), np.full((4, repeats), 1.5)   # 1.5: q starts one and a half away
    for t in range(T):
        m = m + rho[t] * (batch_means[t] - m)
        if t + 1 in keep:
            error.append(np.abs(m - x.mean()) * np.sqrt(N))
    return np.array(sorted(keep)) * B, np.array(error)


races = {(n, b): race(10**n, 10**b) for n in (3, 4, 5) for b in (0, 1, 2, 3)}
seen, error = races[4, 1]
for k, name in enumerate(SCHEDULES):
    print(f"N = 10,000, B = 10, {seen[-1]} points, step {name}: rms error {np.sqrt((error[-1, k]**2).mean()):.2f} sds;  floor {np.sqrt(1e4 / seen[-1]):.2f}"
          + (f", rest of a constant step {np.sqrt(1e4 * float(name.split()[1]) / (2 - float(name.split()[1])) / 10):.2f}" if "constant" in name else ""))

# %%
def svi_race(fig):
    ax = fig.subplots()
    grid = np.geomspace(1, 30_000, 50)
    (one,) = ax.plot([], [], color="0.55", linewidth=1.2)
    (rms,) = ax.plot([], [], **plots.style("q", marker="o", markersize=4))
    (floor,) = ax.plot([], [], **plots.style("evidence"))
    ax.axhline(1, color="black", linestyle=":", linewidth=1.5)
    mark = plots.prediction(ax)
    plots.label(ax, 1.15, 0.5, "one posterior sd", "evidence", fontweight="normal")
    ax.set(xscale="log", yscale="log", xlim=(1, 40_000), ylim=(0.02, 1000), xlabel="points seen, T · B", ylabel="error in posterior sds",
           title="dashed: SVI, rms of 40 runs; grey: one run; black: the floor √(N/TB)")

    def update(n=3, b=0, step="1/t", prediction=None):
        seen, error = races[n, b]
        k = list(SCHEDULES).index(step)
        average = np.sqrt((error[:, k]**2).mean(axis=1))
        one.set_data(seen, np.maximum(error[:, k, 0], 1e-3))
        rms.set_data(seen, average)
        floor.set_data(grid, np.sqrt(10**n / grid))
        mark.set(None if prediction is None else 20_000, prediction)
        return f"N = {10**n}, B = {10**b}, {len(races[n, b][0])} looks on {20_000 // 10**b} steps      after 20,000 points: error {average[-1]:.3f} sds, floor {np.sqrt(10**n / 20_000):.3f}"
    return update


explore(svi_race, n=(3, 5), b=(0, 3), step=list(SCHEDULES), predict=gate_floor, labels={"n": "log₁₀ of N", "b": "log₁₀ of B", "step": "step length"},
        alt="Error of SVI in posterior standard deviations over the number of points seen, on logarithmic axes, with the floor as a falling line")

# %% [markdown]
# Set the question's numbers and look for your diamond. Then $1/t$: move $B$, and see what it changes. Then move $N$.
#
# <details><summary>What you should have seen</summary>
#
# - Steps $1/t$ run along the floor for every $B$: only the number of points counts. Large batches make the same points into fewer steps, and that is their whole merit here.
# - A constant step falls quickly, then levels off where the noise of the last few minibatches is. In the question: about 7. A smaller step levels off lower, and takes longer to get there.
# - $t^{-0.6}$ lies in between: above the floor, but it keeps falling, and unlike $1/t$ it would forgive a bad beginning in a model that is not conjugate.
# - **$N$ lifts the floor.** At $N = 100{,}000$, 20,000 points leave an error of more than two posterior standard deviations, and no schedule can help.
#
# </details>
#
# ### Misconception: "with enough steps, minibatches are exact, whatever the step"
#
# The printed lines above say it: the constant step 0.1 rests at nine times the floor, and its formula says that it will rest there for ever. Convergence needs $\sum\rho_t=\infty$ (to get anywhere) and $\sum\rho_t^2<\infty$ (to come to rest).
#
# ## 8 · The honest scaling box
#
# Now a model that is not conjugate: logistic regression with five coefficients, at three sizes. SVI takes 1,500 steps of $B = 128$, with a Gaussian $q$, steps $1/t$ in the natural parameters and all derivatives at the mean of $q$ (which is so narrow here that this is enough). HMC takes 200 draws, three leapfrog steps each, in coordinates in which the posterior is round.
# Errors are distances of the posterior mean from that of all data, in posterior standard deviations, root mean square over the coefficients.

# %%
def regression_data(N, rng):
    """N rows (1, four normals) and labels 0 or 1 from five known coefficients: X (N, 5), t (N,)."""
    X = np.column_stack([np.ones(N), rng.standard_normal((N, 4))])
    return X, (rng.random(N) < expit(X @ np.array([-1.0, 1.0, -0.5, 0.5, 0.3]))).astype(float)


def batch_fit(X, t):
    """Mean (5,) and covariance (5, 5) of the Gaussian at the mode, prior N(0, I): Newton's method with all data."""
    m = np.zeros(X.shape[1])
    for _ in range(12):
        p = expit(X @ m)
        precision = (X.T * (p * (1 - p))) @ X + np.eye(len(m))
        m = m + np.linalg.solve(precision, X.T @ (t - p) - m)
    return m, np.linalg.inv(precision)

# %%
def svi_regression(X, t, steps, B, rng):
    """Mean (5,) of a Gaussian q by SVI with minibatches of B rows and steps 1/k in the natural parameters."""
    N, m, precision = len(X), np.zeros(X.shape[1]), 0.0
    for k in range(1, steps + 1):
        rows = rng.integers(N, size=B)
        p = expit(X[rows] @ m)
        precision = precision + (N / B * (X[rows].T * (p * (1 - p))) @ X[rows] + np.eye(len(m)) - precision) / k
        m = m + np.linalg.solve(precision, N / B * X[rows].T @ (t[rows] - p) - m) / k
    return m

# %%
def hmc_regression(X, t, m, V, n, rng):
    """n HMC draws (n, 5) of (coefficients - m) in units in which N(m, V) is round."""
    C = np.linalg.cholesky(V)
    U, offset, sign = np.ascontiguousarray(X @ C), X @ m, 2 * t - 1

    def log_p(z):
        return -np.logaddexp(0, -sign * (offset + z @ U.T)).sum(axis=1) - ((m + z @ C.T)**2).sum(axis=1) / 2

    def slope(z):
        return (t - expit(offset + z @ U.T)) @ U - (m + z @ C.T) @ C
    return hmc(log_p, slope, rng.standard_normal((1, len(m))), 0.5, 3, n, rng)[0][:, 0]


def rms(v):
    """Root of the mean square, a number."""
    return np.sqrt(np.mean(np.square(v)))

# %% tags=["nbval-ignore-output"]
box, seconds, sizes = [], {}, (1000, 10_000, 100_000)
for N in sizes:
    X, t = regression_data(N, rng)
    m, V = batch_fit(X, t)
    began = time.perf_counter()
    svi = [svi_regression(X, t, 1500, 128, rng) for _ in range(3)]
    middle = time.perf_counter()
    draws = hmc_regression(X, t, m, V, 200, rng)
    seconds[N] = (middle - began) / 3, time.perf_counter() - middle                # of SVI and of HMC, on your machine
    box.append((rms((svi - m) / np.sqrt(np.diag(V))), rms(draws.mean(axis=0)), draws.std(axis=0).mean()))
plots.show_table([[f"{N:,}", f"{1500 * 128:,}", f"{e:.2f}", f"{np.sqrt(N / 192_000):.2f}", f"{1001 * N:,}", f"{h:.2f}"] for N, (e, h, _) in zip(sizes, box)],
                 ["N", "SVI: rows looked at", "SVI: error in posterior sds", "floor √(N/TB)", "HMC: rows looked at", "HMC: error in posterior sds"])

# %%
table = np.array(box)
print(f"SVI's error is within a factor of two of the floor at every N: {bool((np.abs(np.log(table[:, 0] / np.sqrt(np.array(sizes) / 192_000))) < np.log(2)).all())}")
print(f"HMC's error is below 0.2 posterior sds at every N, and its mean sd within 15 % of 1: {bool((table[:, 1] < 0.2).all() and (np.abs(table[:, 2] - 1) < 0.15).all())}")
print(f"passes to a tenth of an sd: SVI {1 / 0.1**2:.0f}; HMC, with independent draws, {5 / 0.1**2:.0f} (four gradients and one density a draw)")

# %% [markdown]
# The costs are counted in rows, which is the same on every machine; for the clock on yours, print `seconds`, which holds the time of SVI and of HMC for each $N$. Expect SVI to take about as long in every line, and HMC to be the faster one in the first line and the slower one in the last.
#
# **SVI's cost per step is independent of $N$; its accuracy per step is not.** HMC's accuracy per step is independent of $N$; its cost per step is not. Solve both for the work to a tenth of a posterior standard deviation, and *both* need a number of passes over the data that does not depend on $N$: a hundred for SVI, five hundred for HMC.
#
# ### Misconception: "MCMC cannot scale, VI always can"
#
# What SVI offers is not a better law but a choice: to **stop early**. In the units of the *coefficients* its error is $1/\sqrt{TB}$ whatever $N$ is, which is often all that a prediction needs. What it cannot give for that price is what made us compute a posterior: uncertainties of the size $1/\sqrt N$. An answer that is two standard deviations off, with an error bar of one, is worse than no error bar.
#
# **One step harder (not checked).** (a) In section 6 replace plain weights by **Pareto-smoothed** ones: the $M$ largest are replaced by quantiles of the fitted distribution. How does the centred row change? (b) Draw the minibatches of section 7 *without* replacement and derive the floor $\sqrt{N/(TB) - 1}$ for $TB\le N$. (c) Jitter the number of leapfrog steps in section 2 and repeat its table.
#
# ## Recap
#
# **Short.** MCMC walks and is right in the limit; VI fits and is as good as its family. Neither announces its failure: four scattered starts, R-hat with ESS, and k-hat with ESS and mean weight are how you ask.
#
# **Standard.** Leapfrog runs backwards, keeps areas and a shadow energy, and is stable below two standard deviations of the narrowest direction; a path of half a turn is accepted and useless. A finite chain may sit in one hump, as a Gaussian does. R-hat compares chains that have been somewhere; ESS counts memory. Gibbs and coordinate ascent share the rate $\rho^2$.
# Importance weights judge $q$: their tail index is $|\rho|$ for mean field, the alarm is at 0.7; a missed hump is silent, and nearly equal weights may ring. How a model is written decides whether a factorised $q$ fits: non-centred eight schools, corrected by weights, agree with the exact answer. SVI's steps are cheap for every $N$ and its floor is $\sqrt{N/(TB)}$ posterior standard deviations.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $\tfrac2\pi\arctan\tfrac2\sigma$ | acceptance of a random walk on $\mathcal N(0,1)$ |
# | $v\!+\!\tfrac\epsilon2\nabla\log p,\; z\!+\!\epsilon v,\; v\!+\!\tfrac\epsilon2\nabla\log p$ | leapfrog; on $\mathcal N(0,1)$ it keeps $z^2(1-\epsilon^2/4)+v^2$, stable for $\epsilon<2$ |
# | $\widehat R^2 = \frac{n-1}n + \frac{B}{nW}$ | between chains against within |
# | $\mathrm{ESS} = N/(1+2\sum_t\rho_t)$; $\rho_t=\varphi^t$: $N\frac{1-\varphi}{1+\varphi}$ | independent draws that a chain is worth |
# | $\rho^2$ | memory of Gibbs = contraction of CAVI |
# | $k = 1-s^2$; $k = \lvert\rho\rvert$; $\frac{(D-1)\rho}{1+(D-2)\rho}$ | tail index of the weights: narrow $q$; mean field, 2 and $D$ equally correlated latents |
# | $\widehat k \le \min(1-1/\log_{10}S,\,0.7)$ | the alarm |
# | $\eta\leftarrow(1-\rho_t)\eta+\rho_t\hat\eta$ | SVI: a natural gradient step |
# | $\sqrt{N/(TB)}$; constant step: $\sqrt{N\rho/((2-\rho)B)}$ | error in posterior sds that remains |
#
# **Memory aid.** *A walk forgets, a fit assumes: ask the walk for its company and the fit for its weights.* And: *steps are free of N, sds are not.*
#
# **Key terms.** MCMC · Metropolis · HMC · leapfrog · shadow energy · R-hat · ESS of a chain · Gibbs sampling · tail index · k-hat · centred and non-centred · SVI · natural gradient · floor

# %%
flash_cards(9)

# %%
quiz("09_vi_versus_mcmc")

# %%
dialogue([
    ("Student", "For my thesis I will use M C M C, because it is exact. My colleague uses variational inference, because she is in a hurry."),
    ("Teacher", "How long do you run your chain?"),
    ("Student", "A thousand draws. It accepts ninety nine per cent of them, so it must be fine."),
    ("Teacher", "You have seen a chain that accepted everything and whose spread was far off."),
    ("Student", "The one with half a turn. Every draw was minus the last one. Only a second chain would have told me: their spreads disagreed. And at the top of the Bow the chains sat in different humps."),
    ("Teacher", "Suppose all four had started in the same one."),
    ("Student", "Then R hat would have been one, and I would have believed half of the posterior. So my exact method would have made the same mistake as her Gaussian."),
    ("Teacher", "Your colleague says that her k hat is one quarter, so she has the whole posterior."),
    ("Student", "It only says that her draws have even weights. A hump where she never draws has no weight at all. She should start somewhere else, and compare."),
    ("Teacher", "She also says that her method does not care how many data there are."),
    ("Student", "Her steps do not. But the posterior gets narrower with more data and her error does not. After a quarter of one pass she is two standard deviations off."),
    ("Teacher", "And yours?"),
    ("Student", "Mine is as accurate as ever, but each step takes longer and longer. In the end we both have to see the data a few hundred times. She may stop earlier, if she can live without the error bars."),
])

# %% [markdown]
# **References.**
# N. Metropolis and others, *Equation of State Calculations by Fast Computing Machines*, 1953. ·
# R. Neal, *MCMC Using Hamiltonian Dynamics*, Handbook of Markov Chain Monte Carlo, 2011. ·
# M. Betancourt, *A Conceptual Introduction to Hamiltonian Monte Carlo*, 2017. ·
# A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, *Rank-Normalization, Folding, and Localization: An Improved R-hat*, Bayesian Analysis 2021. ·
# A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, *Pareto Smoothed Importance Sampling*, JMLR 2024 (k-hat and its limits). ·
# Y. Yao, A. Vehtari, D. Simpson, A. Gelman, *Yes, but Did It Work? Evaluating Variational Inference*, ICML 2018 (k-hat for VI, eight schools). ·
# J. Zhang, M. Stephens, *A New and Efficient Estimation Method for the Generalized Pareto Distribution*, Technometrics 2009. ·
# M. Hoffman, D. Blei, C. Wang, J. Paisley, *Stochastic Variational Inference*, JMLR 2013. ·
# D. Rubin, *Estimation in Parallel Randomized Experiments*, 1981 (eight schools); reference draws: posteriordb.
#
# **Next:** 10 · Topics, clusters, segments (planned), where SVI and coordinate ascent meet models that people use.

# %% [markdown] solutions
# ## Solutions
