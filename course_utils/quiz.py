r"""Questions to a student: predict before you move, a quiz, flash cards, and a dialogue to read or to hear.

    gate = predict("Where does $q$ go?", {"to the left mode": -1.0, "between the modes": 0.0})      # then: explore(..., predict=gate)
    quiz("03_kl_divergence")                      # reads notebooks/quizzes/03_kl_divergence.json
    flash_cards(3)                                # the terms of lesson 3 in notebooks/glossary.json
    dialogue([("Student", "..."), ("Teacher", "...")])

Texts may hold LaTeX between dollar signs, `code`, **bold** and *italic*. Everything shown is also in the saved notebook as
Markdown, for those who read it without a kernel. Keyboard: Tab and Shift-Tab to move, arrow keys among options, Space or Enter.
"""
import html
import json
import math
import random
import re
import threading
import time
from pathlib import Path

import anywidget
import ipywidgets as W

from .listen import Listen
from .widgets import close_previous, close_tree, publish, style

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LETTERS = "ABCDEFGH"
_LOOK = """
.elbo-quiz { max-width: 52em; padding: 4px 6px 8px; overflow: visible; color: var(--jp-content-font-color1, inherit); }
.elbo-quiz .widget-html-content, .elbo-quiz .widget-htmlmath-content { line-height: 1.5; font-size: var(--jp-content-font-size1, 14px);
  white-space: normal; overflow-wrap: anywhere; }
.elbo-quiz .widget-html, .elbo-quiz .widget-htmlmath { height: auto; overflow: visible; }
.elbo-ask { overflow: visible; }
.elbo-card { border: 1px solid var(--jp-border-color1, #bdbdbd); border-radius: 6px; padding: 8px 12px; margin: 0 0 8px; }
.elbo-options { grid-template-columns: 3.4em minmax(0, 1fr); gap: 4px 0; margin: 4px 0; overflow: visible; }
.elbo-options .widget-radio, .elbo-options .widget-radio-box { display: contents; }
.elbo-options .widget-radio-box label { grid-column: 1 / -1; display: flex; align-items: center; justify-content: flex-end;
  flex-direction: row-reverse; height: auto; min-height: 32px; margin: 0; padding: 0 8px; gap: 6px; cursor: pointer; font-weight: 600;
  border: 1px solid var(--jp-border-color2, #bdbdbd); border-radius: 6px; color: var(--jp-ui-font-color1, inherit); }
.elbo-options .widget-radio-box label input { margin: 0; float: none; width: 16px; height: 16px; flex: none; }
.elbo-options .widget-radio-box label:hover { background: var(--jp-layout-color2, #eee); }
.elbo-options .widget-radio-box label:has(input:checked) { border: 2px solid var(--jp-brand-color1, #1976d2); padding: 0 7px; }
.elbo-options .widget-radio-box label:has(input:disabled) { cursor: default; background: none; }
.elbo-options .elbo-option { grid-column: 2; pointer-events: none; align-self: center; margin: 0; padding: 5px 8px 5px 2px; width: auto; }
""" + "".join(f".elbo-options label:nth-of-type({i}), .elbo-options .elbo-option:nth-child({i + 1}) {{ grid-row: {i}; }}\n"
              for i in range(1, 1 + len(LETTERS))) + """
.elbo-options .widget-radio-box label:focus-within, .elbo-quiz button:focus-visible, .elbo-quiz input[type=text]:focus {
  outline: 3px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
.elbo-quiz .widget-button { color: var(--jp-ui-font-color1, inherit); width: auto; min-width: 7em; align-self: flex-start; }
.elbo-quiz .widget-button:disabled { opacity: .6; cursor: default; }
.elbo-verdict { display: block; border-left: 4px solid var(--jp-border-color1, #999); padding: 2px 10px; }
.elbo-right { border-left-color: var(--jp-success-color1, #388e3c); }
.elbo-wrong { border-left-color: var(--jp-error-color1, #d32f2f); }
.elbo-quiz > .widget-htmlmath { align-self: stretch; width: auto; }
.elbo-quiz .widget-htmlmath-content { flex-grow: 1; }
.elbo-flash { min-height: 6.5em; padding: 12px 16px; border: 2px solid var(--jp-border-color1, #bdbdbd); border-radius: 8px; }
.elbo-flash b { font-size: 1.15em; } .elbo-flash p { margin: .4em 0 0; }
.elbo-turn { margin: 0 0 8px; padding: 6px 12px; border-left: 4px solid var(--jp-brand-color1, #1976d2);
  background: var(--jp-layout-color2, #eee); color: var(--jp-content-font-color1, #212121); border-radius: 0 6px 6px 0; }
.elbo-turn b:first-child { display: block; }
.elbo-other { margin-left: 2.5em; border-left-style: double; border-left-color: var(--jp-warn-color1, #f57c00); }
.elbo-speaking { outline: 2px solid var(--jp-brand-color1, #1976d2); }
"""


