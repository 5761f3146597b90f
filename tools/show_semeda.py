"""Draw the entropy of predictions and their embeddings in SEMEDA's edge network.

    python tools/show_semeda.py CONFIG CHECKPOINT --against BASELINE_CONFIG:BASELINE_CHECKPOINT

For images of the config's val_dataloader, NAME_entropy.png shows the image, the ground truth and,
for each model, the prediction below its entropy (Fig. 7 of the paper). NAME_embeddings.png shows
the prediction of the first model and maps of the first two layers of the edge network (Fig. 6). The
edge network is the one that the model was trained with, from the checkpoint or from the file beside
it, or another one; with neither, only the entropy is drawn.
"""
import argparse
import os.path as osp
import sys
from typing import List, NamedTuple, Optional, Sequence, Tuple

import mmcv
import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.device import get_device
from mmengine.runner import CheckpointLoader
from mmseg.registry import DATASETS, HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_ext.engine import launch
from mmseg_ext.engine.hooks.semantic_edge_net_hook import KEY, semeda_losses_of
from mmseg_ext.models import SemanticEdgeNet
from mmseg_ext.models.backbones.semantic_edge_net import FLAG
from mmseg_ext.visualization import draw_embedding_sheet, draw_entropy_sheet


class Model(NamedTuple):
    """A segmentor with its weights, and the images as it wants them."""

    name: str
    network: nn.Module
    dataset: BaseDataset
    edge_net_file: str  # where a training would have written it
    edge_nets: dict  # in the checkpoint, by names of the losses


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values; ``models`` are pairs of config and checkpoint.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint that was trained with it')
    parser.add_argument(
        '--against', nargs='+', default=[], metavar='CONFIG:CHECKPOINT',
        help='models to compare with, such as one trained without SEMEDALoss')
    parser.add_argument(
        '--edge-net', metavar='FILE',
        help='checkpoint of a SemanticEdgeDetector, or what SemanticEdgeNetHook wrote (default: '
        'what CONFIG was trained with)')
    parser.add_argument(
        '--images', type=int, default=8, help='images, evenly from the whole set (default: 8)')
    parser.add_argument(
        '--out-dir', help='folder of the pictures (default: work_dirs/NAME_OF_CONFIG/semeda)')
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error(f'--images must be at least 1, got {args.images}')
    args.models = [(args.config, args.checkpoint)]
    for pair in args.against:
        config, colon, checkpoint = pair.partition('.py:')  # a checkpoint may be a URL
        if not colon:
            parser.error(f'--against takes CONFIG.py:CHECKPOINT, got {pair}')
        args.models.append((config + '.py', checkpoint))
    if args.out_dir is None:
        args.out_dir = osp.join(launch.work_dir_of(args.config), 'semeda')
    return args


def model_names(models: Sequence[Tuple[str, str]]) -> List[str]:
    """Name models by what their configs do not share, and by checkpoints where that is nothing.

    Args:
        models (Sequence[tuple[str, str]]): Paths of config and checkpoint.

    Returns:
        list[str]: The names; one model needs none.
    """
    if len(models) == 1:
        return ['']
    configs = _differences([_stem(config).split('_') for config, _ in models], '_')
    if len(set(configs)) == len(models):
        return configs
    checkpoints = _differences(
        [osp.splitext(checkpoint)[0].split('/') for _, checkpoint in models], '/')
    if len(set(configs)) == 1:
        return checkpoints
    return [f'{config} {checkpoint}' for config, checkpoint in zip(configs, checkpoints)]


def load_model(config: str, checkpoint: str, name: str, cfg_options: Optional[dict]) -> Model:
    """Build a segmentor and its data set, and load its weights.

    Args:
        config (str): Path of the config.
        checkpoint (str): Path or URL of the checkpoint.
        name (str): What the pictures call it.
        cfg_options (dict, optional): Entries of the config to replace.

    Returns:
        Model: Ready to predict.
    """
    cfg = launch.read_config(config, cfg_options)
    dataset = launch.dataset_of(cfg, 'val')
    network, content = launch.load_segmentor(cfg, checkpoint)
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if
             hook['type'] == 'SemanticEdgeNetHook'] or [dict(type='SemanticEdgeNetHook')]
    return Model(name, network, DATASETS.build(dataset),
                 osp.join(osp.dirname(checkpoint), HOOKS.build(hooks[0]).filename),
                 content.get(KEY, {}))


