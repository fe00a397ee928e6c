"""What tests of several folders make: videos, records, networks, files of data sets."""
