#!/bin/sh
# Follows the change feed and says what a cache has to drop, for ever: follow-changes.sh [URL [AFTER]]
#
# AFTER is a revision or a token; without one the feed begins with the first change. It needs curl and a shell.
# What a cache may conclude, and what not, stands in docs/changes.md.
server=${1:-http://127.0.0.1:8080}
position=${2:-0}
said=$(mktemp) || exit 1
curl=
trap 'kill $curl 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

event() {
    case $kind in
    change)
        # One event is one whole revision: drop everything it names, then remember where we are.
        printf '%s' "$data" | grep -o '"key":"[^"]*"' | cut -d '"' -f 4 | sort -u | sed 's/^/drop /'
        ;;
    position) echo "at $id" ;;
    esac
    [ -n "$id" ] && position=$id
    kind= id= data=
}

while true; do
    # Thirty seconds without a byte are two heartbeats: the connection is dead, whatever it looks like.
    mkfifo "$said.pipe" || exit 1
    curl --silent --no-buffer --fail --speed-limit 1 --speed-time 30 --header 'Accept: text/event-stream' \
        --header "Last-Event-ID: $position" "$server/v1/changes" >"$said.pipe" &
    curl=$!
    kind= id= data=
    while IFS= read -r line; do
        case $line in
        event:*) kind=${line#event: } ;;
        id:*) id=${line#id: } ;;
        data:*) data=${line#data: } ;;
        '') event ;;
        esac
    done <"$said.pipe"
    rm -f "$said.pipe"
    wait "$curl"
    case $? in
    # The server refused. 409: this history does not have that position; 503: it cannot say at the moment.
    22)
        status=$(curl --silent --output "$said" --write-out '%{http_code}' "$server/v1/changes?limit=1&after=$position")
        if [ "$status" = 409 ]; then
            echo "drop everything: $(grep -o '"code":"[^"]*"' "$said" | cut -d '"' -f 4)"
            exit 2
        fi
        ;;
    esac
    sleep 2
done
