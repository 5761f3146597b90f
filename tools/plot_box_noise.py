"""Draw mAP^r over the error of the boxes that pixels predict, with true labels, on drawn scenes.

    python tools/plot_box_noise.py --out box_noise.png

How much error of a localization network the clustering of pixel boxes bears. Each of the four sides
of each pixel's true box is moved by Gaussian noise, whose standard deviation is a share of the
box's width or height. Pixels are independent of each other, as those of a network are not: the
curve is an upper bound. No network and no files are needed.
"""
import argparse
import os
import os.path as osp
from typing import Dict, List, Optional, Sequence

import torch
from matplotlib.figure import Figure
from mmengine.logging import MMLogger

from mmseg_ext.datasets import ScenesDataset
from mmseg_ext.evaluation import RegionAPMetric
from mmseg_ext.models.box_coders.pixel_boxes import instance_boxes
from mmseg_ext.ops import pixel_instances

#: Scenes have instances of few pixels.
MIN_SIZE = 4
LEVELS = (0., 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
COLOURS = dict(mAPr_50='#0072B2', mAPr_70='#D55E00', mAPr_vol='#009E73')


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, metavar='FILE.png', help='figure to write')
    parser.add_argument('--num-images', type=int, default=20, help='scenes (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(192, 256), metavar=('H', 'W'),
                        help='of a scene, in pixels (default: 192 256)')
    parser.add_argument('--iou-thr', type=float, default=0.3,
                        help='a pixel joins a box with a higher IoU (default: %(default)s)')
    args = parser.parse_args(argv)
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if osp.splitext(args.out)[1][1:].lower() not in formats:
        parser.error(f"--out must end in one of {', '.join(formats)}, got {args.out}")
    return args


def measure(scenes: Sequence[dict], level: float, iou_thr: float) -> Dict[str, float]:
    """Find the instances of all scenes from noisy boxes and judge them.

    Args:
        scenes (Sequence[dict]): Items of a ``ScenesDataset``.
        level (float): Standard deviation of the noise, as a share of the box.
        iou_thr (float): Of the clustering.

    Returns:
        dict[str, float]: mAP^r in per cent, by name.
    """
    generator = torch.Generator().manual_seed(0)
    metric = RegionAPMetric()
    metric.dataset_meta = ScenesDataset.METAINFO
    for item in scenes:
        labels, instances = (torch.from_numpy(item[key].astype('int64'))
                             for key in ('gt_seg_map', 'gt_instance_map'))
        instances = instances.masked_fill(labels == 255, 0).masked_fill(instances == 255, 0)
        table, number = instance_boxes(instances[None])
        boxes = table[number[0]].permute(2, 0, 1).float()
        sides = (boxes[2:] - boxes[:2]).repeat(2, 1, 1)
        boxes += level * sides * torch.randn(boxes.shape, generator=generator)
        # true scores are all 1: in a network's place a random order of the pixels
        scores = 1 - 0.01 * torch.rand(labels.shape, generator=generator)
        classes = labels.masked_fill(instances == 0, -1)
        found = pixel_instances(
            classes[None], scores[None], lambda label, boxes=boxes: boxes, iou_thr=iou_thr,
            min_size=MIN_SIZE)
        metric.process({}, [dict(
            pred_instances=dict(masks=found.masks, labels=found.labels, scores=found.scores),
            gt_instances=dict(data=instances[None]), gt_sem_seg=dict(data=labels[None]))])
    return metric.evaluate(len(scenes))


def draw(levels: Sequence[float], results: Sequence[Dict[str, float]]) -> Figure:
    """Draw one curve for each measure.

    Args:
        levels (Sequence[float]): Noise, as shares of the box.
        results (Sequence[dict]): What :func:`measure` gives of each.

    Returns:
        Figure: One panel.
    """
    figure = Figure(figsize=(6, 4.2), dpi=120, layout='constrained')
    ax = figure.subplots()
    for name, colour in COLOURS.items():
        ax.plot([100 * level for level in levels], [result[name] for result in results],
                marker='o', color=colour, label=name)
    ax.set_xlabel('standard deviation of a side of the box (% of the box)')
    ax.set_ylabel('mAP$^r$ (%)')
    ax.set_ylim(0, 101)
    ax.grid(color='#DDDDDD', linewidth=0.8)
    ax.spines[['top', 'right']].set_visible(False)
    ax.legend(frameon=False)
    return figure


def main(argv: Optional[List[str]] = None) -> None:
    """Measure and draw.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    MMLogger.get_current_instance().setLevel('WARNING')  # a table of classes for each level
    dataset = ScenesDataset(num_images=args.num_images, size=tuple(args.size), seed=1)
    scenes = [dataset[i] for i in range(len(dataset))]
    results = [measure(scenes, level, args.iou_thr) for level in LEVELS]
    for level, result in zip(LEVELS, results):
        print(f'{level:5.2f}  ' + '  '.join(f'{name} {result[name]:6.2f}' for name in COLOURS))
    os.makedirs(osp.dirname(args.out) or '.', exist_ok=True)
    draw(LEVELS, results).savefig(args.out)
    print(f'The curves are in {args.out}')


if __name__ == '__main__':
    main()
