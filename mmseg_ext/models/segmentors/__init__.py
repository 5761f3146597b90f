from .fused_cascade_encoder_decoder import FusedCascadeEncoderDecoder
from .fused_encoder_decoder import FusedEncoderDecoder
from .semantic_edge_detector import SemanticEdgeDetector
from .stagewise_encoder_decoder import StagewiseEncoderDecoder

__all__ = [
    'FusedCascadeEncoderDecoder', 'FusedEncoderDecoder', 'SemanticEdgeDetector',
    'StagewiseEncoderDecoder'
]
