# %% [markdown]
# # 02 · Autoencoders
#
# **The question of this lesson:** if a network squeezes an image into two numbers and gets it back, has it learned
# what images are like?
#
# After this lesson you will be able to
# 1. predict the loss of a linear autoencoder from the eigenvalues of the data, for any number of code units;
# 2. show that it finds the *subspace* of PCA but not its *axes*;
# 3. train a non-linear autoencoder and compare it with PCA on images that neither has seen;
# 4. show with a number that decoding random codes fails, and say what an autoencoder lacks to be a model $p(x)$;
# 5. name four ways to keep an autoencoder from merely copying, and say what each of them limits;
# 6. compute the best possible denoiser from the gradient of a log-density.
#
# **Needs:** lesson 01 (the Bow, and $p(x) = \int p(x \mid z)\,p(z)\,dz$), eigenvectors, a little PyTorch.
# **Takes** about 135 minutes: squeeze 25 · axes 25 · bend 15 · holes 15 · other limits 10 · denoise 25 ·
# not yet a model 10 · recap 10. A good place for a break is after the holes.

# %%
import numpy as np
import torch
from scipy.special import logsumexp, softmax
from sklearn.decomposition import PCA
from torch import nn

from course_utils import datasets, models, plots
from course_utils.checks import lesson_02 as check
from course_utils.explore import explore
from course_utils.quiz import dialogue, flash_cards, predict, quiz

rng = np.random.default_rng(5)
torch.set_num_threads(1)  # small networks: a second thread only gets in the way
plots.set_style()

# %% [markdown]
# ## 1 · Squeeze an image through a few numbers
#
# The course's real data: 1797 handwritten digits of 8 × 8 pixels. A pixel counts 0 to 16 dots of ink; divided by 16
# it lies between 0 and 1. An image is then one point $x$ in $D = 64$ dimensions, and one row of `X`.

# %%
counts, labels = datasets.digits()
X = counts / 16
x_bar = X.mean(axis=0)  # the mean image, (64,)
total_variance = ((X - x_bar)**2).sum(axis=1).mean()  # sum over pixels, mean over images
print(f"{X.shape[0]} images of {X.shape[1]} pixels")
print(f"squared distance of an image from the mean image, on average: {total_variance:.3f}")


# %%
def strip(images):
    """(n, 64) pixels -> one picture (10, 10 n): n digits side by side, each in a white frame."""
    return np.hstack([np.pad(image.reshape(8, 8), 1) for image in images])


def picture(ax, pixels, name, **scale):
    """Draw pixels (0 white, 1 black) with a name on the left; returns the artist, whose set_data changes them."""
    ax.set(xticks=[], yticks=[], frame_on=False)
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return ax.imshow(pixels, **{"cmap": "gray_r", "vmin": 0, "vmax": 1, **scale})


fig = plots.figure(8.5, 1.9)
for ax, first in zip(fig.subplots(2), (0, 10)):
    picture(ax, strip(X[first:first + 10]), "x")
plots.show(fig, alt="Twenty handwritten digits of 8 by 8 pixels, two of each from 0 to 9")

# %% [markdown]
# An **autoencoder** is a pair of functions. The **encoder** $e$ turns an image into a **code** $z = e(x)$ of $k$
# numbers; the **decoder** $d$ turns a code into an image, $\hat x = d(z)$. Both are trained together so that the round
# trip loses as little as possible. Here "loses" always means the squared error, **summed over the pixels and averaged
# over the images** (the average over pixels is 64 times smaller; reports mix the two up all the time):
#
# $$\text{loss}(e, d) = \frac1N \sum_{n=1}^N \bigl\lVert x_n - d(e(x_n)) \bigr\rVert^2 .$$
#
# If $k$ is small, the code is a **bottleneck**: not everything gets through.
#
# Begin with **linear** functions, for which the best answer is known. With one matrix $V$ (64 × $k$) in the encoder and
# another, $W$ (64 × $k$), in the decoder,
#
# $$z = V^\top (x - \bar x), \qquad \hat x = \bar x + W z .$$
#
# Let $\lambda_1 \ge \lambda_2 \ge \dots \ge \lambda_{64}$ be the eigenvalues of the covariance
# $S = \frac1N \sum_n (x_n - \bar x)(x_n - \bar x)^\top$, and $u_1, u_2, \dots$ its eigenvectors, the **principal
# axes**: $\lambda_i$ is the variance of the data along $u_i$. Whatever passes through $k$ numbers linearly comes out in
# a flat space of $k$ dimensions. The best one is spanned by the $k$ axes with the most variance, and what gets lost is
# the variance along all the others:
#
# $$\min_{V, W}\ \text{loss} = \lambda_{k+1} + \lambda_{k+2} + \dots + \lambda_{64},
#   \qquad\text{reached, for instance, at}\quad V = W = (u_1, \dots, u_k) .$$


# %%
def principal_axes(X):
    """Mean (D,), eigenvalues (D,), largest first, and axes (D, D), one a column, of the covariance (1/N) of X (N, D)."""
    mean = X.mean(axis=0)
    lam, U = np.linalg.eigh((X - mean).T @ (X - mean) / len(X))  # eigh gives the smallest first
    return mean, lam[::-1], U[:, ::-1]


def squared_error(X, X_hat):
    """Squared distance of images from reconstructions, both (N, D): sum over pixels, mean over images."""
    return float(((X - X_hat)**2).sum(axis=1).mean())


x_bar, lam, U = principal_axes(X)
print("the first five eigenvalues:", *(f"{v:.3f}" for v in lam[:5]))
print(f"the sum of all 64: {lam.sum():.3f}, the squared distance from the mean image again")

# %% [markdown]
# Do not take the formula on trust. Send the digits through the first ten axes and back, and let scikit-learn do the
# same by another road (a singular value decomposition of the data; it never forms $S$):

# %%
k = 10
X_hat = x_bar + (X - x_bar) @ U[:, :k] @ U[:, :k].T
pca = PCA(k, svd_solver="full").fit(X)
print(f"discarded eigenvalues     {lam[k:].sum():.4f}")
print(f"error of our round trip   {squared_error(X, X_hat):.4f}")
print(f"error of scikit-learn's   {squared_error(X, pca.inverse_transform(pca.transform(X))):.4f}")

# %% [markdown]
# Ten numbers instead of 64 leave an error of 1.2286. No number at all leaves 4.693:
# everybody gets the mean image. And two numbers?

# %%
two_numbers = predict("Only $k = 2$ numbers for each image. Which squared error per image is left?",
                      number=(0, 4.7), unit="squared error per image")
two_numbers

# %%
ks = np.arange(65)
losses = np.array([max(lam[k:].sum(), 0) for k in ks])