class Semantics(anywidget.AnyWidget):
    """An empty widget inside a question, for what ipywidgets does not do: makes the options one radio group (arrow keys), named
    by the question and each option's text, and the verdict a live region; keeps plain keys from JupyterLab; sends what was
    typed when Enter is pressed. Without it everything still works by mouse, Tab and Space."""

    _esm = """
    function render({ model, el }) {
      el.style.display = "none";
      let root, observer, tries = 0;
      const set = (node, name, value) => { if (node && node.getAttribute(name) !== value) node.setAttribute(name, value); };
      const id = (node) => node.id || (node.id = "elbo-" + (window.elboIds = (window.elboIds ?? 0) + 1));
      const asks = () => root.matches(".elbo-ask") ? [root] : [...root.querySelectorAll(".elbo-ask")];
      const name = () => {
        asks().forEach((ask) => {
          const question = ask.querySelector(".elbo-question"), box = ask.querySelector(".widget-radio-box");
          set(ask.querySelector("input[type=text]"), "aria-describedby", id(question));
          if (!box) return;
          set(box, "role", "radiogroup");
          set(box, "aria-labelledby", id(question));
          const texts = ask.querySelectorAll(".elbo-option");
          box.querySelectorAll("input").forEach((radio, i) => {
            set(radio, "name", id(box));
            set(radio, "aria-labelledby", id(radio.parentElement) + " " + id(texts[i]));
          });
        });
        root.querySelectorAll(".elbo-say").forEach((node) => set(node, "role", "status"));
      };
      const ours = (event) => {                    // a plain key pressed here is no command to JupyterLab (arrows move cells, x cuts)
        const { target, key } = event, theirs = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && key === "Enter");
        if (!root.contains(target)) return;
        target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
        if (key === "Enter" && !theirs && target.matches("input[type=text]"))
          model.send({ ask: asks().indexOf(target.closest(".elbo-ask")), text: target.value });
      };
      const start = () => {
        root = el.closest(".elbo-quiz");
        if (!root) { if (tries++ < 200) setTimeout(start, 50); return; }
        window.addEventListener("keydown", ours, true);
        name();
        observer = new MutationObserver(name);
        observer.observe(root, { subtree: true, childList: true });
      };
      start();
      return () => { observer?.disconnect(); window.removeEventListener("keydown", ours, true); };
    }
    export default { render };
    """


# ------------------------------------------------------------------------------------------------------------- texts

_CODE_OR_LATEX = re.compile(r"(`[^`]+`|(?<!\\)\$\$.+?(?<!\\)\$\$|(?<!\\)\$.+?(?<!\\)\$)")
_BOLD, _ITALIC = re.compile(r"\*\*(\S(?:.*?\S)?)\*\*"), re.compile(r"\*(\S(?:.*?\S)?)\*")


def _mark_up(text, code, bold, italic):
    """Replace the marks of `code`, **bold** and *italic*; what is in code or LaTeX stays as it is."""
    kept = _CODE_OR_LATEX.findall(text)
    text = _CODE_OR_LATEX.sub("\x00", text)                                  # no text holds this character: see _check_text
    text = _ITALIC.sub(italic, _BOLD.sub(bold, text))
    kept = iter(code.format(k[1:-1]) if k[0] == "`" else k for k in kept)
    return re.sub("\x00", lambda _: next(kept), text)


def _html(text):
    """Escaped HTML of a text with LaTeX, `code`, **bold** and *italic*."""
    return _mark_up(html.escape(text, quote=False), "<code>{}</code>", r"<b>\1</b>", r"<i>\1</i>")


def _plain(text):
    """The text without the marks of code, bold and italic; LaTeX stays."""
    return _mark_up(text, "{}", r"\1", r"\1")


