from .stagewise_encoder_decoder import StagewiseEncoderDecoder

__all__ = ['StagewiseEncoderDecoder']
