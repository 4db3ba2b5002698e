"""Checks of lesson 08: rate and distortion, active units, log p with its error, and the IWAE loss."""

import math
import statistics

import numpy as np
import torch

from . import Check, Mutant

_RNG = np.random.default_rng(8)

# --- 8.1


def _parts(log_lik, log_prior, log_q, beta):
    """By plain loops and exact summation."""
    n = log_lik.size
    D = -math.fsum(log_lik.ravel()) / n
    R = math.fsum(q - p for q, p in zip(log_q.ravel(), log_prior.ravel())) / n
    return D, R, D + beta * R


def _changed(f):
    """A wrong answer made from the right parts: f(D, R, beta, n draws, n images)."""
    def wrong(log_lik, log_prior, log_q, beta):
        D, R, _ = _parts(log_lik, log_prior, log_q, beta)
        return f(D, R, beta, *log_lik.shape)
    return wrong


def _terms(K, N):
    z = _RNG.standard_normal((K, N))
    return -20 - 3 * _RNG.random((K, N)), -3 - z**2, -1 - z**2 / 3


rate_distortion = Check(
    "rate_distortion", _parts, [(*_terms(4, 3), 1.0), (*_terms(5, 2), 0.25), (*_terms(1, 6), 4.0)],
    [Mutant("sign of D", _changed(lambda D, R, b, K, N: (-D, R, -D + b * R)), "distortion is a cost: minus the mean log p(x|z)"),
     Mutant("sign of R", _changed(lambda D, R, b, K, N: (D, -R, D - b * R)),
            "the rate is E[log q(z|x) − log p(z)], q first; with many draws it is not negative"),
     Mutant("ELBO", _changed(lambda D, R, b, K, N: (D, R, -D - b * R)), "what is minimised is D + βR; you returned minus that"),
     Mutant("beta ignored", _changed(lambda D, R, b, K, N: (D, R, D + R)), "the third number is D + βR: β is missing"),
     Mutant("beta on D", _changed(lambda D, R, b, K, N: (D, R, b * D + R)), "β weighs the rate, not the distortion"),
     Mutant("beta in the rate", _changed(lambda D, R, b, K, N: (D, b * R, D + b * R)), "R itself is without β; only the objective has it"),
     Mutant("summed over draws", _changed(lambda D, R, b, K, N: (K * D, K * R, K * (D + b * R))),
            "you summed over the draws; average over them, too"),
     Mutant("summed over images", _changed(lambda D, R, b, K, N: (N * D, N * R, N * (D + b * R))),
            "you summed over the images; average over them"),
     Mutant("entropy only", lambda ll, lp, lq, b: (-ll.mean(), lq.mean(), -ll.mean() + b * lq.mean()),
            "the rate compares q with the prior: log q(z|x) − log p(z), not log q alone"),
     Mutant("prior only", lambda ll, lp, lq, b: (-ll.mean(), -lp.mean(), -ll.mean() - b * lp.mean()),
            "−log p(z) is the price without the refund: the rate is log q(z|x) − log p(z)"),
     Mutant("swapped", _changed(lambda D, R, b, K, N: (R, D, D + b * R)), "the order is D, R, D + βR")])


# --- 8.2

def _active(mu, threshold=0.01):
    return sum(statistics.pvariance(column) > threshold for column in np.asarray(mu, float).T.tolist())


_CODES = _RNG.standard_normal((40, 7)) * [1.2, 0.6, 0.15, 0.12, 0.05, 0.03, 0.001] + [0.0, 2.0, 0.4, 0.0, 1.5, 0.05, 0.3]

