from .semantic_edge_detector import SemanticEdgeDetector
from .stagewise_encoder_decoder import StagewiseEncoderDecoder

__all__ = ['SemanticEdgeDetector', 'StagewiseEncoderDecoder']
