"""How homework is marked: what an answer is asked, what is right, and which mistakes have names.

Teacher's side only: this package is in no student's file, and no sandbox holds it. The sandbox computes, this judges.
One file an assignment, `hwNN.py`, one `Marking` an exercise, named like the exercise. To add one: give an oracle that
does not use the formula asked for, groups of cases that vary with the seed, and the wrong answers you expect.
`tests/test_marking.py` proves each of them.
"""
import hashlib
import importlib
import json
from typing import NamedTuple

import numpy as np

from ...checks import Mutant, _same

__all__ = ["Code", "Group", "Judgement", "Marking", "MarkingError", "Mutant", "PROBE", "markings"]

# What runs beside a student's function: it calls it on each question and gives the plain results, nothing else.
PROBE = '''
def _probe(function, questions, wrap=None, seconds=10.0):
    from course_utils import checks
    if wrap is not None:
        function = wrap(function)
    answers, stopped = [], 0
    for question in questions:
        if stopped == 2:
            answers.append({"error": "it ran too long on earlier questions, so this one was not tried"})
            continue
        try:
            with checks.time_limit(seconds):
                arrays, _ = checks._plain(checks._call(function, question))
                if sum(a.size for a in arrays) > 10_000:
                    raise checks.Wrong("it returned more than 10,000 numbers")
                answers.append({"value": [[list(a.shape), [repr(float(v)) for v in a.ravel()]] for a in arrays]})
        except NotImplementedError:
            answers.append({"blank": True})
        except checks.Wrong as e:
            answers.append({"error": str(e)[:200]})
        except checks.Stopped:
            stopped += 1
            answers.append({"error": f"it ran longer than {seconds:g} seconds"})
        except (Exception, SystemExit) as e:
            answers.append({"error": f"it raised {type(e).__name__}: {str(e)[:160]}"})
    return answers
'''


class MarkingError(Exception):
    """The teacher's side does not know what is right: nobody can be marked, which is no student's fault."""


class Code(NamedTuple):
    """An argument that travels as Python source, such as Code("lambda z: z**2") or Code("torch.ones(3)")."""

    source: str


class Group(NamedTuple):
    """Cases that ask one thing. `words` tell the student what it was, `hint` where to look; `share` is its part of the points."""

    words: str
    cases: list  # tuples of arguments
    hint: str = ""
    share: float = 1.0


class Judgement(NamedTuple):
    """What an answer earned: `share` of the points in [0, 1], what `failed` as (words, hint), the `mutant` that it equals."""

    share: float
    failed: list
    mutant: str | None
    status: str  # right, partial, wrong, blank, or broken (no usable answer came back)


