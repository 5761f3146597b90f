from .camvid_dataset import CamVidDataset
from .scenes_dataset import ScenesDataset
from .sunrgbd_dataset import SUNRGBDDataset

__all__ = ['CamVidDataset', 'SUNRGBDDataset', 'ScenesDataset']
