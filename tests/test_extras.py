"""What is installed with what: the base reports, and whatever else is imported has an extra."""

import ast
import re
import sys
import tomllib

import pytest

from mtn_core.errors import EXTRA_OF, explain_missing_package

# Distribution of a module of another name.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless", "faiss": "faiss-cpu", "google": "protobuf",
    "mlflow": "mlflow-skinny", "PIL": "pillow",
    "onnxruntime": "onnxruntime-gpu", "sklearn": "scikit-learn", "yaml": "pyyaml",
}  # fmt: skip
# Modules that come with a package of the list.
COMES_WITH = {
    "IPython": "ipywidgets", "jupyter_client": "papermill", "markupsafe": "jinja2",
    "nbformat": "nbconvert", "pygments": "nbconvert", "starlette": "fastapi",
    "threadpoolctl": "scikit-learn", "traitlets": "nbconvert",
}  # fmt: skip
ASKED_FOR = {"umap"}  # the message of `project_embeddings` names it


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def packages(project, extra=None):
    """Names of the packages of an extra and of the extras that it includes; the base for None."""
    extras = project["optional-dependencies"]
    found = set()
    for line in project["dependencies"] if extra is None else extras[extra]:
        name, included = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", line).groups()
        if name == "mtn_core":
            found = found.union(*(packages(project, one) for one in included.split(",")))
        else:
            found.add(name)
    return found


def test_every_imported_module_is_installed_by_the_base_or_a_named_extra(project, repository):
    modules = set()
    for path in (repository / "mtn_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    modules -= {"mtn_core", *ASKED_FOR, *sys.stdlib_module_names}
    assert len(modules) > 20
    for module in sorted(modules):
        package = COMES_WITH.get(module) or DISTRIBUTIONS.get(module, module)
        assert package in packages(project, EXTRA_OF.get(module)), module
    assert EXTRA_OF.keys() <= modules


def test_all_is_all_that_the_workbook_needs(project):
    wanted = {"mindspore", "jupyterlab", "papermill", "onnxruntime-gpu", "imagehash", "zstandard"}
    assert wanted <= packages(project, "all")
    assert not wanted & packages(project)
    assert not packages(project, "report") & wanted


def test_conda_and_the_lock_take_the_whole(repository):
    assert "--editable .[all]" in (repository / "environment.yml").read_text()
    assert "--extra all" in (repository / "scripts" / "lock.sh").read_text()


def test_modules_of_a_package_are_its_own():
    error = ModuleNotFoundError("no", name="onnx.helper")
    assert "pip install 'mtn_core[onnx]'" in str(explain_missing_package(error, "mtn export"))
    assert explain_missing_package(ModuleNotFoundError("no", name="onnxx"), "mtn") is None
    assert explain_missing_package(ModuleNotFoundError("no"), "mtn") is None
