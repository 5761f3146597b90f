from mmseg.registry import DATASETS

from mmseg_ext.tools import tool_command

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class LabelMeFacadeDataset(CheckedSegDataset):
    """LabelMeFacade street scenes: 8 classes of buildings and what is around them.

    Fröhlich, Rodner and Denzler, ICPR 2010: 100 training and 845 test images of many sizes, from
    https://github.com/cvjena/labelmefacade. There the label maps are pictures of colours;
    ``tools/convert_labelmefacade.py`` turns them into class numbers: 0..7, and 255 for 'various',
    which is ignored, and the original's test images into the split val. The palette is the
    original one.

    Arguments and folders: see :class:`CheckedSegDataset`.

    Examples:
        >>> val = dict(type='LabelMeFacadeDataset', data_root='data/labelme_facade', split='val')
    """

    METAINFO = dict(
        classes=('building', 'car', 'door', 'pavement', 'road', 'sky', 'vegetation', 'window'),
        palette=[[128, 0, 0], [128, 0, 128], [128, 128, 0], [128, 128, 128], [128, 64, 0],
                 [0, 128, 128], [0, 128, 0], [0, 0, 128]])
    HOW_TO_GET = (
        'To get it: git clone https://github.com/cvjena/labelmefacade, then '
        f"{tool_command('convert_labelmefacade.py', 'labelmefacade', 'DATA_ROOT')}.")
