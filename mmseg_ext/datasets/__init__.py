from .camvid_dataset import CamVidDataset
from .fasseg_dataset import FASSEGDataset
from .helen_dataset import HELENDataset
from .label_me_facade_dataset import LabelMeFacadeDataset
from .pascal_voc_instance_dataset import PascalVOCInstanceDataset
from .scenes_dataset import ScenesDataset
from .sift_flow_dataset import SIFTFlowDataset
from .sunrgbd_dataset import SUNRGBDDataset
from .transforms import *  # noqa: F401,F403

__all__ = [
    'CamVidDataset', 'FASSEGDataset', 'HELENDataset', 'LabelMeFacadeDataset',
    'PascalVOCInstanceDataset', 'SIFTFlowDataset', 'SUNRGBDDataset', 'ScenesDataset'
]
