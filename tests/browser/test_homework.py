"""Homework as a student meets it, not attempted: run to the end in JupyterLab, with what is locked locked."""

import pytest

from .helpers import NOTEBOOKS, Notebook

HOMEWORK = sorted(p.name for p in (NOTEBOOKS / "homework").glob("*.ipynb"))


@pytest.mark.parametrize("name", HOMEWORK)
def test_run_all_of_a_homework_that_nobody_has_touched(window, name):
    nb = Notebook(window, f"homework/{name}")
    try:
        assert nb.run_all() == []
        answers = [o["data"]["text/plain"] for o in nb.outputs() if o["output_type"] == "execute_result"]
        assert len(answers) >= 5 and all("".join(a).startswith("○") for a in answers)
        nb.shoot("homework")
    finally:
        nb.close()
