"""Checks of lesson 00: nats to bits, log-mean-exp, finite difference."""

import math

import numpy as np
from scipy.special import logsumexp

from . import Check, Mutant


def _bits(nats):
    return np.asarray(nats) * math.log2(math.e)


nats_to_bits = Check(
    "nats_to_bits", _bits, [(0.4431472,), (np.array([0.0, 1.0, -2.5]),)],
    [Mutant("times log 2", lambda n: n * np.log(2), "a bit is smaller than a nat (one bit is log 2 nats), so the number in "
            "bits must be larger; did you multiply where you should divide?"),
     Mutant("log2 of it", lambda n: np.log2(n), "nats are already a logarithm; only the unit changes, so no second logarithm"),
     Mutant("log 10", lambda n: n / np.log(10), "you divided by log 10; a bit is a choice between two, not between ten"),
     Mutant("unchanged", lambda n: n, "the number did not change, but the unit did")])


def _scipy_log_mean_exp(a, axis=None):
    a = np.asarray(a, float)
    return logsumexp(a, axis=axis) - np.log(a.size if axis is None else a.shape[axis])


log_mean_exp = Check(
    "log_mean_exp", _scipy_log_mean_exp,
    [(np.array([-1000.0, -1001.0]),), (np.array([[1000.0, 0.0], [3.0, 4.0]]),), (np.array([[-800.0, 0.0, 1.0], [3.0, 4.0, 5.0]]), 1)],
    [Mutant("naive", lambda a, axis=None: np.log(np.mean(np.exp(a), axis=axis)),
            "infinite: exp leaves the computer's range before the mean is taken; factor the largest aᵢ out first"),
     Mutant("sum for mean", lambda a, axis=None: logsumexp(a, axis=axis),
            "that is the log of the sum; the mean has a factor 1/n, which is −log n outside"),
     Mutant("mean of the logs", lambda a, axis=None: np.mean(a, axis=axis),
            "that is the mean of the aᵢ themselves; the mean is taken of exp(aᵢ), inside the logarithm"),
     Mutant("largest only", lambda a, axis=None: np.max(a, axis=axis), "that is m alone; the other terms still add to it"),
     Mutant("m not put back", lambda a, axis=None: _scipy_log_mean_exp(a, axis) - np.max(a, axis=axis),
            "you took the largest aᵢ out but did not add m back outside the logarithm"),
     Mutant("axis forgotten", lambda a, axis=None: _scipy_log_mean_exp(a), "`axis` is ignored: with axis=1 there is one result a row")])


def _square(x):
    return x * x


finite_difference = Check(
    "finite_difference", lambda f, x, h=1e-4: {_square: 2 * x, math.sin: math.cos(x), math.exp: math.exp(x)}[f],
    [(math.exp, 1.0, 1e-3), (math.sin, 2.0, 1e-3), (_square, -3.0, 1e-3), (math.sin, 0.3)],
    [Mutant("one-sided", lambda f, x, h=1e-4: (f(x + h) - f(x)) / h,
            "close, but one-sided: f(x) stands where f(x − h) should, and the step between is then 2h"),
     Mutant("divided by h", lambda f, x, h=1e-4: (f(x + h) - f(x - h)) / h, "twice too large: from x − h to x + h it is 2h, not h"),
     Mutant("not divided", lambda f, x, h=1e-4: f(x + h) - f(x - h), "that is the difference of the values; divide it by the step 2h"),
     Mutant("times h", lambda f, x, h=1e-4: (f(x + h) - f(x - h)) / 2 * h, "mind the brackets: / 2 * h multiplies by h; write / (2 * h)"),
     Mutant("sign", lambda f, x, h=1e-4: (f(x - h) - f(x + h)) / (2 * h), "the sign is turned: f(x + h) comes first")],
    rtol=3e-6)
