"""Marking of homework 02: PCA from inner products, shares of variance, whitening, tied weights, counts without a prior, the noise sd."""

import numpy as np
import torch
from scipy import linalg, optimize, stats

from . import Group, Marking, Mutant


def _data(rng, N, D, offset=3.0):
    """Correlated rows with a mean that is far from zero, and eigenvalues that are well apart."""
    mix = np.linalg.qr(rng.standard_normal((D, D)))[0] * rng.permutation(2.0**-np.arange(D) * rng.uniform(1.8, 2.2, D))
    return (rng.standard_normal((N, D)) @ mix.T + rng.normal(0, offset, D)).round(4)


# --- reconstruct: by numpy's SVD of the centred data ---


def _by_svd(X, k):
    mean = X.mean(axis=0)
    u, s, vt = np.linalg.svd(X - mean, full_matrices=False)
    return mean + (u[:, :k] * s[:k]) @ vt[:k]


def _gram(X, k, centre=lambda X: X.mean(axis=0), back=True, pick=lambda U, k: U[:, -k:], scale=lambda lam: 1.0):
    mean = centre(X)
    lam, U = np.linalg.eigh((X - mean) @ (X - mean).T)
    chosen = pick(U, k)
    return back * mean + (chosen * scale(pick(lam[None], k)[0])) @ chosen.T @ (X - mean)


def _few_images(rng):
    hint = "the reconstruction is the mean plus U Uᵀ (X − mean), where U holds the k eigenvectors of G with the largest eigenvalues"
    return [Group("few rows, many columns", [(_data(rng, 6, 9), 2), (_data(rng, 7, 12), 3)], hint),
            Group("more rows than columns", [(_data(rng, 12, 5), 2)], hint)]


reconstruct = Marking(
    "reconstruct", _by_svd, _few_images,
    [Mutant("smallest eigenvalues", lambda X, k: _gram(X, k, pick=lambda U, k: U[:, :k]),
            "np.linalg.eigh sorts the smallest eigenvalue first; the columns wanted are the last k"),
     Mutant("rows of U", lambda X, k: _gram(X, k, pick=lambda U, k: U[-k:].T),
            "the eigenvectors are the columns of what eigh returns, not its rows"),
     Mutant("not centred", lambda X, k: _gram(X, k, centre=lambda X: 0 * X[0]),
            "subtract the mean of each column before you take inner products"),
     Mutant("mean of each row", lambda X, k: _gram(X, k, centre=lambda X: X.mean(axis=1, keepdims=True)),
            "the mean image is the mean over the images, axis 0; you subtracted from each image the mean over its own pixels"),
     Mutant("mean not added", lambda X, k: _gram(X, k, back=False), "the mean image was subtracted and must be added again at the end"),
     Mutant("eigenvalues multiplied in", lambda X, k: _gram(X, k, scale=lambda lam: lam),
            "U Uᵀ alone projects; the eigenvalues have no place in it"),
     Mutant("one column only", lambda X, k: _gram(X, k, pick=lambda U, k: U[:, [-k]]), "take all of the last k columns, not the k-th "
     "one alone")],
    [lambda X, k: X.mean(axis=0) + (X - X.mean(axis=0)) @ (lambda V: V @ V.T)(np.linalg.eigh(np.cov(X.T))[1][:, -k:]),
     lambda X, k: _gram(X, k)], rtol=1e-6, atol=1e-6)


# --- kept_share: by the errors that reconstructions leave ---


def _by_errors(X):
    total = ((X - X.mean(axis=0))**2).sum()
    return np.array([1 - ((X - _by_svd(X, k))**2).sum() / total for k in range(1, X.shape[1] + 1)])


def _share_cases(rng):
    hint = "eigenvalues of the covariance, largest first, divided by their sum and added up from the first on"
    return [Group("data in arbitrary units", [(_data(rng, 20, 4),), (_data(rng, 15, 6),)], hint),
            Group("columns that hang together", [(np.repeat(_data(rng, 12, 3), 2, axis=1),)], hint)]


def _shares(X, lam=lambda s: s**2, order=-1, cumulate=np.cumsum, centre=True):
    s = np.linalg.svd(X - centre * X.mean(axis=0), compute_uv=False)
    lam = np.sort(lam(s))[::order]
    return cumulate(lam / lam.sum())


