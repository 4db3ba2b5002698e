"""The course's one visual language: what each colour and line means, and a few axes-level helpers.

Change a meaning here and every lesson follows. A helper takes `ax`, draws, and returns `ax`, or a small object
with `.set(...)` when an explorer must move what was drawn. Nothing here touches pyplot, so nothing stays open.
"""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, VERMILLION, GREY, BLACK = "#0072B2", "#D55E00", "#6E6E6E", "#000000"  # Okabe and Ito; grey darkened for contrast
GREEN, PURPLE, ORANGE, SKY = "#009E73", "#AA4499", "#E69F00", "#56B4E9"

# role -> keyword arguments of Axes.plot; colour is never the only difference between two roles
ROLES = {
    "posterior": dict(color=BLUE, linestyle="-", linewidth=2),
    "q": dict(color=VERMILLION, linestyle="--", linewidth=2.2),
    "prior": dict(color=GREY, linestyle=":", linewidth=2.2),
    "data": dict(color=BLACK, linestyle="none", marker=".", markersize=5),
    "evidence": dict(color=BLACK, linestyle="-", linewidth=3),
    "elbo": dict(color=GREEN, linestyle="-", linewidth=2.5),
    "kl": dict(color=PURPLE, linestyle="-.", linewidth=2),
    "prediction": dict(color=ORANGE, linestyle="none", marker="D", markersize=11, markerfacecolor="none",
                       markeredgewidth=2.5),
}


def set_style():
    """Set the house style for every figure made after this line: 10 pt or larger, no top and right frame."""
    mpl.rcParams.update({
        "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "xtick.labelsize": 10, "ytick.labelsize": 10,
        "legend.fontsize": 10, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlelocation": "left", "hatch.linewidth": 0.8, "figure.facecolor": "white",
        "axes.prop_cycle": mpl.cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK]),
    })


def style(role, **override):
    """Keyword arguments for `Axes.plot` that draw `role` (a key of ROLES) as everywhere in the course."""
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}; the course draws {', '.join(ROLES)}")
    return {**ROLES[role], **override}


def colormap(role="posterior"):
    """White to the role's colour, for filled contours and heat maps of a density."""
    return LinearSegmentedColormap.from_list(role, ["white", style(role)["color"]])


def figure(width=8.5, height=4.0):
    """An empty figure of `width` × `height` inches that pyplot does not know, so nobody has to close it."""
    return Figure(figsize=(width, height), layout="constrained")


class Curve:
    """A line, filled down to zero for the posterior (and hatched for a KL), that an explorer can move."""

    def __init__(self, ax, x, y, role, label=""):
        self.x = np.asarray(x, float)
        (self.line,) = ax.plot(self.x, y, label=label or None, **style(role))
        self.area = None
        if role in ("posterior", "kl"):
            look = dict(facecolor="none", edgecolor=style(role)["color"], hatch="///", linewidth=0) if role == "kl" \
                else dict(color=style(role)["color"], alpha=0.22, linewidth=0)
            self.area = ax.fill_between(self.x, 0 * self.x, y, **look)

    def set(self, y, x=None):
        """Move the curve to heights `y` (n,), and to new positions `x` (n,) if given."""
        if x is not None:
            self.x = np.asarray(x, float)
        self.line.set_data(self.x, y)
        if self.area is not None:
            self.area.set_data(self.x, 0 * self.x, y)


def curve(ax, x, y, role, label=""):
    """Draw `y` over `x` (both (n,)) as `role`; returns a Curve, whose `.set(y)` moves it."""
    return Curve(ax, x, y, role, label)


def contours(ax, X, Y, density, role="posterior", levels=8):
    """Filled contours of a density on a grid: X, Y, density all (rows, columns). Returns ax."""
    ax.contourf(X, Y, density, levels=levels, cmap=colormap(role), zorder=0)
    ax.contour(X, Y, density, levels=levels, colors=style(role)["color"], linewidths=0.6, alpha=0.6, zorder=0.5)
    return ax


def label(ax, x, y, text, role="evidence", **kw):
    """Write `text` at (x, y) in the role's colour: a direct label instead of a legend. Returns ax."""
    ax.text(x, y, text, color=style(role)["color"], **{"fontsize": 11, "fontweight": "bold", **kw})
    return ax


class Prediction:
    """A hollow orange diamond at what the student predicted; hidden while there is no prediction."""

    def __init__(self, ax):
        (self.mark,) = ax.plot([], [], **style("prediction", zorder=10, clip_on=False))
        self.mark.set_in_layout(False)

    def set(self, x, y):
        """Put the diamond at (x, y); `None` for either hides it."""
        known = x is not None and y is not None
        self.mark.set_data([x] if known else [], [y] if known else [])


def prediction(ax):
    """The student's prediction, not yet made; `.set(x, y)` shows it."""
    return Prediction(ax)


class Ruler:
    """The emblem of the course: log p(x) = ELBO + KL as one black ruler, filled from the left, hatched to its end."""

    def __init__(self, ax, start=-3.0, stop=0.0, names=True):
        self.start = start
        self.names = names
        kl = style("kl")["color"]
        (self.elbo,) = ax.barh([0], [0], left=start, height=0.5, color=style("elbo")["color"])
        (self.kl,) = ax.barh([0], [0], left=start, height=0.5, facecolor="none", edgecolor=kl, hatch="////")
        (self.end,) = ax.plot([start, start], [-0.5, 0.5], **style("evidence", linewidth=4))
        ax.plot([start, stop], [-0.5, -0.5], **style("evidence", linewidth=1.5))
        ax.set(xlim=(start, stop), ylim=(-0.55, 0.7), yticks=[])
        ax.spines["left"].set_visible(False)

    def set(self, log_p, elbo):
        """Show log p(x) = `log_p` and the ELBO (both nats). An ELBO off the left end is drawn as an empty ruler."""
        left = min(max(elbo, self.start), log_p)
        self.elbo.set_width(left - self.start)
        self.kl.set_x(left)
        self.kl.set_width(max(log_p - left, 0.0))
        self.end.set_xdata([log_p, log_p])


def ruler(ax, start=-3.0, stop=0.0):
    """Draw the ruler from `start` to `stop` nats; returns a Ruler, whose `.set(log_p, elbo)` fills it."""
    return Ruler(ax, start, stop)


def png(fig, dpi=100):
    """The figure as PNG bytes, `dpi` dots per inch."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=dpi, pil_kwargs={"optimize": True})
    return out.getvalue()


def show(fig, alt):
    """Show a still figure in the notebook under the accessible name `alt`: one sentence that says what is to be seen."""
    from .explore import Still  # here, so that plots alone needs no widgets

    Still(fig, alt)._ipython_display_()


def show_table(rows, header):
    """Show `rows` (sequences of text or numbers already rounded to text) under `header` as a markdown table."""
    from IPython.display import Markdown, display

    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
    display({"text/markdown": Markdown(text).data, "text/plain": text}, raw=True)
