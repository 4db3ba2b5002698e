"""Predictions, quizzes, flash cards and dialogues: pressed headless on the real widgets, run in real kernels, fed bad files."""
import json
import subprocess
import sys
from pathlib import Path
from queue import Empty

import nbclient
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from course_utils import quiz as Q
from course_utils import widgets
from course_utils.quiz import dialogue, flash_cards, predict, quiz

ROOT = Path(__file__).resolve().parent.parent
QUIZZES = sorted((ROOT / "notebooks" / "quizzes").glob("*.json"))
MC = {"question": "Is $a<b$?", "options": ["$a$", "b & c", "`code`"], "answer": 1, "why": "Since $a<b$."}
NUM = {"question": "How many nats is a *bit*?", "answer": 0.69, "tolerance": 0.01, "unit": "nats", "why": r"It is $\log 2$."}
CARDS = [{"term": "Nat", "lesson": 1, "definition": "The unit of $\\log_e$.", "aid": "natural"},
         {"term": "Bit", "lesson": 1, "definition": "The unit of $\\log_2$."}, {"term": "ELBO", "lesson": 5, "definition": "A bound."}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A notebooks folder of our own: folder(quiz=..., glossary=...) writes its files (text as it is, else as JSON)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Q, "NOTEBOOKS", tmp_path / "none")

    def write(**files):
        for name, content in files.items():
            path = tmp_path / ("glossary.json" if name == "glossary" else f"quizzes/{name}.json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return tmp_path
    return write


# --------------------------------------------------------------------------------------------------------- predict

def test_predict_locks_in_a_choice_once():
    gate, calls = predict("Where?", {"left": -1.0, "in *between*": 0.0}), []
    gate.on_answer(lambda: calls.append(gate.value))
    assert (gate.value, gate.answered) == (None, False)
    gate.lock_button.click()
    assert gate.message == "Choose an answer first." and not gate.answered and calls == []
    gate.entry.radio.value = 1
    assert not gate.answered                                # choosing is not yet locking in
    gate.lock_button.click()
    assert (gate.value, gate.answered, gate.skipped, calls) == (0.0, True, False, [0.0])
    assert gate.message.startswith("Locked in: B (in between).")
    assert gate.entry.radio.disabled and gate.lock_button.disabled and gate.skip_button.disabled
    gate.skip_button.click()
    gate.lock_button.click()
    assert (gate.value, calls) == (0.0, [0.0])
    gate.on_answer(lambda: calls.append("late"))            # an explorer made afterwards unlocks at once
    assert calls == [0.0, "late"]


def test_predict_can_be_skipped():
    gate, calls = predict("Where?", number=(0, 1)), []
    gate.on_answer(lambda: calls.append(gate.value))
    forgotten = lambda: calls.append("forgotten")
    gate.on_answer(forgotten)
    gate.off_answer(forgotten)
    gate.skip_button.click()
    assert (gate.value, gate.answered, gate.skipped, calls) == (None, True, True, [None])
    assert "No prediction" in gate.message


def test_one_failing_explorer_leaves_no_other_locked():
    gate, calls = predict("Where?", number=(0, 1)), []
    gate.on_answer(lambda: 1 / 0)
    gate.on_answer(lambda: calls.append(gate.value))
    with pytest.raises(ZeroDivisionError):
        gate.answer(0.5)
    assert calls == [0.5] and gate.answered


@pytest.mark.parametrize("typed, line", [
    ("", "Type a number first."), ("0,5", "0,5 has a comma: write the decimals after a point, like 0.5."),
    ("half", "'half' is not a number: write it like 0.5 or -1.2e-3, without nats."), ("nan", "'nan' is not a number"),
    ("1e999", "'1e999' is not a number"), ("3.5", "3.5 is out of range: choose a number from -3 to 3."),
    ("<b>", "'<b>' is not a number")])
def test_predict_answers_bad_typing_with_a_friendly_line(typed, line):
    gate = predict("How much?", number=(-3, 3), unit="nats")
    gate.entry.widget.value = typed
    gate.lock_button.click()
    assert line in gate.message and not gate.answered


@pytest.mark.parametrize("typed, value", [("0.5", 0.5), (" -3 ", -3.0), ("\u22121.5", -1.5), ("1e-1", 0.1), (".5", 0.5)])
def test_predict_takes_numbers(typed, value):
    gate = predict("How much?", number=(-3, 3), unit="nats")
    gate.entry.widget.value = typed
    gate.lock_button.click()
    assert gate.value == value and f"{value:g} nats" in gate.message


def test_a_number_that_arrives_after_the_click_is_checked():
    """JupyterLab may deliver two widgets' messages by two threads: the click first, then the number typed before it."""
    gate = predict("How much?", number=(-3, 3))
    gate.lock_button.click()
    assert gate.message == "Type a number first."
    gate.entry.widget.value = "2"
    assert gate.value == 2.0


def test_enter_sends_the_number_with_the_key():
    """What the browser sends when Enter is pressed: number and question in one message."""
    gate = predict("How much?", number=(-3, 3))
    (semantics,) = [w for w in gate.widget.children if isinstance(w, Q.Semantics)]
    semantics._handle_custom_msg({"ask": 0, "text": "1,5"}, [])
    assert "comma" in gate.message
    semantics._handle_custom_msg({"ask": 0, "text": "1.5"}, [])
    assert gate.value == 1.5


def test_predict_from_code():
    gate = predict("Where?", {"left": -1, "right": "r"})
    with pytest.raises(ValueError, match="not the value of an option"):
        gate.answer(7)
    gate.answer("r")
    assert gate.value == "r" and "B (right)" in gate.message
    gate = predict("How much?", number=(0, 1))
    with pytest.raises(ValueError, match="out of range"):
        gate.answer(2)
    gate.answer(0.25)
    assert gate.value == 0.25


@pytest.mark.parametrize("kw, message", [
    (dict(question=""), "the question is missing or empty"),
    (dict(question="Where?"), "give either options"),
    (dict(question="Where?", options={"a": 1, "b": 2}, number=(0, 1)), "give either options"),
    (dict(question="Where?", options={"a": 1}), "of 2 to 8 options"),
    (dict(question="Where?", options=["a", "b"]), "options is a dict"),
    (dict(question="Where?", options={"a": 1, "": 2}), "option B is missing or empty"),
    (dict(question="Where?", options={"a": 1, "$b": 2}), "option B has an odd number of dollar signs"),
    (dict(question="Is $\theta$ big?", number=(0, 1)), "control character '\\\\t'"),
    (dict(question="Where?", number=(1, 1)), r"range \(1, 1\) is empty"),
    (dict(question="Where?", number=(2, 1)), r"range \(2, 1\) is empty"),
    (dict(question="Where?", number=(0, float("inf"))), "both finite"),
    (dict(question="Where?", number=3), "a pair"),
    (dict(question="Where?", number=(1, 2, 3)), "a pair")])
def test_predict_bad_input(kw, message):
    with pytest.raises(ValueError, match=message):
        predict(**kw)


# ------------------------------------------------------------------------------------------------------------ quiz

def test_quiz_by_its_buttons(folder):
    folder(demo={"lesson": 1, "questions": [MC, NUM]})
    q = quiz("demo")
    one, two = q.questions
    assert q.score == "2 questions."
    one.button.click()
    assert one.verdict == "Choose an answer first." and one.right is None
    one.entry.radio.value = 0
    one.button.click()
    assert one.verdict == "✗ Not this time. The answer is B (b & c). Since $a<b$." and one.right is False
    assert one.entry.radio.disabled and one.button.disabled and q.score == "Score: 0 of 1 right, 1 to go."
    two.entry.widget.value = "0,7"
    two.button.click()
    assert "comma" in two.verdict and two.right is None
    two.entry.widget.value = "0.6999"
    two.button.click()
    assert two.verdict == r"✓ Correct. It is $\log 2$." and two.right is True
    assert q.score == "Score: 1 of 2 right. Read the reasons above, then start again."
    q.again_button.click()
    assert q.score == "2 questions." and (one.right, one.verdict, one.entry.radio.value) == (None, "", None)
    assert two.entry.widget.value == "" and not two.entry.widget.disabled and not two.button.disabled
    one.entry.radio.value = 1
    one.button.click()
    two.entry.widget.value = "0.69"
    two.button.click()
    assert one.verdict.startswith("✓ Correct.") and q.score == "Score: 2 of 2 right. Well done!"


@pytest.mark.parametrize("typed, right", [("0.68", True), ("0.70", True), ("0.701", False), ("0.679", False), ("-0.69", False)])
def test_quiz_tolerance_includes_its_ends(folder, typed, right):
    folder(demo={"lesson": 1, "questions": [NUM]})
    (two,) = quiz("demo").questions
    two.entry.widget.value = typed
    two.button.click()
    assert two.right is right
    if not right:
        assert "The answer is 0.69 nats." in two.verdict


def _without(d, key):
    return {k: v for k, v in d.items() if k != key}


@pytest.mark.parametrize("content, message", [
    ('{"lesson": 1,\n "questions": [\n  {"question": "x",}]}', r"bad.json, line 3: this is not valid JSON"),
    ('{"lesson": 1, "questions": [{"question": "$\\theta \\sigma$"}]}', r"line 1.*two backslashes"),
    ('{"lesson": 1, "lesson": 2, "questions": []}', "bad.json has the key 'lesson' twice"),
    ([], r"bad.json is not an object"),
    ({"lesson": 1}, "bad.json has no 'questions'"),
    ({"lesson": 1, "questions": []}, "bad.json has no questions"),
    ({"lesson": "one", "questions": [MC]}, "'lesson' is the lesson's number, not 'one'"),
    ({"lesson": 1, "questions": [MC], "title": "x"}, "bad.json has the unknown key 'title'"),
    ({"lesson": 1, "questions": [MC, "what?"]}, "bad.json, question 2 is not an object"),
    ({"lesson": 1, "questions": [MC, _without(MC, "answer")]}, "bad.json, question 2 has no 'answer'"),
    ({"lesson": 1, "questions": [_without(MC, "why")]}, "question 1 has no 'why'"),
    ({"lesson": 1, "questions": [_without(NUM, "answer")]}, "question 1 has no 'answer'"),
    ({"lesson": 1, "questions": [_without(NUM, "tolerance")]}, "question 1 has no 'tolerance'"),
    ({"lesson": 1, "questions": [MC | {"hint": "x"}]}, "question 1 has the unknown key 'hint'"),
    ({"lesson": 1, "questions": [MC | {"unit": "nats"}]}, "question 1 has the unknown key 'unit'"),
    ({"lesson": 1, "questions": [MC | {"answer": 3}]}, "question 1: 'answer' is the right option's index, 0 to 2, not 3"),
    ({"lesson": 1, "questions": [MC | {"answer": -1}]}, "not -1"),
    ({"lesson": 1, "questions": [MC | {"answer": "b"}]}, "not 'b'"),
    ({"lesson": 1, "questions": [MC | {"answer": True}]}, "not True"),
    ({"lesson": 1, "questions": [MC | {"options": ["a", "b", "a"]}]}, "question 1 has the option 'a' twice"),
    ({"lesson": 1, "questions": [MC | {"options": ["a"]}]}, "'options' is a list of 2 to 8 texts"),
    ({"lesson": 1, "questions": [MC | {"options": ["a", 2]}]}, "question 1: option B is missing or empty"),
    ({"lesson": 1, "questions": [MC | {"question": " "}]}, "question 1: 'question' is missing or empty"),
    ({"lesson": 1, "questions": [MC | {"why": "since $a"}]}, "question 1: 'why' has an odd number of dollar signs"),
    ({"lesson": 1, "questions": [MC | {"why": "$\theta$"}]}, "two backslashes"),
    ({"lesson": 1, "questions": [NUM | {"answer": "0.5"}]}, "without options 'answer' is a number, not '0.5'"),
    ({"lesson": 1, "questions": [NUM | {"answer": float("nan")}]}, "'answer' is a number, not nan"),
    ({"lesson": 1, "questions": [NUM | {"tolerance": -1}]}, "'tolerance' is a number >= 0, not -1"),
    ({"lesson": 1, "questions": [NUM | {"unit": 3}]}, "'unit' is a text, not 3")])
def test_quiz_bad_file_is_named_in_one_sentence(folder, content, message):
    folder(bad=content)
    with pytest.raises(ValueError, match=message) as e:
        quiz("bad")
    assert "\n" not in str(e.value)


def test_missing_files_are_named(folder):
    folder()
    with pytest.raises(FileNotFoundError, match="notebooks/quizzes/nowhere.json"):
        quiz("nowhere")
    with pytest.raises(FileNotFoundError, match="notebooks/glossary.json"):
        flash_cards(1)


# ----------------------------------------------------------------------------------------------------- flash cards

def test_flash_cards(folder):
    folder(glossary=CARDS)
    f = flash_cards(1)
    assert "Card 1 of 2" in f.text and "Nat" in f.text and "unit" not in f.text
    f.flip_button.click()
    assert "The unit of $\\log_e$." in f.text and "Memory aid:" in f.text and "natural" in f.text
    assert f.flip_button.description == "Show the term"
    f.next_button.click()
    assert "Card 2 of 2" in f.text and "Bit" in f.text and "unit" not in f.text
    f.next_button.click()
    assert "Card 1 of 2" in f.text
    f.back_button.click()
    assert f.card["term"] == "Bit"
    orders = set()
    for _ in range(60):
        f.shuffle_button.click()
        assert "Card 1 of 2" in f.text
        seen = [f.card["term"]]
        f.next_button.click()
        orders.add((*seen, f.card["term"]))
    assert orders == {("Nat", "Bit"), ("Bit", "Nat")}


@pytest.mark.parametrize("content, message", [
    (CARDS, "glossary.json has no terms of lesson 3"),
    ({}, "glossary.json is not a list"),
    ("[{]", "glossary.json, line 1: this is not valid JSON"),
    ([CARDS[0], _without(CARDS[1], "definition")], r"glossary.json, entry 2 \(Bit\) has no 'definition'"),
    ([CARDS[0] | {"lesson": "1"}], "'lesson' is the lesson's number"),
    ([CARDS[0] | {"page": 1}], "unknown key 'page'"),
    ([CARDS[0] | {"aid": ""}], "'aid' is missing or empty"),
    ([CARDS[0] | {"definition": "$x"}], "odd number of dollar signs"),
    ([CARDS[0] | {"term": 3}], "'term' is missing or empty"),
    ([CARDS[0], CARDS[0] | {"term": "NAT"}], r"entry 2 \(NAT\): the term is there twice")])
def test_bad_glossary_is_named_in_one_sentence(folder, content, message):
    folder(glossary=content)
    with pytest.raises(ValueError, match=message):
        flash_cards(3)


# -------------------------------------------------------------------------------------------------------- dialogue

def test_dialogue():
    d = dialogue([("Student", "Is `log` *always* positive?"), ("Teacher", "No: log 0.5 < 0.")])
    assert d.listen.turns == [["Student", "Is log always positive?"], ["Teacher", "No: log 0.5 < 0."]]
    assert "<code>log</code> <i>always</i>" in d.widget.children[0].value and "log 0.5 &lt; 0" in d.widget.children[0].value


@pytest.mark.parametrize("turns, message", [
    ([], "no turns"), ([("A", "b"), ("A",)], "turn 2 is a pair"), (["ab"], "turn 1 is a pair"),
    ([("A", "")], "the text of turn 1 is missing"), ([("", "b")], "the speaker of turn 1 is missing"),
    ([("A", "b"), ("B", "see $x$")], "turn 2 has LaTeX"), ([("A", "b", "c")], "turn 1 is a pair")])
def test_dialogue_bad_input(turns, message):
    with pytest.raises(ValueError, match=message):
        dialogue(turns)


# ----------------------------------------------------------------------------------------------------------- texts

@pytest.mark.parametrize("text, shown", [
    ("$a<b$ & *c*", "$a&lt;b$ &amp; <i>c</i>"), ("$a*b*c$", "$a*b*c$"), ("`q*` and **$x$**", "<code>q*</code> and <b>$x$</b>"),
    (r"costs \$5, $x_i$ not_i", r"costs \$5, $x_i$ not_i"), ("2 * 3 * 4", "2 * 3 * 4"), ("<script>", "&lt;script&gt;"),
    (r"$\%$ $`$ `$`", r"$\%$ $`$ <code>$</code>")])
def test_texts_become_html(text, shown):
    assert Q._html(text) == shown


# ------------------------------------------------------------------------------------------------- the course's own

@pytest.mark.parametrize("path", QUIZZES, ids=lambda p: p.stem)
def test_quiz_of_the_course(path):
    data = Q.load_quiz(path.stem)
    assert len(data["questions"]) == 5 and path.stem.startswith(f"{data['lesson']:02d}_")
    assert len({q["question"] for q in data["questions"]}) == 5
    shown = quiz(path.stem)
    for question, q in zip(shown.questions, data["questions"]):         # the right answer is accepted, a wrong one is not
        def give(value, question=question, q=q):
            if "options" in q:
                question.entry.radio.value = value
            else:
                question.entry.widget.value = repr(value)
            question.button.click()
            return question.right
        wrong = (q["answer"] + 1) % len(q["options"]) if "options" in q else q["answer"] + 2 * q["tolerance"] + 1
        assert give(wrong) is False
        question.reset()
        assert give(q["answer"]) is True
    assert shown.score.endswith("Well done!")


def test_glossary_of_the_course():
    for lesson in {e["lesson"] for e in Q.load_glossary()}:
        cards = flash_cards(lesson)
        for _ in cards.cards:
            cards.flip_button.click()
            cards.next_button.click()


def test_every_quiz_is_found():
    assert QUIZZES, "no quiz files in notebooks/quizzes: the test above would test nothing"


# --------------------------------------------------------------------------------------------- shown in real kernels

CELLS = ['from course_utils.quiz import dialogue, flash_cards, predict, quiz\n'
         'gate = predict("Is $x$ big?", {"yes, **$x$**": 1, "no": 0})\ngate',
         'quiz("demo")', 'flash_cards(1)', 'dialogue([("A", "one"), ("B", "`two`")])', 'predict("How?", number=(0, 1), unit="nats")']
MARKDOWN = ["**Predict before you move.** Is $x$ big?\n\n- A. yes, **$x$**\n- B. no",
            "**Question 1.** Is $a<b$?\n\n- A. $a$\n- B. b & c\n- C. `code`\n\n"
            "**Question 2.** How many nats is a *bit*?\n\n- Your answer in nats: ____",
            "- **Nat**: The unit of $\\log_e$. *Memory aid:* natural\n- **Bit**: The unit of $\\log_2$.",
            "**A:** one\n\n**B:** `two`",
            "**Predict before you move.** How?\n\n- Your answer in nats, from 0 to 1: ____"]


def test_saved_outputs_and_strict_nbval(folder):
    """Each shows two outputs, first Markdown and plain text, then the live view alone; a second run reproduces the first."""
    here = folder(demo={"lesson": 1, "questions": [MC, NUM]}, glossary=CARDS)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbclient.NotebookClient(nb, resources={"metadata": {"path": str(here)}}, kernel_name="python3").execute()
    for cell, markdown in zip(nb.cells, MARKDOWN):
        still, live = cell.outputs
        assert still.output_type == live.output_type == "display_data"
        assert set(still.data) == {"text/markdown", "text/plain"} and set(live.data) == {widgets.VIEW}
        assert still.data["text/markdown"] == markdown
        assert "**" not in still.data["text/plain"] and "`" not in still.data["text/plain"]
    nb.metadata.pop("widgets")
    nbformat.write(nb, here / "shown.ipynb")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "shown.ipynb"],
                         cwd=here, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and f"{len(CELLS)} passed" in run.stdout, run.stdout


