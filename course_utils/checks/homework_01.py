"""Instant checks of homework 01: what must hold of a right answer, and no right answer."""

from itertools import product

import numpy as np

from . import Check

_near = np.isclose

# --- which_die ---


def _all_sequences(f):
    sides, prior = np.array([2, 3]), np.array([0.7, 0.3])
    return _near(sum(np.exp(f(np.array(rolls), sides, prior)[1]) for rolls in product((1, 2, 3), repeat=2)), 1)


def _prior_odds(f):
    rolls, sides = np.array([2, 1]), np.array([4, 6, 8])
    even, uneven = (f(rolls, sides, np.array(p))[0] for p in ([0.25, 0.25, 0.5], [0.5, 0.25, 0.25]))
    return _near(uneven[0] / uneven[1], 2 * even[0] / even[1])


def _sure_prior(f):
    at = [f(np.array([2, 1, 2]), np.array([4, 6]), np.array(p))[1] for p in ([0.9, 0.1], [0.1, 0.9])]
    return at[0] > at[1] + 0.1


def _sums_to_one(f):
    posterior = np.asarray(f(np.array([1, 5, 3]), np.array([4, 6, 8]), np.array([0.2, 0.5, 0.3]))[0])
    return posterior.shape == (3,) and _near(posterior.sum(), 1)


def _many_rolls(f):
    posterior, log_evidence = f(np.tile([3, 700, 41], 150), np.array([1000, 1001]), np.array([0.5, 0.5]))
    return np.isfinite(log_evidence) and posterior[0] > posterior[1] > 0


which_die = Check(
    "which_die", None, [(np.array([3, 5]), np.array([4, 6]), np.array([0.5, 0.5]))],
    properties=[
        ("posterior sums to 1", _sums_to_one, "the posterior should have one entry a die, and they should sum to 1"),
        ("impossible die", lambda f: f(np.array([5]), np.array([4, 6]), np.array([0.9, 0.1]))[0][0] == 0,
         "after a 5 the posterior of a die with four sides should be exactly 0"),
        ("all sequences", _all_sequences, "for two rolls of dice with 2 and 3 sides, the probabilities p(x) = exp(second result) of all "
                                          "nine sequences should sum to 1"),
        ("prior odds", _prior_odds, "if one die becomes twice as probable as another beforehand, it should become so afterwards"),
        ("prior and evidence", _sure_prior, "three low rolls are more probable if the small die is more probable beforehand; your log p(x) "
                                            "does not say so"),
        ("many rolls", _many_rolls, "450 spins of a wheel with 1000 fields give −inf or nan: keep logarithms, and take the largest out "
                                    "before exp")])

# --- log_evidence_counts ---


def _total(f):
    return _near(sum(np.exp(f(np.array([k]), 2.0, 0.5)) for k in range(150)), 1)


def _prior_mean(f):
    return _near(sum(k * np.exp(f(np.array([k]), 2.0, 0.5)) for k in range(150)), 2.0 / 0.5, rtol=1e-4)


def _summed_out(f):
    return _near(sum(np.exp(f(np.array([3, k]), 2.0, 0.5)) for k in range(150)), np.exp(f(np.array([3]), 2.0, 0.5)))


def _shared_rate(f):
    return f(np.array([9, 9]), 2.0, 0.5) > 2 * f(np.array([9]), 2.0, 0.5) + 0.1


log_evidence_counts = Check(
    "log_evidence_counts", None, [(np.array([2, 0, 1]), 2.0, 0.5)],
    properties=[
        ("a logarithm of a probability", lambda f: f(np.array([4]), 2.0, 0.5) < 0, "the logarithm of a probability of counts is negative"),
        ("sums to one", _total, "p(x) of a single count should sum to 1 over x = 0, 1, 2, …; look for a forgotten constant"),
        ("mean of a count", _prior_mean, "the mean of a single count should be the prior mean of the rate, a / b: b is a rate"),
        ("summed out", _summed_out, "p(3, x₂) should sum to p(3) over x₂; look at the powers of z and the exponentials for N counts"),
        ("shared rate", _shared_rate, "a first count of 9 says that z is large, so a second 9 should come less as a surprise; in yours the "
                                      "counts are independent"),
        ("large counts", lambda f: np.isfinite(f(np.array([2000, 2100]), 20.0, 0.01)), "large counts give inf or nan: use gammaln")])

