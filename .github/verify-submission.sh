#!/usr/bin/env bash
# Verify the submissions that a pull request adds, and write the verdicts as Markdown.
#
# Usage: verify-submission.sh BASE HEAD OUT. Runs in a checkout of BASE, whose code alone is run: of
# HEAD only files leaderboards/submissions/BOARD/SLUG.json.gz (or .xz) are taken, as data, and none is executed.
# Exit code 1 if a rule is broken, or if the pull request does anything but add such files.
set -euo pipefail
export LC_ALL=C
base=$1 head=$2 out=$3
limit=$((16 << 20))
against=()
if [ -d leaderboards/submissions ]; then
  against=(--against "$PWD/leaderboards/submissions")
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
status=0
count=0
strays=0
word='[a-z0-9]+(-[a-z0-9]+)*'
: > "$out"

refuse() {
  echo "$1" >> "$out"
  status=1
}

if ! common=$(git merge-base "$base" "$head"); then
  refuse 'The pull request has no history in common with this repository.'
  exit 1
fi
git diff-tree -r -z --no-renames "$common" "$head" > "$scratch/changes"

while IFS= read -r -d '' change && IFS= read -r -d '' path; do
  read -r _ mode _ _ kind <<< "$change"
  if ! [[ $path =~ ^leaderboards/submissions/($word)/($word)(\.json\.[gx]z|\.verdict\.json)$ ]] ||
    [ "${#path}" -gt 150 ]; then
    strays=$((strays + 1))
    continue
  fi
  board=${BASH_REMATCH[1]} slug=${BASH_REMATCH[3]} suffix=${BASH_REMATCH[5]}
  if [ "$suffix" = .verdict.json ]; then
    refuse "\`$board/$slug$suffix\`: verdicts are written by the workflow after the merge: leave it out."
  elif [ "$kind" = D ]; then
    refuse "\`$board/$slug\` is deleted or renamed: a pull request adds; maintainers remove."
  elif [ "$kind" != A ] || git cat-file -e "$base:${path%.*}.gz" 2> /dev/null ||
    git cat-file -e "$base:${path%.*}.xz" 2> /dev/null; then
    refuse "\`$board/$slug\` is there already: a new version is a new file under another name."
  elif git cat-file -e "$head:${path%.*}.gz" 2> /dev/null &&
    git cat-file -e "$head:${path%.*}.xz" 2> /dev/null; then
    refuse "\`$board/$slug\` comes twice, as .json.gz and as .json.xz: leave one out."
  elif [ "$mode" != 100644 ]; then
    refuse "\`$board/$slug\` is no plain file."
  elif [ "$(git cat-file -s "$head:$path")" -gt "$limit" ]; then
    refuse "\`$board/$slug\` is larger than $limit bytes."
  else
    count=$((count + 1))
    git cat-file blob "$head:$path" > "$scratch/$slug$suffix"
    printf '### `%s/%s`\n~~~~~~~~~~text\n' "$board" "$slug" >> "$out"
    (cd "$scratch" && "${SLEEPGYM:-sleepgym}" verify "$slug$suffix" --board "$board" \
      ${against[@]+"${against[@]}"}) >> "$out" 2>&1 ||
      status=1
    printf '~~~~~~~~~~\n' >> "$out"
    rm -f "$scratch/$slug$suffix"
  fi
done < "$scratch/changes"

if [ "$strays" -gt 0 ]; then
  refuse "Other paths are changed ($strays): a submission is \`leaderboards/submissions/BOARD/SLUG.json.gz\` and comes alone."
fi
if [ "$count" -eq 0 ]; then
  echo 'No submission was verified.' >> "$out"
fi
exit "$status"
