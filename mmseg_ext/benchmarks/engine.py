"""Benchmark cases of hooks."""
import tempfile
from types import SimpleNamespace
from typing import Tuple

import cv2
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS, MODELS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor, nn

import mmseg_ext.datasets  # noqa: F401  (registers the scenes and their regions)
from mmseg_ext.ops import region_to_pixel

from .case import Case, benchmark, sizes


@benchmark('CheckpointCompatibilityHook')
def checkpoint_compatibility_hook(device: str, small: bool = False) -> Case:
    """Checking that a checkpoint fits, against loading it, which mmengine does afterwards."""
    torch.manual_seed(0)
    depth, width = (11, 2) if small else (16, 64)
    model = MODELS.build(dict(type='VGG', depth=depth, base_channels=width)).to(device)
    weights = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    hook = HOOKS.build(dict(type='CheckpointCompatibilityHook'))
    runner = SimpleNamespace(
        model=model, _train_loop=None, _resume=False, logger=MMLogger.get_current_instance())

    def ours() -> None:
        hook.after_load_checkpoint(runner, dict(state_dict=weights))

    def load() -> None:
        model.load_state_dict(weights)

    def parity() -> None:
        for run in (ours, load):
            for value in model.state_dict().values():
                value.zero_()
            run()
            assert all(torch.equal(value, weights[name])
                       for name, value in model.state_dict().items())

    num_bytes = sum(value.nbytes for value in weights.values())
    return Case(
        inputs=f'VGG-{depth}, {num_bytes / 1e6:.1f} MB of weights',
        phase='checking',
        runs={'ours': ours, 'PyTorch: load_state_dict': load},
        floor_bytes=dict(checking=2 * num_bytes),
        parity=parity)


@benchmark('ChannelsLastHook')
def channels_last_hook(device: str, small: bool = False) -> Case:
    """Gradients of EfficientNet-lite0 in the channels-last format and in PyTorch's default."""
    torch.manual_seed(0)
    shape = (2, 3, 32, 32) if small else (8, 3, 180, 240)
    images = torch.randn(*shape, device=device)
    config = dict(type='EfficientNetLite', out_indices=(6, ))
    ours, default = (MODELS.build(config).to(device) for _ in range(2))
    default.load_state_dict(ours.state_dict())
    HOOKS.build(dict(type='ChannelsLastHook')).before_run(SimpleNamespace(model=ours))

    def gradients(model: nn.Module) -> Tuple[Tensor, ...]:
        return torch.autograd.grad(model(images)[0].square().mean(), list(model.parameters()))

    def parity() -> None:
        for found, expected in zip(gradients(ours), gradients(default)):
            # batch norm of few positions makes some gradients small differences of large numbers
            assert torch.linalg.norm(found - expected) <= 1e-3 * torch.linalg.norm(expected) + 1e-6

    return Case(
        inputs=f'{sizes(shape)} float32, batch norm in training mode',
        phase='forward+backward',
        runs={
            'ours': lambda: gradients(ours),
            'PyTorch: default format': lambda: gradients(default)
        },
        parity=parity)


@benchmark('RegionVisualizationHook')
def region_visualization_hook(device: str, small: bool = False) -> Case:
    """Finding, drawing and writing which regions won, against mmseg's picture of a prediction.

    They draw different pictures, so there is no parity to check. With an image that it does not
    draw, the hook only counts.
    """
    size = (48, 64) if small else (384, 384)
    dataset = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size, pipeline=[
        dict(type='GenerateRegions'), dict(type='PackRegionInputs')]))
    image, sample = (dataset[0][key] for key in ('inputs', 'data_samples'))
    regions, num_classes = sample.regions, len(dataset.metainfo['classes'])
    torch.manual_seed(0)
    scores = torch.randn(regions.num_regions, num_classes)
    labels = region_to_pixel(scores, *regions.transposed()).argmax(dim=1)
    sample.pred_sem_seg = PixelData(data=labels[regions.cells.long()][None].to(device))
    scores = scores.to(device)

    folder = folder_to_draw_in(image, sample, dataset.metainfo)
    head = MODELS.build(
        dict(type='RegionHead', in_channels=1, in_index=0, channels=1, num_classes=num_classes))
    runner = SimpleNamespace(
        model=SimpleNamespace(decode_head=head), iter=0, _train_loop=None)
    batch = dict(inputs=[image])
    hook = HOOKS.build(dict(type='RegionVisualizationHook', draw=True, interval=1))
    hook.before_run(runner)
    mmsegs = HOOKS.build(dict(type='SegVisualizationHook', draw=True, interval=1))

    def ours(folder=folder) -> None:  # holds the folder as long as the run lives
        hook.before_test_iter(runner, 0, batch)
        hook._keep_scores(head, (), [scores])
        hook.after_test_iter(runner, 0, batch, [sample])

    def mmseg() -> None:
        mmsegs.after_test_iter(runner, 0, batch, [sample])

    return Case(
        inputs=f'scene of {sizes(size)}, {regions.num_regions} regions, written as PNG',
        phase='drawing',
        runs={'ours: four tiles': ours, 'mmseg: SegVisualizationHook': mmseg})


def folder_to_draw_in(image: Tensor, sample: SegDataSample,
                      dataset_meta: dict) -> tempfile.TemporaryDirectory:
    """Write an image, (3, H, W) uint8, to a new folder, into which hooks draw from now on."""
    folder = tempfile.TemporaryDirectory()
    sample.set_metainfo(dict(img_path=f'{folder.name}/image.png'))
    cv2.imwrite(sample.img_path, image.permute(1, 2, 0).numpy())
    # the hooks take the visualizer that was made last
    visualizer = SegLocalVisualizer.get_instance(
        f'benchmark {folder.name}', save_dir=folder.name,
        vis_backends=[dict(type='LocalVisBackend')])
    visualizer.dataset_meta = dataset_meta
    return folder
