"""TensorRT plans: built from artifacts, kept in a cache, checked before they are used.

The `tensorrt` package is imported in module.py alone; all else is handed the module, so that one
code base serves 8.6, 10 and 11 by what each of them has.
"""
