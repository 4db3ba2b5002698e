"""Collecting: what learning platforms and students make of one notebook, sorted to one folder a student."""

import argparse
import csv
import io
import json
import os
import time
import unicodedata
import zipfile
from datetime import datetime, timezone

import pytest

from course_utils.instructor import collect

HW, OTHER = "hw03_kl_divergence", "hw02_autoencoders"
ROSTER = """\
id,first_name,last_name,email
ada,Ada,Lovelace,ada@example.org
s-12,José,García Márquez,jose@example.org
Zoë,Zoë,Öztürk,zoe@example.org
bob,Bob,Ross,bob@example.org
"""
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


def notebook(homework=HW, text=""):
    """Bytes of a notebook with the cells of `homework` and the student's `text`."""
    ids = {HW: ["kl_gamma", "kl_gamma-check"], OTHER: ["pca", "pca-check"], None: []}[homework]
    cells = [{"cell_type": "code", "id": i, "metadata": {"nbgrader": {"grade_id": i, "solution": not i.startswith("given")}},
              "source": text, "outputs": [], "execution_count": None} for i in [*ids, "given-1", "given-2"]]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


@pytest.fixture
def course(tmp_path):
    """A course with four students and two homeworks."""
    root = tmp_path / "course"
    for hw in (HW, OTHER):
        collect.atomic_write(root / "source" / hw / f"{hw}.ipynb", notebook(hw))
    (root / "roster.csv").write_text(ROSTER, encoding="utf-8")
    return root


def put(folder, files, when=NOON):
    """Write {path: bytes} below `folder`; each file is a minute newer than the one before."""
    for i, (path, data) in enumerate(files.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, (when.timestamp() + 60 * i,) * 2)
    return folder


def pack(target, files, when=NOON, **kw):
    """A zip of {path: bytes}, each a minute newer than the one before; `target` a path or a buffer."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
        for i, (path, data) in enumerate(files.items()):
            info = zipfile.ZipInfo(path, time.localtime(when.timestamp() + 60 * i)[:6])
            info.external_attr = kw.get("mode", 0o100644) << 16
            z.writestr(info, data, zipfile.ZIP_DEFLATED)
    return target


def packed(files, **kw):
    out = io.BytesIO()
    pack(out, files, **kw)
    return out.getvalue()


def taken(root, student, hw=HW):
    path = root / "submitted" / student / hw / f"{hw}.ipynb"
    return path.read_bytes() if path.exists() else None


def run(root, *downloads):
    return collect.Collection(root, "hw03").run(downloads)


def states(collection):
    return {line.student.id: line.state for line in collection.lines}


def kept(root):
    """{what was handed in under this path: reason} and that every line's file is there."""
    path = root / "kept" / HW / "index.csv"
    if not path.exists():
        return {}
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert all((path.parent / row["kept"]).is_file() for row in rows)
    return {row["from"]: row["reason"] for row in rows}


def everything(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


MOODLE = {"Ada Lovelace_4711_assignsubmission_file_/hw03_kl_divergence.ipynb": notebook(text="ada"),
          "José García Márquez_12_assignsubmission_file_/solution final.ipynb": notebook(text="josé"),
          "Zoë Öztürk_7_assignsubmission_file_hw03 (2).ipynb": notebook(text="zoë")}
CANVAS = {"lovelaceada_4711_900_hw03_kl_divergence-1.ipynb": notebook(text="ada"),
          "garciamarquezjose_LATE_12_901_hw03.ipynb": notebook(text="josé"),
          "öztürkzoë_13_902_Untitled.ipynb": notebook(text="zoë")}
PLAIN = {"ada/HW03_KL_Divergence.IPYNB": notebook(text="ada"),
         "class/week 3/jose@example.org/deep/er/hw03.ipynb": notebook(text="josé"),
         unicodedata.normalize("NFD", "class/week 3/Zoë/hw03.ipynb"): notebook(text="zoë")}
NAMES = {"ada_hw03.ipynb": notebook(text="ada"), "hw03 - García Márquez, José.ipynb": notebook(text="josé"),
         "Zoë_hw03_kl_divergence (1).ipynb": notebook(text="zoë")}


@pytest.mark.parametrize("files", [MOODLE, CANVAS, PLAIN, NAMES], ids=["Moodle", "Canvas", "folders", "names"])
@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "folder"])
def test_every_layout_ends_in_one_folder_a_student(course, tmp_path, files, as_zip):
    downloads = pack(tmp_path / "all.zip", files) if as_zip else put(tmp_path / "all", files)
    got = run(course, downloads)
    assert states(got) == {"ada": "collected", "s-12": "collected", "Zoë": "collected", "bob": "MISSING"}, str(got)
    assert [taken(course, s) for s in ("ada", "s-12", "Zoë")] == [notebook(text=t) for t in ("ada", "josé", "zoë")]
    assert got.orphans == got.refused == [] and got.attention == 1 and kept(course) == {}
    assert collect.read_time(course / "submitted/ada" / HW) == NOON
    assert ("late, says Canvas" in str(got)) == (files is CANVAS)


