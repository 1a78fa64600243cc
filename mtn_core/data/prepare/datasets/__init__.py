"""Official downloads of vehicle data sets, each read into one table of images."""
