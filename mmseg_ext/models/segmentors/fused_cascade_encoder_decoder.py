from mmseg.models.segmentors import CascadeEncoderDecoder
from mmseg.registry import MODELS

from .fused_encoder_decoder import FusedEncoderDecoder


@MODELS.register_module()
class FusedCascadeEncoderDecoder(FusedEncoderDecoder, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder`` without logits of the size of the image.

    What :class:`FusedEncoderDecoder` says holds for each head of the cascade, and at test for the
    last one.

    Args:
        kwargs: Arguments of mmseg's ``CascadeEncoderDecoder``.

    Example:
        >>> model = dict(type='FusedCascadeEncoderDecoder')  # all that is added to a config
    """