@pytest.fixture
def kernel():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))

    def run(code, cell=None):
        """What JupyterLab sends when a cell runs: the code, and in the metadata the cell's id. Returns what was printed."""
        content = dict(code=code, silent=False, store_history=True, user_expressions={}, allow_stdin=False, stop_on_error=True)
        msg = client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        client.shell_channel.send(msg)
        printed = []
        while True:
            try:
                reply = client.get_iopub_msg(timeout=60)
            except Empty:
                raise AssertionError(f"no answer from the kernel to {code!r}") from None
            if reply["parent_header"].get("msg_id") != msg["header"]["msg_id"]:
                continue
            if reply["msg_type"] == "error":
                raise AssertionError("\n".join(reply["content"]["traceback"]))
            if reply["msg_type"] == "stream":
                printed.append(reply["content"]["text"])
            if reply["msg_type"] == "status" and reply["content"]["execution_state"] == "idle":
                return "".join(printed).strip()
    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_cell_run_again_leaves_no_widgets_behind(kernel):
    kernel("from ipywidgets.widgets.widget import _instances as alive\nfrom course_utils.quiz import dialogue, predict")
    shows = 'dialogue([("A", "one"), ("B", "two")])'
    kernel(shows, "cell-1")
    one = int(kernel("print(len(alive))"))
    assert one > 0
    for _ in range(5):
        kernel(shows, "cell-1")
    assert int(kernel("print(len(alive))")) == one
    kernel(shows, "cell-2")                                  # another cell's widgets live beside them
    assert int(kernel("print(len(alive))")) == 2 * one
    both = f"from IPython.display import display\ndisplay({shows})\ndisplay({shows})"
    kernel(both, "cell-1")                                   # two in one run live side by side
    assert int(kernel("print(len(alive))")) == 3 * one
    kernel("d = " + shows + "\nd", "cell-1")
    kernel("d", "cell-1")                                    # the same object shown again stays
    assert int(kernel("print(len(alive), )")) == 2 * one
    assert kernel("print(d.widget.comm is not None)") == "True"
    kernel(shows)                                            # without a cell id (nbclient, a console) nothing is closed
    kernel(shows)
    assert int(kernel("print(len(alive))")) == 4 * one


def test_a_question_asked_again_answers_for_the_old_one(kernel):
    """Re-running only the question's cell must not leave its explorer locked for ever."""
    asks = 'from course_utils.quiz import predict\ngate = predict("Where?", {"a": 1.0, "b": 2.0})\ngate'
    kernel(asks, "cell-1")
    kernel("old, said = gate, []\nold.on_answer(lambda: said.append(old.value))")
    kernel(asks, "cell-1")
    assert kernel("gate.answer(2.0)\nprint(gate is old, said, old.value, old.answered)") == "False [2.0] 2.0 True"


def test_publish_in_a_terminal_prints_the_text(capsys):
    d = dialogue([("A", "one"), ("B", "two")])
    d._ipython_display_()
    assert capsys.readouterr().out == "A: one\n\nB: two\n"
    with pytest.raises(ValueError, match="text/plain"):
        widgets.publish(d.widget, {"image/png": ""})


def test_close_tree_keeps_what_is_shared():
    from ipywidgets import IntSlider, VBox
    shared, own = IntSlider(), IntSlider()
    widgets.close_tree(VBox([VBox([shared, own])]), keep=[shared])
    assert shared.comm is not None and own.comm is None
