"""Floor 2: networks and classifiers, from training to prediction.

Importing this package prepares the environment for TensorFlow and Keras, because they read their settings when they are
first imported. No other package configures anything on import.
"""

import os
import sys

# TensorFlow logs a lot about missing GPUs, which would hide this package's own messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where worker processes share the cores, this variable gives each its number of threads. TensorFlow's own thread pools
# ignore it and need variables of their own.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["OMP_NUM_THREADS"])
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", os.environ["OMP_NUM_THREADS"])
# Keras reads keras.json in the folder KERAS_HOME. A user's file may set another backend, precision or axis order.
# `os.devnull` is not a folder, so Keras finds no file. KERAS_BACKEND still chooses the backend.
os.environ["KERAS_HOME"] = os.devnull
if "keras" in sys.modules:  # Keras was imported before this package and has read the user's file
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
