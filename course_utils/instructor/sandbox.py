"""A Jupyter kernel for code that nobody has read: in bubblewrap, with no network, nothing to write to and limits on everything.

Inside there are the system's /usr and the course's Python packages, read-only, the student's part of `course_utils`, an empty
folder and nothing else: no other student, no gradebook, no marking. One kernel runs one submission and is then killed.
What it does not protect against: faults of the operating system's kernel itself, and processes that together need
more memory than the machine has (each one alone is limited).
"""
import compileall
import functools
import multiprocessing.util
import os
import random
import secrets
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import zmq
from jupyter_client.session import Session

COURSE_UTILS = Path(__file__).resolve().parents[1]
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
LIMITS = {"as": 4 << 30, "fsize": 32 << 20, "core": 0, "nofile": 512, "nproc": 128}  # bytes and counts, each per process but the last
DISK = {"/tmp": 200 << 20, "/job": 50 << 20}  # writable, in memory, gone afterwards
KEEP, FLOOD = 20_000, 20_000_000  # characters of printed text kept of a cell; bytes that stop it
MESSAGE = 32 << 20  # bytes of the largest message that is read at all
SHOWN = ("text/plain", "image/png", "image/jpeg")  # nothing that could be a program in the teacher's browser
START = 60.0  # seconds that a kernel may take to start on a busy machine
NO_SANDBOX = ("bubblewrap (the program `bwrap`) is not there, and without it students' code would run with your rights: it could read "
              "and change your files and other students' work, and use the network. Install it (Debian, Ubuntu: apt-get install "
              "bubblewrap; there is none for macOS and Windows: grade in WSL2 or on Linux), or accept that risk with --no-sandbox")


class SandboxError(Exception):
    """The machine could not run a submission; says nothing about the submission. One sentence."""


class Ended(Exception):
    """The kernel has ended under a submission: `kind` is crashed or timed_out, and one sentence."""

    def __init__(self, kind, words):
        super().__init__(words)
        self.kind = kind


class Result(NamedTuple):
    """What a cell left: nbformat-like outputs, the text of the expression asked for (None: no such thing), what to note."""

    outputs: list
    value: str | None
    note: str | None


def check():
    """Refuse in one clear sentence where no sandbox can be made."""
    if shutil.which("bwrap") is None:
        raise SandboxError(NO_SANDBOX)
    try:
        subprocess.run([*_jail(None, 0), "/usr/bin/env", "true"], check=True, capture_output=True, text=True, timeout=START)
    except (OSError, subprocess.SubprocessError) as e:
        why = (getattr(e, "stderr", "") or str(e)).strip().splitlines()[-1:]
        raise SandboxError(f"bubblewrap cannot make a sandbox on this machine ({' '.join(why)}); are user namespaces switched off, "
                           "or is this a container without the right to make them?") from None


def at_exit(function, *args):
    """Call `function` when this process ends: also where it is one of a pool, which atexit does not see."""
    multiprocessing.util.Finalize(None, function, args, exitpriority=1)


@functools.cache
def stage():
    """A folder with the student's part of course_utils and a font cache for matplotlib; made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="course-lib-"))
    at_exit(shutil.rmtree, folder, True)
    shutil.copytree(COURSE_UTILS, folder / "lib/course_utils", ignore=shutil.ignore_patterns("instructor", "__pycache__"))
    compileall.compile_dir(folder / "lib", quiet=2)
    try:
        import matplotlib.font_manager  # noqa: F401  (writes the cache if there is none yet)
        shutil.copytree(matplotlib.get_cachedir(), folder / "lib/matplotlib", ignore=lambda _, names: [
            n for n in names if not n.startswith("fontlist")])
    except (ImportError, OSError):
        (folder / "lib/matplotlib").mkdir(exist_ok=True)
    return folder


def intact():
    """Raise SandboxError if the staged course_utils has gone (somebody cleaned up): what was run without it says nothing."""
    if not (stage() / "lib/course_utils/checks/__init__.py").is_file():
        stage.cache_clear()
        raise SandboxError("the folder with the course's package for the sandbox was removed while it was in use")


def _jail(sockets, uid):
    """The command line in front of the kernel's own: the sandbox around it."""
    python = {Path(p).absolute() for p in (sys.prefix, sys.base_prefix)} | {Path(sys.executable).resolve().parents[1]}
    binds = {p for p in python if not p.is_relative_to("/usr") and p != Path("/")}
    binds = {p for p in binds if not any(q in p.parents for q in binds)}
    own = COURSE_UTILS.parent if (COURSE_UTILS.parent / "notebooks").is_dir() else COURSE_UTILS  # solutions, the marking
    hidden = {own, *(Path(p) / "course_utils" for p in site.getsitepackages()), Path("/usr/local/share/nbgrader")}  # its exchange
    parents = sorted({q for p in (*binds, *([sockets] if sockets else [])) for q in p.parents} - {Path("/")}, key=lambda q: len(q.parts))
    root = os.geteuid() == 0
    args = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
            "--die-with-parent", "--new-session", "--hostname", "homework", "--clearenv", "--cap-drop", "ALL"]
    # Limits on processes do not hold for root, not even inside a user namespace: root becomes somebody else in there.
    args += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    args += ["--ro-bind", "/usr", "/usr", *_hide(hidden, [Path("/usr")])]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            args += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            args += ["--ro-bind", str(path), str(path)]
    args += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    args += ["--proc", "/proc", "--dev", "/dev"]
    for path, size in DISK.items():
        args += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
    for path in parents:
        if path != Path("/tmp"):
            args += ["--perms", "0755", "--dir", str(path)]
    for path in sorted(binds):
        args += ["--ro-bind", str(path), str(path)]
    args += _hide(hidden, binds)
    if sockets:
        args += ["--ro-bind", str(stage() / "lib"), "/lib-course", "--bind", str(sockets), str(sockets),
                 "--ro-bind", str(sockets.parent / "connection.json"), "/connection.json"]
    for name, value in _environment("/tmp", "/lib-course").items():
        args += ["--setenv", name, value]
    args += ["--chdir", "/job", "--"]
    if root:
        args += ["/usr/bin/setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--"]
    return args + ["/usr/bin/prlimit", *(f"--{k}={v}" for k, v in LIMITS.items()), "--"]


