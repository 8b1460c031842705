import importlib.util

from likeness.cli import doctor
from likeness.perception import runtime


def test_doctor_names_versions_devices_and_weights(capsys):
    doctor.doctor()
    printed = capsys.readouterr().out
    for word in ("torch", "likeness", "mediapipe", "vgg16-397923af.pth", "model_ir_se50.pth", "processors"):
        assert word in printed


def test_doctor_gives_the_one_command_for_what_is_missing(capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mediapipe" else real(name, *rest)
    )
    doctor.doctor()
    assert runtime.INSTALL in capsys.readouterr().out


def test_doctor_warns_of_a_mediapipe_without_models(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "1.2.2" if name == "mediapipe" else "1")
    doctor.doctor()
    assert "brings no models" in capsys.readouterr().out


def test_without_a_gpu_doctor_says_so(monkeypatch):
    monkeypatch.setattr(doctor.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(doctor.torch.backends.mps, "is_available", lambda: False)
    assert doctor.devices() == ["no GPU that torch can use: everything runs on the CPU"]
