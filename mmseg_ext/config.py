"""Where the configs of this package are."""
import difflib
import os

# An editable install has links here, to the folders of the checkout.
CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '.mim', 'configs')


def config_path(name: str = '') -> str:
    """Find a config of this package, from another project's config.

    mmengine evaluates what stands right of ``_base_ =``, and imports what ``custom_imports`` names
    only after it has read the bases. So a config inherits one of ours, with any tool that reads it
    by ``Config.fromfile``, by the line

        _base_ = __import__('mmseg_ext').config_path('lrn/lrn_vgg16bn_1xb10-80k_camvid-360x480.py')

    Args:
        name (str): Path of the config below ``configs``; empty for that folder.

    Returns:
        str: Absolute path of the file.

    Raises:
        FileNotFoundError: There is no such config, or the package was not installed by pip.
    """
    path = os.path.join(CONFIGS, *name.split('/'))
    if os.path.exists(path):
        return path
    if not os.path.isdir(CONFIGS):
        raise FileNotFoundError(f'the configs of mmseg_ext are not in {CONFIGS}; install the '
                                'package: pip install --no-build-isolation -e .')
    names = [os.path.relpath(os.path.join(folder, file), CONFIGS).replace(os.sep, '/')
             for folder, _, files in os.walk(CONFIGS) for file in files if file.endswith('.py')]
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    raise FileNotFoundError(f"mmseg_ext has no config '{name}'; similar: {', '.join(similar)}; all "
                            f'are in {CONFIGS}')