def test_running_again_changes_nothing(course, tmp_path):
    files = {**MOODLE, "Nobody Else_9_assignsubmission_file_/x.ipynb": notebook(text="?"),
             "Ada Lovelace_4711_assignsubmission_file_/old.pdf": b"pdf"}
    downloads = pack(tmp_path / "all.zip", files)
    run(course, downloads)
    before = everything(course)
    again = run(course, downloads)
    assert everything(course) == before
    assert set(states(again).values()) == {"unchanged", "MISSING"}
    assert len(kept(course)) == 2


def test_the_newest_wins_and_the_rest_is_kept(course, tmp_path):
    downloads = put(tmp_path / "d", {"ada/hw03.ipynb": notebook(text="1"), "ada/hw03 (3).ipynb": notebook(text="3"),
                                     "ada/hw03 (2).ipynb": notebook(text="2")})
    got = run(course, downloads)
    assert taken(course, "ada") == notebook(text="2") and len(kept(course)) == 2
    os.utime(downloads / "ada/hw03 (3).ipynb", (NOON.timestamp() + 120,) * 2)  # now as old as the other: the number decides
    got = run(course, downloads)
    assert taken(course, "ada") == notebook(text="3") and states(got)["ada"] == "replaced"
    later = put(tmp_path / "later", {"ada/hw03.ipynb": notebook(text="4")}, NOON.replace(hour=18))
    assert states(run(course, later))["ada"] == "replaced" and taken(course, "ada") == notebook(text="4")
    assert notebook(text="3") in everything(course / "kept").values()
    assert states(run(course, downloads))["ada"] == "unchanged", "an older download came back"
    assert taken(course, "ada") == notebook(text="4")


def test_the_same_file_handed_in_twice_counts_from_the_first_time(course, tmp_path):
    run(course, put(tmp_path / "d", {"ada/a.ipynb": notebook(), "ada/b.ipynb": notebook()}))
    assert collect.read_time(course / "submitted/ada" / HW) == NOON and kept(course) == {}


def test_what_a_file_holds_counts_not_what_it_is_called(course, tmp_path):
    got = run(course, put(tmp_path / "d", {
        "ada/hw03_kl_divergence.ipynb": notebook(OTHER), "bob/Untitled3.ipynb.txt": notebook(text="bob"), "bob/hw03.ipynb": notebook(None),
        "s-12/hw03.ipynb": notebook(text="good"), "s-12/hw03 (2).ipynb": notebook()[:70], "Zoë/hw03.ipynb": b"<html>Log in</html>"}))
    assert states(got) == {"ada": "MISSING", "s-12": "collected", "Zoë": "collected", "bob": "collected"}
    assert taken(course, "bob") == notebook(text="bob") and taken(course, "s-12") == notebook(text="good")
    assert taken(course, "Zoë") == b"<html>Log in</html>", "what cannot be read is for the grader to explain"
    reasons = kept(course)
    assert reasons["ada/hw03_kl_divergence.ipynb"] == "it is hw02_autoencoders"
    assert reasons["bob/hw03.ipynb"] == "newer than the one taken, but it has no cell of this homework"
    assert reasons["s-12/hw03 (2).ipynb"] == "newer than the one taken, but not a readable notebook"
    assert [line.student.id for line in got.lines if line.look] == ["ada", "s-12", "Zoë", "bob"]


def test_rubbish_of_operating_systems_is_passed_over(course, tmp_path):
    got = run(course, pack(tmp_path / "d.zip", {"__MACOSX/ada/._hw03.ipynb": b"\0", "ada/.DS_Store": b"x", "ada/._hw03.ipynb": b"\0",
                                                "ada/.ipynb_checkpoints/hw03-checkpoint.ipynb": notebook(text="old"),
                                                "ada/hw03.ipynb": notebook(text="ada")}))
    assert taken(course, "ada") == notebook(text="ada") and kept(course) == {} and got.orphans == []


