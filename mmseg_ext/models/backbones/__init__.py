from .efficient_net_lite import EfficientNetLite
from .fcrn import FCRN
from .semantic_edge_net import SemanticEdgeNet
from .vgg import VGG
from .xception import Xception

__all__ = ['FCRN', 'VGG', 'EfficientNetLite', 'SemanticEdgeNet', 'Xception']
