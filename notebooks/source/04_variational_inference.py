# %% [markdown]
# # 04 · Variational inference
#
# **The question of this lesson:** a posterior is out of reach; which simple distribution should stand in for it, how does a
# machine find it, and what has it then got wrong?
#
# After this lesson you will be able to
# 1. *state* variational inference as an optimisation over a family, and say which direction of the KL it minimises without ever computing it;
# 2. *derive* the best factor of a factorised $q$, and run coordinate ascent by hand and in code;
# 3. *compute* what mean field does to a correlated Gaussian: its variances, its gap, and how slowly it gets there;
# 4. *tell* Laplace's approximation from Gaussian variational inference by what each of them asks of the posterior;
# 5. *give* one case where variational inference makes a variance too large, and one where it breaks a symmetry;
# 6. *check* an ELBO against an exact evidence, and say what a good ELBO does not prove.
#
# **Needs:** [lesson 01](01_latent_variables.ipynb) (the Bow, evidence, posterior) and [lesson 03](03_kl_divergence.ipynb) (KL, both directions).
# **Takes** about 135 minutes: one slider away 25 · three Gaussians 20 · mean field 30 · two spins 15 · mean and precision 20 · too wide 15 · recap 10.

# %%
import numpy as np
import torch
import torch.distributions as td
from matplotlib.colors import BoundaryNorm
from scipy.optimize import minimize
from scipy.special import digamma, entr, gammaincc, gammaln, polygamma

from course_utils import plots
from course_utils.checks import lesson_04 as check
from course_utils.explore import explore
from course_utils.models import bow_curve, bow_log_joint, bow_posterior, log_normal
from course_utils.quiz import dialogue, flash_cards, predict, quiz

plots.set_style()
rng = np.random.default_rng(4)

# %% [markdown]
# ## 1 · One slider away from a posterior
#
# Here is the Bow of lesson 01 again, with curvature 1 and noise 0.25, and two observations. Each leaves a posterior over the one thing nobody saw,
# the place $z$ on the wire. Look at them before we replace them by something simpler.

# %%
z = np.linspace(-6, 6, 1201)
near, above = (1.0, 0.5), (0.2, 1.7)


def bow_at(x, w=1.0, s=0.25):
    """The function z -> log p(x, z) of the Bow, in nats, for one observation x (2,); z may have any shape."""
    return lambda z: bow_log_joint(x, z, w, s)


fig = plots.figure(8.5, 3)
left, right = fig.subplots(1, 2, width_ratios=(1, 1.7))
left.plot(*bow_curve(z[300:901], 1.0).T, color="0.4", linewidth=1)
for x, name, line in ((near, "A", "-"), (above, "B", ":")):
    left.plot(*x, **plots.style("data", marker="X", markersize=12))
    left.text(x[0] + 0.14, x[1], name, fontweight="bold", va="center")
    right.plot(z, bow_posterior(x, z, 1.0, 0.25)[0], **plots.style("posterior", linestyle=line), label=f"posterior of {name}, x = {x}")
left.set(xlim=(-1.7, 1.7), ylim=(-0.5, 2.4), xlabel="x₁", ylabel="x₂", aspect="equal")
right.set(xlim=(-5, 5), ylim=(0, 2.1), xlabel="z, the place on the wire", ylabel="density")
right.legend(loc="upper left")
plots.show(fig, alt="A wire bent to a circle with two observations; A leaves a posterior with one hump near 1, B one with two humps of unequal size")

# %% [markdown]
# We could draw those curves because $z$ is *one* number: the evidence $p(x) = \int p(x, z)\,dz$ is a sum over a grid. With a hundred latent numbers there is no grid, no $p(x)$, and
# the posterior $p(z\mid x) = p(x, z) / p(x)$ is known only up to that missing constant. **Variational inference** answers in three steps:
#
# | | | in this section |
# |-|-|-|
# | **D** | *Define* a family of distributions that we can handle | all Gaussians $q(z) = \mathcal N(m, s^2)$ |
# | **M** | *Maximise* a score over the family | drag two sliders; then let a gradient do it |
# | **A** | *Assess* what the winner still misses | the gap to the evidence |
#
# The natural score is lesson 03's $D_{\mathrm{KL}}(q\,\|\,p(z\mid x))$, with $q$ first because $q$ is what we can take averages over. But it contains the posterior. Write it out:
#
# $$D_{\mathrm{KL}}\big(q\,\|\,p(z\mid x)\big) = \mathbb E_q\big[\log q(z) - \log \tfrac{p(x, z)}{p(x)}\big]
# = \log p(x) - \underbrace{\Big(\mathbb E_q[\log p(x, z)] + \mathrm H[q]\Big)}_{\text{the ELBO}} .$$
#
# The evidence $\log p(x)$ is unknown, but it is *the same number for every* $q$. So **the $q$ with the highest ELBO is the $q$ with the lowest KL**, and the ELBO needs only the joint, which we wrote
# down ourselves, and $q$. Since a KL is never negative, the ELBO never exceeds $\log p(x)$: hence its name, *evidence lower bound*. (Lesson 05 is about nothing else.)
#
# For a Gaussian $q$ put $z = m + s\,\varepsilon$ with $\varepsilon\sim\mathcal N(0,1)$; then one fixed grid of $\varepsilon$ serves every $q$, and the entropy is lesson 00's:

# %%
eps = np.linspace(-8, 8, 161)
weight = np.exp(log_normal(eps, 0, 1)) * (eps[1] - eps[0])  # sum(weight * f(eps)) is the mean of f over N(0, 1), by the trapezoid rule


def elbo(m, log_s, log_joint):
    """E_q[log p(x, z)] + H[q] in nats for q = N(m, s²).

    m, log_s: numbers, or arrays of one shape. log_joint: function z -> log p(x, z), elementwise. Returns the shape of m.
    """
    z = np.expand_dims(m, -1) + np.expand_dims(np.exp(log_s), -1) * eps
    return log_joint(z) @ weight + log_s + 0.5 * np.log(2 * np.pi * np.e)

# %% [markdown]
# Formula against independent numbers, for observation A and $q = \mathcal N(0.9, 0.25^2)$. The KL is summed on the grid of $z$, from the *normalised* posterior; the third line uses neither grid nor posterior.

# %%
density, log_px = bow_posterior(near, z, 1.0, 0.25)
log_q = log_normal(z, 0.9, 0.25)
kl = np.trapezoid(np.exp(log_q) * (log_q - np.log(density)), z)
draws = rng.normal(0.9, 0.25, 10_000)
terms = bow_at(near)(draws) - log_normal(draws, 0.9, 0.25)
print(f"log p(x) - ELBO = {log_px:.4f} - ({elbo(0.9, np.log(0.25), bow_at(near)):.4f}) = {log_px - elbo(0.9, np.log(0.25), bow_at(near)):.4f}")
print(f"KL(q||p) from the normalised posterior: {kl:.4f} nats")
print(f"ELBO from 10,000 draws of q: {terms.mean():.3f} ± {terms.std() / 100:.3f}")

# %% [markdown]
# ### Let the machine drag
#
# Which way is up? Moving $m$ a little changes the density $q(z)$ by the factor $1 + \frac{\varepsilon}{s}\,dm$, and moving $\log s$ by the factor $1 + (\varepsilon^2 - 1)\,d\log s$ (differentiate $\log q$ to see it).
# So the slopes of $\mathbb E_q[\log p(x, z)]$ are averages over $q$ again, and the entropy adds 1 to the second:
#
# $$\frac{\partial\,\mathrm{ELBO}}{\partial m} = \frac1s\,\mathbb E\big[\varepsilon \log p(x, m + s\varepsilon)\big], \qquad
# \frac{\partial\,\mathrm{ELBO}}{\partial \log s} = \mathbb E\big[(\varepsilon^2 - 1) \log p(x, m + s\varepsilon)\big] + 1 .$$
#
# Nothing on the right differentiates the model. (Lesson 07 does without the grid, too.)

# %%
def elbo_slopes(m, log_s, log_joint):
    """Derivatives of `elbo` with respect to m and to log s, each of the shape of m, in nats per unit."""
    s = np.exp(log_s)
    l = log_joint(np.expand_dims(m, -1) + np.expand_dims(s, -1) * eps)
    return l @ (weight * eps) / s, l @ (weight * (eps**2 - 1)) + 1


h, start = 1e-5, (0.9, np.log(0.25))
for i, name in enumerate(("m", "log s")):
    up, down = [elbo(*(np.array(start) + sign * h * np.eye(2)[i]), bow_at(near)) for sign in (1, -1)]
    print(f"slope in {name}: formula {elbo_slopes(*start, bow_at(near))[i]:.4f}, finite difference {(up - down) / (2 * h):.4f}")

# %% [markdown]
# Then walk uphill. What needs care is the length of a step: right for a wide $q$ is far too long for a narrow one. So steps are measured in $q$'s own width (the slope in $m$ times $s^2$), shortened where $\log p$ curves more sharply than $\log q$, and cut off at half a width.
# And a step that would lead *down* is halved until it does not: the ELBO never falls.

