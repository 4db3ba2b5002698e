"""The build: one way, repeatable to the byte, and one clear sentence for whatever is wrong with a source."""

import nbformat
import pytest

from course_utils.instructor import build

GOOD = '''# %% [markdown]
# # A lesson
# %%
print(1 + 1)
# %% exercise="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
# %% check="double"
print("checked")
# %% [markdown] solutions
# ## Solutions
'''


@pytest.fixture
def source(tmp_path):
    def write(text, name="07_test.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path
    return write


def test_students_get_stubs_and_folded_solutions(source):
    nb, lines = build.read(source(GOOD))
    assert [c.cell_type for c in nb.cells] == ["markdown", "code", "code", "code", "markdown"]
    assert lines == [1, 3, 5, 11, 13]
    stub, folded = nb.cells[2].source, nb.cells[4].source
    assert stub == 'def double(x):\n    """Twice x."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    assert "<details><summary>Solution: <code>double</code>" in folded and "return 2 * x" in folded and "###" not in folded
    solved = build.read(source(GOOD), solved=True)[0]
    assert "return 2 * x" in solved.cells[2].source and "details" not in solved.cells[4].source
    assert "formats" not in str(nb.metadata)


def test_two_builds_are_byte_identical_and_fresh(source, tmp_path):
    path = source(GOOD)
    out = [tmp_path / "a", tmp_path / "b"]
    for o in out:
        o.mkdir()
        build.build(path, o)
    a, b = ((o / "07_test.ipynb").read_bytes() for o in out)
    assert a == b and b'"execution_count": 3' in a
    assert build.stale([path], out[0]) == []
    path.write_text(GOOD.replace("1 + 1", "1 + 2"), encoding="utf-8")
    assert build.stale([path], out[0]) == ["07_test.ipynb differs from 07_test.py, first at cell 2"]
    assert build.stale([path], tmp_path) == ["07_test.ipynb has not been built from 07_test.py"]


def test_an_edited_notebook_is_noticed(source, tmp_path):
    path = source(GOOD)
    target, _ = build.build(path, tmp_path)
    nb = nbformat.read(target, 4)
    nb.cells[0].source += "!"
    nbformat.write(nb, target)
    assert "first at cell 1" in build.stale([path], tmp_path)[0]


def test_equal_cells_have_different_stable_ids(source):
    nb, _ = build.read(source("# %%\nx = 1\n# %%\nx = 1\n"))
    assert nb.cells[0].id != nb.cells[1].id and nb.cells[1].id == nb.cells[0].id + "-2"


@pytest.mark.parametrize("change, message", [
    (lambda t: t.replace('check="double"', 'tags=["a"]'), "line 5: the exercise 'double' has no check"),
    (lambda t: t.replace("    ### END SOLUTION\n", ""), "line 5: a solution region is not closed"),
    (lambda t: t.replace("    ### BEGIN SOLUTION\n", ""), "line 5: a solution region is not closed"),
    (lambda t: t + '# %% exercise="double"\n### BEGIN SOLUTION\n### END SOLUTION\n',
     "line 15: the exercise 'double' stands here a second time; the first is at line 5"),
    (lambda t: t.replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", ""), "line 5: the exercise 'double' has no '### BEGIN"),
    (lambda t: t.replace('check="double"', 'check="triple"'), "line 11: a check for 'triple', but no exercise"),
    (lambda t: t.replace(" solutions\n", "\n"), "no cell '# %% [markdown] solutions'"),
    (lambda t: t + "# %% [markdown] solutions\n# again\n", "line 15: a second cell for the folded solutions"),
    (lambda t: t.replace('# %%\nprint', '# %% colour="red"\nprint'), "line 3: unknown cell option colour"),
    (lambda t: t.replace(' exercise="double"', ""), "line 5: a solution stands in a cell that is no exercise"),
    (lambda t: "x = 1\n" + t, "every cell must begin with a line '# %%'"),
])
def test_a_bad_source_is_one_clear_sentence(source, change, message):
    with pytest.raises(build.BuildError) as e:
        build.read(source(change(GOOD)))
    assert "07_test.py" in str(e.value) and message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("body, message", [
    ("a = 1\nb = 0\n\na / b", "07_test.py, line 7 (cell 2): ZeroDivisionError: division by zero"),
    ("def f():\n    return missing\n\nf()", "line 5 (cell 2): NameError"),
    ("import warnings\nwarnings.warn('careful')", "writes to stderr"),
    ("import os\nos._exit(3)", "line 3 (cell 2): the kernel died"),
])
def test_a_failing_cell_is_named_with_its_source_line_and_nothing_is_written(source, tmp_path, body, message):
    path = source(f"# %%\nprint(0)\n# %%\n{body}\n")
    with pytest.raises(build.BuildError) as e:
        build.build(path, tmp_path)
    assert message in str(e.value)
    assert not (tmp_path / "07_test.ipynb").exists()


def test_command_line(capsys):
    assert build.main(["--check", "99"]) == 1
    assert "no source in notebooks/source starts with '99'" in capsys.readouterr().err
    assert build.main(["--check"]) == 0
    assert "notebooks say what their sources say" in capsys.readouterr().out
