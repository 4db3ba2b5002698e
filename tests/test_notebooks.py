"""What is committed: every notebook fresh, executed, small, offline and free of the house's bans."""

import ast
import io
import json
import re
import tokenize

import nbformat
import pytest
from conftest import LESSONS

from course_utils import models
from course_utils.instructor import build

BANS = {
    r"^\s*[%!]": "magics and shell lines", r";\s*$": "a trailing semicolon",
    r"np\.random\.(?!default_rng|Generator)": "numpy's global seed",
    r"\bpyplot\b|\bplt\.": "pyplot", r"\btqdm\b": "tqdm", r"\binteract\(|W\.Output|widgets\.Output": "interact and Output",
    r"https?://": "the network",
}
READINGS = ["Predict", "misconception", "## Recap", "**Short.**", "**Standard.**", "**Detailed.**", "Memory aid", "Key terms", "References",
            "After this lesson you will be able to", "What you should have seen", "●○○"]


@pytest.fixture(params=LESSONS)
def notebook(request):
    return request.param, nbformat.read(build.ROOT / f"{request.param}.ipynb", 4)


def code(nb):
    return [c for c in nb.cells if c.cell_type == "code"]


def test_fresh_by_content():
    assert build.stale(build.sources()) == []
    assert sorted(p.stem for p in build.ROOT.glob("*.ipynb")) == LESSONS


def test_executed_in_order_without_errors_or_stderr(notebook):
    _, nb = notebook
    assert [c.execution_count for c in code(nb)] == list(range(1, len(code(nb)) + 1))
    for c in code(nb):
        for output in c.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"


def test_small_and_without_widget_state(notebook):
    stem, nb = notebook
    path = build.ROOT / f"{stem}.ipynb"
    assert path.stat().st_size < build.MAX_BYTES
    text = path.read_text(encoding="utf-8")
    assert set(nb.metadata) == {"kernelspec", "language_info"} and build.VIEW not in text and "jupytext" not in text


def test_every_picture_is_saved_with_a_sentence(notebook, lesson):
    stem, nb = notebook
    pictures = [o for c in code(nb) for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= len(lesson(stem[:2]).explorers)
    for picture in pictures:
        assert len(picture["data"]["text/plain"]) > 25


def test_code_cells_are_short_and_keep_the_bans(notebook):
    _, nb = notebook
    for c in code(nb):
        lines = [x for x in c.source.splitlines() if x.strip()]
        plumbing = "explore(" in c.source or "dialogue(" in c.source or "quiz(" in c.source
        assert len(lines) <= (40 if plumbing else 20), f"{len(lines)} lines:\n{c.source}"
        for pattern, what in BANS.items():
            assert not re.search(pattern, c.source, re.M), f"{what}:\n{c.source}"


def test_no_cell_ends_in_a_bare_repr(notebook):
    """A cell ends in a print, a figure or an assignment; a raw float or tensor repr differs between machines."""
    _, nb = notebook
    for c in code(nb):
        for output in c.outputs:
            if output.output_type == "execute_result":
                assert re.match(r"[✓✗○] ", output["data"]["text/plain"]), c.source


def test_printed_numbers_are_short(notebook):
    """At most seven significant digits in what strict nbval compares; more would differ between machines."""
    _, nb = notebook
    for c in code(nb):
        if "nbval-ignore-output" in c.metadata.get("tags", []):
            continue
        for output in c.outputs:
            for number in re.findall(r"\d+\.\d+", output.get("text", "")):
                assert len(number.replace(".", "").lstrip("0")) <= 8, f"{number} in\n{output.text}"


def test_the_anatomy_is_complete(notebook):
    stem, nb = notebook
    text = "\n".join(c.source for c in nb.cells)
    for phrase in READINGS:
        assert phrase.lower() in text.lower(), f"{stem} lacks {phrase!r}"
    for call in ("explore(", "predict(", "flash_cards(", "quiz(", "dialogue(", "check."):
        assert call in text, f"{stem} lacks {call}"
    assert text.count("= predict(") >= 2
    objectives = re.findall(r"^\d\. ", nb.cells[0].source, re.M)
    assert 4 <= len(objectives) <= 6
    number = int(stem[:2])
    for exercise in re.findall(r"^### Exercise (.*)$", text, re.M):
        assert re.match(rf"{number}\.\d · .* [●○]{{3}} · \d+ min$", exercise), exercise
    assert text.count("### Exercise") == len(re.findall("NotImplementedError", text)) >= (1 if number == 0 else 3)


def test_cells_with_ignored_output_are_followed_by_a_strict_one(notebook):
    _, nb = notebook
    cells = code(nb)
    for c, following in zip(cells, [*cells[1:], None]):
        if "nbval-ignore-output" in c.metadata.get("tags", []):
            assert following is not None and "print(" in following.source
            assert "nbval-ignore-output" not in following.metadata.get("tags", [])


def test_functions_shown_in_the_open_have_docstrings_with_their_units(notebook):
    _, nb = notebook
    for c in code(nb):
        for node in ast.parse(c.source).body:
            if isinstance(node, ast.FunctionDef) and "explore(" not in c.source:
                assert ast.get_docstring(node), f"{node.name} needs a docstring"


def test_links_lead_somewhere(notebook):
    _, nb = notebook
    for c in nb.cells:
        if c.cell_type == "markdown":
            for link in re.findall(r"\]\(([^)#]+\.ipynb)\)", c.source):
                assert (build.ROOT / link).exists() or int(link[:2]) == int(LESSONS[-1][:2]) + 1, link  # the next one to be written


def plain(function_source):
    """The tokens of a function without comments, docstring and solution marks: what two listings must share."""
    (node,) = [n for n in ast.parse(function_source).body if isinstance(n, ast.FunctionDef)]
    node.body = [b for b in node.body if not (isinstance(b, ast.Expr) and isinstance(b.value, ast.Constant))]
    node.decorator_list = []
    return ast.unparse(node)


def model_functions():
    tree = ast.parse((build.ROOT.parent / "course_utils/models.py").read_text(encoding="utf-8"))
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted(model_functions()))
def test_models_are_what_the_lessons_have_shown(name):
    """`models` only repeats: each function stands in the lesson that its docstring names, in the same words of code."""
    node = model_functions()[name]
    number = re.search(r"Defined in lesson (\d\d)", ast.get_docstring(node)).group(1)
    (path,) = build.sources([number])
    nb, _ = build.read(path, solved=True)
    shown = {n.name: n for c in nb.cells if c.cell_type == "code" for n in ast.walk(ast.parse(c.source)) if isinstance(n, ast.FunctionDef)}
    assert name in shown, f"lesson {number} shows no {name}"
    assert plain(ast.unparse(shown[name])) == plain(ast.unparse(node))
    assert callable(getattr(models, name))


