"""Names and exact values for what the course puts on a page, for those who hear it instead of seeing it.

ipywidgets 8 gives slider handles no accessible name, no spoken value and a number rounded to 0.1, images no alternative
text, and has no live region; nothing in Python can set them. `Names` is an empty widget whose few lines of JavaScript set
just these attributes on the explorer around it. Where it cannot run, everything still works: only the names are missing.
"""

import anywidget
import traitlets as T


class Names(anywidget.AnyWidget):
    """Put one among the children of a box of class `elbo-explorer`: names the picture (`alt`) and each slider's handle,
    whose `ranges` are [label, min, max], and announces the readout when it has changed."""

    alt = T.Unicode("").tag(sync=True)
    ranges = T.List([]).tag(sync=True)
    _esm = """
    function render({ model, el }) {
      el.style.display = "none";
      let root, observer, tries = 0;
      const set = (node, name, value) => {
        if (node && node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
      };
      const ours = (event) => {  // a plain key pressed on a control is no command to JupyterLab (arrows move cells, x cuts)
        const theirs = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
        if (root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
      };
      const name = () => {
        root.querySelectorAll("img").forEach((img) => set(img, "alt", model.get("alt")));
        const readout = root.querySelector(":scope > .widget-html .widget-html-content");
        set(readout, "role", "status");
        root.querySelectorAll(".widget-slider").forEach((slider) => {
          const label = slider.querySelector(".widget-label")?.textContent ?? "";
          const handle = slider.querySelector(".noUi-handle");
          const shown = slider.querySelector(".widget-readout");
          set(handle, "aria-label", label);
          set(shown, "role", "textbox");
          set(shown, "aria-label", label + ", type a value");
          const value = (shown?.textContent ?? "").trim();
          set(handle, "aria-valuetext", value);
          set(handle, "aria-valuenow", Number(value.replace("\\u2212", "-").replaceAll(",", "")));
          const range = model.get("ranges").find((r) => r[0] === label);
          if (range) { set(handle, "aria-valuemin", range[1]); set(handle, "aria-valuemax", range[2]); }
        });
      };
      const start = () => {
        root = el.closest(".elbo-explorer");
        if (!root) { if (tries++ < 200) setTimeout(start, 50); return; }
        window.addEventListener("keydown", ours, true);
        name();
        observer = new MutationObserver(name);
        observer.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-valuenow", "aria-valuetext"] });
      };
      start();
      return () => { observer?.disconnect(); window.removeEventListener("keydown", ours, true); };
    }
    export default { render };
    """
