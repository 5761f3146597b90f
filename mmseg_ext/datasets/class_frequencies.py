"""How often each class occurs in a data set, and the class weights that follow.

Shapes: N label maps, C classes. Counts (N, C + 1) are pixels of the classes in their order, then of
the ignored pixels.
"""
import copy
from multiprocessing.pool import ThreadPool
from typing import Any, List, Tuple

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.dataset import RepeatDataset
from mmengine.registry import Registry
from mmseg.registry import DATASETS, TRANSFORMS

from .checked_seg_dataset import check_label_values


def count_labels(label: np.ndarray,
                 num_classes: int,
                 ignore_index: int = 255,
                 source: str = 'the label map') -> np.ndarray:
    """Count the pixels of one label map (H, W) after loading: (C + 1,) int64.

    A value that is neither a class nor ignored raises a ValueError, which names the ``source``.
    """
    check_label_values(label, num_classes, ignore_index, source)
    ignored = label == ignore_index
    counts = np.bincount(label[~ignored], minlength=num_classes)
    return np.append(counts, np.count_nonzero(ignored))


def median_frequency_weights(counts: np.ndarray, count_ignored: bool = True) -> np.ndarray:
    """Weigh classes by median frequency, weight(c) = median(freq) / freq(c).

    freq(c) = pixels of c / pixels of the images that contain c (Eigen and Fergus, ICCV
    2015). The papers leave open what ignored pixels do. ``count_ignored=True`` treats them as
    one more class: they are pixels of the images, and their frequency takes part in the
    median (on CamVid this comes nearest to the weights that SegNet published).
    ``count_ignored=False`` leaves them out of both.

    Takes counts (N, C + 1) and gives weights (C + 1,). A class without a pixel is left out of the
    median and has the weight 0.
    """
    counts = np.array(counts, dtype=np.int64)
    if not count_ignored:
        counts[:, -1] = 0
    pixels = counts.sum(0)
    pixels_of_images = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
    present = pixels > 0
    weights = np.zeros(len(pixels))
    if present.any():
        frequencies = pixels[present] / pixels_of_images[present]
        weights[present] = np.median(frequencies) / frequencies
    return weights


def inverse_frequency_weights(counts: np.ndarray) -> np.ndarray:
    """Weigh classes by inverse frequency, weight(c) = labelled pixels / (K * pixels of c).

    K is the number of classes that occur. All classes then have the same weight in total, and
    the mean weight of a labelled pixel is 1. Ignored pixels are not counted.

    Takes counts (N, C + 1) and gives weights (C,). A class without a pixel has the weight 0.
    """
    pixels = np.asarray(counts)[:, :-1].sum(0)
    present = pixels > 0
    weights = np.zeros(len(pixels))
    weights[present] = pixels.sum() / (present.sum() * pixels[present])
    return weights


def summarise(counts: np.ndarray, classes: List[str], count_ignored: bool = True) -> dict:
    """Collect counts (N, C + 1) and weights in plain lists, as they go into a JSON file.

    Weights have 9 decimals. The entry ``ignored`` has what there is of the ignored pixels.
    """
    counts = np.asarray(counts)
    pixels = counts.sum(0).tolist()
    images = (counts > 0).sum(0).tolist()
    median = median_frequency_weights(counts, count_ignored).round(9).tolist()
    return dict(
        num_images=len(counts),
        count_ignored=count_ignored,
        classes=list(classes),
        pixel_counts=pixels[:-1],
        image_counts=images[:-1],
        median_frequency=median[:-1],
        inverse_frequency=inverse_frequency_weights(counts).round(9).tolist(),
        none=[1.0] * len(classes),
        ignored=dict(pixel_count=pixels[-1], image_count=images[-1], median_frequency=median[-1]))


def label_dataset_cfg(cfg: dict) -> dict:
    """Give the config of a data set reduced to the loading of its label maps.

    Of each pipeline only the transforms that load annotations stay: no image is decoded and
    nothing is augmented. Wrapped data sets are reduced too; ``RepeatDataset`` is taken off, so
    that each label map is counted once. The config given is left as it is.
    """
    cfg = copy.deepcopy(cfg)
    if _is_a(RepeatDataset, cfg['type'], DATASETS):
        return label_dataset_cfg(cfg['dataset'])
    if 'dataset' in cfg:
        cfg['dataset'] = label_dataset_cfg(cfg['dataset'])
    if 'datasets' in cfg:
        cfg['datasets'] = [label_dataset_cfg(c) for c in cfg['datasets']]
    if 'pipeline' in cfg:
        cfg['pipeline'] = [
            t for t in cfg['pipeline'] if _is_a(LoadAnnotations, t['type'], TRANSFORMS)
        ]
    return cfg


def innermost_cfg(cfg: dict) -> dict:
    """Give the config of the (first) data set inside all wrappers."""
    while 'dataset' in cfg or 'datasets' in cfg:
        cfg = cfg['dataset'] if 'dataset' in cfg else cfg['datasets'][0]
    return cfg


def count_dataset(cfg: dict, workers: int = 2) -> Tuple[np.ndarray, List[str]]:
    """Count the label maps of a data set: (N, C + 1), and the names of the C classes.

    Its pipeline is reduced by :func:`label_dataset_cfg`. An item without a label map, or with a
    value outside the classes, raises a ValueError. ``workers`` is the number of threads.
    """
    dataset = DATASETS.build(label_dataset_cfg(cfg))
    classes = list(dataset.metainfo['classes'])
    ignore_index = innermost_cfg(cfg).get('ignore_index', 255)

    def count(index: int) -> np.ndarray:
        results = dataset[index]
        source = repr(results.get('seg_map_path', f'item {index} of {cfg["type"]}'))
        if 'gt_seg_map' not in results:
            raise ValueError(f'{source} of {cfg["type"]} comes without a label map: its pipeline '
                             "needs LoadAnnotations, or the data set must give 'gt_seg_map'.")
        return count_labels(results['gt_seg_map'], len(classes), ignore_index, source)

    # Threads, not processes: decoding releases the GIL, and an error arrives as it was raised.
    with ThreadPool(workers) as pool:
        return np.stack(pool.map(count, range(len(dataset)))), classes


def _is_a(parent: type, kind: Any, registry: Registry) -> bool:
    kind = registry.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, parent)
