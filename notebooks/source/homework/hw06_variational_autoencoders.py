# %% [markdown]
# # Homework 06 · Variational autoencoders
#
# **20 points:** 16 for six exercises that are marked by a program, 4 for the written question. About 120 minutes. Needs [lesson 06](../06_variational_autoencoders.ipynb).
#
# Solve an exercise by replacing the two lines under `# YOUR CODE HERE`. The line below it tries your function at once and says what does not hold; it knows some properties of the answer, not the answer. The marks come from other numbers, so write what is right, not what passes.
# **To hand in:** *Kernel → Restart and run all cells*, save, and upload this one file under the name it has.
#
# Everything is NumPy here, and in nats. One rule runs through all of it: *sum over what makes one image, mean over images.*

# %%
import numpy as np
from scipy.special import logsumexp

from course_utils import datasets, plots
from course_utils.checks import homework_06 as check

plots.set_style()

# %%
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · A prior that is not N(0, I) (2 points, 10 min)
#
# Many models *learn* their prior: one for each class of images, or a different one for each layer of latents. It is then $p(z) = \mathcal N(\mu_0, \operatorname{diag}\sigma_0^2)$, given, like the encoder's $q$, by a mean and a `logvar` $=\log\sigma^2$. Write $D_{\mathrm{KL}}(q\,\|\,p)$, summed over the latents. With
# $\mu_0 = 0$, $\log\sigma_0^2 = 0$ it must become the lesson's rate.

# %% exercise="rate_to_prior" points=2
def rate_to_prior(mu, logvar, mu0, logvar0):
    """D_KL(N(mu, diag e^logvar) || N(mu0, diag e^logvar0)) in nats. Arrays (..., L) that broadcast; returns (...), summed over the L latents."""
    ### BEGIN SOLUTION
    ratio = (np.exp(logvar) + (mu - mu0)**2) / np.exp(logvar0)
    return 0.5 * (logvar0 - logvar + ratio - 1).sum(axis=-1)
    ### END SOLUTION

# %% check="rate_to_prior"
check.rate_to_prior(rate_to_prior)

# %% [markdown]
# ## Five inks
#
# Your data set for this homework: 600 of lesson 06's digits, drawn anew for each year. In the lesson a pixel was a count of 16 dots. A cheaper printer has five inks, 0 (white) to 4 (black):

# %%
counts = datasets.digits()[0][rng.choice(1797, size=600, replace=False)]
inks = np.round(counts / 4).astype(int)                                 # (600, 64), values 0 to 4


def strip(images):
    """Ten images of 64 pixels side by side, (8, 80), with a white frame around each: (10, 100)."""
    return np.hstack([np.pad(i.reshape(8, 8), 1) for i in images[:10]])


fig = plots.figure(8, 2.4)
above, below = fig.subplots(2, 1)
for ax, images, top, title in ((above, counts, 16, "0 to 16 dots"), (below, inks, 4, "five inks")):
    ax.imshow(strip(images), cmap="gray_r", vmin=0, vmax=top)
    ax.set(xticks=[], yticks=[], title=title)
plots.show(fig, alt="Ten handwritten digits in seventeen grey values, and the same ten in five")
shares = np.bincount(inks.ravel(), minlength=5) / inks.size
print("share of each ink over all pixels:", *(f"{s:.2f}" for s in shares))

# %% [markdown]
# ### 2 · A likelihood for inks (3 points, 15 min)
#
# An ink is a *category*: black is not "four times" light grey. So the decoder puts out $C$ logits $\ell_{dc}$ for each pixel $d$, and $p(x_d = c\mid z) = e^{\ell_{dc}}/\sum_{c'}e^{\ell_{dc'}}$. Write $\log p(x\mid z)$ of each image. (This is what "cross-entropy loss" means when it is a likelihood.) A network may be very sure
# of itself: nothing may break at logits of $\pm800$. `np.take_along_axis` picks one entry in each row.

