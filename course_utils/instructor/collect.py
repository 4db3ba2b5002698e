"""Sort what a learning platform gave the teacher into course/submitted, one notebook a student.

    course collect downloads.zip --homework hw03

Takes zips, folders and single files, in the layouts of Moodle (`First Last_123_assignsubmission_file_/…`), Canvas
(`lastfirst_LATE_12_34_name-1.ipynb`) and plain folders (`student/….ipynb`, however deep). What a file is called does not
matter: its contents say which homework it is. The downloads are only read. What is not used is copied to course/kept,
with the reason in its index.csv. Exit code 1 means that the teacher should look at something: a student without a
submission, a file that belongs to nobody, a file that was refused.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Callable, NamedTuple

MB = 1_000_000
MAX_FILE, MAX_ALL, MAX_ENTRIES = 50 * MB, 8_000 * MB, 100_000
MAX_OWN_ZIP, MAX_OWN_ENTRIES = 200 * MB, 1_000  # in a zip that a student made
RUBBISH = {"__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "timestamp.txt"}
MOODLE = re.compile(r"^(?P<name>.+?)_\d+_assignsubmission_(file|onlinetext)(_.*)?$", re.I)
CANVAS = re.compile(r"^(?P<name>[^_]+)(?P<late>_late)?_(?P<user>\d+)_\d+_.+$", re.I)
NUMBER = re.compile(r"(?: ?\((\d+)\)|-(\d+))$")


UNREADABLE = (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error)
UNKNOWN = datetime.min.replace(tzinfo=timezone.utc)


class CourseError(Exception):
    """One sentence for the teacher about what must be put right before the command can work."""


class Student(NamedTuple):
    """A line of course/roster.csv."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""

    @property
    def name(self):
        return f"{self.first_name} {self.last_name}".strip()


class Found(NamedTuple):
    """A file among the downloads: its path there, when it was handed in (UTC, or UNKNOWN), and how to open it."""

    parts: tuple
    time: datetime
    open: Callable

    def read(self):
        """Its bytes. Raises one of UNREADABLE."""
        with self.open() as f:
            return f.read(MAX_FILE)

    @property
    def path(self):
        return "/".join(self.parts)


class Notebook(NamedTuple):
    """A notebook of a student; `rank`: 3 it is the homework, 2 unreadable, 1 without the homework's cells, 0 another homework.
    `flaw` says so in words. `number` is the 2 of `hw03 (2).ipynb`."""

    rank: int
    time: datetime
    number: int
    sha: str
    found: Found
    flaw: str
    late: bool = False


class Line(NamedTuple):
    """What became of one student: `state` is collected, replaced, unchanged or MISSING; `look`: the teacher should."""

    student: Student
    state: str
    file: str
    time: datetime | None
    note: str
    look: bool


def atomic_write(path, data):
    """Write bytes so that a reader sees all of them or the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as f:
        f.write(data)
    os.chmod(f.name, 0o644)
    os.replace(f.name, path)


# ---- the course ------------------------------------------------------------------------------------------------------
def plain(text):
    """Text as it is compared: one form of each letter, no case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", str(text)).casefold()).strip()


def letters(text):
    """Only the letters and digits of a name, for platforms that drop blanks, commas and hyphens."""
    return "".join(c for c in plain(text) if unicodedata.category(c)[0] in "LMN")


def unaccented(text):
    return "".join(c for c in unicodedata.normalize("NFKD", letters(text)) if unicodedata.category(c)[0] != "M")


def read_roster(root):
    """The students of course/roster.csv in its order. Raises CourseError, naming the line."""
    path = Path(root) / "roster.csv"
    if not path.is_file():
        raise CourseError(f"{path} is missing: write one line a student under the header id,first_name,last_name,email")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not UTF-8; save it as 'CSV UTF-8'") from None
    header = text.partition("\n")[0]
    rows = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=header.count))
    rows.fieldnames = [plain(name) for name in rows.fieldnames or []]
    if "id" not in rows.fieldnames:
        raise CourseError(f"{path} has no column 'id'; its first line must be id,first_name,last_name,email")
    students, ids = [], {}
    for row in rows:
        student = Student(*(unicodedata.normalize("NFC", row.get(field) or "").strip() for field in Student._fields))
        if not any(student):
            continue
        if not student.id or student.id.startswith(tuple("._-=@'")) or re.search(r'[/\\:*?"<>|+\x00-\x1f]', student.id):
            raise CourseError(f"{path}, line {rows.line_num}: the id {student.id!r} cannot name a folder")
        if plain(student.id) in ids:
            raise CourseError(f"{path}, line {rows.line_num}: the id {student.id!r} stands in line {ids[plain(student.id)]} already")
        ids[plain(student.id)] = rows.line_num
        students.append(student)
    return students


