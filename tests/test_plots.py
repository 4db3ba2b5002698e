"""The visual language, read off the artists."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from course_utils import plots


@pytest.fixture
def ax():
    return plots.figure().subplots()


def test_every_role_differs_from_every_other_without_colour():
    looks = [(r.get("linestyle"), r.get("marker"), r.get("linewidth") if r["linestyle"] == "-" else None) for r in plots.ROLES.values()]
    assert len(set(looks)) == len(looks)
    assert len({r["color"] for r in plots.ROLES.values()} - {"#000000"}) == len(plots.ROLES) - 2  # data and evidence are black


def test_an_unknown_role_is_named():
    with pytest.raises(ValueError, match="no role 'posteriour'"):
        plots.style("posteriour")


def test_a_curve_moves_with_its_filling(ax):
    x = np.linspace(0, 1, 5)
    curve = plots.curve(ax, x, x, "posterior", label="p")
    curve.set(2 * x)
    assert (ax.lines[0].get_ydata() == 2 * x).all()
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == 2
    curve.set(3 * x, x + 1)
    assert ax.lines[0].get_xdata()[0] == 1 and len(plots.curve(ax, x, x, "q").line.get_xdata()) == 5
    assert len(ax.collections) == 1


def test_a_prediction_is_hidden_until_it_is_made(ax):
    mark = plots.prediction(ax)
    assert len(ax.lines[0].get_xdata()) == 0
    mark.set(0.0, 1.0)
    assert list(ax.lines[0].get_xdata()) == [0.0]
    mark.set(None, 1.0)
    assert len(ax.lines[0].get_xdata()) == 0


def test_the_ruler_adds_up_and_cannot_move_its_end(ax):
    ruler = plots.ruler(ax, -3, 0)
    for elbo in (-2.5, -1.0, -0.7, -9.0):
        ruler.set(-0.7, elbo)
        assert ruler.elbo.get_width() + ruler.kl.get_width() == pytest.approx(2.3)
        assert list(ruler.end.get_xdata()) == [-0.7, -0.7]
    assert ruler.kl.get_hatch() and to_hex(ruler.elbo.get_facecolor()) == plots.GREEN.lower()


def test_helpers_return_the_axes(ax):
    X, Y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
    assert plots.contours(ax, X, Y, np.exp(-X**2 - Y**2)) is ax and plots.label(ax, 0, 0, "here", "q") is ax
    assert to_hex(ax.texts[0].get_color()) == plots.VERMILLION.lower()


def test_a_table_is_markdown(capsys):
    plots.show_table([["a", 1]], ["x", "y"])
    assert "| a | 1 |" in capsys.readouterr().out
