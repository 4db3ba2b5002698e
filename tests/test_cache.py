"""Kept results: found again when nothing has changed, computed anew when anything has, and never trusted blindly."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from course_utils import cache
from course_utils.cache import fingerprint, remember
from course_utils.training import fit


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ELBO_ROOM_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def script(source, name="__lesson__"):
    """The names that a lesson's cell would define."""
    scope = {"__name__": name, "np": np, "torch": torch, "runs": []}
    exec(textwrap.dedent(source), scope)
    return scope


SOURCE = """
    scale = 2.0
    def helper(x):
        return scale * x
    def work(x, n):
        count()
        return {"y": helper(x) + n, "n": n, "half": np.float32(0.1)}
"""


def counted(source=SOURCE):
    """work() of the source, and a list that grows each time it really runs. count is a builtin: it is not looked into."""
    runs = []
    scope = script(source)
    scope["__builtins__"] = {**vars(__import__("builtins")), "count": lambda: runs.append(1)}
    exec(textwrap.dedent(source), scope)
    return scope["work"], runs


X = np.linspace(0, 1, 7)


def test_the_second_time_it_comes_from_disk_equal_to_the_bit(place):
    work, runs = counted()
    first, second = remember(work, X, 3), remember(work, X, 3)
    assert len(runs) == 1 and len(list(place.iterdir())) == 1
    assert first.keys() == second.keys() == {"y", "n", "half"}
    for k in first:
        assert first[k].dtype == second[k].dtype and first[k].shape == second[k].shape and first[k].tobytes() == second[k].tobytes()


def test_another_process_finds_it_too_and_a_warm_and_a_cold_run_print_the_same(place, tmp_path):
    code = tmp_path / "lesson.py"
    code.write_text("import numpy as np\nfrom course_utils.cache import remember\ndef work(n):\n"
                    "    return {'x': np.random.default_rng(n).standard_normal(5)}\nprint(remember(work, 4)['x'])\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    prints = [subprocess.run([sys.executable, code], env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert prints[0] == prints[1] != "" and len(list(place.iterdir())) == 1


@pytest.mark.parametrize("old, new", [
    ("scale = 2.0", "scale = 2.5"), ("scale * x", "scale + x"), ("helper(x) + n", "helper(x) - n"), ("np.float32(0.1)", "np.float32(0.2)"),
    ("def work(x, n):", "def work(x, n, more=1):")])
def test_a_change_in_the_code_or_in_what_it_refers_to_computes_anew(old, new):
    work, _ = counted()
    remember(work, X, 3)
    changed, runs = counted(SOURCE.replace(old, new))
    remember(changed, X, 3)
    assert len(runs) == 1


@pytest.mark.parametrize("args", [(X, 4), (X + 1e-12, 3), (X.astype(np.float32), 3), (X[:6], 3), (X.reshape(7, 1), 3), (X, 3.0), (X,
    np.int64(3))])
def test_another_argument_computes_anew(args):
    work, runs = counted()
    remember(work, X, 3)
    remember(work, *args)
    assert len(runs) == 2


def test_moving_a_cell_or_a_comment_changes_nothing():
    work, _ = counted()
    remember(work, X, 3)
    moved, runs = counted("\n\n" + SOURCE.replace("count()", "count()  # counted"))
    remember(moved, X, 3)
    assert runs == []


class Net(torch.nn.Module):
    def __init__(self, start=1.0, power=1):
        super().__init__()
        self.layer, self.power = torch.nn.Linear(2, 1), power
        with torch.no_grad():
            for p in self.parameters():
                p.fill_(start)

    def forward(self, x):
        return self.layer(x)**self.power


def train(net, steps):
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        loss = (net(torch.ones(3, 2)) - 1).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return {"losses": losses}


def test_a_model_is_put_back_as_it_was_after_training(monkeypatch):
    first, second = Net(), Net()
    losses = remember(train, first, 3)["losses"]
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *_: pytest.fail("trained again"))
    again = remember(train, second, 3)["losses"]
    assert (losses == again).all() and len(losses) == 3
    for a, b in zip(first.parameters(), second.parameters()):
        assert torch.equal(a, b) and b.requires_grad and a.dtype == b.dtype