active_units = Check(
    "active_units", _active, [(_CODES,), (_CODES, 0.1), (_CODES, 0.0005), (np.vstack([_CODES[:3], _CODES[:3] * 5]),), (_CODES[:,
        ::-1].copy(), 0.3)],
    [Mutant("over latents", lambda mu, threshold=0.01: int((np.var(mu, axis=1) > threshold).sum()),
            "the variance is over the images (axis 0), one for each latent; you took it over the latents"),
     Mutant("sd", lambda mu, threshold=0.01: int((np.std(mu, axis=0) > threshold).sum()),
            "compare the variance with the threshold, not the standard deviation"),
     Mutant("not centred", lambda mu, threshold=0.01: int(((mu**2).mean(0) > threshold).sum()),
            "a latent with a constant mean that is not 0 tells nothing: variance, so subtract the mean over images"),
     Mutant("sleeping", lambda mu, threshold=0.01: int((np.var(mu, axis=0) <= threshold).sum()), "you counted the latents that sleep"),
     Mutant("mask", lambda mu, threshold=0.01: np.var(mu, axis=0) > threshold, "return how many, not which: one whole number"),
     Mutant("threshold ignored", lambda mu, threshold=0.01: int((np.var(mu, axis=0) > 0.01).sum()),
            "the threshold is an argument: do not write 0.01 into the body"),
     Mutant("total", lambda mu, threshold=0.01: int(np.var(mu) > threshold), "one variance for each latent, not one for the whole array"),
     Mutant("absolute mean", lambda mu, threshold=0.01: int((np.abs(mu.mean(0)) > threshold).sum()),
            "it is not where the means lie on average, but how much they move from image to image"),
     Mutant("fraction", lambda mu, threshold=0.01: float((np.var(mu, axis=0) > threshold).mean()),
            "a count, not a fraction: sum, not mean")])


# --- 8.3

def _estimate(logw):
    """By exact rational sums of weights relative to the largest, then the relative variance E[w²]/E[w]² − 1."""
    top = float(np.max(logw))
    w = [math.exp(v - top) for v in np.asarray(logw, float)]
    mean = math.fsum(w) / len(w)
    square = math.fsum((v / mean - 1)**2 for v in w) / len(w)
    return top + math.log(mean), math.sqrt(square / len(w))


def _log_p(logw):
    return _estimate(logw)[0]


_FEW = np.array([-18.2, -19.1, -17.4, -23.0, -18.8])
_FAR = -800 + 1.5 * _RNG.standard_normal(50)

with np.errstate(all="ignore"):
    log_p_estimate = Check(
        "log_p_estimate", _estimate, [(_FEW,), (_FAR,), (np.full(8, -3.0),), (-20 + 0.3 * _RNG.standard_normal(200),)],
        [Mutant("mean of logs", lambda w: (np.mean(w), _estimate(w)[1]), "that is the ELBO: average the weights, then take the logarithm"),
         Mutant("no division by K", lambda w: (_log_p(w) + np.log(len(w)), _estimate(w)[1]),
                "the mean of the weights, not their sum: − log K is missing"),
         Mutant("underflow", lambda w: (np.log(np.mean(np.exp(w))), np.std(np.exp(w) / np.mean(np.exp(w))) / len(w)**0.5),
                "e^−800 is 0 in the machine: take the largest log weight out first, as log_mean_exp does"),
         Mutant("sd, not error", lambda w: (_log_p(w), _estimate(w)[1] * len(w)**0.5),
                "that is the spread of one weight; the error of the mean of K is smaller by √K"),
         Mutant("over K", lambda w: (_log_p(w), _estimate(w)[1] / len(w)**0.5), "divide by √K, not by K"),
         Mutant("sd of logs", lambda w: (_log_p(w), np.std(w) / len(w)**0.5),
                "the error is that of the weights' mean, relative to it, not of the log weights' mean"),
         Mutant("ddof 1", lambda w: (_log_p(w), _estimate(w)[1] * (len(w) / (len(w) - 1))**0.5),
                "np.std as it is, dividing by K, not by K − 1"),
         Mutant("variance", lambda w: (_log_p(w), _estimate(w)[1]**2), "that is the squared error; take the root"),
         Mutant("not relative", lambda w: (_log_p(w), np.std(np.exp(w)) / len(w)**0.5),
                "that is the error of the mean weight itself; divide by the mean weight to get the error of its logarithm"),
         Mutant("relative to the largest", lambda w: (_log_p(w), np.std(np.exp(w - w.max())) / len(w)**0.5),
                "the relative weights are w/mean(w), not w/max(w)")])


