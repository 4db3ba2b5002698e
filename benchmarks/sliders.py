"""How long from a key press to the changed picture, in a real browser; one picture, five designs, interleaved in one run.

How it is measured, equally for all designs: a probe in the page looks, in every animation frame, at one pixel of the
displayed picture, whose colour says which slider value the picture shows: an <img> or a <canvas> is drawn into a 1 x 1
canvas (an <img> counts only when it has been decoded), an <svg> is asked for what lies at that point. The clock starts with
the key event's own time stamp and stops in the first frame that shows the value the key has set. Real keys and a real
mouse (Playwright), a real JupyterLab server on loopback, a page and a kernel of its own for each design.
"""
import contextlib
import http.client
import importlib.util
import json
import os
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DESIGNS = {  # name in scene.py -> (what it is, where its picture is)
    "ours": ("explore(), this course", ".elbo-explorer :is(img, svg[role=img])"),
    "interact": ("interact, a new figure a call", ".widget-output img"),
    "ipympl": ("ipympl, set_data + draw_idle", ".jupyter-matplotlib canvas:first-of-type"),
    "ipympl_blit": ("ipympl with blitting", ".jupyter-matplotlib canvas:first-of-type"),
    "floor": ("floor: drawn by the browser", "canvas.floor"),
}
PROBE = """
window.bench = { shown: [], moved: [], keys: [], bytes: 0, on: false };
{
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  let source = null, last = null;
  const read = (el) => {  // the slider value that the picture shows, or null
    let r, g, b;
    if (el.tagName === "svg") {
      const box = el.getBoundingClientRect(), there = document.elementFromPoint(box.left + 8, box.bottom - 8);
      [r, g, b] = (there && getComputedStyle(there).fill.match(/\\d+/g) || []).map(Number);
    } else if (el.tagName !== "IMG" || el.complete && el.naturalWidth) {
      pixel.drawImage(el, 8, (el.naturalHeight || el.height) - 8, 1, 1, 0, 0, 1, 1);
      [r, g, b] = pixel.getImageData(0, 0, 1, 1).data;
    }
    return Math.abs(b - 128) < 5 ? Math.round((r - 30) / 20) + 10 * Math.round((g - 30) / 20) : null;
  };
  const look = () => {
    if (!bench.on) return;
    const el = [...document.querySelectorAll(bench.selector)].at(-1);
    if (el && (el.tagName !== "IMG" || el.src !== source)) {
      const value = read(el);
      if (value !== null) {
        source = el.src;
        if (value !== last) bench.shown.push([performance.now(), last = value]);
      }
    }
    requestAnimationFrame(look);
  };
  bench.start = (selector) => {
    Object.assign(bench, { shown: [], moved: [], keys: [], bytes: 0, on: true, selector });
    source = last = null;
    look();
  };
  bench.until = (value) => new Promise((done, fail) => {
    const end = performance.now() + 8000;
    const wait = () => bench.shown.at(-1)?.[1] === value ? done() : performance.now() > end
      ? fail(`the picture still shows ${bench.shown.at(-1)} and not ${value}`) : setTimeout(wait, 5);
    wait();
  });
  addEventListener("keydown", (e) => bench.keys.push(e.timeStamp), true);
  const Socket = WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...a) { super(...a); this.addEventListener("message", (e) => bench.bytes += e.data.byteLength ?? e.data.length); }
  };
}
"""
WATCH_HANDLE = """(handle) => new MutationObserver(() => {
    const value = Math.round(parseFloat(handle.getAttribute("aria-valuenow")));
    if (value !== bench.moved.at(-1)?.[1]) bench.moved.push([performance.now(), value]);
}).observe(handle, { attributes: true, attributeFilter: ["aria-valuenow"] })"""


