#!/usr/bin/env bash
# ray 2.60.0: a program that starts Ray for itself alone shuts machines out of the clusters that are started later.
#
# Guess: `ray.init("local")` leaves nothing behind. `ray start --head`, and `ray start --address HOST:PORT` to join it, do
#   after it what they did before.
# Seen: it leaves ~/.ray/auth_token. From then on `ray start --head` asks for that token, as a line of its log says; `ray
#   start --address`, of the same person with the same home, does not show it and is refused. So is a driver that is given
#   HOST:PORT. With RAY_AUTH_MODE=token set for all of them they find each other.
#
#   before: joined
#   after ray.init("local"): InvalidAuthToken
#   after it, with RAY_AUTH_MODE=token: joined
set -euo pipefail
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet ray==2.60.0
export HOME=$place RAY_USAGE_STATS_ENABLED=0 PATH=$place/venv/bin:$PATH
unset RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH

say() {  # whether a second node of this machine joins a cluster on a port
    ray start --head --port "$2" --block > "$place/head.$2" 2>&1 &
    local head=$!
    until grep -sq "Ray runtime started" "$place/head.$2"; do sleep 1; done
    ray start --address "127.0.0.1:$2" --block > "$place/node.$2" 2>&1 &
    local node=$!
    until grep -sqE "Ray runtime started|InvalidAuthToken" "$place/node.$2"; do sleep 1; done
    echo "$1: $(grep -q InvalidAuthToken "$place/node.$2" && echo InvalidAuthToken || echo joined)"
    kill "$node" "$head" 2>/dev/null || true
    wait "$node" "$head" 2>/dev/null || true
}

say "before" 6391 | tee "$place/said"
python -c 'import ray; ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR")' 2>/dev/null
say 'after ray.init("local")' 6392 | tee -a "$place/said"
RAY_AUTH_MODE=token say "after it, with RAY_AUTH_MODE=token" 6393 | tee -a "$place/said"
[ "$(sed 's/.*: //' "$place/said" | tr '\n' ' ')" = "joined InvalidAuthToken joined " ]
