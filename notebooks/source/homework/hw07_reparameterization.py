# %% [markdown]
# # Homework 07 · Reparameterization
#
# **20 points:** 16 for five exercises that are marked by a program, 4 for the written question. About 110 minutes. Needs [lesson 07](../07_reparameterization.ipynb).
#
# Solve an exercise by replacing the two lines under `# YOUR CODE HERE`. The line below it tries your function at once and says what does not hold; it knows some properties of the answer, not the answer. The marks come from other numbers, so write what is right, not what passes.
# **To hand in:** *Kernel → Restart and run all cells*, save, and upload this one file under the name it has.
#
# Exercises 1, 4 and 5 get torch tensors (of 64 bits) and must let gradients through; 2 and 3 are NumPy.

# %%
import numpy as np
import torch
from scipy.stats import poisson

from course_utils import plots
from course_utils.checks import homework_07 as check

plots.set_style()
torch.set_num_threads(1)

# %%
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · A rail for shares (3 points, 15 min)
#
# A latent that is a *share*, between 0 and 1, would like a Beta distribution, but that one has no simple rail. The Kumaraswamy distribution looks much alike and has one. Its distribution function, for $a, b > 0$, is
#
# $$F(z) = 1 - (1 - z^a)^b, \qquad 0 < z < 1 .$$
#
# In the picture, push a $u$ from the left to the curve and read off $z$. Three uniforms have been pushed through two members of the family:

# %%
z = np.linspace(0, 1, 401)
fig = plots.figure(7, 3)
axes = fig.subplots(1, 2, sharey=True)
three = np.sort(rng.uniform(0.05, 0.95, 3))
for ax, (a, b) in zip(axes, ((0.8, 2.5), (3.0, 1.5))):
    F = 1 - (1 - z**a)**b
    plots.curve(ax, z, F, "q")
    for u in three:
        landed = np.interp(u, F, z)
        ax.plot([0, landed, landed], [u, u, 0], color="black", linewidth=1)
        ax.plot([landed], [0], "ko", clip_on=False, markersize=6)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="z", title=f"a = {a}, b = {b}")
axes[0].set_ylabel("u = F(z)")
plots.show(fig, alt="Two rising curves from 0 to 1; three heights u on the left lead along each curve to three places z, far apart on the two")

# %% [markdown]
# Solve $u = F(z)$ for $z$, so that $z$ *rises* with $u$, in torch and elementwise. Gradients must flow to $a$ and to $b$: these would be the encoder's outputs.

# %% exercise="kumaraswamy" points=3
def kumaraswamy(a, b, u):
    """Draws z in (0, 1) with distribution function 1 - (1 - z^a)^b, rising with u. a, b > 0, u uniform: tensors that broadcast."""
    ### BEGIN SOLUTION
    return (1 - (1 - u)**(1 / b))**(1 / a)
    ### END SOLUTION

# %% check="kumaraswamy"
check.kumaraswamy(kumaraswamy)

# %% [markdown]
# ## A rail for counts?
#
# A count $z\sim\mathrm{Poisson}(\lambda)$ jumps from 2 to 3; no smooth path leads there. But look at what happens to the *probabilities* when the rate grows a little:

# %%
counts, rate = np.arange(9), 2.0
fig = plots.figure(7, 2.8)
ax = fig.subplots()
ax.bar(counts - 0.2, poisson.pmf(counts, rate), width=0.4, color="0.8", edgecolor="black", label="rate 2")
ax.bar(counts + 0.2, poisson.pmf(counts, rate + 0.3), width=0.4, facecolor="none", edgecolor=plots.VERMILLION, hatch="///", label="rate 2.3")
ax.set(xlabel="count z", ylabel="probability", xticks=counts, title="a higher rate moves probability to the right, one count at a time")
ax.legend()
plots.show(fig, alt="Probabilities of the counts 0 to 8 for rates 2 and 2.3: those of 0 to 2 fall, those from 3 on rise")

# %% [markdown]
# ### 2 · Two gradients for a rate (3 points, 20 min)
#
# Differentiate $p(z) = \lambda^z e^{-\lambda}/z!$ with respect to $\lambda$, in two ways.
#
# **Score function:** write the derivative as $p(z)$ times something; that something is the score.
# **One more:** write the derivative with $p(z)$ and $p(z-1)$ only, put it into $\sum_z f(z)\,\frac{\partial p(z)}{\partial\lambda}$ and shift the summation index of one part. What is left is an average over $p(z)$ again, of a *difference* of costs: what would one more count have cost? No derivative of $f$ is needed, $f$ may be a simulator.
#
# Return both estimates of $\partial\,\mathbb E[f(z)]/\partial\lambda$ from the same draws.

# %% exercise="poisson_grads" points=3
def poisson_grads(f, rate, z):
    """Two estimates of d/drate E[f(z)], z ~ Poisson(rate): (score function, difference of costs), averages over the draws.

    f: the cost, for arrays of counts 0, 1, 2, ...; z: (S,) draws.
    """
    ### BEGIN SOLUTION
    return np.mean(f(z) * (z / rate - 1)), np.mean(f(z + 1) - f(z))
    ### END SOLUTION

# %% check="poisson_grads"
check.poisson_grads(poisson_grads)