def _check_text(text, what):
    """A text that is there, has pairs of dollar signs, and no backslash that JSON or Python has eaten."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} is missing or empty.")
    if eaten := re.search(r"[\x00-\x1f]", text):
        raise ValueError(f"{what} holds the control character {eaten[0]!r}: in JSON write two backslashes before a LaTeX "
                         r"command (\\theta), in Python an r-string.")
    if len(re.findall(r"(?<!\\)\$", text)) % 2:
        raise ValueError(f"{what} has an odd number of dollar signs: {text!r}.")


def _number(text, unit="", lo=-math.inf, hi=math.inf):
    """What was typed as a float; ValueError with a friendly line if it is none."""
    typed = text.strip().replace("\u2212", "-")
    if not typed:
        raise ValueError("Type a number first.")
    if "," in typed:
        raise ValueError(f"{typed} has a comma: write the decimals after a point, like 0.5.")
    try:
        value = float(typed)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{typed!r} is not a number: write it like 0.5 or -1.2e-3" + (f", without {unit}." if unit else "."))
    if not lo <= value <= hi:
        raise ValueError(f"{typed} is out of range: choose a number from {lo:g} to {hi:g}.")
    return value


# ------------------------------------------------------------------------------------------------------------- parts

def _say(text="", kind=""):
    """HTML of a line under a question."""
    return f"<div class='elbo-verdict {kind}'>{text}</div>" if text else ""


def _text(value="", *classes):
    widget = W.HTMLMath(value)
    for c in classes:
        widget.add_class(c)
    return widget


def _button(name, tooltip, action):
    button = W.Button(description=name, tooltip=tooltip)
    button.on_click(lambda _: action())
    return button


def _box(children, *classes, kind=W.VBox):
    box = kind(children)
    for c in classes:
        box.add_class(c)
    return box


class _Options:
    """Radio buttons A, B, C; beside each its text, with LaTeX (a radio button's own text would show it raw)."""

    def __init__(self, texts):
        self.texts, letters = texts, LETTERS[:len(texts)]
        self.radio = W.RadioButtons(options=[(c, i) for i, c in enumerate(letters)], value=None)
        self.widget = _box([self.radio, *(_text(_html(t), "elbo-option") for t in texts)], "elbo-options", kind=W.GridBox)

    def read(self):
        if self.radio.value is None:
            raise ValueError("Choose an answer first.")
        return self.radio.value

    def show(self, i):
        return f"{LETTERS[i]} ({_html(self.texts[i])})"

    def clear(self):
        self.radio.value = None

    def lock(self, locked=True):
        self.radio.disabled = locked

    def lines(self):
        return [f"- {LETTERS[i]}. {t}" for i, t in enumerate(self.texts)]


class _Entry:
    """A line to type a number into. `check` is what its button does.

    JupyterLab may deliver the messages of two widgets by two threads, so that a click can overtake the number that was typed
    before it (seen in 1 of 14 quick clicks): a number that comes within half a second of a click that missed it is checked.
    """

    def __init__(self, check, unit, lo=-math.inf, hi=math.inf):
        self.unit, self.lo, self.hi, self._check, self._until = unit, lo, hi, check, 0.0
        name = "Your answer" + (f" in {unit}" if unit else "") + (f", from {lo:g} to {hi:g}" if hi < math.inf else "")
        room = W.Layout(width="98%", max_width=f"{0.6 * len(name) + 12:.0f}em")  # for the name and ten digits
        self.widget = W.Text(description=name, placeholder="a number", continuous_update=False,
                             style={"description_width": "initial"}, layout=room)
        self.widget.observe(lambda _: time.monotonic() < self._until and self._check(), "value")

    def read(self):
        self._until = time.monotonic() + 0.5
        value = _number(self.widget.value, self.unit, self.lo, self.hi)
        self._until = 0.0
        return value

    def show(self, value):
        return html.escape(f"{value:g} {self.unit}".strip())

    def clear(self):
        self._until = 0.0
        self.widget.value = ""

    def lock(self, locked=True):
        self.widget.disabled = locked

    def lines(self):
        return [f"- {self.widget.description}: ____"]


class _Shown:
    """Something with a `.widget` and the same content as `.markdown`; showing it closes what the cell's last run has shown."""

    def _ipython_display_(self):
        old = close_previous(self)
        publish(self.widget, {"text/markdown": self.markdown, "text/plain": "\n".join(_plain(line) for line in self.markdown.split("\n"))})
        return old

    def _build(self, children, *classes):
        semantics = Semantics()
        semantics.on_msg(self._enter)
        self.widget = _box([*children, semantics, style(_LOOK)], "elbo-quiz", *classes)

    def _enter(self, _, content, __):
        """Enter was pressed in the number field of a question."""
        ask = self.questions[content["ask"]]
        ask.entry.widget.value = content["text"]
        ask.check()

    def close(self):
        """Close every widget of this."""
        close_tree(self.widget)


# ----------------------------------------------------------------------------------------------------------- predict

class Predict(_Shown):
    """A question to be answered before an explorer unlocks; call it by its name `predict`.

    question : text; LaTeX between dollar signs.
    options : {option text: value} (2 to 8 of them), or
    number : (low, high) for a number to be typed; `unit` says what it counts.

    `.value` is the prediction (None before, and when skipped), `.answered` says whether the explorer may unlock, `.skipped`
    whether the student pressed "Just show me". Raises ValueError with one sentence that says what is wrong.
    """

    def __init__(self, question, options=None, *, number=None, unit=""):
        _check_text(question, "predict: the question")
        if (options is None) == (number is None):
            raise ValueError("predict: give either options {'text': value, ...} or number=(low, high).")
        self.question, self.value, self.answered, self.skipped = question, None, False, False
        self.questions, self._callbacks, self._lock = [self], [], threading.Lock()
        if options is not None:
            if not isinstance(options, dict) or not 2 <= len(options) <= len(LETTERS):
                raise ValueError(f"predict: options is a dict {{'text': value}} of 2 to {len(LETTERS)} options, not {options!r}.")
            for i, text in enumerate(options):
                _check_text(text, f"predict: option {LETTERS[i]}")
            self._values, self.entry = list(options.values()), _Options(list(options))
        else:
            lo, hi = _range(number)
            self._values, self.entry = None, _Entry(self.check, unit, lo, hi)
        self._ask, self._message = _text(_html(f"**Predict before you move.** {question}"), "elbo-question"), _text("", "elbo-say")
        self.lock_button = _button("Lock in my prediction", "After this the answer stays and the picture below unlocks", self.check)
        self.skip_button = _button("Just show me", "Unlock the picture below without a prediction", self.skip)
        self._build([self._ask, self.entry.widget, W.HBox([self.lock_button, self.skip_button]), self._message], "elbo-ask")

    @property
    def markdown(self):
        return "\n".join([f"**Predict before you move.** {self.question}", "", *self.entry.lines()])

    @property
    def message(self):
        """The line under the buttons, without its markup."""
        return html.unescape(re.sub(r"<[^>]*>", "", self._message.value))

    def on_answer(self, callback):
        """callback() is called once, when the question is answered or skipped; at once if that has happened."""
        if self.answered:
            callback()
        else:
            self._callbacks.append(callback)

    def off_answer(self, callback):
        """Forget a callback, for example that of a closed explorer."""
        self._callbacks = [c for c in self._callbacks if c != callback]

    def answer(self, value):
        """Answer from code: one of the options' values, or a number in the range."""
        if self._values is None:
            self.entry.widget.value = repr(value)
            value = self.entry.read()
        elif value in self._values:
            self.entry.radio.value = self._values.index(value)
        else:
            raise ValueError(f"predict: {value!r} is not the value of an option; those are {self._values}.")
        self._settle(value)

    def skip(self):
        """Unlock without a prediction."""
        self._settle(None)

    def check(self):
        """What the button does: lock in what is chosen or typed, or say what is missing."""
        try:
            answer = self.entry.read()
        except ValueError as e:
            self._message.value = _say(html.escape(str(e)))
            return
        self._settle(answer if self._values is None else self._values[answer])

    def _settle(self, value):
        with self._lock:
            if self.answered:
                return
            self.value, self.answered, self.skipped = value, True, value is None
        self.entry.lock()
        self.lock_button.disabled = self.skip_button.disabled = True
        if value is None:
            line = "No prediction this time: the picture is unlocked."
        else:
            shown = self.entry.show(value if self._values is None else self._values.index(value))
            line = f"<b>Locked in:</b> {shown}. Now move the sliders and see whether you were right."
        self._message.value = _say(line)
        callbacks, self._callbacks, errors = self._callbacks, [], []
        for callback in callbacks:
            try:
                callback()
            except Exception as e:      # one explorer's error must not leave another one locked
                errors.append(e)
        if errors:
            raise errors[0]

    def _ipython_display_(self):
        for old in super()._ipython_display_():
            if isinstance(old, Predict) and old.question == self.question:      # an explorer may still wait for the old one
                self.on_answer(lambda old=old: old._settle(self.value))

    def __repr__(self):
        return f"predict({self.question!r}): " + (repr(self.value) if self.answered else "not answered")


def _range(number):
    try:
        lo, hi = (float(v) for v in number)
    except (TypeError, ValueError):
        raise ValueError(f"predict: number is a pair (low, high), not {number!r}.") from None
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"predict: the range {number!r} is empty; low must be below high, and both finite.")
    return lo, hi


