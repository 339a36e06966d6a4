#!/bin/sh
# Runs the tests of a package as Windows programs under Wine:
#
#   testdata/wine.sh [-w PREFIX] [PACKAGE [TEST FLAG…]]     (default: . -test.v)
#
# Needs Go, wine and x86_64-w64-mingw32-gcc (Debian: wine64 and
# gcc-mingw-w64-x86-64-win32). Installs nothing; with -w, Wine's files are kept
# in PREFIX for the next run, which saves some ten seconds.
set -eu
cd "$(dirname "$0")/.."

for tool in go wine x86_64-w64-mingw32-gcc; do
	command -v "$tool" >/dev/null || { echo "wine.sh: $tool is missing; see the head of this file" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
WINEPREFIX=$work/prefix
if [ "${1-}" = -w ]; then
	WINEPREFIX=$(realpath -m "$2")
	shift 2
fi
export WINEPREFIX WINEDEBUG=-all
package=${1-.}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- -test.v

system32=$WINEPREFIX/drive_c/windows/system32
if [ ! -e "$system32/bcryptprimitives.dll" ]; then
	wine wineboot -i >/dev/null 2>&1
	# Go takes its random numbers from ProcessPrng, which Wine 8 has not.
	cat >"$work/prng.c" <<-'C'
		#include <windows.h>
		BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
		__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, n); }
	C
	x86_64-w64-mingw32-gcc -shared -o "$system32/bcryptprimitives.dll" "$work/prng.c" -ladvapi32
fi
GOOS=windows GOARCH=amd64 go test -c -o "$work/test.exe" "$package"
cd "$package"
wine "$work/test.exe" "$@"
