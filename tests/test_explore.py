"""What a course relies on in explore(): the picture is right, the last value wins, errors are seen, nothing leaks."""

import gc
import io
import threading
import warnings
import weakref

import ipywidgets as W
import numpy as np
import pytest
from PIL import Image

from course_utils import plots
from course_utils.explore import Still, _nice_step, _title, explore, fast_png


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(int)


def savefig(ex):
    out = io.BytesIO()
    ex.fig.savefig(out, format="png", dpi=100)
    return pixels(out.getvalue())


def line_setup(fig):
    (line,) = fig.subplots().plot([0, 1], [0, 1])

    def update(a=0.0, b=1.0):
        line.set_ydata([a, b])
        return f"a = {a:.2f}, b = {b:.2f}"

    return update


def make(setup=line_setup, **kw):
    return explore(setup, **{"alt": "A line that moves", **(kw or dict(a=(0.0, 1.0), b=(0.0, 1.0)))})


def test_png_is_lossless():
    a = np.random.default_rng(0).integers(0, 255, (40, 30, 4), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(fast_png(a)))) == a).all()


def test_the_quick_picture_equals_a_full_redraw_and_keeps_its_background():
    ex = make()
    background = ex._picture._still
    for a in (0.1, 0.5, 0.9):
        ex.set(a=a)
    assert ex._picture._still is background
    assert (pixels(ex.image.value) == savefig(ex)).all()


def setups():
    def limits(fig):
        ax = fig.subplots()
        (line,) = ax.plot([0, 1], [0, 1])

        def update(k=1.0):
            line.set_ydata([0, k])
            ax.set_ylim(0, k)
        return update

    def autoscale(fig):
        ax = fig.subplots()
        (line,) = ax.plot([0, 1], [0, 1])

        def update(k=1.0):
            line.set_ydata([0, k])
            ax.relim()
            ax.autoscale_view()
        return update

    def replaced(fig):
        a, b = fig.subplots(1, 2)
        keep = {}
        image = b.imshow(np.zeros((5, 5)), vmin=0, vmax=1)
        (line,) = a.plot([0, 1], [0, 1], label="x")
        text = a.text(0.5, 0.5, "")

        def update(k=1.0):
            if "c" in keep:
                keep["c"].remove()
            keep["c"] = a.contour(np.add.outer(np.arange(9.0), k * np.arange(9.0)) / 9)
            b.set_title(f"k = {k:.2f}")
            image.set_data(np.full((5, 5), k / 4))
            a.legend([f"line {k:.1f}"])
            text.set_text(f"{k:.3f}")
            b.set_xlabel(f"x {k:.1f}")
            b.set_xticks([0, k])
        return update

    def looks(fig):
        ax = fig.subplots()
        (line,) = ax.plot([0, 1], [0, 1])
        bars = ax.bar([0, 1], [1, 1], alpha=0.4, hatch="//")

        def update(k=1.0):
            line.set_visible(k > 2)
            line.set_color("C3" if k > 1.5 else "C0")
            for bar in bars:
                bar.set_height(k / 2)
        return update

    def no_axes(fig):
        ax = fig.subplots()
        ax.axis("off")
        (line,) = ax.plot([0, 1], [0, 1])

        def update(k=1.0):
            line.set_ydata([0, k / 4])
        return update

    def house(fig):
        ax = fig.subplots()
        x = np.linspace(0, 1, 30)
        curve, mark = plots.curve(ax, x, x, "posterior"), plots.prediction(ax)

        def update(k=1.0):
            curve.set(k * x)
            mark.set(0.5 if k > 2 else None, 0.5)
        return update

    def ruler(fig):
        r = plots.ruler(fig.subplots(), -4, 0)

        def update(k=1.0):
            r.set(-0.5, -k)
        return update

    return [limits, autoscale, replaced, looks, no_axes, house, ruler]


@pytest.mark.parametrize("setup", setups(), ids=lambda s: s.__name__)
def test_whatever_update_touches_the_picture_is_right(setup):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ex = make(setup, k=(1.0, 4.0))
        for k in (2.0, 3.0, 3.1, 1.0):
            ex.set(k=k)
            assert (pixels(ex.image.value) == savefig(ex)).all()