def assignment(root, name):
    """The full name of a homework of this course, `hw03_kl_divergence`, from how it starts. Raises CourseError."""
    every = sorted(p.name for p in (Path(root) / "source").glob("*") if (p / f"{p.name}.ipynb").is_file())
    fits = [hw for hw in every if hw == name] or [hw for hw in every if hw.startswith(name)]
    if len(fits) != 1:
        there = f"there are {', '.join(every)}" if every else f"{root}/source is empty; run make homework first"
        raise CourseError(f"{'several homeworks start' if fits else 'no homework starts'} with {name!r}; {there}")
    return fits[0]


def grade_ids(notebook, given=False):
    """The names of the cells that a student fills in or that are graded, in a parsed notebook of whatever shape; with
    `given` of all cells that nbgrader knows."""
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        return set()
    marks = [c.get("metadata", {}).get("nbgrader") for c in cells if isinstance(c, dict) and isinstance(c.get("metadata"), dict)]
    marks = [m for m in marks if isinstance(m, dict) and isinstance(m.get("grade_id"), str)]
    return {m["grade_id"] for m in marks if given or m.get("grade") or m.get("solution")}


# ---- who -------------------------------------------------------------------------------------------------------------
class Names:
    """Finds the student whom a path belongs to."""

    def __init__(self, students):
        self.students = list(students)
        self.exact, self.squashed, self.bare = {}, {}, {}
        for s in students:
            for text in filter(None, (s.id, s.email)):
                self.exact.setdefault(plain(text), set()).add(s)
            if s.name:
                for text in (s.first_name + s.last_name, s.last_name + s.first_name):
                    self.squashed.setdefault(letters(text), set()).add(s)
                    self.bare.setdefault(unaccented(text), set()).add(s)

    def called(self, text):
        """The students who have this id, email or name; only those of the strictest reading that fits anybody."""
        return self.exact.get(plain(text)) or self.squashed.get(letters(text)) or self.bare.get(unaccented(text)) or set()

    def owner(self, parts, homework):
        """(student or None, reason if None). The outermost folder that names somebody decides, so that nobody can hand in for
        another by what lies inside an own folder or zip."""
        for part in parts:
            if m := MOODLE.match(part):
                return self._one(self.called(m["name"]), m["name"])
            if m := CANVAS.match(part):
                by_name, by_number = self.called(m["name"]), self.exact.get(m["user"], set())
                return self._one(by_name & by_number or by_name or by_number, m["name"])
            stem = NUMBER.sub("", PurePosixPath(part).stem if part == parts[-1] else part)
            bare = re.sub(rf"(?i)[ _-]*(?<![a-z0-9])({homework}|{homework[:4]})(?![a-z0-9])[ _-]*", "", stem)
            whole = next(filter(None, map(self.called, filter(None, (part, stem, bare)))), None)
            if fits := whole or set().union(*map(self.called, filter(None, re.split(r"_+| - ", stem)))):
                return self._one(fits, part)
        return None, "its path names nobody on the roster"

    @staticmethod
    def _one(fits, text):
        if len(fits) == 1:
            return next(iter(fits)), ""
        both = " and ".join(sorted(s.id for s in fits))
        return None, f"{text!r} fits {both}" if fits else f"{text!r} is nobody on the roster"


