"""The training loop: it minimises, slices, reports, stops cleanly, says what is wrong, and is silent where nobody watches."""

import io
import subprocess
import sys

import ipywidgets as W
import numpy as np
import pytest
import torch

from course_utils import training
from course_utils.training import fit, one_epoch


def line(n=100, seed=0):
    """Points on a line with noise, and a linear loss with its exact minimiser."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=n))
    y = 2 * x - 1 + 0.1 * torch.tensor(rng.normal(size=n))
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    return x, y, theta, lambda x, y: ((theta[0] * x + theta[1] - y)**2).mean()


def test_it_finds_least_squares():
    x, y, theta, loss = line()
    losses = fit(loss, [theta], x, y, epochs=200, batch_size=100, lr=0.05, rng=np.random.default_rng(0))
    exact = np.polyfit(x, y, 1)
    assert np.allclose(theta.detach(), exact, atol=1e-3) and len(losses) == 200 and losses[-1] < 0.02 < losses[0]
    assert losses[-1] == pytest.approx(loss(x, y).item(), rel=1e-2)


def test_the_mean_loss_weighs_a_smaller_last_batch_by_its_rows():
    x = torch.arange(7.0)
    still = torch.zeros(1, requires_grad=True)
    losses = fit(lambda x: x.mean() + 0 * still.sum(), [still], x, epochs=2, batch_size=3, lr=0.1, rng=np.random.default_rng(0))
    assert losses == [pytest.approx(3.0), pytest.approx(3.0)]


def test_every_row_once_an_epoch_sliced_together_in_a_new_order():
    x, seen = torch.arange(10.0), []
    still = torch.zeros(1, requires_grad=True)

    def loss(a, b):
        assert torch.equal(a + 100, b)
        seen.append(a.tolist())
        return 0 * still.sum()
    fit(loss, [still], x, x + 100, epochs=2, batch_size=4, lr=0.1, rng=np.random.default_rng(1))
    assert [len(s) for s in seen] == [4, 4, 2, 4, 4, 2]
    first, second = sum(seen[:3], []), sum(seen[3:], [])
    assert sorted(first) == sorted(second) == x.tolist() and first != second


def test_the_same_seed_gives_the_same_losses():
    runs = []
    for _ in range(2):
        x, y, theta, loss = line()
        runs.append(fit(loss, [theta], x, y, epochs=5, batch_size=7, lr=0.1, rng=np.random.default_rng(3)))
    assert runs[0] == runs[1]


def test_report_is_told_of_every_epoch():
    x, y, theta, loss = line()
    told = []
    losses = fit(loss, [theta], x, y, epochs=4, batch_size=50, lr=0.1, rng=np.random.default_rng(0), report=lambda *a: told.append(a))
    assert told == list(zip([1, 2, 3, 4], losses))


@pytest.mark.parametrize("where", ["report", "loss"])
def test_an_interrupt_keeps_the_model_and_the_losses(capsys, where):
    x, y, theta, loss = line()
    calls = []

    def report(epoch, _):
        if where == "report" and epoch == 3:
            raise KeyboardInterrupt

    def interrupted(*batch):
        calls.append(1)
        if where == "loss" and len(calls) == 6:
            raise KeyboardInterrupt
        return loss(*batch)
    threads = torch.get_num_threads()
    losses = fit(interrupted, [theta], x, y, epochs=50, batch_size=50, lr=0.1, rng=np.random.default_rng(0), report=report)
    assert len(losses) == (3 if where == "report" else 2) and theta.abs().sum() > 0 and torch.get_num_threads() == threads
    assert "stopped in epoch" in capsys.readouterr().out


def test_one_thread_while_it_trains_and_what_was_before_after_it():
    x, y, theta, loss = line()
    during, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(loss, [theta], x, y, epochs=1, batch_size=50, lr=0.1, rng=np.random.default_rng(0),
            report=lambda *_: during.append(torch.get_num_threads()))
        assert during == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_loss_that_is_not_finite_stops_it_at_once():
    x, y, theta, _ = line()
    with pytest.raises(FloatingPointError, match="after epoch 1 of 9.*lesson 06"):
        fit(lambda x, y: torch.log(-theta.sum()**2 - 1), [theta], x, y, epochs=9, batch_size=50, lr=0.1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("change, sentence", [
    (dict(parameters=[]), "no parameters"), (dict(parameters=[torch.zeros(2)]), "requires_grad"), (dict(data=()), "slices"),
    (dict(data=(torch.zeros(3), torch.zeros(4))), r"\[3, 4\]"), (dict(data=(torch.zeros(0),)), "at least one"),
    (dict(epochs=0), "epochs is 0"), (dict(batch_size=0), "batch_size is 0"), (dict(rng=0), "random generator")])
def test_arguments_that_cannot_work_get_one_sentence(change, sentence):
    x, y, theta, loss = line()
    given = dict(parameters=[theta], data=(x, y), epochs=1, batch_size=10, rng=np.random.default_rng(0)) | change
    with pytest.raises(ValueError, match=sentence) as e:
        fit(loss, given.pop("parameters"), *given.pop("data"), lr=0.1, **given)
    assert "\n" not in str(e.value)


def test_one_epoch_moves_down():
    x, y, theta, loss = line()
    before = loss(x, y).item()
    mean = one_epoch(loss, torch.optim.SGD([theta], lr=0.1), (x, y), 25, np.random.default_rng(0))
    assert loss(x, y).item() < mean < before


def test_silent_where_nobody_watches(capfd):
    x, y, theta, loss = line()
    fit(loss, [theta], x, y, epochs=3, batch_size=50, lr=0.1, rng=np.random.default_rng(0))
    assert capfd.readouterr() == ("", "")


def test_one_line_at_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    x, y, theta, loss = line()
    fit(loss, [theta], x, y, epochs=3, batch_size=50, lr=0.1, rng=np.random.default_rng(0))
    assert screen.getvalue().count("\r") == 3 and "epoch 3 of 3" in screen.getvalue() and screen.getvalue().count("\n") == 1


def test_the_bar_follows_and_says_how_it_ended(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append(a[0]))
    bar = training._Bar(4)
    assert list(shown[0]) == [training.VIEW], "nothing but the live view: nothing is left in a saved notebook"
    bar.show(1, 2.0)
    bar.next = float("inf")
    bar.show(3, 1.0)
    assert (bar.bar.value, bar.bar.max) == (1, 4), "not more than ten messages a second"
    bar.done()
    assert bar.bar.value == 3 and bar.bar.bar_style == "warning" and "epoch 3 of 4   loss 1.0000" == bar.text.value
    bar.begin(2).show(2, 0.5)
    bar.done()
    assert bar.bar.value == bar.bar.max == 2 and bar.bar.bar_style == "success"
    before = len(W.widgets.widget._instances) if hasattr(W.widgets.widget, "_instances") else None
    bar.close()
    assert bar.widget.comm is None and (before is None or len(W.widgets.widget._instances) < before)


def test_trainings_of_one_run_share_a_bar(monkeypatch):
    shown, run = [], [("cell", "run 1")]
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append(a[0]))
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": None})())
    monkeypatch.setattr(training, "run_id", lambda: run[0])
    monkeypatch.setattr(training, "_last_bar", None)
    first, second = training._progress(3), training._progress(5)
    assert first is second and len(shown) == 1 and second.bar.max == 5
    run[0] = ("cell", "run 2")
    assert training._progress(3) is not first and len(shown) == 2
    run[0] = None
    assert training._progress(3) is not training._progress(3)


def test_importing_it_changes_no_setting():
    code = "import torch; torch.set_num_threads(2); import course_utils.training; print(torch.get_num_threads())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "2"


def test_a_learning_rate_may_depend_on_how_much_is_done():
    rates, moved = [], torch.zeros(1, requires_grad=True)
    x, before = torch.arange(7.0), []

    def loss(x):
        before.append(moved.item())
        return moved.sum() + 0 * x.sum()

    def lr(done):
        rates.append(done)
        return 0.1 * (1 - done)
    fit(loss, [moved], x, epochs=2, batch_size=3, lr=lr, rng=np.random.default_rng(0))
    assert rates == [0.0, *(i / 6 for i in range(6))]  # once to begin with, then before each of the 2 x 3 steps
    steps = -np.diff([*before, moved.item()])         # a constant gradient: Adam moves by the learning rate itself
    assert steps == pytest.approx([0.1 * (1 - i / 6) for i in range(6)], rel=1e-4)


def test_large_networks_take_the_fused_adam_and_get_the_same_result():
    results = []
    for hidden in (40, 400):  # 32 thousand weights and 321 thousand
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(400, 2 * hidden), torch.nn.ReLU(), torch.nn.Linear(2 * hidden, 1))
        twin = torch.nn.Sequential(torch.nn.Linear(400, 2 * hidden), torch.nn.ReLU(), torch.nn.Linear(2 * hidden, 1))
        twin.load_state_dict(net.state_dict())
        x = torch.randn(64, 400)
        fit(lambda x: net(x).square().mean(), net.parameters(), x, epochs=3, batch_size=16, lr=1e-3, rng=np.random.default_rng(0))
        plain, rng = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=False), np.random.default_rng(0)
        for _ in range(3):
            one_epoch(lambda x: twin(x).square().mean(), plain, (x,), 16, rng)
        results.append(max((a - b).abs().max().item() for a, b in zip(net.parameters(), twin.parameters(), strict=True)))
    assert results[0] == 0 and results[1] < 1e-5


def test_an_accelerator_where_there_is_one_and_a_clear_error_where_there_is_none():
    assert training.pick_device("cpu") == torch.device("cpu")
    expected = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    assert training.pick_device() == expected
    with pytest.raises(ValueError, match='device is \'vulcan\'.*write device="auto"'):
        training.pick_device("vulcan")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='device is \'cuda\', which does not work here'):
            training.pick_device("cuda")