def bottleneck(fig):
    ax = fig.subplot_mosaic([["x", "x"], ["x_hat", "x_hat"], ["lam", "loss"]], height_ratios=[1, 1, 2])
    picture(ax["x"], strip(X[:10]), "x")
    x_hat = picture(ax["x_hat"], strip(X[:10]), "x̂")
    ax["lam"].bar(ks[1:], lam, width=1, facecolor="none", edgecolor="grey", hatch="////", linewidth=0)
    kept = ax["lam"].fill_between([0, 1], 0, [0, 0], step="pre", color="black", linewidth=0)
    ax["lam"].text(22, 0.45, "black: kept\nhatched: lost")
    ax["lam"].set(xlabel="axis i", ylabel="variance λᵢ", xlim=(0.5, 64.5))
    (curve,), (dot,) = ax["loss"].plot([], [], "k-"), ax["loss"].plot([0], [0], "ko", markersize=8, clip_on=False)
    ax["loss"].set(xlabel="code units k", ylabel="loss", xlim=(-1, 66), ylim=(0, 5))
    mark = plots.prediction(ax["loss"])

    def update(k=16, prediction=None):
        x_hat.set_data(strip(x_bar + (X[:10] - x_bar) @ U[:, :k] @ U[:, :k].T))
        kept.set_data(ks[:k + 1] + 0.5, 0, np.append(0, lam[:k]))
        curve.set_data(ks[k:], losses[k:])
        dot.set_data([k], [losses[k]])
        mark.set(2, prediction)
        return f"k = {k}: loss {losses[k]:.3f} per image; {1 - losses[k] / losses[0]:.1%} of the variance gets through"

    return update


explore(bottleneck, k=(0, 64), predict=two_numbers, labels={"k": "code units k"},
        alt="Top: ten digits and their reconstructions from k numbers. Bottom: the eigenvalues, the kept ones black, "
            "and the loss against k, drawn from the present k on")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Two numbers leave an error of 3.355. They pass on only 28.5% of the variance, although they are the best two there
# are. With $k = 16$ (0.707) most digits are legible; at $k = 32$ (0.158) you must look twice to see a difference. From
# $k = 61$ on the loss is zero: three of the 64 pixels are white in every image, so the data fill only 61 dimensions.
#
# </details>

# %%
for k in (0, 1, 2, 10, 16, 32, 61):
    print(f"k = {k:2d}: loss {losses[k]:.3f}, variance kept {1 - losses[k] / losses[0]:.1%}")
print(f"pixels that are the same in every image: {(X.std(axis=0) == 0).sum()}")

# %% [markdown]
# ### Exercise 2.1 · The loss without an autoencoder ●○○ · 8 min
#
# Compute the error that the best linear autoencoder with $k$ code units leaves on data `X`, without encoding or decoding
# anything. It should work for any data, so begin from `X`, not from `lam`.

# %% exercise="pca_recon_error"
def pca_recon_error(X, k):
    """Smallest squared error of a linear autoencoder with k code units on X (N, D): sum over D, mean over N."""
    ### BEGIN SOLUTION
    centred = X - X.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(X))  # smallest first
    return eigenvalues[:X.shape[1] - k].sum()
    ### END SOLUTION

# %% check="pca_recon_error"
check.pca_recon_error(pca_recon_error)

# %% [markdown]
# ## 2 · The subspace of PCA, but not its axes
#
# PCA is one road to the minimum. Now forget eigenvectors and *train* the linear autoencoder: start $V$ and $W$ at
# random and follow the gradient of the loss downhill. The optimiser L-BFGS is gradient descent that remembers how the
# slope has changed; it calls `closure` until nothing improves any more.

# %%
V = torch.tensor(0.1 * rng.standard_normal((64, 2)), requires_grad=True)
W = torch.tensor(0.1 * rng.standard_normal((64, 2)), requires_grad=True)
centred = torch.tensor(X - x_bar)
optimiser = torch.optim.LBFGS([V, W], max_iter=80, tolerance_change=1e-12, line_search_fn="strong_wolfe")


def closure():
    """The loss of the linear autoencoder, with its gradient in V.grad and W.grad."""
    optimiser.zero_grad()
    loss = ((centred - centred @ V @ W.T)**2).sum(dim=1).mean()
    loss.backward()
    return loss


optimiser.step(closure)
V, W = V.detach().numpy(), W.detach().numpy()

# %% [markdown]
# Do the columns of $W$ span the same plane as $u_1$ and $u_2$? Planes are compared by their **principal angles**, whose
# cosines are the singular values of $Q_1^\top Q_2$ for orthonormal bases $Q_1$ and $Q_2$. All cosines 1: the same plane.


# %%
def principal_cosines(A, B):
    """Cosines of the principal angles between the column spaces of A and B, both (D, k) -> (k,), largest first."""
    return np.linalg.svd(np.linalg.qr(A)[0].T @ np.linalg.qr(B)[0])[1]


X_hat = x_bar + (X - x_bar) @ V @ W.T
print(f"loss of the trained linear autoencoder   {squared_error(X, X_hat):.3f}")
print(f"discarded eigenvalues                    {lam[2:].sum():.3f}")
print("cosines between its plane and PCA's     ", *(f"{c:.3f}" for c in principal_cosines(W, U[:, :2])))

# %% [markdown]
# The loss is PCA's, and so is the plane. **A common misconception** follows at once: "so a linear autoencoder finds the
# principal components". Look at the single columns of $W$:

# %% tags=["nbval-ignore-output"]
cosines = np.abs((W / np.linalg.norm(W, axis=0)).T @ U[:, :2])
for j in (0, 1):
    print(f"column {j + 1} of W: |cos| of its angle to u1 is {cosines[j, 0]:.2f}, to u2 {cosines[j, 1]:.2f}")

# %%
print("a column of W lies along a principal axis (|cos| > 0.95):", bool((cosines > 0.95).any()))

# %% [markdown]
# Same plane, other axes, and another seed would give yet others. Where does this freedom come from? Try this: put any
# invertible matrix $R$ behind the encoder, $z' = R z$, and undo it in front of the decoder, $z = R^{-1} z'$.

# %%
after_R = predict(r"$R$ turns the codes, then stretches one axis and shrinks the other: it is invertible, but no rotation. "
                  r"What happens to the loss, 3.355 until now?",
                  {"it falls": 2.4, "it stays the same": float(losses[2]), "it rises: R is no rotation": 4.3})
after_R


