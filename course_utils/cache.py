"""Results of training, kept on disk: `remember(train, model, ...)` runs `train` once, and again only when something has changed.

    losses = remember(train, model, data, 20)     # train(model, data, 20) -> dict of arrays; changes `model` in place

What was computed is found again by a fingerprint of everything that made it: the code of the function and of every function
and class it uses, the arguments (a model with the weights it starts from), the modules, the versions of Python and of the
libraries. Change a line, a number or an image, and it is computed anew. A file that is damaged, or that is not what its name
says, is ignored and written again; where nothing can be written, everything still works, only not faster. What is not a
function of its arguments (it draws from a global generator, or changes more than its models) is computed each time.

The files are in ELBO_ROOM_CACHE if that is set, else in the user's cache folder, in `elbo-room`. They are NumPy's npz without
pickles: reading one runs no code. Delete them whenever you like; ELBO_ROOM_CACHE=off keeps none.
"""

import dis
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import numpy as np

KEEP = 12  # files of one function: the newest stay


def folder():
    """Where the files are (a Path that need not exist yet), or None when nothing is to be kept."""
    place = os.environ.get("ELBO_ROOM_CACHE", "")
    if place.lower() in ("off", "none", "0"):
        return None
    if place:
        return Path(os.path.expanduser(place))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    base = os.path.expanduser(base)
    return None if base.startswith("~") else Path(base) / "elbo-room"  # somebody without a home


def remember(compute, *args):
    """What compute(*args) returns, from disk if the same code has been run with the same arguments before.

    compute : a function that returns a dict of names and arrays (or numbers), with no randomness but from seeds; what it
        prints or draws happens only when it runs.
    args : numbers, text, arrays, tensors, torch modules, functions, and tuples, lists or dicts of these. A torch module that
        compute changes is changed in the same way when the result comes from disk. If compute changes anything else, draws
        from a global generator, or is interrupted (`fit` then returns what it has), its result is not kept.

    Returns a dict of arrays, the same to the bit whether it was computed or read. Raises TypeError for an argument whose
    content it cannot read, and for a result that is not a dict of numbers.
    """
    modules = _modules(args)
    key = fingerprint(compute, args)
    place = folder()
    path = place / f"{compute.__name__}-{key[:20]}.npz" if place is not None else None
    if path is not None:
        stored = _read(path, key)
        if stored is not None and _restore(modules, stored):
            return {k[2:]: v for k, v in stored.items() if k.startswith("r:")}
    before, around = [_state(m) for m in modules], _surroundings(compute, args)
    with _Interrupts() as interrupts:
        result = compute(*args)
    if not isinstance(result, dict):
        raise TypeError(f"{compute.__name__} returned {type(result).__name__}; to be kept it must be a dict of names and arrays")
    arrays = {str(k): np.array(v.detach().cpu().numpy() if hasattr(v, "detach") else v) for k, v in result.items()}
    for name, value in arrays.items():
        if value.dtype.kind not in "biufU":
            raise TypeError(f"{compute.__name__} returned {name!r} of type {value.dtype}; only numbers and text can be kept")
    if path is not None and not interrupts.seen and _surroundings(compute, args) == around:
        changed = {f"m:{i}:{k}": v for i, m in enumerate(modules) for k, v in _state(m).items() if not np.array_equal(v, before[i][k])}
        _write(path, {"key": np.array(key), **{f"r:{k}": v for k, v in arrays.items()}, **changed})
    return arrays