# -------------------------------------------------------------------------------------------------------------- quiz

def _find(name):
    """A file of the notebooks folder: the one beside the running notebook, else the one of the course."""
    for folder in (Path.cwd(), Path.cwd().parent, Path.cwd() / "notebooks", NOTEBOOKS):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"There is no file notebooks/{name}; the course keeps it in {NOTEBOOKS}.")


def _read(path):
    def pairs(items):
        keys = [k for k, _ in items]
        if twice := sorted({k for k in keys if keys.count(k) > 1}):
            raise ValueError(f"{path.name} has the key {twice[0]!r} twice in one place.")
        return dict(items)
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs)
    except json.JSONDecodeError as e:
        hint = r" In JSON a LaTeX command needs two backslashes: \\theta." if "escape" in e.msg else ""
        raise ValueError(f"{path.name}, line {e.lineno}: this is not valid JSON ({e.msg}).{hint}") from None


def _keys(entry, where, needed, optional=()):
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is not an object {{...}} but {entry!r}.")
    for k in entry:
        if k not in (*needed, *optional):
            raise ValueError(f"{where} has the unknown key {k!r}; it may have {', '.join((*needed, *optional))}.")
    for k in needed:
        if k not in entry:
            raise ValueError(f"{where} has no {k!r}.")


