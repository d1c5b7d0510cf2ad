#!/bin/sh
# What the image is built from where no registry can be asked, in .image/: a base of Debian's own packages, and the wheels of the locks.
#
# The Dockerfile names its base by a digest, which a registry serves. In its place stands a Debian with its own Python, made by debootstrap.
# It has no network to install from: pip and uv take the wheels, whose hashes the locks hold.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin"
cd "$(dirname "$0")/../.."

say() { echo "tests/deploy/image_base.sh: $*"; }
without() { say "$1: the tests that build the image are skipped, and say so"; exit 0; }
[ "$(id -u)" = 0 ] || without "not root"
for program in buildah debootstrap; do
  command -v "$program" >/dev/null || without "no $program"
done

folder=.image
rm -rf "$folder/root" "$folder/store" "$folder/wheels" "$folder/done"
mkdir -p "$folder/wheels"
say "making a base from Debian's packages, once"
log="$folder/log"
timeout 600 debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/root" >"$log" 2>&1 \
  || { tail -n 3 "$log"; without "debootstrap failed"; }
rm -rf "$folder/root/var/cache/apt" "$folder/root/var/lib/apt/lists" "$folder/root/debootstrap"
ln -s python3 "$folder/root/usr/bin/python"
mkdir -p "$folder/root/etc/uv" "$folder/root/wheels"
printf '[global]\nno-index = true\nfind-links = /wheels\n' >"$folder/root/etc/pip.conf"
printf 'no-index = true\nfind-links = ["/wheels"]\n' >"$folder/root/etc/uv/uv.toml"

# The locks serve every Python and every system: here, those files of them that the base's Python takes.
python=$(chroot "$folder/root" python -c 'import platform; print(platform.python_version())')
for list in build run; do
  .venv-dev/bin/uv pip compile --quiet --no-deps --no-header --no-annotate --generate-hashes --system-certs --python-version "$python" \
    --python-platform linux "requirements/$list.txt" -o "$folder/$list.txt" >"$log" 2>&1 \
    && .venv-dev/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
      --python-version "${python%.*}" --dest "$folder/wheels" --requirement "$folder/$list.txt" >"$log" 2>&1 \
    || { tail -n 3 "$log"; without "the packages of the locks could not be had"; }
done

# A storage of its own, as plain folders: no daemon, no mounts, and nothing of the machine's other images.
buildah="buildah --root $PWD/$folder/store --runroot $PWD/$folder/runroot --storage-driver vfs"
base=$($buildah from scratch)
$buildah copy --quiet "$base" "$folder/root" / >"$log" 2>&1
$buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$base"
$buildah commit --quiet --rm "$base" localhost/pointsman-base >"$log" 2>&1
rm -rf "$folder/root" "$log"
touch "$folder/done"
