from .stagewise_iou_metric import StagewiseIoUMetric
from .trimap_metric import TrimapMetric

__all__ = ['StagewiseIoUMetric', 'TrimapMetric']
