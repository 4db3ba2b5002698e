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
OLDEST, NEWEST = (3, 11), (3, 14)
NEED_GB = 2.5  # .venv with the CPU build of torch (1.7), and what pip downloads and unpacks on the way
EXTRAS = {"lab": [], "install": [], "test": ["dev"], "notebooks": ["dev"], "homework": ["dev"],
          "grade": ["dev"], "bench": ["bench", "dev"]}
FIRST_PAGE = "00_start_here.ipynb"
SETTINGS = {  # JupyterLab's defaults in our .venv: it asks nothing at the first visit, and asks no website for anything
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


class Stop(Exception):
    """A message for the person at the keyboard."""


def say(text):
    print(text, flush=True)


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


def space_message():
    return ("the disk is full: the course needs about %.1f GB, and %.1f GB is free in %s.\n"
            "Make room, or move the course to a bigger disk, then run the same command again: it goes on from there.\n"
            "(On Linux, torch's default build brings GPU libraries, several GB more: see the README.\n"
            "pip also unpacks in the temporary folder; to use another one:  TMPDIR=/a/bigger/disk make lab)"
            % (NEED_GB, shutil.disk_usage(ROOT).free / 1e9, ROOT))


def check_space():
    has_torch = any(glob.glob(os.path.join(VENV, lib, "site-packages", "torch")) for lib in ("lib/python*", "Lib"))
    need = float(os.environ.get("ELBO_ROOM_NEED_GB") or (0.3 if has_torch else NEED_GB))
    if shutil.disk_usage(ROOT).free < need * 1e9:
        raise Stop(space_message())


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
    """Run a step of the installation: its output goes to a log and, shortened, to one moving line."""
    lines, live = [], sys.stdout.isatty()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, errors="replace") as child:
        try:
            for line in child.stdout:
                lines.append(line.rstrip())
                if live and line.split(" ")[0] in ("Collecting", "Downloading", "Using", "Building", "Installing"):
                    print("\r\033[K    " + line.strip()[:70], end="", flush=True)
        except KeyboardInterrupt:
            child.terminate()
            raise
        finally:
            print("\r\033[K" if live else "", end="", flush=True)
    if child.returncode == 0:
        return
    text = "\n".join(lines)
    if "No space left on device" in text or "Errno 28]" in text or "quota exceeded" in text.lower():
        raise Stop(space_message())
    log = os.path.join(VENV, "install.log")
    hint = "Run the same command again: it goes on where it stopped. All of its output: " + log
    if any(word in text.lower() for word in ("connection", "timed out", "name resolution", "proxy", "no matching")):
        hint = ("This looks like the network: check the connection (or the proxy settings).\n"
                "If others get through, the package is not made for this Python or machine: make lab PYTHON=...\n" + hint)
    os.makedirs(VENV, exist_ok=True)
    with open(log, "w") as file:
        file.write(text + "\n")
    told = [s.strip() for s in lines if "ERROR:" in s] or [s for s in lines if s]
    raise Stop("%s failed. It said:\n    %s\n%s" % (what, "\n    ".join(told[-8:]), hint))


def make_venv():
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Stop("this Python cannot make virtual environments: its venv or ensurepip module is missing.\n"
                   "On Debian and Ubuntu:  sudo apt install python3-venv python%d.%d-venv\n"
                   "then run the same command again." % sys.version_info[:2]) from None
    logged("Making .venv", [sys.executable, "-m", "venv", "--clear", VENV])


def install(extras):
    """Bring .venv up to date with pyproject.toml, constraints.txt and the extras; do nothing where it is."""
    done = installed()
    if done.get("key") == wanted_key() and set(extras) <= set(done.get("extras", [])):
        return say("1/3, 2/3 .venv is up to date")
    check_space()
    usable = [PY, "-c", "import pip, sys; sys.exit(not %r <= sys.version_info[:2] <= %r)" % (OLDEST, NEWEST)]
    if os.path.exists(PY) and subprocess.call(usable, stderr=subprocess.DEVNULL) == 0:
        say("1/3 .venv is there")
    else:
        say("1/3 making .venv with Python %d.%d ..." % sys.version_info[:2])
        make_venv()
    extras = sorted(set(extras) | set(done.get("extras", [])))
    say("2/3 installing the packages%s (minutes the first time) ..." % "".join(" +" + e for e in extras))
    logged("Installing", [PY, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                          "-c", "constraints.txt", "-e", ".[%s]" % ",".join(extras) if extras else "."])
    with open(STAMP, "w") as file:
        json.dump({"key": wanted_key(), "extras": extras}, file)


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
    raise Stop("is another JupyterLab open there? Take another port, as in  make lab PORT=%d,\n"
               "or leave PORT out: then the next free one is taken." % (first % 65535 + 1))


