from .e_measure_metric import EMeasureMetric
from .f1_metric import F1Metric
from .region_ap_metric import RegionAPMetric
from .semantic_edge_metric import SemanticEdgeMetric
from .stagewise_iou_metric import StagewiseIoUMetric
from .trimap_metric import TrimapMetric

__all__ = [
    'EMeasureMetric', 'F1Metric', 'RegionAPMetric', 'SemanticEdgeMetric', 'StagewiseIoUMetric',
    'TrimapMetric'
]
