"""The toy data: moments against closed forms or quadrature within standard errors; clear errors for wrong arguments."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from course_utils import datasets

ROOT = Path(__file__).parents[1]


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def agrees(sample, expected, errors=5):
    """The mean of `sample` over its first axis lies within `errors` standard errors of `expected`."""
    sample = np.asarray(sample, dtype=float)
    error = sample.std(axis=0) / np.sqrt(len(sample))
    return np.all(np.abs(sample.mean(axis=0) - expected) <= errors * error + 1e-12)


def is_frequency_of(hits, p, errors=5):
    """How often `hits` is true lies within `errors` binomial standard errors of the probability p."""
    return abs(np.mean(hits) - p) <= errors * np.sqrt(p * (1 - p) / len(hits)) + 1e-12


def curve(z, w):
    """The Bow's curve, by integrating a unit-speed walk whose heading turns at the rate w."""
    return np.array([integrate.quad(lambda t: part(w * t), 0, z)[0] for part in (np.cos, np.sin)])


@pytest.mark.parametrize("w", [0, 1e-9, 0.5, 1.0, 2.0, 3.0, -1.0])
@pytest.mark.parametrize("s", [0.0, 0.1, 0.25])
def test_bow_is_a_noisy_walk_along_a_curve_of_constant_curvature(w, s, rng):
    x, z = datasets.bow(20_000, w=w, s=s, rng=rng)
    assert x.shape == (20_000, 2) and z.shape == (20_000,) and np.isfinite(x).all()
    assert agrees(z, 0) and agrees(z**2, 1) and agrees(z**4, 3)
    noise = x[:200] - np.array([curve(t, w) for t in z[:200]])
    assert agrees(noise, 0) and agrees(noise**2, s**2) and (s > 0 or np.abs(noise).max() < 1e-12)
    mean_x2 = integrate.quad(lambda t: curve(t, w)[1] * stats.norm.pdf(t), -8, 8)[0]
    assert agrees(x, [0, mean_x2])
    assert agrees(x[:, 0] * z, integrate.quad(lambda t: t * curve(t, w)[0] * stats.norm.pdf(t), -8, 8)[0])


def test_bow_moments_in_closed_form(rng):
    x, _ = datasets.bow(200_000, w=1.0, s=0.25, rng=rng)
    assert agrees(x[:, 0]**2, (1 - np.exp(-2)) / 2 + 0.25**2)          # E sin² z = (1 - e^-2)/2
    assert agrees(x[:, 1], 1 - np.exp(-0.5))                           # E cos z = e^-1/2


def test_bow_noise_is_independent_in_the_two_directions(rng):
    x, z = datasets.bow(100_000, w=0, s=0.5, rng=rng)
    noise = x - np.stack([z, 0 * z], axis=1)
    assert agrees(noise[:, 0] * noise[:, 1], 0) and agrees(noise * z[:, None], 0)


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.2, 0.8), (1.0, 0.0)])
def test_two_coins_match_the_enumerated_joint_distribution(prior, rng):
    heads, z = datasets.two_coins(50_000, flips=5, p=(0.5, 0.9), prior=prior, rng=rng)
    assert heads.shape == z.shape == (50_000,) and heads.dtype.kind == z.dtype.kind == "i"
    for h in range(6):
        for coin, p in enumerate((0.5, 0.9)):
            assert is_frequency_of((heads == h) & (z == coin), prior[coin] * stats.binom.pmf(h, 5, p))


def test_two_coins_that_always_fall_the_same_way(rng):
    heads, z = datasets.two_coins(100, flips=3, p=(0, 1), rng=rng)
    assert np.array_equal(heads, 3 * z)


@pytest.mark.parametrize("rho", [-0.99, -0.5, 0.0, 0.8, 0.999])
def test_correlated_gaussian_has_its_covariance(rho, rng):
    x = datasets.correlated_gaussian(50_000, rho=rho, rng=rng)
    assert x.shape == (50_000, 2)
    assert agrees(x, 0) and agrees(x**2, 1) and agrees(x[:, 0] * x[:, 1], rho)
    assert agrees((x[:, 0] * x[:, 1])**2, 1 + 2 * rho**2)              # Gaussian, not just of that covariance


