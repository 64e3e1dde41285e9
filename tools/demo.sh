#!/bin/sh
# demo.sh REFTOP: start a small leaking Python program and watch it: the live view on a terminal, otherwise three samples.
set -eu
reftop=$1
cd "$(dirname "$0")/.."

directory=$(mktemp -d)
mkfifo "$directory/ready"
python3 tests/targets/demo.py >"$directory/ready" &
pid=$!
# the one process that was started here, by its number, however this script ends
trap 'kill $pid 2>/dev/null || true; rm -rf "$directory"' EXIT
trap 'exit 130' INT TERM HUP
read -r _ <"$directory/ready"

if [ -t 0 ] && [ -t 1 ]; then
	echo "watching process $pid, tests/targets/demo.py; it leaks Session objects"
	"$reftop" "$pid"
	exit
fi

"$reftop" record -p "$pid" -o "$directory/demo.db" -i 2 -d 5 --quiet &
recorder=$!
for sample in 1 2 3; do
	echo "== sample $sample of process $pid"
	"$reftop" histo -p "$pid" --limit 10
	echo
	[ $sample = 3 ] || sleep 2
done
wait $recorder
echo "== what grew meanwhile"
"$reftop" diff "$directory/demo.db@1" "$directory/demo.db@last" --limit 5
