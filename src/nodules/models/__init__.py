"""Floor 2: what learns; the only floor that knows keras, scikit-learn, xgboost and optuna."""

import os
import sys

# TensorFlow reads these when it is first imported, which only modules of this package do.
# Its notes on missing GPUs would bury our own messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where several worker processes share the cores, each has been given its number of threads by this variable;
# TensorFlow's own thread pools do not know it.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["OMP_NUM_THREADS"])
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", os.environ["OMP_NUM_THREADS"])
# When it is first imported, Keras reads keras.json in the folder KERAS_HOME. A user's file may set another backend,
# precision or axis order. `os.devnull` is not a folder, so no file is found. KERAS_BACKEND still chooses the backend.
os.environ["KERAS_HOME"] = os.devnull
if "keras" in sys.modules:  # it was imported before this package, and has read the user's file
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
