"""Every marking of every homework: its oracle, its named mistakes, its right variants; and the student's instant checks against them."""

import importlib
import json

import pytest

from course_utils.checks import Check
from course_utils.instructor import build, homework
from course_utils.instructor.marking import markings

HOMEWORK = sorted(p.stem for p in (build.ROOT / "source/homework").glob("hw*.py"))
EXERCISES = [(hw, name) for hw in HOMEWORK for name in markings(hw)]
MUTANTS = [(hw, name, m.name) for hw, name in EXERCISES for m in markings(hw)[name].mutants]
SEEDS = (2026, 7, 123456)


def instant(hw, name):
    """The check that the student's copy holds."""
    return getattr(importlib.import_module(f"course_utils.checks.homework_{hw[2:4]}"), name)


@pytest.fixture(scope="module", params=HOMEWORK)
def solved(request):
    """(assignment, the names that its solved notebook defines, without running plots or checks)."""
    return request.param, homework.solved_functions(request.param)


def test_the_solution_gets_all_points_for_every_seed(solved):
    hw, functions = solved
    assert set(functions) == set(markings(hw))
    for name, marking in markings(hw).items():
        for seed in SEEDS:
            got = marking.judge(marking.answers(functions[name], seed), seed)
            assert got.share == 1 and not got.failed and got.mutant is None and got.status == "right", (name, seed, got)
        assert instant(hw, name)(functions[name]).mark == "✓", instant(hw, name)(functions[name])


def test_every_exercise_has_named_mistakes_and_another_right_way():
    assert all(len(markings(hw)[name].mutants) >= 2 and markings(hw)[name].variants for hw, name in EXERCISES)
    assert all(m.hint and m.name for hw, name in EXERCISES for m in markings(hw)[name].mutants)


@pytest.mark.parametrize("hw, name", EXERCISES)
def test_right_variants_get_all_points(hw, name):
    marking = markings(hw)[name]
    for variant in marking.variants:
        got = marking.judge(marking.answers(variant, SEEDS[0]), SEEDS[0])
        assert got.share == 1, got
        verdict = instant(hw, name)(variant)
        assert verdict.mark == "✓", verdict


@pytest.mark.parametrize("hw, name, mutant", MUTANTS)
def test_a_mutant_loses_its_points_and_is_named(hw, name, mutant):
    marking = markings(hw)[name]
    wrong = next(m for m in marking.mutants if m.name == mutant)
    for seed in SEEDS:
        got = marking.judge(marking.answers(wrong.wrong, seed), seed)
        assert got.mutant == mutant, got
        assert got.share == pytest.approx(marking.partial.get(mutant, 0.0)), got
        assert got.failed and all(hint == wrong.hint for _, hint in got.failed)
    verdict = instant(hw, name)(wrong.wrong)
    assert verdict.mark == "✗" and "raised" not in verdict.message, verdict


@pytest.mark.parametrize("hw, name", EXERCISES)
def test_a_stub_is_blank_and_nothing_else_is_an_answer(hw, name):
    def stub(*args, **kwargs):
        raise NotImplementedError

    marking = markings(hw)[name]
    assert marking.judge(marking.answers(stub, 1), 1).status == "blank"
    assert instant(hw, name)(stub).mark == "○"
    n = len(marking.answers(stub, 1))
    for junk in (None, [], {}, "x", [None] * n, [{"value": [[[1e9], []]]}] * n, [{"value": "∞"}] * n, [{"value": [[[], ["1", "2"]]]}] * n):
        got = marking.judge(junk, 1)
        assert got.share == 0 and got.status in ("broken", "wrong"), (junk, got)


@pytest.mark.parametrize("hw, name", EXERCISES)
def test_the_data_depend_on_the_seed_and_nothing_else(hw, name):
    marking = markings(hw)[name]
    assert marking.questions(1) == marking.questions(1)
    constant = marking.answers(marking.oracle, 1, wrap=False)
    assert marking.judge(constant, 2).share < 1, "the right answers of one year are right in another"


@pytest.mark.parametrize("hw, name", EXERCISES)
def test_the_instant_check_holds_no_right_value(hw, name):
    check = instant(hw, name)
    assert isinstance(check, Check) and check.oracle is None and not check.mutants and check.properties


def test_answers_are_plain_text():
    hw, name = EXERCISES[0]
    marking = markings(hw)[name]
    assert json.loads(json.dumps(marking.answers(marking.oracle, 1, wrap=False))) == marking.answers(marking.oracle, 1, wrap=False)
