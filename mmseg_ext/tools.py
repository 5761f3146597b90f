"""The commands of this package, as they run in the folder where a process was started."""
import os
import shlex

# An editable install has links here, to the folders of the checkout; a wheel has copies.
MIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), '.mim')


def tool_command(name: str, *arguments: str) -> str:
    """Write the command that runs a tool, for a message.

    Args:
        name (str): File of the tool below ``tools``, such as ``'train.py'``.
        *arguments (str): What follows. A path that begins with ``configs/`` is found as the tool
            is.

    Returns:
        str: ``python tools/train.py ...`` in a checkout of this package, else with the path of the
        installed file. A shell script needs no ``python``.
    """
    words = [_path_from_here(f'tools/{name}')]
    words += [_path_from_here(word) if word.startswith('configs/') else word for word in arguments]
    if name.endswith('.py'):
        words.insert(0, 'python')
    return ' '.join(map(shlex.quote, words))


def _path_from_here(path: str) -> str:
    folder, _, rest = path.partition('/')
    installed = os.path.join(MIM, folder)
    is_checkout = os.path.isdir(folder) and os.path.exists(installed) and os.path.samefile(
        folder, installed)
    # Without .mim the package was not installed: it was imported from a checkout.
    if is_checkout or not os.path.isdir(installed):
        return path
    return os.path.join(os.path.realpath(installed), *rest.split('/'))
