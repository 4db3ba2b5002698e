"""The way in: `make lab` and `make test` on machines that lack something, and the files that say what is installed."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from course_utils import start

ROOT = Path(start.ROOT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
THIS = "%d.%d" % sys.version_info[:2]
OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "*",
           "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}  # nothing listens there


# --- a copy of the course's set-up, to break ---------------------------------------------------------------------------
@pytest.fixture
def copy(tmp_path):
    """A folder with what start.py needs, and no .venv."""
    folder = tmp_path / "course"
    for name in ("pyproject.toml", "constraints.txt", "course_utils/__init__.py", "course_utils/start.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "LICENSE").touch()
    (folder / "LICENSE-TEXT").touch()
    return folder


@pytest.fixture
def ready(copy):
    """The same with a complete .venv: this one's files, linked, except what start.py writes there."""
    for folder in ("", "share", "share/jupyter", "share/jupyter/lab"):
        (copy / ".venv" / folder).mkdir()
        for entry in (Path(sys.prefix) / folder).iterdir():
            if entry.name not in ("elbo_room.json", "lab-workspaces", "share", "jupyter", "lab", "settings"):
                (copy / ".venv" / folder / entry.name).symlink_to(entry)
    stamp = "import json; from course_utils import start as s; json.dump(dict(key=s.wanted_key(), extras=['dev']), open(s.STAMP, 'w'))"
    subprocess.run([sys.executable, "-c", stamp], cwd=copy, check=True)
    return copy


