"""One door for scene graphs on disk, whatever the layout."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.graphs import own, vg_h5, vg_json
from bench.graphs.scene import SceneGraphs
from bench.graphs.vg_raw import OBJECTS, RELATIONSHIPS

LAYOUTS = (
    f"Visual Genome's JSON ({OBJECTS} and {RELATIONSHIPS}), VG-SGG.h5 with VG-SGG-dicts.json, "
    f"or this project's {own.FILE}"
)


def read_graphs(path: Path | str) -> SceneGraphs:
    """Read exactly the graphs given: no filter, no thresholds, no aliases; cleaned by `bench.graphs.clean`.

    Args:
        path: A folder in one of the three layouts, or the .h5 or .jsonl file itself.

    Raises:
        UserError: Nothing there, none or several of the layouts, or a damaged file.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no `{path}`; give a folder with {LAYOUTS}.")
    if path.is_file():
        if path.suffix.lower() in (".h5", ".hdf5"):
            return vg_h5.read_h5(path)
        if path.suffix.lower() == ".jsonl":
            return own.read_own(path)
        raise UserError(f"`{path}` is no .h5 or .jsonl file; give a folder with {LAYOUTS}.")
    found = {
        OBJECTS: (path / OBJECTS).is_file() or (path / RELATIONSHIPS).is_file(),
        vg_h5.FILES[0]: vg_h5.holds(path),
        own.FILE: (path / own.FILE).is_file(),
    }
    there = [name for name, here in found.items() if here]
    if not there:
        raise UserError(f"`{path}` holds no scene graphs; give a folder with {LAYOUTS}.")
    if len(there) > 1:
        raise UserError(f"`{path}` holds {' and '.join(there)}; keep one layout in a folder.")
    readers = {OBJECTS: vg_json.read_json, vg_h5.FILES[0]: vg_h5.read_h5, own.FILE: own.read_own}
    return readers[there[0]](path)