# ---- what ------------------------------------------------------------------------------------------------------------
class Downloads:
    """Walks zips and folders; yields each file as Found, and notes what it will not touch in `refused` (path, reason).

    `owned(parts)` says whether a path names a student. Inside a student's own zip all times are the zip's: those within
    are what the student's clock said."""

    def __init__(self, stack, owned):
        self.stack, self.owned, self.refused, self.rubbish, self.bytes, self.entries = stack, owned, [], 0, 0, 0

    def refuse(self, parts, why):
        self.refused.append(("/".join(parts), why))

    def walk(self, path):
        path = Path(path)
        if path.is_dir():
            yield from self._folder(path)
        elif zipfile.is_zipfile(path):
            yield from self._zip(self.stack.enter_context(path.open("rb")), (), None, 1)
        elif path.is_file():
            yield from self._file(path, (path.name,))
        else:
            raise CourseError(f"{path} is neither a folder nor a file")

    def _folder(self, top):
        for folder, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(folders + files):
                path = Path(folder, name)
                parts = path.relative_to(top).parts
                if path.is_symlink():
                    self.refuse(parts, "it is a link, which could lead anywhere")
                elif name in files:
                    yield from self._file(path, parts)

    def _file(self, path, parts):
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            self.refuse(parts, "it is not a plain file")
            return
        time = read_time(path.parent) or datetime.fromtimestamp(info.st_mtime, timezone.utc)
        yield from self._one(parts, info.st_size, time, lambda: path.open("rb"), 0)

    def _zip(self, file, before, time, depth):
        try:
            archive = self.stack.enter_context(zipfile.ZipFile(file))
            infos = [i for i in archive.infolist() if not i.is_dir()]
        except UNREADABLE as e:
            self.refuse(before or ("the zip",), f"it cannot be opened ({e})")
            return
        if time and (len(infos) > MAX_OWN_ENTRIES or sum(i.file_size for i in infos) > MAX_OWN_ZIP):
            self.refuse(before, f"it holds more than {MAX_OWN_ENTRIES:,} files or {MAX_OWN_ZIP // MB} MB")
            return
        for info in infos:
            name = info.filename
            if not info.flag_bits & 0x800:  # not marked as UTF-8, yet macOS and others write just that
                try:
                    name = name.encode("cp437").decode("utf-8")
                except (UnicodeEncodeError, UnicodeDecodeError):
                    pass
            parts, kind = name.replace("\\", "/").split("/"), stat.S_IFMT(info.external_attr >> 16)
            inside = before + tuple(p for p in parts if p not in ("", "."))
            if ".." in parts or not parts[0] or re.match(r"[A-Za-z]:", name):
                self.refuse((*before, name), "its path leaves the folder")
            elif kind not in (0, stat.S_IFREG):
                self.refuse(inside, "it is a link or no plain file")
            elif info.flag_bits & 1:
                self.refuse(inside, "it is encrypted")
            elif inside != before:
                yield from self._one(inside, info.file_size, time or zip_time(info), lambda info=info: archive.open(info), depth)

    def _one(self, parts, size, time, open_, depth):
        if any(plain(p) in RUBBISH or p.startswith("._") for p in parts):
            self.rubbish += 1
            return
        zipped = plain(parts[-1]).endswith(".zip") and depth < 2
        own = zipped and self.owned(parts)
        limit = MAX_OWN_ZIP if own else MAX_ALL if zipped else MAX_FILE
        self.entries, self.bytes = self.entries + 1, self.bytes + size * (not zipped)
        if self.entries > MAX_ENTRIES or self.bytes > MAX_ALL:
            raise CourseError(f"these downloads hold more than {MAX_ENTRIES:,} files or {MAX_ALL // MB:,} MB: that is no class's homework")
        if size > limit:
            self.refuse(parts, f"it has {size / MB:,.0f} MB; the limit is {limit // MB} MB")
        elif zipped:
            try:
                file = self.stack.enter_context(tempfile.TemporaryFile())
                with open_() as f:  # gives no more bytes than it declared
                    shutil.copyfileobj(f, file, MB)
            except UNREADABLE as e:
                self.refuse(parts, f"it cannot be read ({e})")
                return
            if zipfile.is_zipfile(file):
                yield from self._zip(file, parts, (time or UNKNOWN) if own else None, depth + 1)
            else:
                yield Found(parts, time or UNKNOWN, open_)
        else:
            yield Found(parts, time or UNKNOWN, open_)


def zip_time(info):
    """When a zip says that its file was written, in UTC, or None; zips hold the local time of who made them."""
    try:
        return datetime(*info.date_time).astimezone(timezone.utc) if info.date_time[0] > 1980 else None
    except (ValueError, OverflowError):
        return None


