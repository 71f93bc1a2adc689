#!/usr/bin/env bash
# A plain install works: the wheel, with whatever the index resolves today, runs nights elsewhere.
#
# Usage: plain_install.sh [PYTHON] [highest|lowest]. Builds the wheel, installs it into an empty
# virtual environment without constraints.txt and runs a tiny night of three agents from another
# folder. `lowest` takes the lower bound of every dependency in pyproject.toml instead. torch alone
# comes first, at the version of constraints.txt (TORCH=... for another): an open range may bring
# several gigabytes of CUDA packages. Needs an index; packages come from pip's cache where it has them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
resolve=${2:-highest}
torch=${TORCH:-$(grep '^torch==' constraints.txt)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$python" -m venv "$scratch/venv"
bin=$scratch/venv/bin
"$bin/python" -m pip wheel -qq --no-deps --wheel-dir "$scratch" .
bounds=()
if [ "$resolve" = lowest ]; then
  "$bin/python" - "$scratch" > "$scratch/lowest.txt" <<'PY'
import email, pathlib, re, sys, zipfile
(wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    wanted = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist")
for requirement in wanted:
    lowest = re.match(r"([\w.-]+)(?:\[.*?\])?\s*[^;]*?>=([\d.]+)", requirement)
    if lowest and "extra ==" not in requirement and lowest[1] != "torch":
        print(f"{lowest[1]}=={lowest[2]}")
PY
  bounds=(--constraint "$scratch/lowest.txt")
fi
"$bin/python" -m pip install -qq --no-compile "$torch"
"$bin/python" -m pip install -qq --no-compile ${bounds[@]+"${bounds[@]}"} "$scratch"/sleepgym-*.whl

# Nothing of the checkout is in sight: no PYTHONPATH, another folder, warnings as a user sees them.
cd "$scratch"
unset PYTHONPATH
export OMP_NUM_THREADS=1
for agent in in-context naive sleep; do
  "$bin/sleepgym" run --env sleepgym/Almanac-v0 --agent "$agent" --out "runs/$agent" \
    --env-set days=1 --env-set passages=1 --env-set questions=4 > "$agent.log" 2>&1 ||
    { cat "$agent.log" >&2; exit 1; }
  test -s "runs/$agent/answers.jsonl"
  # What a library renames tomorrow can be passed by today: experts once lost their place so.
  if grep -i deprecat "$agent.log" >&2; then exit 1; fi
done
"$bin/sleepgym" score runs --json > scores.json
"$bin/python" - <<'PY'
from importlib.metadata import version
from platform import python_version
names = "torch transformers trl peft datasets numpy pandas gymnasium".split()
print("plain install: python", python_version(), *(f"{name} {version(name)}" for name in names))
PY