def test_mixture_of_numbers(rng):
    x, z = datasets.gaussian_mixture(100_000, weights=(0.3, 0.7), means=(-2, 1), sds=(0.5, 1.5), rng=rng)
    assert x.shape == z.shape == (100_000,)
    assert agrees(z, 0.7) and agrees(x, 0.1) and agrees((x - 0.1)**2, 3.54)      # law of total variance, claim L1.8
    assert agrees(x[z == 0], -2) and agrees((x[z == 0] + 2)**2, 0.25)
    assert is_frequency_of(x <= 0, 0.3 * stats.norm.cdf(0, -2, 0.5) + 0.7 * stats.norm.cdf(0, 1, 1.5))


@pytest.mark.parametrize("sds", [0.5, (0.5, 2.0), ((0.5, 0.5), (2.0, 2.0)), ((0.5, 1.0), (2.0, 3.0))])
def test_mixture_of_vectors(sds, rng):
    means = np.array([[0.0, 4.0], [-3.0, 1.0]])
    x, z = datasets.gaussian_mixture(20_000, weights=(0.25, 0.75), means=means, sds=sds, rng=rng)
    assert x.shape == (20_000, 2)
    wanted = np.array(sds, float)
    wanted = np.broadcast_to(wanted[:, None] if wanted.ndim == 1 else wanted, (2, 2))
    for k in (0, 1):
        assert agrees(x[z == k], means[k]) and agrees((x[z == k] - means[k])**2, wanted[k]**2)


@pytest.mark.parametrize("curvature", [0, 0.5, 1.0, -2.0])
def test_banana_moments(curvature, rng):
    x = datasets.banana(100_000, curvature=curvature, rng=rng)
    assert x.shape == (100_000, 2)
    assert agrees(x, [0, curvature]) and agrees(x[:, 0]**2, 1)
    assert agrees((x[:, 1] - curvature)**2, 0.25 + 2 * curvature**2) and agrees(x[:, 0] * x[:, 1], 0)
    assert agrees((x[:, 1] - curvature * x[:, 0]**2)**2, 0.25)


def test_digits_are_the_counts_of_scikit_learn():
    counts, labels = datasets.digits()
    assert counts.shape == (1797, 64) and labels.shape == (1797,)
    assert counts.dtype.kind == labels.dtype.kind == "i"
    assert counts.min() == 0 and counts.max() == 16 and sorted(set(labels)) == list(range(10))
    assert (counts.std(axis=0) == 0).sum() == 3                        # three pixels never change
    assert counts.sum() == 561_718 and abs((counts / 16).var(axis=0).sum() - 4.6932763) < 1e-7
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_in_stored_order_or_drawn_without_repetition(rng):
    counts, labels = datasets.digits()
    first, first_labels = datasets.digits(10)
    assert np.array_equal(first, counts[:10]) and np.array_equal(first_labels, labels[:10])
    some, some_labels = datasets.digits(500, rng=rng)
    where = {row.tobytes(): i for i, row in enumerate(counts)}
    order = [where[row.tobytes()] for row in some]
    assert len(set(order)) == 500 and order != sorted(order)
    assert np.array_equal(labels[order], some_labels)
    everything, _ = datasets.digits(rng=np.random.default_rng(3))
    assert np.array_equal(np.sort(everything.sum(axis=1)), np.sort(counts.sum(axis=1)))


CALLS = {
    "bow": lambda **k: datasets.bow(**{"n": 5, **k}),
    "two_coins": lambda **k: datasets.two_coins(**{"n": 5, **k}),
    "correlated_gaussian": lambda **k: datasets.correlated_gaussian(**{"n": 5, **k}),
    "gaussian_mixture": lambda **k: datasets.gaussian_mixture(
        **{"n": 5, "weights": (0.5, 0.5), "means": (0, 1), "sds": (1, 1), **k}),
    "banana": lambda **k: datasets.banana(**{"n": 5, **k}),
    "digits": lambda **k: datasets.digits(**{"n": 5, **k}),
}


@pytest.mark.parametrize("name", CALLS)
def test_same_seed_same_data_and_one_point_is_enough(name):
    first, second = (CALLS[name](rng=np.random.default_rng(7)) for _ in range(2))
    for a, b in zip(np.atleast_1d(first[0]), np.atleast_1d(second[0]), strict=True):
        assert np.array_equal(a, b)
    for n in (1, np.int64(3)):
        some = CALLS[name](n=n, rng=np.random.default_rng(0))
        assert all(len(part) == n for part in (some if isinstance(some, tuple) else (some,)))


COMMON = [({"n": 0}, ValueError, "n is 0"), ({"n": -3}, ValueError, "n is -3"), ({"n": 2.5}, TypeError, "n is 2.5"),
          ({"n": 2.0}, TypeError, "n is 2.0"), ({"n": "5"}, TypeError, "n is '5'"),
          ({"n": True}, TypeError, "n is True"), ({"n": [5]}, TypeError, r"n is \[5\]"),
          ({"rng": 0}, TypeError, "rng is 0"), ({"rng": np.random.RandomState(0)}, TypeError, "rng is RandomState")]