kept_share = Marking(
    "kept_share", _by_errors, _share_cases,
    [Mutant("not squared", lambda X: _shares(X, lam=lambda s: s), "variances are squared singular values; you added the singular values "
                                                                  "themselves"),
     Mutant("smallest first", lambda X: _shares(X, order=1), "you start with the smallest eigenvalue; the first code unit keeps the "
                                                             "largest"),
     Mutant("not cumulated", lambda X: _shares(X, cumulate=lambda v: v),
            "that is what the k-th unit adds; asked is what the first k units keep together"),
     Mutant("not centred", lambda X: _shares(X, centre=False), "variance is measured around the mean: centre the columns first"),
     Mutant("what is lost", lambda X: 1 - _shares(X), "that is the share that is lost; asked is the share that is kept"),
     Mutant("columns, not axes", lambda X: np.cumsum(np.sort(X.var(axis=0))[::-1]) / X.var(axis=0).sum(),
            "those are the variances of the columns; code units look along the eigenvectors, where the first ones keep more"),
     Mutant("per cent", lambda X: 100 * _shares(X), "return shares between 0 and 1, not per cent"),
     Mutant("not divided", lambda X: _shares(X) * X.var(axis=0).sum(), "divide by the total variance, so that the last share is 1")],
    [lambda X: np.cumsum(np.linalg.eigvalsh(np.cov(X.T))[::-1]) / np.trace(np.cov(X.T))], rtol=1e-6)


# --- whiten: by scipy's matrix root ---


def _by_root(X, eps):
    centred = X - X.mean(axis=0)
    return np.linalg.solve(linalg.sqrtm(centred.T @ centred / len(X) + eps * np.eye(X.shape[1])).real, centred.T).T


def _white_cases(rng):
    return [Group("ε = 0", [(_data(rng, 15, 3), 0.0), (_data(rng, 20, 4), 0.0)], "divide by √λ along each eigenvector, and turn back"),
            Group("ε > 0", [(_data(rng, 15, 3), round(rng.uniform(0.05, 0.2), 3)), (_data(rng, 12, 5), round(rng.uniform(0.05, 0.2), 3))],
                  "ε is added to the eigenvalues, before the root")]


def _white(X, eps, scale=lambda lam, eps: (lam + eps)**-0.5, ddof=0, mean=True, back=True):
    centred = X - X.mean(axis=0)
    lam, U = np.linalg.eigh(centred.T @ centred / (len(X) - ddof))
    return (centred if mean else X) @ U * scale(lam, eps) @ (U.T if back else np.eye(len(lam)))


def _white_by_svd(X, eps):
    u, s, vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    return (u * s / np.sqrt(s**2 / len(X) + eps)) @ vt


whiten = Marking(
    "whiten", _by_root, _white_cases,
    [Mutant("not turned back", lambda X, eps: _white(X, eps, back=False),
            "you stay in the coordinates of the eigenvectors; turn back with Uᵀ, so that column j is still about pixel j"),
     Mutant("λ for √λ", lambda X, eps: _white(X, eps, lambda lam, eps: 1 / (lam + eps)),
            "λ is a variance: divide by the sd along each axis, √(λ + ε)"),
     Mutant("multiplied", lambda X, eps: _white(X, eps, lambda lam, eps: (lam + eps)**0.5),
            "you multiply by √(λ + ε); to make the spread 1, divide by it"),
     Mutant("N − 1", lambda X, eps: _white(X, eps, ddof=1), "the covariance here has 1/N, as in the lesson, not 1/(N − 1)"),
     Mutant("mean kept", lambda X, eps: _white(X, eps, mean=False), "the mean is still in: whitened columns have the mean 0"),
     Mutant("each column alone", lambda X, eps: (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0) + eps),
            "dividing each column by its own sd leaves the columns correlated; work along the eigenvectors"),
     Mutant("ε after the root", lambda X, eps: _white(X, eps, lambda lam, eps: 1 / (np.sqrt(lam) + eps)),
            "ε belongs to the variances: it is added to λ, before the root"),
     Mutant("ε forgotten", lambda X, eps: _white(X, 0.0), "ε is not used: it keeps axes of almost no variance from being blown up")],
    [_white_by_svd],
    partial={"ε after the root": 0.5, "ε forgotten": 0.5}, rtol=1e-5)


# --- tied_gradient: by autograd ---


def _by_autograd(X, W):
    W = torch.tensor(W, requires_grad=True)
    X = torch.tensor(X)
    loss = ((X @ W @ W.T - X)**2).sum(dim=1).mean()
    (gradient,) = torch.autograd.grad(loss, W)
    return gradient.numpy()


