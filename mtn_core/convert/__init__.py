"""Other people's weights: names, reading, mapping, proof."""
