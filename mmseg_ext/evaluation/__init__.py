from .e_measure_metric import EMeasureMetric
from .f1_metric import F1Metric
from .semantic_edge_metric import SemanticEdgeMetric
from .stagewise_iou_metric import StagewiseIoUMetric
from .trimap_metric import TrimapMetric

__all__ = [
    'EMeasureMetric', 'F1Metric', 'SemanticEdgeMetric', 'StagewiseIoUMetric', 'TrimapMetric'
]
