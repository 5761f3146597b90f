"""Benchmark cases of the Label Refinement Network: training, prediction, metric and picture."""
from types import SimpleNamespace

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.datasets import CamVidDataset

from .case import Case, benchmark, sizes
from .engine import folder_to_draw_in
from .evaluation import counting
from .training_step import training_step

CLASSES = CamVidDataset.METAINFO['classes']
PALETTE = CamVidDataset.METAINFO['palette']
STAGES = 6


@benchmark('VGG', 'LRNHead', 'SegNetHead', 'ClassWeightedCrossEntropyLoss')
def lrn_training_step(device: str, small: bool = False) -> Case:
    """Training step (forward, six losses, backward, SGD) of LRN, SegNet and SegNet+DS.

    Same VGG-16 with batch norm, same input, same loss function. The decoders are different
    networks, so there is no parity to check.
    """
    width, shape = (2, (2, 3, 45, 60)) if small else (64, (2, 3, 360, 480))
    backbone = dict(type='VGG', norm_cfg=dict(type='BN'), base_channels=width)
    head = dict(
        in_channels=[width * k for k in (1, 2, 4, 8, 8, 8)],
        num_classes=len(CLASSES),
        loss_decode=dict(
            type='ClassWeightedCrossEntropyLoss',
            class_weight=[1.0] * len(CLASSES),
            normalization='pixels'))
    lrn = dict(head, type='LRNHead', norm_cfg=dict(type='BN'))
    segnet = dict(head, type='SegNetHead')
    segnet_ds = dict(segnet, deep_supervision=True)
    return Case(
        inputs=f'{sizes(shape)} float32, {len(CLASSES)} classes, VGG-16 with batch norm',
        phase='training step',
        runs={
            'ours: LRN': training_step(backbone, lrn, shape, device),
            'SegNet': training_step(backbone, segnet, shape, device),
            'SegNet+DS': training_step(backbone, segnet_ds, shape, device),
        })


@benchmark('StagewiseEncoderDecoder')
def lrn_prediction(device: str, small: bool = False) -> Case:
    """Prediction of LRN's six label maps, against mmseg's segmentor, which gives the last alone."""
    width, shape = (2, (1, 3, 45, 60)) if small else (16, (1, 3, 360, 480))
    torch.manual_seed(0)
    model = dict(
        backbone=dict(type='VGG', norm_cfg=dict(type='BN'), base_channels=width),
        decode_head=dict(
            type='LRNHead', in_channels=[width * k for k in (1, 2, 4, 8, 8, 8)],
            num_classes=len(CLASSES), norm_cfg=dict(type='BN')),
        test_cfg=ConfigDict(mode='whole'))
    ours = MODELS.build(dict(model, type='StagewiseEncoderDecoder')).to(device).eval()
    mmsegs = MODELS.build(dict(model, type='EncoderDecoder')).to(device).eval()
    mmsegs.load_state_dict(ours.state_dict())
    images = torch.randn(*shape, device=device)

    @torch.no_grad()
    def predict(model) -> SegDataSample:
        size = shape[2:]
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        return model.predict(images, [sample])[0]

    def parity() -> None:
        stages = predict(ours).stage_sem_seg.data
        assert len(stages) == STAGES
        assert torch.equal(stages[-1:].long(), predict(mmsegs).pred_sem_seg.data)

    return Case(
        inputs=f'{sizes(shape)} float32, {len(CLASSES)} classes, VGG-16 of {width} channels',
        phase='prediction',
        runs={
            'ours: six label maps': lambda: predict(ours),
            'mmseg: EncoderDecoder, one label map': lambda: predict(mmsegs),
        },
        parity=parity)


@benchmark('StagewiseIoUMetric')
def stagewise_iou_metric(device: str, small: bool = False) -> Case:
    """Counting six stages of an image, against mmseg's metric called for each stage."""
    size = (24, 32) if small else (360, 480)
    sample = _prediction(size, device)
    truth, stages = (dict(data=x.data) for x in (sample.gt_sem_seg, sample.stage_sem_seg))

    ours = counting(dict(type='StagewiseIoUMetric'), CLASSES,
                    [dict(gt_sem_seg=truth, stage_sem_seg=stages)])
    mmsegs = counting(dict(type='IoUMetric'), CLASSES, [
        dict(gt_sem_seg=truth, pred_sem_seg=dict(data=stage.long())) for stage in stages['data']
    ])

    def parity() -> None:
        counts, = ours()
        for stage, areas in zip(counts, mmsegs()):
            assert torch.equal(stage, torch.stack(areas).long())

    return Case(
        inputs=f'{STAGES} label maps of {sizes(size)}, {len(CLASSES)} classes',
        phase='counting',
        runs={'ours': ours, 'mmseg: IoUMetric, six times': mmsegs},
        parity=parity)


@benchmark('StageVisualizationHook')
def stage_visualization_hook(device: str, small: bool = False) -> Case:
    """Drawing and writing input, labels and six stages, against mmseg's picture of one prediction.

    They draw different pictures, so there is no parity to check.
    """
    size = (24, 32) if small else (360, 480)
    sample = _prediction(size, device)
    sample.set_metainfo(dict(ori_shape=size))
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    folder = folder_to_draw_in(image, sample, dict(classes=CLASSES, palette=PALETTE))

    def drawing(hook_type: str):
        hook = HOOKS.build(dict(type=hook_type, draw=True, interval=1))

        def run(folder=folder) -> None:  # holds the folder as long as the run lives
            hook._after_iter(SimpleNamespace(iter=0), 0, dict(inputs=[image]), [sample], 'test')

        return run

    return Case(
        inputs=f'image of {sizes(size)}, {STAGES} stages, written as PNG',
        phase='drawing',
        runs={
            'ours: input, truth, six stages': drawing('StageVisualizationHook'),
            'mmseg: SegVisualizationHook': drawing('SegVisualizationHook'),
        })


def _prediction(size, device: str) -> SegDataSample:
    """A sample with random ground truth and stages."""
    torch.manual_seed(0)
    stages = torch.randint(0, len(CLASSES), (STAGES, *size), dtype=torch.uint8, device=device)
    truth = torch.randint(0, len(CLASSES), (1, *size), device=device)
    truth[:, :size[0] // 8] = 255
    return SegDataSample(
        gt_sem_seg=PixelData(data=truth),
        pred_sem_seg=PixelData(data=stages[-1:].long()),
        stage_sem_seg=PixelData(data=stages))