# %%
def same_loss(fig):
    ax = fig.subplot_mosaic([["z", "w1", "x", "loss"], ["z", "w2", "x_hat", "loss"]], width_ratios=[3, 1.2, 1.2, 0.8])
    dots, = ax["z"].plot([], [], **plots.style("data", alpha=0.3))
    axes = [ax["z"].plot([], [], "k", linestyle=line, linewidth=2.5, marker=f"$u_{i}$", markersize=15, markevery=[1])[0]
            for i, line in ((1, "-"), (2, "--"))]
    ax["z"].set(xlabel="code unit 1", ylabel="code unit 2", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), aspect="equal")
    columns = [picture(ax[w], np.zeros((8, 8)), name, cmap="PuOr", vmin=-0.5, vmax=0.5) for w, name in (("w1", "w₁"), ("w2", "w₂"))]
    picture(ax["x"], X[4].reshape(8, 8), "x")
    x_hat = picture(ax["x_hat"], np.zeros((8, 8)), "x̂")
    bar, = ax["loss"].bar([0], [0], color="0.6")
    ax["loss"].set(xlim=(-1, 1), ylim=(0, 5), xticks=[], ylabel="loss")
    mark = plots.prediction(ax["loss"])
    z = (X - x_bar) @ U[:, :2]

    def update(angle=0, log_stretch=0.0, prediction=None):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        R = np.diag(np.exp([log_stretch, -log_stretch])) @ [[c, -s], [s, c]]
        new_z, new_W = z @ R.T, U[:, :2] @ np.linalg.inv(R)
        X_hat = x_bar + new_z @ new_W.T
        dots.set_data(*new_z[:300].T)
        for line, end in zip(axes, R.T): line.set_data([0, 1.7 * end[0]], [0, 1.7 * end[1]])
        for image, w in zip(columns, new_W.T): image.set_data(w.reshape(8, 8))
        x_hat.set_data(X_hat[4].reshape(8, 8))
        loss = squared_error(X, X_hat)
        bar.set_height(loss)
        mark.set(0, prediction)
        spread, turn = new_z.std(axis=0), np.abs(new_W[:, 0] @ U[:, 0]) / np.linalg.norm(new_W[:, 0])
        return f"loss {loss:.4f}   sd of the code units {spread[0]:.2f}, {spread[1]:.2f}   |cos| of w1 to u1 {turn:.2f}"

    return update


explore(same_loss, angle=(-90, 90, 5), log_stretch=(-0.8, 0.8, 0.05), predict=after_R,
        labels={"angle": "angle of R (degrees)", "log_stretch": "log stretch of R"},
        alt="Left: the two-number codes of 300 digits. Middle: the two columns of the decoder as images. Right: a digit, its "
            "reconstruction, and a bar for the loss")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The codes move and the columns of the decoder change; the reconstruction and the loss, 3.355, stay put for *every* $R$.
# One line says why:
#
# $$\hat x = \bar x + (W R^{-1})(R z) = \bar x + W z .$$
#
# </details>
#
# So the data determine the product $W V^\top$ and nothing else; in the words of lesson 01, a single code unit is *not
# identifiable*. A wish such as "uncorrelated code units of equal spread" would still leave every rotation open. PCA names
# its axes by an extra rule, orthogonal and largest variance first, of which the loss knows nothing.
#
# ### Exercise 2.2 · A linear autoencoder by alternating least squares ●●○ · 15 min
#
# A third road, without eigenvectors and without gradients. If $W$ is fixed, the best encoder is the least-squares solution
# $V = W (W^\top W)^{-1}$. If the codes $Z = (X - \bar x) V$ (one a row) are fixed, the best decoder is
# $W = (X - \bar x)^\top Z\, (Z^\top Z)^{-1}$. Start at a random $W$ and alternate until nothing moves; 500 sweeps are
# plenty. Since $V$ and $W$ are not unique, return what is: the matrix $M = W V^\top$ (64 × 64 for the digits),
# which takes $x - \bar x$ to $\hat x - \bar x$.

# %% exercise="linear_ae_als"
def linear_ae_als(X, k):
    """M = W Vᵀ (D, D) of the best linear autoencoder with k code units for X (N, D): x̂ = mean + M (x − mean)."""
    ### BEGIN SOLUTION
    centred = X - X.mean(axis=0)
    W = np.random.default_rng(0).standard_normal((X.shape[1], k))
    for _ in range(500):
        V = W @ np.linalg.inv(W.T @ W)
        Z = centred @ V
        W = centred.T @ Z @ np.linalg.inv(Z.T @ Z)
    return W @ V.T
    ### END SOLUTION

# %% check="linear_ae_als"
check.linear_ae_als(linear_ae_als)

# %% [markdown]
# ## 3 · Bend the bottleneck
#
# A flat subspace is a poor fit to data that lie on something bent. The Bow of lesson 01 is the smallest example: points
# on a bent wire, $x \mid z \sim \mathcal N(f_w(z), s^2 I)$ with $z \sim \mathcal N(0, 1)$, $w = 1$ and $s = 0.25$. One number
# is enough to say where on the wire a point sits, but no straight line follows the wire.
#
# So let encoder and decoder be networks. This is the course's **training loop**, and it stays this short: shuffle, take
# a batch, compute the loss, step downhill.


# %%
def train(autoencoder, X, epochs, batch=100, lr=5e-3):
    """Minimise the squared error (sum over D, mean over the batch) of X (N, D) with Adam; returns the last loss."""
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=lr)
    for epoch in range(epochs):
        for rows in torch.randperm(len(X)).split(batch):
            loss = ((autoencoder(X[rows]) - X[rows])**2).sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if (epoch + 1) % 20 == 0: print(f"epoch {epoch + 1}: loss on the last batch {loss.item():.3f}")


def run(network, x):
    """Apply a network to rows x (N, D) of a NumPy array, without gradients, and return a NumPy array."""
    with torch.no_grad():
        return network(torch.tensor(x, dtype=torch.float32)).double().numpy()


# %% tags=["nbval-ignore-output"]
bow, z_true = datasets.bow(1000, w=1.0, s=0.25, rng=rng)
torch.manual_seed(0)
bow_encoder = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
bow_decoder = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
train(nn.Sequential(bow_encoder, bow_decoder), torch.tensor(bow, dtype=torch.float32), epochs=60)
bow_code = run(bow_encoder, bow)

# %%
bow_mean, bow_lam, bow_U = principal_axes(bow)
bent_error = squared_error(bow, run(bow_decoder, bow_code))
print(f"one number, straight (PCA): error {bow_lam[1]:.3f}")
print(f"one number, bent: error less than half of that: {bent_error < bow_lam[1] / 2}")

# %%
fig = plots.figure(8.5, 3.4)
left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
left.plot(*bow.T, **plots.style("data", alpha=0.25))
left.plot(*models.bow_curve(np.linspace(-3, 3, 200), 1.0).T, **plots.style("posterior"))
left.plot(*run(bow_decoder, np.linspace(bow_code.min(), bow_code.max(), 200)[:, None]).T, **plots.style("q"))
left.plot(*(bow_mean + np.outer([-1.6, 1.6], bow_U[:, 0])).T, color="0.4", linewidth=1.5)
left.set(xlabel="x₁", ylabel="x₂", aspect="equal", xlim=(-1.8, 3.9))
for y, text, role in (1.8, "the wire", "posterior"), (1.4, "all decoded codes", "q"), (1.0, "best straight line", "prior"):
    plots.label(left, 1.85, y, text, role)