# %%
def climb(m, log_s, log_joint, steps):
    """Gradient ascent on the ELBO: (m, log s) after 0, 1, ..., `steps` steps, shape (steps + 1, 2, *shape of m)."""
    path, value = [(m, log_s)], elbo(m, log_s, log_joint)
    for _ in range(steps):
        slope_m, slope_log_s = elbo_slopes(m, log_s, log_joint)
        s, size = np.exp(log_s), 1.0
        sharper = np.maximum(1 - slope_log_s, 1)                 # s² times the mean curvature of log p; 1 where log s is best
        step_m = np.clip(0.5 * s**2 * slope_m / sharper, -s / 2, s / 2)
        step_log_s = np.clip(0.25 * slope_log_s, -0.25, 0.25)
        for _ in range(6):
            new = elbo(m + size * step_m, log_s + size * step_log_s, log_joint)
            if np.all(new > value - 1e-9):
                break
            size = np.where(new < value, size / 2, size)
        m, log_s, value = m + size * step_m, log_s + size * step_log_s, new
        path.append((m, log_s))
    return np.array(path)

# %%
for k, (m, log_s) in enumerate(climb(-2.0, 0.0, bow_at(near), 40)):
    if k in (0, 2, 5, 10, 20, 40):
        print(f"step {k:2d}: q = N({m:+.3f}, {np.exp(log_s):.3f}²), KL(q||p) = {log_px - elbo(m, log_s, bow_at(near)):.4f} nats")

# %% [markdown]
# ### Predict before you move
#
# Observation B leaves two humps. How much mass has each?

# %%
density = bow_posterior(above, z, 1.0, 0.25)[0]
heavy = np.trapezoid(density[z >= 0], z[z >= 0])
print(f"B: the hump near z = {z[z > 0][np.argmax(density[z > 0])]:.1f} holds {heavy:.2f} of the mass, "
      f"the one near z = {z[z < 0][np.argmax(density[z < 0])]:.1f} holds {1 - heavy:.2f}")
gate_start = predict("For observation B you put $q$ on the light hump, at $m = -2$, and let the optimiser take 40 steps. Where does it end?",
                     {"on the heavy hump: the optimiser finds the best q": 2.6, "between the humps, at the posterior's mean": 1.66,
                      "on the light hump, where it was put": -3.1})
gate_start

# %%
centres, log_widths = np.linspace(-6, 6, 121), np.linspace(-2, 1, 61)
M, L = np.meshgrid(centres, log_widths)
evidence = {x: bow_posterior(x, z, 1.0, 0.25)[1] for x in (near, above)}
kl_map = {x: evidence[x] - elbo(M, L, bow_at(x)) for x in (near, above)}                    # (61, 121): the KL of every q
print("log p(x), by the grid of z:", ", ".join(f"{name} {evidence[x]:.3f}" for name, x in (("A", near), ("B", above))), "nats")

# %%
def drag_q(fig):
    ax = fig.subplot_mosaic([["q", "map"], ["ruler", "ruler"]], height_ratios=(4.5, 1), width_ratios=(1.15, 1))
    posterior, q = plots.curve(ax["q"], z, 0 * z, "posterior"), plots.curve(ax["q"], z, 0 * z, "q")
    mark = plots.prediction(ax["q"])
    ax["q"].set(xlim=(-6, 6), ylim=(0, 1.8), xlabel="z", title="posterior filled, your q dashed")
    edges = [0, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32, 64]
    image = ax["map"].imshow(kl_map[near], extent=(-6, 6, -2, 1), origin="lower", aspect="auto", cmap=plots.colormap("kl"),
                             norm=BoundaryNorm(edges, 256, clip=True), interpolation="bilinear")
    fig.colorbar(image, ax=ax["map"], ticks=[0, 0.1, 0.5, 2, 8, 32], format="%g")
    (track,) = ax["map"].plot([], [], "k.-", markersize=5, linewidth=1)
    (here,) = ax["map"].plot([], [], "X", color=plots.style("q")["color"], markersize=12, markeredgecolor="white")
    ax["map"].set(xlabel="m", ylabel="log s", xlim=(-6, 6), ylim=(-2, 1), title="KL(q‖p) of every q, in nats")
    ruler = plots.ruler(ax["ruler"], -10, 0)
    ax["ruler"].set_xlabel("nats: ELBO filled, gap hatched, log p(x) the black end")

    def update(x=near, mu=-2.0, log_sigma=0.0, steps=0, prediction=None):
        path = climb(mu, log_sigma, bow_at(x), steps)
        m, log_s = path[-1]
        posterior.set(bow_posterior(x, z, 1.0, 0.25)[0])
        q.set(np.exp(log_normal(z, m, np.exp(log_s))))
        image.set_data(kl_map[x])
        track.set_data(*path.T)
        here.set_data([m], [log_s])
        mark.set(prediction, 0.0)
        value = elbo(m, log_s, bow_at(x))
        ruler.set(evidence[x], value)
        return (f"after {steps} steps: q = N({m:.2f}, {np.exp(log_s):.2f}²)      "
                f"ELBO {value:.3f} = log p(x) {evidence[x]:.3f} − KL {evidence[x] - value:.3f} nats")
    return update


explore(drag_q, x={"A = (1, 0.5)": near, "B = (0.2, 1.7)": above}, mu=(-4.0, 4.0, 0.1), log_sigma=(-2.0, 1.0, 0.1), steps=(0, 40), predict=gate_start,
        labels={"x": "observation x", "mu": "start: mean m", "log_sigma": "start: log s", "steps": "steps uphill"}, size=(8.5, 4.6),
        alt="A posterior with a movable Gaussian q; a map of the KL of every q with the optimiser's path; a ruler with the ELBO and the gap to log p(x)")

# %% [markdown]
# First stay with A and `steps` at 0: drag $m$ and $\log s$ and make the hatched gap as short as you can. Then go back to the start and move `steps` slowly: the machine drags for you.
# Then choose B, start at $m=-2$, and let it run to 40.
#
# <details><summary>What you should have seen</summary>
#
# For A most starts lead to the same place. For B the map has two hollows, and the optimiser walks into the nearer one. Started on the light hump it **stays** there, and nothing in the run
# looks wrong: the ELBO rises at every step, the path comes to rest. On the ruler more than one nat is missing.
# The right end of the ruler never moves when $q$ does. It moves when you choose another observation, which is another problem.
#
# Did you find the trap for A? Start at $m=-4$ with $\log s=-2$: $q$ runs *left*, and settles on a hump that you cannot even see in the posterior, one that has gone round the circle the other way.
#
# </details>

# %%
for name, x, start in (("A", near, (-2.0, 0.0)), ("A", near, (-4.0, -2.0)), ("B", above, (-2.0, 0.0)), ("B", above, (2.0, 0.0))):
    m, log_s = climb(*start, bow_at(x), 40)[-1]
    mass = np.trapezoid(np.where(np.abs(z - m) < 2, bow_posterior(x, z, 1.0, 0.25)[0], 0.0), z)
    value = elbo(m, log_s, bow_at(x))
    print(f"{name} from (m, log s) = {start}: N({m:+.2f}, {np.exp(log_s):.2f}²), ELBO {value:.3f}, KL {evidence[x] - value:.3f}; "
          f"its hump has mass {mass:.2g}, -log of that is {-np.log(mass):.3f}")

# %% [markdown]
# As in lesson 03, the price of a forgotten hump is $-\log$ of the mass that $q$ kept. But now you can rank the two results **without knowing the posterior**: the higher ELBO is the better $q$.
# That is the first rule of *Assess*: start more than once, keep the highest ELBO.
#
# ## 2 · Three Gaussians for one posterior
#
# Variational inference is not the only way to a Gaussian. An older one is **Laplace's**: go to the highest point of $\log p(x, z)$ and take its curvature there. A third one, **moment matching**, takes the mean and
# the standard deviation of the posterior (lesson 03's forward KL), which only works where we have the posterior already.

# %%
def laplace(log_joint, z):
    """Mean and sd of Laplace's Gaussian: a parabola through the highest three points of log_joint on the even grid z (G,)."""
    l, dz = log_joint(z), z[1] - z[0]
    i = np.argmax(l)
    curvature = (2 * l[i] - l[i - 1] - l[i + 1]) / dz**2
    return z[i] + (l[i + 1] - l[i - 1]) / (2 * dz * curvature), curvature**-0.5


def moments(density, z):
    """Mean and sd of a density on the grid z (G,)."""
    mean = np.trapezoid(z * density, z)
    return mean, np.sqrt(np.trapezoid((z - mean)**2 * density, z))


