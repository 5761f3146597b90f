from .fused_cascade_encoder_decoder import FusedCascadeEncoderDecoder
from .fused_encoder_decoder import FusedEncoderDecoder
from .pixel_box_instance_segmentor import PixelBoxInstanceSegmentor
from .semantic_edge_detector import SemanticEdgeDetector
from .stagewise_encoder_decoder import StagewiseEncoderDecoder

__all__ = [
    'FusedCascadeEncoderDecoder', 'FusedEncoderDecoder', 'PixelBoxInstanceSegmentor',
    'SemanticEdgeDetector', 'StagewiseEncoderDecoder'
]