def _read(path, key):
    """The arrays of a file, or None when there is none, or it is damaged, or it belongs to another result."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:  # a zip, with a checksum of each array
            stored = {k: arrays[k] for k in arrays.files}
    except Exception:  # no file, no permission, or any of the dozen errors that a damaged archive can bring forth
        return None
    whole = str(stored.pop("sum", "")) == fingerprint(stored)  # none of the arrays is missing, or under another name
    return stored if str(stored.pop("key", "")) == key and whole else None


class _Interrupts:
    """Notes whether Ctrl-C, or the black square in Jupyter, came meanwhile, and lets it do what it always does."""

    def __enter__(self):
        self.seen, self.before = False, None
        if callable(signal.getsignal(signal.SIGINT)) and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number, frame):
        self.seen = True
        return self.before(number, frame)

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


def _modules(thing):
    """The torch modules among the arguments, in order."""
    if isinstance(thing, (tuple, list, dict)):
        return [m for t in (thing.values() if isinstance(thing, dict) else thing) for m in _modules(t)]
    return [thing] if _is_module(thing) else []


def _surroundings(compute, args):
    """What compute must leave as it was: its arguments but for the models, what it refers to, and the global generators."""
    def bare(thing):
        if isinstance(thing, dict):
            return {k: bare(v) for k, v in thing.items()}
        if isinstance(thing, (tuple, list)):
            return [bare(t) for t in thing]
        return None if _is_module(thing) else thing
    torch = sys.modules.get("torch")
    state = np.random.get_state(legacy=False)["state"]
    return fingerprint(compute, bare(args), random.getstate(), state["key"], state["pos"], None if torch is None else torch.get_rng_state())


def _state(module):
    """A copy of a module's weights: name -> array."""
    return {k: v.detach().cpu().numpy().copy() for k, v in module.state_dict().items()}


def _restore(modules, stored):
    """Put the weights that training has changed into the modules; False, with nothing changed, if they do not fit."""
    states = [{k: stored.get(f"m:{i}:{k}", v) for k, v in _state(m).items()} for i, m in enumerate(modules)]
    if any(states[i][k].shape != tuple(v.shape) for i, m in enumerate(modules) for k, v in m.state_dict().items()):
        return False
    for module, state in zip(modules, states):
        module.load_state_dict({k: _tensor(v) for k, v in state.items()})
    return True


