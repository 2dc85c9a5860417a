"""From a map of nodule probability to separate nodules in millimetres: proposals, outlines, shape."""