right.plot(z_true, bow_code[:, 0], **plots.style("data", alpha=0.25))
right.set(xlabel="z that made the point", ylabel="its code")
plots.show(fig, alt="Left: points of the Bow, a straight line through them, and the curve of all decoded codes, which "
                    "follows the bent wire. Right: the codes against the true z, a monotone band")

# %% [markdown]
# The decoded codes follow the wire. Note the right panel: the code runs along with the true $z$, but its scale,
# its zero and even its direction are the network's own choice. The matrix $R$ of section 2 has become an arbitrary
# bending of the code axis.
#
# Now the digits: 64–64–2–64–64 units, `tanh` in the two hidden layers, and *two* numbers as the code. The last 297 images
# are kept aside.

# %% tags=["nbval-ignore-output"]
train_X, test_X = X[:1500], X[1500:]
torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
decoder = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64))
train(nn.Sequential(encoder, decoder), torch.tensor(train_X, dtype=torch.float32), epochs=80)
codes, test_codes = run(encoder, train_X), run(encoder, test_X)
ae_error = squared_error(test_X, run(decoder, test_codes))
print(f"autoencoder with two numbers: error {ae_error:.3f} on the images kept aside")

# %%
pca_error = {}
for k in (2, 3):
    pca = PCA(k, svd_solver="full").fit(train_X)
    pca_error[k] = squared_error(test_X, pca.inverse_transform(pca.transform(test_X)))
    print(f"PCA with {k} numbers: error {pca_error[k]:.3f} on the images kept aside")
print(f"the autoencoder with 2 is better than PCA with 2: {ae_error < pca_error[2]}, and than PCA with 3: {ae_error < pca_error[3]}")

# %% [markdown]
# Two numbers on a bent surface do more than three on a flat one: the digits lie closer to some bent surface in 64
# dimensions than to any flat plane, and the network has found such a surface.
#
# ## 4 · Holes
#
# So let us *invent* digits: pick two numbers, decode. To judge the result we need its squared distance to the nearest real
# image: reconstructions of images kept aside have some, too, and set the standard.


# %%
def nearest_real(images):
    """For images (n, D): squared distance to the nearest training image (n,), and the number of that image (n,)."""
    d2 = (images**2).sum(axis=1)[:, None] - 2 * images @ train_X.T + (train_X**2).sum(axis=1)
    return d2.min(axis=1), d2.argmin(axis=1)


reconstruction_distance = nearest_real(run(decoder, test_codes))[0].mean()

# %% [markdown]
# Move the cursor through the plane of codes. The codes of training images are shown as little digits; watch what comes out
# **between** them, and outside.

# %% tags=["nbval-ignore-output"]
edge = float(np.ceil(np.abs(codes).max()))


def hole(fig):
    left, right, real = fig.subplots(1, 3, width_ratios=[1.5, 1, 1])
    dots = [left.plot(*codes[labels[:1500] == n][::3].T, color="0.4", marker=f"${n}$", linestyle="none", markersize=6,
                      markeredgewidth=0.3)[0] for n in range(10)]
    turn = np.linspace(0, 2 * np.pi, 200)
    for r in (1, 2): left.plot(r * np.cos(turn), r * np.sin(turn), **plots.style("prior", color="black", zorder=3))
    cursor, = left.plot([0], [0], "ko", markersize=14, markerfacecolor="none", markeredgewidth=3, clip_on=False, zorder=4)
    left.set(xlim=(-edge, edge), ylim=(-edge, edge), xlabel="z₁", ylabel="z₂", aspect="equal")
    image, nearest = [picture(ax, np.zeros((8, 8)), "") for ax in (right, real)]
    left.set_title("dotted: 1 and 2 sd of N(0, I)")
    right.set_title("decoded")
    real.set_title("nearest real one")

    def update(z1=0.0, z2=0.0, training_codes=True):
        x_hat = run(decoder, np.array([[z1, z2]]))
        (x_distance,), (number,) = nearest_real(x_hat)
        code_distance = np.hypot(codes[:, 0] - z1, codes[:, 1] - z2).min()
        for d in dots: d.set_visible(training_codes)
        cursor.set_data([z1], [z2])
        image.set_data(x_hat.reshape(8, 8))
        nearest.set_data(train_X[number].reshape(8, 8))
        return (f"nearest code at distance {code_distance:.2f}; nearest real image: a {labels[number]}, at squared distance "
                f"{x_distance:.2f} (reconstructions: {reconstruction_distance:.2f} on average)")

    return update


explore(hole, z1=(-edge, edge, 0.1), z2=(-edge, edge, 0.1), training_codes=True,
        alt="Left: the plane of codes with the training digits at their codes and circles of radius 1 and 2. Right: the "
            "image decoded at the cursor and the real image nearest to it")

# %%
def distance_to_codes(z):
    """Distance of each code z (n, 2) to the nearest training code -> (n,)."""
    return np.sqrt(((z[:, None] - codes)**2).sum(axis=-1).min(axis=1))


plane = np.stack(np.meshgrid(*[np.linspace(-edge, edge, 51)] * 2), axis=-1).reshape(-1, 2)
to_code, to_real = distance_to_codes(plane), nearest_real(run(decoder, plane))[0]
near, between, outside = (to_real[here].mean() for here in (to_code < 0.1, (to_code > 0.3) & (to_code < 1), to_code > 1))
print(f"decoded images get farther from real ones from the codes (< 0.1) to between (0.3 to 1) to outside (> 1): "
      f"{near < between < outside}")
print(f"outside they are, on average, more than 1.5 times as far as on the codes: {outside > 1.5 * near}")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# On the codes, digits. Between two clusters of codes, a double exposure of the two, or a shape that is no digit. Outside,
# torn and overdrawn shapes (and now and then, by luck, a passable digit). The circles show where draws from
# $\mathcal N(0, I)$ would fall: nothing in the training has asked the codes to be there, or to be spread evenly, or to leave
# no **holes**.
#
# </details>
#
# **Two common misconceptions** go down together: "the code is a random variable with a prior, say $\mathcal N(0, I)$" and
# "a low reconstruction error means a good generator". Take the trained network and put $z' = z / c$ behind the encoder
# and $c\,z'$ in front of the decoder. Every reconstruction is what it was. Now decode $z' \sim \mathcal N(0, I)$:

# %%
noise = rng.standard_normal((1000, 2))
errors, distances, commonest, overdrawn, rows = [], [], [], [], [strip(run(decoder, test_codes[:12]))]
for c in (0.1, 1, 10):
    errors.append(squared_error(test_X, run(decoder, c * (test_codes / c))))
    draws = run(decoder, c * noise)
    distance, number = nearest_real(draws)
    distances.append(distance.mean())
    commonest.append(np.bincount(labels[number]).max() / len(draws))
    overdrawn.append((np.abs(draws - 0.5) > 0.6).mean())
    rows.append(strip(draws[:12]))

