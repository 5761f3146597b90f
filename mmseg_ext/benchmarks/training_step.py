from typing import Callable, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


def training_step(backbone: dict, decode_head: dict, shape: Sequence[int],
                  device: str) -> Callable[[], None]:
    """Build a model and return its training step: forward, losses, backward, SGD.

    Images, (N, 3, H, W), and labels are noise. Gradients are set to None inside the step, as
    mmengine does.
    """
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type='EncoderDecoder', backbone=backbone, decode_head=decode_head)).to(device)
    model.train()
    images = torch.randn(*shape, device=device)
    labels = torch.randint(
        0, decode_head['num_classes'], (shape[0], 1, *shape[2:]), device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3,
                                momentum=0.9)

    def step() -> None:
        losses = model.loss(images, samples)
        optimizer.zero_grad(set_to_none=True)
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()

    return step
