# shellcheck shell=bash disable=SC2034  # variables for the scripts
# Sourced by helper_scripts/sync_*.sh: settings, one connection for the whole script, rsync with errors in one line.
#
# Nothing is written in place: rsync writes beside the final name and renames, so that whatever reads a file at the other
# end has the old one or the new one. What was cut short lies in .rsync-partial/ there and is gone on from.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then # an older one takes an empty array for an unset variable
    printf 'error: %s needs bash 4.4 or newer, and this is %s; install one (macOS: brew install bash) and have it first in PATH\n' \
        "$(basename "$0")" "$BASH_VERSION" >&2
    exit 2
fi

HELPERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
REPOSITORY=$(cd "$HELPERS/.." && pwd -P)
WORK=$(mktemp -d /tmp/sync.XXXXXX) || exit 5 # short: a socket with a longer path cannot be made
NAME=$(basename "$0")
AGAIN="then run the same command again: it goes on where it was"

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-5}"
}

say() {
    printf '%s\n' "$*"
}

# The comment at the head of a script, from its second line to the first one that is none, is its help.
show_help() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
}

# shellcheck disable=SC2329  # called by the trap
end_connection() {
    [ -z "${HOST:-}" ] || "${SSH[@]}" -O exit "$HOST" 2>/dev/null || true
    rm -rf "$WORK"
}
trap end_connection EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need() {
    local name=$1 what=$2
    [ -n "${!name:-}" ] || fail "$name is not set ($what); set it in helper_scripts/project_variables.local.sh, a copy of \
helper_scripts/project_variables.sh, or export it" 2
}

