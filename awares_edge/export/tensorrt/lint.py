def require_clean(model, version, *, rtx): pass