def _is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)


def load_quiz(name):
    """The questions in notebooks/quizzes/<name>.json, checked. ValueError or FileNotFoundError says in one sentence what is wrong."""
    path = _find(f"quizzes/{name}.json")
    data = _read(path)
    _keys(data, path.name, ("lesson", "questions"))
    if not isinstance(data["lesson"], int) or isinstance(data["lesson"], bool):
        raise ValueError(f"{path.name}: 'lesson' is the lesson's number, not {data['lesson']!r}.")
    if not isinstance(data["questions"], list) or not data["questions"]:
        raise ValueError(f"{path.name} has no questions.")
    for i, q in enumerate(data["questions"], 1):
        where = f"{path.name}, question {i}"
        if isinstance(q, dict) and "options" in q:
            _keys(q, where, ("question", "options", "answer", "why"))
            options = q["options"]
            if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
                raise ValueError(f"{where}: 'options' is a list of 2 to {len(LETTERS)} texts.")
            for letter, text in zip(LETTERS, options):
                _check_text(text, f"{where}: option {letter}")
            if twice := [o for o in options if options.count(o) > 1]:
                raise ValueError(f"{where} has the option {twice[0]!r} twice.")
            if isinstance(q["answer"], bool) or not isinstance(q["answer"], int) or not 0 <= q["answer"] < len(options):
                raise ValueError(f"{where}: 'answer' is the right option's index, 0 to {len(options) - 1}, not {q['answer']!r}.")
        else:
            _keys(q, where, ("question", "answer", "tolerance", "why"), ("unit", "options"))
            if not _is_number(q["answer"]):
                raise ValueError(f"{where}: without options 'answer' is a number, not {q['answer']!r}.")
            if not _is_number(q["tolerance"]) or q["tolerance"] < 0:
                raise ValueError(f"{where}: 'tolerance' is a number >= 0, not {q['tolerance']!r}.")
            if not isinstance(q.get("unit", ""), str):
                raise ValueError(f"{where}: 'unit' is a text, not {q['unit']!r}.")
        for key in ("question", "why"):
            _check_text(q[key], f"{where}: {key!r}")
    return data


