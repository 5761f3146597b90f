"""Convert HELEN's maps of probabilities to PNG label maps, sorted by split.

Unpack SmithCVPR2013_dataset_resized.zip (the page 'Exemplar-Based Face Parsing' of Smith et al.,
University of Wisconsin-Madison, offers it) and:

    python tools/convert_helen.py SmithCVPR2013_dataset_resized data/helen --workers 8

A pixel gets the label 0..10 whose map is the highest there, the lowest label among equals. The
images of exemplars.txt become the split train, of tuning.txt test/tuning, and of testing.txt
test/testing. Files that exist are complete and stay as they are, so the command can be stopped and
run again.
"""
import argparse
import os
import shutil
import sys
import uuid
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmseg_ext.datasets.helen_dataset import HELENDataset

NUM_CLASSES = len(HELENDataset.METAINFO['classes'])
SPLITS = dict(exemplars='train', tuning='test/tuning', testing='test/testing')  # there and here


class Face(NamedTuple):
    """An image of the release and the split that it goes to."""
    name: str
    split: str


def to_classes(maps: List[np.ndarray]) -> np.ndarray:
    """Choose the most probable class of each pixel.

    Args:
        maps (list[np.ndarray]): Probability of each class, (H, W), uint8.

    Returns:
        np.ndarray: Class of each pixel, (H, W), uint8; the lowest among equally probable ones.
    """
    return np.argmax(maps, axis=0).astype(np.uint8)


def list_faces(source: Path) -> List[Face]:
    """List the images of the three lists.

    Args:
        source (Path): The unpacked release.

    Returns:
        list[Face]: In the order of the lists.

    Raises:
        FileNotFoundError: If a list is missing or names no image.
        ValueError: If a name leads out of the folders.
    """
    faces = []
    for name, split in SPLITS.items():
        path = source / f'{name}.txt'
        if not path.is_file():
            _fail(source, f"'{path}' does not exist")
        # a line is NUMBER , NAME
        names = [line.rpartition(',')[2].strip() for line in path.read_text().splitlines()]
        if not any(names):
            _fail(source, f"'{path}' names no image")
        for wrong in (name for name in names if name and not _is_plain(name)):
            raise ValueError(f"'{path}' names the image {wrong!r}, but it must name a file in "
                             'the folder images: without separators, not . or ..')
        faces += [Face(name, split) for name in names if name]
    return faces


def convert(source: Path, target: Path, workers: int = 2) -> int:
    """Write images/<split>/*.jpg and labels/<split>/*.png of all splits.

    Args:
        source (Path): The unpacked release: images, labels and the lists.
        target (Path): Folder to write to.
        workers (int): Number of threads.

    Returns:
        int: How many were written now; the others were there.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a name leads out of the folders, or a map cannot be read or has another
            size than its image.
    """
    faces = list_faces(source)
    for kind in ('images', 'labels'):
        for split in SPLITS.values():
            (target / kind / split).mkdir(parents=True, exist_ok=True)
    # Threads, not processes: decoding releases the GIL, and an error arrives as it was raised.
    with ThreadPool(workers) as pool:
        written = pool.imap(lambda face: convert_face(source, target, face), faces)
        return sum(track_iter_progress((written, len(faces))))


def convert_face(source: Path, target: Path, face: Face) -> bool:
    """Write the image and the label map of a face, if they are not there.

    Args:
        source (Path): The unpacked release.
        target (Path): Folder to write to.
        face (Face): Which one.

    Returns:
        bool: Whether they were written.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a map cannot be read, or has another size than the image.
    """
    image = source / 'images' / f'{face.name}.jpg'
    new_image = target / 'images' / face.split / image.name
    new_label = target / 'labels' / face.split / f'{face.name}.png'
    if new_image.is_file() and new_label.is_file():
        return False
    paths = [source / 'labels' / face.name / f'{face.name}_lbl{number:02d}.png'
             for number in range(NUM_CLASSES)]
    for path in (image, *paths):
        if not path.is_file():
            _fail(source, f"'{path}' does not exist")
    maps = [_read_map(path) for path in paths]
    with Image.open(image) as picture:
        width, height = picture.size
    for path, probability in zip(paths, maps):
        if probability.shape != (height, width):
            raise ValueError(
                f"'{path}' has {probability.shape[0]}x{probability.shape[1]} pixels and its image "
                f'{height}x{width}, but they must be equal: take images and labels of the same '
                'release.')
    label = Image.fromarray(to_classes(maps))
    _write(new_label, lambda path: label.save(path, format='PNG'))
    _write(new_image, lambda path: shutil.copyfile(image, path))
    return True


def _is_plain(name: str) -> bool:
    """Whether a name stays in the folder to which it is added, here and on Windows."""
    return name not in ('.', '..') and not set(name) & set('/\\:\0')


def _read_map(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert('L'))
    except (OSError, SyntaxError) as error:  # the latter is Pillow's word for a broken PNG
        raise ValueError(
            f"'{path}' cannot be read ({error}): unpack the release again.") from None


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file at once or not at all."""
    temporary = path.with_name(f'{path.name}.{uuid.uuid4().hex}.tmp')
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()


def _fail(source: Path, problem: str) -> None:
    raise FileNotFoundError(
        f'{problem}: unpack SmithCVPR2013_dataset_resized.zip so that images, labels and '
        f"exemplars.txt, tuning.txt and testing.txt lie in '{source}'.")


def main(argv: Optional[List[str]] = None) -> None:
    """Convert.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder with images, labels and the three lists')
    parser.add_argument('target', type=Path, help='folder to write, such as data/helen')
    parser.add_argument('--workers', type=int, default=2, help='threads (default: 2)')
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    try:
        written = convert(args.source, args.target, args.workers)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    print(f'\n{written} faces written')


if __name__ == '__main__':
    main()