def environment(**changes):
    # make leaves its own for the tests that it runs
    ours = ("PORT", "ARGS", "PYTHONPATH", "ELBO_ROOM_NEED_GB", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    env = {k: v for k, v in os.environ.items() if k not in ours}
    return env | {k: str(v) for k, v in changes.items()}


def run(folder, *args, python=(sys.executable, "-m", "course_utils.start"), **env):
    """Run start.py there: exit code, and what it printed, which is never a traceback."""
    done = subprocess.run([*python, *args], cwd=folder, env=environment(**env), text=True, timeout=300,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "Traceback (most recent" not in done.stdout, done.stdout
    return done.returncode, done.stdout


# --- Python --------------------------------------------------------------------------------------------------------
def test_start_can_be_read_by_old_pythons():
    for name in ("start.py", "__init__.py"):
        ast.parse((ROOT / "course_utils" / name).read_text(), feature_version=(3, 6))


def test_bounds_of_python_agree():
    assert PROJECT["requires-python"] == ">=%d.%d,<%d.%d" % (*start.OLDEST, start.NEWEST[0], start.NEWEST[1] + 1)
    assert start.suitable((3, 11, 0)) and start.suitable(start.NEWEST) and not start.suitable((3, 10, 9)) and not start.suitable((3, 15, 0))


def test_messages_for_unsuitable_pythons():
    assert "Python 3.9 is too old" in start.python_message((3, 9, 2), "lab")
    assert "make test PYTHON=python3.14" in start.python_message((3, 9, 2), "test")
    assert "Python 3.15 is too new" in start.python_message((3, 15, 0), "lab")


AS_39 = (sys.executable, "-c",
         "import sys; sys.version_info = (3, 9, 2); from course_utils import start; sys.exit(start.main(sys.argv[1:]))")


def test_old_python_and_no_other(copy, tmp_path):
    code, out = run(copy, "lab", python=AS_39, PATH=tmp_path)
    assert code == 1 and "Python 3.9 is too old" in out and "make lab PYTHON=" in out


def test_old_python_takes_a_newer_one_that_works(ready, tmp_path):
    shim = tmp_path / "python3.14"  # found first, and leads nowhere, like a version manager's shim
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    (ready / ".venv/bin").unlink()  # no usable .venv either, so PATH is searched
    (ready / ".venv/bin").mkdir()
    good = tmp_path / f"python{THIS}"
    good.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    good.chmod(0o755)
    code, out = run(ready, "lab", python=AS_39, PATH=tmp_path, PORT="x")
    assert code == 1 and f"taking {good}" in out and "PORT=x is not a port" in out


def test_a_real_old_python(copy, tmp_path):
    places = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    places += Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python")
    old = [p for p in places if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0]
    if not old:
        pytest.skip("no Python older than 3.10 on this machine")
    for python in old:
        code, out = run(copy, "lab", python=(python, "-m", "course_utils.start"), PATH=tmp_path)
        assert code == 1 and "is too old" in out, python


def test_venv_module_missing(copy, tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ImportError('Debian keeps this in another package')")
    code, out = run(copy, "lab", PYTHONPATH=tmp_path, ELBO_ROOM_NEED_GB=0.001)
    assert code == 1 and f"apt install python3-venv python{THIS}-venv" in out


# --- disk ----------------------------------------------------------------------------------------------------------
def test_too_little_space_is_said_first(copy):
    code, out = run(copy, "lab", ELBO_ROOM_NEED_GB=10**9)
    assert code == 1 and "the disk is full" in out and "2.5 GB" in out and not (copy / ".venv").exists()


@pytest.mark.parametrize("options, need, words", [
    ("size=4m", "", "the disk is full: the course needs about 2.5 GB, and 0.0 GB is free"),
    ("size=4m", "0.001", "the disk is full"),  # found out on the way
    ("size=50m,ro", "0.001", "folder that you may write to"),
])
def test_small_and_read_only_disks(copy, tmp_path, options, need, words):
    """A real file system of 4 MB; it is mounted for this process alone and goes with it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = ["unshare", "--mount", "--map-root-user", "sh", "-ec"]
    mount = f"mount -t tmpfs -o {options.split(',')[0]} none {disk}"
    if shutil.which("unshare") is None or subprocess.run([*alone, mount], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    lock = f"mount -o remount,ro {disk}" if "ro" in options else "true"
    script = f"{mount}; cp -r {copy}/. {disk}; {lock}; cd {disk}; {sys.executable} -B -m course_utils.start lab"
    code, out = run(copy, python=(*alone, script), ELBO_ROOM_NEED_GB=need)
    assert code == 1 and words in out, out


def test_a_full_temporary_folder():
    """pip says so itself, while the course's own disk has room."""
    pip = "print('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device'); raise SystemExit(1)"
    with pytest.raises(start.Stop, match="the disk is full(.|\n)*TMPDIR="):
        start.logged("Installing", [sys.executable, "-c", pip])


# --- port ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def busy():
    """A port on which something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_port_taken_is_said_before_installing(copy, busy):
    code, out = run(copy, "lab", PORT=busy)
    assert code == 1 and f"port {busy} cannot be used" in out and "make lab PORT=" in out and not (copy / ".venv").exists()


@pytest.mark.parametrize("port", ["lab", "0", "65536", "-1", "8888.5"])
def test_port_is_no_port(copy, port):
    code, out = run(copy, "lab", PORT=port)
    assert code == 1 and f"PORT={port} is not a port" in out


def test_without_port_the_next_free_one(busy, capsys):
    assert start.free_port(None, start=busy) > busy
    assert f"port {busy} cannot be used" in capsys.readouterr().out


# --- installation ----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_no_network_then_interrupted(copy):
    """A failed installation says why, is not stamped, and goes on where it stopped; Ctrl-C ends it in a sentence."""
    code, out = run(copy, "install", ELBO_ROOM_NEED_GB=0.1, **OFFLINE)
    assert code == 1 and "1/3 making .venv" in out and "This looks like the network" in out
    assert "ERROR: No matching distribution found for setuptools" in out
    assert str(copy / ".venv/install.log") in out and (copy / ".venv/install.log").read_text()
    assert not (copy / ".venv/elbo_room.json").exists()

    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        env = environment(ELBO_ROOM_NEED_GB=0.1, **OFFLINE | {"PIP_INDEX_URL": "http://127.0.0.1:%d/simple" % silent.getsockname()[1]})
        child = subprocess.Popen([sys.executable, "-m", "course_utils.start", "install"], cwd=copy, env=env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        silent.settimeout(60)
        silent.accept()  # pip is asking
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=30)
    assert child.returncode == 130 and "1/3 .venv is there" in out and "Stopped." in out and "Traceback" not in out
    assert not (copy / ".venv/elbo_room.json").exists()


BACKEND = '''
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    info, name = "elbo_room-0.1.0.dist-info/", "elbo_room-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as z:
        z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: elbo-room\\nVersion: 0.1.0\\nProvides-Extra: dev\\n")
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        z.writestr(info + "RECORD", "")
    return name
'''


@pytest.mark.slow
def test_install_again(copy):
    """A real venv and a real pip, on a package that needs nothing from the network; an unusable .venv is in the way."""
    (copy / ".venv/bin").mkdir(parents=True)
    (copy / ".venv/bin/python").symlink_to("gone")  # as when the Python it was made with has been removed
    (copy / ".venv/elbo_room.json").write_text("{")
    (copy / "backend.py").write_text(BACKEND)
    (copy / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    quiet = OFFLINE | {"ELBO_ROOM_NEED_GB": 0.1}
    code, out = run(copy, "install", **quiet)
    assert code == 0 and "1/3 making .venv" in out and "2/3 installing" in out and "3/3 ready" in out
    assert run(copy, "install", **quiet)[1].startswith("1/3, 2/3 .venv is up to date")
    assert "2/3 installing the packages +dev" in run(copy, "install", "dev", **quiet)[1]
    assert run(copy, "install", **quiet)[1].startswith("1/3, 2/3 .venv is up to date")  # what is more is enough
    with (copy / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert "2/3 installing the packages +dev" in run(copy, "install", **quiet)[1]  # extras stay
    assert run(copy, "install", "dev", **quiet)[1].startswith("1/3, 2/3 .venv is up to date")


def test_what_asks_for_a_new_installation(copy, monkeypatch):
    keys = set()
    for change in (lambda: copy, lambda: copy / "pyproject.toml", lambda: copy / "constraints.txt", lambda: copy.with_name("moved")):
        path = change()
        if path.is_file():
            path.write_text(path.read_text() + "\n")
        elif path != copy:
            copy.rename(path)
        monkeypatch.setattr(start, "ROOT", str(path.parent if path.is_file() else path))
        keys |= {start.wanted_key()}
    assert len(keys) == 4


def test_second_start_does_not_install(ready):
    code, out = run(ready, "install", **OFFLINE)
    assert code == 0 and out.startswith("1/3, 2/3 .venv is up to date") and "2/3 installing" not in out


# --- the verbs -------------------------------------------------------------------------------------------------------
def test_unknown_verb(copy):
    code, out = run(copy, "labb")
    assert code == 1 and "lab|install|test|notebooks|homework|grade|bench" in out


def test_lab_without_notebooks(ready):
    code, out = run(ready, "lab", NO_BROWSER=1)
    assert code == 1 and "make notebooks" in out


EMPTY = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.slow
def test_lab_opens(ready, tmp_path):
    """The first page is there for who has the token, on the loopback address only, with no news in its way."""
    (ready / "notebooks").mkdir()
    (ready / "notebooks/00_start_here.ipynb").write_text(json.dumps(EMPTY))
    env = environment(NO_BROWSER=1, JUPYTER_CONFIG_DIR=tmp_path / "config", JUPYTER_RUNTIME_DIR=tmp_path / "runtime")
    env.pop("JUPYTER_TOKEN", None)
    child = subprocess.Popen([sys.executable, "-m", "course_utils.start", "lab"], cwd=ready, env=env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        url = next(line.strip() for line in child.stdout if "token=" in line)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/lab/tree/00_start_here\.ipynb\?token=[0-9a-f]{32}", url)
        page = wait_for(url, child)
        assert "JupyterLab" in page
        assert "Password or token" in wait_for(url.partition("?")[0], child)
        listening = psutil.Process(child.pid).net_connections("inet")
        assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert json.loads(wait_for(url.replace("/lab/tree/", "/api/contents/"), child))["path"] == "00_start_here.ipynb"
        asks = url.replace("/lab/tree/00_start_here.ipynb", "/lab/api/settings/@jupyterlab/apputils-extension:notification")
        defaults = json.loads(wait_for(asks, child))["schema"]["properties"]
        assert defaults["fetchNews"]["default"] == "false" and defaults["checkForUpdates"]["default"] is False
    finally:
        child.terminate()
        child.communicate(timeout=30)


def wait_for(url, child, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.read().decode()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"no page at {url.partition('?')[0]}; exit code {child.poll()}")


@pytest.mark.slow
@pytest.mark.parametrize("code, stored, result, line", [
    ("X = 1\n", "2", 0, "2 passed"),
    ("import os\n", "2", 1, "2 passed"),  # ruff: an unused import; the tests run all the same
    ("X = 1\n", "3", 1, "1 failed, 1 passed"),  # a stored output that the cell no longer gives
])
def test_make_test_fails_when_anything_fails(ready, code, stored, result, line):
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "print(1 + 1)",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": stored + "\n"}]}
    for name, text in {"tests/test_it.py": "def test_one():\n    assert 1 + 1 == 2\n", "module.py": code,
                       "notebooks/a.ipynb": json.dumps(EMPTY | {"cells": [cell]})}.items():
        (ready / name).parent.mkdir(exist_ok=True)
        (ready / name).write_text(text)
    got, out = run(ready, "test", "-p", "no:cacheprovider")
    assert got == result and re.search(rf"= {line}.* in ", out), out


def test_make_test_without_a_test_fails(ready):
    (ready / "tests").mkdir()
    assert run(ready, "test")[0] == 5  # pytest's code for "no tests ran"


def test_makefile_is_one_line_a_target():
    for verb in start.EXTRAS:
        done = subprocess.run(["make", "-n", verb, "PYTHON=python3.99", "ARGS=-k 'a b'"], cwd=ROOT, env=environment(),
                              text=True, capture_output=True, check=True)
        assert done.stdout.strip() == f"python3.99 -m course_utils.start {verb} -k 'a b'"
    listed = subprocess.run(["make"], cwd=ROOT, env=environment(), text=True, capture_output=True, check=True).stdout
    assert re.findall(r"^  make (\w+)", listed, re.M)[1:] == ["lab", "test", "notebooks", "homework", "grade", "bench", "install"]


def test_ci_script():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True)


# --- what is installed, said once ------------------------------------------------------------------------------------
def requirements(*extras):
    """What the course and these extras need; an extra may name another one of the course's own: elbo-room[homework]."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    found = [Requirement(text) for part in lists for text in part]
    inner = {extra for r in found if r.name == PROJECT["name"] for extra in r.extras} - set(extras)
    return requirements(*extras, *sorted(inner)) if inner else [r for r in found if r.name != PROJECT["name"]]


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    exact = dict(re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line).groups() for line in lines)  # no local label, no marker
    assert len(exact) == len(lines), "a package is pinned twice"
    return {name: Version(version) for name, version in exact.items()}


def test_every_dependency_has_bounds_and_its_pin_is_within():
    exact = pins()
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        assert any(s.operator == ">=" for s in requirement.specifier), requirement
        assert exact[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    for requirement in requirements():
        assert any(s.operator == "<" for s in requirement.specifier), requirement


def test_pins_cover_all_that_is_installed_for_the_course():
    """From the direct dependencies through everything they need here; a pin agrees with what runs these tests."""
    exact, todo, seen = pins(), [(r.name, frozenset(r.extras)) for r in requirements("dev")], set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        installed = importlib.metadata.distribution(name)
        assert canonicalize_name(name) in exact, f"{name} {installed.version} has no line in constraints.txt"
        assert Version(installed.version).public == exact[canonicalize_name(name)].public, name
        for requirement in map(Requirement, installed.requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                todo.append((requirement.name, frozenset(requirement.extras)))
    assert len(seen) > 80


def test_conda_gets_the_same_list():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = env["dependencies"]
    assert conda == ["python" + PROJECT["requires-python"], "pip"]
    assert pip == {"pip": ["-c constraints.txt", "-e ."]}  # the package itself; what it needs, pyproject.toml says
    assert set(env) == {"name", "channels", "dependencies"}


def test_importing_the_package_loads_nothing():
    code = "import sys; import course_utils; print(*{m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                          text=True, capture_output=True, check=True)
    third_party = set(done.stdout.split()) - {"__main__"}
    assert "course_utils" in third_party and not third_party & {"torch", "matplotlib", "numpy", "ipywidgets", "IPython"}


def test_the_package_names_its_modules():
    import course_utils

    named = set(re.findall(r"^(\w+)  +\S", course_utils.__doc__, re.M))
    there = {p.stem for p in (ROOT / "course_utils").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"__init__"} == named