def test_a_zip_in_a_zip_is_opened_once(course, tmp_path):
    inner = packed({"homework/hw03.ipynb": notebook(text="in")}, when=NOON.replace(year=2001))
    twice = packed({"more.zip": inner})
    got = run(course, pack(tmp_path / "d.zip", {"Ada Lovelace_1_assignsubmission_file_/my.zip": inner, "bob/all.zip": twice}))
    assert taken(course, "ada") == notebook(text="in")
    assert collect.read_time(course / "submitted/ada" / HW) == NOON, "the student's own clock"
    assert states(got)["bob"] == "MISSING" and kept(course)["bob/all.zip/more.zip"] == "not a notebook"


def test_nobody_hands_in_for_another(course, tmp_path):
    run(course, pack(tmp_path / "d.zip", {"Bob Ross_1_assignsubmission_file_/ada/hw03.ipynb": notebook(text="bob"),
                                          "Bob Ross_1_assignsubmission_file_/x.zip": packed({"ada/ada_hw03.ipynb": notebook(text="x")})}))
    assert taken(course, "ada") is None and taken(course, "bob") is not None


def test_a_whole_name_goes_before_a_piece_of_it(course, tmp_path):
    (course / "roster.csv").write_text(ROSTER + "jones,Bob,Jones,\n", encoding="utf-8")
    got = run(course, put(tmp_path / "d", {"Bob_Jones_hw03.ipynb": notebook(text="j"),
                                           "hw03_kl_divergence_bob_final.ipynb": notebook(text="b"),
                                           "12-34 - José García Márquez - 3 Oct/hw03.ipynb": notebook(text="g")}))
    assert [taken(course, s) for s in ("jones", "bob", "s-12")] == [notebook(text=t) for t in "jbg"] and not got.orphans


def test_files_of_nobody_and_of_two_are_kept_with_the_reason(course, tmp_path):
    (course / "roster.csv").write_text(ROSTER + "bob2,Bob,Ross,\n", encoding="utf-8")
    got = run(course, put(tmp_path / "d", {"Grace Hopper_5_assignsubmission_file_/hw03.ipynb": notebook(text="g"), "hw03.ipynb": notebook(),
                                           "Bob Ross_6_assignsubmission_file_/hw03.ipynb": notebook(text="b"), "bob2/x.ipynb": notebook()}))
    assert dict(got.orphans) == kept(course) == {
        "Grace Hopper_5_assignsubmission_file_/hw03.ipynb": "'Grace Hopper' is nobody on the roster",
        "Bob Ross_6_assignsubmission_file_/hw03.ipynb": "'Bob Ross' fits bob and bob2",
        "hw03.ipynb": "its path names nobody on the roster"}
    assert states(got)["bob2"] == "collected" and "bob and bob2" in str(got)


EVIL = ["../../evil.ipynb", "/etc/evil.ipynb", "ada/../../evil.ipynb", "C:\\evil.ipynb", "..\\evil.ipynb", "\\\\host\\evil.ipynb"]


@pytest.mark.parametrize("path", EVIL)
def test_a_path_that_leaves_the_folder_is_refused_and_the_rest_goes_on(course, tmp_path, path):
    got = run(course, pack(tmp_path / "d.zip", {path: notebook(text="evil"), "ada/hw03.ipynb": notebook()}))
    assert [why for _, why in got.refused] == ["its path leaves the folder"] and got.attention
    assert taken(course, "ada") == notebook() and not list(tmp_path.rglob("*evil*"))


def test_links_are_refused(course, tmp_path):
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(notebook(text="secret"))
    folder = put(tmp_path / "d", {"bob/hw03.ipynb": notebook()})
    (folder / "ada").mkdir()
    (folder / "ada/hw03.ipynb").symlink_to(secret)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "ada/pipe.ipynb")
    got = run(course, folder)
    assert len(got.refused) == 3 and states(got)["ada"] == "MISSING" and states(got)["bob"] == "collected"
    got = run(course, pack(tmp_path / "d.zip", {"ada/hw03.ipynb": b"/etc/passwd"}, mode=0o120777))
    assert [why for _, why in got.refused] == ["it is a link or no plain file"] and taken(course, "ada") is None


