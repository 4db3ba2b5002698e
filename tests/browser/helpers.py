"""What the browser tests do to a page: open a notebook, run it, read it, and see an explorer settle."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import TimeoutError

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SCREENSHOTS = Path(__file__).parent / "screenshots"
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # JupyterLab keeps the documents behind other tabs on the page
VIEWPORT = {"width": 1300, "height": 900}

OPEN = """([path, kernel]) => {
  const open = async () => {
    await jupyterapp.restored;
    const more = kernel ? {} : { kernelPreference: { shouldStart: false, canStart: false } };
    window.panel = await jupyterapp.commands.execute("docmanager:open", { path, factory: "Notebook", ...more });
    await panel.context.ready;
    await panel.revealed;
    if (kernel) { await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info; }
  };
  window.opened = false;
  open().then(() => { window.opened = "yes"; }, (error) => { window.opened = String(error); });
}"""

# every output that shows a widget has put it on the page, and every image is loaded
SHOWN = """() => {
  const views = panel.content.model.sharedModel.cells.flatMap((c) => c.toJSON().outputs ?? [])
    .filter((o) => o.data?.["application/vnd.jupyter.widget-view+json"]).length;
  const images = [...panel.node.querySelectorAll("img")];
  return panel.node.querySelectorAll(".jp-OutputArea-output :is(.elbo-live, .elbo-bar)").length === views
    && images.every((i) => i.complete && i.naturalWidth > 0)
    && [...panel.node.querySelectorAll(".elbo-explorer .noUi-handle")].every((h) => h.getAttribute("aria-label"));
}"""

PICTURES = """() => [...panel.node.querySelectorAll(".jp-Cell img")].filter((i) => i.checkVisibility() && i.naturalWidth > 0)
  .map((i) => i.alt || i.title || i.ariaLabel || "")"""

EXECUTE = """async (code) => {
  const future = panel.sessionContext.session.kernel.requestExecute({ code, store_history: false });
  let out = "";
  future.onIOPub = (m) => { out += m.content.text ?? m.content.traceback?.join("\\n") ?? ""; };
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error("the kernel does not answer")), 60000));
  const reply = await Promise.race([future.done, late]);
  if (reply.content.status !== "ok") throw new Error(out);
  return out;
}"""

# what the explorers are in the kernel, in the order in which the page shows them
# what the lessons may not have: a menu, a checkbox, a typed prediction, a still picture
SANDBOX = ["""
import numpy as np
from course_utils import plots
from course_utils.explore import explore
from course_utils.quiz import predict
plots.set_style()
fig = plots.figure(4, 2)
fig.subplots().plot([1, 2])
plots.show(fig, alt="A line that rises from 1 to 2")
""", """
gate = predict("What is $2^3$?", number=(0, 20), unit="apples")
gate
""", """
def powers(fig):
    ax = fig.subplots()
    (line,) = ax.plot([], [], "o-")
    mark = plots.prediction(ax)
    ax.set(xlim=(0, 11), ylim=(-40, 40))
    def update(points=3, base=2.0, colour="blue", negative=False, prediction=None):
        x = np.arange(points + 1)
        line.set_data(x, (-1 if negative else 1) * base**x)
        line.set_color(colour)
        mark.set(3, prediction)
        return f"{base:.2f} to the power {points} is {base**points:.2f}; {colour}, {'below' if negative else 'above'}"
    return update

explore(powers, alt="Powers of a number as dots joined by a line", predict=gate, points=(1, 10), base=(-1.5, 2.5, 0.05),
        colour=["blue", "red"], negative=False)
"""]
# update() fails at one value of its slider
BROKEN = ["""
from course_utils.explore import explore

def fragile(fig):
    ax = fig.subplots()
    (dot,) = ax.plot([0], [0], "o")
    def update(k=0):
        dot.set_xdata([k])
        return f"1 / (k - 3) = {1 / (k - 3):.3f}"
    return update

