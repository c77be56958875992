"""What a wheel must be: of one platform, for all versions of Python, small. By ``make package``."""

import sys
import zipfile
from pathlib import Path

_MOST_BYTES = 3_000_000


def check_wheel(path: Path) -> None:
    """Checks a wheel's name, size and libraries."""
    python, abi, platform = path.stem.split("-")[-3:]
    assert (python, abi) == ("py3", "none") and platform != "any", path.name
    libraries = [name for name in zipfile.ZipFile(path).namelist() if name.endswith(".so")]
    assert libraries and path.stat().st_size < _MOST_BYTES, (libraries, path.stat().st_size)
    print(f"{path.name}: {path.stat().st_size:,} bytes, with {', '.join(libraries)}")


if __name__ == "__main__":
    check_wheel(Path(sys.argv[1]))
