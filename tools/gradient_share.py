"""Where the gradient of each loss lies: on the hardest pixels, on wrong ones, on which classes.

    python tools/gradient_share.py CONFIG CHECKPOINT [CHECKPOINT ...]

Bootstrapping leaves out all but the hardest pixels. Where the hardest 10 % already carry nearly all
of the gradient, that changes little. A second loss whose gradient lies on pixels that are right
already does not mend the wrong ones.

The gradient of a pixel is the L1 norm of the loss's gradient with respect to its logits; for the
cross entropy, 2 (1 - p) / N with the probability p of the true class. The hardest pixels are those
with the smallest p in all batches together. Ignored pixels are left out. Weights of a sampler are
not applied. The images come as they do in training, the network predicts as in a test. A checkpoint
need not have been trained with the losses of the config.
"""
import argparse
import sys
from itertools import islice
from typing import Dict, List, NamedTuple, Optional, Sequence

import torch
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from mmseg_ext.engine import launch
from mmseg_ext.engine.hooks.semantic_edge_net_hook import semeda_losses_of
from mmseg_ext.runs.tables import text_table


class Pixels(NamedTuple):
    """The labelled pixels of some batches.

    Attributes:
        classes (Sequence[str]): Names of the classes.
        labels (Tensor): Class of each, (N,).
        probabilities (Tensor): p of that class, (N,).
        wrong (Tensor): Whether another class is predicted, (N,), bool.
        gradients (dict[str, Tensor]): For each loss, and for their sum where there are several, the
            L1 norms of the gradient, (N,).
    """
    classes: Sequence[str]
    labels: Tensor
    probabilities: Tensor
    wrong: Tensor
    gradients: Dict[str, Tensor]


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    parser.add_argument('checkpoints', nargs='+', help='checkpoints of its network')
    parser.add_argument(
        '--batches', type=int, default=5, help='training batches to look at (default: 5)')
    parser.add_argument(
        '--percent', type=float, nargs='+', default=[10, 20, 40],
        help='how many of the pixels (default: 10 20 40)')
    args = parser.parse_args(argv)
    if args.batches < 1:
        parser.error(f'--batches must be at least 1, got {args.batches}')
    if not all(0 < percent <= 100 for percent in args.percent):
        parser.error(f'--percent must be above 0 and at most 100, got {args.percent}')
    return args


def read_edge_nets(network: nn.Module) -> None:
    """Give the ``SEMEDALoss`` of a segmentor the edge networks that they name.

    Args:
        network (nn.Module): A segmentor.
    """
    for loss, _ in semeda_losses_of(network):
        loss.init_weights()
        if not loss.is_ready:
            sys.exit('error: SEMEDALoss has no edge network; name its file in the loss: '
                     "init_cfg=dict(type='Pretrained', checkpoint=FILE)")


def loss_gradients(head: nn.Module, logits: Tensor, labels: Tensor) -> Dict[str, Tensor]:
    """Differentiate each loss of a head with respect to the logits.

    Args:
        head (nn.Module): With ``loss_decode`` and ``ignore_index``.
        logits (Tensor): (N, C, H, W).
        labels (Tensor): (N, H, W).

    Returns:
        dict[str, Tensor]: For each loss, and for their sum where there are several, the L1 norm at
        each pixel, (N, H, W).
    """
    losses = head.loss_decode
    gradients: Dict[str, Tensor] = {}
    for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf, labels, ignore_index=head.ignore_index)
        gradient, = torch.autograd.grad(value, leaf)
        gradients[loss.loss_name] = gradients.get(loss.loss_name, 0) + gradient
    if len(gradients) > 1:
        gradients['sum'] = torch.stack(list(gradients.values())).sum(dim=0)
    return {name: gradient.abs().sum(dim=1) for name, gradient in gradients.items()}


def look_at(network: nn.Module, cfg: Config, num_batches: int) -> Pixels:
    """Predict batches of the training images, the same for every network.

    Args:
        network (nn.Module): A segmentor.
        cfg (Config): Its config.
        num_batches (int): How many.

    Returns:
        Pixels: The labelled ones.
    """
    heads = network.decode_head
    head = heads[-1] if isinstance(heads, nn.ModuleList) else heads
    if head.out_channels == 1:
        sys.exit('error: the head has one logit for each pixel; it needs one for each class')
    set_random_seed(0)
    loader = Runner.build_dataloader(
        dict(cfg.train_dataloader, num_workers=0, persistent_workers=False), seed=0)
    found: List[Dict[str, Tensor]] = []
    for batch in islice(loader, num_batches):
        data = network.data_preprocessor(batch, training=True)
        samples = data['data_samples']
        size = data['inputs'].shape[2:]  # with the padding; mmseg would cut it off
        metas = [dict(one.metainfo, img_shape=size, pad_shape=size) for one in samples]
        with torch.no_grad():
            logits = network.encode_decode(data['inputs'], metas)
        logits = logits[:, -head.out_channels:]  # the last of the stages of a stagewise head
        labels = torch.stack([one.gt_sem_seg.data[0] for one in samples]).long()
        # mmseg numbers the classes from 0; above are ignored labels
        valid = (labels >= 0) & (labels < logits.shape[1])
        index = labels.where(valid, labels.new_zeros(()))[:, None]
        maps = dict(
            labels=labels,
            probabilities=logits.float().softmax(dim=1).gather(1, index)[:, 0],
            wrong=logits.argmax(dim=1) != labels,
            **loss_gradients(head, logits, labels))
        found.append({name: values[valid].cpu() for name, values in maps.items()})
    pixels = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    if not len(pixels['labels']):
        sys.exit(f'error: {num_batches} training batches have no labelled pixel; see --batches')
    labels, probabilities, wrong = map(pixels.pop, ('labels', 'probabilities', 'wrong'))
    return Pixels(loader.dataset.metainfo['classes'], labels, probabilities, wrong, pixels)


def share_table(pixels: Pixels, percents: Sequence[float]) -> str:
    """Write what groups of pixels have of all pixels and of the gradient of each loss.

    Args:
        pixels (Pixels): The pixels.
        percents (Sequence[float]): How many of the hardest, in per cent, rounded up.

    Returns:
        str: A line for each group: the hardest, the wrong ones, each class.
    """
    order = pixels.probabilities.argsort()
    count = len(order)
    groups = {f'hardest {percent:g} %': order[:-int(-percent * count // 100)]
              for percent in percents}
    groups['wrong'] = pixels.wrong
    groups.update((name, pixels.labels == label) for label, name in enumerate(pixels.classes))
    columns = dict(pixels=torch.ones(count), **pixels.gradients)
    return text_table(
        ['per cent of', *columns],
        [[group, *(f'{100 * values.double()[chosen].sum() / values.double().sum():.1f}'
                   for values in columns.values())] for group, chosen in groups.items()])


def main(argv: Optional[List[str]] = None) -> None:
    """Print a table for each checkpoint.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    with launch.errors_as_sentences():
        cfg = launch.read_config(args.config, args.cfg_options)
        launch.dataset_of(cfg, 'train')
        for checkpoint in args.checkpoints:
            network, _ = launch.load_segmentor(cfg, checkpoint)
            read_edge_nets(network)
            pixels = look_at(network, cfg, args.batches)
            print(f'{checkpoint}\n{share_table(pixels, args.percent)}\n')


if __name__ == '__main__':
    main()
