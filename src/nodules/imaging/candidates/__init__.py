"""From a map of nodule probability to separate nodules in mm."""
