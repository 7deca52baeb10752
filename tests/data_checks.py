"""What every data set promises, for the tests of all of them."""

import torch

from core.data import Dataset, Split


def splits(dataset: Dataset) -> tuple[Split, Split, Split]:
    return dataset.train, dataset.validation, dataset.test


def check_contract(dataset: Dataset) -> None:
    """What every data set promises."""
    for split in splits(dataset):
        assert split.x.dtype == torch.uint8
        assert split.y.dtype == torch.int64
        assert split.x.shape == (len(split), *dataset.shape)
        assert split.x.is_contiguous()
        assert len(split) > 0
        assert 0 <= split.y.min() <= split.y.max() < len(dataset.classes)
    whole = len(dataset.train) + len(dataset.validation)
    assert len(dataset.validation) == max(1, round(0.05 * whole))
    values = dataset.train.x.double() / 255
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(dataset.mean).double(), mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(torch.tensor(dataset.std).double(), torch.where(std > 0, std, 1.0), rtol=1e-5, atol=1e-7)
    normal = dataset.normalise(dataset.train.x[:5])
    expected = (values[:5] - mean.view(-1, 1, 1)) / torch.where(std > 0, std, 1.0).view(-1, 1, 1)
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.double(), expected, rtol=1e-5, atol=1e-5)


def rows(split: Split) -> list[tuple[bytes, int]]:
    return sorted((x.numpy().tobytes(), int(y)) for x, y in zip(split.x, split.y, strict=True))