# --- 8.4

def _tensor(function):
    return lambda logw: function(torch.as_tensor(logw))


def _bound(logw):
    """Minus the mean over images of log((1/k) sum w), one image after the other with math.fsum."""
    values = []
    for column in np.asarray(logw.detach() if isinstance(logw, torch.Tensor) else logw, float).T:
        top = column.max()
        values.append(top + math.log(math.fsum(math.exp(v - top) for v in column) / len(column)))
    return -math.fsum(values) / len(values)


class _InTorch(Check):
    """Hands tensors to the student; a tensor back deserves no note."""

    def __call__(self, answer):
        return super().__call__(_tensor(answer) if callable(answer) else answer)

    def _judge(self, answer, got, tensor):
        return super()._judge(answer, got, False)


def _teaches(answer):
    """The gradient of each log weight is minus its normalised weight, over the number of images."""
    logw = torch.tensor([[-1.0, -3.0, 0.5], [-2.0, -3.0, 2.5]], dtype=torch.float64, requires_grad=True)
    answer(logw).backward()
    return torch.allclose(logw.grad, -torch.softmax(logw.detach(), 0) / 3, atol=1e-9)


_LOGW = -20 + 2 * _RNG.standard_normal((5, 3))

iwae_loss = _InTorch(
    "iwae_loss", _bound, [(_LOGW,), (_LOGW[:1],), (_LOGW - 780,), (-20 + _RNG.standard_normal((4, 4)),)],
    [Mutant("VAE", _tensor(lambda w: -w.mean()), "that is minus the ELBO: average the weights, not their logarithms"),
     Mutant("no log k", _tensor(lambda w: -torch.logsumexp(w, 0).mean()), "the mean of the k weights, not their sum: − log k is missing"),
     Mutant("log k added", _tensor(lambda w: -(torch.logsumexp(w, 0) + np.log(len(w))).mean()),
            "log k has the wrong sign: the mean is the sum divided by k"),
     Mutant("sign", _tensor(lambda w: (torch.logsumexp(w, 0) - np.log(len(w))).mean()), "a loss is minimised: minus the bound"),
     Mutant("images first", _tensor(lambda w: -(torch.logsumexp(w, 1) - np.log(w.shape[1])).mean()),
            "the log-mean-exp runs over the k draws (dim 0), the plain mean over the images; you have it the other way round"),
     Mutant("all at once", _tensor(lambda w: -(torch.logsumexp(w.flatten(), 0) - np.log(w.numel()))),
            "images must not share their weights: log-mean-exp for each image, then the mean of the logarithms"),
     Mutant("summed", _tensor(lambda w: -(torch.logsumexp(w, 0) - np.log(len(w))).sum()), "mean over the images, not sum"),
     Mutant("per image", _tensor(lambda w: -(torch.logsumexp(w, 0) - np.log(len(w)))), "one number: the mean over the images is missing"),
     Mutant("log of B", _tensor(lambda w: -(torch.logsumexp(w, 0) - np.log(w.shape[1])).mean()),
            "divide by the number of draws k = len(logw), not of images"),
     Mutant("underflow", _tensor(lambda w: -torch.log(w.float().exp().mean(0)).mean().double()),
            "e^−800 is 0 in the machine: torch.logsumexp avoids it"),
     Mutant("best draw", _tensor(lambda w: -w.max(0).values.mean()), "the log of the mean weight, not of the largest one"),
     Mutant("surrogate", _tensor(lambda w: -(torch.softmax(w, 0) * w).sum(0).mean()),
            "that is the surrogate's value, an average of log weights; asked is the log of the average weight")],
    properties=[("teaches", _teaches,
                 "the value is right but the gradient is not: stay in torch from logw to the loss, without detach or numpy")])
