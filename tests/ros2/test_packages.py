"""The two packages as ROS tools read them: manifests, interfaces, setup, launch, parameters."""

import ast
import dataclasses
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from awares_msgs.msg import Answer

import awares_edge
from awares_edge import live
from awares_ros.settings import Settings
from tests.ros2.fake_rclpy import GRAPH
from tests.ros2.fake_rclpy.messages import STORE, action_parts
from tests.ros2.support import spinning

ROS2 = Path(__file__).parents[2] / "ros2"
MSGS, NODE = ROS2 / "awares_msgs", ROS2 / "awares_ros"


class TestManifests:
    @pytest.mark.parametrize(
        ("folder", "build_type"), [(MSGS, "ament_cmake"), (NODE, "ament_python")]
    )
    def test_the_parser_of_the_ros_tools_accepts_them_without_a_warning(self, folder, build_type):
        catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="pip install catkin-pkg")
        warnings = []
        package = catkin_pkg.parse_package(str(folder), warnings=warnings)
        package.validate(warnings=warnings)
        assert warnings == []
        assert package.package_format == 3
        assert package.name == folder.name
        assert package.get_build_type() == build_type
        assert package.version == awares_edge.__version__

    def test_the_message_package_says_what_its_generator_needs(self):
        package = ET.parse(MSGS / "package.xml").getroot()
        assert package.findtext("member_of_group") == "rosidl_interface_packages"
        cmake = (MSGS / "CMakeLists.txt").read_text(encoding="utf-8")
        listed = set(re.findall(r'"((?:action|msg|srv)/\w+\.\w+)"', cmake))
        found = {str(p.relative_to(MSGS)) for p in MSGS.glob("*/*") if p.suffix in _INTERFACES}
        assert listed == found
        needed = re.search(r"DEPENDENCIES ([\w ]+)", cmake)[1].split()
        assert {d.text for d in package.iter("depend")} == set(needed)

    def test_the_node_package_depends_on_every_package_that_it_imports(self):
        package = ET.parse(NODE / "package.xml").getroot()
        depends = {d.text for d in package.iter("exec_depend")}
        imported = set()
        for path in [*NODE.rglob("*.py")]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    imported.add(node.module.split(".")[0])
                elif isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
        own = {"awares_edge", "awares_ros", "numpy", "setuptools"}
        assert imported - own - set(sys.stdlib_module_names) <= depends


_INTERFACES = {".msg", ".srv", ".action"}


class TestInterfaces:
    def test_every_field_has_a_type_that_exists(self):
        for name in ("msg/Answer", *(f"action/Ask_{part}" for part in action_parts())):
            for _, kind in STORE.fielddefs[f"awares_msgs/{name}"][1]:
                while isinstance(kind[1][0], tuple):  # of a sequence, its elements
                    kind = kind[1][0]
                base = kind[1] if isinstance(kind[1], str) else None
                assert base is None or base in STORE.fielddefs, base

    def test_a_goal_has_room_for_one_picture(self):
        fields = dict(STORE.fielddefs["awares_msgs/action/Ask_Goal"][1])
        (_, name), most = fields["image"][1]
        assert (name, most) == ("sensor_msgs/msg/Image", 1)

    def test_the_status_values_are_those_of_the_endings(self):
        names = {c for c, _, _ in STORE.fielddefs["awares_msgs/msg/Answer"][0]}
        endings = {live.Answered, *live.Failed.__subclasses__(), live.Failed}
        spelled = {re.sub(r"(?<!^)(?=[A-Z])", "_", e.__name__).upper() for e in endings}
        assert names == spelled
        assert len({getattr(Answer, name) for name in names}) == len(names)

    def test_the_generator_of_ros_reads_them(self, tmp_path):
        adapter = pytest.importorskip("rosidl_adapter", reason="apt-get install python3-rosidl")
        from rosidl_parser.definition import Action, IdlLocator
        from rosidl_parser.parser import parse_idl_file

        assert adapter.convert_to_idl(MSGS, MSGS.name, Path("msg/Answer.msg"), tmp_path)
        adapter.convert_to_idl(MSGS, MSGS.name, Path("action/Ask.action"), tmp_path)
        content = parse_idl_file(IdlLocator(tmp_path, Path("action/Ask.idl"))).content
        (action,) = content.get_elements_of_type(Action)
        assert [m.name for m in action.goal.structure.members] == ["question", "image", "follow_up"]


