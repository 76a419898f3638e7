#!/bin/bash
# raw_relay.sh PORT: standard input and output as a raw TPM connection, for the TCTI `cmd`, which leaves the locality alone.
exec 3<>"/dev/tcp/127.0.0.1/$1"
cat <&3 &
reader=$!
trap 'kill "$reader" 2>/dev/null' EXIT TERM HUP INT PIPE
cat >&3
