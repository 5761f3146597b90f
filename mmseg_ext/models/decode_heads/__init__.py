from .deep_lab_v2_head import DeepLabV2Head
from .fcn16s_head import FCN16sHead
from .fcrn_head import FCRNHead
from .localization_head import LocalizationHead
from .lrn_head import LRNHead
from .region_head import RegionHead
from .segnet_head import SegNetHead
from .stagewise_decode_head import StagewiseDecodeHead

__all__ = [
    'DeepLabV2Head', 'FCN16sHead', 'FCRNHead', 'LRNHead', 'LocalizationHead', 'RegionHead',
    'SegNetHead', 'StagewiseDecodeHead'
]
