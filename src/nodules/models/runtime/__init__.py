"""Keras code shared by all networks: devices, precision, normalisation, epochs and seeds."""
