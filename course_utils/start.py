"""What `make` runs: set the course up, then open, test, build or measure it. `python3 -m course_utils.start lab`

Only the standard library, and only syntax that Python 3.6 reads: this file also runs where nothing is installed yet,
and on a Python that is too old, so that it can say what is missing in a sentence instead of a traceback.
"""
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PY = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
STAMP = os.path.join(VENV, "elbo_room.json")  # written when an installation is complete: what was installed
LOG = os.path.join(VENV, "install.log")
OLDEST, NEWEST = (3, 11), (3, 14)
NEED_GB = 2.5  # .venv with the CPU build of torch, and what pip unpacks on the way
EXTRAS = {"lab": [], "install": [], "test": ["dev"], "notebooks": ["dev"], "bench": ["bench", "dev"]}
FIRST_PAGE = "00_start_here.ipynb"


class Stop(Exception):
    """A message for the person at the keyboard."""


def say(text):
    print(text, flush=True)


# --- Python ----------------------------------------------------------------------------------------------------------
def suitable(version):
    return OLDEST <= tuple(version[:2]) <= NEWEST


def python_message(version, verb):
    low, high, this = ("%d.%d" % tuple(v[:2]) for v in (OLDEST, NEWEST, version))
    return ("Python %s is too %s: the course needs %s to %s, and none was found on the PATH.\n"
            "Install one (your system's packages, or python.org), then name it:\n    make %s PYTHON=python%s"
            % (this, "old" if tuple(version[:2]) < OLDEST else "new", low, high, verb, high))


