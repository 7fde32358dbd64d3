#!/usr/bin/env bash
# The libraries of scripts/install_deps.sh as a folder of Debian packages, for a machine that has
# compilers and CMake and can install nothing: a rented one without network, say.
#
#     scripts/deps_bundle.sh make FOLDER             where apt-get is: downloads, some 30 MB
#     scripts/deps_bundle.sh unpack FOLDER PREFIX    there: unpacks into PREFIX, which is replaced
#
# After `unpack`, `. PREFIX/environment.sh` and `cmake -C PREFIX/deps.cmake ...` build against it.
# Nothing outside PREFIX is changed.  That machine's C library must be at least as new as that of
# the packages.
set -euo pipefail

packages=(libopenmpi-dev openmpi-bin libhdf5-dev libconfig-dev libjansson-dev zlib1g-dev
    libpcre2-dev libutf8proc-dev libsodium-dev libcmocka-dev pkg-config)
# What these depend on and a machine with compilers has, or what no program here loads.
without='^(gcc|cpp|gfortran|binutils|perl|auto(conf|make|tools-dev)|m4|dpkg|tar|passwd|adduser|debconf'
without+='|debianutils|openssh|rpcsvc|ocl-icd|libperl|libc6|libc-|libcc1|linux-libc|libgcc|libgfortran'
without+='|libstdc|lib[alt]+san|libubsan|libjs-|libjpeg|libpam|libgomp|libitm|libisl|libmpc|libmpfr'
without+='|libctf|libgprof|libbinutils|libsem|libsepol|libselinux|libaudit|libcap|libgdbm|libquadmath'
without+='|libcrypt-|libx[1acden]|libcurl4-openssl-dev|libssl-dev|libhwloc-plugins|libxml2|libicu)'

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

make_bundle() {
    local names
    mkdir -p "$1"
    rm -f "$1"/*.deb
    # the solver sees a machine with nothing installed
    names=$(apt-get -s -o Dir::State::status=/dev/null -o APT::Install-Recommends=false \
        install "${packages[@]}" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -Ev "$without")
    # shellcheck disable=SC2086 # a list
    (cd "$1" && apt-get -q -o APT::Sandbox::User=root download $names >/dev/null)
    du -sh "$1"
}

# Paths that the packages' texts take for granted.
relocate() {
    local root=$1 lib=$2 file link
    for file in "$lib"/pkgconfig/*.pc; do
        [[ -L $file ]] || sed -i "s|/usr|$root/usr|g" "$file"
    done
    sed -i "s|^prefix=.*|prefix=\"$root/usr\"|; s|/usr/lib/|$root/usr/lib/|g; s|/usr/include|$root/usr/include|g" \
        "$root/usr/bin/h5cc"
    find "$root" -type l -lname '/*' | while IFS= read -r link; do
        ln -sf "$root$(readlink "$link")" "$link"
    done
}

# A folder for the loader with the libraries that the machine itself has not: with it in front, no
# other program gets another library than before.
fill_run() {
    local root=$1 lib=$2 have file name
    have=$({ ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | awk '{ print $1 }')
    mkdir "$root/run"
    for file in "$root"/lib/*/lib*.so.* "$lib"/lib*.so.* "$lib"/pmix2/lib/lib*.so.*; do
        name=${file##*/}
        grep -qxF "$name" <<<"$have" || ln -sf "$file" "$root/run/$name"
    done
}

# The programs, under the names by which CMake asks for them.
make_programs() {
    local root=$1 name
    mkdir "$root/bin"
    for name in mpicc:mpicc.openmpi mpiexec:mpiexec.openmpi mpirun:mpirun.openmpi h5cc:h5cc; do
        ln -s "../usr/bin/${name#*:}" "$root/bin/${name%:*}"
    done
    command -v pkg-config >/dev/null || ln -s ../usr/bin/pkgconf "$root/bin/pkg-config"
}

write_settings() {
    local root=$1 lib=$2
    cat >"$root/environment.sh" <<TEXT
export PATH=$root/bin:$root/usr/bin:\$PATH
export LD_LIBRARY_PATH=$root/run\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export PKG_CONFIG_LIBDIR=$lib/pkgconfig
export OPAL_PREFIX=$root/usr OPAL_LIBDIR=$lib/openmpi/lib OPAL_INCLUDEDIR=$lib/openmpi/include
export OPAL_PKGLIBDIR=$lib/openmpi/lib/openmpi3 OPAL_SYSCONFDIR=$root/etc
export OPAL_PKGDATADIR=$root/usr/share/openmpi OPAL_DATADIR=$root/usr/share
export PMIX_MCA_pcompress_base_silence_warning=1 # its plugins lie elsewhere, and are not needed
export OMPI_MCA_mca_base_component_show_load_errors=0 OMPI_MCA_plm=isolated OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp
TEXT
    cat >"$root/deps.cmake" <<TEXT
set(MPI_C_COMPILER $root/bin/mpicc CACHE FILEPATH "")
set(MPIEXEC_EXECUTABLE $root/bin/mpiexec CACHE FILEPATH "")
set(HDF5_C_COMPILER_EXECUTABLE $root/usr/bin/h5cc CACHE FILEPATH "")
set(CMAKE_PREFIX_PATH $root/usr CACHE PATH "")
set(CMAKE_LIBRARY_PATH $lib CACHE PATH "")
set(CMAKE_SKIP_BUILD_RPATH ON CACHE BOOL "")
TEXT
}

unpack_bundle() {
    local root lib package
    rm -rf "$2"
    mkdir -p "$2"
    root=$(realpath "$2")
    for package in "$1"/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    lib=$(dirname "$(find "$root/usr/lib" -maxdepth 2 -name libmpi.so.40)")
    relocate "$root" "$lib"
    fill_run "$root" "$lib"
    make_programs "$root"
    write_settings "$root" "$lib"
}

case $#:${1:-} in
2:make) make_bundle "$2" ;;
3:unpack) unpack_bundle "$2" "$3" ;;
*) usage ;;
esac