def test_an_error_in_the_first_update_is_raised_by_the_cell():
    def broken(fig):
        def update(a=0.0):
            raise ZeroDivisionError("no")
        return update
    with pytest.raises(ZeroDivisionError):
        make(broken, a=(0.0, 1.0))


def test_a_later_error_is_shown_escaped_raised_and_cleared():
    def touchy(fig):
        (line,) = fig.subplots().plot([0, 1], [0, 1])

        def update(a=0.0):
            line.set_ydata([0, a])
            if a > 0.5:
                raise ValueError("too <b>large</b>")
        return update
    ex = make(touchy, a=(0.0, 1.0))
    with pytest.raises(ValueError):
        ex.set(a=0.9)
    shown = ex.error.value
    assert "too &lt;b&gt;large" in shown and "role='alert'" in shown and "raise ValueError" in shown and "'a': 0.9" in shown
    ex.set(a=0.2)
    assert ex.error.value == ""


@pytest.mark.parametrize("kw, message", [
    (dict(a=(0.0, 1.0)), "update() takes 'b', which has no control"),
    (dict(a=(0.0, 1.0), b=(0.0, 1.0), c=(0, 1)), "update() takes no 'c'; it takes a, b"),
    (dict(a=(1.0, 0.0), b=(0.0, 1.0)), "the range a=(1.0, 0.0) is empty"),
    (dict(a=(1.0, 1.0), b=(0.0, 1.0)), "is empty"),
    (dict(a=(0.0, 1.0), b=(0.0, 1.0), labels={"b": 33 * "b"}), "leaves no room for its slider"),
    (dict(a=(0.5, 1.0), b=(0.0, 1.0)), "a starts at 0.0, outside its range (0.5, 1)"),
    (dict(a=(-1.0, 1.0, 0.3), b=(0.0, 1.0)), "which no step of 0.3 from -1 reaches"),
    (dict(a=(0.0, 1.0, 2.0), b=(0.0, 1.0)), "the step 2 of a should be positive and within"),
    (dict(a=(0.0, float("inf")), b=(0.0, 1.0)), "of finite numbers"),
    (dict(a=(0.0, "1"), b=(0.0, 1.0)), "of finite numbers"),
    (dict(a=[], b=(0.0, 1.0)), "a list or dict to choose from"),
    (dict(a=["x"], b=(0.0, 1.0)), "not among its choices ['x']"),
    (dict(a=True, b=(0.0, 1.0)), "is a checkbox"),
    (dict(a=7, b=(0.0, 1.0)), "should be (low, high)"),
    (dict(alt="", a=(0.0, 1.0), b=(0.0, 1.0)), "give alt="),
    (dict(predict=object(), a=(0.0, 1.0), b=(0.0, 1.0)), "go together"),
])
def test_bad_input_is_one_sentence_that_names_what_and_where(kw, message):
    with pytest.raises((TypeError, ValueError)) as e:
        make(**kw)
    assert message in str(e.value) and "explore(line_setup)" in str(e.value) and "\n" not in str(e.value)


def test_an_update_without_start_values_or_no_update_at_all_is_named():
    with pytest.raises(TypeError, match="no start value for 'a'"):
        make(lambda fig: lambda a: "", a=(0, 1))
    with pytest.raises(TypeError, match="should return its update function"):
        make(lambda fig: None, a=(0, 1))
    with pytest.raises(TypeError, match="has no control 'zz'; it has a, b"):
        make().set(zz=1)


def test_kinds_of_control_and_sharing_one():
    shared = W.FloatSlider(min=0, max=1)

    def setup(fig):
        def update(a=0.0, n=3, kind="x", on=False, width=2):
            return f"{a} {n} {kind} {on} {width}"
        return update
    kinds = dict(a=shared, n=(1, 9), kind=["x", "y"], on=False, width={"small": 1, "large": 2})
    one, two = make(setup, **kinds), make(setup, **kinds)
    shared.value = 0.25
    assert one.text == two.text == "0.25 3 x False 2" and isinstance(one.controls["n"], W.IntSlider)
    one.set(n=5, kind="y", on=True, width=1)
    assert one.text == "0.25 5 y True 1" and two.text == "0.25 3 x False 2"
    one.close()
    shared.value = 0.5
    assert two.text.startswith("0.5")


