"""What `pip install` gets: the package, its typing marker, the configurations, and the parts of its pages."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_holds_the_command_every_config_and_the_page(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"videonl/configs/{path.relative_to(ROOT / 'configs')}" for path in (ROOT / "configs").rglob("*.yaml")}
    assert len(configs) > 10
    templates = {f"videonl/evaluation/templates/{name}" for name in ("evaluation.html", "comparison.html", "style.css")}
    explorer = Path("videonl/visualization/explorer")
    page = {
        f"{explorer}/{path.name}" for path in (ROOT / explorer).iterdir() if path.suffix in (".html", ".css", ".js")
    }
    assert len(page) > 5
    assert configs | templates | page | {"videonl/cli/main.py", "videonl/py.typed"} <= names
    assert any(name.endswith("entry_points.txt") for name in names)
