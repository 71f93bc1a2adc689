#!/usr/bin/env bash
# Verify every submission anew, commit the verdicts that changed and push them.
#
# Usage: write-verdicts.sh. Runs in a clean checkout of the branch that it pushes to. No verdict on
# disk is believed: each is replaced by what `sleepgym board verdicts` finds. Exit code 1 if a
# submission breaks a rule or cannot be verified here; the verdicts are pushed all the same.
set -euo pipefail
folder=leaderboards/submissions
export GIT_AUTHOR_NAME=verdicts GIT_AUTHOR_EMAIL=verdicts@users.noreply.github.com
export GIT_COMMITTER_NAME=verdicts GIT_COMMITTER_EMAIL=verdicts@users.noreply.github.com
branch=$(git symbolic-ref --short HEAD)
status=0
"${SLEEPGYM:-sleepgym}" board verdicts "$folder" || status=$?
if [ "$status" -gt 1 ]; then
  exit "$status"
fi
git add --all -- "$folder"
if git diff --cached --quiet; then
  exit "$status"
fi
git commit -q -m 'Verdicts of the submissions, made anew'
for _ in 1 2 3; do
  if git push -q origin "HEAD:$branch"; then
    exit "$status"
  fi
  git pull -q --rebase origin "$branch" # the branch went on meanwhile; its own push verifies the rest
done
echo 'the verdicts could not be pushed' >&2
exit 2
