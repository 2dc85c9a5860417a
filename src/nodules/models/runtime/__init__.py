"""What every network needs: devices, precision, normalisation, epochs, seeds."""
