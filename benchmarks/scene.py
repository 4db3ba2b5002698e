"""One picture, drawn by five designs: 900 x 400 px, a banana-shaped posterior (filled contours, 200 x 200), a Gaussian q
that four sliders move (three ellipses, two marginals) and the running Monte Carlo estimate of KL(q||p).

A square in the picture's lower left corner carries the value of the slider `turn` as a colour: what is on the screen can
be read off the screen, whatever drew it. Everything here runs in the notebook's kernel.
"""
import os
import time

import ipywidgets as W
import numpy as np
import traitlets as T
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

WIDTH, HEIGHT, MARK = 900, 400, 20
START = dict(mean_1=0.5, mean_2=0.2, log_scale=-0.4, turn=0)
RANGES = dict(mean_1=(-2.0, 2.0, 0.05), mean_2=(-1.0, 3.0, 0.05), log_scale=(-1.5, 0.5, 0.05), turn=(0, 100))
NOISE = np.random.default_rng(0).standard_normal((2, 200))
CIRCLE = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 100)), np.sin(t)])
Z = np.linspace(-3.5, 4.5, 200)


def log_p(z1, z2):
    """The banana: z1 ~ N(0, 1), z2 | z1 ~ N(z1² / 2, 0.5²). In nats, elementwise."""
    return -0.5 * (z1**2 + ((z2 - 0.5 * z1**2) / 0.5) ** 2) - np.log(2 * np.pi * 0.5)


def moved(mean_1, mean_2, log_scale, turn):
    """The six moving lines, (2, n) in data coordinates, and the readout: the same work in every design."""
    c, s = np.cos(np.pi * turn / 100), np.sin(np.pi * turn / 100)
    L = np.exp(log_scale) * np.array([[c, -s], [s, c]]) * np.array([1.0, 0.4])  # q = N(m, L Lᵀ)
    m = np.array([[mean_1], [mean_2]])
    sd = np.sqrt((L**2).sum(1))
    z = m + L @ NOISE
    log_q = -0.5 * (NOISE**2).sum(0) - np.log(2 * np.pi * abs(L[0, 0] * L[1, 1] - L[0, 1] * L[1, 0]))
    n = np.arange(1, 201)
    trace = np.cumsum(log_q - log_p(*z)) / n
    bells = [np.exp(-0.5 * ((Z - m[i, 0]) / sd[i]) ** 2) / (sd[i] * np.sqrt(2 * np.pi)) for i in (0, 1)]
    lines = [m + r * L @ CIRCLE for r in (1, 2, 3)] + [np.stack([Z, b]) for b in bells] + [np.stack([n, trace])]
    return lines, f"KL(q||p) = {trace[-1]:.3f} nats, mean ({mean_1:.2f}, {mean_2:.2f}), turned by {1.8 * turn:.0f} degrees"


