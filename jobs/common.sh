# shellcheck shell=bash
# For the launch scripts in this folder: where the program is, and how ranks are started.
# Sourced after `set -euo pipefail`; the caller stands in the repository root (or in
# share/fedllm of an installation).

# Installs and builds what is missing, quietly.  Does nothing in an installation.
fedllm_build() {
    [[ -f CMakeLists.txt ]] || return 0
    scripts/install_deps.sh
    mkdir -p build
    local log=build/quickstart.log
    [[ -x build/fedllm_mpi ]] || echo "building (log in $log)"
    if ! { { [[ -f build/build.ninja ]] || cmake --preset release; } &&
        cmake --build --preset release --target fedllm_mpi -j "$(nproc)"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "the build failed; the whole log is in $log" >&2
        return 1
    fi
}

# Prints the path of the training program: $FEDLLM_MPI, the built one, or the installed one.
fedllm_program() {
    local candidate
    for candidate in "${FEDLLM_MPI:-}" build/fedllm_mpi ../../bin/fedllm_mpi; do
        if [[ -n $candidate && -x $candidate ]]; then
            echo "$candidate"
            return 0
        fi
    done
    command -v fedllm_mpi && return 0
    echo "fedllm_mpi is not built; run tests/run.sh or: cmake --preset release && cmake --build --preset release" >&2
    return 1
}

# fedllm_mpirun NP COMMAND...: mpirun, told what Open MPI wants to be told.  Other MPIs ignore it.
fedllm_mpirun() {
    local np=$1
    shift
    if [[ $(id -u) -eq 0 ]]; then # as in a container, where reading another process is often denied
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        export OMPI_MCA_btl_vader_single_copy_mechanism=none
    fi
    if [[ -z ${SLURM_JOB_ID:-} ]]; then
        # Open MPI counts cores and not hardware threads as nproc does, so this is allowed always;
        # it changes nothing where there are enough.
        export OMPI_MCA_rmaps_base_oversubscribe=1
        [[ $(nproc) -ge $np ]] || export OMPI_MCA_hwloc_base_binding_policy=none
    fi
    [[ ! -t 1 ]] || export FEDLLM_PROGRESS=1 # ranks cannot see where mpirun's output goes
    mpirun -np "$np" "$@"
}

# fedllm_output_dir DEFAULT ARGUMENTS...: the folder that these arguments of the program name.
fedllm_output_dir() {
    local folder=$1
    shift
    while [[ $# -gt 0 ]]; do
        case $1 in
        --output_dir=* | output.output_dir=*) folder=${1#*=} ;;
        --output_dir) folder=${2:-$folder} ;;
        esac
        shift
    done
    echo "$folder"
}
