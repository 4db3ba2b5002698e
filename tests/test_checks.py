"""Every check knows its mistakes: each mutant gets its own hint, right answers in any style pass, and nothing a student
sends can crash it, hang it, or make it give the answer away."""

import importlib
import math
import threading
import time

import numpy as np
import pytest
import torch
from conftest import LESSONS

from course_utils import checks
from course_utils.checks import Check, Mutant, Verdict


def lesson_checks(stem):
    module = importlib.import_module(f"course_utils.checks.lesson_{stem[:2]}")
    return {name: c for name, c in vars(module).items() if isinstance(c, Check)}


def variants(stem):
    return getattr(importlib.import_module(f"test_lesson_{stem[:2]}"), "VARIANTS")


ALL = [(stem, name) for stem in LESSONS for name in lesson_checks(stem)]
MUTANTS = [(stem, name, m.name) for stem, name in ALL for m in lesson_checks(stem)[name].mutants]


@pytest.mark.parametrize("stem, name", ALL)
def test_the_lessons_own_solution_passes(lesson, stem, name):
    verdict = lesson_checks(stem)[name](lesson(stem[:2]).namespace[name])
    assert verdict and str(verdict).startswith("✓"), str(verdict)


@pytest.mark.parametrize("stem, name", ALL)
def test_every_correct_variant_passes(stem, name):
    assert variants(stem)[name], f"{name} needs at least one other correct implementation"
    for variant in variants(stem)[name]:
        verdict = lesson_checks(stem)[name](variant)
        assert verdict, str(verdict)


@pytest.mark.parametrize("stem, name, mutant", MUTANTS)
def test_every_mutant_fails_with_its_own_hint(stem, name, mutant):
    check = lesson_checks(stem)[name]
    (m,) = [m for m in check.mutants if m.name == mutant]
    verdict = check(m.wrong)
    assert not verdict and verdict.mark == "✗"
    assert m.hint in str(verdict), str(verdict)
    assert "\n" not in str(verdict)


@pytest.mark.parametrize("stem", LESSONS)
def test_each_exercise_has_its_check_and_at_least_three_mutants(lesson, stem):
    source = lesson(stem[:2]).path.read_text(encoding="utf-8")
    for name, check in lesson_checks(stem).items():
        assert check.name == name and f'exercise="{name}"' in source and f"check.{name}({name})" in source
        assert len(check.mutants) >= 3
        assert len({m.hint for m in check.mutants}) == len(check.mutants)
    assert source.count("# %% exercise=") == len(lesson_checks(stem))


@pytest.mark.parametrize("stem, name", ALL)
def test_unfinished_and_broken_answers_get_one_friendly_line(stem, name):
    check = lesson_checks(stem)[name]

    def stub(*_, **__):
        raise NotImplementedError()

    def crash(*_, **__):
        return {}["missing"]

    strange = {stub: "○", crash: "KeyError", (lambda *_, **__: None): "None", (lambda *_, **__: "text"): "text",
               (lambda *_, **__: ...): "○", (lambda *_, **__: np.full((2, 3, 4, 5, 6), 1.0)): "✗",
               (lambda *_, **__: float("nan")): "✗", (lambda *_, **__: object()): "object", (lambda: 1.0): "TypeError",
               (lambda *_, **__: torch.tensor([1.0, float("nan")], requires_grad=True)): "✗"}
    for function, word in strange.items():
        verdict = check(function)
        assert not verdict and word in str(verdict) and "\n" not in str(verdict), str(verdict)
    assert "give the function itself" in str(check(3.0))


SQUARE = Check("square", lambda x: np.square(x), [(2.0,), (np.array([1.0, -3.0]),)],
               [Mutant("doubled", lambda x: 2 * x, "x² is x times x, not 2x")])


def test_a_wrong_answer_is_never_told_the_right_one():
    secret = Check("f", lambda x: 12345.678, [(1.0,)])
    assert "12345" not in str(secret(lambda x: 7.0)) and "too small" in str(secret(lambda x: 7.0))


def test_messages_name_shapes_tensors_nan_and_count():
    assert "shape (2,)" in str(SQUARE(lambda x: np.sum(np.square(x))))
    assert "torch" in str(SQUARE(lambda x: torch.as_tensor(x) ** 2)) and SQUARE(lambda x: torch.as_tensor(x) ** 2)
    assert "nan" in str(SQUARE(lambda x: x * float("nan")))
    assert "first at index (1,)" in str(SQUARE(lambda x: np.where(np.asarray(x) < 0, 1.0, np.square(x))))
    assert "return 1 value; yours returns 2" in str(SQUARE(lambda x: (np.ones(3), np.ones(2))))


def test_arguments_are_copies():
    def greedy(x):
        out = np.square(x)
        if np.ndim(x):
            x[:] = 0
        return out

    assert SQUARE(greedy) and SQUARE(greedy)
    assert (SQUARE.cases[1][0] == [1.0, -3.0]).all()


@pytest.mark.parametrize("body", ["pass", "try: pass\n  except: pass", "time.sleep(60)"])
def test_a_loop_that_never_ends_is_stopped(monkeypatch, body):
    monkeypatch.setattr(checks, "SECONDS", 0.3)
    scope = {"time": time}
    exec(f"def forever(x):\n while True:\n  {body}", scope)
    assert "stopped after" in str(SQUARE(scope["forever"])) and SQUARE(np.square)


def test_a_loop_is_stopped_outside_the_main_thread_too(monkeypatch):
    monkeypatch.setattr(checks, "SECONDS", 0.3)  # as on Windows, where there is no alarm signal
    verdicts = []

    def forever(x):
        while True:
            x += 1

    def run():
        verdicts.extend([SQUARE(forever), SQUARE(np.square)])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert "stopped after" in str(verdicts[0]) and verdicts[1]


def test_a_property_that_fails_gives_its_hint():
    check = Check("unit", lambda: 1.0, [()], properties=[("is fast", lambda f: f() > 2, "think again")])
    assert "think again" in str(check(lambda: 1.0))


def test_verdicts_are_true_only_when_right():
    assert Verdict("✓", "a", "") and not Verdict("✗", "a", "") and not Verdict("○", "a", "")
    assert math.isfinite(checks.SECONDS)