def _write(path, arrays):
    """Write the file whole or not at all, and let only the newest of its kind stay."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", suffix=".npz", delete=False) as file:
            temporary = file.name
            np.savez(file, **arrays, sum=np.array(fingerprint(arrays)))
        os.replace(temporary, path)
        temporary = None
        same = sorted(path.parent.glob(path.name[:-24] + "?" * 20 + ".npz"), key=lambda p: p.stat().st_mtime, reverse=True)
        abandoned = [p for p in path.parent.glob(".part-*") if p.stat().st_mtime < time.time() - 86_400]
        for old in same[KEEP:] + abandoned:
            old.unlink(missing_ok=True)
    except OSError:  # a read-only home, a full disk: then it is computed again next time
        pass
    finally:
        if temporary is not None:
            try:
                os.unlink(temporary)
            except OSError:
                pass


# ---- the fingerprint ----------------------------------------------------------------------------------------------------
def fingerprint(*things):
    """64 hexadecimal digits that change when the content of any of the things changes, code included.

    Raises TypeError for what it cannot look into (an open file, a running generator): it would be found unchanged for ever.
    """
    digest = hashlib.sha256()
    _feed(digest, ("elbo-room cache 1", sys.version_info[:3]), {})
    _feed(digest, things, {})
    return digest.hexdigest()


def _feed(digest, thing, seen):
    """Add a thing to the digest: its type, its content, and what it refers to; each object once."""
    def say(*words):
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            digest.update(len(word).to_bytes(8, "big") + word)

    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, type(...))):
        return say(type(thing).__name__, repr(thing))
    if not isinstance(thing, (tuple, frozenset, types.CodeType)):  # constants may or may not be shared between functions
        if id(thing) in seen:
            return say("again", seen[id(thing)][0])
        seen[id(thing)] = len(seen), thing  # kept alive, or its id might be given to another
    if isinstance(thing, (np.ndarray, np.generic)):
        array = np.asarray(thing)
        if array.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be kept; use an array of numbers")
        return say("array", array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())
    if isinstance(thing, (tuple, list)):
        say(type(thing).__name__, len(thing))
        return [_feed(digest, t, seen) for t in thing] and None
    if isinstance(thing, dict):
        say("dict", len(thing))
        return [_feed(digest, pair, seen) for pair in thing.items()] and None
    if isinstance(thing, (set, frozenset)):
        return say("set", *sorted(fingerprint(t) for t in thing))
    if isinstance(thing, types.ModuleType):
        return say("module", *_library(thing.__name__))
    if isinstance(thing, types.CodeType):
        say("code", thing.co_name, thing.co_code, thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_argcount)
        return _feed(digest, thing.co_consts, seen)
    if isinstance(thing, types.FunctionType):
        return _feed_function(digest, thing, seen, say)
    if isinstance(thing, (types.MethodType, staticmethod, classmethod)):
        return _feed(digest, (type(thing).__name__, thing.__func__, getattr(thing, "__self__", None)), seen)
    if isinstance(thing, property):
        return _feed(digest, ("property", thing.fget, thing.fset), seen)
    if isinstance(thing, type):
        return _feed_class(digest, thing, seen, say)
    if isinstance(thing, (types.BuiltinFunctionType, np.ufunc)) or type(thing).__module__ == "numpy":
        return say("builtin", *_library(getattr(thing, "__module__", None) or "builtins"), repr(thing).split(" at 0x")[0])
    if type(thing).__module__.split(".")[0] == "torch" or _is_module(thing):
        return _feed_torch(digest, thing, seen, say)
    advice = "make it inside the function from a seed" if "Generator" in type(thing).__name__ else "pass numbers, arrays, models, functions"
    raise TypeError(f"the content of {type(thing).__name__} cannot be read for the cache; {advice}")


def _feed_function(digest, function, seen, say):
    """A function of a lesson by its code and whatever that refers to; a function of a library by name and version."""
    if not _ours(function.__module__):
        return say("function", *_library(function.__module__), function.__qualname__)
    say("function", function.__name__)
    _feed(digest, (function.__code__, function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        try:
            _feed(digest, cell.cell_contents, seen)
        except ValueError:  # not filled yet
            say("empty")
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            say("global", name)
            _feed(digest, function.__globals__[name], seen)


def _feed_class(digest, cls, seen, say):
    if not _ours(cls.__module__):
        return say("class", *_library(cls.__module__), cls.__qualname__)
    say("class", cls.__name__)
    _feed(digest, cls.__bases__, seen)
    for name, value in sorted(vars(cls).items()):
        kinds = (types.FunctionType, staticmethod, classmethod, property, int, float, str, tuple, list, dict, np.ndarray, np.generic)
        if (isinstance(value, kinds) or type(value).__module__.split(".")[0] == "torch") \
                and name not in ("__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__qualname__"):
            say("attribute", name)
            _feed(digest, value, seen)


def _feed_torch(digest, thing, seen, say):
    import torch

    if isinstance(thing, torch.Tensor):
        return _feed(digest, ("tensor", thing.requires_grad, thing.detach().cpu().numpy()), seen)
    if isinstance(thing, torch.nn.Module):
        _feed(digest, type(thing), seen)
        plain = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
        return _feed(digest, (plain, dict(thing.named_children()), dict(thing.named_parameters(recurse=False)),
                              dict(thing.named_buffers(recurse=False))), seen)
    if isinstance(thing, (torch.dtype, torch.device, torch.Size)):
        return say(type(thing).__name__, thing)
    raise TypeError(f"the content of torch's {type(thing).__name__} cannot be read for the cache; make it inside the function from a seed")


def _names(code):
    """The global names that a piece of code, and the functions inside it, may look up."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _ours(module):
    """Whether code of this module is looked into: lessons, tests and loose scripts, but no installed library."""
    top = (module or "__main__").split(".")[0]
    if top in ("__main__", "__lesson__"):
        return True
    if top == "course_utils":  # its modules count with their whole text
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    return top not in sys.stdlib_module_names and (top not in sys.modules or (file is not None and "site-packages" not in file))


def _library(name):
    """A module by its name and what may change in it: the text of a course module, a library's version."""
    top = name.split(".")[0]
    if top == "course_utils":
        file = getattr(sys.modules.get(name), "__file__", None)
        return name, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return name, getattr(sys.modules.get(top), "__version__", "")


def _is_module(thing):
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _tensor(array):
    import torch

    return torch.from_numpy(np.array(array))
