from mmseg.registry import DATASETS

from mmseg_ext.tools import tool_command

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class SIFTFlowDataset(CheckedSegDataset):
    """SIFT Flow outdoor scenes, 33 classes of very unequal frequency, 256x256.

    Liu, Yuen and Torralba, CVPR 2009 and TPAMI 2011: 2,488 training images (two of them without
    labels: highway_bost181 and street_urb506) and 200 test images, in which no pixel is cow,
    desert or moon. Names and order of the classes are as in the released labels; they are
    listed in data/sift-flow/classes.txt of https://github.com/shelhamer/fcn.berkeleyvision.org.

    The release of Tighe and Lazebnik (ECCV 2010,
    http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip, linked as 'Full
    Dataset' from https://jovapo.github.io/publications/2010-10-ECCV-Superparsing/eccv10.html) has
    .mat files as label maps; ``tools/convert_siftflow.py`` turns them into PNG files with 0..32
    for the classes and 255 for unlabelled pixels, which are ignored.

    Arguments and folders: see :class:`CheckedSegDataset`.

    Examples:
        >>> test = dict(type='SIFTFlowDataset', data_root='data/siftflow', split='test')
    """

    METAINFO = dict(
        classes=('awning', 'balcony', 'bird', 'boat', 'bridge', 'building', 'bus', 'car', 'cow',
                 'crosswalk', 'desert', 'door', 'fence', 'field', 'grass', 'moon', 'mountain',
                 'person', 'plant', 'pole', 'river', 'road', 'rock', 'sand', 'sea', 'sidewalk',
                 'sign', 'sky', 'staircase', 'streetlight', 'sun', 'tree', 'window'),
        # of our own; what is often side by side is far apart in brightness or hue
        palette=[[230, 120, 60], [190, 90, 130], [250, 50, 150], [110, 60, 170], [150, 130, 110],
                 [170, 80, 70], [240, 190, 0], [60, 60, 200], [240, 230, 220], [255, 255, 255],
                 [225, 190, 130], [120, 50, 20], [190, 150, 220], [190, 200, 70], [90, 190, 60],
                 [235, 235, 170], [120, 110, 90], [220, 20, 60], [20, 150, 90], [50, 50, 50],
                 [60, 150, 160], [110, 100, 120], [140, 150, 150], [240, 220, 160],
                 [30, 90, 150], [235, 160, 190], [255, 140, 0], [140, 200, 240], [180, 180, 100],
                 [80, 20, 80], [255, 240, 80], [30, 100, 40], [90, 220, 230]])
    HOW_TO_GET = (
        'To get it: unpack '
        'http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip in a FOLDER, '
        f"then {tool_command('convert_siftflow.py', 'FOLDER', 'DATA_ROOT')}.")
