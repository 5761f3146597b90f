"""Train a segmentor: ``python tools/train.py CONFIG [options]``."""
import argparse
import sys

try:
    from mmseg_ext.engine import launch  # registers the plugins and checks the environment
except ImportError as error:
    if error.name != 'mmseg_ext':
        raise
    sys.exit(f'error: {error}')


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description='Train a segmentor.')
    launch.add_config_arguments(parser)
    parser.add_argument('--resume', action='store_true',
                        help='go on from the latest checkpoint in the work folder, if any')
    parser.add_argument('--amp', action='store_true', help='use automatic mixed precision')
    parser.add_argument('--seed', type=int,
                        help='random seed; the run gets the folder seed... of its own in the work '
                        "folder, and '{seed}' in load_from becomes the number")
    launch.add_run_arguments(parser)
    args = parser.parse_args()

    with launch.errors_as_sentences():
        cfg = launch.load_config(args)
        if args.seed is not None:
            launch.set_seed(cfg, args.seed)
        launch.set_resume(cfg, args.resume)
        if args.amp:
            launch.enable_amp(cfg)
        launch.build_runner(cfg).train()


if __name__ == '__main__':
    main()