def another_python():
    """A Python on this machine that suits, or None. Each is tried: a version manager's shim may lead nowhere."""
    names = ["python%d.%d" % (3, minor) for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for path in filter(None, [PY] + [shutil.which(name) for name in names]):
        try:
            out = subprocess.check_output([path, "-c", "import sys; print(*sys.version_info[:2])"],
                                          stderr=subprocess.DEVNULL, universal_newlines=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        if suitable([int(n) for n in out.split()]):
            return path
    return None


def need_venv_module():
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Stop("this Python cannot make virtual environments: its venv or ensurepip module is missing.\n"
                   "On Debian and Ubuntu:  sudo apt install python3-venv python%d.%d-venv\n"
                   "then run the same command again." % sys.version_info[:2]) from None


# --- disk ------------------------------------------------------------------------------------------------------------
def space_message():
    return ("the disk is full: the course needs about %.1f GB, and %.1f GB is free in %s.\n"
            "Make room, or move the course to a bigger disk, then run the same command again: it goes on where it\n"
            "stopped. (On Linux, torch's default build brings GPU libraries, several GB more: see the README. pip also\n"
            "unpacks in the temporary folder; another one:  TMPDIR=/a/bigger/disk make lab)"
            % (NEED_GB, shutil.disk_usage(ROOT).free / 1e9, ROOT))


def check_space():
    has_torch = [path for lib in ("lib/python*", "Lib") for path in glob.glob(VENV + "/" + lib + "/site-packages/torch")]
    need = float(os.environ.get("ELBO_ROOM_NEED_GB") or (0.3 if has_torch else NEED_GB))
    if shutil.disk_usage(ROOT).free < need * 1e9:
        raise Stop(space_message())


# --- installation ----------------------------------------------------------------------------------------------------
def wanted_key():
    digest = hashlib.sha256(ROOT.encode())  # the package is installed in place: a moved folder needs it again
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def installed():
    """{"key": ..., "extras": [...]} of the last complete installation, or {}."""
    try:
        with open(STAMP) as file:
            return json.load(file) if os.path.exists(PY) else {}
    except (OSError, ValueError):
        return {}


def logged(what, command):
    """Run a command of the installation; its output goes to the log and, shortened, to one moving line."""
    lines, live = [], sys.stdout.isatty()
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True, errors="replace")
    for line in child.stdout:
        lines.append(line.rstrip())
        if live and line.startswith(("Collecting", "Downloading", "  Downloading", "Using cached", "Installing")):
            print("\r\033[K    " + line.strip()[:70], end="", flush=True)
    if live:
        print("\r\033[K", end="", flush=True)
    if child.wait() == 0:
        return
    text = "\n".join(lines)
    if "No space left on device" in text or "Errno 28]" in text or "quota exceeded" in text.lower():
        raise Stop(space_message())
    if os.path.isdir(VENV):
        with open(LOG, "w") as file:
            file.write(text + "\n")
    hint = "Run the same command again: it goes on where it stopped. All of pip's output: " + LOG
    if any(word in text.lower() for word in ("connection", "timed out", "resolution", "unreachable", "proxy", "ssl")):
        hint = "This looks like the network: check the connection (or the proxy settings). " + hint
    elif "No matching distribution" in text:
        hint = "There is no such package for this Python or this machine; another Python may do. " + hint
    raise Stop("%s failed. Its last lines:\n    %s\n%s" % (what, "\n    ".join([s for s in lines if s][-8:]), hint))


def install(extras):
    """Bring .venv up to date with pyproject.toml, constraints.txt and the extras; do nothing where it is."""
    done = installed()
    if done.get("key") == wanted_key() and set(extras) <= set(done.get("extras", [])):
        return say("1/3, 2/3 .venv is up to date")
    check_space()
    usable = [PY, "-c", "import pip, sys; sys.exit(not %r <= sys.version_info[:2] <= %r)" % (OLDEST, NEWEST)]
    if not os.path.exists(PY) or subprocess.call(usable, stderr=subprocess.DEVNULL) != 0:
        say("1/3 making .venv with Python %d.%d ..." % sys.version_info[:2])
        need_venv_module()
        logged("Making .venv", [sys.executable, "-m", "venv", "--clear", VENV])
    else:
        say("1/3 .venv is there")
    extras = sorted(set(extras) | set(done.get("extras", [])))
    say("2/3 installing the packages%s: minutes the first time, seconds later ..." % "".join(" +" + e for e in extras))
    logged("Installing", [PY, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-c",
                          "constraints.txt", "-e", ".[%s]" % ",".join(extras) if extras else "."])
    with open(STAMP, "w") as file:
        json.dump({"key": wanted_key(), "extras": extras}, file)


# --- the verbs -------------------------------------------------------------------------------------------------------
def free_port(asked, start=8888):
    """The port asked for, or the first free one from `start`, on the loopback address."""
    if asked and not (asked.isdigit() and 0 < int(asked) < 65536):
        raise Stop("PORT=%s is not a port: give a number from 1 to 65535, as in  make lab PORT=%d" % (asked, start))
    first = int(asked or start)
    for port in range(first, first + 1 if asked else first + 100):
        with socket.socket() as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError as error:
                say("    port %d cannot be used: %s" % (port, os.strerror(error.errno)))
    raise Stop("Is another JupyterLab open there? Take another port, as in  make lab PORT=%d,\n"
               "or leave PORT out and the next free one is taken." % (first % 65535 + 1))


def lab(args):
    if not os.path.exists(os.path.join(ROOT, "notebooks", FIRST_PAGE)):
        raise Stop("notebooks/%s is not there: build the notebooks first, with  make notebooks" % FIRST_PAGE)
    port, env = free_port(os.environ.get("PORT")), dict(os.environ)
    token = env.setdefault("JUPYTER_TOKEN", secrets.token_hex(16))  # in the environment: not for all to see in `ps`
    options = ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=%d" % port, "--ServerApp.port_retries=0",
               "--ServerApp.root_dir=" + os.path.join(ROOT, "notebooks"), "--Application.log_level=WARN",
               "--LabApp.default_url=/lab/tree/" + FIRST_PAGE, "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               "--LabApp.workspaces_dir=" + os.path.join(VENV, "lab-workspaces")]
    if os.environ.get("NO_BROWSER", "0") not in ("", "0"):
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    say("3/3 opening JupyterLab (Ctrl-C here closes it):\n    http://127.0.0.1:%d/lab/tree/%s?token=%s"
        % (port, FIRST_PAGE, token))
    return hand_over([PY, "-m", "jupyterlab"] + options + args, env)


def test(args):
    """ruff, then all of pytest and nbval in one run; both run, and either can fail it."""
    env = dict(os.environ, OMP_NUM_THREADS="1")
    chosen = any(a.split("::")[0].endswith((".py", ".ipynb", "/")) for a in args)
    paths = [] if chosen else ["tests"] + sorted(glob.glob(os.path.join("notebooks", "*.ipynb")))
    say("3/3 ruff, then pytest ...")
    ruff = subprocess.call([PY, "-m", "ruff", "check"], cwd=ROOT, env=env)
    tests = subprocess.call([PY, "-m", "pytest", "--nbval", "--nbval-current-env"] + paths + args, cwd=ROOT, env=env)
    if ruff:
        say("ruff check found faults: see above")
    return tests or ruff


def hand_over(command, env=None):
    """Become this command, so that Ctrl-C and signals go straight to it."""
    env = env or dict(os.environ)
    if os.name == "nt":
        return subprocess.call(command, cwd=ROOT, env=env)
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(command[0], command, env)


def main(argv):
    verb, args = (argv[0] if argv else ""), argv[1:]
    try:
        if verb not in EXTRAS:
            raise Stop("say what to do: python3 -m course_utils.start %s" % "|".join(EXTRAS))
        if not suitable(sys.version_info):
            other = another_python()
            if other is None:
                raise Stop(python_message(sys.version_info, verb))
            say("Python %d.%d does not suit; taking %s" % (sys.version_info[0], sys.version_info[1], other))
            return hand_over([other, "-m", "course_utils.start"] + argv)
        if verb == "lab" and os.environ.get("PORT"):
            free_port(os.environ["PORT"])  # say so before the minutes of a first installation
        install(args if verb == "install" else EXTRAS[verb])
        if verb == "lab":
            return lab(args)
        if verb == "test":
            return test(args)
        if verb == "install":
            return say("3/3 ready: " + PY)
        say("3/3 " + verb + " ...")
        return hand_over([PY, "-m", "benchmarks" if verb == "bench" else "course_utils.instructor.build"] + args)
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again: it goes on where it stopped.")
        return 130
    except Stop as stop:
        print("\nELBO Room: %s" % stop, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print("\nELBO Room: " + space_message(), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