explore(fragile, alt="A dot at k", k=(0, 6))
"""]

STATE = """
import hashlib as _h, json as _j
from course_utils import widgets as _w
def _state(ex):
    with ex._lock:
        return dict(name=ex.name, locked=ex.locked, marked=bool(ex.gate) and ex.gate.value is not None,
                    readout=ex.text, picture=_h.sha1(ex.image.value).hexdigest(),
                    values=[[c.value, c.step] for c in ex.controls.values() if hasattr(c, "step")])
def _pixels(i):
    import io
    import numpy
    from PIL import Image
    ex = [o for _, objects in _w._shown.values() for o in objects if hasattr(o, "controls")][i]
    return numpy.asarray(Image.open(io.BytesIO(ex.image.value))).astype(int)
print(_j.dumps([_state(o) for _, objects in _w._shown.values() for o in objects if hasattr(o, "controls")]))
"""

PAGE_SIDE = """async (root) => {
  const bytes = await (await fetch(root.querySelector("img").src)).arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", bytes));
  return {
    picture: [...hash].map((b) => b.toString(16).padStart(2, "0")).join(""),
    readout: root.querySelector("[role=status]").textContent.trim(),
    error: root.querySelector("[role=alert]")?.textContent ?? "",
    sliders: [...root.querySelectorAll(".widget-slider")].map((s) => {
      const handle = s.querySelector(".noUi-handle"), shown = s.querySelector(".widget-readout").textContent.trim();
      const spoken = Object.fromEntries(["label", "valuetext", "valuenow", "valuemin", "valuemax"]
        .map((a) => [a, handle.getAttribute("aria-" + a)]));
      return { shown, number: Number(shown.replace("\\u2212", "-").replaceAll(",", "")), ...spoken };
    }),
  };
}"""


class Notebook:
    """A notebook open in JupyterLab in a browser window (`page`); `kernel=False` opens it without one."""

    def __init__(self, page, path, kernel=True):
        self.page, self.path = page, path
        page.evaluate(OPEN, [path, kernel])
        opened = page.wait_for_function("() => window.opened", timeout=120_000).json_value()
        assert opened == "yes", f"{path}: {opened}"
        self.explorers = page.locator(f"{PANEL} .elbo-explorer")

    def run_all(self):
        """Run every cell and wait until all they show is on the page. Returns what went wrong, a line an error."""
        self.start_run_all()
        self.wait_until_idle()
        return self.errors()

    def pictures(self):
        """The accessible names of the pictures that can be seen, in the order of the page; "" for one without a name."""
        return self.page.evaluate(PICTURES)

    def start_run_all(self):
        self.page.evaluate("""() => { window.ended = false;
          jupyterapp.commands.execute("notebook:run-all-cells").finally(() => { window.ended = true; }); }""")

    def wait_until_idle(self):
        self.page.wait_for_function("() => window.ended", timeout=300_000)
        try:
            self.page.wait_for_function(SHOWN, timeout=60_000)
        except TimeoutError:
            raise AssertionError(f"{self.path}: not all its widgets came on the page. {self.errors()}") from None

    def outputs(self):
        cells = self.page.evaluate("() => panel.content.model.sharedModel.cells.map((c) => c.toJSON())")
        return [o for c in cells for o in c.get("outputs", [])]

    def errors(self):
        """Errors and warnings in the outputs, and widgets that the page could not show."""
        lines = [f"{o['ename']}: {o['evalue']}" for o in self.outputs() if o["output_type"] == "error"]
        lines += ["".join(o["text"]) for o in self.outputs() if o.get("name") == "stderr"]
        return lines + self.page.locator(f"{PANEL} .jp-OutputArea-output", has_text="Error displaying widget").all_inner_texts()

    def kernel(self, code):
        """Run code in the notebook's kernel, without a cell; what it prints."""
        return self.page.evaluate(EXECUTE, code)

    def state(self):
        return json.loads(self.kernel(STATE))

    def remember(self, i):
        """Keep explorer i's picture in the kernel, for `drift`."""
        self.kernel(f"_kept = _pixels({i})")

    def drift(self, i):
        """The largest difference, in grey levels, between explorer i's picture and the one that was kept."""
        return int(self.kernel(f"print(abs(_pixels({i}) - _kept).max())"))

    def look(self, i):
        """Explorer i as the page shows it: picture (a hash of its bytes), readout, error, sliders."""
        return self.explorers.nth(i).evaluate(PAGE_SIDE)

    def settled(self, i, after=None):
        """Explorer i once the page shows what the kernel has, twice in a row. What was seen `after=...` a click may be
        only the page before the click has worked: it counts as settled after two seconds of no change."""
        agreed, began = 0, time.monotonic()
        while time.monotonic() < began + 15:
            kernel, page = self.state()[i], self.look(i)
            numbers = [s["number"] for s in page["sliders"]]
            same = (page["picture"] == kernel["picture"] and page["readout"].endswith(kernel["readout"].strip())
                    and len(numbers) == len(kernel["values"])
                    and all(abs(n - v) < step / 2 for n, (v, step) in zip(numbers, kernel["values"])))
            agreed = agreed + 1 if same and (page != after or time.monotonic() > began + 2) else 0
            if agreed == 2:
                return page
            self.page.wait_for_timeout(20)
        raise AssertionError(f"explorer {kernel['name']} does not settle: the page shows {page}, the kernel has {kernel}")

    def answer_gates(self):
        """Lock in a prediction at every gate that is still open, with its own buttons."""
        for ask in self.page.locator(f"{PANEL} .elbo-ask", has_text="Predict before you move").all():
            button = ask.get_by_role("button", name="Lock in my prediction")
            if button.is_disabled():
                continue
            if ask.get_by_role("radio").count():
                ask.get_by_role("radio").first.check()
            else:
                low, high = ask.locator(".widget-text .widget-label").inner_text().split(", from ")[1].split(" to ")
                ask.get_by_role("textbox").fill(f"{float(low) + 0.25 * (float(high) - float(low)):g}")
            button.click()
            self.page.wait_for_function("(b) => b.disabled", arg=button.element_handle())
        self.page.wait_for_function("() => !panel.node.querySelector('.elbo-explorer [disabled]')")

    def theme(self, name):
        self.page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_function("(name) => document.body.dataset.jpThemeName === name", arg=name)

    def shoot(self, what, i=None):
        """Explorer i, or the whole notebook in strips of 2400 pixels, to screenshots/<notebook>_<what>_<number>.png."""
        name = f"{SCREENSHOTS}/{Path(self.path).stem}_{what}"
        if i is not None:
            self.explorers.nth(i).screenshot(path=f"{name}_{i}.png")
            return
        self.page.set_viewport_size({**VIEWPORT, "height": 2400})
        area = self.page.locator(f"{PANEL} .jp-WindowedPanel-outer")
        for k in range(area.evaluate("(a) => Math.ceil(a.scrollHeight / a.clientHeight)")):
            area.evaluate("(a, k) => a.scrollTo(0, k * a.clientHeight)", k)
            area.screenshot(path=f"{name}_{k}.png")
        self.page.set_viewport_size(VIEWPORT)

    @contextmanager
    def zoomed(self):
        """As at 200 % zoom, which halves the window in CSS pixels; JupyterLab's side bar is folded away."""
        fold = "() => jupyterapp.commands.execute('application:toggle-left-area')"
        self.page.evaluate(fold)
        self.page.set_viewport_size({"width": VIEWPORT["width"] // 2, "height": 900})
        self.page.wait_for_function("() => panel.content.node.clientWidth < innerWidth && panel.content.node.clientWidth > 500")
        try:
            yield
        finally:
            self.page.set_viewport_size(VIEWPORT)
            self.page.evaluate(fold)

    def save(self):
        self.page.evaluate("() => panel.context.save()")

    def close(self):
        """Shut the kernel down and close the document, unsaved."""
        self.page.evaluate("async () => { await panel.sessionContext.shutdown(); panel.dispose(); }")