def _source(value):
    """A value as Python source that makes it again: numbers, text, None, lists, tuples, arrays, Code."""
    if isinstance(value, Code):
        return f"({value.source})"
    if isinstance(value, np.ndarray):
        return f"np.array({_source(value.tolist())}, dtype={value.dtype.name!r})"
    if isinstance(value, np.generic):
        return _source(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_source, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    raise TypeError(f"a case cannot hold {type(value).__name__}; write it as Code(\"…\")")


class Marking:
    """Marks one exercise.

    Parameters
    ----------
    name : the exercise's and the student's function's name.
    oracle : the right value by another way than the exercise asks for; called with the questions (never wrapped).
    cases : cases(rng) -> list of Group; everything random comes from `rng`, a numpy Generator.
    mutants : the wrong answers we expect (Mutant(name, wrong, hint)). Each loses all points of the exercise, unless
        `partial` names it: {mutant name: share of the points that it keeps}.
    variants : right answers written in other ways (torch, loops, broadcasting); for the tests.
    wrap : Python source of a function that turns the student's function into the one to call, for instance
        "lambda f: lambda mu: torch.autograd.grad(...)"; runs beside the student's code. np, torch and math are there.
    needs : earlier exercises that the student's function may call: the reference solutions stand in for them.
    rtol, atol : how near counts as equal, as in numpy.allclose.
    """

    def __init__(self, name, oracle, cases, mutants=(), variants=(), partial=None, wrap=None, needs=(), rtol=1e-5, atol=1e-8):
        self.name, self.oracle, self._cases, self.wrap, self.needs = name, oracle, cases, wrap, tuple(needs)
        self.mutants, self.variants, self.partial = list(mutants), list(variants), dict(partial or {})
        self.rtol, self.atol = rtol, atol

    def groups(self, seed):
        """The groups of cases that belong to this seed."""
        digest = hashlib.sha256(f"{self.name} {seed}".encode()).digest()
        return self._cases(np.random.default_rng(list(digest[:16])))

    def questions(self, seed):
        """Python source of the list of argument tuples, for the probe."""
        return "[" + ", ".join(_source(tuple(case)) for g in self.groups(seed) for case in g.cases) + "]"

    def program(self, seed, function=None, wrap=True, seconds=10.0):
        """Python source that leaves the answers, as JSON text, in `_answers`. Runs in the sandbox after the student's code."""
        questions, wrap = self.questions(seed), self.wrap if wrap and self.wrap else "None"
        torch = "import torch\n" if "torch." in questions + wrap else ""
        return (f"import json, math\nimport numpy as np\n{torch}{PROBE}\n"
                f"_answers = json.dumps(_probe({function or self.name}, {questions}, {wrap}, {seconds}))")

    def answers(self, function, seed, wrap=True):
        """What `function` would send back from the sandbox; for the oracle (not wrapped), for mutants, for tests."""
        space = {"_function": function}
        exec(self.program(seed, "_function", wrap, seconds=600.0), space)  # a busy machine must not make an oracle wrong
        return json.loads(space["_answers"])

    @staticmethod
    def _arrays(answer):
        """The arrays of one answer, or None when it holds none or is not what the probe sends."""
        try:
            return [np.array([float(v) for v in flat], float).reshape(shape) for shape, flat in answer["value"]]
        except (KeyError, TypeError, ValueError):
            return None

    def _agree(self, one, other):
        a, b = self._arrays(one), self._arrays(other)
        return a is not None and b is not None and _same(a, b, self.rtol, self.atol)

    def judge(self, answers, seed):
        """Compare what came back (a list of answers, one a case; anything at all is survived) with what is right.

        Raises MarkingError when this side has no right answer."""
        groups, right = self.groups(seed), self.answers(self.oracle, seed, wrap=False)
        if any(self._arrays(r) is None for r in right):
            raise MarkingError(f"{self.name}: the marking has no right answer to a question: {right}")
        if not isinstance(answers, list) or len(answers) != len(right):
            failed = [("your function could not be tried", "run all cells in a fresh kernel before you hand in")]
            return Judgement(0.0, failed, None, "broken")
        if all(isinstance(a, dict) and a.get("blank") for a in answers):
            return Judgement(0.0, [("not attempted", "")], None, "blank")
        mutant = next((m for m in self.mutants if self._is(m, answers, seed)), None)
        failed, kept, start = [], 0.0, 0
        for group in groups:
            pairs = list(zip(answers, right))[start:start + len(group.cases)]
            start += len(group.cases)
            if all(self._agree(mine, best) for mine, best in pairs):
                kept += group.share
                continue
            error = next((a["error"] for a, _ in pairs if isinstance(a, dict) and isinstance(a.get("error"), str)), None)
            failed.append((group.words, mutant.hint if mutant else f"{error[:200]}" if error else group.hint))
        share = kept / sum(g.share for g in groups)
        status = "right" if not failed else "partial" if share else "wrong"
        return Judgement(share, failed, mutant.name if mutant and failed else None, status)

    def _is(self, mutant, answers, seed):
        theirs = self.answers(mutant.wrong, seed)

        def alike(a, b):
            if self._arrays(b) is None:
                return isinstance(a, dict) and "value" not in a and "blank" not in a
            return self._agree(a, b)
        return all(alike(a, b) for a, b in zip(answers, theirs))


def markings(homework):
    """The markings of an assignment, `hw03` or `hw03_kl_divergence`, by exercise name, in the order of its file."""
    module = importlib.import_module(f"{__name__}.{homework[:4]}")
    return {v.name: v for v in vars(module).values() if isinstance(v, Marking)}