need_absolute() {
    need "$1" "$2"
    [[ ${!1} == /* ]] || fail "$1=${!1}: expected an absolute path on $REMOTE_HOST" 2
    printf -v "$1" '%s' "${!1%/}"
}

read_settings() {
    # shellcheck source=helper_scripts/project_variables.sh
    . "$HELPERS/project_variables.sh"
    need REMOTE_HOST "a host name, or a Host of your ssh config"
    [[ $REMOTE_HOST != -* && ${REMOTE_USER:-} != -* ]] || fail "REMOTE_HOST=$REMOTE_HOST: expected a host name" 2
    [ -z "${REMOTE_SSH_CONFIG:-}" ] || [ -r "$REMOTE_SSH_CONFIG" ] ||
        fail "REMOTE_SSH_CONFIG=$REMOTE_SSH_CONFIG cannot be read" 2
    command -v rsync >/dev/null || fail "rsync is not installed here; install it (Debian, Ubuntu: sudo apt-get install rsync)" 2
    command -v ssh >/dev/null || fail "ssh is not installed here; install it (Debian, Ubuntu: sudo apt-get install openssh-client)" 2
    HOST=${REMOTE_USER:+$REMOTE_USER@}$REMOTE_HOST
    # All calls share one connection, so a password is asked for once. rsync splits -e at blanks and knows quotes.
    SSH=(ssh ${REMOTE_SSH_CONFIG:+-F "$REMOTE_SSH_CONFIG"} -o ConnectTimeout=15 -o ControlMaster=auto
        -o "ControlPath=$WORK/%C" -o ControlPersist=60)
    RSYNC=(rsync --rsh="$(printf "'%s' " "${SSH[@]}")" -s --recursive --links --times
        --partial-dir=.rsync-partial --out-format='%i|%b|%n')
    if [ -n "${SYNC_KBYTES_PER_SECOND:-}" ]; then
        RSYNC+=(--bwlimit="$SYNC_KBYTES_PER_SECOND")
    fi
}

# A word for the shell at the other end, whatever is in it. Without a backslash, which fish knows inside quotes, too.
quoted() {
    printf "'%s'" "${1//\'/\'\"\'\"\'}"
}

# Run COMMAND there by sh, whatever the login shell is: csh and fish know another syntax, and csh no quoted line breaks.
remote() {
    "${SSH[@]}" "$HOST" "/bin/sh -c $(quoted "$1")" </dev/null
}

# One line for each reason why rsync would fail with several.
connect() {
    local code=0 answer
    answer=$(remote 'echo sync-begins; rsync --version; echo sync-ends' 2>"$WORK/ssh.log") || code=$?
    answer=${answer//$'\r'/}
    if [ "$code" -eq 255 ]; then
        fail "$REMOTE_HOST cannot be reached: $(last_line "$WORK/ssh.log"); look whether 'ssh $HOST' works (REMOTE_HOST, \
REMOTE_USER, REMOTE_SSH_CONFIG)"
    fi
    if [ "${answer%%$'\n'*}" != sync-begins ] || [ "${answer##*$'\n'}" != sync-ends ]; then
        fail "the shell at $REMOTE_HOST prints '$(printf %s "${answer%%$'\n'*}" | cut -c1-60)' in sessions without a terminal, \
which rsync takes for its protocol (\"protocol version mismatch -- is your shell clean?\"); print only where \$- has an i: \
case \$- in *i*) ;; *) return ;; esac at the head of its ~/.bashrc"
    fi
    [[ $answer == *"protocol version"* ]] ||
        fail "rsync is not installed at $REMOTE_HOST, or not in the PATH of sessions without a terminal; install it there, or \
load its module in ~/.bashrc"
}

last_line() {
    awk 'NF { line = $0 } END { sub(/\r$/, "", line); print line }' "$1"
}

# run_rsync WHAT ARGUMENTS…: the transfer, with a bar at a terminal; counts go to N_FILES and N_BYTES, which are what is
# really sent. A transfer that fails is one line.
run_rsync() {
    local what=$1 code=0
    shift
    : >"$WORK/files"
    if [ -t 1 ] && [ -z "${DRY_RUN:-}" ]; then
        "${RSYNC[@]}" --out-format= --info=progress2 --log-file="$WORK/files" --log-file-format='|%i|%b|%n' "$@" \
            2>"$WORK/rsync.log" || code=$?
    else
        "${RSYNC[@]}" ${DRY_RUN:+--dry-run} "$@" >"$WORK/files" 2>"$WORK/rsync.log" || code=$?
    fi
    read -r N_FILES N_BYTES < <(awk -F'|' '{ i = NF > 3 ? 2 : 1 } $i ~ /^[<>]f/ { n++; b += $(i + 1) }
        END { printf "%d %.0f\n", n, b }' "$WORK/files")
    case $code in
    0 | 24) ;; # 24: a file went away meanwhile, as running jobs' files may
    *) fail "$what: $(reason_of "$code")" ;;
    esac
}

reason_of() {
    local log=$WORK/rsync.log first
    first=$(grep -m 1 -E 'rsync: |: ' "$log" || true)
    if grep -qE 'No space left on device|Disk quota exceeded|File too large' "$log"; then
        printf 'the disk or quota at the receiving end is full (%s); make room, %s' "$(grep -m 1 -E 'No space left|quota|too large' "$log")" "$AGAIN"
    elif grep -q 'Read-only file system' "$log"; then
        printf 'the receiving end is read-only (%s)' "$first"
    elif grep -q 'Permission denied' "$log"; then
        printf 'no permission (%s); check the REMOTE_… folders' "$(grep -m 1 'Permission denied' "$log")"
    elif grep -qE 'is your shell clean|protocol version mismatch' "$log"; then
        printf 'the shell at %s prints text into the connection; make its ~/.bashrc silent' "$REMOTE_HOST"
    elif [[ $1 =~ ^(10|12|20|30|35|255)$ ]]; then
        printf 'the connection to %s broke (rsync exit code %s: %s); run the same command again: it goes on where it was' \
            "$REMOTE_HOST" "$1" "$first"
    else
        printf 'rsync exit code %s (%s)' "$1" "${first:-no message}"
    fi
}

listed() {
    awk -F'|' '$1 ~ /^[<>]f/ { print "would send " $3 } $1 ~ /^\*deleting/ { print "would remove " $3 }' "$WORK/files"
}

# Bytes as people read them.
size_text() {
    awk -v n="$1" 'BEGIN { split("B kB MB GB TB", u); i = 1; while (n >= 1000 && i < 5) { n /= 1000; i++ }
        printf i == 1 ? "%d %s" : "%.1f %s", n, u[i] }'
}

make_folder() {
    [ -n "${DRY_RUN:-}" ] || remote "mkdir -p -- $(quoted "$1")" 2>"$WORK/ssh.log" ||
        fail "$1 cannot be made at $REMOTE_HOST: $(last_line "$WORK/ssh.log")"
}
