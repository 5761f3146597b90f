from mmseg.registry import DATASETS

from mmseg_ext.tools import tool_command

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class HELENDataset(CheckedSegDataset):
    """HELEN with the face parsing labels of Smith et al.: the parts of a face in 11 classes.

    Images of Le et al., ECCV 2012; labels and splits of Smith et al., 'Exemplar-Based Face
    Parsing', CVPR 2013, whose page at the University of Wisconsin-Madison offers
    SmithCVPR2013_dataset_resized.zip. There a face has a map of probabilities for each class;
    ``tools/convert_helen.py`` turns them into class numbers 0..10. Nothing is ignored.

    Their lists are 2,000 exemplars, 230 tuning and 100 testing images. SEMEDA (Sec. 4.1) trains on
    2,000 and tests on 330, so ``split='test'`` is both of the latter; ``'test/tuning'`` and
    ``'test/testing'`` are each alone, the 100 being those on which Smith et al. report.

    .. code-block:: none

        data_root/images/train/*.jpg           data_root/labels/train/*.png
        data_root/images/test/tuning/*.jpg     data_root/labels/test/tuning/*.png
        data_root/images/test/testing/*.jpg    data_root/labels/test/testing/*.png

    Left and right are classes, so a flip must swap them: give ``RandomFlip``
    ``swap_seg_labels=[(2, 3), (4, 5)]``. A flip at test (``TestTimeAug``) cannot, mmseg turns the
    scores back without swapping their channels.

    The palette is of our own.

    Arguments: see :class:`CheckedSegDataset`.

    Examples:
        >>> test = dict(type='HELENDataset', data_root='data/helen', split='test')
    """

    METAINFO = dict(
        classes=('background', 'skin', 'left_brow', 'right_brow', 'left_eye', 'right_eye', 'nose',
                 'upper_lip', 'inner_mouth', 'lower_lip', 'hair'),
        palette=[[0, 0, 0], [240, 200, 170], [150, 90, 20], [220, 160, 60], [30, 90, 220],
                 [90, 200, 240], [60, 170, 70], [200, 30, 60], [255, 255, 255], [240, 110, 150],
                 [110, 50, 130]])
    HOW_TO_GET = (
        "To get it: unpack SmithCVPR2013_dataset_resized.zip from the page 'Exemplar-Based Face "
        "Parsing' of Smith et al. (University of Wisconsin-Madison) in a FOLDER, then "
        f"{tool_command('convert_helen.py', 'FOLDER', 'DATA_ROOT')}.")
