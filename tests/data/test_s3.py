"""Training from S3, spoken by a server on this machine."""

from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.data.datamodule import ClipDataModule
from videonl.data.indexing.examine import make_index
from videonl.data.loader import Loading
from videonl.data.preparing.shards import write_shards
from videonl.data.sources.labeled import read_source
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError


@pytest.fixture(scope="module")
def shards(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    make_index(read_source(str(video_folder)), folder / "index.parquet", "packets")
    write_shards(folder / "index.parquet", folder / "shards", shard_bytes=9000)
    return folder / "shards"


@pytest.fixture
def bucket(storage: Any, shards: Path) -> str:
    """The shards in a bucket, whose credentials are in the environment."""
    storage.put(f"{shards}/", "clips/shards", recursive=True)
    return "s3://clips/shards"


def batches(source: str, num_workers: int, **options: Any) -> list[dict[str, Any]]:
    loading = Loading(batch_size=3, num_workers=num_workers, **options)
    data = ClipDataModule(train=source, clip=ClipFormat(num_frames=3, short_side_px=29, crop_px=23), loading=loading)
    return list(data.train_dataloader())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_clips_are_those_from_disk(shards: Path, bucket: str, num_workers: int, tmp_path: Path) -> None:
    local = batches(str(shards), 0)
    for _ in range(2):
        remote = batches(bucket, num_workers, cache_gb=1.0, cache_folder=str(tmp_path / "kept"))
        assert not any(batch["failures"] for batch in remote)
        assert all(torch.equal(a["clip"], b["clip"]) for a, b in zip(local, remote, strict=True))
    assert len(list((tmp_path / "kept").iterdir())) == 6


def test_missing_credentials_are_named(endpoint: str) -> None:
    with pytest.raises(
        UserError, match=r"s3://clips/shards/index\.parquet: cannot be read \(Unable to locate credentials; "
    ):
        batches("s3://clips/shards", 0)


def test_what_is_not_in_the_bucket_is_named(bucket: str) -> None:
    with pytest.raises(UserError, match=r"s3://clips/none: no class folders in it"):
        batches("s3://clips/none", 0)