class _Question:
    """One question of a quiz with its Check button; `right` is None, True or False."""

    def __init__(self, number, total, q, changed):
        self.q, self.right, self._changed = q, None, changed
        self.entry = _Options(q["options"]) if "options" in q else _Entry(self.check, q.get("unit", ""))
        self.button = _button("Check", f"Check question {number}", self.check)
        self._verdict = _text("", "elbo-say")
        ask = _text(f"<b>Question {number} of {total}.</b> {_html(q['question'])}", "elbo-question")
        self.widget = _box([ask, self.entry.widget, self.button, self._verdict], "elbo-ask", "elbo-card")

    @property
    def verdict(self):
        return html.unescape(re.sub(r"<[^>]*>", "", self._verdict.value))

    def check(self):
        if self.right is not None:
            return
        try:
            given = self.entry.read()
        except ValueError as e:
            self._verdict.value = _say(html.escape(str(e)))
            return
        q, answer = self.q, self.q["answer"]
        # a relative slack of 1e-9, so that 0.3 is within 0.1 of 0.2 in spite of rounding
        self.right = given == answer if "options" in q else abs(given - answer) <= q["tolerance"] + 1e-9 * max(1, abs(answer))
        line = "<b>✓ Correct.</b>" if self.right else f"<b>✗ Not this time.</b> The answer is {self.entry.show(answer)}."
        self._verdict.value = _say(f"{line} {_html(self.q['why'])}", "elbo-right" if self.right else "elbo-wrong")
        self.entry.lock()
        self.button.disabled = True
        self._changed()

    def reset(self):
        self.right = None
        self._verdict.value = ""
        self.entry.clear()
        self.entry.lock(False)
        self.button.disabled = False


class Quiz(_Shown):
    """The quiz of a lesson, from notebooks/quizzes/<name>.json; call it by its name `quiz`.

    Each question has a Check button, which gives the verdict and the reason at once; the score runs below.
    Raises ValueError (what is wrong in the file, and at which question) or FileNotFoundError.
    """

    def __init__(self, name):
        self.name, data = name, load_quiz(name)
        n = len(data["questions"])
        self.questions = [_Question(i, n, q, self._count) for i, q in enumerate(data["questions"], 1)]
        self._score = _text("", "elbo-say")
        self.again_button = _button("Start again", "Clear all answers of this quiz", self.reset)
        self._build([*(q.widget for q in self.questions), self._score, self.again_button])
        self._count()

    @property
    def markdown(self):
        lines = []
        for i, q in enumerate(self.questions, 1):
            lines += [f"**Question {i}.** {q.q['question']}", "", *q.entry.lines(), ""]
        return "\n".join(lines).rstrip()

    @property
    def score(self):
        """The line with the score, without its markup."""
        return re.sub(r"<[^>]*>", "", self._score.value)

    def _count(self):
        n, done = len(self.questions), [q.right for q in self.questions if q.right is not None]
        line = f"<b>Score: {sum(done)} of {len(done)} right</b>" if done else f"{n} questions"
        line += f", {n - len(done)} to go." if 0 < len(done) < n else "."
        if len(done) == n:
            line += " Well done!" if all(done) else " Read the reasons above, then start again."
        self._score.value = _say(line)

    def reset(self):
        """Clear all answers."""
        for q in self.questions:
            q.reset()
        self._count()

    def __repr__(self):
        return f"quiz({self.name!r}): {self.score}"


# ------------------------------------------------------------------------------------------------------- flash cards

def load_glossary():
    """All entries of notebooks/glossary.json, checked. ValueError or FileNotFoundError says in one sentence what is wrong."""
    path = _find("glossary.json")
    entries, seen = _read(path), set()
    if not isinstance(entries, list):
        raise ValueError(f"{path.name} is not a list of entries [{{...}}, ...].")
    for i, e in enumerate(entries, 1):
        where = f"{path.name}, entry {i}" + (f" ({e['term']})" if isinstance(e, dict) and "term" in e else "")
        _keys(e, where, ("term", "lesson", "definition"), ("aid",))
        if not isinstance(e["lesson"], int) or isinstance(e["lesson"], bool):
            raise ValueError(f"{where}: 'lesson' is the lesson's number, not {e['lesson']!r}.")
        for key in ("term", "definition", "aid"):
            if key in e:
                _check_text(e[key], f"{where}: {key!r}")
        if e["term"].lower() in seen:
            raise ValueError(f"{where}: the term is there twice.")
        seen.add(e["term"].lower())
    return entries


