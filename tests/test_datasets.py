"""The toy data: moments against closed forms or quadrature within standard errors; clear errors for wrong arguments."""

import hashlib
import http.server
import io
import subprocess
import sys
import threading
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


# --- MNIST: a file of the right shape made of noise, and a web server in place of the one that has the real file ---

def mnist_file(path, *, train=60_000, dtype=np.uint8, names=("x_train", "y_train", "x_test", "y_test"), top=9):
    """An .npz like MNIST's, nearly empty, so that it is small: image i has the grey level i mod 251 in its first pixel."""
    arrays = []
    for n in (train, 10_000):
        images = np.zeros((n, 28, 28), dtype)
        images[:, 0, 0] = np.arange(n) % 251
        arrays += [images, (np.arange(n) % (top + 1)).astype(np.uint8)]
    np.savez_compressed(path, **dict(zip(names, arrays, strict=True)))
    return path


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    return mnist_file(tmp_path_factory.mktemp("mnist") / "mnist.npz")


@pytest.fixture
def server(mnist, tmp_path, monkeypatch):
    """Serves `server.body` as mnist.npz; the cache is an empty folder; the checksum asked for is that of `mnist`."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(self.server.length))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status, server.body = 0, 200, mnist.read_bytes()
    server.length, server.cache = len(server.body), tmp_path / "cache"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(server.cache))
    monkeypatch.setenv("LOCALAPPDATA", str(server.cache))
    monkeypatch.delenv("ELBO_ROOM_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: server.cache / name)  # macOS asks no variable
    monkeypatch.setattr(datasets, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
    monkeypatch.setattr(datasets, "MNIST_SHA256", hashlib.sha256(server.body).hexdigest())
    yield server
    server.shutdown()
    server.server_close()


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"),
                                   ("train_images", "train_labels", "test_images", "test_labels")], ids=["Keras", "long"])
def test_mnist_from_a_file_a_folder_or_the_environment(names, tmp_path, monkeypatch, rng):
    path = mnist_file(tmp_path / "mnist.npz", names=names)
    images, labels = datasets.mnist("test", file=path)
    assert images.shape == (10_000, 784) and images.dtype == np.uint8 and labels.dtype == int
    assert images[:300, 0].tolist() == [i % 251 for i in range(300)] and labels[:12].tolist() == [*range(10), 0, 1]
    for file in (str(path), tmp_path):
        assert np.array_equal(datasets.mnist("test", 5, file=file)[0], images[:5])
    for value in (path, tmp_path):
        monkeypatch.setenv("ELBO_ROOM_DATA", str(value))
        assert datasets.mnist()[0].shape == (60_000, 784)
    drawn, drawn_labels = datasets.mnist("test", 1000, rng=rng)
    order = np.random.default_rng(1).permutation(10_000)[:1000]
    assert np.array_equal(drawn, images[order]) and np.array_equal(drawn_labels, labels[order])


def test_mnist_is_downloaded_once_and_its_copy_is_found_again(server, capfd):
    assert datasets.mnist("test", 3)[1].tolist() == [0, 1, 2]
    assert "MNIST" in capfd.readouterr().err  # the bar
    assert datasets.mnist("train", 2)[0].shape == (2, 784) and server.asked == 1
    assert capfd.readouterr().err == "" and [p.name for p in files(server.cache)] == ["mnist.npz"]


def test_a_copy_that_was_damaged_later_is_fetched_again(server):
    datasets.mnist("test", 1)
    (server.cache / "elbo-room/mnist.npz").write_bytes(server.body[:1000])
    assert datasets.mnist("test", 3)[1].tolist() == [0, 1, 2] and server.asked == 2


@pytest.mark.parametrize("what", ["half", "another file", "not found", "no server"])
def test_a_download_that_fails_says_what_to_do_and_leaves_nothing(what, server, monkeypatch):
    if what == "half":
        server.body = server.body[:len(server.body) // 2]  # the connection closes in the middle
    elif what == "another file":
        server.body = b"<html>please log in</html>"
        server.length = len(server.body)
    elif what == "not found":
        server.status = 404
    else:
        server.shutdown()
        server.server_close()
    with pytest.raises(ConnectionError) as error:
        datasets.mnist()
    said = str(error.value)
    assert "could not be downloaded" in said and "ELBO_ROOM_DATA" in said and datasets.MNIST_URL in said and "\n" not in said
    assert files(server.cache) == []


def test_a_download_that_is_interrupted_leaves_nothing(server, monkeypatch):
    import pooch

    class Stopped(pooch.HTTPDownloader):
        def __call__(self, url, file, *rest, **others):
            Path(getattr(file, "name", file)).write_bytes(b"the first half")
            raise KeyboardInterrupt
    monkeypatch.setattr("pooch.HTTPDownloader", Stopped)
    with pytest.raises(KeyboardInterrupt):
        datasets.mnist()
    assert files(server.cache) == []


def broken(kind, path, whole):
    """Write a file that is wrong in one way."""
    if kind == "cut off":
        path.write_bytes(whole[:len(whole) // 2])
    elif kind == "flipped":  # zip knows a checksum of each array
        middle = len(whole) // 4
        path.write_bytes(whole[:middle] + bytes(b ^ 255 for b in whole[middle:middle + 50]) + whole[middle + 50:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "page":
        path.write_text("<html>please log in</html>")
    elif kind == "one array":
        with io.BytesIO() as file:
            np.save(file, np.zeros(3))
            path.write_bytes(file.getvalue())
    elif kind == "pickle":
        np.savez(path, x_train=np.array([{}], dtype=object), y_train=np.zeros(1))
    elif kind == "other names":
        np.savez(path, images=np.zeros(3))
    elif kind == "fewer":
        mnist_file(path, train=50_000)
    elif kind == "floats":
        mnist_file(path, dtype=np.float32)
    elif kind == "labels":
        mnist_file(path, top=12)


@pytest.mark.parametrize("kind", ["cut off", "flipped", "empty", "page", "one array", "pickle", "other names", "fewer", "floats", "labels"])
def test_a_wrong_file_ends_in_one_sentence(kind, mnist, tmp_path):
    path = tmp_path / "mine.npz"
    broken(kind, path, mnist.read_bytes())
    before = path.read_bytes()
    with pytest.raises(ValueError) as error:
        datasets.mnist(file=path)
    said = str(error.value)
    assert "mine.npz" in said and datasets.MNIST_URL in said and "\n" not in said
    assert path.read_bytes() == before  # a student's file is never touched


def test_a_file_that_is_not_there_and_arguments_that_cannot_work(mnist, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="file says .*nowhere.npz.*give the path"):
        datasets.mnist(file=tmp_path / "nowhere.npz")
    monkeypatch.setenv("ELBO_ROOM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="ELBO_ROOM_DATA says"):
        datasets.mnist()
    with pytest.raises(ValueError, match='split is \'valid\', but it must be "train" or "test"'):
        datasets.mnist("valid", file=mnist)
    with pytest.raises(ValueError, match="only 10000 images"):
        datasets.mnist("test", 10_001, file=mnist)
    with pytest.raises(TypeError, match="rng is 3"):
        datasets.mnist("test", 1, rng=3, file=mnist)