def _hide(folders, inside):
    """Empty folders over those that would be seen."""
    return [a for f in folders if f.is_dir() and any(f.is_relative_to(p) for p in inside) for a in ("--tmpfs", str(f))]


def _environment(home, lib):
    return {"HOME": home, "USER": "student", "LOGNAME": "student", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "LANG": "C.UTF-8", "PYTHONPATH": lib, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": f"{home}/matplotlib", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "NBGRADER_EXECUTION": "autograde", "PYTHONHASHSEED": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


# matplotlib wants to write beside its font cache: it gets a copy of its own in the sandbox's memory.
_BOOT = """
import os, shutil, sys
lib = os.environ["PYTHONPATH"]
try: shutil.copytree(lib + "/matplotlib", os.environ["MPLCONFIGDIR"])
except OSError: pass
from ipykernel import kernelapp
sys.argv = ["kernel", "-f", sys.argv[1], "--HistoryManager.hist_file=:memory:", "--IPKernelApp.log_level=50"]
kernelapp.launch_new_instance()
"""


class Kernel:
    """One kernel for one submission. It starts at once and warms up by itself; `ready` waits for it.

    Raises SandboxError when it does not start. `run` raises Ended when student code has ended it, or was killed.
    """

    def __init__(self, sandbox=True, warm=""):
        if sandbox and shutil.which("bwrap") is None:
            raise SandboxError(NO_SANDBOX)
        self.folder = Path(tempfile.mkdtemp(prefix="k-"))
        sockets = self.folder / "s"
        sockets.mkdir()
        if len(str(sockets)) > 90:  # the system allows 107 characters for a socket's address
            raise SandboxError(f"the folder for temporary files has too long a name for sockets: {self.folder.parent}; set TMPDIR")
        key = secrets.token_hex(16)
        connection = {"transport": "ipc", "ip": f"{sockets}/k", "key": key, "signature_scheme": "hmac-sha256", **PORTS}
        self.session = Session(key=key.encode(), check_pid=False)
        file = self.folder / "connection.json"
        file.write_bytes(self.session.pack(connection))
        file.chmod(0o400)
        end = [sys.executable, "-c", _BOOT]
        environment, cwd = {}, "/"
        if sandbox:
            uid = random.SystemRandom().randrange(1 << 20, 1 << 30)  # as root: nobody's, and another one for each kernel
            if os.geteuid() == 0:
                os.chown(sockets, uid, uid)
                os.chown(file, uid, uid)
            command = [*_jail(sockets, uid), *end, "/connection.json"]
        else:
            cwd = self.folder / "job"
            cwd.mkdir()
            environment, command = {**os.environ, **_environment(str(self.folder), str(stage() / "lib"))}, [*end, str(file)]
        self.process = subprocess.Popen(command, cwd=cwd, env=environment or None, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        self.context = zmq.Context(io_threads=1)
        for option, value in ((zmq.LINGER, 0), (zmq.MAXMSGSIZE, MESSAGE), (zmq.RCVHWM, 200), (zmq.RECONNECT_IVL, 20)):
            self.context.setsockopt(option, value)
        self.shell, self.iopub, self.control = (self.context.socket(k) for k in (zmq.DEALER, zmq.SUB, zmq.DEALER))
        self.iopub.subscribe(b"")
        for socket, number in ((self.shell, 1), (self.iopub, 2), (self.control, 4)):
            socket.connect(f"ipc://{sockets}/k-{number}")
        self.poller = zmq.Poller()
        self.poller.register(self.shell, zmq.POLLIN)
        self.poller.register(self.iopub, zmq.POLLIN)
        self.sockets, self.deadline = sockets, float("inf")
        self.session.send(self.shell, "kernel_info_request", {})
        self.session.send(self.shell, "execute_request", self._request(warm or "pass"))

    @staticmethod
    def _request(code, expression=None):
        return {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": False,
                "user_expressions": {"value": expression} if expression else {}}

    def ready(self, wall):
        """Wait until the kernel answers, then start the clock: `wall` seconds for all that follows."""
        heard, answered, began = False, False, time.monotonic()
        while not (heard and answered):
            if self.process.poll() is not None:
                raise SandboxError("a kernel ended before it had started")
            if time.monotonic() - began > START:
                raise SandboxError(f"a kernel did not start within {START:.0f} seconds")
            for socket, _ in self.poller.poll(200):
                message = self._receive(socket)
                heard |= socket is self.iopub
                answered |= bool(message) and message["msg_type"] == "execute_reply"
            if answered and not heard:  # subscribed too late to hear about the first request
                self.session.send(self.shell, "kernel_info_request", {})
        self.deadline = time.monotonic() + wall
        return self

    def _receive(self, socket):
        """One message, or None if there is none or it is not one."""
        try:
            return self.session.recv(socket, zmq.NOBLOCK)[1]
        except Exception:  # a student's code can send anything
            return None

    def run(self, code, seconds, expression=None):
        """Execute `code`; after `seconds` it is interrupted, and killed if that does not help.

        `expression` is evaluated in the kernel afterwards; its text comes back beside what the code printed."""
        sent = self.session.send(self.shell, "execute_request", self._request(code, expression))["header"]["msg_id"]
        outputs, seen, note, reply, idle = [], 0, None, None, False
        limit, interrupts, patience = min(time.monotonic() + seconds, self.deadline), 0, None
        while not (reply and idle):
            now = time.monotonic()
            if reply and now > patience:  # its last word was lost in a flood
                break
            if self.process.poll() is not None:
                raise Ended("crashed", f"it ended its own Python ({self._how()})")
            if len(os.listdir(self.sockets)) > 2 * len(PORTS):
                self.close()
                raise Ended("crashed", "it wrote where nothing may be written, and was stopped")
            if seen > FLOOD and not note:
                note, limit = "it printed without end and was stopped", now
            if now > limit:
                if interrupts == 3 or now > self.deadline + 1:
                    self.close()
                    raise Ended("timed_out", f"{note or 'its time was up'}: it could not be interrupted, and its Python was ended")
                note = note or f"it was stopped after {seconds:.0f} seconds"
                self.session.send(self.control, "interrupt_request", {})
                interrupts, limit = interrupts + 1, now + 2
            for socket, _ in self.poller.poll(max(1, min(200, 1000 * (limit - now)))):
                message = self._receive(socket)
                try:
                    seen += self._keep(message, sent, outputs)
                    mine = message["parent_header"].get("msg_id") == sent
                    if mine and socket is self.shell and message["msg_type"] == "execute_reply":
                        reply, patience = message["content"], time.monotonic() + 1
                    idle |= mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
                except (TypeError, KeyError, AttributeError, ValueError):
                    seen += 1000  # not a message: counted, so that it cannot go on for ever
        return Result(outputs, self._value(reply), note)

    @staticmethod
    def _keep(message, sent, outputs):
        """Take what a message shows into `outputs`, within bounds; returns its size."""
        kind, content = message["msg_type"], message["content"]
        if kind not in ("stream", "display_data", "execute_result", "error"):
            return 100
        size = len(content["text"]) if kind == "stream" else len(str(content))
        if message["parent_header"].get("msg_id") != sent or len(outputs) > 100:
            return size
        kept = sum(len(o["text"]) for o in outputs if o["output_type"] == "stream")
        if kind == "stream":
            text = str(content["text"])[:max(0, KEEP - kept)]
            if outputs and outputs[-1].get("name") == content["name"]:
                outputs[-1]["text"] += text
            elif text:
                outputs.append({"output_type": "stream", "name": "stderr" if content["name"] == "stderr" else "stdout", "text": text})
        elif size > 2_000_000:
            outputs.append({"output_type": "stream", "name": "stdout", "text": "(a large output was left out)\n"})
        elif kind == "error":
            lines = [str(line)[:5000] for line in content["traceback"]][:50]
            outputs.append({"output_type": "error", "ename": str(content["ename"])[:200], "evalue": str(content["evalue"])[:1000],
                            "traceback": lines})
        else:
            data = {k: content["data"][k] for k in SHOWN if isinstance(content["data"].get(k), str)}
            outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
        return size

    @staticmethod
    def _value(reply):
        try:
            return reply["user_expressions"]["value"]["data"]["text/plain"]
        except (TypeError, KeyError):
            return None

    def _how(self):
        code = self.process.returncode
        number = -code if code < 0 else code - 128 if code > 128 else None
        try:
            return f"signal {signal.Signals(number).name}"
        except ValueError:
            return f"exit code {code}"

    def close(self):
        """Kill it and all that it started, and remove what it left."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        self.context.destroy(linger=0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
