import os.path as osp
from typing import List

from mmseg.registry import DATASETS

from mmseg_ext.tools import tool_command

from .checked_seg_dataset import CheckedSegDataset


def _voc_colours(count: int) -> List[List[int]]:
    """Colours 1..count of the PASCAL VOC rule: the bits of the number, spread over R, G, B."""
    return [[
        sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
        for channel in range(3)
    ] for number in range(1, count + 1)]


@DATASETS.register_module()
class SUNRGBDDataset(CheckedSegDataset):
    """SUN RGB-D indoor scenes, 37 classes, colour images only.

    Song et al., CVPR 2015: 5,285 training and 5,050 test images of many sizes. The label
    maps hold 0 for background, which is ignored (255 after loading), and 1..37 for the
    classes, which are 0..36 after loading. All instances of a class have its number.

    Two layouts are found without being named. In https://github.com/chrischoy/SUN_RGBD the label
    map of ``img-000001.jpg`` is ``img37labels-000001.png``; ``tools/convert_sunrgbd.py`` gives it
    the name of the image:

    .. code-block:: none

        data_root/image/train/*.jpg        data_root/images/train/*.jpg
        data_root/label37/train/*.png      data_root/labels/train/*.png

    Args:
        reduce_zero_label (bool): Whether 0 in the files is ignored and 1 is class 0.
        **kwargs: Arguments of :class:`CheckedSegDataset`.

    Examples:
        >>> test = dict(type='SUNRGBDDataset', data_root='data/sunrgbd', split='test')
    """

    METAINFO = dict(
        classes=('wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window',
                 'bookshelf', 'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain',
                 'dresser', 'pillow', 'mirror', 'floor_mat', 'clothes', 'ceiling', 'books',
                 'fridge', 'tv', 'paper', 'towel', 'shower_curtain', 'box', 'whiteboard',
                 'person', 'night_stand', 'toilet', 'sink', 'lamp', 'bathtub', 'bag'),
        palette=_voc_colours(37))
    LAYOUTS = (('image/{split}', 'label37/{split}'), ('images/{split}', 'labels/{split}'))
    HOW_TO_GET = (
        'To get it: git clone https://github.com/chrischoy/SUN_RGBD and run its '
        'download_and_extract.sh, or convert the original download in a FOLDER by '
        f"{tool_command('convert_sunrgbd.py', 'FOLDER', 'DATA_ROOT')}.")

    def __init__(self, reduce_zero_label: bool = True, **kwargs) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)

    def label_path(self, path: str) -> str:
        """Give the path of a label map; in ``label37`` it is not named as its image."""
        folder, name = osp.split(path)
        if 'label37' in folder.replace('\\', '/').split('/') and name.startswith('img-'):
            name = name.replace('img-', 'img37labels-', 1)
        return osp.join(folder, name)
