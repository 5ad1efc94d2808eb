"""TensorRT plans (serialized engines): built from artifacts, cached, checked before they are used.

Only module.py imports the `tensorrt` package. All other modules receive it as an argument and look
at its features, so one code base supports TensorRT 8.6, 10 and 11.
"""