class FlashCards(_Shown):
    """The glossary terms of one lesson, a card at a time; call it by its name `flash_cards`.

    Raises ValueError when the glossary has no term of this lesson, FileNotFoundError when there is no glossary.
    """

    def __init__(self, lesson):
        self.lesson, self.cards = lesson, [e for e in load_glossary() if e["lesson"] == lesson]
        if not self.cards:
            raise ValueError(f"glossary.json has no terms of lesson {lesson!r}.")
        self._order, self._at, self.flipped = list(range(len(self.cards))), 0, False
        self._card = _text("", "elbo-say")
        self.flip_button = _button("Show the definition", "Turn the card", self.flip)
        self.back_button = _button("Previous", "The card before", lambda: self.go(-1))
        self.next_button = _button("Next", "The next card", lambda: self.go(1))
        self.shuffle_button = _button("Shuffle", "Mix the cards and begin with the first", self.shuffle)
        self._build([self._card, W.HBox([self.flip_button, self.back_button, self.next_button, self.shuffle_button],
                                        layout=W.Layout(flex_flow="row wrap"))])
        self._draw()

    @property
    def markdown(self):
        return "\n".join(f"- **{c['term']}**: {c['definition']}" + (f" *Memory aid:* {c['aid']}" if "aid" in c else "")
                         for c in self.cards)

    @property
    def text(self):
        """What the card says now, without its markup."""
        return html.unescape(re.sub(r"<[^>]*>", " ", self._card.value))

    @property
    def card(self):
        """The glossary entry on the table."""
        return self.cards[self._order[self._at]]

    def flip(self):
        """Turn the card over."""
        self.flipped = not self.flipped
        self._draw()

    def go(self, step):
        """Go `step` cards on; after the last comes the first."""
        self._at, self.flipped = (self._at + step) % len(self.cards), False
        self._draw()

    def shuffle(self):
        """Mix the cards and begin with the first."""
        random.Random().shuffle(self._order)
        self._at, self.flipped = 0, False
        self._draw()

    def _draw(self):
        card, back = self.card, ""
        if self.flipped:
            back = f"<p>{_html(card['definition'])}</p>"
            if "aid" in card:
                back += f"<p><i>Memory aid:</i> {_html(card['aid'])}</p>"
        self.flip_button.description = "Show the term" if self.flipped else "Show the definition"
        front = f"<b>{_html(card['term'])}</b>"
        self._card.value = f"<div class='elbo-flash'>Card {self._at + 1} of {len(self.cards)}<br>{front}{back}</div>"

    def __repr__(self):
        return f"flash_cards({self.lesson}): {len(self.cards)} cards"


# ---------------------------------------------------------------------------------------------------------- dialogue

class Dialogue(_Shown):
    """A conversation to read, with a button that speaks it; call it by its name `dialogue`.

    turns : [(speaker, text), ...], in words: no LaTeX, since it is to be heard.
    """

    def __init__(self, turns):
        self.turns = []
        for i, turn in enumerate(turns, 1):
            if isinstance(turn, str) or len(turn) != 2:
                raise ValueError(f"dialogue: turn {i} is a pair (speaker, text), not {turn!r}.")
            for what, text in zip(("speaker", "text"), turn):
                _check_text(text, f"dialogue: the {what} of turn {i}")
                if "$" in text:
                    raise ValueError(f"dialogue: turn {i} has LaTeX; write it in words, so that it can be spoken.")
            self.turns.append(tuple(turn))
        if not self.turns:
            raise ValueError("dialogue: there are no turns.")
        first = self.turns[0][0]
        turns_html = "".join(f"<div class='elbo-turn{'' if who == first else ' elbo-other'}'><b>{_html(who)}</b>{_html(text)}</div>"
                             for who, text in self.turns)
        self.listen = Listen(turns=[[_plain(who), _plain(text)] for who, text in self.turns])
        self._build([W.HTML(turns_html), self.listen])

    @property
    def markdown(self):
        return "\n\n".join(f"**{who}:** {text}" for who, text in self.turns)

    def __repr__(self):
        return f"dialogue of {len(self.turns)} turns"


predict, quiz, flash_cards, dialogue = Predict, Quiz, FlashCards, Dialogue
