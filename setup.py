"""Metadata, dependencies and commands. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

COMMANDS = {
    "sammoe_convert_dataset": "dataset_conversion.cli:main",
    "sammoe_plan_and_preprocess": "planning.cli:main",
    "sammoe_pretrain": "sammoe_pipeline.commands.pretrain:main",
    "sammoe_train_expert": "sammoe_pipeline.commands.train_expert:main",
    "sammoe_train_gate": "sammoe_pipeline.commands.train_gate:main",
    "sammoe_predict": "sammoe_pipeline.commands.predict:main",
    "sammoe_evaluate": "sammoe_pipeline.commands.evaluate:main",
    "sammoe_foundation": "sammoe_pipeline.commands.foundation:main",
    "sammoe_experts": "sammoe_pipeline.commands.experts:main",
    "sammoe_demo": "sammoe_pipeline.demo:main",
    "sammoe_experiment": "sammoe_pipeline.experiment:main",
}

setup(
    name="sammoe_pipeline",
    version="0.1.0",
    description="SAM-Med3D-MoE as a self-configuring pipeline: new skills for a promptable 3D foundation model",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["sammoe_pipeline*", "dataset_conversion*", "planning*"]),
    package_data={
        "sammoe_pipeline": ["py.typed", "bundled_foundations/*/*", "experiments/*.json"],
        "dataset_conversion": ["py.typed"],
        "planning": ["py.typed"],
    },
    entry_points={"console_scripts": [f"{name} = {function}" for name, function in COMMANDS.items()]},
    install_requires=[
        "torch>=2.5",
        "nnunetv2>=2.8.1,<2.9",
        "SimpleITK",
        "blosc2",
        "connected-components-3d",
        "edt",
        "highdicom>=0.27",
        "huggingface_hub",
        "matplotlib",
        "monai>=1.5",
        "nibabel",
        "numpy",
        "pillow",
        "psutil",
        "pydantic>=2",
        "pydicom>=3",
        "safetensors",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "tqdm",
        "zlib-ng",
    ],
    extras_require={
        "test": [
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools",
            # Typed stubs that mypy --strict wants.
            "scipy-stubs",
            "types-tqdm",
            # The public SAM-Med3D network, to compare ours with; it imports more than it declares.
            "medim==0.1.2",
            "appdirs",
            "einops",
            "requests",
            # A second opinion on distances between surfaces.
            "surface-distance",
        ]
    },
)