def best_gaussian(log_joint, z):
    """Mean and sd of the Gaussian with the highest ELBO: climbs from each hump of log_joint on the grid z and from N(0, 1)."""
    l = log_joint(z)
    m = np.append(z[1:-1][(l[1:-1] > l[:-2]) & (l[1:-1] >= l[2:])], 0.0)
    m, log_s = climb(m, np.append(np.full(len(m) - 1, -1.4), 0.0), log_joint, 40)[-1]
    winner = np.argmax(elbo(m, log_s, log_joint))
    return m[winner], np.exp(log_s[winner])

# %% [markdown]
# Move the observation along a straight line from the wire at $(0, 0)$ through the centre of the circle, $(0, 1)$, to its top, $(0, 2)$. On the wire the posterior is a narrow hump; at the centre $x$ is equally far from
# every place on the wire and the posterior is the prior (lesson 01); at the top there are two humps.
#
# ### Predict before you move

# %%
gate_gap = predict("Where on the way from $(0, 0)$ to $(0, 2)$ is the best Gaussian at its worst? (That is: where is the gap $D_{\\mathrm{KL}}(q\\|p)$ largest?)",
                   {"on the wire, at x₂ = 0": 0.0, "at the centre, x₂ = 1, where x says nothing": 1.0, "soon after the centre, at x₂ = 1.2": 1.2,
                    "at the top, x₂ = 2, where the humps are farthest apart": 2.0})
gate_gap

# %%
def even_draws(density, n=40):
    """n places z that cut the density on the grid z into equal shares (n,)."""
    share = np.cumsum(density)
    return np.interp((np.arange(n) + 0.5) / n, share / share[-1], z)


def bow_fitter(fig):
    ax = fig.subplot_mosaic([["z", "x"], ["gap", "gap"]], height_ratios=(5, 1), width_ratios=(1.35, 1))
    posterior, q = plots.curve(ax["z"], z, 0 * z, "posterior"), plots.curve(ax["z"], z, 0 * z, "q")
    ax["z"].set(xlim=(-6, 6), ylim=(0, 1.9), xlabel="z", title="posterior filled, q dashed")
    (wire,) = ax["x"].plot([], [], color="0.4", linewidth=1)
    (likely,) = ax["x"].plot([], [], **plots.style("posterior", linestyle="none", marker="o", markersize=9, alpha=0.25))
    (claimed,) = ax["x"].plot([], [], **plots.style("q", linewidth=3.5))
    (point,) = ax["x"].plot([], [], **plots.style("data", marker="X", markersize=13, markeredgecolor="white"))
    mark = plots.prediction(ax["x"])
    ax["x"].set(xlim=(-2.3, 2.3), ylim=(-1.3, 3.3), aspect="equal", xlabel="x₁", ylabel="x₂", title="the same on the wire: q ± 2 sd")
    (gap_bar,) = ax["gap"].barh([0], [0], left=1e-6, height=0.7, facecolor="none", edgecolor=plots.style("kl")["color"], hatch="////")
    ax["gap"].set(xscale="log", xlim=(1e-6, 100), ylim=(-0.5, 0.5), yticks=[], xlabel="gap KL(q‖p) in nats, on a logarithmic scale")

    def update(x1=1.0, x2=0.5, w=1.0, fit="Gaussian VI", prediction=None):
        log_joint = bow_at((x1, x2), w)
        density, log_px = bow_posterior((x1, x2), z, w, 0.25)
        m, s = {"Gaussian VI": lambda: best_gaussian(log_joint, z), "Laplace": lambda: laplace(log_joint, z),
                "moment match": lambda: moments(density, z)}[fit]()
        gap = max(log_px - elbo(m, np.log(s), log_joint), 0.0)
        posterior.set(density)
        q.set(np.exp(log_normal(z, m, s)))
        wire.set_data(*bow_curve(z, w).T)
        likely.set_data(*bow_curve(even_draws(density), w).T)
        claimed.set_data(*bow_curve(np.linspace(m - 2 * s, m + 2 * s, 60), w).T)
        point.set_data([x1], [x2])
        mark.set(None if prediction is None else 0.0, prediction)
        gap_bar.set_width(min(max(gap, 1e-6), 100) - 1e-6)
        return f"gap KL(q||p) = {gap:.5f} nats      q = N({m:.2f}, {s:.2f}²)      log p(x) = {log_px:.3f}"
    return update


explore(bow_fitter, x1=(-2.0, 2.0, 0.05), x2=(-1.0, 3.0, 0.05), w=(0.0, 2.0, 0.1), fit=["Gaussian VI", "Laplace", "moment match"], predict=gate_gap,
        labels={"w": "curvature w", "fit": "how q is chosen"}, size=(8.5, 4.8),
        alt="Posterior and Gaussian q over z, the same on the wire with the observation as a cross, and a bar for the gap between them")

# %% [markdown]
# Put $x_1$ at 0 and drag $x_2$ from 0 to 2. Then compare the three ways at $x_2 = 1.05$ and at the top. At last set $w = 0$ and try any $x$.
#
# <details><summary>What you should have seen</summary>
#
# - On the wire all three agree and nearly nothing is missing. At the centre nothing at all is missing: the posterior is the prior, which is a Gaussian. A useless observation, a perfect fit.
# - Just above the centre the posterior splits. First $q$ grows wide and covers both humps; near $x_2 = 1.2$ it gives up and takes one. There it is worst: it pays for the lost half *and* for the slope that still joins
#   the humps. Higher up the price settles at $\log 2$, for one lost half and nothing else.
# - Laplace looks at one point. At $x_2 = 1.05$ the top of the posterior is almost flat, so Laplace believes in an enormous width.
# - Moment matching at the top puts $q$ where the posterior has next to nothing. In its own direction, $p$ first, that is the best Gaussian; as a stand-in to draw from it is the worst.
# - At $w = 0$ the model is linear, the posterior is a Gaussian for every $x$, and all three are exact: the ELBO *is* the evidence.
#
# </details>

# %%
rows = []
for name, x, w in (("on the wire, z = 1", tuple(bow_curve(np.array(1.0), 1.0)), 1.0), ("centre", (0.0, 1.0), 1.0), ("just above", (0.0, 1.05), 1.0),
                   ("x₂ = 1.2", (0.0, 1.2), 1.0), ("top", (0.0, 2.0), 1.0), ("top of the ring, w = 2", (0.0, 1.0), 2.0), ("straight wire, w = 0", (1.0, 0.3), 0.0)):
    density, log_px = bow_posterior(x, z, w, 0.25)
    gaps = [abs(log_px - elbo(m, np.log(s), bow_at(x, w))) for m, s in (best_gaussian(bow_at(x, w), z), laplace(bow_at(x, w), z), moments(density, z))]
    rows.append([name, f"{log_px:.4f}", f"{gaps[0]:.6f}", f"{gaps[1]:.4f}", f"{gaps[2]:.4f}"])
plots.show_table(rows, ["observation", "log p(x)", "gap of Gaussian VI", "of Laplace", "of moment matching"])
print(f"log 2 = {np.log(2):.6f}")

# %% [markdown]
# Compare the first two rows: on the wire the ELBO is about $-0.94$, at the centre about $-7.07$, and yet the *second* fit is the perfect one. **A high ELBO does not certify a good fit, and a low one does not rule it out.** ELBOs may be compared
# between two $q$ for the same $x$ and the same model; the gap, which is what we care about, cannot be read off either of them.
#
# ### Misconception: "Laplace's approximation is Gaussian variational inference"
#
# Set the two slopes of section 1 to zero and integrate by parts: at the best $q$
#
# $$\mathbb E_q\Big[\tfrac{d}{dz}\log p(x, z)\Big] = 0, \qquad \frac1{s^2} = \mathbb E_q\Big[-\tfrac{d^2}{dz^2}\log p(x, z)\Big].$$
#
# Laplace demands exactly that *at one point*, $z = m$, without the averages. The two agree where $\log p$ is a parabola and part ways where it is not, as for the player of lesson 00 who won one game: $\log p = \log\mathcal N(z\mid 0,1) - \log(1 + e^{-4z})$.

# %%
def log_win(z):
    """log p(win, z) in nats: strength z from N(0, 1), a win with probability 1 / (1 + exp(-4 z))."""
    return log_normal(z, 0, 1) - np.logaddexp(0, -4 * z)


m, s = best_gaussian(log_win, z)
at = torch.tensor(m + s * eps, requires_grad=True)
log_p = td.Normal(0.0, 1.0).log_prob(at) + torch.nn.functional.logsigmoid(4 * at)
(first,) = torch.autograd.grad(log_p.sum(), at, create_graph=True)
(second,) = torch.autograd.grad(first.sum(), at)
m_laplace, s_laplace = laplace(log_win, z)
print(f"VI:      N({m:.3f}, {s:.3f}²), ELBO {elbo(m, np.log(s), log_win):.4f};  E[slope] = {abs(first.detach().numpy() @ weight):.4f}, "
      f"1/s² = {1 / s**2:.3f}, E[-curvature] = {-second.numpy() @ weight:.3f}")
print(f"Laplace: N({m_laplace:.3f}, {s_laplace:.3f}²), ELBO {elbo(m_laplace, np.log(s_laplace), log_win):.4f};  log evidence {np.log(0.5):.4f}")

