"""Other people's data sets, brought into the VeRi layout."""
