from .stagewise_iou_metric import StagewiseIoUMetric

__all__ = ['StagewiseIoUMetric']
