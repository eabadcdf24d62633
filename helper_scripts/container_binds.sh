# shellcheck shell=bash
# Sourced by helper_scripts/container.sh: which folders of the host the container sees, under their own names.

# collect_binds SCRIPT ARGUMENTS… sets `binds` to options of the runtime: the checkout, the storage places, TMPDIR, the
# folders of PYTHONPATH, and whatever exists that the arguments or the config name (raw recordings, weights).
collect_binds() {
    local place path
    binds=()
    bound=()
    bind_path "$REPOSITORY"
    [ ! -L "$REPOSITORY/storage" ] || bind_path "$(realpath -m "$REPOSITORY/storage")"
    for place in "${PROJECT_STORAGE_DIR:-}" "${SCRATCH_STORAGE_DIR:-}"; do
        [ -n "$place" ] || continue
        mkdir -p "$place" || fail "storage place $place cannot be made; check PROJECT_STORAGE_DIR and SCRATCH_STORAGE_DIR" 5
        bind_path "$place"
    done
    [ ! -d "${TMPDIR:-}" ] || bind_path "$TMPDIR"
    while IFS= read -r -d : path; do
        [ ! -d "$path" ] || bind_path "$path"
    done <<<"${PYTHONPATH:-}:"
    while IFS= read -r path; do
        bind_mentioned "$path"
    done < <(mentioned_paths "${@:2}")
}

# Bind PATH unless it lies in what is bound already. Symbolic links on the way to it are resolved by the runtime.
bind_path() {
    local path other
    path=$(realpath -s -m "$1")
    for other in ${bound[@]+"${bound[@]}"}; do
        case $path/ in "$other"/*) return ;; esac
    done
    case $path in *[:,]*) fail "$path: the container runtime cannot bind a path with a comma or a colon; rename it, or use a link to it" 2 ;; esac
    bound+=("$path")
    binds+=(--bind "$path")
}

# PATH, or the folder in which it is to be made. What belongs to the image stays its own.
bind_mentioned() {
    local path
    path=$(realpath -s -m "${1/#\~\//$HOME/}")
    [ -e "$path" ] || path=$(dirname "$path")
    case $path/ in
    // | /tmp/ | /opt/ | /opt/venv/* | /root/ | /run/ | /boot/ | /var/) return ;;
    /bin/* | /dev/* | /etc/* | /lib*/* | /proc/* | /sbin/* | /sys/* | /usr/*) return ;;
    esac
    if [ -e "$path" ]; then
        bind_path "$path"
    fi
}

# The values of the arguments and of the config files, one in each line: what of them is a path shows when it exists.
mentioned_paths() {
    local word file
    for word in "$@"; do
        # "a.b=/x y c.d=2": each key begins a line of its own.
        printf '%s\n' "$word" | sed -E 's/(^|[[:space:]])([a-z_0-9]+(\.[a-z_0-9]+)+=)/\n\2/g' | sed -E 's/^[a-z_0-9.]+=//; s/[[:space:]]+$//' | unquoted
        file=$(config_file "$word") || continue
        config_values "$file"
        while IFS= read -r word; do
            if file=$(config_file "$word"); then
                config_values "$file"
            fi
        done < <(config_values "$file")
    done
}

config_file() {
    local file
    case $1 in *.yaml | *.yml) ;; *) return 1 ;; esac
    for file in "$1" "$REPOSITORY/$1"; do
        if [ -f "$file" ]; then
            printf '%s' "$file"
            return
        fi
    done
    return 1
}

# The values of a YAML file with one key in each line, without comments and quotes.
config_values() {
    sed -n -E 's/^[[:space:]]*[a-z_0-9]+:[[:space:]]+//p' "$1" | sed -E 's/[[:space:]]+#.*$//; s/[[:space:]]+$//' | unquoted
}

unquoted() {
    sed -E "s/^'(.*)'\$/\1/; s/^\"(.*)\"\$/\1/" | grep -F / || true
}
