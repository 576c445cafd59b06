"""The files of a data folder: tables as packed CSV, and the sealed manifest that names them.

Nothing is read of a file that is not what was written: a flipped bit is an error that names the file.
"""

import bz2
import hashlib
import io
import json
import re
from pathlib import Path

import pandas as pd

from unlearnkit import files
from unlearnkit.errors import DataError
from unlearnkit.study import packing, tables

MANIFEST = "manifest.json"
ENDING = ".csv.bz2"  # bzip2's bytes are the same everywhere, and a quarter fewer than gzip's
BLOCKS = "-blocks"  # after a table's name: what holds for many of its rows (`packing`)
ARMS = ("arms", "variants")  # of a manifest: what has settings
LARGEST = 900_000  # bytes of a file; a larger table is written in parts


def write_manifest(folder: Path, whole: dict) -> None:
    """Write a manifest with a digest of what it says."""
    files.write_text(folder / MANIFEST, _sealed(_listed(whole)))


def read_manifest(folder: Path) -> dict:
    """A folder's manifest; DataError where it is not to the letter what was written."""
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        whole = {k: v for k, v in json.loads(text).items() if k != "seal"}
        intact = text == _sealed(whole)
    except (ValueError, AttributeError):
        intact = False
    if not intact:
        raise _damaged(folder / MANIFEST)
    return _whole(whole)


def _listed(whole: dict) -> dict:
    """A manifest whose arms' settings are listed once: arms share most of them, whole but for the seed."""
    found: dict[str, int] = {}

    def place(setting: dict) -> list[int]:
        own = json.dumps({k: v for k, v in setting.items() if k != "seed"})
        return [setting["seed"], found.setdefault(own, len(found))]

    arms = {
        k: [arm | {"settings": [*map(place, arm["settings"])]} for arm in whole[k]]
        for k in ARMS
        if k in whole
    }
    return whole | arms | {"settings": [*map(json.loads, found)]}


def _whole(listed: dict) -> dict:
    """`_listed` taken back; what was written before settings were listed has them already."""
    whole = {k: v for k, v in listed.items() if k != "settings"}
    for k in ARMS if "settings" in listed else ():
        for arm in whole.get(k, ()):
            arm["settings"] = [{"seed": seed} | listed["settings"][n] for seed, n in arm["settings"]]
    return whole


def _sealed(whole: dict) -> str:
    """The manifest as it is written: with a digest of what it says."""
    return _by_line(whole | {"seal": hashlib.sha256(_by_line(whole).encode()).hexdigest()}) + "\n"


def _by_line(whole: dict) -> str:
    """The manifest as JSON with an entry of its lists a line, so that versions of it can be compared."""
    lists = {k: ",\n  ".join(map(json.dumps, v)) for k, v in whole.items() if isinstance(v, list)}
    parts = [f'"{k}": ' + (f"[\n  {lists[k]}\n ]" if k in lists else json.dumps(v)) for k, v in whole.items()]
    return "{\n " + ",\n ".join(parts) + "\n}"


def write_table(folder: Path, name: str, table: pd.DataFrame) -> dict[str, dict]:
    """Write a table, the same bytes for the same rows, in parts where it is large; their manifest lines."""
    rows, blocks = packing.packed(table)
    told = _write(folder, name, rows)
    return told if blocks is None else told | _write(folder, name + BLOCKS, blocks)


def _write(folder: Path, name: str, table: pd.DataFrame) -> dict[str, dict]:
    parts, told = _parts(table), {}
    for k, part in enumerate(parts):
        packed = _packed(part)
        path = folder / (f"{name}-{k + 1:02}{ENDING}" if len(parts) > 1 else f"{name}{ENDING}")
        files.write_bytes(path, packed)
        told[path.name] = {"rows": len(part), "sha256": hashlib.sha256(packed).hexdigest()}
    return told


def _parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    """A table in two halves, and those in two, until each part's file is small enough."""
    if len(table) < 2 or len(_packed(table)) <= LARGEST:
        return [table]
    half = len(table) // 2
    return _parts(table.iloc[:half]) + _parts(table.iloc[half:])


def _packed(table: pd.DataFrame) -> bytes:
    return bz2.compress(table.to_csv(index=False, float_format="%.6g").encode())


def read_table(folder: Path, listed: dict, name: str) -> pd.DataFrame:
    """A table of those whose files the manifest lists, no rows where there is none.

    DataError where a file of it is damaged or missing.
    """
    rows, blocks = (_read(folder, listed, part) for part in (name, name + BLOCKS))
    return packing.unpacked(rows, blocks) if len(blocks.columns) else rows


def _read(folder: Path, listed: dict, name: str) -> pd.DataFrame:
    own = re.compile(rf"{re.escape(name)}(-\d\d)?{re.escape(ENDING)}")
    parts = [content(folder, listed, part) for part in sorted(filter(own.fullmatch, listed))]
    found = [tables.read(io.BytesIO(bz2.decompress(part))) for part in parts]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def content(folder: Path, listed: dict, name: str) -> bytes:
    """The bytes of a file of those that the manifest lists. DataError where it is damaged or missing."""
    path = folder / name
    found = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(found).hexdigest() != listed[name]["sha256"]:
        raise _damaged(path)
    return found


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged or missing: it is not what was written there. Restore it (`git checkout "
        "figures/data`), or, if it is of your own run, call `make reproduce` again: that collects it anew"
    )