WRONG = [(name, *case) for name in CALLS for case in COMMON] + [
    *[(name, {"rng": None}, TypeError, "rng is None") for name in CALLS if name != "digits"],
    *[(name, {"rng": np.random}, TypeError, "rng is <module") for name in CALLS],
    ("bow", {"s": -0.1}, ValueError, "s is -0.1"),
    ("bow", {"s": np.nan}, ValueError, "s is nan"),
    ("bow", {"s": "small"}, TypeError, "s is 'small'"),
    ("bow", {"s": (0.1, 0.2)}, TypeError, "s is "),
    ("bow", {"w": np.inf}, ValueError, "w is inf"),
    ("bow", {"w": None}, TypeError, "w is None"),
    ("two_coins", {"flips": 0}, ValueError, "flips is 0"),
    ("two_coins", {"flips": 2.5}, TypeError, "flips is 2.5"),
    ("two_coins", {"p": (0.5, 1.2)}, ValueError, "p is "),
    ("two_coins", {"p": (0.5, 0.6, 0.7)}, ValueError, "p is "),
    ("two_coins", {"p": (0.5, np.nan)}, ValueError, "p is "),
    ("two_coins", {"p": 0.5}, ValueError, "p is 0.5"),
    ("two_coins", {"p": "half"}, TypeError, "p is 'half'"),
    ("two_coins", {"prior": (0.5, 0.6)}, ValueError, "prior is "),
    ("two_coins", {"prior": (-0.5, 1.5)}, ValueError, "prior is "),
    ("two_coins", {"prior": (0.2, 0.3, 0.5)}, ValueError, "prior has 3 entries"),
    ("correlated_gaussian", {"rho": 1.0}, ValueError, "rho is 1.0"),
    ("correlated_gaussian", {"rho": -1}, ValueError, "rho is -1"),
    ("correlated_gaussian", {"rho": 3}, ValueError, "rho is 3"),
    ("correlated_gaussian", {"rho": np.nan}, ValueError, "rho is nan"),
    ("correlated_gaussian", {"rho": "0.8"}, TypeError, "rho is '0.8'"),
    ("gaussian_mixture", {"weights": (0.5, 0.6)}, ValueError, "weights is "),
    ("gaussian_mixture", {"weights": (1.5, -0.5)}, ValueError, "weights is "),
    ("gaussian_mixture", {"weights": 1.0}, ValueError, "weights is 1.0"),
    ("gaussian_mixture", {"weights": (np.nan, 1.0)}, ValueError, "weights is "),
    ("gaussian_mixture", {"weights": (0.2, 0.3, 0.5)}, ValueError, "means has shape"),
    ("gaussian_mixture", {"means": (0, 1, 2)}, ValueError, "means has shape"),
    ("gaussian_mixture", {"means": 0}, ValueError, "means has shape"),
    ("gaussian_mixture", {"means": (0, np.inf)}, ValueError, "means is "),
    ("gaussian_mixture", {"means": ((0, 1), (2,))}, TypeError, "means is "),
    ("gaussian_mixture", {"sds": (1, -1)}, ValueError, "sds is "),
    ("gaussian_mixture", {"sds": (1, np.nan)}, ValueError, "sds is "),
    ("gaussian_mixture", {"sds": (1, 1, 1)}, ValueError, "sds has shape"),
    ("gaussian_mixture", {"sds": "wide"}, TypeError, "sds is 'wide'"),
    ("banana", {"curvature": np.nan}, ValueError, "curvature is nan"),
    ("banana", {"curvature": "0.5"}, TypeError, "curvature is '0.5'"),
    ("digits", {"n": 1798}, ValueError, "n is 1798"),
]


@pytest.mark.parametrize("name, arguments, error, names", WRONG, ids=lambda v: str(v).split(" at 0x")[0][:40])
def test_a_wrong_argument_ends_in_one_sentence_that_names_it(name, arguments, error, names):
    with pytest.raises(error, match=f"^{names}") as caught:
        CALLS[name](**{"rng": np.random.default_rng(0), **arguments})
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    assert any(how in message for how in ("write ", "pass ", "give ", "divide ", "ask for ", "replace ")), message


def test_importing_the_toy_data_loads_neither_torch_nor_scikit_learn():
    code = "import sys, course_utils.datasets; sys.exit(bool({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
