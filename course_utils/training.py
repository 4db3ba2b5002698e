"""The training loop of the course, once lesson 06 has shown it: slices of tensors, Adam, a progress bar, a clean stop.

`fit(loss, parameters, *data, ...)` runs `one_epoch`, which lesson 06 shows word for word, as often as it is told. In Jupyter
a bar shows how far it is, at a terminal one line does; nothing is written where nobody watches (a file, a test, nbval).
"""
import itertools
import sys
import time

import torch

from .widgets import VIEW, close_previous, close_tree, run_id


def one_epoch(loss, optimiser, data, batch_size, rng):
    """One pass over the data in random order, a gradient step for each batch. Returns the mean loss over the pass.

    loss: loss(*batch) -> a scalar tensor, a mean over the batch. data: tuple of tensors (N, ...), sliced alike.
    Defined in lesson 06.
    """
    total = 0.0
    for rows in torch.as_tensor(rng.permutation(len(data[0]))).split(batch_size):
        batch_loss = loss(*(d[rows] for d in data))
        optimiser.zero_grad()
        batch_loss.backward()
        optimiser.step()
        total += batch_loss.item() * len(rows)
    return total / len(data[0])


def pick_device(device="auto"):
    """The torch.device to train on: "auto" takes an accelerator where there is one and the CPU elsewhere.

    device: "auto", or what torch.device takes, such as "cpu" or "cuda". Raises ValueError for what is not there.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f'device is {device!r}, which does not work here ({str(error).splitlines()[0]}): write device="auto".') from None
    return chosen


def fit(loss, parameters, *data, epochs, batch_size, lr, rng, report=None, threads=1):
    """Minimise `loss` with Adam. Returns the list of mean losses, one for each finished epoch.

    loss : loss(*batch) -> scalar torch tensor, a mean over the batch.
    parameters : what Adam moves: tensors with requires_grad, such as `model.parameters()`; changed in place.
    *data : tensors (N, ...), which are sliced together in random order. There is no DataLoader: it is slower here.
    epochs, batch_size : passes over the data, rows in a batch (the last may be smaller).
    lr : Adam's step size, or a function lr(done) of the fraction of all steps that is done, 0 <= done < 1.
    rng : numpy.random.Generator for the order of the rows.
    report : report(epoch, mean_loss), called after each epoch, counted from 1; take snapshots of the model there.
    threads : torch threads while it trains. One by default: for networks as small as the course's a second thread only
        gets in the way (measured 25 times slower on a busy machine with two cores). What was set before is restored.

    *Interrupt* (the black square) stops it cleanly: the model keeps what it has learned, the losses so far are returned.
    Raises FloatingPointError at the end of the first epoch whose mean loss is nan or infinite, ValueError for arguments
    that cannot work.
    """
    parameters = list(parameters)
    _check(parameters, data, epochs, batch_size, rng)
    large = sum(p.numel() for p in parameters) > 100_000  # from here on one fused kernel pays; it needs floats on one device
    optimiser = torch.optim.Adam(parameters, lr=lr(0.0) if callable(lr) else lr, fused=large or None)
    if callable(lr):
        steps, total = itertools.count(), epochs * -(-len(data[0]) // batch_size)
        optimiser.register_step_pre_hook(lambda *_: optimiser.param_groups[0].update(lr=lr(next(steps) / total)))
    before, losses = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    progress = _progress(epochs)
    try:
        for epoch in range(1, epochs + 1):
            mean_loss = one_epoch(loss, optimiser, data, batch_size, rng)
            if mean_loss != mean_loss or abs(mean_loss) == float("inf"):
                raise FloatingPointError(f"the loss is {mean_loss} after epoch {epoch} of {epochs}; it was "
                                         f"{losses[-1] if losses else 'never finite'} before: see lesson 06, 'When it goes wrong'.")
            losses.append(mean_loss)
            if report is not None:
                report(epoch, mean_loss)
            progress.show(epoch, mean_loss)
    except KeyboardInterrupt:
        print(f"stopped in epoch {len(losses) + 1} of {epochs}; the model keeps what it has learned so far")
    finally:
        progress.done()
        torch.set_num_threads(before)
    return losses


def _check(parameters, data, epochs, batch_size, rng):
    """One clear sentence for each kind of argument that cannot work."""
    if not parameters:
        raise ValueError("fit has no parameters to move: pass model.parameters(), and not a generator that was used up before.")
    for p in parameters:
        if not isinstance(p, torch.Tensor) or not p.requires_grad:
            raise ValueError("fit can only move tensors with requires_grad=True: pass model.parameters() or a list of such tensors.")
    if not data or any(len(d) != len(data[0]) for d in data) or len(data[0]) == 0:
        raise ValueError(f"fit slices its data together, but their lengths are {[len(d) for d in data]}: "
                         "pass tensors with the same number of rows, at least one.")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs} and batch_size is {batch_size}: both must be at least 1.")
    if not hasattr(rng, "permutation"):
        raise ValueError(f"rng is {rng!r}, but it must be a random generator: write rng=np.random.default_rng(0).")


class _Quiet:
    """No progress to be seen: nobody watches."""

    def show(self, epoch, mean_loss):
        """Say that `epoch` is done."""

    def done(self):
        """The end, however it came."""


class _Line(_Quiet):
    """One line at a terminal, written over and over."""

    def __init__(self, epochs):
        self.epochs = epochs

    def show(self, epoch, mean_loss):
        print(f"\repoch {epoch} of {self.epochs}   loss {mean_loss:.4f}   ", end="", flush=True)

    def done(self):
        print()


class _Bar(_Quiet):
    """A progress bar in a notebook: a widget and nothing else, so that it is no part of the saved notebook.

    Several trainings in one run of a cell share one bar.
    """

    def __init__(self, epochs):
        import ipywidgets as W
        from IPython.display import display

        self.run = run_id()
        self.bar = W.IntProgress(description="training", layout=W.Layout(width="24em", max_width="calc(100% - 4px)"))
        self.text = W.Label()
        self.widget = W.HBox([self.bar, self.text], layout=W.Layout(flex_flow="row wrap"))
        self.widget.add_class("elbo-bar")
        self.begin(epochs)
        close_previous(self)
        display({VIEW: {"model_id": self.widget.model_id, "version_major": 2, "version_minor": 0}}, raw=True)

    def begin(self, epochs):
        """Start from empty, for `epochs` epochs."""
        self.epoch, self.epochs, self.next, self.last = 0, epochs, 0.0, "epoch 0"
        self.bar.max, self.bar.value, self.bar.bar_style, self.text.value = epochs, 0, "", self.last
        return self

    def show(self, epoch, mean_loss):
        self.epoch, self.last = epoch, f"epoch {epoch} of {self.epochs}   loss {mean_loss:.4f}"
        if time.monotonic() >= self.next:  # at most ten messages a second to the browser
            self.next = time.monotonic() + 0.1
            self.bar.value, self.text.value = self.epoch, self.last

    def done(self):
        self.bar.value, self.text.value = self.epoch, self.last
        self.bar.bar_style = "success" if self.epoch == self.epochs else "warning"

    def close(self):
        """Free what the front end and ipywidgets hold of this bar; the next run of its cell does so."""
        close_tree(self.widget)


_last_bar = None


def _progress(epochs):
    """The bar in a notebook, the line at a terminal, silence elsewhere."""
    global _last_bar
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return _Line(epochs) if sys.stdout.isatty() else _Quiet()
    if _last_bar is not None and run_id() is not None and _last_bar.run == run_id():
        return _last_bar.begin(epochs)
    _last_bar = _Bar(epochs)
    return _last_bar
