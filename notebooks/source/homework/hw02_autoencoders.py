# %% [markdown]
# # Homework 02 · Autoencoders
#
# 20 points: 16 for six exercises, 4 for one written question. About 2 hours. Needs lesson 02.
#
# Fill in the functions, run the `check` line below each, and type your answer to the question at the end. Before you hand in,
# restart the kernel, run all cells, save, and upload this one file. The checks here try a few properties; the marks come from
# other cases. An exercise that you leave out costs its own points only.
#
# As in the lesson: data `X` have a row for each of $N$ examples and a column for each of $D$ numbers in it; a squared error is summed over the columns and averaged
# over the rows; the covariance has $1/N$.

# %%
import numpy as np

from course_utils import datasets, plots
from course_utils.checks import homework_02 as check

plots.set_style()
SEED = 2026
rng = np.random.default_rng(SEED)

# %% [markdown]
# ### 1 · Few images, many pixels (3 points, 20 min)
#
# Fifteen digits are plenty for this one.

# %%
X, _ = datasets.digits(15, rng=rng)
inner = (X - X.mean(axis=0)) @ (X - X.mean(axis=0)).T
fig = plots.figure(8.5, 3)
left, right = fig.subplots(1, 2, width_ratios=(2, 1))
left.imshow(np.block([[np.pad(X[5 * i + j].reshape(8, 8), 1) for j in range(5)] for i in range(3)]), cmap="gray_r")
left.set(xticks=[], yticks=[], title="Fifteen images of 64 pixels")
right.imshow(inner, cmap="cividis")
right.set(xticks=[], yticks=[], title="G: how alike are they? 15 × 15")
plots.show(fig, alt="Left: fifteen handwritten digits in three rows. Right: a symmetric square of 15 by 15 shades with a bright diagonal")

# %% [markdown]
# PCA asks for eigenvectors of the $D \times D$ covariance. A photograph has millions of pixels, and that matrix would have billions of entries; the table of inner
# products between the $N$ centred images, $G = (X - \bar x)(X - \bar x)^\top$, has only $N \times N$.
#
# On paper: if $G u = \lambda u$ with $\lambda > 0$, then $v = (X - \bar x)^\top u$ is an eigenvector of $(X - \bar x)^\top (X - \bar x)$ with the same $\lambda$.
# How long is $v$? Divide it by its length, project the images onto the best $k$ of these directions, and see how much cancels. Return the reconstructions $\hat x$ of the best linear autoencoder with $k$ code units.

# %% exercise="reconstruct" points=3
def reconstruct(X, k):
    """Reconstructions (N, D) of X (N, D) by the best linear autoencoder with k code units; at least k of G's eigenvalues are positive."""
    ### BEGIN SOLUTION
    mean = X.mean(axis=0)
    G = (X - mean) @ (X - mean).T
    _, U = np.linalg.eigh(G)                  # smallest eigenvalue first
    U = U[:, -k:]
    return mean + U @ (U.T @ (X - mean))      # v = (X - mean)ᵀ u / √λ: the two roots cancel
    ### END SOLUTION

# %% check="reconstruct"
check.reconstruct(reconstruct)

# %% [markdown]
# ### 2 · What do k units keep? (2 points, 10 min)
#
# "Two components explain 80 % of the variance" is the commonest sentence about PCA. Return the share of the total variance that the best linear autoencoder with
# $1, 2, \dots, D$ code units keeps.

# %% exercise="kept_share" points=2
def kept_share(X):
    """Shares between 0 and 1, shape (D,): entry k - 1 is what k code units keep of the variance of X (N, D)."""
    ### BEGIN SOLUTION
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    return np.cumsum(eigenvalues) / eigenvalues.sum()
    ### END SOLUTION

# %% check="kept_share"
check.kept_share(kept_share)

# %% [markdown]
# ### 3 · Whitening (3 points, 20 min)
#
# Neighbouring pixels say much the same. The picture shows the correlations of all 1797 digits with two pixels (black crosses).

