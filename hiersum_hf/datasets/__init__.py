"""One reader for each data set of the field; every reader yields `hiersum_hf.records.VideoRecord`."""
