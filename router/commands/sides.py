"""The sides that `router diff` compares: files, a text on standard input, a running server."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from router import value
from router.config import as_written, read
from router.config.snapshot import DRILLS, MAX_BYTES, Snapshot
from router.description import Description, describe
from router.errors import Complaint, ConfigError, Place
from router.value import replace

STDIN = "-"


def files(old: str, new: str) -> tuple[Description, Description, bool]:
    """Return (before, after, same): two configurations to compare, and True if all their texts are equal.
    Raises ConfigError if a side is invalid.

    A routes file without pipelines and tools beside it is read with those of the other side, and with its drills.yaml unless it has drills
    of its own. A drills.yaml that both sides share and only one of them fits is left out, with a note on stderr.
    """
    found = [_snapshot(old), _snapshot(new)]
    for one, other in ((0, 1), (1, 0)):
        if not found[one].texts.keys() - {found[one].routes, DRILLS}:  # it has no pipeline and no tool set beside it
            found[one] = _with_files_of(found[other], found[one])
    if (unfit := _unfit(found)) is not None:
        print(f"note: drills.yaml does not fit {(old, new)[unfit]}, so drills are not compared", file=sys.stderr)
        found = [replace(one, texts={name: text for name, text in one.texts.items() if name != DRILLS}) for one in found]
    before, after = (_described(snapshot, side) for snapshot, side in zip(found, (old, new), strict=True))
    return before, after, _texts(found[0]) == _texts(found[1])


def _unfit(found: Sequence[Snapshot]) -> int | None:
    """Return the index of the side that does not fit the drills.yaml that both share; None if both fit it, or neither, or each has its own."""
    if found[0].texts.get(DRILLS) != found[1].texts.get(DRILLS):
        return None
    unfit = [any(one.place.file == DRILLS for one in as_written(side).complaints.in_order()) for side in found]
    return unfit.index(True) if sum(unfit) == 1 else None


def file(path: str) -> Description:
    """Return the description of the configuration in a file or folder; `-` is standard input. Raises ConfigError if it is invalid."""
    return _described(_snapshot(path), path)


def _with_files_of(other: Snapshot, alone: Snapshot) -> Snapshot:
    """Return the snapshot `alone` with the files beside the other one. If it has drills of its own, the other's drills.yaml is left out."""
    beside = {name: text for name, text in other.texts.items() if name not in (other.routes, alone.routes)}
    if DRILLS in alone.texts or as_written(alone).tree.get("drills") is not None:
        beside.pop(DRILLS, None)
    return replace(alone, texts={**alone.texts, **beside})


def _texts(snapshot: Snapshot) -> Mapping[str, str]:
    return {"" if name == snapshot.routes else name: text for name, text in snapshot.texts.items()}


def _snapshot(side: str) -> Snapshot:
    path = Path(side)
    try:
        if side != STDIN and not path.is_fifo() and not path.is_char_device():
            return read(path / "routes.yaml" if path.is_dir() else path)
        with sys.stdin.buffer if side == STDIN else path.open("rb") as pipe:
            return Snapshot(Path(), side, {side: pipe.read(MAX_BYTES + 1).decode("utf-8-sig")})
    except ConfigError as error:
        raise _placed(error.complaints, side) from None
    except UnicodeDecodeError:
        raise ConfigError((Complaint(Place(side, 1, 1), "this is not UTF-8"),)) from None


def _described(snapshot: Snapshot, side: str) -> Description:
    declaration = as_written(snapshot)
    if found := declaration.complaints.in_order():
        raise _placed(found, side)
    return describe(declaration)


def _placed(complaints: tuple[Complaint, ...], side: str) -> ConfigError:
    """Return the error for one side's complaints, each file with the side's folder before it: both sides may have a file of one name."""
    folder = Path(side) if Path(side).is_dir() else Path(side).parent
    moved = [value.replace(one, place=Place(str(folder / one.place.file), one.place.line, one.place.column)) for one in complaints]
    return ConfigError(tuple(moved))
