"""Showing live widgets so that a saved notebook still shows something, and closing what a re-run cell leaves behind.

`publish(widget, bundle)` writes two outputs: first the bundle (a picture or Markdown, with plain text), which is what GitHub,
nbconvert and a notebook without a kernel show; then the live widget alone. While the widget lives, a style rule inside it
hides the first output. `close_previous(obj)` closes what the previous run of the same cell has shown: ipywidgets would keep it.
"""
import ipywidgets as W
from IPython import get_ipython
from IPython.display import display

VIEW = "application/vnd.jupyter.widget-view+json"
LIVE = "elbo-live"                       # the class of a live root widget: its presence hides the still output before it
_HIDE = f"<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child .{LIVE}) {{ display: none }}</style>"
_shown = {}                              # cell id -> (the run's message id, the objects that this run has shown)


def style(css):
    """A stylesheet as a widget that takes no room: put it among the children of a root widget."""
    return W.HTML(f"<style>{css}</style>", layout=W.Layout(display="none"))


def publish(widget, bundle, metadata=None):
    """Show `bundle` (MIME type -> data, with text/plain) as one output and the live `widget` as the next one.

    The widget (a box, whose children get one stylesheet more) hides the bundle while it lives. Outside Jupyter the bundle's
    text/plain is printed.
    """
    if "text/plain" not in bundle:
        raise ValueError("publish: the bundle needs text/plain, which is what a terminal and the tests read.")
    if get_ipython() is None:
        print(bundle["text/plain"])
        return
    if LIVE not in widget._dom_classes:
        widget.add_class(LIVE)
        widget.children = (*widget.children, W.HTML(_HIDE, layout=W.Layout(display="none")))
    display(bundle, metadata=metadata or {}, raw=True)
    display({VIEW: {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}}, raw=True)


def run_id():
    """(cell id, message id) of the running cell, or None where there is none (a terminal, a test, nbclient).

    JupyterLab, Notebook 7 and VS Code send the cell's id along with the code; the message id is new for every run.
    """
    shell = get_ipython()
    parent = (getattr(shell, "get_parent", dict)() if shell else None) or {}
    cell, run = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    return (cell, run) if cell and run else None


def close_previous(obj):
    """Call this when `obj` (anything with .close()) is shown: closes what the previous run of this cell has shown.

    Several objects shown in one run live side by side. Returns the list of the objects that were closed.
    """
    here = run_id()
    if here is None:
        return []
    cell, run = here
    last, objects = _shown.get(cell, (None, []))
    old = [] if last == run else [o for o in objects if o is not obj]
    _shown[cell] = (run, [obj] if last != run else objects + [obj] * (obj not in objects))
    for o in old:
        o.close()
    return old


def close_tree(widget, keep=()):
    """Close a widget with its children, layouts and styles (ipywidgets' own close() leaves those in its registry)."""
    if widget in keep:
        return
    for child in getattr(widget, "children", ()):
        close_tree(child, keep)
    for part in (getattr(widget, "layout", None), getattr(widget, "style", None), widget):
        if isinstance(part, W.Widget):
            part.close()
