# Shared by the scripts beside this folder; source it, do not run it.
#
# Sets ROOT (the checkout), TOOLS (what the tests downloaded) and VENV (their Python).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS="$ROOT/.build-test-tools"
VENV="$ROOT/.venv-test"
export ROOT TOOLS VENV

# One line that says what starts now, with the time since the script began.
say() {
    printf '\n== %s  [%d:%02d]\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$*' must run as root; install sudo or run it yourself"
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Reads the package lists once a script, and only when something is missing.
apt_update_once() {
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root apt-get update -qq
        APT_UPDATED=1
    fi
}

# Installs the Debian packages that are not there yet.
apt_install() {
    command -v apt-get >/dev/null || die "this needs Debian or Ubuntu (apt-get); install: $*"
    local missing=() package
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    apt_update_once
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

require_swift() {
    command -v swift >/dev/null || die "Swift 6.2 or later is needed: see https://www.swift.org/install"
}