def find_edge_net(model: Model, path: Optional[str]) -> Optional[SemanticEdgeNet]:
    """Read the edge network from the given file, or find the network of the model's loss.

    Args:
        model (Model): The model.
        path (str, optional): Checkpoint that holds an edge network. Defaults to None: the file in
            the loss's ``init_cfg``, else the network in the model's checkpoint, else the file that
            ``SemanticEdgeNetHook`` wrote.

    Returns:
        SemanticEdgeNet or None: The network; None, with a message, if it is not found.
    """
    losses = [loss for loss, _ in semeda_losses_of(model.network)]
    if path is None:
        if not losses:
            print('There will be no embeddings: the model has no SEMEDALoss; give an edge network '
                  'with --edge-net.')
            return None
        losses[0].init_weights()
        if losses[0].is_ready:
            return losses[0].edge_net
        for content in model.edge_nets.values():
            losses[0].edge_net.read(content, 'the checkpoint')
            return losses[0].edge_net
        path = model.edge_net_file
        if not osp.isfile(path):
            print(f'There will be no embeddings: the edge network of the training, {path}, does '
                  'not exist; give one with --edge-net.')
            return None
    if losses:
        edge_net = losses[0].edge_net
    else:
        edge_net = SemanticEdgeNet(
            len(model.dataset.metainfo['classes']), class_agnostic=_is_class_agnostic(path))
    edge_net.load(path)
    return edge_net.to(get_device())


def predict(model: Model, index: int) -> Tuple[np.ndarray, SegDataSample, Tensor]:
    """Predict an image of the model's data set.

    Args:
        model (Model): The model.
        index (int): Number of the image.

    Returns:
        tuple: The RGB image as the network gets it (h, w, 3), the data sample with the prediction,
        and the probabilities (C, H, W) at the size of the original image.
    """
    item = model.dataset[index]
    if 'gt_sem_seg' not in item['data_samples']:
        sys.exit('error: the pipeline of val_dataloader gives no ground truth: it needs '
                 'LoadAnnotations before PackSegInputs')
    image = np.ascontiguousarray(item['inputs'].numpy()[::-1].transpose(1, 2, 0))
    with torch.no_grad():
        sample = model.network.test_step(pseudo_collate([item]))[0]
    return image, sample, sample.seg_logits.data.float().softmax(dim=0)


def draw_image(models: Sequence[Model], edge_net: Optional[SemanticEdgeNet], index: int,
               out_dir: str) -> None:
    """Write the pictures of an image.

    Args:
        models (Sequence[Model]): The models; the embeddings are of the first.
        edge_net (SemanticEdgeNet, optional): The edge network.
        index (int): Number of the image.
        out_dir (str): Folder of the pictures.
    """
    outputs = [predict(model, index) for model in models]
    image, sample, probabilities = outputs[0]
    name = _stem(sample.img_path)
    for model, (_, other, _) in zip(models, outputs):
        if _stem(other.img_path) != name:
            sys.exit(f'error: image {index} of {model.name} is {_stem(other.img_path)}, not '
                     f'{name}: compare models on the same val_dataloader')
    meta = models[0].dataset.metainfo
    colours = meta['palette'], meta['classes']
    sheet = draw_entropy_sheet(
        image, sample.gt_sem_seg.data[0].cpu().numpy(),
        [(model.name, output[2]) for model, output in zip(models, outputs)], *colours)
    mmcv.imwrite(sheet[..., ::-1], osp.join(out_dir, f'{name}_entropy.png'))
    if edge_net is not None:
        with torch.no_grad():
            layers = [layer[0] for layer in edge_net(probabilities[None])[:2]]
        sheet = draw_embedding_sheet(
            image, probabilities.argmax(dim=0).cpu().numpy(), layers, *colours)
        mmcv.imwrite(sheet[..., ::-1], osp.join(out_dir, f'{name}_embeddings.png'))


def main(argv: Optional[List[str]] = None) -> None:
    """Draw the pictures.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    with launch.errors_as_sentences():
        models = [load_model(*paths, name, args.cfg_options)
                  for paths, name in zip(args.models, model_names(args.models))]
        dataset = models[0].dataset
        edge_net = find_edge_net(models[0], args.edge_net)
        number = min(args.images, len(dataset))
        for index in np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist():
            draw_image(models, edge_net, index, args.out_dir)
    print(f'{number} of {len(dataset)} images in {args.out_dir}')


def _is_class_agnostic(path: str) -> bool:
    """Whether a file holds such an edge network; a missing one is refused when it is loaded."""
    if not osp.isfile(path):
        return False
    content = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    return any(name.endswith(FLAG) for name in content.get('state_dict', content))


def _stem(path: str) -> str:
    return osp.splitext(osp.basename(path))[0]


def _differences(names: List[List[str]], separator: str) -> List[str]:
    """Names without the parts that all begin and end with; at least one part stays."""
    for at in (0, -1):
        while min(map(len, names)) > 1 and len({parts[at] for parts in names}) == 1:
            for parts in names:
                del parts[at]
    return [separator.join(parts) for parts in names]


if __name__ == '__main__':
    main()
