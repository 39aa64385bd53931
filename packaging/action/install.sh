# Put fake-shimmy on the PATH of the steps that follow, also under shimmy's name.
set -eu
python=$(command -v "$WITH_PYTHON") || { echo "there is no $WITH_PYTHON" >&2; exit 1; }
folder=$RUNNER_TEMP/fake-shimmy
mkdir -p "$folder/bin"
"$python" "$GITHUB_ACTION_PATH/../../tools/pyz.py" "$folder/fake-shimmy.pyz"
for name in fake-shimmy shimmy; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$python" "$folder/fake-shimmy.pyz" >"$folder/bin/$name"
    chmod +x "$folder/bin/$name"
done
"$folder/bin/fake-shimmy" --version
echo "$folder/bin" >>"$GITHUB_PATH"