# %% tags=["nbval-ignore-output"]
plots.show_table([(c, f"{errors[i]:.3f}", f"{distances[i]:.2f}", f"{commonest[i]:.0%}", f"{overdrawn[i]:.0%}")
                  for i, c in enumerate((0.1, 1, 10))],
                 ("c", "reconstruction error", "draws: squared distance to the nearest real image", "draws: share of the commonest digit",
                  "draws: pixels below −0.1 or above 1.1"))
print(f"for comparison: reconstructions of images kept aside are at {reconstruction_distance:.2f} from the nearest real one")

# %%
print("reconstruction error the same for all c, to 6 digits:", bool(np.ptp(errors) < 1e-6))
print("c = 0.1: one digit takes more than a third of all draws:", bool(commonest[0] > 1 / 3))
print("c = 1: draws are farther from real images than reconstructions are:", bool(distances[1] > reconstruction_distance))
print("c = 10: more than three times as far:", bool(distances[2] > 3 * reconstruction_distance))

# %%
fig = plots.figure(8.5, 3.1)
for ax, row, name in zip(fig.subplots(4), rows, ("rebuilt", "c = 0.1", "c = 1", "c = 10")):
    picture(ax, row, name)
plots.show(fig, alt="Four rows of twelve images. Reconstructions are digits. Draws with c = 0.1 all look the same, with c = 1 some "
                    "are digits and some are blends, with c = 10 they are torn or overdrawn")

# %% [markdown]
# One reconstruction error, three "generators": one repeats itself, one mixes digits with blends, one tears and overdraws
# (the picture cuts its pixels off at white and black; the distances do not). The loss cannot tell the three apart, so it
# cannot have made any of them good. $c = 1$ is no more *right* than the others; it is where Adam happened to stop.
#
# "Then fit a Gaussian to the codes, and draw from that." Better, and people do it. But it is a prior bought after the fact,
# for codes that were never asked to look Gaussian:

# %% tags=["nbval-ignore-output"]
fitted = rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), size=1000)
far = np.quantile(distance_to_codes(test_codes), 0.95)
in_holes = (distance_to_codes(fitted) > far).mean()
print(f"5% of the test images have a code farther than {far:.2f} from every training code; of these draws, {in_holes:.0%} do")

# %%
print("draws from a Gaussian fitted to the codes fall into holes more than twice as often as real images:", bool(in_holes > 0.1))

# %% [markdown]
# ## 5 · Four ways not to copy
#
# With 64 code units an autoencoder could copy every image and learn nothing. Something has to give. A narrow code is one
# way; here are the classical ones, and what each of them limits:
#
# | autoencoder | its code | the loss | what is limited |
# |-|-|-|-|
# | **undercomplete** | $k < D$ | $\lVert x - d(e(x)) \rVert^2$ | *how many* numbers pass |
# | **denoising** | any size | $\lVert x - d(e(x + \sigma\epsilon)) \rVert^2$ | *how faithfully* the input can be believed |
# | **sparse** | any size, often $k > D$ | $\lVert x - d(e(x)) \rVert^2 + \beta \sum_i \lvert z_i \rvert$ | *how many at a time* are in use |
# | **contractive** | any size | $\lVert x - d(e(x)) \rVert^2 + \beta\,\lVert \partial e / \partial x \rVert_F^2$ | *how strongly* the code may react |
#
# Linear functions show the difference in closed form. Train a linear denoiser $\hat x - \bar x = M (\tilde x - \bar x)$ with
# *no* bottleneck, from noisy images $\tilde x = x + \sigma \epsilon$, $\epsilon \sim \mathcal N(0, I)$. Averaged over the noise,
#
# $$\mathbb E_\epsilon \lVert x - \hat x \rVert^2 = \lVert (I - M)(x - \bar x) \rVert^2 + \sigma^2 \lVert M \rVert_F^2 :$$
#
# noise on the input **is** a penalty on the derivative of the map, which here is $M$; denoising and contracting (of the whole
# round trip, not only of the encoder) are one thing. The best $M$ keeps the principal axes and multiplies axis $u_i$ by some
# $m_i$. Averaged over the images, that axis costs $\lambda_i (1 - m_i)^2 + \sigma^2 m_i^2$, least at
# $m_i = \lambda_i / (\lambda_i + \sigma^2)$. PCA *cuts* (keep or drop); the denoiser *shrinks*.

# %%
s2 = 0.1  # variance of the noise on each pixel
m = lam / (lam + s2)
M = U @ np.diag(m) @ U.T
noisy = X + np.sqrt(s2) * rng.standard_normal(X.shape)
squared = ((X - x_bar - (noisy - x_bar) @ M)**2).sum(axis=1)
print(f"error by formula {(lam * s2 / (lam + s2)).sum():.3f}, measured {squared.mean():.3f} ± {squared.std() / np.sqrt(len(X)):.3f}")
print(f"error of copying the noisy input {64 * s2:.3f}")
print(f"how much passes: m = {m[0]:.2f} along axis 1, {m[9]:.2f} along axis 10, {m[29]:.2f} along axis 30; "
      f"in sum {m.sum():.1f} of 64")

# %% [markdown]
# So **"the bottleneck is the only regulariser" is a misconception**: with all 64 units open, the noise lets about 15.5
# units' worth through, and the map is far from a copy. Sparsity is another way again. Let every image choose *its own* two
# of the 64 principal axes:

# %%
Z = (X - x_bar) @ U
own_two = np.sort(Z**2, axis=1)[:, :-2].sum(axis=1).mean()  # what the 62 smallest coefficients leave out
print(f"the same two numbers for all images: error {lam[2:].sum():.3f}")
print(f"two numbers, chosen for each image:  error {own_two:.3f}")