# --- combine ---


def _scale(f):
    x, s = np.array([20.2, 19.7]), np.array([0.1, 0.3])
    small, large = f(x, s, 20.0, 0.2), f(10 * x, 10 * s, 200.0, 2.0)
    return _near(large[0], 10 * small[0]) and _near(large[1], 10 * small[1])


def _in_turn(f):
    x, s = np.array([20.2, 19.7, 20.6]), np.array([0.1, 0.3, 0.2])
    m, sd = f(x[:1], s[:1], 20.0, 0.2)
    return np.allclose(f(x[1:], s[1:], m, sd), f(x, s, 20.0, 0.2))


def _hopeless(f):
    with_it = f(np.array([20.2, 35.0]), np.array([0.1, 1e6]), 20.0, 0.2)
    return np.allclose(with_it, f(np.array([20.2]), np.array([0.1]), 20.0, 0.2), rtol=1e-4)


combine = Check(
    "combine", None, [(np.array([20.2, 19.7]), np.array([0.1, 0.3]), 20.0, 0.2)],
    properties=[
        ("hopeless instrument", _hopeless, "a reading with an sd of a million says nothing, but it moves your posterior"),
        ("certain prior", lambda f: abs(f(np.array([25.0]), np.array([0.1]), 20.0, 1e-6)[0] - 20) < 1e-3,
         "if the prior sd is a millionth, the prior mean should be believed"),
        ("units", _scale, "in tenths of a degree all numbers, results too, should be ten times as large; s and the second result are sds"),
        ("in turn", _in_turn, "the posterior after the first reading, used as prior for the others, should give the same as all at once")])

# --- tell_story ---

_U, _W, _M, _S = (np.arange(20_000) + 0.5) / 20_000, np.array([0.2, 0.5, 0.3]), np.array([-4.0, 1.0, 6.0]), np.array([0.5, 2.0, 0.25])


def _shares(f):
    z = np.asarray(f(_U, 0 * _U, _W, _M, _S)[0])
    return z.shape == _U.shape and np.allclose([np.mean(z == k) for k in range(3)], _W, atol=1e-3)


def _without_noise(f):
    z, x = f(_U, 0 * _U, _W, _M, _S)
    return all(np.all(np.asarray(x)[np.asarray(z) == k] == m) for k, m in enumerate(_M))


def _own_noise(f):
    z, x = map(np.asarray, f(_U, np.random.default_rng(3).standard_normal(20_000), _W, _M, _S))
    return all(abs(x[z == k].std() / s - 1) < 0.05 for k, s in enumerate(_S))


tell_story = Check(
    "tell_story", None, [(np.array([0.1, 0.6, 0.9]), np.zeros(3), _W, _M, _S)],
    properties=[
        ("shares", _shares, "of many u spread evenly over [0, 1), a share w_k should get z = k; stretch k begins where stretch k − 1 ends"),
        ("order", lambda f: np.all(np.diff(f(_U, 0 * _U, _W, _M, _S)[0]) >= 0), "the stretches lie in the order k = 0, 1, …: a larger "
        "u, no smaller z"),
        ("means", _without_noise, "without noise (all e_n = 0), x_n should be the mean of the kind z_n that was chosen, and nothing in "
                                  "between"),
        ("sds", _own_noise, "the points of kind k should scatter around their mean with the sd σ_k")])

# --- free_numbers ---


def _small(f):
    return f("table", 2, 1, 2) == 1 and f("chain", 2, 5, 2) == 3


def _blind(f):
    return f("hidden", 5, 7, 1) == f("table", 5, 1, 1)