def test_all_full_builds_are_identical(tmp_path):
    """Two consecutive full builds, every lesson executed twice, agree to the byte."""
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        out.mkdir()
        for path in build.sources():
            build.build(path, out)
    for stem in LESSONS:
        first, second = ((out / f"{stem}.ipynb").read_bytes() for out in outs)
        assert first == second, f"{stem} differs between two builds"


def quoted_numbers(text):
    """Decimal numbers with at least three digits in prose, outside code and links: the ones that look measured."""
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|\b\d{4}\b", " ", text, flags=re.S)
    return {m for m in re.findall(r"(?<![\d.])\d+\.\d{2,}(?!\d)", text)}


def test_every_number_in_prose_is_produced_by_a_cell(notebook):
    stem, nb = notebook
    produced = []
    for c in code(nb):
        produced += re.findall(r"\d+\.\d+|\d+", re.sub(r"#.*", "", c.source))
        for output in c.outputs:
            produced += re.findall(r"\d+\.\d+|\d+", output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
                                   + str(output.get("data", {}).get("text/markdown", "")))
    values = {float(p) for p in produced}
    for c in nb.cells:
        if c.cell_type == "markdown":
            for quoted in sorted(quoted_numbers(c.source)):
                digits = len(quoted.split(".")[1])
                ok = any(round(v, digits) == float(quoted) for v in values)
                assert ok, f"{stem}: no cell produces {quoted}, quoted in\n{c.source[:300]}"


def test_sources_are_utf8_and_tokenise():
    for path in build.sources():
        list(tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline))


def test_glossary_and_quizzes_belong_to_lessons():
    glossary = json.loads((build.ROOT / "glossary.json").read_text(encoding="utf-8"))
    terms = [t["term"] for t in glossary]
    assert len(terms) == len(set(terms))
    assert {t["lesson"] for t in glossary} == {int(s[:2]) for s in LESSONS}
    assert sorted(p.stem for p in (build.ROOT / "quizzes").glob("*.json")) == LESSONS
