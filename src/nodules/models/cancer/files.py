"""Saving and loading of classifiers without pickle: XGBoost's JSON, skops for forests, JSON for the rest."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from skops import io as skops_io
from xgboost import XGBClassifier
from xgboost.core import XGBoostError

from nodules.models.cancer.calibration import Calibration
from nodules.models.cancer.classifier import Classifier
from nodules.models.cancer.estimators import BoostedTrees, ConstantModel, Estimator, Forest, families_of
from nodules.models.cancer.params import MODEL_NAMES, ModelName
from nodules.models.cancer.penalised_logistic import PenalisedLogistic

_DESCRIPTION = "classifier.json"
_FORESTS = {"random_forest": RandomForestClassifier, "extra_trees": ExtraTreesClassifier}
# The type that a saved forest holds beyond those that skops trusts; any other type is an error on loading.
_FOREST_TYPES = ("sklearn.tree._tree.Tree",)


def save(classifier: Classifier, folder: Path) -> None:
    """Write ``classifier.json`` and the trees beside it: XGBoost models as JSON, forests as skops files."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "model": classifier.name,
        "classes": [0, 1],
        "features": list(classifier.features),
        "calibration": classifier.calibration.to_json() if classifier.calibration else None,
        "members": {name: _save_member(name, member, folder) for name, member in classifier.members.items()},
    }
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Classifier:
    """Read what `save` wrote; nothing in the files is executed.

    Raises
    ------
    ValueError
        If the files do not describe a classifier, do not belong together, or hold a type that is not trusted.
    """
    path = folder / _DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(description, dict) or description.get("model") not in MODEL_NAMES:
        raise ValueError(f"{path} must name a model, one of {', '.join(MODEL_NAMES)}")
    name: ModelName = description["model"]
    features, members = description.get("features"), description.get("members")
    if (
        description.get("classes") != [0, 1]
        or not isinstance(features, list)
        or not all(isinstance(feature, str) for feature in features)
    ):
        raise ValueError(f"{path} must name the classes [0, 1] and the features")
    families = families_of(name)
    if not isinstance(members, dict) or set(members) != set(families or (name,)):
        raise ValueError(f"{path} must describe the members {list(families or (name,))} of the model {name}")
    calibration = Calibration.from_json(description.get("calibration") or {}) if families else None
    loaded: dict[str, Estimator] = {
        member: _load_member(member, members[member], folder, len(features)) for member in families or (name,)
    }
    return Classifier(name, tuple(features), loaded, calibration)


def _save_member(name: str, member: Estimator, folder: Path) -> dict[str, Any]:
    if isinstance(member, ConstantModel):
        return {"probability": member.probability}
    if isinstance(member, PenalisedLogistic):
        return {key: np.asarray(value).tolist() for key, value in asdict(member).items()}
    if isinstance(member, Forest):
        _save_forest(member.trees, folder / f"{name}.skops")
        return {"file": f"{name}.skops"}
    if isinstance(member, BoostedTrees):
        for number, model in enumerate(member.models):
            model.save_model(folder / f"{name}_{number}.json")
        return {"seeds": len(member.models)}
    raise TypeError(f"expected a member of a type that can be saved, got {type(member).__name__}")


def _save_forest(trees: Any, path: Path) -> None:
    """Write a skops file whose bytes depend on the forest alone.

    skops identifies objects by their memory addresses and dates the members of the archive. Numbers in order of first
    appearance replace the addresses, and all members get the earliest date of the zip format. The padding in the nodes
    of a tree, which is uninitialised memory, becomes 0.
    """
    with zipfile.ZipFile(io.BytesIO(skops_io.dumps(trees))) as dumped:
        numbers: dict[str, str] = {}
        schema = _renumbered(json.loads(dumped.read("schema.json")), numbers)
        arrays = {f"{numbers[Path(name).stem]}.npy": name for name in dumped.namelist() if name.endswith(".npy")}
        with zipfile.ZipFile(path, "w") as written:
            for name in sorted(arrays):
                written.writestr(zipfile.ZipInfo(name), _without_padding(dumped.read(arrays[name])))
            written.writestr(zipfile.ZipInfo("schema.json"), json.dumps(schema))


def _without_padding(npy: bytes) -> bytes:
    """Return an array file with zeros between the fields of a structured array; any other as it is."""
    array = np.load(io.BytesIO(npy), allow_pickle=False)
    if array.dtype.names is None:
        return npy
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _renumbered(node: Any, numbers: dict[str, str]) -> Any:
    """Return a node of a skops schema with numbers in place of addresses; new addresses are added to `numbers`."""
    if isinstance(node, list):
        return [_renumbered(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered = {key: _renumbered(value, numbers) for key, value in node.items()}
    if "__id__" in node:
        renumbered["__id__"] = int(numbers.setdefault(str(node["__id__"]), str(len(numbers))))
    if node.get("__loader__") == "NdArrayNode" and "file" in node:
        renumbered["file"] = f"{numbers[Path(node['file']).stem]}.npy"
    return renumbered


def _load_member(name: str, described: Any, folder: Path, width: int) -> Estimator:
    if not isinstance(described, dict):
        raise ValueError(f"{folder / _DESCRIPTION} must describe the member {name}, got {described!r}")
    if set(described) == {"probability"}:
        return ConstantModel(float(described["probability"]))
    if name == "logistic":
        return _load_logistic(described, folder, width)
    if name == "xgboost":
        models = [_load_boosted(folder / f"{name}_{number}.json") for number in range(int(described["seeds"]))]
        for model in models:
            _check_width(int(model.n_features_in_), folder, width)
        return BoostedTrees(tuple(models))
    if name in _FORESTS:
        return _load_forest(name, folder / f"{name}.skops", width)
    raise ValueError(f"{folder / _DESCRIPTION} must give the probability of the model {name}, got {described!r}")


def _load_logistic(described: dict[str, Any], folder: Path, width: int) -> PenalisedLogistic:
    names = {field.name for field in fields(PenalisedLogistic)}
    if set(described) != names:
        raise ValueError(f"{folder / _DESCRIPTION} must hold a logistic model's {sorted(names)}, got {list(described)}")
    arrays = {name: np.asarray(described[name], dtype=np.float64) for name in names - {"intercept"}}
    for array in arrays.values():
        _check_width(array.size, folder, width)
        if not np.isfinite(array).all():
            raise ValueError(f"{folder / _DESCRIPTION} must hold finite numbers for a logistic model")
    return PenalisedLogistic(**arrays, intercept=float(described["intercept"]))


def _load_boosted(path: Path) -> XGBClassifier:
    model = XGBClassifier(n_jobs=1)
    try:
        model.load_model(path)
    except XGBoostError as error:
        raise ValueError(f"{path} must hold XGBoost's JSON") from error
    return model


def _load_forest(name: str, path: Path, width: int) -> Forest:
    untrusted = sorted(set(skops_io.get_untrusted_types(file=path)) - set(_FOREST_TYPES))
    if untrusted:
        raise ValueError(f"{path} must hold nothing but a forest, got the types {untrusted}")
    trees = skops_io.load(path, trusted=list(_FOREST_TYPES))
    if type(trees) is not _FORESTS[name]:
        raise ValueError(f"{path} must hold a {_FORESTS[name].__name__}, got {type(trees).__name__}")
    _check_width(trees.n_features_in_, path.parent, width)
    return Forest(trees)


def _check_width(found: int, folder: Path, width: int) -> None:
    if found != width:
        raise ValueError(f"the model in {folder} was fitted to {found} features, but {_DESCRIPTION} names {width}")