def _tied_cases(rng):
    def one(N, D, k):
        return rng.standard_normal((N, D)).round(3), rng.standard_normal((D, k)).round(3)
    hint = "W occurs twice, in the encoder and in the decoder: differentiate with each held fixed, and add"
    return [Group("one code unit", [one(5, 3, 1), one(8, 4, 1)], hint), Group("several code units", [one(6, 4, 2), one(9, 5, 3)], hint)]


def _tied(encoder=1.0, decoder=1.0, scale=lambda N, D: 2 / N, sign=1.0, minus=True):
    def wrong(X, W):
        R = X @ W @ W.T - minus * X
        return sign * scale(*X.shape) * (encoder * X.T @ R @ W + decoder * R.T @ X @ W)
    return wrong


tied_gradient = Marking(
    "tied_gradient", _by_autograd, _tied_cases,
    [Mutant("decoder only", _tied(encoder=0), "W is the encoder too: x̂ depends on it through the code z = Wᵀx as well"),
     Mutant("encoder only", _tied(decoder=0), "W is the decoder too: x̂ = W z depends on it directly as well"),
     Mutant("2 forgotten", _tied(scale=lambda N, D: 1 / N), "the derivative of a square brings a factor 2"),
     Mutant("sum over the rows", _tied(scale=lambda N, D: 2.0), "the loss is a mean over the N rows; yours is their sum"),
     Mutant("mean over the columns", _tied(scale=lambda N, D: 2 / (N * D)), "the loss sums over the D columns and averages over the "
     "rows only"),
     Mutant("sign", _tied(sign=-1), "the sign is turned: a small step along minus the gradient should lower the loss"),
     Mutant("x not subtracted", _tied(minus=False), "the error is x̂ − x; yours differentiates the square of x̂"),
     Mutant("twice the decoder", _tied(encoder=0, decoder=2.0),
            "the two parts are not equal: one has the code of x and the error, the other the code of the error and x")],
    [lambda X, W: 2 / len(X) * sum(np.outer(x, (W @ W.T @ x - x) @ W) + np.outer(W @ W.T @ x - x, x @ W) for x in X)], rtol=1e-7)


# --- robbins: the two sides of Bayes' rule, term by term ---


def _by_ratio_of_poissons(counts):
    """Of every person with x accidents, the expected rate, one x at a time."""
    out = []
    for x in range(len(counts) - 1):
        weigh = stats.poisson.pmf(x + 1, 1.0) / stats.poisson.pmf(x, 1.0)  # 1 / (x + 1)
        out.append(counts[x + 1] / counts[x] / weigh if counts[x] else np.nan)
    return np.array(out)


def _accidents(rng):
    def one(N, a, b):
        n = np.bincount(rng.poisson(rng.gamma(a, size=N) / b))
        return (np.append(n[:np.argmax(n == 0)] if (n == 0).any() else n, [0, 2]),)
    return [Group("many people", [one(9000, 0.9, 4.0), one(20_000, 2.0, 1.5)], "multiply x + 1 by the number of people one count further, "
                  "and divide by the number of people at x"),
            Group("a few hundred people", [one(400, 2.0, 1.0)], "multiply x + 1 by the number of people one count further, "
                  "and divide by the number of people at x")]


def _ratio(f):
    def wrong(counts):
        n, x = np.asarray(counts, float), np.arange(len(counts) - 1)
        with np.errstate(all="ignore"):
            value = f(n, x)
        return np.where(n[:-1] > 0, value, np.nan)
    return wrong


robbins = Marking(
    "robbins", _by_ratio_of_poissons, _accidents,
    [Mutant("x for x + 1", _ratio(lambda n, x: x * n[1:] / n[:-1]),
            "the factor is x + 1: (x + 1)! / x! is left over; a person without accidents should not get the rate 0"),
     Mutant("factor forgotten", _ratio(lambda n, x: n[1:] / n[:-1]), "a factor x + 1 is missing: look at the factorials of p(x | λ) and "
                                                                     "p(x + 1 | λ)"),
     Mutant("upside down", _ratio(lambda n, x: (x + 1) * n[:-1] / n[1:]), "the ratio is upside down: the next count's people belong above"),
     Mutant("divided by x + 1", _ratio(lambda n, x: n[1:] / n[:-1] / (x + 1)), "multiply by x + 1, do not divide"),
     Mutant("share of all people", _ratio(lambda n, x: (x + 1) * n[1:] / n.sum()),
            "divide by the number of people who have x accidents, not by the number of all people"),
     Mutant("own count", _ratio(lambda n, x: x + 0.0 * n[1:]), "that is each person's own count; the others' counts say how much of it "
                                                               "was luck"),
     Mutant("0 for nobody", lambda c: np.nan_to_num(_ratio(lambda n, x: (x + 1) * n[1:] / n[:-1])(c)),
            "where nobody has x accidents there is nothing to divide by: return np.nan there, not 0")],
    [lambda c: [(x + 1) * c[x + 1] / c[x] if c[x] > 0 else float("nan") for x in range(len(c) - 1)]], rtol=1e-8)


