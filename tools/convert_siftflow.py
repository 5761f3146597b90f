"""Convert the release of SIFT Flow to folders of images and PNG label maps, sorted by split.

Unpack http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip in a folder that
then holds Images, SemanticLabels and TestSet1.txt, and:

    python tools/convert_siftflow.py FOLDER data/siftflow

The .mat files hold 0 for unlabelled pixels, 255 here, and 1..33 for the classes, 0..32 here. The
200 images of TestSet1.txt are the test split, the others are for training, without the two that the
release has no labels for. May be run again: files that exist are written anew.
"""
import argparse
import shutil
import sys
from pathlib import Path
from typing import List, Optional

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image
from scipy.io import loadmat

from mmseg_ext.datasets.sift_flow_dataset import SIFTFlowDataset

CLASSES = SIFTFlowDataset.METAINFO['classes']
SCENES = 'spatial_envelope_256x256_static_8outdoorcategories'
UNLABELLED = ('highway_bost181', 'street_urb506')


def read_label(path: Path) -> np.ndarray:
    """Read the label map of an image.

    Args:
        path (Path): The .mat file: ``S``, (H, W), 0 for unlabelled and 1..33 for the classes, and
            mostly ``names``, the names of the classes.

    Returns:
        np.ndarray: Class of each pixel, (H, W), uint8, 255 where unlabelled.

    Raises:
        ValueError: If the classes differ from those of SIFT Flow, or a value is no class.
    """
    content = loadmat(path)
    if 'names' in content:
        names = tuple(str(np.squeeze(name)).strip() for name in content['names'].ravel())
        if names != CLASSES:
            raise ValueError(
                f"'{path}' names the {len(names)} classes {', '.join(names)}, but must name the "
                f"{len(CLASSES)} of SIFT Flow: {', '.join(CLASSES)}.")
    if 'S' not in content:
        raise ValueError(f"'{path}' holds no label map 'S': it must be a file of SemanticLabels.")
    label = content['S'].astype(np.int64)
    if label.min() < 0 or label.max() > len(CLASSES):
        raise ValueError(f"'{path}' holds the values {label.min()} to {label.max()}, but must hold "
                         f'0, unlabelled, to {len(CLASSES)}, the number of classes.')
    return np.where(label > 0, label - 1, 255).astype(np.uint8)


def convert(source: Path, target: Path) -> None:
    """Write images/<split>/*.jpg and labels/<split>/*.png of both splits.

    Args:
        source (Path): Folder that holds Images, SemanticLabels and TestSet1.txt.
        target (Path): Folder to write to.

    Raises:
        FileNotFoundError: If a part of the release is missing.
        ValueError: If a label map is not one of SIFT Flow.
    """
    split_file = source / 'TestSet1.txt'
    images = sorted((source / 'Images' / SCENES).glob('*.jpg'))
    if not images:
        _fail(source, f"'{source / 'Images' / SCENES}' holds no image *.jpg")
    if not split_file.is_file():
        _fail(source, f"'{split_file}' does not exist")
    # a line is SCENES\NAME.jpg
    test = {
        Path(line.strip().replace('\\', '/')).stem
        for line in split_file.read_text().splitlines() if line.strip()
    }
    missing = test - {image.stem for image in images}
    if missing:
        _fail(source, f"the image '{min(missing)}' named in '{split_file}' does not exist "
              f'({len(missing)} of {len(test)} are missing)')
    for kind in ('images', 'labels'):
        for split in ('train', 'test'):
            (target / kind / split).mkdir(parents=True, exist_ok=True)
    for image in track_iter_progress([i for i in images if i.stem not in UNLABELLED]):
        split = 'test' if image.stem in test else 'train'
        mat = source / 'SemanticLabels' / SCENES / f'{image.stem}.mat'
        if not mat.is_file():
            _fail(source, f"'{mat}' does not exist")
        label = read_label(mat)
        shutil.copyfile(image, target / 'images' / split / image.name)
        Image.fromarray(label).save(target / 'labels' / split / f'{image.stem}.png')


def _fail(source: Path, problem: str) -> None:
    raise FileNotFoundError(
        f'{problem}: unpack http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/'
        f"SiftFlowDataset.zip so that Images, SemanticLabels and TestSet1.txt lie in '{source}'.")


def main(argv: Optional[List[str]] = None) -> None:
    """Convert.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder with Images and SemanticLabels')
    parser.add_argument('target', type=Path, help='folder to write, such as data/siftflow')
    args = parser.parse_args(argv)
    try:
        convert(args.source, args.target)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()
