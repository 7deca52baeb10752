"""Data sets: the embedded digits, MNIST, CIFAR-10 and folders of images, as uint8 tensors on the device."""

from core.data.sets import DATASETS, DataError, Dataset, DatasetInfo, Split, load, normalise

__all__ = ["DATASETS", "DataError", "Dataset", "DatasetInfo", "Split", "load", "normalise"]
