"""A handed-in file as a notebook that can be graded: read whatever comes, and put every cell of the release in its place."""
import copy
import json
import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

MAX_FILE, MAX_CELLS = 50_000_000, 2_000
LOST = "the answer cell was not in the file that was handed in; look for the answer in its other cells"


class Rejected(Exception):
    """One sentence: why a file cannot be graded as it is."""


def load(data):
    """The cells of a submission: (what it says its grade_id is, its id, a clean cell) each. Raises Rejected."""
    if len(data) > MAX_FILE:
        raise Rejected(f"the file has {len(data) / 1e6:.0f} MB; the limit is {MAX_FILE / 1e6:.0f} MB: clear all outputs and try again")
    if not data.strip():
        raise Rejected("the file is empty")
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            pass
    try:
        nb = json.loads(text)
    except (ValueError, RecursionError):
        looks = ("it has git's conflict marks in it" if "<<<<<<<" in text else "it is a web page" if "<html" in text[:2000].lower() else
                 "it ends too early, as after a broken upload" if text.lstrip().startswith("{") else "it is something else")
        raise Rejected(f"the file is not a notebook: {looks}") from None
    try:
        if nb.get("nbformat") in (1, 2, 3):
            nb = nbformat.convert(nbformat.reads(text, nb["nbformat"]), 4)
        if nb.get("nbformat", 4) != 4:
            raise Rejected("the notebook is in a format newer than Jupyter's version 4")
        raw = list(nb["cells"])
    except Rejected:
        raise
    except Exception:
        raise Rejected("the file is not a notebook: it holds no cells") from None
    if len(raw) > MAX_CELLS:
        raise Rejected(f"the notebook has {len(raw):,} cells; the limit is {MAX_CELLS:,}")
    cells = []
    for i, old in enumerate(c for c in raw if isinstance(c, dict)):
        source = old.get("source", "")
        source = "".join(map(str, source)) if isinstance(source, list) else str(source)
        source = source.encode("utf-8", "replace").decode()  # half a character cannot be written again
        make = {"code": new_code_cell, "raw": new_raw_cell}.get(old.get("cell_type"), new_markdown_cell)
        cell = make(source, id=f"cell-{i}")
        pictures = old.get("attachments")
        if cell.cell_type == "markdown" and isinstance(pictures, dict) and all(isinstance(p, dict) for p in pictures.values()):
            cell.attachments = nbformat.from_dict(pictures)
        try:
            claim = old["metadata"]["nbgrader"]["grade_id"]
        except (KeyError, TypeError):
            claim = None
        cells.append([claim if isinstance(claim, str) else None, old.get("id"), cell])
    return cells


def _defines(name, source):
    return re.search(rf"^(async )?def {name}\b|^{name}\s*=", source, re.M)


def repair(cells, release):
    """The submission with every cell of the release in its place: (notebook, notes). Raises Rejected for something else."""
    known = {c.metadata.nbgrader.grade_id: c for c in release.cells if "nbgrader" in c.metadata}
    order, notes = list(known), []
    checks = {g: g.removesuffix("-check") for g, c in known.items() if c.cell_type == "code" and c.metadata.nbgrader.grade}
    for cell in cells:
        if cell[0] not in known:
            cell[0] = None
    taken = {c[0] for c in cells}
    stripped = 0
    for cell in cells:  # without its metadata a cell is known by its id, its text, or the function that it defines
        if cell[0] is None:
            fits = next((g for g, k in known.items() if g not in taken and k.cell_type == cell[2].cell_type and (
                k.id == cell[1] or k.source.strip() == cell[2].source.strip() and k.metadata.nbgrader.locked
                or g in checks.values() and _defines(g, cell[2].source))), None)
            if fits:
                cell[0] = fits
                taken.add(fits)
                stripped += 1
    if not taken & set(known):
        raise Rejected("none of its cells belong to this homework: it is another notebook")
    if stripped:
        notes.append(f"{stripped} cells had lost the marks that nbgrader knows them by, and were recognised by their text")
    placed = []
    for gid in order:
        mine = [c for c in cells if c[0] == gid]
        was, what = known[gid], known[gid].metadata.nbgrader
        edited = [c for c in mine if c[2].source.strip() not in ("", was.source.strip())]
        if len(mine) > 1:
            notes.append(f"the cell {gid!r} stood there {len(mine)} times; the last {'edited ' if edited else ''}one counts")
        best = (edited or mine or [None])[-1]
        for cell in mine:
            if cell is not best:
                cell[0] = None
                if cell not in edited:  # a copy of the stub would undo the answer
                    cells.remove(cell)
        if best is None:
            if what.grade or what.locked:
                notes.append(f"the cell {gid!r} had been deleted and was put back")
                fresh = copy.deepcopy(was)
                fresh.id, fresh.source = f"back-{len(notes)}", was.source if what.locked or was.cell_type == "code" else LOST
                at = max((i for i, c in enumerate(cells) if c[0] in placed), default=-1) + 1
                cells.insert(at, [gid, None, fresh])
                placed.append(gid)
            else:
                notes.append(f"the answer cell {gid!r} had been deleted")
            continue
        placed.append(gid)
        cell = best[2]
        if cell.cell_type != was.cell_type:
            notes.append(f"the cell {gid!r} had been made a {cell.cell_type} cell")
            cell = best[2] = (new_code_cell if was.cell_type == "code" else new_markdown_cell)(cell.source, id=cell.id)
        if what.locked and cell.source != was.source:
            if edited:
                notes.append(f"the cell {gid!r} had been edited; the original was used{'' if gid in checks else ', then the edited one'}")
            if edited and gid not in checks and was.cell_type == "code":
                cells.insert(cells.index(best) + 1, [None, None, new_code_cell(cell.source, id=f"edited-{len(notes)}")])
            cell.source = was.source
        if not what.locked and was.cell_type == "markdown" and not cell.source.strip():
            cell.source = was.source  # an emptied answer is no answer
    for gid, name in checks.items():  # a question makes sense only after the answer
        at = next(i for i, c in enumerate(cells) if c[0] == gid)
        last = max((i for i, c in enumerate(cells) if c[0] == name or c[2].cell_type == "code" and _defines(name, c[2].source)), default=-1)
        if at < last:
            cells.insert(last, cells.pop(at))
            notes.append(f"the cell {gid!r} stood before the answer and was moved behind it")
    for gid, _, cell in cells:
        cell.metadata = nbformat.from_dict({"nbgrader": copy.deepcopy(known[gid].metadata.nbgrader)} if gid else {})
    nb = new_notebook(cells=[c for _, _, c in cells], metadata=release.metadata)
    nb.nbformat_minor = 5
    return nb, notes
