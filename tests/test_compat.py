import builtins
import collections
import contextlib
import copy
import importlib
import importlib.util
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import types
from importlib import metadata

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmseg_ext import compat


class Environment:
    """Pretends that other packages are installed."""

    def __init__(self, monkeypatch):
        self.versions = dict(torch='2.1.0', mmengine='0.10.7', mmcv='2.1.0',
                             mmsegmentation='1.2.2')
        self.missing = set()
        self.failing_import = None
        monkeypatch.setattr(importlib.util, 'find_spec',
                            lambda name: None if name in self.missing else object())
        monkeypatch.setattr(metadata, 'version', self.version)
        monkeypatch.setattr(importlib, 'import_module', self.import_module)

    def version(self, name):
        if name not in self.versions:
            raise metadata.PackageNotFoundError(name)
        return self.versions[name]

    def import_module(self, name):
        if name == 'mmcv._ext' and self.failing_import is not None:
            raise self.failing_import


@pytest.fixture
def environment(monkeypatch):
    return Environment(monkeypatch)


@pytest.mark.parametrize('version', ['2.0.0rc4', '2.1.0', '2.1.0+cu118'])
def test_environment_of_mmseg_1_passes(environment, version):
    environment.versions['mmcv'] = version
    compat.check_environment()


def test_source_folder_without_version_passes(environment):
    del environment.versions['mmcv']
    compat.check_environment()


@pytest.mark.parametrize('name, command', [
    ('torch', "pip install 'torch>=2.1'"),
    ('mmengine', "pip install 'mmengine>=0.5.0,<1.0.0'"),
    ('mmcv', 'pip install --no-build-isolation .* mmcv'),
    ('mmseg', "pip install 'mmsegmentation>=1.1.0,<2.0.0'"),
    ('ftfy', 'pip install ftfy regex'),
    ('regex', 'pip install ftfy regex'),
])
def test_missing_package_is_named_with_the_command_that_installs_it(environment, name, command):
    environment.missing.add(name)
    with pytest.raises(ImportError, match=f'{name}.*not installed: {command}') as info:
        compat.check_environment()
    assert '\n' not in str(info.value)
    assert info.value.name == 'mmseg_ext'  # how the tools know it from a genuine one


@pytest.mark.parametrize('name, version', [
    ('mmcv', '1.7.2'), ('mmcv', '2.0.0rc3'), ('mmcv', '2.2.0'), ('mmengine', '0.4.0'),
    ('mmengine', '1.0.0'), ('mmsegmentation', '0.30.0'), ('mmsegmentation', '1.0.0'),
    ('torch', '2.0.1'),
])
def test_version_outside_the_range_is_named(environment, name, version):
    environment.versions[name] = version
    with pytest.raises(ImportError, match=rf'needs {name}>=.* but {version} is installed'):
        compat.check_environment()


def test_mmcv_without_operators_is_named(environment):
    environment.failing_import = ModuleNotFoundError('no', name='mmcv._ext')
    with pytest.raises(ImportError, match='without its compiled operators.*--no-build-isolation'):
        compat.check_environment()


def test_operators_built_for_another_torch_are_named(environment):
    environment.failing_import = ImportError('_ext.so: undefined symbol: _ZN2at\nmore')
    with pytest.raises(ImportError, match=r'do not fit .* \(_ext.so: undefined symbol: _ZN2at\)'):
        compat.check_environment()


def test_error_of_another_import_is_not_renamed(environment):
    environment.failing_import = ModuleNotFoundError('no yapf', name='yapf')
    with pytest.raises(ModuleNotFoundError, match='no yapf'):
        compat.check_environment()


def test_configs_that_inherit_need_pkg_resources(environment):
    compat.check_config_inheritance()
    environment.missing.add('pkg_resources')
    with pytest.raises(ImportError, match=r"pip install 'setuptools<81'"):
        compat.check_config_inheritance()


def test_import_of_the_package_without_mmengine_is_one_sentence():
    code = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == 'mmengine' else find_spec(name)
