"""explore: sliders that move a matplotlib picture, at once. The ONE interactive pattern of the course.

    def two_gaussians(fig):                            # runs once: draw everything, keep what will move
        ax = fig.subplots()
        q = plots.curve(ax, x, 0 * x, "q")
        def update(mu=0.0, log_sigma=0.0):             # runs per move; the defaults are the start values
            q.set(normal_pdf(x, mu, np.exp(log_sigma)))        # only sets data on artists
            return f"KL(q||p) = {kl(mu, log_sigma):.3f} nats"  # shown under the sliders
        return update

    explore(two_gaussians, alt="Densities of q and p", mu=(-3, 3), log_sigma=(-2, 1))

How it is fast: what update() touches is found out (matplotlib marks it stale), redrawn over a cached picture of the rest,
and sent as a lightly compressed PNG into one image widget. A change to anything else (limits, a new artist, a title)
redraws everything: right, but about ten times slower. Text in the figure costs 0.1 ms a character: return it instead.
"""

import base64
import html
import inspect
import math
import struct
import threading
import traceback

import ipywidgets as W
import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.legend import Legend
from matplotlib.spines import Spine
from matplotlib.text import Text
from traitlets import Unicode

try:
    from isal.isal_zlib import compress, crc32  # the same format, about six times faster
except ImportError:  # no build for this machine
    from zlib import compress, crc32

from . import plots
from .accessible import Names
from .widgets import close_previous, close_tree, publish

GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ", "lambda": "λ", "mu": "μ",
         "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ"}


class Picture:
    """A figure drawn off-screen, of which only what moves is redrawn. `draw()` returns (height, width, 4) bytes."""

    def __init__(self, fig):
        self.fig, self.canvas = fig, FigureCanvasAgg(fig)
        self.canvas.draw()  # from here on, what is stale is what update() has touched
        self._still, self._moving = None, []

    def draw(self):
        """The figure as it is now, equal to `savefig` bit for bit."""
        for ax in self.fig.axes:
            ax.viewLim  # settles an autoscale that is due; if that changes the limits, the figure is stale
        if self._still is None or self.fig.stale:  # an animated artist does not pass its staleness on: this is news
            self._find_what_moves()
        self.canvas.restore_region(self._still)
        for artist in self._moving:
            self.fig.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())

    def _find_what_moves(self):
        """Take what update() touches, and whatever lies above it, out of the cached picture. Text stays in: it is slow."""
        parts = [[a for a in self.fig.get_children() if a not in self.fig.axes and a is not self.fig.patch]]
        parts += [[a for a in ax.get_children() if a is not ax.patch and not isinstance(a, Axis)] for ax in self.fig.axes]
        self._moving = []
        for artists in parts:
            artists = sorted((a for a in artists if not isinstance(a, Spine) or a.axes.axison), key=lambda a: a.zorder)
            lowest = next((i for i, a in enumerate(artists) if a.get_animated() or a.stale), len(artists))
            above = [a for i, a in enumerate(artists) if i >= lowest
                     and (a.stale or a.get_animated() or not isinstance(a, (Text, Legend)))]
            for a in above:
                a.set_animated(True)
            self._moving += above
        self.canvas.draw()  # leaves out what is animated
        self.fig.set_layout_engine("none")  # laid out once: nothing that moves may push the axes about
        self._still = self.canvas.copy_from_bbox(self.fig.bbox)


def fast_png(rgba):
    """(height, width, 4) bytes as a lossless PNG: the lightest compression and no row filter, several times faster than Pillow."""
    h, w = rgba.shape[:2]
    rows = np.zeros((h, 1 + 4 * w), np.uint8)
    rows[:, 1:] = rgba.reshape(h, -1)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">2I5B", w, h, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compress(rows, 1)) + chunk(b"IEND", b"")


class ImageWidget(W.Image):
    # ipywidgets 8.1's view fails on Image(tooltip=...) unless there is a description; the tooltip is what names the image
    description = Unicode("").tag(sync=True)