def read_time(folder):
    """The time in nbgrader's timestamp.txt, in UTC, or None."""
    from nbgrader.utils import parse_utc

    try:
        return parse_utc((folder / "timestamp.txt").read_text(encoding="utf-8").strip()).replace(tzinfo=timezone.utc)
    except (OSError, ValueError, OverflowError):
        return None


# ---- collecting ------------------------------------------------------------------------------------------------------
class Collection:
    """One run of collect: `lines` (a Line a student), `orphans` and `refused` (path, reason)."""

    def __init__(self, root, homework):
        self.root, self.homework = Path(root), assignment(root, homework)
        self.names = Names(read_roster(root))
        self.cells = {p.stem: grade_ids(json.loads(p.read_text(encoding="utf-8"))) for p in (self.root / "source").glob("*/*.ipynb")
                      if p.stem == p.parent.name}
        self.kept = self.root / "kept" / self.homework
        self.lines, self.orphans, self.refused = [], [], []
        try:
            with (self.kept / "index.csv").open(encoding="utf-8-sig", newline="") as f:
                self.index = {row["kept"]: row for row in csv.DictReader(f)}
        except FileNotFoundError:
            self.index = {}

    def run(self, downloads):
        """Collect `downloads` (paths); returns self. Raises CourseError."""
        notebooks = {student: [] for student in self.names.students}
        with ExitStack() as stack:
            walker = Downloads(stack, self._owned)
            for path in downloads:
                for found in walker.walk(path):
                    self._sort(found, notebooks)
            for student, mine in notebooks.items():
                self._choose(student, mine)
        self.refused = walker.refused + self.refused
        if self.index:
            rows = [self.index[kept].values() for kept in sorted(self.index)]
            atomic_write(self.kept / "index.csv", csv_bytes(("kept", "student", "from", "reason"), rows))
        return self

    def _owned(self, parts):
        return bool(any(MOODLE.match(p) or CANVAS.match(p) for p in parts) or self.names.owner(parts, self.homework)[0])

    def _keep(self, student, path, data, reason):
        """Copy what is not used to course/kept, under a name that its contents give, and say why."""
        owner, name = student.id if student else "_nobody", re.sub(r"[^\w.() -]", "_", unicodedata.normalize("NFC", path.split("/")[-1]))
        name = name.encode(errors="ignore")[-120:].decode(errors="ignore").strip(". ")
        kept = f"{owner}/{hashlib.sha256(data).hexdigest()[:12]}_{name}"
        if not (self.kept / kept).exists():
            atomic_write(self.kept / kept, data)
        self.index[kept] = {"kept": kept, "student": student.id if student else "", "from": path, "reason": reason}

    def _notebook(self, found, data, late=False):
        """What a file's bytes are, as a Notebook."""
        try:
            ids = grade_ids(json.loads(data.decode("utf-8-sig")), given=True)
            shared = {hw: len(ids & own) for hw, own in self.cells.items()}
            best = max(shared, key=lambda hw: (shared[hw], hw == self.homework))
            rank, flaw = (1, "it has no cell of this homework") if not shared[best] else (3, "") if best == self.homework else (
                0, f"it is {best}")
        except (ValueError, RecursionError):
            rank, flaw = 2, "not a readable notebook"
        m = NUMBER.search(found.parts[-1].rpartition(".")[0])
        number = int(m[1] or m[2]) if m and len(m[0]) < 8 else 0
        return Notebook(rank, found.time, number, hashlib.sha256(data).hexdigest(), found, flaw, late)

    def _sort(self, found, notebooks):
        try:
            data = found.read()
        except UNREADABLE as e:
            self.refused.append((found.path, f"it cannot be read ({e})"))
            return
        student, why = self.names.owner(found.parts, self.homework)
        notebook = self._notebook(found, data, any(m and m["late"] for m in map(CANVAS.match, found.parts)))
        if student is None:
            self._keep(None, found.path, data, why)
            self.orphans.append((found.path, why))
        elif notebook.rank == 3 or plain(found.parts[-1]).endswith(".ipynb"):  # whatever it is called
            notebooks[student].append(notebook)
        else:
            self._keep(student, found.path, data, "not a notebook")

    def _choose(self, student, mine):
        """The newest notebook that is this homework wins, an earlier run's among them; the rest is kept."""
        folder = self.root / "submitted" / student.id / self.homework
        target, earlier = folder / f"{self.homework}.ipynb", None
        if target.is_file():
            found = Found(("submitted", student.id, target.name), read_time(folder) or UNKNOWN, lambda: target.open("rb"))
            earlier = self._notebook(found, found.read())
            mine = [*mine, earlier]
        mine = sorted(mine, key=lambda n: (n.rank, n.time, n.number, n.found.path))
        if not mine or not mine[-1].rank:
            for n in mine:
                self._keep(student, n.found.path, n.found.read(), n.flaw)
            self.lines.append(Line(student, "MISSING", "", None, mine[-1].flaw if mine else "", True))
            return
        best, rest = mine[-1], {}
        for n in mine:
            if n.sha != best.sha:
                when = "older than the one taken" if n.time <= best.time else "newer than the one taken"
                rest[n.sha] = f"{when}, but {n.flaw}" if n.flaw and n.time > best.time else n.flaw or when
                self._keep(student, n.found.path, n.found.read(), rest[n.sha])
        # handed in twice, or downloaded twice: the first time counts
        time = min((n.time for n in mine if n.sha == best.sha and n.time > UNKNOWN), default=UNKNOWN)
        same = earlier is not None and earlier.sha == best.sha
        if not same:
            atomic_write(target, best.found.read())
        if not same or time != earlier.time:
            (folder / "timestamp.txt").unlink(missing_ok=True)
            if time > UNKNOWN:
                atomic_write(folder / "timestamp.txt", time.strftime("%Y-%m-%d %H:%M:%S.%f UTC").encode())
        flaws = [f"{len(rest)} more kept" if rest else "", "late, says Canvas" if best.late else "", best.flaw,
                 *sorted(reason for reason in set(rest.values()) if "newer" in reason)]
        self.lines.append(Line(student, "unchanged" if same else "replaced" if earlier else "collected", best.found.path,
                               time if time > UNKNOWN else None, "; ".join(filter(None, flaws)), any(flaws[2:])))

    @property
    def attention(self):
        """How many things the teacher should look at."""
        return sum(line.look for line in self.lines) + len(self.orphans) + len(self.refused)

    def __str__(self):
        rows = [(l.student.id, l.student.name, l.state, f"{l.time:%Y-%m-%d %H:%M}" if l.time else "", l.file, l.note) for l in self.lines]
        text = [table(("student", "name", "", "UTC", "file", ""), rows)]
        for title, pairs in ((f"Files of nobody (copied to {self.kept})", self.orphans), ("Refused (left where they are)", self.refused)):
            if pairs:
                text += ["", f"{title}:", *(f"  {printable(path)}: {printable(why)}" for path, why in pairs)]
        missing = sum(line.state == "MISSING" for line in self.lines)
        text += ["", f"{self.homework}: {len(self.lines) - missing} of {len(self.lines)} students handed in, {missing} missing; "
                     f"{len(self.orphans)} files of nobody, {len(self.refused)} refused"]
        return "\n".join(text)


