"""The ladder: every module imports only from rooms below its own, and nothing in circles."""

import ast
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfrcp

ROOT = Path(tfrcp.__file__).parents[1]
GROUND = ("arguments", "files", "pages", "status_line", "units")  # what every module may import
LEAVES = ("models", "data", "scoring.losses", "renamed")
# A module belongs to the room with the longest name that it starts with.
LADDER = [
    [
        "deployment.runtimes",
        "space.budget",
        "scoring.meters",
        "scoring.running",
        "scoring.traits",
        "scoring.verdict",
        "run.figures",
        "run.records",
        "run.locking",
        "search.access",
        "search.role",
    ],
    ["scoring.kinds", "run.workdir", "run.report", "search.reports"],
    ["scoring.objectives", "search.serving"],
    ["graph", "deployment"],
    ["space.fixing"],
    ["space.space"],
    ["space.counting", "space.costs"],
    ["space.cost", "reconstruction"],
    ["space", "criteria", "deployment.latency_model"],
    [
        "scoring",
        "allocation",
        "search.settings",
        "search.loop",
        "search.distributed",
        "search.architecture",
    ],
    ["search.oracles", "deployment.rounding"],
    ["search", "training"],
    ["api"],  # the public names
    [""],  # tfrcp itself, which hands them on
    ["run"],
    ["studies"],
    ["configs"],
    ["commands"],
    ["cli"],
    ["__main__", "bin"],
]
RUNGS = {room: rung for rung, rooms in enumerate(LADDER) for room in rooms}


def modules():
    """Maps the name of every module to its file: "graph.trace", "graph", "" for tfrcp itself."""
    found = {}
    for file in sorted((ROOT / "tfrcp").rglob("*.py")):
        parts = file.relative_to(ROOT / "tfrcp").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    for folder in ("bin", "configs"):
        found |= {f"{folder}.{file.stem}": file for file in sorted((ROOT / folder).glob("*.py"))}
    return found


MODULES = modules()


def room_of(module):
    rooms = [room for room in (*RUNGS, *LEAVES, *GROUND) if f"{module}.".startswith(f"{room}.")]
    return max(rooms, key=len, default="" if module == "" else None)


def imports(file):
    """Names of the tfrcp modules that a file imports, inside functions too, not for types alone."""
    found = set()
    nodes = [ast.parse(file.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write the whole name instead of a relative import"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner.removeprefix("tfrcp.") in MODULES else node.module)
    ours = {name for name in found if name == "tfrcp" or name.startswith("tfrcp.")}
    return {name.removeprefix("tfrcp").removeprefix(".") for name in ours}


IMPORTS = {module: imports(file) for module, file in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_from_below(module):
    room = room_of(module)
    assert room is not None, f"say in LADDER or LEAVES of {__name__} where tfrcp.{module} stands"
    for target in IMPORTS[module]:
        below = room_of(target)
        allowed = below in GROUND or (below in LEAVES and room not in (*LEAVES, *GROUND))
        allowed |= room in RUNGS and below in RUNGS and RUNGS[below] < RUNGS[room]
        assert allowed or below == room, f"tfrcp.{module} must not import tfrcp.{target}"


def test_no_circles():
    list(graphlib.TopologicalSorter(IMPORTS).static_order())


def test_binaries_are_thin():
    for module, targets in IMPORTS.items():
        rooms = {name.split(".")[0] for name in targets}
        if module.startswith("bin."):
            assert rooms <= {"cli", "configs"}, module
        if module.startswith("configs."):
            assert rooms <= {"configs", "models"}, module  # a factory may build a network


def test_public_names():
    body = ast.parse(MODULES["api"].read_text()).body
    assert ast.get_docstring(ast.Module(body, []))
    imported = set()
    for node in body[1:]:
        if isinstance(node, ast.ImportFrom):
            imported |= {name.asname or name.name for name in node.names}
        else:
            assert isinstance(node, ast.Assign), ast.unparse(node)
            assert ast.unparse(node.targets[0]) == "__all__"
    assert tfrcp.__all__ == sorted(imported)
    assert all(hasattr(tfrcp, name) for name in tfrcp.__all__)
    assert set(tfrcp.__all__) < set(dir(tfrcp))


def test_the_package_itself_needs_no_keras(tmp_path):
    for name in ("keras", "tensorflow", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    ask = "import tfrcp; tfrcp.__version__; import tfrcp.cli; import tfrcp.commands.base"
    process = subprocess.run(
        [sys.executable, "-c", ask],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("name", ["nothing_of_the_kind", "__wrapped__"])
def test_a_name_that_is_not_there_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=name):
        getattr(tfrcp, name)


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.split(".")[0] not in ("bin", "configs")]
)
def test_module_says_what_it_is_for(module):
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))
