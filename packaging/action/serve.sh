# Start a server that outlives this step, and wait until it answers.
set -eu
log=$RUNNER_TEMP/fake-shimmy/serve.log
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

export FAKE_SHIMMY_READY=1 FAKE_SHIMMY_CONTROL="$token" FAKE_SHIMMY_MODELS="$WITH_MODELS"
if [ "$WITH_RELEASE" ]; then export FAKE_SHIMMY_RELEASE="$WITH_RELEASE"; fi
if [ "$WITH_BUILD" ]; then export FAKE_SHIMMY_BUILD="$WITH_BUILD"; fi
if [ "$WITH_SCRIPT" ]; then export FAKE_SHIMMY_SCRIPT="$WITH_SCRIPT"; fi
if [ "$WITH_API_KEY" ]; then export SHIMMY_API_KEY="$WITH_API_KEY"; fi

nohup fake-shimmy serve --bind "127.0.0.1:$WITH_PORT" >"$log" 2>&1 </dev/null &
pid=$!
until url=$(sed -n 's/^fake-shimmy listens on //p' "$log") && [ "$url" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.05
done

echo "::add-mask::$token"
{
    echo "url=$url"
    echo "base-url=$url/v1"
    echo "control-token=$token"
    echo "log=$log"
    echo "pid=$pid"
} >>"$GITHUB_OUTPUT"
