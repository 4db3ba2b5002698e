"""The course's data: toy data and handwritten digits, small, exact and offline; MNIST for those who want more.

Every function draws from the `numpy.random.Generator` that the caller passes: a lesson's seed stays in the lesson.
A wrong argument ends in one sentence that names the argument, its value and what to do.
"""
import os
import zipfile
import zlib
from numbers import Integral, Real
from pathlib import Path

import numpy as np

# The file that Keras hands out, with its published checksum. Its arrays are called x_train, y_train, x_test and y_test.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MNIST_SIZES = {"train": 60_000, "test": 10_000}


def bow(n, *, w=1.0, s=0.25, rng):
    """The Bow, the course's running example: a point on a bent wire, seen through noise.

    z ~ N(0, 1) is the distance walked along a wire of constant curvature w, and x | z ~ N(f_w(z), s² I) with
    f_w(z) = (sin(wz)/w, (1 - cos(wz))/w), f_0(z) = (z, 0): w = 0 is linear-Gaussian, w = 1 a horseshoe, w = 2 a ring.

    n: number of points. w: curvature. s: standard deviation of the noise, in both directions.
    Returns x of shape (n, 2) and the latents z of shape (n,). Source: this course, lesson 01.
    """
    _check_count("n", n)
    _check_number("w", w)
    _check_sd("s", s)
    _check_rng(rng)
    z = rng.standard_normal(n)
    half = w * z / 2                        # sinc keeps the curve exact as w goes to 0; np.sinc(t) is sin(pi t)/(pi t)
    curve = np.stack([z * np.sinc(w * z / np.pi), z * np.sin(half) * np.sinc(half / np.pi)], axis=-1)
    return curve + s * rng.standard_normal((n, 2)), z


def two_coins(n, *, flips=5, p=(0.5, 0.9), prior=(0.5, 0.5), rng):
    """A bag with two coins: draw one (z, hidden), toss it `flips` times, note how many heads (x).

    n: number of draws from the bag. p: the coins' chances of heads. prior: the chances of drawing them.
    Returns the heads of shape (n,), integers 0..flips, and the coins z of shape (n,), 0 or 1.
    Source: this course, lesson 01.
    """
    _check_count("n", n)
    _check_count("flips", flips)
    _check_rng(rng)
    chances, prior = _check_array("p", p), _check_weights("prior", prior)
    if chances.shape != (2,) or not np.all((chances >= 0) & (chances <= 1)):
        raise ValueError(f"p is {p!r}, but it must be two probabilities, one for each coin: "
                         "write for example p=(0.5, 0.9).")
    if prior.shape != (2,):
        raise ValueError(f"prior has {prior.size} entries, but there are two coins: "
                         "write for example prior=(0.5, 0.5).")
    z = (rng.random(n) < prior[1]).astype(int)
    return rng.binomial(flips, chances[z]), z


def correlated_gaussian(n, *, rho=0.8, rng):
    """Two standard normal coordinates with correlation rho.

    n: number of points. rho: correlation, strictly between -1 and 1.
    Returns x of shape (n, 2) with mean 0 and covariance [[1, rho], [rho, 1]].
    """
    _check_count("n", n)
    _check_number("rho", rho)
    _check_rng(rng)
    if not -1 < rho < 1:
        raise ValueError(f"rho is {rho}, but a correlation lies strictly between -1 and 1: write for example rho=0.8.")
    a, b = rng.standard_normal((2, n))
    return np.stack([a, rho * a + np.sqrt(1 - rho**2) * b], axis=-1)