# %%
digits, _ = datasets.digits()
fig = plots.figure(7, 2.9)
for ax, pixel in zip(fig.subplots(1, 2), (28, 43)):
    together = ((digits - digits.mean(axis=0)) * (digits[:, [pixel]] - digits[:, pixel].mean())).mean(axis=0)
    sd = np.maximum(digits.std(axis=0), 1e-9)
    picture = ax.imshow((together / sd / sd[pixel]).reshape(8, 8), cmap="PuOr", vmin=-1, vmax=1)
    ax.plot(pixel % 8, pixel // 8, "x", color="black", markersize=11, markeredgewidth=3)
    ax.set(xticks=[], yticks=[], title=f"row {pixel // 8}, column {pixel % 8}")
fig.colorbar(picture, ax=fig.axes, label="correlation")
plots.show(fig, alt="Two maps of 8 by 8 pixels: high correlation around each black cross, negative further off")

# %% [markdown]
# **Whitening** takes such redundancy out: a linear map of the centred data after which the covariance is $I$. Many maps do so (any rotation afterwards is
# allowed, as the lesson's codes showed). One of them is special, because it changes the images least: it *goes to* the eigenvectors, divides the coordinate along each by its sd, and
# *comes back* by the same rotation, so that column $j$ of the result is still about pixel $j$. The sd along a corner pixel that is always blank is zero, so a small $\varepsilon$ is added
# to every eigenvalue $\lambda_i$: divide by $\sqrt{\lambda_i + \varepsilon}$.

# %% exercise="whiten" points=3
def whiten(X, eps):
    """Whitened data (N, D), in the pixels' own coordinates. X: (N, D). eps: added to the eigenvalues (variances), >= 0."""
    ### BEGIN SOLUTION
    centred = X - X.mean(axis=0)
    eigenvalues, U = np.linalg.eigh(centred.T @ centred / len(X))
    return (centred @ U / np.sqrt(eigenvalues + eps)) @ U.T
    ### END SOLUTION

# %% check="whiten"
check.whiten(whiten)

# %% [markdown]
# ### 4 · Tied weights (3 points, 25 min)
#
# A linear autoencoder with **tied weights** uses one matrix $W$, $D \times k$, twice: code $z = W^\top x$, reconstruction $\hat x = W z$. (The data are centred
# already.) The loss is $L(W) = \frac1N\sum_n \lVert W W^\top x_n - x_n\rVert^2$. Derive its gradient by hand: hold the encoder's $W$ fixed and
# differentiate by the decoder's, then the other way round, and add. NumPy only, so that you see what autograd does.

# %% exercise="tied_gradient" points=3
def tied_gradient(X, W):
    """dL/dW, shape (D, k), for the loss above. X: (N, D) centred data. W: (D, k), any matrix."""
    ### BEGIN SOLUTION
    codes = X @ W
    error = codes @ W.T - X
    by_decoder = error.T @ codes
    by_encoder = X.T @ (error @ W)
    return 2 / len(X) * (by_decoder + by_encoder)
    ### END SOLUTION

# %% check="tied_gradient"
check.tied_gradient(tied_gradient)

# %% [markdown]
# ### 5 · Denoising counts (2 points, 20 min)
#
# An insurer knows how many accidents each of 20 000 drivers had last year. Driver $i$ has a rate $\lambda_i$ that nobody sees, and $x_i \sim \mathrm{Poisson}(\lambda_i)$,
# so that $p(x \mid \lambda) = \lambda^x e^{-\lambda}/x!$. How many accidents should be expected of a driver who had none?
# Zero is certainly wrong, and so is $x$ for everybody: much of a count is luck. We invented these drivers, so for once the truth can be shown.

# %%
rates = rng.gamma(1.2, size=20_000) / 2.5
accidents = rng.poisson(rates)
counts = np.bincount(accidents)
fig = plots.figure(8, 3)
left, right = fig.subplots(1, 2)
left.bar(range(len(counts)), counts, color="0.75", edgecolor="black")
left.set(yscale="log", xlabel="accidents x", ylabel="drivers", title="All that the insurer has")
shown = range(min(6, len(counts)))
right.plot(shown, shown, color="0.5", linestyle=":", linewidth=2)
right.plot(shown, [rates[accidents == x].mean() for x in shown], **plots.style("posterior", marker="o", markersize=8))
right.text(3.5, 4.2, "x itself", ha="right", color="0.35", fontweight="bold")
plots.label(right, 3.1, 0.7, "mean of their true λ", "posterior")
right.set(xlabel="accidents x", ylabel="rate", title="All that we know")
plots.show(fig, alt="Left: columns, on a log scale, of drivers with 0, 1, 2, and more accidents. Right: the mean true rate of drivers with x "
                    "accidents rises much more slowly than x itself, and begins above 0")

# %% [markdown]
# That blue line can be had **without knowing any rate, or the distribution they come from**. It is a denoiser like Tweedie's, for another noise. Write
#
# $$\mathbb E[\lambda \mid x]\; p(x) = \int \lambda\, p(x \mid \lambda)\, p(\lambda)\, d\lambda ,$$
#
# and express $\lambda\,p(x \mid \lambda)$ by $p(x + 1 \mid \lambda)$. What stands there then is a $p(\cdot)$ that the counts themselves estimate. (Herbert Robbins found this in 1956.)

# %% exercise="robbins" points=2
def robbins(counts):
    """Estimates of E[λ | x] for x = 0, ..., M - 2, shape (M - 1,), from nothing but the data.

    counts: (M,); counts[x] is the number of people with x accidents. Where nobody has x accidents the estimate is np.nan.
    """
    ### BEGIN SOLUTION
    counts = np.asarray(counts, float)
    x = np.arange(len(counts) - 1)
    here = np.where(counts[:-1] > 0, counts[:-1], np.nan)
    return (x + 1) * counts[1:] / here
    ### END SOLUTION

# %% check="robbins"
check.robbins(robbins)

# %% [markdown]
# ### 6 · How noisy is the decoder? (3 points, 15 min)
#
# The lesson read the squared error as a Gaussian log-likelihood, $x \mid \hat x \sim \mathcal N(\hat x, s^2 I)$, with an $s$ that somebody chose. Let the data choose it:
# find the one $s$, the same for all rows and columns, for which the log-likelihood of all data is largest. Return it, and the average over the rows of $\log p(x_n \mid \hat x_n)$ at that $s$.

# %% exercise="noise_sd" points=3
def noise_sd(X, X_hat):
    """Returns (s, log_p): the best sd of the noise, and log p(x | x̂) of a row (summed over its D columns) on average, in nats.

    X, X_hat: (N, D) data and reconstructions, not everywhere equal.
    """
    ### BEGIN SOLUTION
    s = np.sqrt(np.mean((X - X_hat)**2))
    log_p = -X.shape[1] / 2 * (np.log(2 * np.pi * s**2) + 1)
    return s, log_p
    ### END SOLUTION

# %% check="noise_sd"
check.noise_sd(noise_sd)

# %% [markdown] written="perfect_copy" points=4
# ### 7 · Written: the perfect copy (4 points, 20 min)
#
# A start-up has trained a linear autoencoder with 4096 code units on portraits of 64 × 64 pixels. "Our reconstruction error is zero, on new portraits too. So our model
# knows everything about faces; to invent a new face we simply decode a random $z \sim \mathcal N(0, I)$, and whether a picture is a probable face can be read off from its error."
#
# In about ten sentences: what does the zero error show, what is wrong with each of the two conclusions, and what would have to be added before one may speak of a model of faces?

# %% [markdown]
# ### Harder, without marks: smoother than Robbins
#
# For large $x$ there are few drivers, and Robbins' estimates jump (divide by two drivers and see). Fit the two numbers of a gamma distribution of the rates to `counts` by maximum likelihood, with the evidence from homework 01,
# exercise 2, for one count each. Then $\mathbb E[\lambda \mid x]$ is a straight line in $x$: derive it, draw it over Robbins' estimates and the blue line, and explain why
# its slope is below 1. For which $p(\lambda)$ would it be a bad idea?

# %%
