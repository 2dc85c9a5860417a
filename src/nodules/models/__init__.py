"""Floor 2: what learns; the only floor that knows keras, scikit-learn, xgboost and optuna."""

import os

# TensorFlow reads these when it is first imported, which only modules of this package do.
# Its notes on missing GPUs would bury our own messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Where several worker processes share the cores, each has been given its number of threads by this variable;
# TensorFlow's own thread pools do not know it.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ["OMP_NUM_THREADS"])
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", os.environ["OMP_NUM_THREADS"])
