"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT [options]``."""
import argparse
import sys

try:
    from mmseg_ext.engine import launch  # registers the plugins and checks the environment
except ImportError as error:
    if error.name != 'mmseg_ext':
        raise
    sys.exit(f'error: {error}')


def main() -> None:
    """Read the command line and test."""
    parser = argparse.ArgumentParser(description='Test and evaluate a checkpoint.')
    launch.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='path or URL of the checkpoint')
    parser.add_argument('--out', help='folder to write the predicted label maps to')
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', help='folder to draw predictions to; the interval of the '
                        'visualization hook says how many')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds that a window of --show stays (default: %(default)s)')
    parser.add_argument('--tta', action='store_true', help='use test-time augmentation')
    launch.add_run_arguments(parser)
    args = parser.parse_args()

    with launch.errors_as_sentences():
        cfg = launch.load_config(args)
        cfg.load_from = args.checkpoint
        cfg.resume = False  # a config may set it for its training
        if args.show or args.show_dir:
            launch.enable_drawing(cfg, args.show, args.show_dir, args.wait_time)
        if args.tta:
            launch.enable_tta(cfg)
        if args.out:
            launch.write_predictions(cfg, args.out)
        launch.build_runner(cfg).test()


if __name__ == '__main__':
    main()