class TestSetup:
    def test_it_installs_what_ament_looks_for(self, monkeypatch):
        given = {}
        monkeypatch.chdir(NODE)
        monkeypatch.setattr("setuptools.setup", lambda **arguments: given.update(arguments))
        runpy.run_path("setup.py")
        installed = dict(given["data_files"])
        marker = ["resource/awares_ros"]
        assert installed["share/ament_index/resource_index/packages"] == marker
        assert installed["share/awares_ros"] == ["package.xml"]
        files = [name for names in installed.values() for name in names]
        assert all((NODE / name).is_file() for name in files)
        assert {"launch/awares.launch.py", "config/awares.yaml"} < set(files)
        assert given["version"] == awares_edge.__version__
        (script,) = given["entry_points"]["console_scripts"]
        module, function = script.split("= ")[1].split(":")
        assert (NODE / f"{module.replace('.', '/')}.py").is_file()
        assert function == "main"

    @pytest.mark.slow
    def test_a_wheel_of_it_can_be_built(self, tmp_path):
        source = shutil.copytree(NODE, tmp_path / "source")
        done = subprocess.run(
            [*_WHEEL, "-w", str(tmp_path), str(source)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.glob("*.whl")]


_WHEEL = [sys.executable, *["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]]


class TestPage:
    PAGE = (ROS2.parent / "docs/ros2.md").read_text(encoding="utf-8")

    def test_it_lists_every_parameter_with_its_default(self):
        rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", self.PAGE, re.M)
        said = {name: (default, what) for name, default, what in rows if "_msgs" not in what}
        for one in dataclasses.fields(Settings):
            default = str(one.default).lower() or "empty"
            assert said[one.name] == (default, one.metadata["description"])

    def test_it_names_every_interface_with_its_type(self):
        said = dict(re.findall(r"^\| `([\w~/]+)` \| (?:action )?`([\w/]+)` \|", self.PAGE, re.M))
        with spinning(compressed=False) as node:
            found = {s.topic: s.kind for s in node.subscriptions}
            found |= {p.topic: p.kind for p in node._publishers}
            served = {*GRAPH.services, *GRAPH.actions}
            named = {node.full_name(name): kind for name, kind in said.items()}
        assert named.keys() == {*found, *served}
        for name, kind in found.items():
            assert named[name] == kind.TYPE.replace("/msg/", "/")


class TestFiles:
    @pytest.mark.parametrize("path", sorted((NODE / "config").glob("*.yaml")), ids=lambda p: p.name)
    def test_parameter_files_hold_values_that_the_node_takes(self, path):
        (node,) = yaml.safe_load(path.read_text(encoding="utf-8")).values()
        values = node["ros__parameters"]
        Settings(**values)
        defaults = {one.name: one.default for one in dataclasses.fields(Settings)}
        assert {n: type(v) for n, v in values.items()} == {n: type(defaults[n]) for n in values}

    def test_the_launch_file_starts_configures_and_activates_the_node(self, monkeypatch):
        calls = []
        for name, classes in _LAUNCH.items():
            module = ModuleType(name)
            for one in classes:
                setattr(module, one, _recorder(one, calls))
            monkeypatch.setitem(sys.modules, name, module)
        transition = ModuleType("lifecycle_msgs.msg")
        constants = STORE.fielddefs["lifecycle_msgs/msg/Transition"][0]
        transition.Transition = type("Transition", (), {c: value for c, _, value in constants})
        monkeypatch.setitem(sys.modules, "lifecycle_msgs.msg", transition)
        described = runpy.run_path(str(NODE / "launch/awares.launch.py"))
        described["generate_launch_description"]()
        (node,) = [arguments for name, _, arguments in calls if name == "LifecycleNode"]
        assert (node["package"], node["executable"]) == ("awares_ros", "awares_node")
        changes = [about["transition_id"] for name, _, about in calls if name == "ChangeState"]
        assert changes == [3, 1]  # lifecycle_msgs: activate once it is inactive, configure
        (event,) = [arguments for name, _, arguments in calls if name == "OnStateTransition"]
        assert event["goal_state"] == "inactive"


_LAUNCH = {
    "launch": ["LaunchDescription"],
    "launch.actions": ["DeclareLaunchArgument", "EmitEvent", "RegisterEventHandler"],
    "launch.conditions": ["IfCondition"],
    "launch.events": ["matches_action"],
    "launch.substitutions": ["LaunchConfiguration", "PathJoinSubstitution"],
    "launch_ros.actions": ["LifecycleNode"],
    "launch_ros.event_handlers": ["OnStateTransition"],
    "launch_ros.events.lifecycle": ["ChangeState"],
    "launch_ros.substitutions": ["FindPackageShare"],
}


def _recorder(name, calls):
    def called(*args, **arguments):
        calls.append((name, args, arguments))
        return (name, len(calls))

    return called
