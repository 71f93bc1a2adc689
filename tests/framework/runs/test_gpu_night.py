import importlib.util
import re

import pytest

from checkout import ROOT

FILE = ROOT / "benchmarks" / "gpu_night.py"


@pytest.mark.slow
def test_a_tiny_night_is_timed_on_any_machine(capsys):
    spec = importlib.util.spec_from_file_location("gpu_night", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--shape", "tiny", "--day", "few", "--nights", "1", "--peak-tflops", "0.001"])
    text = capsys.readouterr().out
    assert text.startswith("tiny shape on ")
    rows = re.findall(r"^(\w\S*) +1 +(.*)$", text, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["seeding", "seeding-alone", "sleep"]
    for _, values in rows:
        seconds, training_s, sampling_s, tokens, rate, used, _, _, _, steps = values.split()
        assert float(seconds) >= float(training_s) + float(sampling_s) - 0.1
        assert int(steps) >= 1
        assert int(tokens) > 8 * 8  # those of the exam, whatever was dreamt
        assert float(rate) > 0
        assert float(used.rstrip("%")) > 0
