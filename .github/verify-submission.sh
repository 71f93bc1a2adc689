#!/usr/bin/env bash
# Verify the submissions that a pull request adds or changes, and write the verdicts as Markdown.
#
# Usage: verify-submission.sh BASE HEAD OUT. Runs in a checkout of BASE, whose code alone is run: of
# HEAD only files leaderboards/submissions/BOARD/SLUG.json.gz are taken, as data, and none is executed.
# Exit code 1 if a rule is broken, or a path under leaderboards/submissions is none of that form.
set -euo pipefail
base=$1 head=$2 out=$3
limit=$((16 << 20))
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
count=0
: > "$out"

while IFS= read -r -d '' path; do
  if [[ $path =~ ^leaderboards/submissions/[a-z0-9-]+/[a-z0-9-]+\.verdict\.json$ ]]; then
    continue # verdicts are written by us
  fi
  if ! [[ $path =~ ^leaderboards/submissions/([a-z0-9-]+)/([a-z0-9-]+)\.json\.gz$ ]]; then
    echo 'A path is not of the form `leaderboards/submissions/BOARD/SLUG.json.gz`.' >> "$out"
    status=1
    continue
  fi
  board=${BASH_REMATCH[1]} slug=${BASH_REMATCH[2]}
  count=$((count + 1))
  if [ "$(git cat-file -s "$head:$path")" -gt "$limit" ]; then
    echo "\`$board/$slug\`: larger than $limit bytes" >> "$out"
    status=1
    continue
  fi
  git cat-file blob "$head:$path" > "$scratch/$slug.json.gz"
  printf '### `%s/%s`\n~~~~~~~~~~text\n' "$board" "$slug" >> "$out"
  (cd "$scratch" && "${SLEEPGYM:-sleepgym}" verify "$slug.json.gz" --board "$board") >> "$out" 2>&1 || status=1
  printf '~~~~~~~~~~\n' >> "$out"
done < <(git diff --name-only --diff-filter=AMRT -z "$base...$head" -- leaderboards/submissions)

if [ "$count" -eq 0 ]; then
  echo 'No submission was added or changed.' >> "$out"
fi
exit "$status"
