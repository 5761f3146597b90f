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
    launch.add_run_arguments(parser)
    args = parser.parse_args()

    with launch.errors_as_sentences():
        cfg = launch.load_config(args)
        cfg.resume = args.resume
        if args.amp:
            launch.enable_amp(cfg)
        launch.build_runner(cfg).train()


if __name__ == '__main__':
    main()