def csv_bytes(header, rows):
    """A CSV that Excel opens too: UTF-8 with its mark, and no text that it would take for a formula."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [f"'{c}" if isinstance(c, str) and c[:1] in tuple("=+-@\t\r") else c for c in row] for row in [header, *rows])
    return out.getvalue().encode("utf-8-sig", errors="replace")


def printable(text):
    """Text from a student's file name without what could move the cursor or colour the terminal."""
    return "".join(c if c.isprintable() else "�" for c in str(text))


def table(header, rows):
    """Rows of text in columns as wide as they need, up to 60 characters."""
    rows = [[printable(c) if len(str(c)) <= 60 else "…" + printable(c)[-59:] for c in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows)


def register(subparsers):
    parser = subparsers.add_parser("collect", help="sort a platform's download into course/submitted", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("downloads", nargs="+", type=Path, help="zip, folder or notebook from Moodle, Canvas or elsewhere")
    parser.add_argument("--homework", required=True, help="how its name starts, for instance hw03")
    parser.add_argument("--root", type=Path, default=Path("course"), help="the course's folder (default: course)")
    parser.set_defaults(run=run)


def run(args):
    """Exit code: 0 every student's homework is there, 1 the teacher should look at something, 2 it could not begin."""
    try:
        collection = Collection(args.root, args.homework).run(args.downloads)
    except CourseError as e:
        print(e, file=sys.stderr)
        return 2
    print(collection)
    return 1 if collection.attention else 0