def _image(alt, width):
    image = ImageWidget(format="png", width=width, layout=W.Layout(max_width="calc(100% - 4px)", object_fit="contain"))
    if image.has_trait("tooltip"):
        image.tooltip = alt
    return image


def _bundle(fig, sentence, width):
    """What a saved notebook shows without a kernel: the picture, and a sentence for a screen reader."""
    still = base64.b64encode(plots.png(fig)).decode()
    return {"image/png": still, "text/plain": sentence}, {"image/png": {"width": width}}


class Still:
    """A picture without sliders, under its accessible name."""

    def __init__(self, fig, alt):
        if not alt:
            raise ValueError('a picture needs alt="one sentence that says what is to be seen"')
        self.fig, self.alt, self.width = fig, alt, round(fig.get_figwidth() * 100)

    def _ipython_display_(self):
        bundle, metadata = _bundle(self.fig, f"[{self.alt}]", self.width)
        image = _image(self.alt, self.width)
        image.value = base64.b64decode(bundle["image/png"])
        self.widget = W.VBox([image])
        close_previous(self)
        publish(self.widget, bundle, metadata)

    def close(self):
        """Free what the notebook's front end and ipywidgets hold of this picture."""
        close_tree(self.widget)


def _nice_step(low, high):
    """About a hundred steps, of a length 1, 2 or 5 × 10^k."""
    rough = (high - low) / 100
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (5, 2, 1) if m * power <= rough * (1 + 1e-9))


def _number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _slider(name, spec, start, where):
    """(lo, hi) or (lo, hi, step) -> the keyword arguments of a slider, after every test an author may need."""
    if len(spec) not in (2, 3) or not all(_number(v) for v in spec):
        raise ValueError(f"{where}: {name}={spec} should be (low, high) or (low, high, step), of finite numbers")
    low, high = spec[:2]
    if low >= high:
        raise ValueError(f"{where}: the range {name}={spec} is empty; write (low, high) with low < high")
    if not _number(start) or not low <= start <= high:
        raise ValueError(f"{where}: {name} starts at {start!r}, outside its range ({low:g}, {high:g})")
    whole = all(isinstance(v, (int, np.integer)) for v in (start, *spec))
    step = spec[2] if len(spec) == 3 else 1 if whole else _nice_step(low, high)
    if not 0 < step <= high - low:
        raise ValueError(f"{where}: the step {step:g} of {name} should be positive and within the range ({low:g}, {high:g})")
    steps = (start - low) / step
    if abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"{where}: {name} starts at {start:g}, which no step of {step:g} from {low:g} reaches; "
                         "change the start, the range or the step")
    digits = next((d for d in range(9) if abs(step * 10**d - round(step * 10**d)) < 1e-6
                   and abs(low * 10**d - round(low * 10**d)) < 1e-6), 8)
    return W.IntSlider if whole else W.FloatSlider, dict(
        min=low, max=high, step=step, **({} if whole else {"readout_format": f".{digits}f"}))


def _title(name):
    """`log_sigma` -> `log σ`, `x1` -> `x₁`: what is written beside a control."""
    words = [GREEK.get(w, w) for w in name.split("_")]
    return " ".join(w[:-1] + "₀₁₂₃₄₅₆₇₈₉"[int(w[-1])] if len(w) == 2 and w[-1].isdigit() else w for w in words)