# %% [markdown]
# (The choice itself is information too: which 2 of 64 were chosen has to be passed on as well.)
#
# ## 6 · The best denoiser knows the gradient
#
# Denoising deserves a closer look, because its optimum can be written down for *every* distribution $p(x)$, and because
# diffusion models (lesson 11) consist of it. A clean $x$ is drawn from $p$, we see $\tilde x = x + \sigma\epsilon$. The function
# of $\tilde x$ with the least squared error is the conditional mean $\mathbb E[x \mid \tilde x]$. The noisy points have density
# $p_\sigma(\tilde x) = \int p(x)\,\mathcal N(\tilde x \mid x, \sigma^2 I)\,dx$. Differentiate under the integral:
#
# $$\nabla p_\sigma(\tilde x) = \int p(x)\,\mathcal N(\tilde x \mid x, \sigma^2 I)\,\frac{x - \tilde x}{\sigma^2}\,dx
#   = p_\sigma(\tilde x)\,\frac{\mathbb E[x \mid \tilde x] - \tilde x}{\sigma^2} ,$$
#
# and divide by $p_\sigma$:
#
# $$\boxed{\ \mathbb E[x \mid \tilde x] = \tilde x + \sigma^2\, \nabla \log p_\sigma(\tilde x)\ }$$
#
# The gradient of a log-density with respect to the *point* is called the **score**. The formula goes by the names of
# Miyasawa and of Tweedie: **step uphill on the noisy log-density, and step $\sigma^2$ far.**
#
# To check it we need a $p(x)$ for which both sides can be computed. Take mixtures $p(x) = \sum_j \pi_j\,\mathcal N(x \mid c_j, s^2 I)$.
# The Bow is one too, with centres $c_j$ lined up along the wire and weights $\pi_j \propto p(z_j)$.


# %%
def log_density(x, centres, weights, sd):
    """log Σ_j weights_j N(x | centres_j, sd² I), in nats. x (n, D), centres (m, D), weights (m,) -> (n,)."""
    d2 = ((x[:, None] - centres)**2).sum(axis=-1)
    return logsumexp(np.log(weights) - d2 / (2 * sd**2), axis=1) - x.shape[1] / 2 * np.log(2 * np.pi * sd**2)


def denoise(noisy, centres, weights, s, sigma):
    """E[x | x̃] for that mixture with sd s, seen through noise of sd sigma: a weighted mean.  noisy (n, D) -> (n, D)."""
    v = s**2 + sigma**2  # given its component, x̃ has variance v around the centre
    d2 = ((noisy[:, None] - centres)**2).sum(axis=-1)
    r = softmax(np.log(weights) - d2 / (2 * v), axis=1)  # which component was it? (n, m)
    return (s**2 * noisy + sigma**2 * r @ centres) / v


z_grid = np.linspace(-4, 4, 201)
wire, wire_weights = models.bow_curve(z_grid, 1.0), softmax(-z_grid**2 / 2)
blobs, blob_weights = np.array([[-1.2, 0.0], [1.2, 0.0], [0.0, 1.8]]), np.array([0.3, 0.3, 0.4])

# %% [markdown]
# The left side is `denoise`, the conditional mean, component by component. The right side needs only `log_density` of the
# noisy points and a finite difference. A third opinion: draw 200 000 clean points of the Bow and average them, each
# weighted by how well it explains $\tilde x$.

# %%
def tweedie_step(noisy, centres, weights, s, sigma, h=1e-4):
    """x̃ + sigma² ∇ log p_sigma(x̃) by central differences; arguments and shapes as in denoise."""
    sd = np.sqrt(s**2 + sigma**2)
    steps = h * np.eye(noisy.shape[1])
    score = [(log_density(noisy + e, centres, weights, sd) - log_density(noisy - e, centres, weights, sd)) / (2 * h) for e in steps]
    return noisy + sigma**2 * np.array(score).T


x_noisy, sigma = np.array([[1.5, 1.8]]), 0.5
print("conditional mean       ", *(f"{v:.4f}" for v in denoise(x_noisy, wire, wire_weights, 0.25, sigma)[0]))
print("step along the score   ", *(f"{v:.4f}" for v in tweedie_step(x_noisy, wire, wire_weights, 0.25, sigma)[0]))
clean, _ = datasets.bow(200_000, w=1.0, s=0.25, rng=rng)
weight = softmax(-((clean - x_noisy)**2).sum(axis=1) / (2 * sigma**2))
average = weight @ clean
error = np.sqrt(weight**2 @ (clean - average)**2)
print("weighted mean of draws ", *(f"{v:.3f} ± {e:.3f}" for v, e in zip(average, error)))

# %% [markdown]
# The next picture draws an arrow from every $\tilde x$ to $\mathbb E[x \mid \tilde x]$. The star marks one of them,
# $\tilde x = (1.6, 1.9)$, well off the wire.

# %%
star = np.array([[1.6, 1.9]])
nearest_on_wire = wire[((wire - star)**2).sum(axis=1).argmin()]
bow_mean = wire_weights @ wire
goes_to = predict(r"Turn the noise up to $\sigma = 7$, far more than the size of the Bow. Where does the best denoiser put the star?",
                  {"it stays where it is": (1.6, 1.9), "at the nearest point of the wire": tuple(nearest_on_wire),
                   "at the mean of all the data": tuple(bow_mean)})
goes_to

# %%
def error_left(noisy, centres, weights, s, sigma):
    """Mean over noisy points (n, D) of E[‖x − E[x | x̃]‖² | x̃]: the spread within a component and between components."""
    v = s**2 + sigma**2
    r = softmax(np.log(weights) - ((noisy[:, None] - centres)**2).sum(axis=-1) / (2 * v), axis=1)
    between = r @ (centres**2).sum(axis=1) - ((r @ centres)**2).sum(axis=1)
    return (noisy.shape[1] * s**2 * sigma**2 / v + (sigma**2 / v)**2 * between).mean()


SETS = {"the Bow": (wire, wire_weights, datasets.bow(2000, rng=rng)[0]),
        "three blobs": (blobs, blob_weights, datasets.gaussian_mixture(2000, weights=blob_weights, means=blobs, sds=0.25, rng=rng)[0])}
log_sigmas = np.linspace(-3, 2, 51)
best, mean_only = {}, {}
for name, (centres, weights, clean) in SETS.items():
    unit = rng.standard_normal(clean.shape)
    best[name] = [error_left(clean + t * unit, centres, weights, 0.25, t) for t in np.exp(log_sigmas)]
    mean_only[name] = 2 * 0.25**2 + weights @ ((centres - weights @ centres)**2).sum(axis=1)
    print(f"{name}: always answering with the mean has squared error {mean_only[name]:.3f}")

# %%
t, (centres, weights, clean) = 0.5, SETS["the Bow"]
noisy = clean + t * rng.standard_normal(clean.shape)
squared = ((clean - denoise(noisy, centres, weights, 0.25, t))**2).sum(axis=1)
print(f"sigma = {t}: squared error of denoise, measured {squared.mean():.3f} ± {squared.std() / np.sqrt(len(squared)):.3f}, "
      f"by error_left {error_left(noisy, centres, weights, 0.25, t):.3f}")