def gaussian_mixture(n, *, weights, means, sds, rng):
    """A mixture of K Gaussians: z ~ Categorical(weights), then x | z ~ N(means[z], sds[z]²).

    n: number of points. weights: (K,), summing to 1. means: (K,) for numbers or (K, D) for vectors.
    sds: standard deviations, one number, (K,) (the same in all D directions) or (K, D).
    Returns x of shape (n,) or (n, D), and the components z of shape (n,), integers 0..K-1.
    """
    _check_count("n", n)
    _check_rng(rng)
    weights, means, sds = _check_weights("weights", weights), _check_array("means", means), _check_array("sds", sds)
    if means.ndim not in (1, 2) or len(means) != len(weights):
        raise ValueError(f"means has shape {means.shape}, but there are {len(weights)} weights: "
                         "give one mean for each, of shape (K,) or (K, D).")
    if not np.all(np.isfinite(means)):
        raise ValueError(f"means is {means.tolist()}, but every mean must be a finite number: replace the others.")
    if not np.all(np.isfinite(sds) & (sds >= 0)):
        raise ValueError(f"sds is {sds.tolist()}, but a standard deviation is a number of at least 0: "
                         "pass standard deviations, neither variances' logarithms nor negative numbers.")
    if sds.ndim == 1 and means.ndim == 2 and len(sds) == len(means):
        sds = sds[:, None]
    if sds.shape not in ((), means.shape, (len(means), 1)):
        raise ValueError(f"sds has shape {sds.shape}, but means has {means.shape}: "
                         "give one number, one for each component, or the shape of means.")
    sds = np.broadcast_to(sds, means.shape)
    z = rng.choice(len(weights), size=n, p=weights / weights.sum())
    return means[z] + sds[z] * rng.standard_normal((n, *means.shape[1:])), z


def banana(n, *, curvature=0.5, rng):
    """A banana: x1 ~ N(0, 1) and x2 | x1 ~ N(curvature · x1², 0.5²).

    n: number of points. curvature: 0 gives an ellipse, larger values bend it.
    Returns x of shape (n, 2): mean (0, curvature), variances 1 and 0.25 + 2 curvature², correlation 0.
    """
    _check_count("n", n)
    _check_number("curvature", curvature)
    _check_rng(rng)
    x1, noise = rng.standard_normal((2, n))
    return np.stack([x1, curvature * x1**2 + 0.5 * noise], axis=-1)


def digits(n=None, *, rng=None):
    """Handwritten digits, 8 x 8 pixels; a pixel counts the inked dots (0..16) of a 4 x 4 block. No download is needed.

    n: number of images, None for all 1797. rng: draws them at random, without repetition; without it: in stored order.
    Returns the counts of shape (n, 64), integers 0..16, and the labels of shape (n,), integers 0..9.
    Source: UCI "Optical Recognition of Handwritten Digits", test set, through sklearn.datasets.load_digits.
    """
    from sklearn.datasets import load_digits  # not at the top: this import takes a second, and the toy data do without
    data = load_digits()
    if n is None:
        n = len(data.data)
    _check_count("n", n)
    if n > len(data.data):
        raise ValueError(f"n is {n}, but there are only {len(data.data)} digits: ask for at most that many.")
    if rng is None:
        order = np.arange(n)
    else:
        _check_rng(rng)
        order = rng.permutation(len(data.data))[:n]
    return data.data[order].astype(int), data.target[order].astype(int)


def mnist(split="train", n=None, *, rng=None, file=None):
    """MNIST, handwritten digits of 28 x 28 pixels with grey levels 0..255. Optional: no lesson needs it.

    split: "train" (60 000 images) or "test" (10 000). n, rng: as for `digits`.
    file: mnist.npz on this machine, or the folder it is in; without it the environment variable ELBO_ROOM_DATA, without that
        a copy that was downloaded before, and if there is none it is downloaded once (11 MB) and its checksum compared.
    Returns the grey levels of shape (n, 784), uint8, and the labels of shape (n,), integers 0..9.
    Raises FileNotFoundError where the file is not, ValueError for a file that is damaged or is not MNIST, and
    ConnectionError where nothing could be downloaded; each says what to do, and no half-written file stays behind.
    Source: LeCun, Cortes and Burges, the MNIST database.
    """
    if split not in MNIST_SIZES:
        raise ValueError(f'split is {split!r}, but it must be "train" or "test": write for example split="test".')
    size = MNIST_SIZES[split]
    if n is not None:
        _check_count("n", n)
        if n > size:
            raise ValueError(f"n is {n}, but split={split!r} has only {size} images: ask for at most that many.")
    if rng is not None:
        _check_rng(rng)
    images, labels = _read_mnist(_find_mnist(file), split)
    order = slice(n) if rng is None else rng.permutation(size)[:n]
    return images.reshape(size, 784)[order], labels[order].astype(int)


