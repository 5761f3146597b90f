"""Convert SBD, the instances of 11,355 images of PASCAL VOC, to the folders of VOC.

Unpack https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/
benchmark.tgz and, for its lists of images alone, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
VOCtrainval_11-May-2012.tar, then:

    python tools/convert_sbd.py benchmark_RELEASE VOCdevkit/VOC2012 data/sbd

The images of SBD are split by VOC 2012's own lists of its images (ImageSets/Main), as "Simultaneous
Detection and Segmentation" and "Bridging Category-level and Instance-level Semantic Image
Segmentation" do: 5,623 for training, 5,732 for validation. SBD's own lists are others.

GTinst.Segmentation numbers the instances and becomes SegmentationObject; SegmentationClass has the
class of GTinst.Categories inside of instances, and GTcls.Segmentation elsewhere. There is no void.
The tool ends with the number of pixels at which the two differ.
"""
import argparse
import shutil
import sys
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image
from scipy.io import loadmat

from mmseg_ext.datasets.numbered_map import skip_no_number
from mmseg_ext.datasets.pascal_voc_instance_dataset import PascalVOCInstanceDataset

CLASSES = PascalVOCInstanceDataset.METAINFO['classes']
PALETTE = np.array(PascalVOCInstanceDataset.METAINFO['palette'], dtype=np.uint8)
IMAGES = dict(train=5623, val=5732)


def _read(path: Path, name: str, *fields: str) -> List[np.ndarray]:
    """Read fields of the structure in a .mat file."""
    content = loadmat(path)
    structure = content.get(name)
    missing = fields if structure is None else set(fields) - set(structure.dtype.names or ())
    if missing:
        raise ValueError(f"'{path}' holds no {name}.{min(missing)}: it must be a file of "
                         f"'dataset/{'inst' if name == 'GTinst' else 'cls'}' of SBD.")
    return [np.asarray(structure[field].item()) for field in fields]


def read_maps(inst: Path, cls: Path) -> Tuple[np.ndarray, np.ndarray, int]:
    """Read the maps of an image.

    Args:
        inst (Path): The .mat file of the instances: ``GTinst.Segmentation``, (H, W), 0 for none and
            1..K, and ``GTinst.Categories``, the class of each, 1..20.
        cls (Path): The .mat file of the classes: ``GTcls.Segmentation``, (H, W), 0 to 20.

    Returns:
        tuple[np.ndarray, np.ndarray, int]: Labels, (H, W) uint8; instances, (H, W) uint8 or, for
        more than 254, uint16, without the number 255; and the number of pixels of instances whose
        class is another in ``cls``.

    Raises:
        ValueError: If a file holds something else, or their sizes differ.
    """
    instances, categories = _read(inst, 'GTinst', 'Segmentation', 'Categories')
    labels, = _read(cls, 'GTcls', 'Segmentation')
    if instances.shape != labels.shape:
        raise ValueError(f"'{inst}' has the shape {instances.shape}, but '{cls}' has "
                         f'{labels.shape}: unpack the release again.')
    instances, categories = instances.astype(np.int64), categories.astype(np.int64).ravel()
    if instances.min() < 0 or instances.max() > len(categories):
        raise ValueError(f"'{inst}' holds the instances {instances.min()} to {instances.max()}, "
                         f'but names the categories of {len(categories)}.')
    for path, values, least in ((inst, categories, 1), (cls, labels, 0)):
        if values.size and not least <= values.min() <= values.max() < len(CLASSES):
            raise ValueError(f"'{path}' holds the classes {values.min()} to {values.max()}, but "
                             f'must hold {least} to {len(CLASSES) - 1}; 0 is background.')
    classes = np.append(0, categories)[instances]
    differ = (instances > 0) & (classes != labels)
    labels = np.where(instances > 0, classes, labels).astype(np.uint8)
    numbers = skip_no_number(instances)
    return labels, numbers.astype(np.min_scalar_type(max(numbers.max(), 1))), int(differ.sum())


def convert(source: Path, voc: Path, target: Path) -> int:
    """Write JPEGImages, SegmentationClass, SegmentationObject and ImageSets/Segmentation.

    Args:
        source (Path): benchmark_RELEASE, which holds dataset/img, dataset/inst and dataset/cls.
        voc (Path): VOC2012, which holds ImageSets/Main/train.txt and val.txt.
        target (Path): Folder to write to.

    Returns:
        int: The number of pixels at which the two files of an image differ.

    Raises:
        FileNotFoundError: If a part of the release is missing.
        ValueError: If a file is not one of SBD.
    """
    folder = source / 'dataset'
    names = {path.stem for path in (folder / 'inst').glob('*.mat')}
    if not names:
        raise FileNotFoundError(
            f"'{folder / 'inst'}' holds no *.mat: unpack https://www2.eecs.berkeley.edu/Research/"
            'Projects/CS/vision/grouping/semantic_contours/benchmark.tgz and give its folder '
            'benchmark_RELEASE.')
    splits = {split: sorted(names & _read_list(voc, split)) for split in IMAGES}
    for kind in ('JPEGImages', 'SegmentationClass', 'SegmentationObject', 'ImageSets/Segmentation'):
        (target / kind).mkdir(parents=True, exist_ok=True)
    differ = 0
    for name in track_iter_progress([name for split in splits.values() for name in split]):
        image = folder / 'img' / f'{name}.jpg'
        cls = folder / 'cls' / f'{name}.mat'
        for path in (image, cls):
            if not path.is_file():
                raise FileNotFoundError(f"'{path}' does not exist: unpack benchmark.tgz again.")
        labels, instances, pixels = read_maps(folder / 'inst' / f'{name}.mat', cls)
        differ += pixels
        shutil.copyfile(image, target / 'JPEGImages' / image.name)
        picture = Image.fromarray(labels)
        picture.putpalette(PALETTE.tobytes())
        picture.save(target / 'SegmentationClass' / f'{name}.png')
        Image.fromarray(instances).save(target / 'SegmentationObject' / f'{name}.png')
    for split, listed in splits.items():
        path = target / 'ImageSets/Segmentation' / f'{split}.txt'
        path.write_text(''.join(f'{name}\n' for name in listed))
        print(f'{split}: {len(listed)} images; the papers have {IMAGES[split]}')
    return differ


def _read_list(voc: Path, split: str) -> set:
    path = voc / 'ImageSets/Main' / f'{split}.txt'
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path}' does not exist: unpack http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
            'VOCtrainval_11-May-2012.tar and give its folder VOCdevkit/VOC2012.')
    return set(path.read_text().split())


def main(argv: Optional[List[str]] = None) -> None:
    """Convert and say at how many pixels the files differ.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='the folder benchmark_RELEASE')
    parser.add_argument('voc', type=Path, help='the folder VOCdevkit/VOC2012')
    parser.add_argument('target', type=Path, help='folder to write, such as data/sbd')
    args = parser.parse_args(argv)
    try:
        differ = convert(args.source, args.voc, args.target)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    print(f'pixels of instances that have another class in dataset/cls: {differ}')


if __name__ == '__main__':
    main()