def test_reset_draws_once_and_threads_never_mix():
    drawn = []

    def setup(fig):
        (line,) = fig.subplots().plot([0, 1], [0, 1])

        def update(a=0.0, b=1.0):
            drawn.append((a, b))
            line.set_ydata([a, b])
            return f"{a:.2f} {b:.2f}"
        return update
    ex = make(setup, a=(0.0, 1.0), b=(0.0, 1.0))
    ex.set(a=0.3, b=0.4)
    count = len(drawn)
    (reset,) = [c for c in ex.widget.children if isinstance(c, W.Button)]
    reset.click()
    assert len(drawn) == count + 1 and ex.text == "0.00 1.00"
    threads = [threading.Thread(target=lambda v=v: [ex.set(a=v) for _ in range(20)]) for v in (0.1, 0.2, 0.3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert ex.text == f"{ex.values['a']:.2f} 1.00" and (pixels(ex.image.value) == savefig(ex)).all()


class Gate:
    """A prediction that is answered when the test says so (quiz.predict has the same three names)."""

    value, answered = None, False

    def on_answer(self, callback):
        self.callback = callback


def test_a_gate_locks_the_controls_and_hands_over_the_prediction():
    def setup(fig):
        ax = fig.subplots()
        mark = plots.prediction(ax)
        ax.set(xlim=(0, 1), ylim=(0, 1))

        def update(a=0.0, prediction=None):
            mark.set(prediction, 0.5)
            return f"predicted {prediction}"
        return update
    gate = Gate()
    ex = make(setup, predict=gate, a=(0.0, 1.0))
    assert ex.controls["a"].disabled and "unlock" in ex.readout.value and ex.text == "predicted None"
    before = bytes(ex.image.value)
    gate.value, gate.answered = 0.7, True
    gate.callback()
    assert not ex.controls["a"].disabled and ex.text == "predicted 0.7" and "unlock" not in ex.readout.value
    assert ex.image.value != before


def test_readout_is_escaped_and_slider_shows_exact_values():
    def setup(fig):
        def update(a=0.25):
            return "<b>x</b>"
        return update
    ex = make(setup, a=(0.0, 1.0, 0.125))
    assert "&lt;b&gt;" in ex.readout.value and ex.controls["a"].readout_format == ".3f"


def test_steps_and_titles():
    assert _nice_step(-3, 3) == pytest.approx(0.05) and _nice_step(0, 1) == pytest.approx(0.01) and _nice_step(0, 1000) == 10
    assert _title("log_sigma") == "log σ" and _title("x1") == "x₁" and _title("mu") == "μ" and _title("curvature") == "curvature"


def test_closing_frees_the_figure_and_every_widget():
    def live():
        gc.collect()
        return len(W.widgets.widget._instances)
    make().close()
    before = live()
    ex = make()
    figure = weakref.ref(ex.fig)
    ex.close()
    del ex
    assert live() == before
    assert figure() is None


def test_a_still_needs_an_alt_and_shows_plain_text(capsys):
    with pytest.raises(ValueError, match="alt="):
        Still(plots.figure(), "")
    plots.show(plots.figure(), alt="An empty page")
    assert "An empty page" in capsys.readouterr().out


def test_a_browsers_float_is_rounded():
    def line(fig):
        (drawn,) = fig.subplots().plot([0, 1], [0, 1])

        def update(a=0.3):
            drawn.set_ydata([0, a])
            return repr(a)
        return update
    ex = make(line, a=(0.2, 0.9, 0.01))
    ex.controls["a"].value = 0.2 + 0.01 * 10  # 0.30000000000000004
    assert ex.text == "0.3"


def test_a_closed_explorer_keeps_no_picture_and_survives_a_late_move():
    def line(fig):
        (drawn,) = fig.subplots().plot([0, 1], [0, 1])

        def update(a=0.0):
            drawn.set_ydata([0, a])
            return f"{a:.2f}"
        return update
    ex = make(line, a=(0.0, 1.0))
    figure = weakref.ref(ex.fig)
    ex.close()
    ex._changed()
    gc.collect()
    assert figure() is None
