"""What self-contained pages share: how one is put together, and how arrays travel inside."""
