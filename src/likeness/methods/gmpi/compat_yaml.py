"""The original's whole `gmpi.yaml`, rewritten to our flags: only what differs from the preset is left."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from likeness.errors import UserError
from likeness.methods.gmpi.config import GMPI_PRESETS, GMPIConfig
from likeness.methods.gmpi.scene import SCENES

FIXED = {
    "TRAIN.use_normalized_xyz": True, "MPI.separate_background": False,
    "MPI.aug_jitter_to_pixels": False, "MPI.aug_jitter_to_planes": False, "MPI.cam_ray_from_pix_center": True,
    "MODEL.STYLEGAN2.truncation_psi": 1.0, "MODEL.STYLEGAN2.torgba_sep_background": True,
    "MODEL.STYLEGAN2.build_background_from_rgb": True, "MODEL.STYLEGAN2.build_background_from_rgb_ratio": 0.05,
    "MODEL.STYLEGAN2.cond_on_pos_enc_only_alpha": True, "MODEL.STYLEGAN2.discriminator.use_ori_mapping": False,
}  # fmt: skip
"""Keys with one value that works here: another is refused by name."""
DROPPED = (
    "TRAIN.output_dir", "TRAIN.port", "TRAIN.curriculum", "TRAIN.use_xyz_ztype", "DDP_TRAIN.",
    "MODEL.pretrained_ckpts.", "MODEL.pretrained", "MODEL.STYLEGAN2.max_out_dim", "TRAIN.edge_aware_loss_",
    "TRAIN.cano_reconstruct_loss_", "TRAIN.G_tune_", "MPI.FOR_", "MPI.CAM_SETUP.",
)  # fmt: skip
"""Beginnings of keys that changed nothing in the original, or that are read otherwise below."""
CAMERA: dict[str, Callable] = {
    "spatial_enlarge_factor": lambda scene: scene.enlarge,
    "cam_pose_sample_method": lambda scene: scene.sampling,
    "cam_pose_n_truncated_stds": lambda scene: scene.truncation,
    "cam_sphere_center_z": lambda scene: scene.radius,
    "cam_sphere_r": lambda scene: scene.radius,
}


def is_original(path: str | Path) -> bool:
    """Whether a YAML file is a `gmpi.yaml` rather than a run's config.yaml."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # whoever reads it next says what is wrong
    return isinstance(document, dict) and ("GMPI" in document or "GMPI" in (document.get("config") or {}))


def read_yaml(path: str | Path, dataset: str | None = None) -> list[str]:
    """Our flags, `--preset` first, of an original `gmpi.yaml`; `dataset` overrides its own.

    Raises:
        UserError: an unknown key, or a value that never worked.
    """
    from likeness.methods.gmpi.compat import overrides

    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    top = document.get("config", document)
    flat = flattened(top["GMPI"]) | {key: top[key] for key in ("SEED", "LOG_DIR") if key in top}
    own = flat.pop("TRAIN.dataset", None)
    name = dataset or own
    if name not in GMPI_PRESETS or name not in SCENES:
        raise UserError(f"TRAIN.dataset is {name!r}, expected one of {', '.join(SCENES)}", path=path)
    preset = GMPI_PRESETS[name]
    for key, value in FIXED.items():
        if flat.pop(key, value) != value:
            raise UserError(f"{key} must be {value!r}: nothing else was ever used or works", path=path)
    _require_camera(flat, preset, name, path)
    flags = _weights(flat, preset, name) + _networks(flat, preset) + _data(top.get("DATASET", {}), preset, path)
    rest = {key: value for key, value in flat.items() if not key.startswith(DROPPED)}
    told = overrides(rest)
    flags += [word for pair in zip(told[::2], told[1::2]) if _differs(preset, *pair) for word in pair]
    return ["--preset", name, *flags]


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _differs(preset: GMPIConfig, flag: str, value: str) -> bool:
    field = flag.removeprefix("--").replace("-", "_")
    return str(getattr(preset, field)) != value and Path(str(getattr(preset, field))) != Path(value)


def _require_camera(flat: Mapping[str, Any], preset: GMPIConfig, name: str, path: str | Path) -> None:
    for key, expected in CAMERA.items():
        full = f"MPI.FOR_{preset.dataset}.{key}"
        found = flat.get(full, expected(preset.scene))
        if found != expected(preset.scene):
            raise UserError(
                f"{full} is {found!r}; the camera of {name} is fixed at {expected(preset.scene)!r}", path=path
            )


def _weights(flat: dict[str, Any], preset: GMPIConfig, name: str) -> list[str]:
    """Where training starts from."""
    if not flat.pop("MODEL.use_pretrained_ckpt", True):
        return ["--pretrained", "None"]
    given = flat.get(f"MODEL.pretrained_ckpts.{name}")
    return [] if given is None or Path(given) == preset.pretrained else ["--pretrained", str(given)]


def _networks(flat: dict[str, Any], preset: GMPIConfig) -> list[str]:
    """Keys whose value is not the flag's own."""
    flags = []
    base = flat.pop("MODEL.STYLEGAN2.synthesis_kwargs.channel_base", None)
    if base is not None:
        ours = int(base * (0.5 if preset.resolution == 256 else 1.0))
        flags += [] if ours == preset.channel_base else ["--channel-base", str(ours)]
    deviation = flat.pop("MODEL.STYLEGAN2.discriminator.use_mbstd_in_D", True)
    group = flat.pop("MODEL.STYLEGAN2.discriminator.mbstd_group_size", preset.deviation_group)
    if deviation is False:
        group = 0
    flags += [] if group == preset.deviation_group else ["--deviation-group", str(group)]
    if flat.pop("TRAIN.D_cond_on_pose", True) is False:
        flat.pop("TRAIN.D_cond_pose_dim", None)
        flags += ["--pose-dim", "0"]
    return flags


def _data(roots: Mapping[str, Any], preset: GMPIConfig, path: str | Path) -> list[str]:
    """`--data`, the folder that holds the collection under its published name."""
    given = roots.get(preset.dataset, {}).get("TRAIN_DATAROOT")
    if given is None:
        return []
    images = PurePosixPath(str(given).format(preset.resolution, preset.resolution))
    expected = preset.image_root().name
    if images.name != expected:
        raise UserError(
            f"DATASET.{preset.dataset}.TRAIN_DATAROOT ends in {images.name}: rename it {expected}", path=path
        )
    return [] if Path(images.parent) == preset.data else ["--data", str(images.parent)]
