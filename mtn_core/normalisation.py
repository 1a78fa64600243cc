"""Mean and deviation that a network's input is normalised with, on device and host alike."""

# Of ImageNet's RGB values in 0..1, as torchvision's weights expect them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# Heatmaps and segments get the averages of these three, as PAMTRI's code has it.
MAP_MEAN = 0.449
MAP_STD = 0.226
