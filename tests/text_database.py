"""Small text databases for tests, written in the format of the published one."""

from __future__ import annotations

from pathlib import Path

GRID_MASSES = [(200.0, 0.0), (200.0, 100.0), (400.0, 0.0), (400.0, 100.0), (400.0, 300.0), (600.0, 0.0), (600.0, 300.0)]


def mass_rows(values: list[str], masses: list[tuple[float, float]] = GRID_MASSES) -> str:
    """Rows of two equal branches, mother and daughter mass [GeV], each with its value."""
    rows = [f"[[[{m}*GeV,{d}*GeV],[{m}*GeV,{d}*GeV]],{value}]" for (m, d), value in zip(masses, values, strict=True)]
    return "[" + ",\n".join(rows) + "]"


class TextDatabase:
    """Writes results into a folder.

    Args:
        root: folder of the database; made if absent.
    """

    def __init__(self, root: Path, version: str = "3.0.0") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "version").write_text(version + "\n")

    def result(self, folder: str, *extra: str, analysis_id: str | None = None) -> Path:
        """Writes globalInfo.txt of a result."""
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        name = analysis_id or path.name.removesuffix("-eff")
        sqrts = folder.split("/")[0].removesuffix("TeV")
        (path / "globalInfo.txt").write_text("\n".join([f"id: {name}", f"sqrts: {sqrts}*TeV", "lumi: 137./fb", *extra, ""]))
        return path

    def limits(self, result: Path, txname: str = "T2tt", constraint: str = "[[['t']],[['t']]]", **tags: str) -> Path:
        """Writes an upper-limit data set with one map; `tags` replace or add tags."""
        data = result / "data"
        data.mkdir(exist_ok=True)
        (data / "dataInfo.txt").write_text("dataType: upperLimit\ndataId: None\n")
        values = {"upperLimits": mass_rows([f"{k + 1}.5*fb" for k in range(len(GRID_MASSES))])}
        return write_map(data / f"{txname}.txt", txname, constraint, values | tags)

    def region(self, result: Path, name: str, *extra: str, observed: int = 5, expected: float = 4.0, error: float = 1.0) -> Path:
        """Writes dataInfo.txt of a signal region."""
        data = result / name
        data.mkdir(parents=True, exist_ok=True)
        lines = [
            f"dataId: {name}",
            "dataType: efficiencyMap",
            f"observedN: {observed}",
            f"expectedBG: {expected}",
            f"bgError: {error}",
            "upperLimit: 0.05*fb",
            "expectedUpperLimit: 4.E-5*pb",
            *extra,
        ]
        (data / "dataInfo.txt").write_text("\n".join(lines) + "\n")
        return data

    def efficiencies(
        self, region: Path, txname: str = "T2tt", constraint: str = "[[['t']],[['t']]]", scale: float = 0.01, **tags: str
    ) -> Path:
        """Writes an efficiency map of a signal region."""
        values = {"efficiencyMap": mass_rows([repr(scale * (k + 1)) for k in range(len(GRID_MASSES))])}
        return write_map(region / f"{txname}.txt", txname, constraint, values | tags)


def write_map(path: Path, txname: str, constraint: str, tags: dict[str, str]) -> Path:
    """Writes a map file."""
    lines = {"txName": txname, "constraint": constraint, "condition": "None", "source": "test", "validated": "True", **tags}
    path.write_text("\n".join(f"{tag}: {value}" for tag, value in lines.items()) + "\n")
    return path
