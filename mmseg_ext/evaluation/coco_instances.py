"""Predicted instances as COCO's JSON, for pycocotools and the tools that read its files."""
import json
import os
from typing import List, Sequence

import numpy as np
from torch import Tensor


def coco_masks():
    """Import ``pycocotools.mask``, an optional package; an ImportError says how to get it."""
    try:
        from pycocotools import mask
    except ImportError:
        raise ImportError('coco_file needs the package pycocotools: pip install pycocotools, or '
                          'leave coco_file out.') from None
    return mask


def coco_entries(img_path: str, masks: Tensor, labels: Tensor, scores: Tensor) -> List[dict]:
    """Describe the instances of an image as COCO does.

    Args:
        img_path (str): Path of the image. Its name without folder and ending is ``image_id``, as
            a number where it is one.
        masks (Tensor): (Q, H, W) bool.
        labels (Tensor): (Q,), the ``category_id`` of each: the class of the data set.
        scores (Tensor): (Q,).

    Returns:
        list[dict]: Each with ``image_id``, ``category_id``, ``score``, ``segmentation`` as run
        lengths, and ``bbox``, the x, y, width and height of the mask.
    """
    coco = coco_masks()
    name = os.path.splitext(os.path.basename(img_path.replace('\\', '/')))[0]
    entries = []
    for mask, label, score in zip(masks.cpu().numpy(), labels.tolist(), scores.tolist()):
        runs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
        box = [float(value) for value in coco.toBbox(runs)]
        counts = runs['counts'].decode('ascii')  # bytes, which JSON has not
        entries.append(dict(
            image_id=int(name) if name.isdecimal() else name, category_id=label, score=score,
            bbox=box, segmentation=dict(size=[int(side) for side in runs['size']], counts=counts)))
    return entries


def write_entries(path: str, entries: Sequence[dict]) -> None:
    """Write what :func:`coco_entries` gave of all images into a file, whose folder is made."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(list(entries), file)
