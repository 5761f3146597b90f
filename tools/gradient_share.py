"""How much of the cross entropy's gradient the hardest pixels of the training images carry.

    python tools/gradient_share.py CONFIG CHECKPOINT [CHECKPOINT ...]

Bootstrapping leaves out the other pixels. Where the hardest 10 % already carry nearly all of the
gradient, that changes little; where they carry 10 %, it changes nearly everything. The gradient of
a pixel is its L1 norm with respect to the logits, 2 (1 - p) for the probability p of the true
class. The hardest pixels are those with the smallest p in all batches together. Ignored pixels are
left out. The images come as they do in training, the network predicts as in a test.
"""
import argparse
import sys
from itertools import islice
from typing import List, Optional, Sequence

import torch
from mmengine.config import Config
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from mmseg_ext.engine import launch
from mmseg_ext.runs.tables import text_table


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
    parser.add_argument('checkpoints', nargs='+', help='checkpoints that were trained with it')
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


def true_class_probabilities(network: nn.Module, cfg: Config, num_batches: int) -> Tensor:
    """Predict batches of the training images, the same for every network.

    Args:
        network (nn.Module): A segmentor.
        cfg (Config): Its config.
        num_batches (int): How many.

    Returns:
        Tensor: p of the true class for each labelled pixel, (N,).
    """
    set_random_seed(0)
    loader = Runner.build_dataloader(
        dict(cfg.train_dataloader, num_workers=0, persistent_workers=False), seed=0)
    found = []
    for batch in islice(loader, num_batches):
        data = network.data_preprocessor(batch, training=True)
        samples = data['data_samples']
        with torch.no_grad():
            logits = network.encode_decode(data['inputs'], [one.metainfo for one in samples])
        labels = torch.stack([one.gt_sem_seg.data[0] for one in samples])
        # mmseg numbers the classes from 0; above are ignored labels
        valid = (labels >= 0) & (labels < logits.shape[1])
        index = labels.where(valid, labels.new_zeros(()))[:, None].long()
        found.append(logits.float().softmax(dim=1).gather(1, index)[:, 0][valid].cpu())
    probabilities = torch.cat(found)
    if not len(probabilities):
        sys.exit(f'error: {num_batches} training batches have no labelled pixel; see --batches')
    return probabilities


def gradient_shares(probabilities: Tensor, percents: Sequence[float]) -> List[float]:
    """Share of the gradient that the hardest pixels carry.

    Args:
        probabilities (Tensor): p of the true class, (N,).
        percents (Sequence[float]): How many pixels, in per cent of N, rounded up.

    Returns:
        list[float]: For each of them the share, in per cent.
    """
    gradient = (1 - probabilities.double()).sort(descending=True).values.cumsum(0)
    counts = [-int(-percent * len(gradient) // 100) for percent in percents]
    return [100 * (gradient[count - 1] / gradient[-1]).item() for count in counts]


def main(argv: Optional[List[str]] = None) -> None:
    """Print the table.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    rows = []
    with launch.errors_as_sentences():
        cfg = launch.read_config(args.config, args.cfg_options)
        launch.dataset_of(cfg, 'train')
        for checkpoint in args.checkpoints:
            network, _ = launch.load_segmentor(cfg, checkpoint)
            probabilities = true_class_probabilities(network, cfg, args.batches)
            shares = gradient_shares(probabilities, args.percent)
            rows.append([checkpoint, *(f'{share:.0f} %' for share in shares)])
    print('share of the gradient that the hardest pixels carry:')
    print(text_table(['checkpoint', *(f'{percent:g} %' for percent in args.percent)], rows))


if __name__ == '__main__':
    main()
