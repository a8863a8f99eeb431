"""flyscan: fly scans that can be paused, resumed and steered from their own data."""
