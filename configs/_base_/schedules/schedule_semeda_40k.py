# SEMEDA paper, Sec. 3.4: learning rate 5e-4. Ours: DeepLab's optimizer and decay, and 40,000
# iterations; the paper does not state them.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=40000, by_epoch=False)]