# %%
def denoiser_field(fig):
    left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
    grid = np.stack(np.meshgrid(np.linspace(-2.4, 2.4, 9), np.linspace(-1.2, 3.2, 8)), axis=-1).reshape(-1, 2)
    dots, = left.plot([], [], **plots.style("data", alpha=0.2))
    arrows = left.quiver(*grid.T, *grid.T, angles="xy", scale_units="xy", scale=1, color=plots.BLUE, width=0.005)
    path, = left.plot([], [], "k-", linewidth=2.5)
    left.plot(*star.T, "k*", markersize=15)
    left.set(xlim=(-2.7, 2.7), ylim=(-1.5, 3.5), xlabel="x₁", ylabel="x₂", aspect="equal")
    lowest, = right.plot([], [], **plots.style("posterior"))
    right.plot(log_sigmas, 2 * np.exp(2 * log_sigmas), color="black", linewidth=1)
    mean_line, = right.plot([], [], **plots.style("prior"))
    here, = right.plot([0], [0], "o", color=plots.BLUE, markersize=9, clip_on=False)
    for y, text, role in (2.35, "best denoiser", "posterior"), (2.15, "leave x̃ alone", "data"), (1.95, "always the mean", "prior"):
        plots.label(right, -2.9, y, text, role)
    right.set(xlim=(-3, 2), ylim=(0, 2.55), xlabel="log σ", ylabel="squared error")
    mark = plots.prediction(left)

    def update(data="the Bow", log_sigma=-0.8, prediction=None):
        (centres, weights, clean), sigma = SETS[data], np.exp(log_sigma)
        dots.set_data(*clean[:400].T)
        arrows.set_UVC(*(denoise(grid, centres, weights, 0.25, sigma) - grid).T)
        end = denoise(star, centres, weights, 0.25, sigma)[0]
        path.set_data(*np.stack([star[0], end]).T)
        lowest.set_data(log_sigmas, best[data])
        mean_line.set_data([-3, 2], [mean_only[data]] * 2)
        error = np.interp(log_sigma, log_sigmas, best[data])
        here.set_data([log_sigma], [error])
        mark.set(*(prediction or (None, None)))
        return (f"σ = {sigma:.2f}: the star goes to ({end[0]:.2f}, {end[1]:.2f})   squared error: best {error:.3f}, "
                f"leave x̃ alone {2 * sigma**2:.3f}, always the mean {mean_only[data]:.3f}")

    return update


explore(denoiser_field, data=list(SETS), log_sigma=(-3.0, 2.0, 0.1), predict=goes_to,
        alt="Left: data with arrows from noisy points to their best denoised versions, one noisy point marked by a star. Right: the "
            "squared error of the best denoiser against the noise, below both simple strategies")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With next to no noise nobody moves: what we see is what there was. Noise about as large as the wire is thick ($\sigma = 0.25$)
# pulls the points off the wire towards it, across rather than along. As the noise grows, no point is to be believed; the arrows
# stop caring for the shape of the wire and all lead to one place, the mean of the data, $(0, 0.393)$ for the Bow. Not to the
# nearest point: at high noise, every part of the wire could have produced the star. On the right, the best denoiser is below "leave it alone" and below "always the mean" for every noise level.
#
# </details>

# %%
for t in (0.1, 0.5, 7.0):
    print(f"sigma = {t}: the star goes to", *(f"{v:.3f}" for v in denoise(star, wire, wire_weights, 0.25, t)[0]))
print("nearest point of the wire:", *(f"{v:.3f}" for v in nearest_on_wire), "  mean of the data:", *(f"{v:.3f}" for v in np.abs(bow_mean)))

# %% [markdown]
# So a denoising autoencoder, trained on nothing but pairs of clean and spoiled points, learns a gradient field of the
# log-density. That is more than reconstruction, and it is how diffusion models sample. (It is still not $p(x)$ itself.)
#
# ### Exercise 2.3 · Tweedie's formula ●●○ · 12 min
#
# One dimension, two clusters: $p(x) = \tfrac12 \mathcal N(x \mid -2, 0.25) + \tfrac12 \mathcal N(x \mid 2, 0.25)$. The second number is
# a variance. It is seen through noise of variance $\sigma^2 = 0.5$. Write $\mathbb E[x \mid \tilde x]$ as a step along the score of the
# *noisy* density; do the derivative by hand, by autograd or by differences, as you like. (A sum of independent Gaussians
# adds variances.)

# %% exercise="tweedie"
def tweedie(x):
    """E[clean | noisy = x] for that mixture, by x + sigma² d/dx log p_sigma(x). x: number or array; same shape."""
    ### BEGIN SOLUTION
    x = np.asarray(x, dtype=float)
    v = 0.25 + 0.5  # variance of each cluster, noise included
    a, b = -(x + 2)**2 / (2 * v), -(x - 2)**2 / (2 * v)
    right = np.exp(b - np.logaddexp(a, b))  # how probably the right cluster
    score = ((1 - right) * (-2 - x) + right * (2 - x)) / v
    return x + 0.5 * score
    ### END SOLUTION

# %% check="tweedie"
check.tweedie(tweedie)

# %% [markdown]
# **One step harder (not checked) ●●● · 25 min.** Does a *trained* denoiser find the formula? Draw clean points from the mixture
# of exercise 2.3 and spoil them (fresh noise in every step), train a 1–32–1 `tanh` network on the squared error, and draw it over
# `tweedie` on $[-3, 3]$. With 3000 steps, 500 points a step and a learning rate that falls from 0.01 to 0, the largest difference
# is below 0.1. Where is it largest, and why there?
#
# <details><summary>One solution</summary>
#
# ```python
# torch.manual_seed(0)
# net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
# optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
# schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3000)
# for step in range(3000):
#     clean = 2.0 * torch.randint(0, 2, (500, 1)) * 2 - 2 + 0.5 * torch.randn(500, 1)
#     noisy = clean + 0.5**0.5 * torch.randn(500, 1)
#     loss = ((net(noisy) - clean)**2).mean()
#     optimiser.zero_grad()
#     loss.backward()
#     optimiser.step()
#     schedule.step()
# x = np.linspace(-3, 3, 121)
# gap = np.abs(run(net, x[:, None])[:, 0] - tweedie(x))
# print(f"largest difference {gap.max():.3f} at x = {x[gap.argmax()]:.2f}")
# ```
#
# It is usually largest between the clusters, where noisy points are rare and the curve is steep: a network learns where it sees
# data. Far outside $[-3, 3]$ it has seen none, and its answer, its score, is a guess.
#
# </details>
#
# ## 7 · Why this is not yet a model
#
# A model, in this course, is a density: something one can draw from, and that says how probable an $x$ is. Compare.
#
# | | latent variable model (lesson 01) | autoencoder |
# |-|-|-|
# | where do codes come from? | a prior $p(z)$ | nowhere: codes exist only for given $x$ |
# | what does the decoder give? | a distribution $p(x \mid z)$ | a point $d(z)$ |
# | what does inference give? | a distribution $p(z \mid x)$ | a point $e(x)$ |
# | how probable is $x$? | $p(x) = \int p(x \mid z)\,p(z)\,dz$ | no answer |
#
# The second line is easily mended. The squared error *is* a Gaussian log-likelihood with a fixed standard deviation $s$ for each
# pixel, up to a constant and a factor: with $\hat x = d(z)$,
#
# $$-\log \mathcal N(x \mid \hat x, s^2 I) = \frac{\lVert x - \hat x \rVert^2}{2 s^2} + \frac D2 \log(2 \pi s^2) .$$