# %% exercise="ink_loglik" points=3
def ink_loglik(logits, x):
    """log p(x | z) of each image, nats. logits: (N, D, C); x: (N, D) integers from 0 to C − 1. Returns (N,), summed over the D pixels."""
    ### BEGIN SOLUTION
    log_p = logits - logsumexp(logits, axis=-1, keepdims=True)
    return np.take_along_axis(log_p, x[..., None], axis=-1)[..., 0].sum(axis=-1)
    ### END SOLUTION

# %% check="ink_loglik"
check.ink_loglik(ink_loglik)

# %% [markdown]
# ### 3 · The encoder that a linear decoder deserves (3 points, 20 min)
#
# A linear VAE has $z\sim\mathcal N(0, I_k)$ and $x\mid z\sim\mathcal N(Wz, \sigma^2I)$, with centred $x$. Somebody hands you *any* $W$ and $\sigma^2$: no training, no optimum, the columns of $W$ need not be orthogonal. Write down $\log p(z) + \log p(x\mid z)$, collect what is quadratic and what is linear in $z$, and read off the exact
# posterior: its mean for each image, and its covariance, which is the same for all of them.

# %% exercise="linear_posterior" points=3
def linear_posterior(X, W, sigma2):
    """Exact p(z | x) of a linear VAE: (means (N, k), covariance (k, k)). X: (N, D) centred; W: (D, k); sigma2: the noise variance."""
    ### BEGIN SOLUTION
    M = W.T @ W + sigma2 * np.eye(W.shape[1])
    return X @ W @ np.linalg.inv(M), sigma2 * np.linalg.inv(M)
    ### END SOLUTION

# %% check="linear_posterior"
check.linear_posterior(linear_posterior)

# %% [markdown]
# ### 4 · How noisy is your decoder? (3 points, 15 min)
#
# Now hold the linear decoder $W$ and *some* Gaussian codes fixed, $q(z\mid x_n) = \mathcal N(\mu_n, \operatorname{diag}v_n)$, good or bad. Only $\sigma^2$ is left. Which $\sigma^2$ makes the ELBO of all images together highest? Set the derivative to zero. The expected squared error has two parts; one of them is there even if every mean is decoded
# perfectly.

# %% exercise="best_sigma2" points=3
def best_sigma2(X, W, mu, v):
    """The noise variance that maximises the ELBO. X: (N, D); W: (D, k); mu, v: (N, k) means and variances of the codes. Returns a number."""
    ### BEGIN SOLUTION
    spread = (v * (W**2).sum(axis=0)).sum()
    return (((X - mu @ W.T)**2).sum() + spread) / X.size
    ### END SOLUTION

# %% check="best_sigma2"
check.best_sigma2(best_sigma2)

# %% [markdown]
# ### 5 · One number for a batch (2 points, 15 min)
#
# The line of code in which most homemade VAEs go wrong. For a batch of $B$ images, $S$ draws of $z$ for each, a Gaussian decoder with variance $\sigma^2$ and the prior $\mathcal N(0, I)$, the loss is
#
# $$\frac1B\sum_{b=1}^B\Big[\,\beta\,D_{\mathrm{KL}}\big(q(z\mid x_b)\,\|\,p(z)\big) \;-\; \frac1S\sum_{s=1}^S\log\mathcal N\big(x_b\mid\hat x_{sb}, \sigma^2I\big)\Big] .$$
#
# Keep every constant: then $-$loss at $\beta = 1$ estimates a bound that can be compared with another model's.

# %% exercise="batch_loss" points=2
def batch_loss(x, x_hat, mu, logvar, sigma2, beta):
    """The loss in nats, a number. x: (B, D); x_hat: (S, B, D) decoded draws; mu, logvar: (B, L); sigma2: noise variance; beta: weight of the KL."""
    ### BEGIN SOLUTION
    log_lik = -0.5 * ((x - x_hat)**2 / sigma2 + np.log(2 * np.pi * sigma2)).sum(axis=-1)
    kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=-1)
    return beta * kl.mean() - log_lik.mean()
    ### END SOLUTION

# %% check="batch_loss"
check.batch_loss(batch_loss)

# %% [markdown]
# ## A budget of nats
#
# In the lesson the water stood at $\beta\sigma^2$, and the rate followed: $\sum_i\frac12\log^+(\lambda_i/\text{level})$, where $\log^+$ is the logarithm or 0, whichever is larger. Turn the question round. A channel lets you send $R$ nats for each image. How high must the water stand, and how much squared error is left? Here is the landscape that you fill:

