import importlib.util
import re

import pytest

from checkout import ROOT

FILE = ROOT / "benchmarks" / "gpu_night.py"


def test_a_tiny_night_is_timed_on_any_machine(capsys):
    spec = importlib.util.spec_from_file_location("gpu_night", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--tiny", "--nights", "1", "--peak-tflops", "0.001"])
    text = capsys.readouterr().out
    parameters = int(re.match(r"([\d,]+) parameters", text)[1].replace(",", ""))
    rows = re.findall(r"^(\w.*?) +1 +(.*)$", text, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["seeding", "seeding without imitation", "sleep"]
    for _, values in rows:
        seconds, training_s, tokens, rate, used, _, lessons, steps = values.split()
        assert float(seconds) >= float(training_s)
        assert int(lessons) >= 8  # those of the exam, whatever was dreamt
        assert int(steps) >= 1
        assert int(tokens) > 8 * int(lessons)
        expected = 6 * parameters * float(rate) / 1e9  # 0.001 TFLOP/s
        assert float(used.rstrip("%")) / 100 == pytest.approx(expected, rel=0.02)