import mmseg_ext
"""
    result = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith('ImportError: mmseg_ext needs mmengine>=')
    assert 'During handling' not in result.stderr


# ---------------------------------------------------------------------------------------------
# Checkpoints


class Tiny(BaseModel):

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(inputs).square().mean())


@pytest.mark.parametrize('by_epoch', [True, False])
def test_checkpoint_of_a_runner_loads_with_weights_only(tmp_path, by_epoch):
    loop = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=4)
    runner = Runner(
        Tiny(), str(tmp_path), DataLoader([dict(inputs=torch.rand(2))] * 8, batch_size=4),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=2),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=by_epoch),
            dict(type='CosineAnnealingLR', T_max=4, by_epoch=by_epoch)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=by_epoch),
                           logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')], randomness=dict(seed=0),
        experiment_name=f'compat_{by_epoch}')
    runner.message_hub.update_scalars(dict(a=np.float32(2), b=torch.tensor(3.), c=4))
    runner.message_hub.update_info('numbers', np.arange(3), resumed=True)
    runner.train()

    path = tmp_path / ('epoch_2.pth' if by_epoch else 'iter_4.pth')
    checkpoint = torch.load(path, weights_only=True)
    assert 'ema_state_dict' in checkpoint
    hub = checkpoint['message_hub']
    assert hub['log_scalars']['a'].mean() == 2
    assert len(hub['log_scalars']['train/loss'].data[0]) == 4
    np.testing.assert_array_equal(hub['runtime_info']['numbers'], [0, 1, 2])


def save_and_load(value, tmp_path, old=b'', new=b''):
    """Through a file, in which a name of a module may be replaced by another."""
    path = tmp_path / 'file.pth'
    torch.save(value, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return torch.load(path, weights_only=True)


NUMPY_MODULES = (b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n')


@pytest.mark.parametrize('module', NUMPY_MODULES)
@pytest.mark.parametrize('value', [
    np.arange(6.).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 3)),
    np.array([True, False]), np.array([1 + 2j]), np.arange(3, dtype='>i2'), np.uint8(7),
    np.float16(0.5), np.bool_(True), np.array(3.5),
], ids=repr)
def test_numbers_written_under_numpy_1_and_2_load(value, module, tmp_path):
    written = next(name for name in NUMPY_MODULES if name in pickle.dumps(value, 2))
    loaded = save_and_load(value, tmp_path, written, module)
    assert loaded.dtype == pickle.loads(pickle.dumps(value, 2)).dtype
    np.testing.assert_array_equal(loaded, value)
    assert np.isfortran(loaded) == np.isfortran(value)


def test_loaded_arrays_are_written_again_as_plain_arrays(tmp_path):
    # mmengine copies them on their way into the next checkpoint
    loaded = copy.deepcopy(save_and_load(np.arange(3.), tmp_path))
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        names = [argument for _, argument, _ in pickletools.genops(pickle.dumps(loaded, protocol))
                 if isinstance(argument, str)]
        assert names and not any('mmseg_ext' in name for name in names)


def test_loaded_history_goes_on(tmp_path):
    history = HistoryBuffer([1., 2.], [1, 1])
    loaded = save_and_load(history, tmp_path)
    loaded.update(6.)
    assert loaded.mean() == 3 and loaded.statistics('max') == 6 and loaded.current() == 6
    assert type(loaded) is HistoryBuffer


class Reduced:
    """Is pickled as a call of a function, and a state."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Makes pickle take it as a function."""


def float_type(*state):
    return Reduced(np.dtype, ('f8', False, True), state)


ADDRESS = struct.pack('<q', id(builtins))  # bytes that the attacks below turn into an object
FIELDS = {'a': (np.dtype('f4'), 0)}
EMPTY = Reduced(np.zeros(0).__reduce__()[0], (np.ndarray, (0, ), b'b'))


@pytest.mark.parametrize('attack', [
    Reduced(os.system, ('true', )),
    Reduced(eval, ('1', )),
    Reduced(exec, ('pass', )),
    Reduced(getattr, (Reduced(importlib.import_module, ('os', )), 'system')),
    Reduced(getattr, (HistoryBuffer, '__init__')),
    Reduced(getattr, (HistoryBuffer, '_set_default_statistics')),
    Reduced(getattr, (HistoryBuffer(), 'mean')),
    Reduced(getattr, (collections.OrderedDict, 'mean')),
    Reduced(Reduced(getattr, (HistoryBuffer.mean, '__globals__')), ()),
    # numpy: bytes of the file as pointers, of which any use runs code
    Reduced(np.ndarray, ((1, ), 'O', ADDRESS)),
    Reduced(np.ndarray, ((1, ), 'f8', ADDRESS)),
    Reduced(np.dtype, ('O8', False, True), (3, '|', None, None, None, -1, -1, 0)),
    np.array([None]),
    np.array([(1, 2)], 'i4,i4'),
    float_type(3, '<', None, ('a', ), FIELDS, -1, -1, 0),
    float_type(3, '<', (np.dtype('f4'), (2, )), None, None, -1, -1, 0),
    float_type(3, '<', None, None, None, -1, -1, 63),
    float_type(4, '<', None, None, None, -1, -1, 0, {}),
    Reduced(np.zeros(0).__reduce__()[0], (HistoryBuffer, (0, ), b'b')),
    Reduced(np.zeros(0).__reduce__()[0], (np.ndarray, (4, ), 'O')),
    Reduced(*EMPTY.reduced, (1, (1, ), 'O', False, ADDRESS)),
    Reduced(np.float64(1).__reduce__()[0], ('O', ADDRESS)),
    np.memmap,
    np.load,
])  # no ids of their own: an address in one differs between the processes of a test run
def test_pickle_that_runs_code_is_refused(attack, tmp_path):
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        save_and_load(attack, tmp_path)


