"""A small homework for the tests of grading, built by the real builder into a course of its own; also what simulated students send."""
import copy
import json

import nbformat

from course_utils.instructor import homework, marking

NAME = "hw90_small"
FULL = {"double": 3.0, "fourfold": 5.0, "log_sum": 6.0}
SOURCE = '''# %% [markdown]
# # Homework 90 · Small
# %%
from types import SimpleNamespace

import numpy as np

from course_utils.checks import Check

SEED = 2026
rng = np.random.default_rng(SEED)
scale = 2.0
# %%
def twice(v):
    """v, two times."""
    return scale * v


check = SimpleNamespace(**{name: Check(name, None, [(1.0,)]) for name in ("double", "fourfold", "log_sum")})
# %% [markdown]
# ### 1 · Double (3 points, 5 min)
# %% exercise="double" points=3
def double(v):
    """Twice v."""
    ### BEGIN SOLUTION
    return twice(v)
    ### END SOLUTION
# %% check="double"
check.double(double)
# %% [markdown]
# ### 2 · Fourfold (5 points, 5 min)
# It may call double; if yours is not right, the marker puts the right one in its place.
# %% exercise="fourfold" points=5
def fourfold(v):
    """Four times v."""
    ### BEGIN SOLUTION
    return double(double(v))
    ### END SOLUTION
# %% check="fourfold"
check.fourfold(fourfold)
# %% [markdown]
# ### 3 · The logarithm of a sum (6 points, 10 min)
# %% exercise="log_sum" points=6
def log_sum(a):
    """log of the sum of exp(a)."""
    ### BEGIN SOLUTION
    top = np.max(a)
    return top + np.log(np.sum(np.exp(a - top)))
    ### END SOLUTION
# %% check="log_sum"
check.log_sum(log_sum)
# %% [markdown] written="why" points=6
# ### 4 · Written: why subtract the largest? (6 points, 5 min)
# %% [markdown]
# ## Unmarked
# %%
# a place to try
'''
MARKING = '''"""Marking of the tests' homework."""
import numpy as np
from scipy.special import logsumexp

from . import Group, Marking, Mutant

RUBRIC = {"why": [(6, "says overflow")]}


def _numbers(rng):
    return [Group("plain numbers", [(float(v),) for v in rng.uniform(1, 2, 3)], "count the factors"),
            Group("arrays", [(rng.normal(size=4),)], "use NumPy")]


def _sums(rng):
    return [Group("small numbers", [(rng.normal(size=5),)], "log, sum, exp"),
            Group("large numbers", [(rng.normal(size=5) + 1000,)], "subtract the largest first")]


double = Marking("double", lambda v: v + v, _numbers, variants=[lambda v: 2 * v],
                 mutants=[Mutant("square for double", lambda v: v * v, "v times v is not twice v"),
                          Mutant("half for double", lambda v: v / 2, "the other way round")])
fourfold = Marking("fourfold", lambda v: v + v + v + v, _numbers, variants=[lambda v: 4 * v], needs=("double",),
                   mutants=[Mutant("eightfold", lambda v: 8 * v, "once too often"), Mutant("twofold", lambda v: 2 * v, "once more")])
log_sum = Marking("log_sum", logsumexp, _sums, variants=[lambda a: np.logaddexp.reduce(a)],
                  mutants=[Mutant("no shift", lambda a: np.log(np.sum(np.exp(a))), "exp(1000) is infinite"),
                           Mutant("mean for sum", lambda a: logsumexp(a) - np.log(len(a)), "a sum, not a mean")],
                  partial={"no shift": 0.5})
'''


def install(folder):
    """Put the homework's source and its marking into `folder` and make both known to this process."""
    (folder / f"{NAME}.py").write_text(SOURCE)
    (folder / "hw90.py").write_text(MARKING)
    marking.__path__.append(str(folder))
    homework.SOURCE = folder


class Course:
    """A course's folder with submissions in it."""

    def __init__(self, root, name=NAME):
        self.root, self.name, self.ids = root, name, []
        self.release, self.source = (nbformat.read(root / step / name / f"{name}.ipynb", 4) for step in ("release", "source"))

    def solved(self, replace=(), written="Because exp overflows."):
        """The solved notebook with other text in some cells, by grade_id."""
        nb = copy.deepcopy(self.source)
        for cell in nb.cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("grade") and meta.get("solution"):
                cell.source = written
            cell.source = dict(replace).get(meta.get("grade_id"), cell.source)
        return nb

    def hand_in(self, student, nb):
        """`nb`: a notebook, text or bytes."""
        folder = self.root / "submitted" / student / self.name
        folder.mkdir(parents=True, exist_ok=True)
        data = nb if isinstance(nb, bytes) else (nb if isinstance(nb, str) else json.dumps(nb)).encode()  # valid or not
        (folder / f"{self.name}.ipynb").write_bytes(data)
        (folder / "timestamp.txt").write_text("2026-11-20 10:00:00.000000 UTC")
        if student not in self.ids:
            self.ids.append(student)
        (self.root / "roster.csv").write_text("id,first_name,last_name,email\n" + "".join(f"{s},,,\n" for s in self.ids))


def cell(nb, grade_id):
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)