# %% [markdown]
# Both lie below the evidence, as they must, and Laplace lies lower: among Gaussians, VI is the best *by this score*.
#
# ## 3 · Mean field: one factor at a time
#
# With many latents even "all Gaussians" is a large family: a covariance of 1,000 latents has half a million entries. The oldest small family is **mean field**: all $q$ that factorise,
# $q(z) = q_1(z_1)\,q_2(z_2)\cdots q_D(z_D)$. Nothing else is assumed, not even that the factors are Gaussian.
#
# Hold all factors but $q_j$ fixed and look at the ELBO as a function of $q_j$ alone. Write $\mathbb E_{-j}$ for the average over the other factors:
#
# $$\mathrm{ELBO} = \mathbb E_{q_j}\Big[\mathbb E_{-j}[\log p(x, z)]\Big] + \mathrm H[q_j] + \text{const} = -D_{\mathrm{KL}}\big(q_j\,\|\,q_j^*\big) + \text{const}, \qquad
# \boxed{\,q_j^*(z_j) \propto \exp\,\mathbb E_{-j}[\log p(x, z)]\,}$$
#
# A KL is smallest when its two arguments are equal. So the best $q_j$, given the others, *is* $q_j^*$: no step size, no gradient. Going round the factors again and again is **CAVI**, coordinate ascent variational inference.
# Each update can only raise the ELBO.
#
# **By hand, for a Gaussian.** Let $p = \mathcal N(\mu, \Sigma)$ be the posterior and $\Lambda = \Sigma^{-1}$ its precision matrix. In $\log p = -\tfrac12(z-\mu)^\top\Lambda(z-\mu) + \text{const}$ collect what contains $z_1$ and average over $z_2$, which has mean $m_2$ under $q_2$:
#
# $$\mathbb E_{-1}[\log p] = -\tfrac12\Lambda_{11}(z_1-\mu_1)^2 - \Lambda_{12}(z_1-\mu_1)(m_2-\mu_2) + \text{const}
# \;\Rightarrow\; q_1^* = \mathcal N\Big(\mu_1 - \frac{\Lambda_{12}}{\Lambda_{11}}(m_2-\mu_2),\; \frac1{\Lambda_{11}}\Big).$$
#
# The Gaussian shape was not put in, it came out. For $\Sigma = \begin{pmatrix}1&\rho\\\rho&1\end{pmatrix}$: $-\Lambda_{12}/\Lambda_{11} = \rho$ and $1/\Lambda_{11} = 1 - \rho^2$. Here it is in code, with lesson 03's other direction beside it:

# %%
mu = np.array([1.0, -1.0])


def coordinate_updates(rho, steps, direction="reverse"):
    """Means and variances of q after 0, 1, ..., `steps` updates of one factor, each (steps + 1, 2), for p = N(mu, [[1, rho], [rho, 1]])."""
    m, v = np.zeros((steps + 1, 2)), np.ones((steps + 1, 2))
    for k in range(steps):
        i, j = k % 2, 1 - k % 2                                    # z₁ first, then z₂, then z₁ ...
        m[k + 1], v[k + 1] = m[k], v[k]
        if direction == "reverse":
            m[k + 1, i], v[k + 1, i] = mu[i] + rho * (m[k, j] - mu[j]), 1 - rho**2
        else:
            m[k + 1, i], v[k + 1, i] = mu[i], 1.0                  # forward: match the moments of the marginal
    return m, v


def both_kls(m, v, rho):
    """KL(q||p) and KL(p||q) in nats for q with means m and variances v, each (..., 2), and p = N(mu, [[1, rho], [rho, 1]])."""
    d, det, log_ratio = m - mu, 1 - rho**2, np.log(1 - rho**2) - np.log(v).sum(axis=-1)
    reverse = 0.5 * ((v.sum(axis=-1) + (d**2).sum(axis=-1) - 2 * rho * d.prod(axis=-1)) / det - 2 + log_ratio)
    forward = 0.5 * (((1 + d**2) / v).sum(axis=-1) - 2 - log_ratio)
    return reverse, forward

# %%
m, v = coordinate_updates(0.9, 20)
p = td.MultivariateNormal(torch.tensor(mu), torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64))
q = td.MultivariateNormal(torch.tensor(m[3]), torch.diag(torch.tensor(v[3])))
print(f"KL(q||p) after three updates: {both_kls(m, v, 0.9)[0][3]:.4f}; torch.distributions: {td.kl_divergence(q, p).item():.4f} nats")
print(f"KL(p||q) then: {both_kls(m, v, 0.9)[1][3]:.4f}; torch.distributions: {td.kl_divergence(p, q).item():.4f} nats")
found = minimize(lambda t: both_kls(t[:2], np.exp(t[2:]), 0.9)[0], np.zeros(4))
print(f"a general optimiser: means {found.x[0]:.3f}, {found.x[1]:.3f}, variances {np.exp(found.x[2]):.3f}, {np.exp(found.x[3]):.3f}, KL {found.fun:.4f}")

# %% [markdown]
# ### Predict before you move
#
# Each coordinate of $p$ has standard deviation 1, whatever $\rho$ is. You will see ellipses: one standard deviation of $p$ (filled) and of $q$ (dashed).

# %%
gate_width = predict(r"At $\rho = 0.9$, when CAVI has come to rest, what is the standard deviation of each factor of $q$?",
                     {"1, as each coordinate of p has": 1.0, "0.9, that is ρ": 0.9, "about 0.44": 0.436, "about 0.1, that is 1 − ρ": 0.1})
gate_width

# %%
circle = np.array([np.cos(np.linspace(0, 2 * np.pi, 121)), np.sin(np.linspace(0, 2 * np.pi, 121))])