def chromium():
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def server(folder):
    """A JupyterLab server on loopback, in `folder`; yields (address, token)."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    env = dict(os.environ, JUPYTER_TOKEN=token, OMP_NUM_THREADS="1", JUPYTER_CONFIG_DIR=str(folder / "config"),
               JUPYTERLAB_WORKSPACES_DIR=str(folder / "workspaces"), JUPYTERLAB_SETTINGS_DIR=str(folder / "settings"),
               PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    log = open(folder / "server.log", "w")
    child = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
         f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
         "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as c:
                c.request("GET", "/api", headers={"Authorization": f"token {token}"})
                if c.getresponse().status == 200:
                    break
            if child.poll() is not None:
                raise RuntimeError("JupyterLab did not start:\n" + (folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", token
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
        log.close()


def _notebook(folder, name):
    """A notebook of one cell that shows one design and writes down what its kernel does."""
    source = f"from benchmarks import scene\nscene.log_times({str(folder / name)!r} + '.log')\nscene.{name}()"
    (folder / f"{name}.ipynb").write_text(json.dumps({
        "cells": [{"cell_type": "code", "execution_count": None, "id": "only", "metadata": {}, "outputs": [], "source": source}],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4, "nbformat_minor": 5}))


class Lab:
    """One JupyterLab page with one design; measures it a round at a time."""

    def __init__(self, browser, address, token, folder, name):
        self.name, self.selector, self.log = name, DESIGNS[name][1], folder / f"{name}.log"
        self.latency, self.kernel, self.bytes, self.fps, self.lag, self.last_wins = [], [], [], [], [], []
        _notebook(folder, name)
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.page.add_init_script(PROBE)
        self.page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?token={token}")
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
                                    timeout=60_000)
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_selector(f"{self.selector} >> visible=true", timeout=60_000)
        self.pid = int(self.log.read_text().split()[0])
        slider = self.page.locator(".jupyter-widgets.widget-slider", has=self.page.get_by_text("turn", exact=True))
        self.handle = slider.locator(".noUi-handle")
        self.handle.evaluate(WATCH_HANDLE)

    def _begin(self):
        self.page.bring_to_front()
        self.page.evaluate("(s) => bench.start(s)", self.selector)
        self.handle.focus()
        self.page.keyboard.press("End")
        self.page.keyboard.press("Home")
        self.page.evaluate("() => bench.until(0)")
        time.sleep(0.4)

    def keys(self, n, keep=True):
        """Press an arrow key n times, each when the picture of the one before is on the screen."""
        self._begin()
        self.page.evaluate("() => { bench.keys = []; bench.bytes = 0 }")
        for value in range(1, n + 1):
            self.page.keyboard.press("ArrowRight")
            self.page.evaluate("(v) => bench.until(v)", value)
            time.sleep(random.uniform(0.03, 0.09))  # not in step with the frames
        got = self.page.evaluate("() => ({ ...bench, origin: performance.timeOrigin })")
        if not keep:
            return
        first = {}
        for t, value in got["shown"]:
            first[value] = t
        self.latency += [first[i + 1] - t for i, t in enumerate(got["keys"])]
        self.bytes.append(got["bytes"] / n)
        messages = [tuple(map(float, line.split())) for line in self.log.read_text().splitlines() if " " in line]
        begins = [(got["origin"] + t) / 1000 for t in got["keys"]]
        for begin, end in zip(begins, [*begins[1:], begins[-1] + 0.5]):
            self.kernel.append(sum(ms for t, ms in messages if begin <= t < end))

    def drag(self, seconds, keep=True):
        """Pull the handle to and fro with the mouse."""
        self._begin()
        box = self.handle.bounding_box()
        track = self.handle.evaluate("(h) => h.closest('.noUi-target').getBoundingClientRect().width")
        x0, y0 = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse = self.page.mouse
        mouse.move(x0, y0)
        mouse.down()
        begin, step = time.perf_counter(), 0
        while (t := time.perf_counter() - begin) < seconds:
            way = t / seconds * 2.6  # there, back, and a part of the way: it does not end at an end
            mouse.move(x0 + track * (way % 1 if int(way) % 2 == 0 else 1 - way % 1), y0)
            step += 1
            time.sleep(max(0, begin + step / 60 - time.perf_counter()))
        mouse.up()
        time.sleep(0.1)
        at_release = self.page.evaluate("() => bench.moved.at(-1)")
        with contextlib.suppress(Exception):
            self.page.evaluate("(v) => bench.until(v)", at_release[1])
        time.sleep(0.5)
        got = self.page.evaluate("() => bench")
        if not keep:
            return
        start = next(t for t, v in got["moved"] if v > 0)
        pictures = [(t, v) for t, v in got["shown"] if start <= t <= start + 1000 * seconds]
        self.fps.append(len(pictures) / seconds)
        self.lag += [t - max((s for s, v in got["moved"] if v == value and s <= t), default=t) for t, value in pictures]
        self.last_wins.append(got["shown"][-1][1] == got["moved"][-1][1])


def _p95(values):
    return sorted(values)[int(0.95 * (len(values) - 1))]


def memory(lab, moves=1000, warm=10, reruns=20):
    """The kernel's resident memory in MiB: before and after so many moves, before and after so many re-runs of the cell."""
    import psutil

    rss = lambda: round(psutil.Process(lab.pid).memory_info().rss / 2**20, 1)
    lab._begin()
    start = rss()
    lab.page.evaluate("""async (code) => {
        const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        await kernel.requestExecute({ code }).done; }""", f"for i in range({moves}): scene.explorer.set(turn=i % 101)")
    result = {f"{moves} moves": [start, rss()]}
    for i in range(warm + reruns):
        if i == warm:  # Python's garbage collector has run by now
            start = rss()
        lab.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    lab.page.wait_for_function("jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")
    return result | {f"{reruns} re-runs of the cell": [start, rss()]}