# %% [markdown]
# ### 3 · A panel of switches (4 points, 20 min)
#
# $D$ independent switches, $b_d\in\{0, 1\}$, on with probability $p_d = 1/(1 + e^{-\ell_d})$. A cost $f(b)$ looks at the whole panel. From $S$ panels that were drawn, estimate the gradient of $\mathbb E[f(b)]$ with respect to all $D$ *logits* by the score function, with the mean cost of the **other** $S - 1$ panels as baseline of each.
#
# First find the score of one switch, $\partial\log p(b_d)/\partial\ell_d$: it is surprisingly short. Then average over the panels. Three lines without a loop will do.

# %% exercise="switch_grads" points=4
def switch_grads(f, logits, bits):
    """Leave-one-out score-function gradient of E[f(b)] by the logits: (D,). logits: (D,); bits: (S, D) draws of 0 and 1, S >= 2.

    f: the cost, takes panels (S, D), returns (S,).
    """
    ### BEGIN SOLUTION
    cost = f(bits)
    others = (cost.sum() - cost) / (len(cost) - 1)
    return np.mean((cost - others)[:, None] * (bits - 1 / (1 + np.exp(-logits))), axis=0)
    ### END SOLUTION

# %% check="switch_grads"
check.switch_grads(switch_grads)

# %% [markdown]
# ### 4 · An ELBO that autograd can climb (3 points, 20 min)
#
# A waiting time $z > 0$ is latent, and $q$ is exponential, $q(z) = \lambda e^{-\lambda z}$ with $\lambda = e^\rho$ (the encoder's output is $\rho$, any number). Lesson 07 gave the rail: $z = -\log(u)/\lambda$. Return the estimate of
#
# $$\mathcal L(\rho) = \mathbb E_q[\log p(x, z)] + \mathrm H[q]$$
#
# from the uniforms $u$: the first part as an average over the draws, the entropy **in closed form** (work it out: $\mathbb E_q[-\log q(z)]$). Its gradient with respect to $\rho$ must be the pathwise one.

# %% exercise="exponential_elbo" points=3
def exponential_elbo(log_joint, rho, u):
    """Estimate of the ELBO in nats, a scalar tensor whose gradient by rho is the pathwise one; q is exponential with rate e^rho.

    log_joint: log p(x, z), elementwise for tensors z > 0. rho: scalar tensor with requires_grad. u: (S,) uniforms.
    """
    ### BEGIN SOLUTION
    z = -torch.log(u) / rho.exp()
    return log_joint(z).mean() + 1 - rho
    ### END SOLUTION

# %% check="exponential_elbo"
check.exponential_elbo(exponential_elbo)

# %% [markdown]
# ### 5 · Hard outside, soft inside (3 points, 15 min)
#
# A router must choose *one* of $K$ experts, not a mixture of them; yet its logits are to be trained by backpropagation. **Straight-through** Gumbel-softmax: going forward, the output is the one-hot vector of $\arg\max_k(\ell_k + g_k)$; going backward, the gradient is that of $\operatorname{softmax}((\ell + g)/\tau)$. Lesson 07 used its formula for one
# switch. Write it for rows of choices, as a tensor whose *value* is hard and whose *gradient* is soft. The trick is to add something that is 0 but has a gradient: what does $y - y$ become if one of the two is detached?

# %% exercise="straight_through" points=3
def straight_through(logits, g, tau):
    """One-hot rows of argmax(logits + g) with the gradient of softmax((logits + g) / tau); over the last axis. Tensors (..., K); tau > 0."""
    ### BEGIN SOLUTION
    soft = torch.softmax((logits + g) / tau, dim=-1)
    hard = torch.nn.functional.one_hot((logits + g).argmax(dim=-1), logits.shape[-1])
    return hard + soft - soft.detach()
    ### END SOLUTION

# %% check="straight_through"
check.straight_through(straight_through)

# %% [markdown] written="which_gradient" points=4
# ### 6 · Written: three clients (4 points, 20 min)
#
# You are asked for a gradient three times.
#
# (a) A traffic office has a simulator (compiled, nobody may look inside) that returns the mean delay for a vector of 12 signal timings. It wants the best *mean* of a Gaussian from which timings are drawn.
# (b) A physicist trains a decoder network with 50 Gaussian latents on sensor curves.
# (c) A language group wants each word to be sent to one of 8 experts, and at test time exactly one expert is run.
#
# For each client: name the estimator that you would use and the property of the problem that decides it, and name the risk that comes with it. Then, for *one* of the three, describe an experiment with numbers (what is computed, against what, how many draws) that would tell you within an hour whether your gradient is wrong, and one that tells
# you whether it is merely noisy.

# %% [markdown]
# ### 7 · Harder, not marked: which of the two is quieter?
#
# For $f(z) = z^2$ show that one draw of the difference estimate of exercise 2 has variance $4\lambda$, and find how the score function's variance grows with $\lambda$ (the leading power will do; its expectation is $1 + 2\lambda$ as well). So the difference wins, and for busy counts it wins by far. Then show that for
# $f(z) = (-1)^z$ the difference has variance $4(1 - e^{-4\lambda})$ and the score function $1/\lambda - 4e^{-4\lambda}$, so that beyond $\lambda=\frac14$ the score function is the quieter one. What do $z^2$ and $(-1)^z$ have in common with $z^2$ and $\sin 10z$ in the lesson? Check both claims with $10^6$ draws.
# And what does the difference estimate cost if a model has 100 Poisson latents and *one* cost $f(z_1, \dots, z_{100})$?
#
# A riddle to end with: in exercise 3 somebody forgets to take $p_d$ off, and gets the very same numbers. Why, and why only with this baseline?

# %%
