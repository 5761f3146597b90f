from mmseg.registry import DATASETS

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class FASSEGDataset(CheckedSegDataset):
    """FASSEG, frontal faces in 6 classes, the finely labelled version V2 (Frontal02).

    Benini et al., Data in Brief 2019; Khan, Mauro and Leonardi, ICIP 2015: 20 training and 50 test
    images, in the GitHub repository massimomauro/FASSEG-repository, folder V2. Brows are hair, ears
    and neck are skin; nothing is ignored.

    There the label maps are pictures of colours, here they hold the class numbers 0..5. The palette
    is the original one.

    Arguments and folders: see :class:`CheckedSegDataset`.

    Examples:
        >>> val = dict(type='FASSEGDataset', data_root='data/fasseg', split='val')
    """

    METAINFO = dict(
        classes=('background', 'skin', 'hair', 'nose', 'mouth', 'eyes'),
        palette=[[255, 0, 0], [255, 255, 0], [127, 0, 0], [0, 255, 255], [0, 255, 0],
                 [0, 0, 255]])
    HOW_TO_GET = (
        'To get it: folder V2 of the GitHub repository massimomauro/FASSEG-repository, its label '
        "maps turned from the colours of FASSEGDataset.METAINFO['palette'] into class numbers.")
