# For training on CPU cores, where depthwise convolutions are faster in this memory format.
_base_ = './default_runtime.py'
custom_hooks = _base_.custom_hooks + [dict(type='ChannelsLastHook')]
