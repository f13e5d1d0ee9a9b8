"""Builds the package for ROS 2; see package.xml."""

from pathlib import Path

from setuptools import setup

NAME = "awares_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(map(str, Path("launch").glob("*.launch.py")))),
        (f"share/{NAME}/config", sorted(map(str, Path("config").glob("*.yaml")))),
    ],
    install_requires=["setuptools", "awares-edge"],
    zip_safe=True,
    maintainer="awares-edge maintainers",
    maintainer_email="maintainers@example.com",
    description="Lifecycle node that answers questions about camera pictures with awares-edge.",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"awares_node = {NAME}.main:main"]},
)