def colour(turn):
    """A whole number 0..100 as a colour that survives rounding; blue 128 says that it is one."""
    return (30 + 20 * (turn % 10)) / 255, (30 + 20 * (turn // 10)) / 255, 128 / 255


def draw(fig, at=START):
    """Draw everything; returns the moving artists: six lines and the coloured square."""
    fig.set_layout_engine("none")
    plane, *right = [fig.add_axes(box) for box in
                     ([0.06, 0.12, 0.46, 0.8], [0.6, 0.74, 0.38, 0.2], [0.6, 0.43, 0.38, 0.2], [0.6, 0.12, 0.38, 0.2])]
    g1, g2 = np.meshgrid(np.linspace(-3, 3, 200), np.linspace(-2, 4, 200))
    density = np.exp(log_p(g1, g2))
    plane.contourf(g1, g2, density, levels=12, cmap="Blues")
    plane.set(xlim=(-3, 3), ylim=(-2, 4), xlabel="$z_1$", ylabel="$z_2$", title="posterior and q")
    for ax, axis, name in zip(right, (0, 1), ("$z_1$", "$z_2$")):
        ax.fill_between((g1[0], g2[:, 0])[axis], density.sum(axis) * 6 / 200, alpha=0.3)
        ax.set(xlim=(-3.5, 4.5), ylim=(0, 1.5), ylabel=name)
    right[2].set(xlim=(0, 200), ylim=(-2, 6), ylabel="KL(q||p)", xlabel="samples")
    lines, _ = moved(**at)
    styles = [dict(color="#D55E00", linestyle="--", linewidth=w) for w in (2.5, 2, 1.5, 2, 2)] + [dict(color="#AA4499")]
    artists = [ax.plot(*xy, **s)[0] for ax, xy, s in zip([plane] * 3 + right, lines, styles)]
    mark = Rectangle((0, 0), MARK, MARK, facecolor=colour(at["turn"]), transform=None)
    fig.add_artist(mark)
    return [*artists, mark]


def put(artists, **at):
    """Move what `draw` returned; returns the readout."""
    lines, text = moved(**at)
    for artist, xy in zip(artists, lines):
        artist.set_data(xy)
    artists[-1].set_facecolor(colour(at["turn"]))
    return text


def log_times(path):
    """Write down when each message from the browser arrives in the kernel and how long all its callbacks take."""
    if os.path.exists(path):  # the cell is being run again
        return
    handle, out = W.Widget._handle_msg, open(path, "a", buffering=1)
    out.write(f"{os.getpid()}\n")

    def timed(self, msg):
        start, wall = time.perf_counter(), time.time()
        try:
            return handle(self, msg)
        finally:
            out.write(f"{wall:.6f} {1000 * (time.perf_counter() - start):.3f}\n")

    W.Widget._handle_msg = timed


def _sliders():
    make = lambda k, lo, hi, step=1: (W.IntSlider if k == "turn" else W.FloatSlider)(
        value=START[k], min=lo, max=hi, step=step, description=k, layout=W.Layout(width="34em"),
        style={"description_width": "9em"})
    return {k: make(k, *r) for k, r in RANGES.items()}


def _on_move(sliders, moving):
    """Call `moving(**values)` whenever a slider moves."""
    for s in sliders.values():
        s.observe(lambda _: moving(**{k: v.value for k, v in sliders.items()}), "value")


def ours():
    from course_utils.explore import explore

    def banana(fig):
        artists = draw(fig)

        def update(mean_1=0.5, mean_2=0.2, log_scale=-0.4, turn=0):
            return put(artists, mean_1=mean_1, mean_2=mean_2, log_scale=log_scale, turn=turn)
        return update

    global explorer  # as in a lesson, where the notebook's Out keeps it
    explorer = explore(banana, alt="A banana-shaped posterior and a Gaussian", size=(WIDTH / 100, HEIGHT / 100), **RANGES)
    return explorer


def interact():
    """What most courses do: a new figure for every value. Drawn inline at 900 x 400 px, like the others."""
    import matplotlib.pyplot as plt
    from matplotlib_inline.config import InlineBackend

    plt.switch_backend("module://matplotlib_inline.backend_inline")
    InlineBackend.instance().print_figure_kwargs = {"bbox_inches": None}

    def picture(**at):
        fig = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        draw(fig, at)
        print(moved(**at)[1])
        plt.show()

    W.interact(picture, **_sliders())


def ipympl(blit=False):
    import matplotlib.pyplot as plt

    plt.switch_backend("module://ipympl.backend_nbagg")
    with plt.ioff():
        fig = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    canvas = fig.canvas
    canvas.header_visible = canvas.footer_visible = canvas.toolbar_visible = canvas.resizable = False
    artists, sliders, text, still = draw(fig), _sliders(), W.HTML(), []

    def moving(**at):
        text.value = f"<pre>{put(artists, **at)}</pre>"
        if not blit:
            return canvas.draw_idle()
        if not still:
            for a in artists:
                a.set_animated(True)
            canvas.draw()
            still.append(canvas.copy_from_bbox(fig.bbox))
        canvas.restore_region(still[0])
        for a in artists:
            a.axes.draw_artist(a) if a.axes else fig.draw_artist(a)
        canvas.blit(fig.bbox)

    _on_move(sliders, moving)
    return W.VBox([*sliders.values(), text, canvas])


def ipympl_blit():
    return ipympl(blit=True)


def floor():
    """The bound with a kernel in the loop: Python computes and sends the lines, a canvas in the browser strokes them."""
    import anywidget

    class Canvas(anywidget.AnyWidget):
        still = T.Bytes().tag(sync=True)   # the picture without what moves, a PNG
        lines = T.Bytes().tag(sync=True)   # 6 x [n, then n points (x, y) in pixels], then the colour: float32
        _esm = """
        async function render({ model, el }) {
          const canvas = Object.assign(document.createElement("canvas"), { width: 900, height: 400, className: "floor" });
          const c = canvas.getContext("2d"), still = await createImageBitmap(new Blob([model.get("still")]));
          const looks = [["#D55E00", 3.5, [12, 5]], ["#D55E00", 2.8, [10, 4]], ["#D55E00", 2, [8, 3]],
                         ["#D55E00", 2.8, [10, 4]], ["#D55E00", 2.8, [10, 4]], ["#AA4499", 2, []]];
          const boxes = [...Array(3).fill([54, 32, 414, 320]), [540, 24, 342, 80], [540, 148, 342, 80], [540, 272, 342, 80]];
          const draw = () => {
            const v = model.get("lines"), a = new Float32Array(v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength));
            c.drawImage(still, 0, 0);
            let at = 0;
            looks.forEach(([colour, width, dash], i) => {
              c.save(); c.beginPath(); c.rect(...boxes[i]); c.clip();
              c.strokeStyle = colour; c.lineWidth = width; c.setLineDash(dash); c.beginPath();
              for (let n = a[at++]; n > 0; n--) c.lineTo(a[at++], a[at++]);
              c.stroke(); c.restore();
            });
            c.fillStyle = `rgb(${a[at]}, ${a[at + 1]}, ${a[at + 2]})`;
            c.fillRect(0, 380, 20, 20);
          };
          model.on("change:lines", draw); draw(); el.append(canvas);
        }
        export default { render };
        """

    fig = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    artists, sliders, text = draw(fig), _sliders(), W.HTML()
    for a in artists:
        a.set_visible(False)
    agg = FigureCanvasAgg(fig)
    agg.draw()
    from course_utils.explore import fast_png
    transforms = [a.axes.transData for a in artists[:-1]]

    def sent(**at):
        lines, words = moved(**at)
        text.value = f"<pre>{words}</pre>"
        parts = []
        for transform, xy in zip(transforms, lines):
            x, y = transform.transform(xy.T).T
            parts += [[x.size], np.stack([x, HEIGHT - y], 1).ravel()]
        return np.concatenate([*parts, np.round(255 * np.array(colour(at["turn"])))]).astype("f4").tobytes()

    canvas = Canvas(still=fast_png(np.asarray(agg.buffer_rgba())), lines=sent(**START))
    _on_move(sliders, lambda **at: setattr(canvas, "lines", sent(**at)))
    return W.VBox([*sliders.values(), text, canvas])
