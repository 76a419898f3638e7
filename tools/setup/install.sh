#!/bin/bash
# install.sh PREFIX: installs the tools, the images, completions and man pages below PREFIX (DESTDIR is put before it). Everything was
# built by `make install` before.
set -euo pipefail
readonly prefix=${DESTDIR:-}${1:?usage: install.sh PREFIX} target=${CARGO_TARGET_DIR:-target}
readonly TOOLS=(igvm-image snp-emulator tpm-simulator svsm-verify)

# page PROGRAM KIND FOLDER NAME: what the program says about itself.
page() {
    install -d "$prefix/$3"
    VOUCHSAFE_MANUAL=$2 "$target/release/$1" >"$prefix/$3/$4"
}

install -d "$prefix/bin" "$prefix/share/vouchsafe"
for tool in "${TOOLS[@]}"; do
    install -m 755 "$target/release/$tool" "$prefix/bin/"
    page "$tool" man share/man/man1 "$tool.1"
    page "$tool" bash share/bash-completion/completions "$tool"
    page "$tool" zsh share/zsh/site-functions "_$tool"
    page "$tool" fish share/fish/vendor_completions.d "$tool.fish"
done
for image in "$target"/images/vouchsafe*.igvm "$target"/images/payload.igvm; do
    install -m 644 "$image" "$prefix/share/vouchsafe/"
done
for program in kernel stage2; do
    install -m 644 "$target/x86_64-unknown-none/firmware/$program" "$prefix/share/vouchsafe/$program.elf"
done
printf 'installed in %s: bin/{%s}, share/vouchsafe\n' "$prefix" "$(IFS=,; printf '%s' "${TOOLS[*]}")"
