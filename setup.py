"""Packaging of vitrine; also what Beam workers install (`--setup_file=./setup.py`)."""

from setuptools import find_packages
from setuptools import setup

REQUIREMENTS = [
    "apache-beam>=2.62,<2.63",
    "click>=8",
    "numpy>=1.24",
    "pillow>=10",
    "pyarrow>=10",
    "pydantic>=2.5",
    "pyyaml>=6",
    "scann>=1.3",
    "tensorflow>=2.16,<2.22",
    "tensorflow-recommenders>=0.7.6",
    "tensorflow-serving-api>=2.16",
    "tf-keras>=2.16",
    "tfx>=1.16",
]
EXTRAS = {
    "client": ["grpcio>=1.60", "numpy>=1.24", "protobuf>=3.20"],
    "kubeflow": ["kfp>=2.5"],
    "server": ["grpcio-health-checking>=1.48", "prometheus-client>=0.20"],
    "benchmarks": ["matplotlib>=3.8", "scipy>=1.11"],
    "dev": ["mypy>=1.10", "pandas-stubs", "pytest>=8", "ruff>=0.6", "types-PyYAML"],
}

setup(
    name="vitrine",
    version="0.1.0",
    description="A production recommender stack on TensorFlow: logs in, a served recommender out.",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["transforms*", "models*", "tfx_pipeline*", "serving*"]),
    package_data={"": ["*.yaml", "*.pbtxt", "*.binpb", "*.toml", "py.typed"]},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vitrine=tfx_pipeline.cli:main"]},
)