def _find_mnist(file):
    """The path of mnist.npz: as told, as the environment says, or downloaded."""
    told = "file" if file is not None else "the environment variable ELBO_ROOM_DATA"
    place = file if file is not None else os.environ.get("ELBO_ROOM_DATA")
    if not place:
        return _download_mnist()
    path = Path(place).expanduser()
    path = path / "mnist.npz" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{told} says {str(place)!r}, but there is no file {str(path)!r}: "
                                "give the path of mnist.npz or of the folder it is in.")
    return path


def _download_mnist():
    """Download mnist.npz once, with a progress bar; later calls find the copy, whose checksum is compared each time."""
    import pooch
    from requests import RequestException
    from tqdm.auto import tqdm

    folder = pooch.os_cache("elbo-room")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # the bar says enough
    bar = None if (folder / "mnist.npz").exists() else tqdm(total=1, desc="MNIST", unit="B", unit_scale=True)
    try:
        return Path(pooch.retrieve(MNIST_URL, "sha256:" + MNIST_SHA256, "mnist.npz", folder,
                                   downloader=pooch.HTTPDownloader(progressbar=bar or False, timeout=30)))
    except (RequestException, OSError, ValueError) as error:  # pooch: a ValueError where the checksum differs
        what = "what came is not the file asked for (wrong checksum)" if isinstance(error, ValueError) else type(error).__name__
        raise ConnectionError(
            f"MNIST is not on this machine and could not be downloaded ({what}): fetch {MNIST_URL} where there is a network "
            "and pass its path as file=..., or set the environment variable ELBO_ROOM_DATA to it. "
            "Without it, datasets.digits() needs no download.") from error
    finally:
        logger.setLevel(level)
        if bar is not None:
            bar.close()


def _read_mnist(path, split):
    """Images (N, 28, 28) and labels (N,) of one split, after everything that can be wrong with a file has been asked."""
    again = f"delete it and fetch it again from {MNIST_URL}"
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no .npz file, or its end is missing")
        with np.load(path, allow_pickle=False) as arrays:  # a zip, which knows a checksum of each array
            pairs = [("x_" + split, "y_" + split), (split + "_images", split + "_labels")]
            found = [pair for pair in pairs if set(pair) <= set(arrays.files)]
            images, labels = (arrays[name] for name in found[0]) if found else (None, None)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{str(path)!r} is damaged or was not downloaded to its end ({error}): {again}.") from None
    if images is None:
        raise ValueError(f"{str(path)!r} holds no MNIST (no arrays x_{split} and y_{split}): {again}.")
    size = MNIST_SIZES[split]
    if images.shape != (size, 28, 28) or labels.shape != (size,):
        raise ValueError(f"{str(path)!r} has images of shape {images.shape} and labels of shape {labels.shape}, but MNIST's "
                         f"{split} split has ({size}, 28, 28) and ({size},): {again}.")
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{str(path)!r} has images of type {images.dtype} and labels of type {labels.dtype} from {labels.min()} to "
                         f"{labels.max()}, but MNIST's images are grey levels (uint8) and its labels 0..9: {again}.")
    return images, labels


# --- one clear sentence for each kind of wrong argument ---

def _check_count(name, value):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}, but it must be a whole number: write for example {name}=5.")
    if value < 1:
        raise ValueError(f"{name} is {value}, but it must be at least 1: write for example {name}=5.")


def _check_number(name, value):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, but it must be one number: write for example {name}=0.5.")
    if not np.isfinite(value):
        raise ValueError(f"{name} is {value}, but it must be a finite number: write for example {name}=0.5.")


def _check_sd(name, value):
    _check_number(name, value)
    if value < 0:
        raise ValueError(f"{name} is {value}, but a standard deviation is at least 0: "
                         f"pass a standard deviation, not its logarithm, for example {name}=0.25.")


def _check_array(name, value):
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}, but it must be made of numbers, in rows of equal length: "
                        "pass a list or an array of numbers.") from None


def _check_weights(name, value):
    weights = _check_array(name, value)
    if weights.ndim != 1 or not np.all(weights >= 0) or not abs(weights.sum() - 1) < 1e-8:
        raise ValueError(f"{name} is {value!r}, but it must be a list of probabilities that sum to 1: "
                         "divide it by its sum.")
    return weights


def _check_rng(rng):
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is {rng!r}, but it must be a random generator: write rng=np.random.default_rng(0).")
