"""Labels, images, pose maps and the batches made of them."""
