from .bootstrapped_cross_entropy_loss import BootstrappedCrossEntropyLoss
from .class_weighted_cross_entropy_loss import ClassWeightedCrossEntropyLoss
from .localization_loss import LocalizationLoss
from .pixel_loss import PixelLoss
from .semeda_loss import SEMEDALoss
from .sobel_edge_loss import SobelEdgeLoss

__all__ = [
    'BootstrappedCrossEntropyLoss', 'ClassWeightedCrossEntropyLoss', 'LocalizationLoss',
    'PixelLoss', 'SEMEDALoss', 'SobelEdgeLoss'
]