# --- noise_sd: by a numerical maximiser of scipy's density ---


def _by_search(X, X_hat):
    def loss(log_s):
        return -stats.norm.logpdf(X, X_hat, np.exp(log_s)).sum() / len(X)
    best = optimize.minimize_scalar(loss, bounds=(-12, 6), method="bounded", options=dict(xatol=1e-10))
    return np.exp(best.x), -best.fun


def _noise_cases(rng):
    def one(N, D, s):
        X = rng.normal(0, 1, (N, D)).round(3)
        return X, X + rng.normal(0.2 * s, s, (N, D)).round(4)
    hint = "set the derivative of log p with respect to s to zero, over all rows and columns together"
    return [Group("small errors", [one(6, 3, 0.05), one(4, 5, 0.2)], hint), Group("large errors", [one(7, 4, 2.0)], hint)]


def _noise(X, X_hat, s, entries=None, constant=1.0):
    D = X.shape[1] if entries is None else entries
    return s, -constant * D / 2 * np.log(2 * np.pi * s**2) - ((X - X_hat)**2).sum(axis=1).mean() / (2 * s**2)


def _rms(X, X_hat):
    return np.sqrt(((X - X_hat)**2).mean())


noise_sd = Marking(
    "noise_sd", _by_search, _noise_cases,
    [Mutant("variance for sd", lambda X, H: (_rms(X, H)**2, _noise(X, H, _rms(X, H))[1]), "the first result is a variance; asked is the "
    "sd"),
     Mutant("error of a whole row", lambda X, H: _noise(X, H, _rms(X, H) * np.sqrt(X.shape[1])),
            "that is the error of all D columns of a row together; s is the noise of a single number, so average over the columns too"),
     Mutant("ddof", lambda X, H: _noise(X, H, np.std(X - H)), "np.std subtracts the mean of the errors first; the errors are measured "
                                                              "around 0"),
     Mutant("mean over the columns", lambda X, H: (_rms(X, H), _noise(X, H, _rms(X, H))[1] / X.shape[1]),
            "log p of a row is the sum over its D columns; yours is their mean"),
     Mutant("sum over the rows", lambda X, H: (_rms(X, H), _noise(X, H, _rms(X, H))[1] * len(X)),
            "return log p of a row on average; yours is the sum over the rows"),
     Mutant("one constant", lambda X, H: _noise(X, H, _rms(X, H), entries=1), "each of the D columns brings its own −½ log(2π s²)"),
     Mutant("constant forgotten", lambda X, H: _noise(X, H, _rms(X, H), constant=0.0),
            "the constant −D/2 · log(2π s²) is missing; it is what keeps s from growing for ever"),
     Mutant("sign", lambda X, H: (_rms(X, H), -_noise(X, H, _rms(X, H))[1]), "that is the loss, −log p; asked is log p"),
     Mutant("absolute error", lambda X, H: _noise(X, H, np.abs(X - H).mean()),
            "the mean absolute error is the best width of a Laplace density; for a normal one it is the root of the mean square")],
    [lambda X, H: (_rms(X, H), -X.shape[1] * (0.5 + np.log(_rms(X, H)) + 0.5 * np.log(2 * np.pi)))], rtol=1e-5)


RUBRIC = {"perfect_copy": [
    (1, "says that a linear autoencoder with as many code units as columns can copy everything, also nonsense: zero error shows no "
        "knowledge of faces"),
    (1, "says that there is no prior p(z): nothing says which codes are likely, so decoding N(0, I) codes need not give faces"),
    (1, "says that there is no density p(x) either (no likelihood, or: each x is given its best code and the total is not 1), so "
        "'probable' has no meaning"),
    (1, "proposes a remedy with its reason: a constraint (bottleneck, noise, sparsity) to make copying hard, and a prior with a noise "
        "model to make it a "
        "model; or a fitted density of the codes with what it still lacks"),
]}
