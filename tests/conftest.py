import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmseg_scope():
    """Names mean what they mean in a config of mmseg, as when the Runner builds them.

    Without a scope 'LoadAnnotations' is mmcv's. What a test sets ends with it.
    """
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