def lab(args):
    if not os.path.exists(os.path.join(ROOT, "notebooks", FIRST_PAGE)):
        raise Stop("notebooks/%s is not there: build the notebooks first, with  make notebooks" % FIRST_PAGE)
    port, env = free_port(os.environ.get("PORT")), dict(os.environ)
    settings = os.path.join(VENV, "share", "jupyter", "lab", "settings")
    os.makedirs(settings, exist_ok=True)
    with open(os.path.join(settings, "overrides.json"), "w") as file:
        json.dump(SETTINGS, file)
    token = env.setdefault("JUPYTER_TOKEN", secrets.token_hex(16))  # in the environment: not for all to see in `ps`
    options = ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=%d" % port, "--ServerApp.port_retries=0",
               "--ServerApp.root_dir=" + os.path.join(ROOT, "notebooks"), "--Application.log_level=ERROR",
               "--KernelManager.transport_encryption=auto", "--LabApp.default_url=/lab/tree/" + FIRST_PAGE,
               "--LabApp.workspaces_dir=" + os.path.join(VENV, "lab-workspaces")]
    if os.environ.get("NO_BROWSER", "0") not in ("", "0"):
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    say("3/3 opening JupyterLab (Ctrl-C here closes it):\n    http://127.0.0.1:%d/lab/tree/%s?token=%s"
        % (port, FIRST_PAGE, token))
    return hand_over([PY, "-m", "jupyterlab"] + options + args, env)


def test(args):
    """ruff, then pytest with strict nbval in one run; both run, and either can fail it."""
    env = dict(os.environ, OMP_NUM_THREADS="1")
    chosen = any(a.split("::")[0].endswith((".py", ".ipynb", "/")) for a in args)
    lessons = tuple(env.get("LESSONS", "").split()) or ("",)  # LESSONS=03 tests that lesson alone
    notebooks = [n for folder in ("", "homework") for n in sorted(glob.glob(os.path.join(ROOT, "notebooks", folder, "*.ipynb")))
                 if os.path.basename(n)[2 * bool(folder):].startswith(lessons)]  # hw03_... belongs to lesson 03
    paths = [] if chosen else ["tests"] + notebooks
    alone = chosen or any(a.startswith(("-n", "-p", "--pdb")) for a in args)
    two = [] if alone else ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]  # the browser beside the rest
    say("3/3 ruff, then pytest ...")
    ruff = subprocess.call([PY, "-m", "ruff", "check"], cwd=ROOT, env=env)
    tests = subprocess.call([PY, "-m", "pytest", "--nbval", "--nbval-current-env"] + two + paths + args, cwd=ROOT, env=env)
    if ruff:
        say("ruff check found faults: see above the tests")
    return tests or ruff


def hand_over(command, env=None):
    """Become this command, so that Ctrl-C and signals go straight to it."""
    if os.name == "nt":
        return subprocess.call(command, cwd=ROOT, env=env)
    os.chdir(ROOT)
    os.execve(command[0], command, env or dict(os.environ))


def run(verb, args):
    if verb not in EXTRAS:
        raise Stop("say what to do: python3 -m course_utils.start %s" % "|".join(EXTRAS))
    if not suitable(sys.version_info):
        other = another_python()
        if other is None:
            raise Stop(python_message(sys.version_info, verb))
        say("Python %d.%d does not suit; taking %s" % (sys.version_info[0], sys.version_info[1], other))
        return hand_over([other, "-m", "course_utils.start", verb] + args)
    if verb == "lab" and os.environ.get("PORT"):
        free_port(os.environ["PORT"])  # say so before the minutes of a first installation
    install(args if verb == "install" else EXTRAS[verb])
    if verb == "install":
        return say("3/3 ready: " + PY)
    if verb in ("lab", "test"):
        return {"lab": lab, "test": test}[verb](args)
    say("3/3 %s ..." % verb)
    module = {"notebooks": ["course_utils.instructor.build"], "homework": ["course_utils.instructor.homework", "build"],
              "grade": ["course_utils.instructor.cli", "grade"], "bench": ["benchmarks"]}
    seed = ["--seed", os.environ["SEED"]] if verb == "homework" and os.environ.get("SEED") else []
    return hand_over([PY, "-m"] + module[verb] + seed + args)


def main(argv):
    try:
        return run(argv[0] if argv else "", argv[1:])
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again: it goes on where it stopped.")
        return 130
    except Stop as stop:
        message = str(stop)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = space_message()
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = "%s\nThe course has to be in a folder that you may write to." % error
        else:
            raise
    print("\nELBO Room: " + message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
