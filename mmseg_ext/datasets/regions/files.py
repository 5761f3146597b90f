"""The files that regions are kept in: one .npz per image, without pickle.

Entries: ``settings``, a JSON object as text, and for each colour space S ``S_cells`` (H, W) in the
narrowest type, ``S_indptr`` and ``S_indices`` (see ``RegionSet``). One colour space is read
without unpacking the others.
"""
import io
import json
import os
import struct
import uuid
import zipfile
import zlib
from typing import Dict, Mapping, Tuple, Union

import numpy as np

from mmseg_ext.ops import RegionSet

Settings = Dict[str, Union[float, int]]
#: Counts up when the same settings give other regions. Files of another version are made anew.
VERSION = 1
#: What the zip module raises for bytes of another kind, and KeyError for a missing entry.
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, OSError, RuntimeError,
          ValueError)


class BrokenRegionFile(Exception):
    """The bytes are not a complete file of regions."""


def write_regions(path: str, regions: Mapping[str, RegionSet], settings: Settings) -> None:
    """Write the regions of an image, at once or not at all.

    Args:
        path (str): The file; its folder is made where it is missing.
        regions (Mapping[str, RegionSet]): The regions in each colour space.
        settings (dict): What they were made with.
    """
    entries = dict(settings=np.array(json.dumps(dict(settings, version=VERSION))))
    for space, (cells, indptr, indices) in regions.items():
        entries[f'{space}_cells'] = cells.astype(np.min_scalar_type(cells.max()))
        entries[f'{space}_indptr'] = indptr.astype(np.int64)
        entries[f'{space}_indices'] = indices.astype(np.int32)
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    # in the same folder, as a file cannot be renamed onto another drive
    temporary = f'{path}.{uuid.uuid4().hex}.tmp'
    try:
        with open(temporary, 'wb') as file:
            np.savez_compressed(file, **entries)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def read_regions(data: bytes, colour_space: str) -> Tuple[RegionSet, Settings]:
    """Read the regions of one colour space from the bytes of a file, and the settings they were
    made with.

    Raises a BrokenRegionFile if this is no complete file of regions.
    """
    types = dict(cells=np.int32, indptr=np.int64, indices=np.int64)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            settings = json.loads(str(_entry(archive, 'settings')))
            regions = RegionSet(*(_entry(archive, f'{colour_space}_{name}').astype(kind)
                                  for name, kind in types.items()))
    except BROKEN as error:
        raise BrokenRegionFile(f'{type(error).__name__}: {error}') from error
    version = settings.pop('version', None)
    if version != VERSION:
        raise BrokenRegionFile(f'it is of version {version}, not {VERSION}')
    return regions, settings


def _entry(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # all its bytes before NumPy parses them: only then has their checksum been compared
    return np.load(io.BytesIO(archive.read(f'{name}.npy')), allow_pickle=False)


def describe(settings: Settings) -> str:
    """Write settings as in a call."""
    return ', '.join(f'{name}={value:g}' for name, value in settings.items())
