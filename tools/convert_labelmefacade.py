"""Convert LabelMeFacade's colour-coded label maps to class numbers and sort it by split.

    git clone https://github.com/cvjena/labelmefacade
    python tools/convert_labelmefacade.py labelmefacade data/labelme_facade

The images of train.txt become the split train, of test.txt val. The label maps get 0..7 for
the classes and 255, ignored, for 'various' (black). May be run again: files that exist are written
anew.
"""
import argparse
import shutil
import sys
from pathlib import Path
from typing import List, Optional

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmseg_ext.datasets.label_me_facade_dataset import LabelMeFacadeDataset

SPLITS = dict(train='train', test='val')  # there and here
VARIOUS = (0, 0, 0)
COLOURS = {
    VARIOUS: 255,
    **{tuple(c): i for i, c in enumerate(LabelMeFacadeDataset.METAINFO['palette'])}
}


def to_classes(colours: np.ndarray) -> np.ndarray:
    """Turn a picture of colours into a label map.

    Args:
        colours (np.ndarray): RGB, (H, W, 3), uint8.

    Returns:
        np.ndarray: Class of each pixel, (H, W), uint8, 255 where it is 'various'.

    Raises:
        ValueError: If a pixel has another colour than these nine.
    """
    codes = colours.astype(np.int32) @ [65536, 256, 1]
    label = np.full(codes.shape, 255, dtype=np.uint8)
    known = np.zeros(codes.shape, dtype=bool)
    for colour, number in COLOURS.items():
        pixels = codes == np.dot(colour, [65536, 256, 1])
        label[pixels] = number
        known |= pixels
    if not known.all():
        red, green, blue = colours[~known][0]
        raise ValueError(
            f'{np.count_nonzero(~known)} pixels have colours as {red}:{green}:{blue}, but only '
            "the nine of LabelMeFacade's README are allowed: take its PNG files unchanged.")
    return label


def convert(source: Path, target: Path) -> None:
    """Write images/<split>/*.jpg and labels/<split>/*.png of both splits.

    Args:
        source (Path): Clone of the repository.
        target (Path): Folder to write to.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a label map has a colour of no class.
    """
    for split_file, split in SPLITS.items():
        for image in track_iter_progress(_images(source, source / f'{split_file}.txt')):
            label = source / 'labels' / f'{image.stem}.png'
            _require(source, image, label)
            try:
                classes = to_classes(np.asarray(Image.open(label).convert('RGB')))
            except ValueError as error:
                raise ValueError(f"'{label}': {error}") from None
            for kind in ('images', 'labels'):
                (target / kind / split).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, target / 'images' / split / image.name)
            Image.fromarray(classes).save(target / 'labels' / split / label.name)


def _images(source: Path, split_file: Path) -> List[Path]:
    """The images that a split file names, a line each: images/NAME.jpg."""
    _require(source, split_file)
    return [source / line.strip() for line in split_file.read_text().splitlines() if line.strip()]


def _require(source: Path, *files: Path) -> None:
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"'{file}' does not exist: '{source}' must be a clone of "
                'https://github.com/cvjena/labelmefacade.')


def main(argv: Optional[List[str]] = None) -> None:
    """Convert.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='clone of the repository')
    parser.add_argument('target', type=Path, help='folder to write, such as data/labelme_facade')
    args = parser.parse_args(argv)
    try:
        convert(args.source, args.target)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()