@pytest.mark.parametrize("net", [Net(start=1.5), Net(power=2), torch.nn.Sequential(Net())])
def test_another_start_or_another_setting_of_the_model_trains_anew(net, place):
    remember(train, Net(), 2)
    remember(train, net, 2)
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("spoil", [
    lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"no archive"), lambda p: p.write_bytes(p.read_bytes()[:-40]),
    lambda p: p.write_bytes(p.read_bytes()[:200]), lambda p: p.write_bytes(bytes([b ^ 255 if 300 < i < 320 else b for i,
                                                                                  b in enumerate(p.read_bytes())])),
    lambda p: np.savez(p, key=np.array("another"), **{"r:y": np.zeros(7)}), lambda p: np.savez(p, nothing=np.zeros(2)),
    lambda p: np.savez(p, key=np.array([None], dtype=object))])
def test_a_damaged_or_foreign_file_is_ignored_and_written_again(place, spoil):
    work, runs = counted()
    right = remember(work, X, 3)
    (path,) = place.iterdir()
    spoil(path)
    again = remember(work, X, 3)
    assert len(runs) == 2 and all((right[k] == again[k]).all() for k in right)
    assert remember(work, X, 3) and len(runs) == 2, "the file should be whole again"
    assert [p.name for p in place.iterdir()] == [path.name]


def test_no_single_wrong_byte_ever_gives_a_wrong_result(place):
    work, _ = counted()
    right = remember(work, X, 3)
    (path,) = place.iterdir()
    whole = path.read_bytes()
    key = fingerprint(work, (X, 3))
    assert cache._read(path, key) is not None
    for i in range(0, len(whole), 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1:])
        stored = cache._read(path, key)
        assert stored is None or all(stored[f"r:{k}"].tobytes() == v.tobytes() for k, v in right.items()), i


def test_a_file_with_weights_of_another_shape_is_ignored(place):
    remember(train, Net(), 1)
    (path,) = place.iterdir()
    with np.load(path) as file:
        arrays = {k: file[k] for k in file.files}
    name = next(k for k in arrays if k.startswith("m:0:layer.weight"))
    arrays.pop("sum")
    cache._write(path, {**arrays, name: np.zeros((5, 5), np.float32)})
    net = Net()
    remember(train, net, 1)
    assert net.layer.weight.shape == (1, 2) and not torch.equal(net.layer.weight, Net().layer.weight)


def test_no_pickle_is_ever_read_or_written(place):
    remember(train, Net(), 1)
    (path,) = place.iterdir()
    with np.load(path, allow_pickle=False) as file:
        assert all(file[k].dtype.kind in "biufU" for k in file.files)
    with pytest.raises(TypeError, match="only numbers"):
        remember(returns_objects)


def returns_objects():
    return {"x": np.array([{}, None])}


def returns_a_number():
    return 3.0


def test_what_cannot_be_kept_is_said_in_one_sentence():
    with pytest.raises(TypeError, match="dict"):
        remember(returns_a_number)
    work, _ = counted()
    with open(os.devnull) as file:
        for thing in (iter([1]), torch.Generator(), np.random.default_rng(0), file):
            with pytest.raises(TypeError, match="cannot be read for the cache") as e:
                remember(work, thing, 1)
            assert "\n" not in str(e.value)


@pytest.mark.parametrize("body", [
    "x += 1; return {'y': x}", "x[0, 0] = 5.0; return {'y': x}", "notes.append(1); return {'y': x}", "return {'y': torch.randn(2)}",
    "return {'y': np.random.random(2)}", "import random; return {'y': random.random()}"])
def test_what_is_no_function_of_its_arguments_is_never_kept(place, body):
    work = script(f"notes = []\ndef work(x):\n    notes\n    {body}")["work"]
    remember(work, torch.zeros(2, 2))
    assert not place.exists() or list(place.iterdir()) == []


def train_both(nets):
    for net in nets.values():
        train(net, 1)
    return {}


def test_models_inside_a_dict_are_put_back_too(place, monkeypatch):
    remember(train_both, {"a": Net(), "b": Net(2.0)})
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *_: pytest.fail("trained again"))
    again = {"a": Net(), "b": Net(2.0)}
    remember(train_both, again)
    assert not torch.equal(again["a"].layer.weight, Net().layer.weight)
    assert not torch.equal(again["b"].layer.weight, Net(2.0).layer.weight)


