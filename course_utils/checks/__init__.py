"""Instant exercise checks: an independent oracle, and a named hint for each usual mistake.

A lesson's checks live in lesson_NN.py, one `Check` an exercise. To add one: give an oracle that does not use the
formula asked for, the cases to try, and the wrong answers you expect (`Mutant`), each with its hint.
`tests/test_checks.py` proves that every mutant is told its own hint and that right answers pass.
"""

import copy
import ctypes
import math
import signal
import threading
import warnings
from contextlib import contextmanager
from typing import Callable, NamedTuple

import numpy as np

SECONDS = 5.0  # a student's function gets this long in all; the exercises need milliseconds


class Mutant(NamedTuple):
    """A wrong answer we expect: its `name`, the wrong function itself, and the `hint` that leads out of it."""

    name: str
    wrong: Callable
    hint: str


class Verdict:
    """One line about an answer; true in an `if` when the answer is right."""

    def __init__(self, mark, name, message):
        self.mark, self.name, self.message = mark, name, message

    def __bool__(self):
        return self.mark == "✓"

    def __repr__(self):
        return f"{self.mark} {self.name}: {self.message}"


class Stopped(BaseException):
    """Raised inside a student's function that runs too long. Not an Exception: `except Exception` must not eat it."""


@contextmanager
def time_limit(seconds):
    """Raise Stopped in the body after `seconds`: by a signal where there is one, else (Windows, threads) at the next
    Python instruction."""
    me = threading.get_ident()
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        def stop(*_):
            raise Stopped

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # again every half second, should a bare `except:` eat it
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return

    done, lock = threading.Event(), threading.Lock()

    def watch():
        if done.wait(seconds):
            return
        while True:
            with lock:  # never after the body has ended
                if done.is_set():
                    return
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(me), ctypes.py_object(Stopped))
            if done.wait(0.5):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            done.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(me), None)  # one that is still on its way


class Wrong(Exception):
    """What a student's answer looks like, in words, when it cannot be compared at all."""


def _plain(value):
    """`value` as a list of float arrays (a tuple or list of arrays gives several) and whether a tensor was among them."""
    if value is None:
        raise Wrong("it returned None. Is there a `return` at the end?")
    if value is Ellipsis:
        raise NotImplementedError
    if isinstance(value, str):
        raise Wrong("it returned text, not a number")
    if type(value).__module__.split(".")[0] == "torch":
        return [value.detach().cpu().numpy().astype(float)], True
    if isinstance(value, (tuple, list)):
        try:
            return [np.asarray(value, float)], False  # numbers, or rows of the same length
        except (TypeError, ValueError, RuntimeError):
            parts = [_plain(v) for v in value]
            return [a for arrays, _ in parts for a in arrays], any(tensor for _, tensor in parts)
    try:
        return [np.asarray(value, float)], False
    except (TypeError, ValueError):
        raise Wrong(f"it returned {type(value).__name__}, not a number or an array") from None


def _call(function, case):
    case = copy.deepcopy(case)  # a function that writes into its arguments must not spoil the next case
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(**case) if isinstance(case, dict) else function(*case)


def _same(a, b, rtol, atol):
    """Two lists of arrays agree in number, shapes and values (nan equals nan, inf equals inf)."""
    return len(a) == len(b) and all(
        x.shape == y.shape and np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True) for x, y in zip(a, b))


def _show(value):
    """An argument in one short piece of text."""
    if callable(value):
        return getattr(value, "__name__", "f").strip("_")
    if isinstance(value, float):
        return f"{value:g}"
    shape = tuple(np.shape(value))
    return f"an array of shape {shape}" if math.prod(shape) > 6 else " ".join(str(value).split())


def _shown_call(name, case):
    parts = [f"{k}={_show(v)}" for k, v in case.items()] if isinstance(case, dict) else [_show(v) for v in case]
    return f"{name}({', '.join(parts)})"