free_numbers = Check(
    "free_numbers", None, [("table", 2, 3, 2), ("chain", 2, 3, 2), ("hidden", 2, 3, 2)],
    properties=[
        ("small cases", _small, "with the letters A and B: a table for one letter has one free number, a chain has three (A first? A "
                                "after A? A after B?)"),
        ("a longer table", lambda f: f("table", 2, 5, 2) == 2 * f("table", 2, 4, 2) + 1 and f("table", 4, 2, 2) == f("table", 2, 4, 2),
         "there are as many sequences of 2 letters out of 4 as of 4 letters out of 2, and a longer sequence of A and B doubles their "
         "number"),
        ("T does not matter", lambda f: f("chain", 4, 3, 2) == f("chain", 4, 9, 2) and f("hidden", 4, 3, 2) == f("hidden", 4, 9, 2),
         "a chain uses the same numbers at every step, so T should not matter"),
        ("one state", _blind, "with a single hidden state all letters come from one table: as many numbers as a table for one letter"),
        ("a state more letters", lambda f: f("hidden", 5, 4, 3) - f("hidden", 4, 4, 3) == 3,
         "one more letter should cost one more number in each state"),
        ("states as letters", lambda f: f("hidden", 1, 4, 3) == f("chain", 3, 4, 1), "if there is one letter only, what is left is the "
        "chain of the states")])

# --- lighthouse ---

_Z = np.linspace(-15, 15, 3001)


def _area(f):
    return all(_near(np.trapezoid(f(np.array(x), _Z, d)[0], _Z), 1, rtol=1e-2) for x, d in (([1.0, 3.0, 0.5], 1.0), ([2.0], 0.5)))


def _flashes_in_turn(f):
    """p(x) summed over all places of one flash is 1, whatever the prior and d."""
    angle = np.pi * ((np.arange(400) + 0.5) / 400 - 0.5)
    density = np.exp([f(np.array([x]), np.linspace(-3, 3, 121), 2.0)[1] for x in 2 * np.tan(angle)])
    return abs(np.sum(density * 2 / np.cos(angle)**2) * np.pi / 400 - 1) < 0.01


def _two_flashes(f):
    posterior = f(np.array([-6.0, 6.0]), _Z, 1.0)[0]
    peaks = np.abs(_Z[posterior > 0.9 * np.max(posterior)])
    return np.all((peaks > 5) & (peaks < 6.5)) and np.allclose(posterior, posterior[::-1], rtol=1e-4)


def _angles(f):
    """Half of a lighthouse's flashes land within d of its foot."""
    one = f(np.array([0.0]), _Z, 0.8)[0]
    return abs(one[np.abs(_Z - 0.8).argmin()] / one[np.abs(_Z).argmin()] - 0.5) < 0.01


def _conditional(f):
    """p(x1, x2) = p(x1) p(x2 | x1), the second averaged over the posterior of the first."""
    first, log_p1 = f(np.array([1.0]), _Z, 1.5)
    log_p12 = f(np.array([1.0, 1.0]), _Z, 1.5)[1]
    share = np.trapezoid(first**2, _Z) * np.exp(log_p1) * (_Z[-1] - _Z[0])
    return _near(np.exp(log_p12 - log_p1), share, rtol=1e-2)


def _many(f):
    x = 2 + np.tan(np.pi * ((np.arange(600) + 0.5) / 600 - 0.5))
    posterior, log_px = f(x, _Z, 1.0)
    return np.isfinite(log_px) and abs(_Z[np.argmax(posterior)] - 2) < 0.1


lighthouse = Check(
    "lighthouse", None, [(np.array([1.0, 3.0]), _Z, 1.0)],
    properties=[
        ("area", _area, "the posterior should have the area 1: np.trapezoid(posterior, z)"),
        ("half of the flashes", _angles, "p(x | z) should fall to half its height at the distance d from the foot of the lighthouse: "
                                         "start from the "
                                         "uniform angle and multiply by |dθ/dx|"),
        ("all places", _flashes_in_turn, "for a single flash, p(x) = exp(second result) should add up to 1 over all places x of the "
                                         "coast; look for a lost factor"),
        ("two flashes", _two_flashes, "two flashes far apart, at −6 and 6, should leave two peaks, near each of them"),
        ("chain rule", _conditional, "p(x₁, x₂) should be p(x₁) times the average of p(x₂ | z) over the posterior of z given x₁"),
        ("many flashes", _many, "600 flashes give −inf or nan: add logarithms, and take the largest out before exp")])