def test_a_training_that_was_interrupted_is_not_kept(place):
    """fit swallows the interrupt and returns the losses so far: they are no result of these arguments."""
    def press(epoch, _):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    def work(net, epochs, interrupt):
        return {"losses": fit(lambda x: (net(x) - 1).pow(2).mean(), net.parameters(), torch.ones(3, 2), epochs=epochs, batch_size=3, lr=0.1,
                              rng=np.random.default_rng(0), report=press if interrupt else None)}

    before = signal.getsignal(signal.SIGINT)
    assert len(remember(work, Net(), 5, True)["losses"]) == 2 and not place.exists()
    assert len(remember(work, Net(), 5, False)["losses"]) == 5 and len(list(place.iterdir())) == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("fails", ["replace", "savez"])
def test_a_full_disk_or_a_read_only_folder_costs_time_only(place, monkeypatch, fails):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if fails == "replace" else np, fails, refuse)
    work, runs = counted()
    assert remember(work, X, 3)["n"] == remember(work, X, 3)["n"] == 3 and len(runs) == 2
    assert list(place.iterdir()) == []


def test_half_written_files_of_yesterday_are_swept_away(place):
    place.mkdir()
    old, new = place / ".part-old.npz", place / ".part-new.npz"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    work, _ = counted()
    remember(work, X, 3)
    assert not old.exists() and new.exists(), "another process may be writing the new one"


def test_where_nothing_can_be_written_it_still_works(tmp_path, monkeypatch):
    work, runs = counted()
    (tmp_path / "a file").write_text("x")
    for value in (str(tmp_path / "a file" / "below"), "off"):
        monkeypatch.setenv("ELBO_ROOM_CACHE", value)
        assert remember(work, X, 3)["n"] == 3 and remember(work, X, 3)["n"] == 3
    assert len(runs) == 4


def test_a_failed_run_leaves_nothing(place):
    def work():
        raise KeyError("x")

    with pytest.raises(KeyError):
        remember(work)
    assert not place.exists() or list(place.iterdir()) == []


def test_only_the_newest_files_of_a_function_stay(place, monkeypatch):
    monkeypatch.setattr(cache, "KEEP", 3)
    work, runs = counted()
    for n in range(6):
        remember(work, X, n)
    assert len(list(place.iterdir())) == 3
    remember(work, X, 5)
    assert len(runs) == 6


def test_the_place_is_the_users_unless_told_otherwise(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "kept"
    monkeypatch.setenv("ELBO_ROOM_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform.startswith("linux"):
        assert cache.folder() == tmp_path / "xdg" / "elbo-room"
    monkeypatch.setenv("ELBO_ROOM_CACHE", "OFF")
    assert cache.folder() is None
    for name in ("ELBO_ROOM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.folder() is None, "a user without a home"


def test_fingerprints_do_not_depend_on_the_process(tmp_path):
    code = ("import sys; sys.path.insert(0, %r)\nfrom course_utils.cache import fingerprint\nfrom course_utils.training import fit\n"
            "def f(x, *, k=('a', 2)):\n    return [fit, x in {'b', 'c', 'd'}, (lambda y: y + k[1])(x)]\nprint(fingerprint(f, {1: 2.5}))"
            % os.path.dirname(os.path.dirname(cache.__file__)))
    runs = {subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
                           check=True).stdout for seed in ("1", "2")}
    assert len(runs) == 1 and len(runs.pop().strip()) == 64


def test_recursion_and_methods_are_followed():
    twice = script("class A:\n    k = 1\n    def f(self):\n        return self.k\ndef g(n):\n    return g(n - 1) if n else A().f()")
    same = script("class A:\n    k = 1\n    def f(self):\n        return self.k\ndef g(n):\n    return g(n - 1) if n else A().f()")
    other = script("class A:\n    k = 1\n    def f(self):\n        return self.k + 1\ndef g(n):\n    return g(n - 1) if n else A().f()")
    another = script("class A:\n    k = 2\n    def f(self):\n        return self.k\ndef g(n):\n    return g(n - 1) if n else A().f()")
    prints = [fingerprint(s["g"]) for s in (twice, same, other, another)]
    assert prints[0] == prints[1] and len(set(prints)) == 3
