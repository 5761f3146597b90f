from .free_form_roi_pool import FreeFormRoIPool

__all__ = ['FreeFormRoIPool']
