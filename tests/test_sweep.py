"""Every explorer of every lesson, over the corners and random interior points of its controls, warnings as errors."""

import importlib
import itertools
import warnings

import ipywidgets as W
import numpy as np
import pytest
from conftest import LESSONS

CORNERS, INSIDE = 40, 25


def corner_values(control):
    """The values of a control that a sweep must visit: least, start, greatest; every choice of a menu."""
    if isinstance(control, W.Checkbox):
        return [False, True]
    if hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in (control.options.items() if isinstance(control.options, dict)
                                                                else control.options)]
        return values
    return [control.min, control.value, control.max]


def inside_value(control, rng):
    if isinstance(control, W.Checkbox) or hasattr(control, "options"):
        values = corner_values(control)
        return values[rng.integers(len(values))]
    value = control.min + control.step * rng.integers(round((control.max - control.min) / control.step) + 1)
    return type(control.value)(min(value, control.max))


@pytest.mark.parametrize("stem", LESSONS)
def test_every_explorer_of_a_lesson(lesson, stem):
    got = lesson(stem[:2])
    invariants = importlib.import_module(f"test_lesson_{stem[:2]}").INVARIANTS
    assert set(invariants) == set(got.explorers), "each explorer needs an invariant, and each invariant an explorer"
    assert len(got.explorers) >= (1 if stem.startswith("00") else 3)
    rng = np.random.default_rng(20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, explorer in got.explorers.items():
            if explorer.gate is not None:
                assert explorer.locked
                explorer.gate.skip()
            corners = list(itertools.product(*(corner_values(c) for c in explorer.controls.values())))
            picks = corners if len(corners) <= CORNERS else [corners[i] for i in rng.permutation(len(corners))[:CORNERS]]
            picks += [[inside_value(c, rng) for c in explorer.controls.values()] for _ in range(INSIDE)]
            seen, pictures = set(), set()
            for values in picks:
                explorer.set(**dict(zip(explorer.controls, values)))
                assert explorer.error.value == "" and explorer.text and "nan" not in explorer.text.lower(), (name, values)
                invariants[name](explorer)
                seen.add(explorer.text)
                pictures.add(explorer.image.value)
            assert len(seen) > 3 and len(pictures) > 3, f"{name}: the readout or the picture hardly changes"
            explorer.set(**explorer._start)


@pytest.mark.parametrize("stem", LESSONS)
def test_every_control_moves_the_picture(lesson, stem):
    for name, explorer in lesson(stem[:2]).explorers.items():
        for control, c in explorer.controls.items():
            pictures = set()
            for value in [*corner_values(c), inside_value(c, np.random.default_rng(1))]:
                explorer.set(**{control: value})
                pictures.add(explorer.image.value)
            assert len(pictures) > 1, f"{name}: moving {control} changes nothing in the picture"
            explorer.set(**explorer._start)


@pytest.mark.parametrize("stem", LESSONS)
def test_a_prediction_is_drawn_into_the_picture(lesson, stem):
    """Each answer of each gate leaves another picture than no answer, except 'never'-like answers that have no place."""
    for name, explorer in lesson(stem[:2]).explorers.items():
        if explorer.gate is None:
            continue
        values = explorer.values
        explorer._update(**values, prediction=None)
        without = explorer._picture.draw().tobytes()
        differ = 0
        low_high = () if explorer.gate._values else (explorer.gate.entry.lo, explorer.gate.entry.hi)
        answers = explorer.gate._values or [*low_high, sum(low_high) / 2]
        for answer in answers:
            explorer._update(**values, prediction=answer)
            differ += explorer._picture.draw().tobytes() != without
        explorer._update(**values, prediction=None)
        assert differ >= len(answers) - 1, f"{name}: most predictions should be marked in the picture"