def _control(name, spec, start, live, title, where, indent):
    """(lo, hi[, step]) -> slider, list or dict -> menu, bool -> checkbox, a widget -> itself (to share one)."""
    if isinstance(spec, W.Widget):
        return spec
    kw = dict(value=start, description=title, style={"description_width": f"{indent:.1f}em"},
              layout=W.Layout(width="34em", max_width="calc(100% - 4px)"))  # a widget's own margin is 2 px
    if isinstance(spec, bool):
        if not isinstance(start, bool):
            raise ValueError(f"{where}: {name} is a checkbox, so update() should start it at True or False, not {start!r}")
        return W.Checkbox(**kw, indent=True)
    if isinstance(spec, tuple):
        kind, more = _slider(name, spec, start, where)
        return kind(**kw, **more, continuous_update=live)
    if not isinstance(spec, (list, dict)) or not spec:
        raise ValueError(f"{where}: {name}={spec!r} should be (low, high), a list or dict to choose from, or True/False")
    if start not in (spec.values() if isinstance(spec, dict) else spec):
        raise ValueError(f"{where}: {name} starts at {start!r}, which is not among its choices {list(spec)}")
    return W.Dropdown(options=spec, **kw)


class Explorer:
    """Sliders over a picture; see the module's first lines. Call it by its name `explore`.

    Parameters
    ----------
    setup : function(fig) -> update. Draws once into a matplotlib Figure; its name is the explorer's name.
        update(**controls) sets data on artists and returns the readout, one line. Every argument has a default: the start.
    alt : one sentence that says what is to be seen; the picture's accessible name.
    size : inches; at most 8.5 wide, to fit a notebook page.
    predict : a question from `quiz.predict`. The sliders stay locked until it is answered; update() then gets the
        answer as `prediction`, which is None before.
    live : False redraws when a slider is let go, not while it moves (for slow lines to a remote hub).
    labels : {control: text} for what is written beside a control, where its name does not say it.
    **controls : (low, high) or (low, high, step) a slider; a list or dict a menu; True or False a checkbox; or an
        ipywidget, which several explorers may share.

    Raises ValueError or TypeError with one sentence that names the explorer, the control and what to write.
    """

    def __init__(self, setup, *, alt="", size=(8.5, 4.0), predict=None, live=True, labels=None, **controls):
        self.name = getattr(setup, "__name__", "explorer")
        where = f"explore({self.name})"
        if not alt:
            raise ValueError(f'{where}: give alt="one sentence that says what is to be seen"')
        self.alt, self.gate, self.text = alt, predict, ""
        self._lock, self._quiet = threading.RLock(), False
        self.fig = plots.figure(*size)
        self._update = setup(self.fig)
        start = self._starts(where, controls)
        self._shared = [c for c in controls.values() if isinstance(c, W.Widget)]
        titles = {k: (labels or {}).get(k, _title(k)) for k in controls}
        if too_long := [t for t in titles.values() if len(t) > 32]:
            raise ValueError(f"{where}: the label {too_long[0]!r} leaves no room for its slider; write at most 32 characters")
        self._indent = max(9, 0.62 * max(map(len, titles.values()), default=0))  # em: room for the longest label
        self.controls = {k: _control(k, s, start[k], live, titles[k], where, self._indent) for k, s in controls.items()}
        self._start = self.values
        self._picture = Picture(self.fig)
        self._build(round(size[0] * 100), titles)
        self._draw()  # an error in the first update is an ordinary error of the cell
        for c in self.controls.values():
            c.observe(self._changed, "value")
        if self.locked:
            predict.on_answer(self._unlock)

    def _starts(self, where, controls):
        """The start value of each control, from update's own signature."""
        if not callable(self._update):
            raise TypeError(f"{where}: {self.name}(fig) should return its update function, not {self._update!r}")
        starts = {k: p.default for k, p in inspect.signature(self._update).parameters.items()}
        for k, value in starts.items():
            if value is inspect.Parameter.empty:
                raise TypeError(f"{where}: update() has no start value for {k!r}; write {k}=... in its definition")
        if ("prediction" in starts) != (self.gate is not None):
            raise TypeError(f"{where}: predict=... and an argument prediction=None of update() go together; one is missing")
        starts.pop("prediction", None)
        for k in controls:
            if k not in starts:
                raise TypeError(f"{where}: update() takes no {k!r}; it takes {', '.join(starts) or 'nothing'}")
        for k in starts:
            if k not in controls:
                raise TypeError(f"{where}: update() takes {k!r}, which has no control; add {k}=(low, high)")
        return starts

    def _build(self, width, titles):
        self.image = _image(self.alt, width)
        self.readout, self.error = W.HTML(), W.HTML()
        reset = W.Button(description="Reset", tooltip="Put every control back to its start",
                         layout=W.Layout(margin=f"2px 0 2px {self._indent + 0.4:.1f}em", width="7em"))
        reset.on_click(lambda _: self.set(**self._start))
        self._locked = [*self.controls.values(), reset]
        below = [reset] if self.controls else []
        names = Names(alt=self.alt, ranges=[[titles[k], c.min, c.max] for k, c in self.controls.items() if hasattr(c, "max")])
        self.widget = W.VBox([*self.controls.values(), *below, self.readout, self.error, self.image, names])
        self.widget.add_class("elbo-explorer")
        if self.locked:
            for c in self._locked:
                c.disabled = True

    @property
    def values(self):
        """What the controls say now: name -> value. A browser's 0.30000000000000004 is 0.3 here."""
        return {k: round(c.value, 10) if isinstance(c.value, float) else c.value for k, c in self.controls.items()}

    @property
    def locked(self):
        """Whether the sliders still wait for a prediction."""
        return self.gate is not None and not self.gate.answered

    def set(self, **values):
        """Move several controls, then draw once. Errors in update() are shown under the sliders and raised."""
        for k in values:
            if k not in self.controls:
                raise TypeError(f"explore({self.name}) has no control {k!r}; it has {', '.join(self.controls)}")
        with self._lock:
            self._quiet = True
            try:
                for k, v in values.items():
                    self.controls[k].value = v
            finally:
                self._quiet = False
            self._changed()

    def _unlock(self):
        for c in self._locked:
            c.disabled = False
        self._changed()

    def _changed(self, _=None):
        with self._lock:  # JupyterLab 4.4+ runs widget callbacks in a thread of their own
            if self._quiet or self._picture is None:  # closed: a last move may still be on its way
                return
            try:
                self._draw()
                self.error.value = ""
            except Exception as e:  # a slider's error would reach only the server's log: show it to the student
                frames = traceback.extract_tb(e.__traceback__)
                lines = "".join(traceback.format_list([f for f in frames if f.filename != __file__][-3:]))
                self.error.value = (
                    "<pre role='alert' style='color:var(--jp-error-color1, #b00020); white-space:pre-wrap; line-height:1.3'>"
                    + html.escape(f"The picture below is out of date: update() failed for {self.values}\n{lines}"
                                  f"{type(e).__name__}: {e}", quote=False) + "</pre>")
                raise

    def _draw(self):
        more = {} if self.gate is None else {"prediction": self.gate.value}
        self.text = self._update(**self.values, **more) or ""
        self.image.value = fast_png(self._picture.draw())
        lock = "Answer the question above to unlock the sliders.\n" if self.locked else ""
        self.readout.value = f"<pre style='margin:0; white-space:pre-wrap'>{html.escape(lock + self.text)}</pre>"

    def _ipython_display_(self):
        close_previous(self)
        bundle, metadata = _bundle(self.fig, f"[{self.alt}] {self.text}", self.image.width)
        publish(self.widget, bundle, metadata)

    def __repr__(self):
        return f"explore({self.name}, {', '.join(self.controls)})"

    def close(self):
        """Free the figure and every widget of this explorer, but not the controls that it shares."""
        for c in self.controls.values():
            c.unobserve(self._changed, "value")
        if self.gate is not None:
            self.gate.off_answer(self._unlock)
        close_tree(self.widget, keep=self._shared)
        self.fig.clear()
        self.fig = self._picture = self._update = None  # Jupyter's Out[] keeps this object, but need not keep its pictures


explore = Explorer