def staircase(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
    blue = plots.style("posterior")["color"]
    (outer,), (inner,) = left.fill([0], [0], color=blue, alpha=0.15), left.fill([0], [0], color=blue, alpha=0.25)
    (edge,) = left.plot([], [], **plots.style("posterior"))
    (dashed,) = left.plot([], [], **plots.style("q"))
    (track,) = left.plot([], [], "k.-", markersize=7, linewidth=1.2)
    mark = plots.prediction(left)
    left.set(xlim=(-1.6, 3.6), ylim=(-3.3, 1.7), aspect="equal", xlabel="z₁", ylabel="z₂", title="p filled, q dashed, path of q's mean")
    (so_far,) = right.plot([], [], **plots.style("kl", linestyle="-", marker="o", markersize=4))
    (floor,) = right.plot([], [], **plots.style("kl", linestyle=":"))
    right.set(xlim=(0, 40), ylim=(3e-3, 100), yscale="log", xlabel="updates of one factor", title="KL in nats; dotted: where it ends")

    def update(rho=0.3, step=0, direction="reverse: KL(q‖p)", prediction=None):
        m, v = coordinate_updates(rho, step, direction[:7])
        kl = both_kls(m, v, rho)[0 if direction.startswith("reverse") else 1]
        ellipse = mu[:, None] + np.array([[1, 0], [rho, np.sqrt(1 - rho**2)]]) @ circle
        inner.set_xy(ellipse.T)
        outer.set_xy((2 * ellipse - mu[:, None]).T)
        edge.set_data(*ellipse)
        dashed.set_data(*(m[-1][:, None] + np.sqrt(v[-1])[:, None] * circle))
        track.set_data(*m.T)
        mark.set(None if prediction is None else mu[0] + prediction, mu[1])
        end = -0.5 * np.log(1 - rho**2)
        so_far.set_data(np.arange(step + 1), kl)
        floor.set_data([0, 40], [max(end, 3e-3)] * 2)
        return (f"after {step} updates: mean ({m[-1, 0]:.3f}, {m[-1, 1]:.3f}), sd ({np.sqrt(v[-1, 0]):.3f}, {np.sqrt(v[-1, 1]):.3f})      "
                f"{direction[-7:]} = {kl[-1]:.4f}, it ends at {end:.4f} nats")
    return update


explore(staircase, rho=(0.0, 0.99, 0.01), step=(0, 40), direction=["reverse: KL(q‖p)", "forward: KL(p‖q)"], predict=gate_width,
        alt="Ellipses of a correlated Gaussian p and of a factorised q whose mean climbs in a staircase, and the KL after each update")

# %% [markdown]
# Move `step` slowly at $\rho=0.3$. Then set $\rho=0.9$ and go on to 40; your diamond sits as far right of the centre as you said $q$ would reach. Then try the forward direction.
#
# <details><summary>What you should have seen</summary>
#
# Each update moves parallel to one axis until it meets the ridge of $p$ in that direction: a staircase, with smaller and smaller steps the stronger the correlation. The *means* get there. The *widths* are settled after one update each, at
# $\sqrt{1-\rho^2}$: $q$ is as wide as a *slice* through $p$ (one coordinate held fixed), not as wide as its *shadow* (the other ignored). Memory aid: **one over Lambda**, not Sigma.
#
# The forward direction is done after two updates and keeps the full width; it ends at the very same KL, in its own direction. Reverse gives the slice, forward gives the shadow.
#
# </details>
#
# ### Misconception: "more iterations remove the approximation error"
#
# Iterating removes the error of the *optimisation*: in every sweep over both factors the error of the mean shrinks by exactly $\rho^2$. The error of the *family* stays.

# %%
m, v = coordinate_updates(0.9, 20_000)
error = np.abs(m[::2, 0] - mu[0])
print("error of the first mean, one sweep over the sweep before:", np.round(error[2:6] / error[1:5], 3))
for rho in (0.5, 0.9, 0.99):
    means = coordinate_updates(rho, 2000)[0][::2]
    print(f"rho = {rho}: sweeps until the error of the second mean has shrunk from 1 to a millionth: {np.argmax(np.abs(means[:, 1] - mu[1]) < 1e-6)}")
print(f"rho = 0.9 after 10,000 sweeps: variance {v[-1, 0]:.4f} instead of 1, KL(q||p) = {both_kls(m[-1], v[-1], 0.9)[0]:.4f} nats")

# %% [markdown]
# ### Misconception: "mean field ignores the dependence a bit"
#
# In $D$ dimensions the same algebra gives variances $1/\Lambda_{jj}$ and a gap that adds up over the dimensions. Take $D$ latents of variance 1, any two of them with a moderate correlation of 0.5:

# %%
def mean_field(S):
    """The best factorised q for N(mu, S), S (D, D): its variances (D,) and the gap KL(q||p) in nats."""
    variances = 1 / np.diag(np.linalg.inv(S))
    return variances, 0.5 * (np.linalg.slogdet(S)[1] - np.log(variances).sum())


for D in (2, 10, 50, 200):
    variances, gap = mean_field(np.full((D, D), 0.5) + 0.5 * np.eye(D))
    mean_sd = np.sqrt(variances.sum()) / D
    print(f"D = {D:3d}: variances {variances[0]:.3f}, gap {gap:.4f} nats; sd of the average of all z: q says {mean_sd:.3f}, truth {np.sqrt((1 + (D - 1) / 2) / D):.3f}")

# %% [markdown]
# The single variances are off by a factor of two, which does not look dramatic. But ask $q$ for the standard deviation of the *average* of the 200 latents, and it is off by a factor of 14.
#
# ### Exercise 4.1 · CAVI for a Gaussian ●○○ · 12 min
#
# Write coordinate ascent for $D$ dimensions and any precision matrix. From the derivation above, with all other factors in the sum,
#
# $$m_j \leftarrow \mu_j - \frac1{\Lambda_{jj}}\sum_{k\ne j}\Lambda_{jk}\,(m_k - \mu_k).$$
#
# One sweep updates $j = 1, \dots, D$ in turn, and each update uses the *newest* values of the others.

# %% exercise="cavi_gaussian"
def cavi_gaussian(mu, Lambda, m0, n):
    """n sweeps of CAVI for p = N(mu, Lambda⁻¹) with a factorised Gaussian q that starts at the means m0.

    mu, m0: (D,). Lambda: precision matrix (D, D). n: number of sweeps. Returns the means (D,) and variances (D,) of q's factors.
    """
    ### BEGIN SOLUTION
    m = np.array(m0, float)
    for _ in range(n):
        for j in range(len(m)):
            others = Lambda[j] @ (m - mu) - Lambda[j, j] * (m[j] - mu[j])
            m[j] = mu[j] - others / Lambda[j, j]
    return m, 1 / np.diag(Lambda)
    ### END SOLUTION

# %% check="cavi_gaussian"
check.cavi_gaussian(cavi_gaussian)

# %% [markdown]
# ## 4 · Two spins: when the approximation takes sides
#
# The smallest model with a surprise. Two spins $z_1, z_2 \in \{-1, +1\}$ like to agree: $p(z_1, z_2) = e^{J z_1 z_2} / Z$, with a coupling $J \ge 0$. There are four states, so everything can be enumerated: $Z = 4\cosh J$, and by symmetry
# **both true means are exactly 0**, however strong the coupling.
#
# Mean field gives each spin its own coin. A factor is described by its mean $m_i$, and $q_1^* \propto \exp(J m_2 z_1)$ has the mean $\tanh(J m_2)$. With both spins alike, the update is $m \leftarrow \tanh(J m)$ and the ELBO is

# %%
def spin_elbo(m, J):
    """ELBO in nats of two independent spins with mean m each, for p ∝ exp(J z1 z2): E_q[J z1 z2] + entropy of both. Shape of m."""
    up = (1 + m) / 2
    return J * m**2 + 2 * (entr(up) + entr(1 - up))


def spin_updates(J, m, steps):
    """The mean after 0, 1, ..., `steps` mean-field updates m <- tanh(J m), (steps + 1,)."""
    path = [m]
    for _ in range(steps):
        path.append(np.tanh(J * path[-1]))
    return np.array(path)


states = np.array([(i, j) for i in (1, -1) for j in (1, -1)])
log_Z = np.log(np.exp(1.5 * states.prod(axis=1)).sum())
print(f"J = 1.5: log Z over four states {log_Z:.4f}, formula log(4 cosh J) {np.log(4 * np.cosh(1.5)):.4f}")

# %%
gate_spin = predict("At $J = 1.5$ the true mean of each spin is 0. Started slightly above 0, where does the mean-field mean come to rest?",
                    {"at 0, the true mean": 0.0, "at about 0.5": 0.5, "at about 0.86": 0.86, "at 1: both spins surely up": 1.0})
gate_spin

# %%
def two_spins(fig):
    left, right = fig.subplots(1, 2, width_ratios=(1.7, 1))
    grid = np.linspace(-1, 1, 401)
    (score,) = left.plot(grid, 0 * grid, **plots.style("elbo"))
    (top,) = left.plot([-1, 1], [0, 0], **plots.style("evidence"))
    (track,) = left.plot([], [], "k.-", markersize=8, linewidth=1)
    (gap,) = left.plot([], [], **plots.style("kl", linewidth=3))
    (here,) = left.plot([], [], "X", color=plots.style("q")["color"], markersize=13, markeredgecolor="white")
    mark = plots.prediction(left)
    left.set(xlim=(-1, 1), ylim=(0, 2.9), xlabel="mean m of each spin under q", ylabel="nats", title="black: log Z; green: the ELBO; between them the gap")
    place = np.arange(4)
    blue = plots.style("posterior")["color"]
    true_bars = right.bar(place - 0.2, np.ones(4), 0.38, color=blue, alpha=0.35, edgecolor=blue)
    q_bars = right.bar(place + 0.2, np.ones(4), 0.38, facecolor="none", edgecolor=plots.style("q")["color"], linestyle="--", linewidth=2)
    right.set(xticks=place, xticklabels=["↑↑", "↑↓", "↓↑", "↓↓"], ylim=(0, 1), title="p filled, q dashed")

    def update(J=0.5, m=0.2, step=0, prediction=None):
        path = spin_updates(J, m, step)
        score.set_ydata(spin_elbo(grid, J))
        log_Z = np.log(4 * np.cosh(J))
        top.set_ydata([log_Z, log_Z])
        track.set_data(path, spin_elbo(path, J))
        value = spin_elbo(path[-1], J)
        here.set_data([path[-1]], [value])
        gap.set_data([path[-1]] * 2, [value, log_Z])
        mark.set(prediction, 0.0)
        for bars, heights in ((true_bars, np.exp(J * states.prod(axis=1)) / np.exp(log_Z)), (q_bars, ((1 + states * path[-1]) / 2).prod(axis=1))):
            for bar, height in zip(bars, heights):
                bar.set_height(height)
        return f"after {step} updates: m = {path[-1]:+.4f}      ELBO {value:.4f} = log Z {log_Z:.4f} − gap {log_Z - value:.4f} nats"
    return update


explore(two_spins, J=(0.0, 2.0, 0.05), m=(-0.95, 0.95, 0.05), step=(0, 30), predict=gate_spin, labels={"J": "coupling J", "m": "start: mean m"},
        alt="The ELBO over the mean of two spins, below the line log Z, with the path of the updates; beside it the four states' probabilities under p and q")

# %% [markdown]
# Watch the green curve while you move $J$ from 0 to 2. Then set $J = 1.5$, start at 0.2, and step; then start at $-0.2$, and at exactly 0.
#
# <details><summary>What you should have seen</summary>
#
# Up to $J = 1$ the curve has one top, at the true mean. Beyond, that top splits in two: the symmetric $q$ has become the *worst* place nearby, and the updates run off to one side. Which side depends on nothing but the start.
# From exactly 0 they never move: a resting point is not always a maximum. This is **symmetry breaking**: $q$ takes a side that $p$ does not take, and is confident about it.
# It is section 1's forgotten hump once more; that is why the gap grows towards $\log 2$ as $J$ does, and never beyond.
#
# </details>

# %%
J = 1.5
m = spin_updates(J, 0.2, 200)[-1]
both = minimize(lambda t: -(J * np.tanh(t[0]) * np.tanh(t[1]) + entr((1 + np.tanh(t)) / 2).sum() + entr((1 - np.tanh(t)) / 2).sum()), [0.5, 0.3])
print(f"J = 1.5: m = {m:.4f} = tanh(J m) = {np.tanh(J * m):.4f}; true mean {abs((states[:, 0] * np.exp(J * states.prod(axis=1) - log_Z)).sum()):.4f}")
print(f"         two free means and a general optimiser: {np.tanh(both.x[0]):.4f}, {np.tanh(both.x[1]):.4f}, ELBO {-both.fun:.4f}")
print(f"         gap {log_Z - spin_elbo(m, J):.4f} nats (log 2 = {np.log(2):.4f}); with m = 0 it would be {log_Z - spin_elbo(0.0, J):.4f}")
for J in (0.9, 1.0, 1.1):
    print(f"J = {J}: the highest ELBO is at |m| = {np.linspace(0, 1, 1001)[np.argmax(spin_elbo(np.linspace(0, 1, 1001), J))]:.2f}")

# %% [markdown]
# ## 5 · Mean and precision, with an exact answer beside them
#
# So far the posteriors were toys. Here is the smallest real one: you measure a length eight times. Neither the true length $\mu$ nor the precision $\tau$ of the instrument ($\tau = 1/\sigma^2$) is known. The classic prior ties the two:
#
# $$x_n \sim \mathcal N(\mu, \tau^{-1}), \qquad \mu \mid \tau \sim \mathcal N\big(\mu_0, (\lambda_0\tau)^{-1}\big), \qquad \tau \sim \mathrm{Gamma}(a_0, b_0) \;\text{ with mean } a_0/b_0 .$$
#
# **Define.** $q(\mu, \tau) = q(\mu)\,q(\tau)$. Applying the boxed rule of section 3 (do it: collect what contains $\mu$, then what contains $\tau$) gives, without having been asked, $q(\mu) = \mathcal N(m, \lambda^{-1})$ and $q(\tau) = \mathrm{Gamma}(a, b)$.
# Every expectation in the ELBO is then known, with $\mathbb E[\tau] = a/b$ and $\mathbb E[\log\tau] = \psi(a) - \log b$:

# %%
x = np.array([2.1, 1.9, 3.2, 2.8, 0.5, 2.5, 1.7, 2.3])


def normal_gamma_elbo(x, m, lam, a, b, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """ELBO in nats of q(mu) = N(m, 1/lam), q(tau) = Gamma(a, b) for the data x (N,) under the prior above; numbers only."""
    t, log_t = a / b, digamma(a) - np.log(b)                                            # E[tau], E[log tau]
    log_likelihood = len(x) / 2 * (log_t - np.log(2 * np.pi)) - t / 2 * (((x - m)**2).sum() + len(x) / lam)
    log_prior_mu = 0.5 * (np.log(l0) + log_t - np.log(2 * np.pi)) - l0 * t / 2 * ((m - mu0)**2 + 1 / lam)
    log_prior_tau = a0 * np.log(b0) - gammaln(a0) + (a0 - 1) * log_t - b0 * t
    entropy_mu = 0.5 * np.log(2 * np.pi * np.e / lam)
    entropy_tau = a - np.log(b) + gammaln(a) + (1 - a) * digamma(a)
    return log_likelihood + log_prior_mu + log_prior_tau + entropy_mu + entropy_tau


def normal_gamma_exact(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """The exact posterior (m, l, a, b): tau ~ Gamma(a, b), mu | tau ~ N(m, 1/(l tau)); and log p(x) in nats."""
    N, mean = len(x), x.mean()
    l, a = l0 + N, a0 + N / 2
    b = b0 + 0.5 * ((x - mean)**2).sum() + l0 * N * (mean - mu0)**2 / (2 * l)
    log_px = gammaln(a) - gammaln(a0) + a0 * np.log(b0) - a * np.log(b) + 0.5 * np.log(l0 / l) - N / 2 * np.log(2 * np.pi)
    return ((l0 * mu0 + N * mean) / l, l, a, b), log_px

# %% [markdown]
# **Maximise.** For once with a blunt instrument, scipy's optimiser on four numbers; you will do it better in a moment. **Assess.** This model is one of the few with an exact evidence and posterior, so we can see the whole gap, and
# check that it is the KL between $q$ and the exact posterior, summed on a grid of $\mu$ and $\tau$.

# %%
found = minimize(lambda v: -normal_gamma_elbo(x, v[0], *np.exp(v[1:])), [0.0, 0.0, 0.0, 0.0], tol=1e-9)
m, (lam, a, b) = found.x[0], np.exp(found.x[1:])
(m_exact, l_exact, a_exact, b_exact), log_px = normal_gamma_exact(x)
MU, TAU = np.meshgrid(np.linspace(-0.5, 4.5, 501), np.linspace(1e-3, 5, 1001))


def log_gamma_density(tau, a, b):
    """log Gamma(tau | a, b) in nats, elementwise; b is a rate: the mean is a / b."""
    return a * np.log(b) - gammaln(a) + (a - 1) * np.log(tau) - b * tau


log_q = log_normal(MU, m, lam**-0.5) + log_gamma_density(TAU, a, b)
log_p = log_normal(MU, m_exact, (l_exact * TAU)**-0.5) + log_gamma_density(TAU, a_exact, b_exact)
kl = np.trapezoid(np.trapezoid(np.exp(log_q) * (log_q - log_p), MU[0]), TAU[:, 0])
print(f"ELBO {-found.fun:.5f} <= log evidence {log_px:.5f}: {-found.fun <= log_px}")
print(f"gap {log_px + found.fun:.4f} nats; KL of q from the exact posterior on a grid: {kl:.4f}")

# %%
fig = plots.figure(7, 3.2)
ax = fig.subplots()
plots.contours(ax, MU[::5, ::5], TAU[::5, ::5], np.exp(log_p)[::5, ::5])
ax.contour(MU[::5, ::5], TAU[::5, ::5], np.exp(log_q)[::5, ::5], levels=5, colors=plots.style("q")["color"], linestyles="dashed", linewidths=1.6)
plots.label(ax, 2.75, 1.9, "q, factorised", "q")
plots.label(ax, 3.0, 0.35, "exact posterior", "posterior")
ax.set(xlim=(0.3, 4), ylim=(0, 2.6), xlabel="mean μ", ylabel="precision τ")
plots.show(fig, alt="The exact posterior over mean and precision is a wedge, wide at low precision; the factorised q is an upright oval inside it")

# %% [markdown]
# The posterior is a wedge: if the instrument is bad (low $\tau$), the length is uncertain too. A factorised $q$ cannot say "if". It costs 0.0492 nats: mean field is not always a disaster.
#
# ### Exercise 4.2 · CAVI for mean and precision ●●○ · 20 min
#
# Work out the two updates from the boxed rule, on paper first, and iterate them until nothing changes. A hint for $q(\tau)$: the prior of $\mu$ contains $\tau$ as well. Return the ELBO too; you may call `normal_gamma_elbo`.

# %% exercise="cavi_normal_gamma"
def cavi_normal_gamma(x, mu0=0.0, l0=1.0, a0=1.0, b0=1.0):
    """CAVI for q(mu) = N(m, 1/lam), q(tau) = Gamma(a, b), run until it rests. x: data (N,).

    Returns (m, lam, a, b, ELBO): five numbers, the ELBO in nats.
    """
    ### BEGIN SOLUTION
    N = len(x)
    m = (l0 * mu0 + x.sum()) / (l0 + N)                   # these two do not change from sweep to sweep
    a = a0 + (N + 1) / 2
    squares = ((x - m)**2).sum() + l0 * (m - mu0)**2
    b = a * b0 / a0                                       # any start will do
    for _ in range(200):
        lam = (l0 + N) * a / b
        b = b0 + 0.5 * (squares + (N + l0) / lam)
    return m, lam, a, b, normal_gamma_elbo(x, m, lam, a, b, mu0, l0, a0, b0)
    ### END SOLUTION

# %% check="cavi_normal_gamma"
check.cavi_normal_gamma(cavi_normal_gamma)

# %% [markdown]
# **A trap in textbooks.** Let the prior fade, $\lambda_0, a_0, b_0 \to 0$. Which variance does $q$ then report, $S/N$ or the "unbiased" $S/(N-1)$, with $S = \sum_n (x_n - \bar x)^2$? You will find both in print. With the prior above, which ties $\mu$ to $\tau$, it is the first; the
# second belongs to a flat prior on $\mu$ that does not know $\tau$. Always say which prior.

# %%
fade = dict(l0=1e-4, a0=1e-4, b0=1e-4)
found = minimize(lambda v: -normal_gamma_elbo(x, v[0], *np.exp(v[1:]), **fade), [2.0, 2.0, 1.0, 1.0], tol=1e-9)
print(f"1/E[tau] under q: {np.exp(found.x[3] - found.x[2]):.3f};  S/N = {x.var():.3f}, S/(N-1) = {x.var(ddof=1):.3f}")
_, _, a_exact, b_exact = normal_gamma_exact(x, **fade)[0]
print(f"1/E[tau] under the exact posterior: {b_exact / a_exact:.3f}")

# %% [markdown]
# ## 6 · Does variational inference always make things too narrow?
#
# Everything so far suggests it: mean field shrank each variance from 1 to $1-\rho^2$, the spins became over-confident, a hump was dropped. Many pages state it as a law. Try it on a posterior you have just met: the precision of an instrument when the
# true length is known is *exactly* $\tau \sim \mathrm{Gamma}(a, b)$.
#
# A precision is positive, so a Gaussian on $\tau$ itself would waste mass below zero. The usual recipe, at the heart of what is called **ADVI**, is to transform first: put the Gaussian on $u = \log\tau$. The density of $u$ gains the factor $d\tau/du = e^u$, so
#
# $$\log p(u) = a\log b - \log\Gamma(a) + a u - b\,e^{u}.$$
#
# $b$ only sets the unit of $\tau$, and KL does not depend on units (lesson 03). So we may take $b = a$: the mean of $\tau$ is then 1.

# %%
def log_gamma_u(u, a, b):
    """log density of u = log tau for tau ~ Gamma(a, b), elementwise, in nats; b is a rate. It is normalised, so its ELBO is minus the gap."""
    return a * np.log(b) - gammaln(a) + a * u - b * np.exp(u)


def fit_log_gamma(a):
    """The best Gaussian on u for tau ~ Gamma(a, a), found by `climb`: (m, s, gap in nats)."""
    m, log_s = climb(0.0, 0.0, lambda u: log_gamma_u(u, a, a), 60)[-1]
    return m, np.exp(log_s), -elbo(m, log_s, lambda u: log_gamma_u(u, a, a))


def variances(a, m, s, axis):
    """(exact, under q) variance on the axis "log τ" or "τ", for tau ~ Gamma(a, a) and q = N(m, s²) on log tau."""
    if axis == "log τ":
        return polygamma(1, a), s**2
    return 1 / a, (np.exp(s**2) - 1) * np.exp(2 * m + s**2)  # the second: variance of a log-normal


m, s, gap = fit_log_gamma(10.0)
exact, ours = variances(10.0, m, s, "log τ")
print(f"a = 10: gap {gap:.4f} nats; variance of log tau: exact {exact:.4f}, q {ours:.4f}: too narrow, as expected")

# %%
gate_wide = predict(r"On the axis of $\log\tau$, $q$ is a little too narrow. Now read the *same* $q$ on the axis of $\tau$, at $a = 3$. Its variance there, divided by the exact one, is",
                    {"about 0.84: too narrow there too": 0.844, "exactly 1": 1.0, "about 1.19: too wide": 1.187})
gate_wide

# %%
def gamma_by_gaussian(fig):
    ax = fig.subplot_mosaic([["density", "gap"], ["density", "ratio"]], width_ratios=(1.35, 1))
    u = np.linspace(-5, 2.5, 601)
    posterior, q = plots.curve(ax["density"], u, 0 * u, "posterior"), plots.curve(ax["density"], u, 0 * u, "q")
    ax["density"].set(ylabel="density", title="exact posterior filled, q dashed")
    all_a = np.geomspace(0.5, 20, 60)
    ax["gap"].plot(all_a, 1 / (12 * all_a), color="0.4", linewidth=1)
    (here,) = ax["gap"].plot([], [], "o", color=plots.style("kl")["color"], markersize=9)
    ax["gap"].set(xlim=(0, 20.5), ylim=(2e-3, 0.4), yscale="log", title="● gap in nats; thin line: 1/(12 a)")
    (ratio,) = ax["ratio"].plot([], [], "X", color=plots.style("q")["color"], markersize=11)
    ax["ratio"].axhline(1, color="0.4", linewidth=1)
    mark = plots.prediction(ax["ratio"])
    ax["ratio"].set(xlim=(0, 20.5), ylim=(0.35, 3.6), yscale="log", yticks=[0.5, 1, 2], yticklabels=["0.5", "1", "2"], xlabel="a", title="variance of q / exact variance")
    ax["ratio"].minorticks_off()
    shown = []

    def update(a=10.0, axis="log τ", prediction=None):
        m, s, gap = fit_log_gamma(a)
        on_log = axis == "log τ"
        x, jacobian = (u, 0.0) if on_log else (np.exp(u), u)
        if shown != [axis]:
            shown[:] = [axis]
            ax["density"].set(xlim=(-4, 2) if on_log else (0, 5), ylim=(0, 1.85), xlabel=axis)
        posterior.set(np.exp(log_gamma_u(u, a, a) - jacobian), x)
        q.set(np.exp(log_normal(u, m, s) - jacobian), x)
        exact, ours = variances(a, m, s, axis)
        here.set_data([a], [gap])
        ratio.set_data([a], [ours / exact])
        mark.set(prediction and 3.0, prediction)
        return f"gap {gap:.4f} nats      variance of {axis}: exact {exact:.4f}, under q {ours:.4f}, ratio {ours / exact:.3f}"
    return update


explore(gamma_by_gaussian, a=(0.5, 20.0, 0.5), axis=["log τ", "τ"], predict=gate_wide, labels={"axis": "seen on the axis of"}, size=(8.5, 4.4),
        alt="A gamma posterior and the Gaussian fitted on its logarithm, the gap over a beside the curve 1 over 12 a, and the ratio of the variances")

# %% [markdown]
# Set $a = 3$ on the axis of $\log\tau$, then switch to $\tau$. Then move $a$ down to 0.5 and watch the right tail.
#
# <details><summary>What you should have seen</summary>
#
# On the axis of $\log\tau$ the exact density has a long left tail, which $q$ cuts off, and a right side that ends much more steeply than a Gaussian's. What is lost on the left outweighs what is gained on the right: too narrow.
# On the axis of $\tau$ the left tail is squeezed against zero and counts for nothing, while the right tail of $q$ is stretched out: **too wide**, although its peak looks narrower than the exact one. The eye sees peaks, the variance feels tails.
# It is one and the same $q$, with one and the same gap: KL does not depend on the axis, variance does. At $a = 0.5$ the ratio is above 3.
#
# The gap itself is small and behaves well: it follows the thin line $1/(12a)$ closely.
#
# </details>
#
# ### Misconception: "variational inference always underestimates the variance"

# %%
for a in (1.0, 3.0, 10.0):
    m, s, gap = fit_log_gamma(a)
    exact, ours = variances(a, m, s, "τ")
    exact_log, ours_log = variances(a, m, s, "log τ")
    tau = td.LogNormal(torch.tensor(m), torch.tensor(s))
    print(f"a = {a:2.0f}: variance of τ: q {ours:.3f} > exact {exact:.3f}, ratio {ours / exact:.3f} (torch.distributions {tau.variance.item() * a:.3f}); "
          f"mean {tau.mean.item():.3f}; on log τ the ratio is {ours_log / exact_log:.3f}")
tail = 1 - td.LogNormal(*map(torch.tensor, fit_log_gamma(3.0)[:2])).cdf(torch.tensor(4.0)).item()
print(f"a =  3: probability of τ > 4: q {tail:.4f}, exact {gammaincc(3.0, 12.0):.4f}")
v = coordinate_updates(0.9, 2)[1][-1]
print(f"and mean field at rho = 0.9: variance of z1 - z2 under q {v.sum():.2f}, in truth {2 * (1 - 0.9):.2f}")

# %% [markdown]
# So "too narrow" is no law. What reverse KL dislikes is putting mass where $p$ has little; which variance comes out of that depends on the family *and* on what you then look at. The last line makes the point for mean field itself: each factor is too narrow,
# but the *difference* of two positively correlated latents is nearly fixed under $p$, and $q$, which knows of no correlation, lets it vary almost twice as much.
# The mean of $\tau$, by the way, is exactly right. Why? The slope in $m$ tells, if you do the next exercise on paper.
#
# ### Exercise 4.3 · The best Gaussian on $\log\tau$ ●●○ · 15 min
#
# No optimiser is needed here. For $u\sim\mathcal N(m, s^2)$ you know $\mathbb E[u] = m$ and $\mathbb E[e^u] = e^{m + s^2/2}$. Write the ELBO for any $a$ and $b$, set both slopes to zero, and return the best $m$, the best **variance** $s^2$ and the gap at that optimum
# (the density is normalised, so its log evidence is 0). You need `gammaln`, the logarithm of $\Gamma$.

# %% exercise="gamma_advi"
def gamma_advi(a, b):
    """Best Gaussian N(m, s²) on u = log tau for tau ~ Gamma(a, b), b a rate. Returns (m, s², gap in nats), in closed form."""
    ### BEGIN SOLUTION
    s2 = 1 / a
    m = np.log(a / b) - s2 / 2
    elbo = a * np.log(b) - gammaln(a) + a * m - b * np.exp(m + s2 / 2) + 0.5 * np.log(2 * np.pi * np.e * s2)
    return m, s2, -elbo
    ### END SOLUTION

# %% check="gamma_advi"
check.gamma_advi(gamma_advi)

# %% [markdown]
# If you simplified your gap on paper you have met an old friend. **Stirling's formula** says $\log\Gamma(a) \approx (a-\tfrac12)\log a - a + \tfrac12\log 2\pi$. The gap of the best Gaussian is *exactly* its remainder, and $1/(12a)$ is the first term of the remainder's series:
# the most famous approximation to $\Gamma$ is a variational bound.

# %%
for a in (1.0, 3.0, 10.0):
    remainder = gammaln(a) - ((a - 0.5) * np.log(a) - a + 0.5 * np.log(2 * np.pi))
    print(f"a = {a:2.0f}: gap of the machine's fit {fit_log_gamma(a)[2]:.6f}, Stirling's remainder {remainder:.6f}, 1/(12a) = {1 / (12 * a):.6f}")

# %% [markdown]
# ## 7 · Assess, when there is no exact answer
#
# In this lesson we always had a second opinion: a grid, an enumeration, a closed form. In earnest you have only ELBOs. What can they tell?
#
# - **Start again, elsewhere.** Different ELBOs mean that at least one run is stuck (sections 1 and 4).
# - **Enlarge the family.** If a larger family raises the ELBO by $\Delta$, the smaller one had missed *at least* $\Delta$ nats. That is a proof, and it needs no evidence. At the top of the Bow, give $q$ a second hump:

# %%
top = (0.0, 2.0)
m, s = best_gaussian(bow_at(top), z)
one = elbo(m, np.log(s), bow_at(top))
log_q = np.logaddexp(log_normal(z, m, s), log_normal(z, -m, s)) - np.log(2)                 # half here, half on the other side
two = np.trapezoid(np.exp(log_q) * (bow_at(top)(z) - log_q), z)
print(f"ELBO with one hump {one:.4f}, with two {two:.4f}: one hump had missed at least {two - one:.4f} nats")
print(f"afterwards, with the grid: log p(x) = {bow_posterior(top, z, 1.0, 0.25)[1]:.4f}, so that was nearly all")

# %% [markdown]
# - **Weigh samples of $q$** by $p(x,z)/q(z)$: uneven weights betray a bad fit. Lessons 05 and 09 make this quantitative, and show what it, too, does not see.
# - **What the ELBO alone does not tell:** how large the gap is; whether the *model* is any good; which summaries of $q$ to trust. Means often survive a factorised $q$; variances and anything about dependence often do not.
#
# | posterior | family | gap in nats | what went wrong |
# |-|-|-|-|
# | Bow on the wire | Gaussian | 0.0001 | nothing to speak of |
# | mean and precision, 8 data | factorised | 0.049 | cannot say "if" |
# | gamma, $a=3$ | Gaussian on $\log\tau$ | 0.028 | too narrow on $\log\tau$, too wide on $\tau$ |
# | two spins, $J=1.5$ | factorised | 0.63 | took a side |
# | Bow at the top | Gaussian | 0.69 | dropped half of the mass |
# | Gaussian, $\rho=0.9$ | factorised | 0.83 | variance 0.19 for 1 |
#
# **One step harder (not checked).** (a) For the $D$ equally correlated latents of section 3 find the variances and the gap as formulas in $\rho$ and $D$ (the matrix has two different eigenvalues), and what the gap does as $D\to\infty$ at fixed $\rho$. Compare with the table printed there.
# (b) Show that for two spins with $J$ slightly above 1 the mean grows like $m \approx \sqrt{3(J-1)}$, and that the gap tends to $\log 2$ as $J\to\infty$. (c) Extend `cavi_gaussian` to update *pairs* of latents at a time: what is then left of the gap at $D=10$?
#
# ## Recap
#
# **Short.** Variational inference replaces a posterior by the member of a family with the highest ELBO, which is the one with the lowest reverse KL. Optimisation errors vanish with iterations; family errors do not.
#
# **Standard.** Define a family, maximise the ELBO, assess the result. The ELBO needs the joint and $q$ only; it differs from $\log p(x)$ by $D_{\mathrm{KL}}(q\,\|\,p(z\mid x))$. For Gaussians the maximum can be climbed; it has an average slope of zero and the average curvature of $\log p$ as its precision,
# where Laplace takes both at one point. For factorised families each factor has a best form, $\exp$ of an average of $\log p$, and coordinate ascent needs no step size. On a correlated Gaussian this gives the right means after a staircase of rate $\rho^2$, and the widths of slices, $1/\Lambda_{jj}$. It can break symmetries and drop modes.
# It does not always shrink: the same $q$ may be too narrow on one axis and too wide on another.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $\log p(x) = \mathrm{ELBO} + D_{\mathrm{KL}}(q\,\Vert\,p(z\mid x))$ | the evidence does not depend on $q$, so one rises as the other falls |
# | $\mathrm{ELBO} = \mathbb E_q[\log p(x, z)] + \mathrm H[q]$ | only the joint is needed |
# | $\mathbb E_q[\frac{d}{dz}\log p] = 0,\; 1/s^2 = \mathbb E_q[-\frac{d^2}{dz^2}\log p]$ | the best Gaussian; Laplace: the same at one point |
# | $q_j^* \propto \exp\,\mathbb E_{-j}[\log p(x, z)]$ | the best factor, given the others |
# | $m_j = \mu_j - \Lambda_{jj}^{-1}\sum_{k\ne j}\Lambda_{jk}(m_k-\mu_k),\; v_j = 1/\Lambda_{jj}$ | CAVI for a Gaussian; error times $\rho^2$ a sweep in two dimensions |
# | $-\tfrac12\log(1-\rho^2)$ | its gap for two latents, in either direction |
# | $m = \tanh(Jm)$ | two spins; more than one solution for $J > 1$ |
# | $\log\Gamma(a) - (a-\tfrac12)\log a + a - \tfrac12\log2\pi \approx 1/(12a)$ | the gap of the best Gaussian on $\log\tau$ |
#
# **Memory aid.** *DMA: Define a family, Maximise the ELBO, Assess what is missing.* And: *one over Lambda* (a slice, not the shadow).
#
# **Key terms.** variational inference · variational family · ELBO · gap · mean field · CAVI · Laplace's approximation · symmetry breaking · ADVI · optimisation error and family error

# %%
flash_cards(4)

# %%
quiz("04_variational_inference")

# %%
dialogue([
    ("Student", "I ran variational inference for an hour. It has converged, so now I have the posterior."),
    ("Teacher", "You have a member of your family of distributions. Which family did you choose?"),
    ("Student", "Mean field. But I can let it run over night. The error will get smaller."),
    ("Teacher", "Which error? On the Gaussian with correlation nine tenths, what did ten thousand sweeps do to the variance?"),
    ("Student", "Nothing. It was nineteen hundredths after the first sweep and stayed there. The means got better, the widths never moved."),
    ("Teacher", "So one error belongs to the optimiser and one to the family. Only the first one gives way to patience."),
    ("Student", "Then at least I know the sign of the second. Everything comes out too narrow."),
    ("Teacher", "Did it, for the precision of the instrument?"),
    ("Student", "On the logarithm, yes. But then we looked at the precision itself, and the very same fit was too wide. How can one fit be both?"),
    ("Teacher", "Because a variance depends on the axis you look along, and a divergence does not. How would you find out that a fit is bad, without knowing the truth?"),
    ("Student", "Start somewhere else and compare the lower bounds. Or allow a larger family: if the bound jumps, the small family had missed at least that much."),
    ("Teacher", "And if nothing jumps?"),
    ("Student", "Then I have not proved anything. I have only failed to find a fault. That is what assess means, I suppose."),
])

# %% [markdown]
# **References.** M. Jordan, Z. Ghahramani, T. Jaakkola, L. Saul, *An Introduction to Variational Methods for Graphical Models*, Machine Learning 1999. ·
# C. Bishop, *Pattern Recognition and Machine Learning*, 2006, sections 10.1.1 to 10.1.3 (the boxed rule, the correlated Gaussian, mean and precision). ·
# M. Opper, C. Archambeau, *The Variational Gaussian Approximation Revisited*, Neural Computation 2009 (the two conditions of section 2). ·
# D. Blei, A. Kucukelbir, J. McAuliffe, *Variational Inference: A Review for Statisticians*, JASA 2017. ·
# A. Kucukelbir and others, *Automatic Differentiation Variational Inference*, JMLR 2017. ·
# D. MacKay, *Information Theory, Inference, and Learning Algorithms*, 2003, chapter 33 (spins, mean and precision).
#
# **Next:** [05 · The ELBO](05_elbo.ipynb), where the ruler gets its names, and the model learns too.

# %% [markdown] solutions
# ## Solutions