# %%
s, x_one = 0.25, X[0]
x_hat_one = x_bar + (x_one - x_bar) @ U[:, :10] @ U[:, :10].T
by_formula = ((x_one - x_hat_one)**2).sum() / (2 * s**2) + 32 * np.log(2 * np.pi * s**2)
by_torch = -torch.distributions.Normal(torch.tensor(x_hat_one), s).log_prob(torch.tensor(x_one)).sum().item()
print(f"−log N(x | x̂, s² I) of the first digit: {by_formula:.3f} by the squared error, {by_torch:.3f} by torch.distributions")

# %% [markdown]
# "Then $\mathcal N(x \mid d(e(x)), s^2 I)$ is my model's density, and a low loss means a high likelihood." It is not, because the code was
# chosen *after looking at $x$*. A density must spread a total of 1 over all $x$; this function gives each $x$ the best explanation
# there is, and never pays for having chosen it. On the Bow we can add it up. Give the autoencoder the true wire as its decoder and
# for every $x$ the best code:

# %%
step = 0.05
grid = np.stack(np.meshgrid(np.arange(-2.5, 2.5, step), np.arange(-1.5, 3.5, step)), axis=-1).reshape(-1, 2)
circle = models.bow_curve(np.linspace(-np.pi, np.pi, 721), 1.0)  # at w = 1 the wire closes to a circle
best_code_distance = ((grid[:, None] - circle)**2).sum(axis=-1).min(axis=1)
best_code = np.exp(-best_code_distance / (2 * s**2)) / (2 * np.pi * s**2)  # N(x | best decoded code, s² I)
p_x = np.exp(log_density(grid, wire, wire_weights, s))
print(f"sum of p(x) over the plane:                       {p_x.sum() * step**2:.2f}")
print(f"sum of N(x | best decoded code) over the plane:  {best_code.sum() * step**2:.2f}")

# %% [markdown]
# The first is a density. The second promises ten times more probability than there is. What is missing is exactly what lesson 01
# had and the autoencoder has not: a prior $p(z)$ that says what codes cost. With a prior, and with an encoder that answers with a
# *distribution* over codes, the autoencoder becomes a model and its loss becomes a bound on $\log p(x)$. Three lessons build that:
# 03 measures distances between distributions, 05 turns them into the bound, and 06 puts a decoder under it.
#
# ## Recap
#
# **Short.** An autoencoder learns a surface near the data, not a distribution on it. Reconstruction says nothing about where codes
# lie, so drawing from an autoencoder is guessing.
#
# **Standard.** A linear autoencoder with $k$ code units ends at the loss of PCA, the sum of the discarded eigenvalues, and in the
# subspace of PCA; its single units are arbitrary, because any invertible $R$ can be hidden between encoder and decoder. A
# non-linear one bends the subspace and gets more through the same bottleneck. Besides the bottleneck, noise on the input, sparse
# codes and small derivatives keep it from copying. The best denoiser steps along the score of the noisy density. But without a
# prior on codes and a likelihood for $x$ there is no $p(x)$: one reconstruction error goes with good draws and with hopeless ones.
#
# **Detailed.**
#
# | equation | what it says |
# |-|-|
# | $\frac1N \sum_n \lVert x_n - d(e(x_n)) \rVert^2$ | the loss: sum over pixels, mean over images |
# | $\min_{V, W} \text{loss} = \sum_{i > k} \lambda_i$ | linear: what the first $k$ axes leave out (covariance with $1/N$) |
# | $W R^{-1} \cdot R z = W z$ | codes are determined up to an invertible $R$ |
# | $m_i = \lambda_i / (\lambda_i + \sigma^2)$ | the linear denoiser shrinks instead of cutting |
# | $\mathbb E[x \mid \tilde x] = \tilde x + \sigma^2 \nabla \log p_\sigma(\tilde x)$ | the best denoiser is one step along the score |
# | $-\log \mathcal N(x \mid \hat x, s^2 I) = \lVert x - \hat x \rVert^2 / 2 s^2 + \frac D2 \log 2 \pi s^2$ | squared error as a likelihood, *given the code* |
#
# **Memory aid.** *An autoencoder knows the way, not the traffic*: it has learned where the road is, not how many drive on which
# part of it. And for denoising: *uphill, sigma squared far.*
#
# **Key terms.** autoencoder · code · bottleneck · reconstruction error · principal subspace · hole · denoising, sparse and contractive
# autoencoder · score · Tweedie's formula

# %%
flash_cards(2)

# %%
quiz("02_autoencoders")

# %%
dialogue([
    ("Student", "My autoencoder has the lowest reconstruction error in the class. So I have the best model of handwritten digits."),
    ("Teacher", "Congratulations. Draw me one."),
    ("Student", "Easy. I take two standard normal numbers and decode them. Hm. That is half a three and half an eight."),
    ("Teacher", "Who told you that the codes are standard normal?"),
    ("Student", "Nobody. I could measure where the codes really are and draw from there."),
    ("Teacher", "You could. What would you then have added to your autoencoder?"),
    ("Student", "A distribution of the codes. A prior, I suppose. But then I could have told the encoder to respect it from the start."),
    ("Teacher", "That is lesson six. And what does your autoencoder say if I ask how probable this digit is?"),
    ("Student", "It says how well it can rebuild it. That is not the same, is it? It could rebuild things that never occur."),
    ("Teacher", "On the bent wire, that answer added up to ten instead of one. Remember the ten."),
])

# %% [markdown]
# **References.**
# P. Baldi, K. Hornik, *Neural networks and principal component analysis: learning from examples without local minima*,
# Neural Networks 1989 (the linear case). ·
# G. Hinton, R. Salakhutdinov, *Reducing the dimensionality of data with neural networks*, Science 2006 (deep autoencoders against PCA). ·
# P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, *Extracting and composing robust features with denoising autoencoders*, ICML 2008. ·
# S. Rifai, P. Vincent, X. Muller, X. Glorot, Y. Bengio, *Contractive auto-encoders*, ICML 2011. ·
# B. Efron, *Tweedie's formula and selection bias*, JASA 2011. ·
# P. Vincent, *A connection between score matching and denoising autoencoders*, Neural Computation 2011. ·
# G. Alain, Y. Bengio, *What regularized auto-encoders learn from the data-generating distribution*, JMLR 2014.
#
# **Next:** [03 · KL divergence](03_kl_divergence.ipynb), which measures how far one distribution is from another.

# %% [markdown] solutions
# ## Solutions