def test_absurd_sizes_are_refused_and_do_not_stop_the_others(course, tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "MAX_FILE", 100_000)
    monkeypatch.setattr(collect, "MAX_OWN_ZIP", 300_000)
    monkeypatch.setattr(collect, "MAX_OWN_ENTRIES", 20)
    bomb = packed({f"{i}.ipynb": b"0" * 90_000 for i in range(5)})
    crowd = packed({f"{i}.ipynb": b"0" for i in range(30)})
    got = run(course, pack(tmp_path / "d.zip", {
        "ada/hw03.ipynb": b" " * 200_000, "bob/bomb.zip": bomb, "Zoë/crowd.zip": crowd, "s-12/hw03.ipynb": notebook()}))
    assert len(bomb) < 2000 and len(got.refused) == 3 and states(got)["s-12"] == "collected"
    monkeypatch.setattr(collect, "MAX_ALL", 50_000)
    with pytest.raises(collect.CourseError, match="no class's homework"):
        run(course, pack(tmp_path / "e.zip", {f"ada/{i}.ipynb": b"0" * 20_000 for i in range(5)}))


def test_broken_zips_are_reported(course, tmp_path):
    good = packed({"hw03.ipynb": notebook(text="x" * 5000)})
    spoilt = bytearray(good)
    spoilt[60:80] = b"\xff" * 20
    got = run(course, put(tmp_path / "d", {"ada/a.zip": good[:-30], "bob/b.zip": bytes(spoilt), "Zoë/hw03.zip": good, "s-12/c.zip": b""}))
    assert states(got) == {"ada": "MISSING", "s-12": "MISSING", "Zoë": "collected", "bob": "MISSING"}
    assert set(kept(course)) == {"ada/a.zip", "s-12/c.zip"} and [path for path, _ in got.refused] == ["bob/b.zip/hw03.ipynb"]


def test_names_that_are_not_marked_as_utf8(course, tmp_path):
    data = bytearray(packed({"Zoë/hw03.ipynb": notebook(text="zoë")}))
    for header, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(header) + at] &= ~8  # the flag that says UTF-8
    (tmp_path / "d.zip").write_bytes(data)
    assert zipfile.ZipFile(tmp_path / "d.zip").namelist() != ["Zoë/hw03.ipynb"]
    assert states(run(course, tmp_path / "d.zip"))["Zoë"] == "collected"


def test_every_byte_handed_in_is_somewhere(course, tmp_path):
    files = {**MOODLE, "Ada Lovelace_4711_assignsubmission_file_/hw03 (2).ipynb": notebook(text="newer"), "x/y.ipynb": notebook(text="z"),
             "bob/notes.pdf": b"%PDF", "bob/hw02.ipynb": notebook(OTHER), "bob/=cmd().ipynb": b"{", "bob/\u202eevil\x1b[31m.ipynb": b"[1"}
    got = run(course, put(tmp_path / "d", files))
    assert set(files.values()) <= set(everything(course).values())
    assert "\x1b" not in str(got) and "\u202e" not in str(got)
    assert all(len(str(p).split("/")) <= 3 for p in everything(course / "kept"))


@pytest.mark.parametrize("text, says", [
    (None, "is missing"), ("name\nx\n", "no column 'id'"), ("id\n../x\n", "cannot name a folder"),
    ("id\na\nA\n", "stands in line 2 already"),
    ("id\n\n.hidden\n", "cannot name a folder"), ("id\ncafé\n".encode("latin-1"), "not UTF-8")])
def test_a_roster_that_cannot_be_used_is_explained(course, tmp_path, text, says):
    (course / "roster.csv").unlink()
    if text is not None:
        (course / "roster.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(collect.CourseError, match=says):
        run(course, tmp_path)


def test_a_roster_from_a_spreadsheet(course, tmp_path):
    (course / "roster.csv").write_bytes("\ufeffID;First_Name;Last_Name;Email\r\nada;Ada;Lovelace;\r\n;;;\r\n".encode())
    assert [s.name for s in collect.read_roster(course)] == ["Ada Lovelace"]


def test_exit_codes_and_the_table(course, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    collect.register(parser.add_subparsers())

    def command(*words):
        args = parser.parse_args(["collect", *map(str, words), "--root", str(course)])
        return args.run(args)

    all_of_them = put(tmp_path / "d", {**PLAIN, "Ross Bob/hw03.ipynb": notebook(text="b")})
    assert command(all_of_them, "--homework", "hw03") == 0
    out = capsys.readouterr().out
    assert "4 of 4 students handed in, 0 missing; 0 files of nobody, 0 refused" in out and "Ada Lovelace" in out
    assert command(tmp_path / "nowhere", "--homework", "hw03") == 2 and "neither a folder" in capsys.readouterr().err
    assert command(all_of_them, "--homework", "hw09") == 2 and "there are hw02_autoencoders, hw03_kl" in capsys.readouterr().err
    (tmp_path / "d/who.ipynb").write_bytes(notebook())
    assert command(all_of_them, "--homework", "hw03") == 1