class Check:
    """Checks one exercise when called with the student's function, and answers with a one-line Verdict.

    Parameters
    ----------
    name : the exercise's and the student's function's name.
    oracle : computes the right value in another way than the exercise asks for (quadrature, scipy, enumeration …).
        None in homework, which may hold no right value: there the cases are only tried, and the properties decide.
    cases : argument tuples (or dicts, by keyword) to try.
    mutants : the wrong answers we expect; one that agrees with the student on all cases gives the hint.
    properties : (name, holds(student_function) -> bool, hint) triples, tried when all cases agree.
    rtol, atol : how near counts as equal, as in numpy.allclose.
    """

    def __init__(self, name, oracle, cases, mutants=(), properties=(), rtol=1e-5, atol=1e-8):
        self.name, self.oracle, self.cases = name, oracle, list(cases)
        self.mutants, self.properties, self.rtol, self.atol = list(mutants), list(properties), rtol, atol

    def __call__(self, answer):
        if not callable(answer):
            return Verdict("✗", self.name, f"give the function itself: check.{self.name}({self.name})")
        case = None
        try:
            with time_limit(SECONDS):
                got, tensor = [], False
                for case in self.cases:
                    arrays, is_tensor = _plain(_call(answer, case))
                    got.append(arrays)
                    tensor |= is_tensor
        except NotImplementedError:
            return Verdict("○", self.name, "not attempted yet")
        except Stopped:
            return Verdict("✗", self.name, f"stopped after {SECONDS:.0f} seconds in {_shown_call(self.name, case)}: "
                                           "is there a loop that never ends?")
        except Wrong as e:
            return Verdict("✗", self.name, f"for {_shown_call(self.name, case)} {e}")
        except (Exception, SystemExit) as e:
            text = " ".join(str(e).split())[:160]
            return Verdict("✗", self.name, f"{_shown_call(self.name, case)} raised {type(e).__name__}: {text}")
        return self._judge(answer, got, tensor)

    def _judge(self, answer, got, tensor):
        if self.oracle is None:
            return self._judge_properties(answer, tensor, "passes these checks; the marks come from others")
        expected = [_plain(_call(self.oracle, case))[0] for case in self.cases]
        for case, mine, right in zip(self.cases, got, expected):
            if not _same(mine, right, self.rtol, self.atol):
                return Verdict("✗", self.name, self._hint(got) or self._difference(case, mine, right))
        return self._judge_properties(answer, tensor, "right")

    def _judge_properties(self, answer, tensor, praise):
        for _, holds, hint in self.properties:
            try:
                with time_limit(SECONDS), warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    ok = holds(answer)
            except (Exception, SystemExit, Stopped):
                ok = False
            if not ok:
                return Verdict("✗", self.name, hint)
        note = " (it returns torch tensors; NumPy would do here)" if tensor else ""
        return Verdict("✓", self.name, praise + note)

    def _hint(self, got):
        """The hint of the first mutant that makes the very same mistake on every case."""
        for mutant in self.mutants:
            try:
                wrong = [_plain(_call(mutant.wrong, case))[0] for case in self.cases]
            except Exception:
                continue
            if all(_same(mine, theirs, self.rtol, self.atol) for mine, theirs in zip(got, wrong)):
                return mutant.hint
        return None

    def _difference(self, case, mine, right):
        """What is wrong, without giving the right value away."""
        where = _shown_call(self.name, case)
        if len(mine) != len(right):
            return f"{where} should return {len(right)} value{'s' * (len(right) > 1)}; yours returns {len(mine)}"
        for a, b in zip(mine, right):
            if a.shape != b.shape:
                return f"{where} should have shape {b.shape}; yours has shape {a.shape}"
            if np.isnan(a).any() and not np.isnan(b).any():
                return f"{where} gives nan. Look for a logarithm of zero or a division by zero"
            if not np.allclose(a, b, rtol=self.rtol, atol=self.atol, equal_nan=True):
                if a.ndim == 0 and np.isfinite(a) and np.isfinite(b):
                    return f"{where} is {'too large' if a > b else 'too small'}; yours gives {float(a):.4g}"
                far = np.argmax(~np.isclose(a, b, rtol=self.rtol, atol=self.atol, equal_nan=True))
                place = f" first at index {tuple(int(i) for i in np.unravel_index(far, a.shape))}" if a.ndim else ""
                return f"{where} is not right{place}; yours gives {a.flat[far]:.4g} there"
        return f"{where} is not right"