def main(rounds=3, presses=20, seconds=3.5):
    """Measure, print the table and the budgets; returns what is written as JSON, or None where nothing can be measured."""
    if not chromium() or importlib.util.find_spec("playwright") is None:
        print("sliders: skipped. It needs Chromium (Debian: sudo apt install chromium) and playwright (make install ARGS=dev).")
        return None
    names = list(DESIGNS)
    if importlib.util.find_spec("ipympl") is None:
        print("sliders: ipympl is not installed (make install ARGS=bench); measuring the other designs.")
        names = [n for n in names if "ipympl" not in n]
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as tmp, server(Path(tmp)) as (address, token), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=[
            *["--no-sandbox"] * (os.name != "nt" and os.geteuid() == 0), "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run"])
        print(f"sliders: {rounds} rounds of {presses} keys and a drag of {seconds} s, Chromium {browser.version}", flush=True)
        labs = [Lab(browser, address, token, Path(tmp), n) for n in names]
        for lab in labs:
            lab.keys(5, keep=False)  # the first moves find out what moves
        for i in range(rounds):
            for lab in random.sample(labs, len(labs)):
                lab.keys(presses)
                lab.drag(seconds)
            print(f"  round {i + 1} of {rounds}", flush=True)
        rss = memory(labs[0])
        version = browser.version
        browser.close()

    rows = {lab.name: {
        "key_to_pixels_ms": statistics.median(lab.latency), "key_to_pixels_p95_ms": _p95(lab.latency),
        "kernel_ms": statistics.median(lab.kernel), "kernel_p95_ms": _p95(lab.kernel),
        "pictures_per_s": statistics.median(lab.fps), "lag_ms": statistics.median(lab.lag),
        "last_value_wins": f"{sum(lab.last_wins)}/{len(lab.last_wins)}", "kB_per_move": statistics.median(lab.bytes) / 1000,
        "all_key_to_pixels_ms": [round(v, 1) for v in lab.latency]} for lab in labs}
    print(f"\n{'design':31}{'key -> pixels':>16}{'kernel ms':>16}{'pictures':>10}{'lag':>6}{'last':>6}{'kB per':>8}\n"
          f"{'':31}{'median / p95':>16}{'median / p95':>16}{'per s':>10}{'ms':>6}{'wins':>6}{'move':>8}")
    for n, r in rows.items():
        print(f"{DESIGNS[n][0]:31}{r['key_to_pixels_ms']:>9.0f} /{r['key_to_pixels_p95_ms']:>5.0f}{r['kernel_ms']:>9.1f} /"
              f"{r['kernel_p95_ms']:>5.0f}{r['pictures_per_s']:>10.1f}{r['lag_ms']:>6.0f}{r['last_value_wins']:>6}{r['kB_per_move']:>8.0f}")
    ours, interact, floor = rows["ours"], rows["interact"], rows["floor"]
    budgets = [
        ("key -> pixels, times the floor's", ours["key_to_pixels_ms"] / floor["key_to_pixels_ms"], "<=", 1.4),
        ("key -> pixels, times faster than interact", interact["key_to_pixels_ms"] / ours["key_to_pixels_ms"], ">=", 5.5),
        ("pictures per second, times the floor's", ours["pictures_per_s"] / floor["pictures_per_s"], ">=", 0.85),
        ("last value wins, share of drags", sum(labs[0].last_wins) / rounds, ">=", 1.0),
        *((f"MiB that the kernel grows over {what}", after - before, "<=", 8.0) for what, (before, after) in rss.items())]
    print("\nexplore() against its budgets")
    verdicts = {}
    for what, value, sign, limit in budgets:
        word = "PASS" if (value <= limit if sign == "<=" else value >= limit) else "MISS"
        verdicts[what] = dict(value=round(value, 3), budget=f"{sign} {limit:g}", verdict=word)
        print(f"  {word}  {what}: {value:.2f} ({sign} {limit:g})")
    print("  kernel, MiB: " + ", ".join(f"{before:.0f} -> {after:.0f} over {what}" for what, (before, after) in rss.items()))
    return {"chromium": version, "rounds": rounds, "keys": presses, "drag_s": seconds, "designs": rows, "budgets": verdicts,
            "memory_MiB": rss}
