#!/usr/bin/env bash
# Asks Mandate with curl and jq: caller.sh [PERSON]
#
# MANDATE_SERVER, MANDATE_CA and MANDATE_KEY say whom to ask and how: see examples/README.md.
# Ends with 0 if the person may publish, 2 if not, 1 if nobody could say.
set -euo pipefail

person=${1:-maria}
server=${MANDATE_SERVER:-http://127.0.0.1:8080}
server=${server%/}

# No redirects (curl follows none by itself), and five seconds at most: whoever waits longer has gone.
options=(--silent --show-error --noproxy '*' --max-time 5 --header 'Content-Type: application/json')
[ -z "${MANDATE_CA:-}" ] || options+=(--cacert "$MANDATE_CA")
# Whatever is no answer is no access, and is never printed as a deny.
none() {
    echo "no answer, so no access: $1" >&2
    exit 1
}

# NAME:KEY is Basic and KEY is Bearer. Through a descriptor, because a command line can be read by everybody on the machine.
authorization() {
    case ${MANDATE_KEY:-} in
    '') ;;
    *:*)
        name=$(printf '%s' "${MANDATE_KEY%%:*}" | jq -sRr @uri)
        key=$(printf '%s' "${MANDATE_KEY#*:}" | jq -sRr @uri)
        printf 'Authorization: Basic %s\n' "$(printf '%s:%s' "$name" "$key" | base64 | tr -d '\n')"
        ;;
    *) printf 'Authorization: Bearer %s\n' "$MANDATE_KEY" ;;
    esac
}

# post PATH BODY: the answer's body, or the end.
post() {
    local answer status body
    answer=$(curl "${options[@]}" --header @<(authorization) --write-out '\n%{http_code}' --data "$2" "$server$1") ||
        none "$server cannot be reached"
    status=${answer##*$'\n'}
    body=${answer%$'\n'*}
    [ "$status" = 200 ] || none "$status $(jq -r '"\(.code): \(.detail)"' <<<"$body" 2>/dev/null)"
    printf '%s\n' "$body"
}

# An allow is `true` and a deny is `false`; anything else is neither. A question that was none is an error in its place.
word='if .context.error then error("no question") elif .decision == true then "allow"
    elif .decision == false then "deny" else error("neither") end'

# One question, with the reason for a deny.
question=$(jq -n --arg person "$person" '{subject: {type: "user", id: $person}, action: {name: "PublishSite"},
    resource: {type: "site", id: "bakery"}, context: {explain: true}}')
answer=$(post /access/v1/evaluation "$question")
said=$(jq -r "$word" <<<"$answer") || none "what came back is no decision"
reason=$(jq -r '.context.reason // empty | " (\(.))"' <<<"$answer")
echo "$person PublishSite bakery: $said$reason"

# Several questions, answered at one revision. What stands beside the list holds for each of them.
actions=(EditContent InviteContributor ManagePayouts)
batch=$(jq -n --arg person "$person" '{subject: {type: "user", id: $person}, resource: {type: "site", id: "bakery"},
    evaluations: [$ARGS.positional[] | {action: {name: .}}]}' --args "${actions[@]}")
answer=$(post /access/v1/evaluations "$batch")
words=$(jq -r ".evaluations[] | $word" <<<"$answer") || none "what came back are no decisions"
mapfile -t words <<<"$words"
[ "${#words[@]}" = "${#actions[@]}" ] || none "not every question was answered"
for at in "${!actions[@]}"; do
    echo "$person ${actions[at]} bakery: ${words[at]}"
done

# A search, page by page, until there is no token any more.
search=$(jq -n --arg person "$person" '{subject: {type: "user", id: $person}, action: {name: "EditContent"},
    resource: {type: "site"}, page: {limit: 2}}')
found=0
while true; do
    page=$(post /access/v1/search/resource "$search")
    sites=$(jq -r '.results[].id' <<<"$page") || none "what came back is no page"
    for site in $sites; do
        echo "$person may edit $site"
        found=$((found + 1))
    done
    token=$(jq -r '.page.next_token // empty' <<<"$page")
    [ -n "$token" ] || break
    search=$(jq --arg token "$token" '.page.token = $token' <<<"$search")
done
echo "$person may edit $found sites"

[ "$said" = allow ] || exit 2
