from .fcrn_head import FCRNHead
from .lrn_head import LRNHead
from .region_head import RegionHead
from .segnet_head import SegNetHead
from .stagewise_decode_head import StagewiseDecodeHead

__all__ = ['FCRNHead', 'LRNHead', 'RegionHead', 'SegNetHead', 'StagewiseDecodeHead']
