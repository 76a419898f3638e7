# shellcheck shell=bash
# Sourced by the set-up scripts: which Debian or Ubuntu packages are installed, and which could be. Needs root.sh.

# Whether this is a system whose packages can be asked for.
has_packages() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null
}

# Every installed package's name, and every name that one stands in for: `libtss2-tcti-mssim0` is now `...t64` and provides the old.
installed_names() {
    dpkg-query --show --showformat='${db:Status-Abbrev}|${Package},${Provides}\n' |
        sed -n 's/^.i.*|//p' | tr ',' '\n' | sed -E 's/^ *([^ ]+).*/\1/' | sort -u
}

# missing_packages PACKAGE...: those that are not installed, one a line.
missing_packages() {
    comm -23 <(printf '%s\n' "$@" | sort -u) <(installed_names)
}

# not_offered PACKAGE...: those that apt cannot install here, one a line.
not_offered() {
    local package
    for package in "$@"; do
        LC_ALL=C apt-get install --simulate --no-install-recommends "$package" >/dev/null 2>&1 || printf '%s\n' "$package"
    done
}

# Reads apt's package lists, if it has none yet.
read_package_lists() {
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || as_root "reading apt's package lists" "$APT_UPDATE"
}

# The MB that installing these would download.
download_megabytes() {
    LC_ALL=C apt-get install --print-uris -y -qq --no-install-recommends "$@" 2>/dev/null |
        awk '{ sum += $3 } END { printf "%d", (sum + 999999) / 1000000 }'
}
