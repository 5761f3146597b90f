from typing import List

import torch.nn as nn


def losses_of(head: nn.Module) -> List[nn.Module]:
    """List the losses of a head of mmseg, one or several; none of what has no ``loss_decode``."""
    losses = getattr(head, 'loss_decode', [])
    several = not isinstance(losses, nn.Module) or isinstance(losses, nn.ModuleList)
    return list(losses) if several else [losses]
