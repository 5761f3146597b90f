"""Draw the region proposals of images of a config, by scale; no model is needed.

    python tools/browse_regions.py CONFIG --split train --colour-space hsv

The images come out of the pipeline of the split, so in training they are flipped and so on. The
ground-truth regions, which PackRegionInputs may add in training, are left out; the ground truth
itself stands beside the image.
"""
import argparse
import os.path as osp
import sys
from typing import List, Optional

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS

from mmseg_ext.engine import launch
from mmseg_ext.ops.hierarchical_regions import COLOUR_SPACES
from mmseg_ext.visualization import draw_proposals


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    parser.add_argument(
        '--split', default='val', help="draw the set of '{SPLIT}_dataloader' (default: val)")
    parser.add_argument(
        '--number', type=int, default=8, help='images, evenly from the whole set (default: 8)')
    parser.add_argument(
        '--out-dir',
        help='folder of the pictures (default: work_dirs/NAME_OF_CONFIG/regions_SPLIT)')
    parser.add_argument(
        '--colour-space',
        choices=COLOUR_SPACES,
        help='of the regions (default: as in the config; where that is random, it is drawn anew '
        'for each image)')
    args = parser.parse_args(argv)
    if args.number < 1:
        parser.error(f'--number must be at least 1, got {args.number}')
    if args.out_dir is None:
        args.out_dir = osp.join(launch.work_dir_of(args.config), f'regions_{args.split}')
    return args


def set_transform(node: object, names: List[str], **arguments) -> None:
    """Set arguments of transforms, wherever they are in the config of a data set.

    Args:
        node (object): The config, or a part of it; changed in place.
        names (list[str]): Types of the transforms.
        **arguments: Their arguments.
    """
    if isinstance(node, dict):
        if node.get('type') in names:
            node.update(arguments)
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for part in node:
            set_transform(part, names, **arguments)


def draw_item(dataset: BaseDataset, index: int, path: str) -> int:
    """Draw an image of a data set.

    Args:
        dataset (BaseDataset): The data set, with regions in its pipeline.
        index (int): Number of the image.
        path (str): The picture to write; ``{}`` stands for the name of the image.

    Returns:
        int: Number of its regions.
    """
    item = dataset[index]
    sample = item['data_samples']
    if 'regions' not in sample:
        sys.exit('The pipeline gives no regions: it needs LoadRegions or GenerateRegions before it '
                 'moves the image, and PackRegionInputs at its end.')
    image = np.ascontiguousarray(item['inputs'].numpy()[::-1].transpose(1, 2, 0))
    truth = sample.gt_sem_seg.data[0].numpy() if 'gt_sem_seg' in sample else None
    picture = draw_proposals(image, sample.regions, truth, dataset.metainfo['palette'])
    name = osp.splitext(osp.basename(sample.img_path))[0]
    mmcv.imwrite(picture[..., ::-1], path.format(name))
    return sample.regions.num_regions


def main(argv: Optional[List[str]] = None) -> None:
    """Draw the pictures.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    set_random_seed(0)  # the same pictures each time
    with launch.errors_as_sentences():
        cfg = launch.dataset_of(launch.read_config(args.config, args.cfg_options), args.split)
        set_transform(cfg, ['PackRegionInputs'], gt_regions=False, min_gt_iou=0.)
        if args.colour_space:
            set_transform(cfg, ['GenerateRegions', 'LoadRegions'], colour_space=args.colour_space)
        dataset = DATASETS.build(cfg)
        number = min(args.number, len(dataset))
        indices = np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist()
        counts = [draw_item(dataset, i, osp.join(args.out_dir, f'{i:05d}_{{}}.png'))
                  for i in indices]
    print(f'{number} of {len(dataset)} images in {args.out_dir}; regions per image: '
          f'{min(counts)} to {max(counts)}, {np.mean(counts):.1f} on average')


if __name__ == '__main__':
    main()
