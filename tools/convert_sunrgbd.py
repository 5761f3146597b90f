"""Convert the original download of SUN RGB-D to folders of images and 37-class label maps.

Unpack SUNRGBD.zip and SUNRGBDtoolbox.zip (http://rgbd.cs.princeton.edu/) in one folder, then:

    python tools/convert_sunrgbd.py FOLDER data/sunrgbd

The seg.mat of an image numbers its instances and names each. Instances with the name of one of the
37 classes (capitals, digits, blanks and underscores do not count) are merged into that class,
1..37; every other pixel is 0, which SUNRGBDDataset ignores. The split is the toolbox's
allsplit.mat.

Names are matched by spelling alone, so the result may differ from the authors' own 37-class label
maps (SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat). To compare with published numbers take these, as
https://github.com/chrischoy/SUN_RGBD has them. The tool ends with the names it could not place.
"""
import argparse
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image
from scipy.io import loadmat

from mmseg_ext.datasets.sunrgbd_dataset import SUNRGBDDataset


def _letters(name: str) -> str:
    return re.sub('[^a-z]', '', name.lower())


CLASS_NUMBERS = {_letters(c): i for i, c in enumerate(SUNRGBDDataset.METAINFO['classes'], 1)}


def merge_instances(seglabel: np.ndarray, names: List[str]) -> Tuple[np.ndarray, Counter]:
    """Turn an instance map into a class map.

    Args:
        seglabel (np.ndarray): Instance of each pixel, (H, W): 0 for none, k for ``names[k - 1]``.
        names (list[str]): Name of each instance.

    Returns:
        tuple[np.ndarray, Counter]: The class map, (H, W), uint8, 0 for background and 1..37,
        and the pixels of each name that is no class.
    """
    numbers = np.array([0] + [CLASS_NUMBERS.get(_letters(n), 0) for n in names], dtype=np.uint8)
    pixels = np.bincount(seglabel.ravel(), minlength=len(numbers))
    unplaced = Counter()
    for name, number, count in zip(names, numbers[1:], pixels[1:]):
        if number == 0 and count > 0:
            unplaced[name] += int(count)
    return numbers[seglabel], unplaced


def convert(source: Path, target: Path) -> Counter:
    """Write images/<split>/*.jpg and labels/<split>/*.png of both splits.

    Args:
        source (Path): Folder that holds SUNRGBD and SUNRGBDtoolbox.
        target (Path): Folder to write to.

    Returns:
        Counter: The pixels of each name that is no class.

    Raises:
        FileNotFoundError: If a part of the download is missing.
    """
    split_file = source / 'SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat'
    if not split_file.is_file():
        raise FileNotFoundError(
            f"'{split_file}' does not exist: unpack SUNRGBD.zip and SUNRGBDtoolbox.zip from "
            f"http://rgbd.cs.princeton.edu/ in '{source}'.")
    splits = loadmat(split_file)
    unplaced = Counter()
    for split in ('train', 'test'):
        for kind in ('images', 'labels'):
            (target / kind / split).mkdir(parents=True, exist_ok=True)
        # The entries are folders on the authors' machine, .../SUNRGBD/kv2/...
        scenes = [str(s[0]).partition('SUNRGBD/')[2] for s in splits[f'all{split}'].ravel()]
        for index, scene in enumerate(track_iter_progress(scenes), 1):
            folder = source / 'SUNRGBD' / scene
            images = sorted(folder.glob('image/*.jpg'))
            if not images or not (folder / 'seg.mat').is_file():
                raise FileNotFoundError(
                    f"'{folder}' holds no image/*.jpg or no seg.mat: unpack SUNRGBD.zip again.")
            seg = loadmat(folder / 'seg.mat')
            label, others = merge_instances(
                seg['seglabel'].astype(np.int64), [str(n[0]) for n in seg['names'].ravel()])
            unplaced += others
            shutil.copyfile(images[0], target / f'images/{split}/{index:06d}.jpg')
            Image.fromarray(label).save(target / f'labels/{split}/{index:06d}.png')
    return unplaced


def main(argv: Optional[List[str]] = None) -> None:
    """Convert and list the names that were not placed.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='folder with SUNRGBD and SUNRGBDtoolbox')
    parser.add_argument('target', type=Path, help='folder to write, for instance data/sunrgbd')
    args = parser.parse_args(argv)
    try:
        unplaced = convert(args.source, args.target)
    except FileNotFoundError as error:
        sys.exit(str(error))
    names = ', '.join(f'{name} ({count} pixels)' for name, count in unplaced.most_common(20))
    print(f'{len(unplaced)} names are not among the 37 classes and became background; '
          f'the largest: {names or "none"}')


if __name__ == '__main__':
    main()
