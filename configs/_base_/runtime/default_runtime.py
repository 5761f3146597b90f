_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='CheckpointCompatibilityHook'), dict(type='SemanticEdgeNetHook')]