# %%
centred = counts / 16 - (counts / 16).mean(axis=0)
lam = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]

fig = plots.figure(6.5, 3)
ax = fig.subplots()
ax.bar(np.arange(1, 21), lam[:20], width=0.8, color="0.85", edgecolor="black", linewidth=0.5)
for level, style in ((0.3, "-"), (0.1, "--")):
    ax.axhline(level, color="black", linestyle=style, linewidth=1.5)
    ax.annotate(f"water at {level}", (20.4, level), xytext=(0, 3), textcoords="offset points", ha="right")
ax.set(yscale="log", ylim=(0.03, 1.2), xlim=(0.4, 20.6), xticks=[1, 5, 10, 15, 20], xlabel="principal axis of your digits (the first 20 of 64)",
       ylabel="variance λ")
plots.show(fig, alt="Twenty falling bars on a logarithmic scale, with water lines at 0.3 and at 0.1: more bars stand above the lower line")

# %% [markdown]
# ### 6 · Fill to a given rate (3 points, 20 min)
#
# Return the level and the squared error $\sum_i\min(\lambda_i, \text{level})$ for a total rate $R > 0$. The variances come in any order. Either solve for the level with the $n$ largest axes above water and find the $n$ that is consistent with its own level; or note that the rate falls as the level rises, and bisect
# (but then to 8 digits).

# %% exercise="fill_to_rate" points=3
def fill_to_rate(lam, R):
    """(water level, squared error) of reverse water-filling at a total rate of R > 0 nats. lam: (D,) variances > 0, in any order."""
    ### BEGIN SOLUTION
    lam = np.sort(lam)[::-1]
    for n in range(len(lam), 0, -1):                        # the n largest above water
        level = np.exp((np.log(lam[:n]).sum() - 2 * R) / n)
        if level <= lam[n - 1]:
            return level, np.minimum(lam, level).sum()
    ### END SOLUTION

# %% check="fill_to_rate"
check.fill_to_rate(fill_to_rate)

# %% [markdown] written="two_weights" points=4
# ### 7 · Written: an absurd number (4 points, 25 min)
#
# Two students train the same VAE on $28\times28$ grey images (784 pixels, grey values from 0 to 1). `F.mse_loss` averages over images *and* pixels; `kl` is summed over the latents and averaged over images, in nats.
#
# ```python
# loss = F.mse_loss(x_hat, x) + kl            # Ada
# loss = F.mse_loss(x_hat, x) + 0.001 * kl    # Ben
# ```
#
# Ada's KL goes to 0 within one epoch. Ben's reconstructions look fine, but he is told in the seminar that "a weight of 0.001 is absurd; $\beta = 1$ is the only bound".
#
# (a) Write each loss as (a constant times) minus an ELBO with a Gaussian likelihood, and find the $\sigma^2$ that each of them claims. (b) Suppose that the covariance of the images has eigenvalues 5.1, 3.7, 3.3, 2.8, … , of which 25 are above 0.4. What does the linear theory say about each run?
# (c) Would KL warm-up have saved Ada? Give a reason, and say how you would tell this collapse from one that warm-up cures. (d) What should both of them have written instead, so that nobody has to choose such a number?

# %% [markdown]
# ### 8 · Harder, not marked: put the halves together
#
# Exercise 3 is an E step, and exercise 4 half an M step. Derive the other half, the best $W$ for fixed codes (a linear regression in which the codes have a covariance $V$: $W = X^\top\mu\,(\mu^\top\mu + NV)^{-1}$), and run the see-saw of lesson 05 on `centred` with $k = 2$ from a random $W$. Before you run it: does it end at the pPCA solution? Is the *subspace*
# that of the two largest eigenvalues? Are the columns of $W$ orthogonal, as those of the lesson's trained VAE were? (Exercise 4 has diagonal codes, exercise 3 a full covariance: what must be changed?) How many rounds does it take to agree with `ppca_ml` to four decimals, and what decides that?

# %%
