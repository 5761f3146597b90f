from .pixel_box_instance_segmentor import PixelBoxInstanceSegmentor
from .semantic_edge_detector import SemanticEdgeDetector
from .stagewise_encoder_decoder import StagewiseEncoderDecoder

__all__ = ['PixelBoxInstanceSegmentor', 'SemanticEdgeDetector', 'StagewiseEncoderDecoder']