def test_allowing_again_changes_nothing():
    before = set(torch.serialization.get_safe_globals())
    compat.allow_checkpoint_classes()
    assert set(torch.serialization.get_safe_globals()) == before
    allowed = [entry[0] if isinstance(entry, tuple) else entry for entry in before]
    assert HistoryBuffer in allowed
    assert not {getattr, np.ndarray, np.dtype}.intersection(allowed)


def test_older_torch_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1')
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', None)
    compat.allow_checkpoint_classes()


# ---------------------------------------------------------------------------------------------
# What torch calls otherwise in another version


def test_code_knows_that_it_is_compiled():

    def plus_one_if_compiled(x):
        return x + compat.is_compiling()

    compiled = torch.compile(plus_one_if_compiled, backend='eager', fullgraph=True)
    assert plus_one_if_compiled(torch.zeros(1)) == 0
    assert compiled(torch.zeros(1)) == 1


@pytest.fixture
def cudnn():
    """PyTorch's settings of cuDNN, put back afterwards."""
    cudnn = torch.backends.cudnn
    if not hasattr(cudnn, 'conv'):
        pytest.skip('before torch 2.9 there is one switch for TF32')
    before = cudnn.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    yield cudnn
    cudnn.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def assert_exact_for_a_while(switch, name, exact):
    before = getattr(switch, name)
    with pytest.raises(KeyError), compat.exact_convolutions():
        assert getattr(switch, name) in exact
        raise KeyError
    assert getattr(switch, name) == before


@pytest.mark.parametrize('allowed', [False, True])
def test_convolutions_are_exact_for_a_while_with_one_switch(allowed, monkeypatch):
    """As torch has it before 2.9."""
    monkeypatch.setattr(torch.backends, 'cudnn', types.SimpleNamespace(allow_tf32=allowed))
    assert_exact_for_a_while(torch.backends.cudnn, 'allow_tf32', [False])
    assert torch.backends.cudnn.allow_tf32 == allowed


@pytest.mark.parametrize('precision', ['tf32', 'ieee'])
@pytest.mark.parametrize('part', ['all', 'conv'])
def test_convolutions_are_exact_for_a_while_with_the_new_switch(cudnn, part, precision):
    cudnn.conv.fp32_precision = 'none'
    (cudnn if part == 'all' else cudnn.conv).fp32_precision = precision
    assert_exact_for_a_while(cudnn.conv, 'fp32_precision', ['ieee'])
    # the others were not touched
    assert cudnn.fp32_precision == (precision if part == 'all' else 'none')
    assert cudnn.rnn.fp32_precision == 'tf32'


@pytest.mark.parametrize('allowed', [False, True])
def test_the_old_switch_of_a_new_torch_can_be_read_afterwards(cudnn, allowed, monkeypatch):
    monkeypatch.setattr(cudnn, 'allow_tf32', allowed)
    assert_exact_for_a_while(cudnn.conv, 'fp32_precision', ['ieee', 'none'])
    assert cudnn.allow_tf32 == allowed


def test_autocast_is_switched_off_where_there_is_one(monkeypatch):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with compat.no_autocast('cpu'):
            assert not torch.is_autocast_enabled('cpu')
        assert torch.is_autocast_enabled('cpu')
    with compat.no_autocast('meta'):  # has none: torch.autocast('meta') raises
        pass


def test_macs_had_no_autocast_before_torch_could_be_asked(monkeypatch):
    monkeypatch.delattr(torch.amp, 'is_autocast_available', raising=False)
    assert isinstance(compat.no_autocast('mps'), contextlib.nullcontext)
    assert isinstance(compat.no_autocast('cpu'), torch.autocast)


@pytest.mark.parametrize('names', [('register_fake', 'impl_abstract'), ('impl_abstract', ), ()])
def test_a_size_that_depends_on_values_is_told_to_the_compilers_that_can_hear_it(
        names, monkeypatch):
    """Since torch 2.4 by register_fake, since 2.2 by impl_abstract; before, nothing is told."""
    told = []
    for name in ('register_fake', 'impl_abstract'):
        monkeypatch.delattr(torch.library, name, raising=False)
    for name in names:
        monkeypatch.setattr(torch.library, name, lambda *args, name=name, **kwargs: told.append(
            (name, args, kwargs)), raising=False)
    compat.register_dynamic_fake('library', 'mmseg_ext::op', len)
    assert told == [(name, ('mmseg_ext::op', len), dict(lib='library')) for name in names[:1]]
